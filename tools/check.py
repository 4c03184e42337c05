"""Run every check of the project, the quick ones first: python tools/check.py [STEP ...]

`make test` runs this in the project's environment; on a system without make it is the same command. All
steps run even when an early one fails, and the last lines say which failed.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "test"
CORES = os.cpu_count() or 1
# One worker a core, and one thread a worker: two runs side by side take less time than one after the other on
# two threads each. Tests of one file that share costly runs are marked xdist_group.
PYTEST = ("-m", "pytest", "-q", "--durations=5", f"-n{CORES}")

NBVAL = ("--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=900")

# Each step is the arguments of one run of this interpreter.
STEPS: dict[str, tuple[str, ...]] = {
    "lint": ("-m", "ruff", "check", "."),
    "format": ("-m", "ruff", "format", "--check", "."),
    "types": ("-m", "mypy"),
    "sync": ("tools/sync.py", "--check"),
    "unit": (*PYTEST, "--dist=loadgroup", "tests/unit", "tests/notebooks"),
    "mutants": (*PYTEST, "--dist=loadgroup", "tests/mutants"),
    # A notebook a worker. Only cells tagged nbval-check-output are compared.
    "nbval": (*PYTEST, "--dist=loadfile", *NBVAL, "notebooks"),
    # One test at a time, since a few take minutes.
    "browser": (*PYTEST, "--maxschedchunk=1", "tests/browser"),
}


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


def run_step(step: str) -> tuple[str, float]:
    """Run one step; return how it ended and the seconds it took."""
    if reason := missing(step):
        # On a person's machine a check that cannot run is skipped; in CI nobody would notice.
        return f"FAILED: {reason}" if os.environ.get("CI") else f"skipped: {reason}", 0.0
    print(f"\n== {step}: python {' '.join(STEPS[step])}", flush=True)
    # Not the learner's own results; and the profile that the saved outputs were made with.
    environment = {"SIMCLR_EDU_PROFILE": "laptop"} | os.environ
    environment |= {"SIMCLR_EDU_HOME": str(BUILD / "home"), "JUPYTER_PREFER_ENV_PATH": "1"}
    environment["OMP_NUM_THREADS"] = "1"
    started = time.perf_counter()
    code = subprocess.run([sys.executable, *STEPS[step]], cwd=ROOT, env=environment, check=False).returncode
    return "passed" if code == 0 else f"FAILED (exit status {code})", time.perf_counter() - started


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 0, or 1 when a step failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"of {', '.join(STEPS)}; none means all")
    options = parser.parse_args(arguments)
    if unknown := [s for s in options.steps if s not in STEPS]:
        parser.error(f"there is no step {unknown[0]!r}; the steps are {', '.join(STEPS)}")
    shutil.rmtree(BUILD, ignore_errors=True)
    BUILD.mkdir(parents=True)
    ends = {step: run_step(step) for step in options.steps or STEPS}
    print("\n== summary")
    for step, (end, seconds) in ends.items():
        print(f"{step:8} {seconds:6.0f} s  {end}")
    return 1 if any(end.startswith("FAILED") for end, _ in ends.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
