"""What all tests share: the import order, drawing without a window, and a home folder of their own."""

# First of all: without it torchvision may not import beside a CPU-only torch.
import simclr_edu  # noqa: F401  isort: skip

import os

import check
import matplotlib
import pytest
from hypothesis import settings

matplotlib.use("Agg")

# The same examples in every run, and no deadline: a slow machine is not a failure.
settings.register_profile("course", deadline=None, max_examples=25, derandomize=True)
settings.load_profile("course")


@pytest.fixture(autouse=True, scope="session")
def _home(tmp_path_factory):
    """Keep the learner's own data, runs and results out of every test."""
    before = os.environ.get("SIMCLR_EDU_HOME")
    os.environ["SIMCLR_EDU_HOME"] = str(tmp_path_factory.mktemp("simclr_edu_home"))
    yield
    if before is None:
        del os.environ["SIMCLR_EDU_HOME"]
    else:
        os.environ["SIMCLR_EDU_HOME"] = before


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of the system's Chromium; without one the test is skipped, but in CI it fails."""
    if path := check.find_chromium():
        return path
    reason = "there is no Chromium on this machine"
    pytest.fail(f"{reason}, and CI is set") if os.environ.get("CI") else pytest.skip(reason)
