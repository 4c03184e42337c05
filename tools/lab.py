"""Open the notebooks in JupyterLab: python tools/lab.py [OPTION of JupyterLab ...]

What a learner makes (checkpoints, results) goes to the home folder that `python -m simclr_edu doctor` names,
as it does however a notebook is opened.
"""

import os
import subprocess
import sys

import nbtools

# Extensions of the course's own, with which sliders work on live slides.
EXTENSIONS = nbtools.ROOT / "tools" / "jupyter"


def environment() -> dict[str, str]:
    """Return the environment in which JupyterLab finds the course's extensions and this Python's kernel."""
    paths = [str(EXTENSIONS), *filter(None, [os.environ.get("JUPYTER_PATH")])]
    return os.environ | {"JUPYTER_PATH": os.pathsep.join(paths), "JUPYTER_PREFER_ENV_PATH": "1"}


def main(arguments: list[str]) -> int:
    """Run JupyterLab until it is stopped; return its exit status."""
    command = [sys.executable, "-m", "jupyterlab", f"--notebook-dir={nbtools.NOTEBOOKS}", *arguments]
    try:
        return subprocess.run(command, env=environment(), check=False).returncode
    except KeyboardInterrupt:  # JupyterLab got it too, and has asked its question
        return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
