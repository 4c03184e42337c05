"""For nbval: each notebook starts as on a fresh machine, in a home folder of its own, on one worker.

So every notebook is shown to run by itself; that they also run in a home folder which others have used, as a
reader's do, tests/browser shows.
"""

import os
from pathlib import Path

import pytest

HOME = os.environ.get("SIMCLR_EDU_HOME")  # of all notebooks, as the command that runs them gave it


def is_notebook(item):
    return item.path.suffix == ".ipynb"


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items):
    for item in filter(is_notebook, items):
        item.add_marker(pytest.mark.xdist_group(item.path.stem))


@pytest.hookimpl(wrapper=True, tryfirst=True)  # around nbval, which starts and ends the notebook's kernel
def pytest_runtest_setup(item):
    with pytest.MonkeyPatch.context() as patch:
        if is_notebook(item):
            not_measured(item, patch)
            if HOME:
                patch.setenv("SIMCLR_EDU_HOME", str(Path(HOME) / item.path.stem))
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item):
    with pytest.MonkeyPatch.context() as patch:
        if is_notebook(item):
            not_measured(item, patch)
        return (yield)


def not_measured(item, patch):
    """Hide from nbval that pytest-cov is at work: coverage is what the tests run, not what notebooks run."""
    patch.setattr(item.config.option, "cov_source", None, raising=False)
