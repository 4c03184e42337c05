"""Run the checks of the project, the quick ones first.

python tools/check.py                      every check; `make test`
python tools/check.py STEP ...             only these steps, or these parts of the step `tests`
python tools/check.py --fast [--since REF] the loop while working, two minutes; `make check`

All steps run even when an early one fails, and the last lines say which failed. The loop leaves out the
notebooks, the browser and the tests marked slow; the tests of what changed since REF (of what is not
committed, if none is given) go first.
"""

import argparse
import json
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
# One thread a worker: runs side by side take less time than one after the other on several threads. Tests
# that share costly runs are marked xdist_group; a notebook is one group.
PYTEST = ("-m", "pytest", "-q", "--durations=10", "--dist=loadgroup")
GROUPED = (*PYTEST, f"-n{CORES}")
# Only cells tagged nbval-check-output are compared.
NBVAL = ("--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=3600")

# The parts of the step `tests`, to run one alone.
PARTS: dict[str, tuple[str, ...]] = {
    "unit": (*GROUPED, "tests/unit", "tests/notebooks"),
    "mutants": (*GROUPED, "tests/mutants"),
    "nbval": (*GROUPED, *NBVAL, "notebooks"),
    "browser": (*GROUPED, "tests/browser"),
}
COVERAGE = BUILD / "coverage.json"
# Percent of the package's lines that the tests run. Below the floor a whole idea has lost its tests.
COVERAGE_FLOOR, COVERAGE_NAMED = 90, 90
# Each step is the arguments of one run of this interpreter.
STEPS: dict[str, tuple[str, ...]] = {
    "lint": ("-m", "ruff", "check", "."),
    "format": ("-m", "ruff", "format", "--check", "."),
    "types": ("-m", "mypy"),
    "sync": ("tools/sync.py", "--check"),
    # All parts in one pool, the costly ones first, so that no core waits for the end of a part; one worker
    # more than cores, because a test in a browser or of a killed process waits as much as it works.
    "tests": (
        *(*PYTEST, f"-n{CORES + 1}", *NBVAL, "--cov=simclr_edu", f"--cov-report=json:{COVERAGE}"),
        *("notebooks", "tests/browser", "tests/mutants", "tests/unit", "tests/notebooks"),
    ),
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
    environment |= {"OMP_NUM_THREADS": "1", "COVERAGE_FILE": str(BUILD / "coverage")}
    started = time.perf_counter()
    code = subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, check=False).returncode
    seconds = time.perf_counter() - started
    if code == NO_TESTS and step in ("affected", "others"):
        return "skipped: all its tests are slow, `make test` runs them", seconds
    if step == "tests" and COVERAGE.exists():
        problem = coverage_problem(COVERAGE)
        if code == 0 and problem:
            return f"FAILED: {problem}", seconds
    return "passed" if code == 0 else f"FAILED (exit status {code})", seconds


def coverage_problem(report: Path) -> str | None:
    """Print which share of the package's lines ran, and of which files little; say what is wrong, or None."""
    measured = json.loads(report.read_text(encoding="utf-8"))
    total = measured["totals"]["percent_covered"]
    print(f"\ncoverage: {total:.1f}% of the package's {measured['totals']['num_statements']:,} lines")
    shares = {name: file["summary"]["percent_covered"] for name, file in measured["files"].items()}
    for name, share in sorted(shares.items(), key=lambda item: item[1]):
        if share < COVERAGE_NAMED:
            print(f"  {share:5.1f}%  {name}")
    if total < COVERAGE_FLOOR:
        return f"the tests run {total:.1f}% of the package's lines, wanted are {COVERAGE_FLOOR}%"
    return None


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 0, or 1 when a step failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "steps", nargs="*", metavar="STEP", help=f"of {', '.join(STEPS | PARTS)}; none means all"
    )
    parser.add_argument("--fast", action="store_true", help="the loop while working")
    parser.add_argument("--since", metavar="REF", help="with --fast: the changes since this branch left REF")
    options = parser.parse_args(arguments)
    if options.fast and options.steps:
        parser.error("--fast has steps of its own: name none")
    if options.since and not options.fast:
        parser.error("--since goes with --fast")
    known = STEPS | PARTS
    if unknown := [s for s in options.steps if s not in known]:
        parser.error(f"there is no step {unknown[0]!r}; the steps are {', '.join(known)}")
    steps = {step: known[step] for step in options.steps or STEPS}
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
