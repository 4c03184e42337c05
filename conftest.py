"""For nbval: each notebook starts as on a fresh machine, in a home folder of its own.

So every notebook is shown to run by itself; that they also run one after the other in one home folder, as a
reader runs them, tests/browser shows.
"""

import os
from pathlib import Path

import pytest


@pytest.hookimpl(tryfirst=True)  # before nbval starts the notebook's kernel
def pytest_runtest_setup(item):
    if item.path.suffix == ".ipynb" and (home := os.environ.get("SIMCLR_EDU_HOME")):
        base = Path(os.environ.setdefault("SIMCLR_EDU_NBVAL", home))
        os.environ["SIMCLR_EDU_HOME"] = str(base / item.path.stem)
