"""Run the checks of the project, the quick ones first.

python tools/check.py                      every check; `make test`
python tools/check.py STEP ...             only these steps
python tools/check.py --fast [--since REF] the loop while working, two minutes; `make check`

All steps run even when an early one fails, and the last lines say which failed. The loop leaves out the
notebooks, the browser and the tests marked slow; the tests of what changed since REF (of what is not
committed, if none is given) go first.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

from affected import NoChangesError, affected_tests, changed_files

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "test"
CORES = os.cpu_count() or 1
# One worker a core, and one thread a worker: two runs side by side take less time than one after the other on
# two threads each. Tests of one file that share costly runs are marked xdist_group.
PYTEST = ("-m", "pytest", "-q", "--durations=5", f"-n{CORES}")
GROUPED = (*PYTEST, "--dist=loadgroup")

NBVAL = ("--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=3600")

# Each step is the arguments of one run of this interpreter.
STEPS: dict[str, tuple[str, ...]] = {
    "lint": ("-m", "ruff", "check", "."),
    "format": ("-m", "ruff", "format", "--check", "."),
    "types": ("-m", "mypy"),
    "sync": ("tools/sync.py", "--check"),
    "unit": (*GROUPED, "tests/unit", "tests/notebooks"),
    "mutants": (*GROUPED, "tests/mutants"),
    # A notebook a worker. Only cells tagged nbval-check-output are compared.
    "nbval": (*PYTEST, "--dist=loadfile", *NBVAL, "notebooks"),
    # One test at a time, since a few take minutes.
    "browser": (*PYTEST, "--maxschedchunk=1", "tests/browser"),
}

# The loop while working.
FAST_FOLDERS = ("tests/unit", "tests/notebooks", "tests/mutants")
FAST_TESTS = (*GROUPED, "-m", "not slow")
NO_TESTS = 5  # pytest's exit status when every test was left out


def fast_steps(first: list[str]) -> dict[str, tuple[str, ...]]:
    """Return the steps of the loop while working; of its tests, those in the files ``first`` go first."""
    steps = {step: STEPS[step] for step in ("lint", "format", "types", "sync")}
    if first:
        steps["affected"] = (*FAST_TESTS, *first)
    return steps | {"others": (*FAST_TESTS, *(f"--ignore={path}" for path in first), *FAST_FOLDERS)}


# Where Chromium, or a browser made from it, is when it is not on the PATH.
BROWSERS = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
)


def find_chromium() -> str | None:
    """Return the path of a Chromium on this machine, or None."""
    named = map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))
    return next((path for path in (*named, *map(shutil.which, BROWSERS)) if path), None)


def missing(step: str) -> str | None:
    """Say why a step cannot run here, or return None."""
    if step == "browser" and find_chromium() is None:
        return "there is no Chromium on this machine"
    return None


def run_step(step: str, arguments: tuple[str, ...]) -> tuple[str, float]:
    """Run one step, this interpreter with its arguments; return how it ended and the seconds it took."""
    if reason := missing(step):
        # On a person's machine a check that cannot run is skipped; in CI nobody would notice.
        return f"FAILED: {reason}" if os.environ.get("CI") else f"skipped: {reason}", 0.0
    print(f"\n== {step}: python {shlex.join(arguments)}", flush=True)
    # Not the learner's own results; and the profile that the saved outputs were made with.
    environment = {"SIMCLR_EDU_PROFILE": "laptop"} | os.environ
    environment |= {"SIMCLR_EDU_HOME": str(BUILD / "home"), "JUPYTER_PREFER_ENV_PATH": "1"}
    environment["OMP_NUM_THREADS"] = "1"
    started = time.perf_counter()
    code = subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, check=False).returncode
    seconds = time.perf_counter() - started
    if code == NO_TESTS and step in ("affected", "others"):
        return "skipped: all its tests are slow, `make test` runs them", seconds
    return "passed" if code == 0 else f"FAILED (exit status {code})", seconds


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 0, or 1 when a step failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"of {', '.join(STEPS)}; none means all")
    parser.add_argument("--fast", action="store_true", help="the loop while working")
    parser.add_argument("--since", metavar="REF", help="with --fast: the changes since this branch left REF")
    options = parser.parse_args(arguments)
    if options.fast and options.steps:
        parser.error("--fast has steps of its own: name none")
    if options.since and not options.fast:
        parser.error("--since goes with --fast")
    if unknown := [s for s in options.steps if s not in STEPS]:
        parser.error(f"there is no step {unknown[0]!r}; the steps are {', '.join(STEPS)}")
    steps = {step: STEPS[step] for step in options.steps or STEPS}
    if options.fast:
        try:
            changed = changed_files(ROOT, options.since or "HEAD")
        except NoChangesError as problem:
            if options.since:
                parser.error(str(problem))
            print(f"No test goes first: {problem}")
            changed = []
        steps = fast_steps(affected_tests(ROOT, changed, FAST_FOLDERS))
    shutil.rmtree(BUILD, ignore_errors=True)
    BUILD.mkdir(parents=True)
    ends = {step: run_step(step, arguments) for step, arguments in steps.items()}
    print("\n== summary")
    for step, (end, seconds) in ends.items():
        print(f"{step:8} {seconds:6.0f} s  {end}")
    return 1 if any(end.startswith("FAILED") for end, _ in ends.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
