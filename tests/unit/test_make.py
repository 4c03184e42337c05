"""What make would install, with TORCH=cpu and without it. Nothing is installed."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path):
    """A folder with a Makefile in which nothing is installed yet."""
    if shutil.which("make") is None:
        pytest.skip("there is no make on this machine")
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def would_run(folder, *arguments):
    """The commands that install something, of those that make would run."""
    done = subprocess.run(
        ["make", "-n", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/bin:/bin"},
    )
    return [line.split(" install ", 1)[1] for line in done.stdout.splitlines() if " -m pip install " in line]


TORCH = (
    "--quiet -c constraints.txt --no-deps --force-reinstall "
    "--index-url https://download.pytorch.org/whl/{} torch torchvision"
)
REST = {
    "course": "'.[course,slides]'",
    "lab": "'.[course,slides]'",
    "test": "'.[test,dev]'",
    "install": "'.[test,dev]'",
}


@pytest.mark.parametrize("target", REST)
def test_without_the_variable_the_default_index_decides(folder, target):
    assert would_run(folder, target) == [f"--quiet -c constraints.txt -e {REST[target]}"]


@pytest.mark.parametrize("target", REST)
@pytest.mark.parametrize("build", ["cpu", "cu130"])
def test_with_it_torch_comes_first_and_from_its_own_index_alone(folder, target, build):
    assert would_run(folder, target, f"TORCH={build}") == [
        TORCH.format(build),
        f"--quiet -c constraints.txt -e {REST[target]}",
    ]


def installed(folder, *stamps):
    """Make the folder look as after an installation."""
    (folder / ".venv" / "bin").mkdir(parents=True)
    for name in ("bin/python", *stamps):
        (folder / ".venv" / name).touch()


def test_what_was_chosen_stays_chosen(folder):
    installed(folder, ".torch-cpu", ".course", ".dev")
    assert would_run(folder, "course") == would_run(folder, "course", "TORCH=cpu") == []
    assert would_run(folder, "course", "TORCH=cu130")[0] == TORCH.format("cu130")
    (folder / ".venv" / ".course").unlink()
    assert would_run(folder, "course") == [f"--quiet -c constraints.txt -e {REST['course']}"]


def test_newer_pins_come_from_the_same_index(folder):
    installed(folder, ".torch-cpu", ".course", ".dev")
    later = (folder / ".venv" / ".dev").stat().st_mtime + 10
    os.utime(folder / "constraints.txt", (later, later))
    assert would_run(folder, "test")[0] == TORCH.format("cpu")


def test_an_environment_with_cuda_can_be_changed(folder):
    installed(folder, ".course", ".dev")
    assert would_run(folder, "course") == []
    assert would_run(folder, "course", "TORCH=cpu")[0] == TORCH.format("cpu")
