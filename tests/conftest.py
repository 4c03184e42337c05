"""What all tests share: the import order, drawing without a window, and a home folder of their own."""

# First of all: without it torchvision may not import beside a CPU-only torch.
import simclr_edu  # noqa: F401  isort: skip

import os
import shutil
import tempfile
import urllib.error
from pathlib import Path

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
def refuse():
    """In place of what opens an address: it fails the way a machine without a network does."""

    def refuse(*args, **kwargs):
        raise urllib.error.URLError("Temporary failure in name resolution")

    return refuse


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of the system's Chromium; without one the test is skipped, but in CI it fails."""
    if path := check.find_chromium():
        return path
    reason = "there is no Chromium on this machine"
    pytest.fail(f"{reason}, and CI is set") if os.environ.get("CI") else pytest.skip(reason)


@pytest.fixture
def read_only_folder():
    """An empty folder that may be read and not written; root, who may write anywhere, is nobody meanwhile."""
    if os.name != "posix":
        pytest.skip("permissions of POSIX")
    folder = Path(tempfile.mkdtemp())  # not tmp_path: nobody may not enter that
    folder.chmod(0o555)
    is_root = os.geteuid() == 0
    if is_root:
        # Nobody may not be able to read torch's files: all that a run imports late is imported now.
        from simclr_edu import pretrain
        from simclr_edu.data import shapes

        config = pretrain.PretrainConfig(epochs=1, batch_size=8, device="cpu")
        pretrain.pretrain(config, shapes.make_shapes(8, size=16)[0], progress=False)
        os.seteuid(65534)
    try:
        yield folder
    finally:
        if is_root:
            os.seteuid(0)
        folder.chmod(0o755)
        shutil.rmtree(folder)
