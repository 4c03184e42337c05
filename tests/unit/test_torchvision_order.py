"""Where the package is installed, torchvision and the package can be imported in any order."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import simclr_edu_torchvision

ROOT = Path(__file__).resolve().parents[2]
METADATA = "Metadata-Version: 2.1\nName: course_installed\nVersion: 0\n"
ENTRY = "[torch.backends]\nsimclr_edu_test = simclr_edu_torchvision:declare_operators\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    "program",
    [
        "import torchvision, simclr_edu",
        "from torchvision.transforms import v2; import simclr_edu.encoders",
        "import simclr_edu, torchvision",
    ],
)
def test_any_order_works_without_a_warning(tmp_path, program):
    installed = tmp_path / "course_installed-0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text(METADATA)
    (installed / "entry_points.txt").write_text(ENTRY)
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"{program}; print('both')"],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("both\n", "")


@pytest.fixture
def declared(tmp_path, monkeypatch):
    """Declare beside a torch and a torchvision of given builds; return the operators."""

    def declare(cuda, version):
        names = []
        monkeypatch.setattr(torch.version, "cuda", cuda)
        there = SimpleNamespace()
        monkeypatch.setattr(torch, "ops", SimpleNamespace(torchvision=there))

        def define(name, schema):
            names.append(name)
            setattr(there, name.partition("::")[2], schema)

        monkeypatch.setattr(torch.library, "define", define)
        if version:
            (tmp_path / "version.py").write_text(f"__version__ = '{version}'\n")
        spec = type("Spec", (), {"origin": str(tmp_path / "__init__.py")})
        monkeypatch.setattr(
            simclr_edu_torchvision, "find_spec", lambda name: spec if version is not None else None
        )
        for _ in range(2):  # as where two installed packages name it
            simclr_edu_torchvision.declare_operators()
        return names

    return declare


@pytest.mark.parametrize(
    ("cuda", "version"),
    [
        ("13.0", "0.28.0+cu130"),
        (None, "0.28.0+cpu"),
        (None, "0.28.0"),
        (None, "0.28.0+custom"),
        (None, ""),
        (None, None),
    ],
)
def test_a_pair_that_fits_is_left_alone(declared, cuda, version):
    assert declared(cuda, version) == []


def test_a_torchvision_for_cuda_beside_a_torch_without_gets_both_operators(declared):
    assert declared(None, "0.28.0+cu130") == ["torchvision::nms", "torchvision::qnms"]
