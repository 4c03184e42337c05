"""For nbval: each notebook starts as on a fresh machine, in a home folder of its own.

So every notebook is shown to run by itself; that they also run in a home folder which others have used, as a
reader's do, tests/browser shows.
"""

import os
from pathlib import Path

import pytest

HOME = os.environ.get("SIMCLR_EDU_HOME")  # of all notebooks, as the command that runs them gave it


@pytest.hookimpl(tryfirst=True)  # before nbval starts the notebook's kernel
def pytest_runtest_setup(item):
    if HOME and item.path.suffix == ".ipynb":
        os.environ["SIMCLR_EDU_HOME"] = str(Path(HOME) / item.path.stem)
