"""Use the built wheel as one who has nothing else: python tools/wheel.py [OPTION of pip install ...]

Builds the wheel, installs it into a fresh environment outside the repository, asks the command for its
version, copies the notebooks out, and runs one of them from there. The options go to pip: -c constraints.txt.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

import nbtools

BUILD = nbtools.ROOT / "build" / "wheel"
NOTEBOOK = "02_nt_xent"


def run(*command: str | Path, folder: Path) -> str:
    """Run a command, say which, and return what it printed; end the program when it fails."""
    print("$", *command, flush=True)
    # Not the repository's package, nor a learner's results.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment["SIMCLR_EDU_HOME"] = str(folder / "home")
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{done.stdout}{done.stderr}\nexit status {done.returncode}")
    return done.stdout


def main(options: list[str]) -> int:
    """Build, install, use; return 0, or end with what failed."""
    shutil.rmtree(BUILD, ignore_errors=True)
    run(sys.executable, "-m", "hatchling", "build", "-d", BUILD, folder=nbtools.ROOT)
    (wheel,) = BUILD.glob("*.whl")
    options = [str(Path(o).resolve()) if Path(o).is_file() else o for o in options]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        venv.create(folder / "venv", with_pip=True)
        commands = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
        run(
            commands / "python",
            "-m",
            "pip",
            "install",
            "--quiet",
            *options,
            f"{wheel}[course]",
            folder=folder,
        )
        print(run(commands / "simclr-edu", "--version", folder=folder), end="")
        print(
            run(
                commands / "python",
                "-c",
                "import torchvision, simclr_edu; print(simclr_edu.__file__)",
                folder=folder,
            )
        )
        print(run(commands / "simclr-edu", "notebooks", "mine", folder=folder), end="")
        run(commands / "jupyter", "execute", f"mine/{NOTEBOOK}.ipynb", folder=folder)
        print(f"{NOTEBOOK} ran from top to bottom")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
