"""The wheel, built from a small copy of the project: what it carries, and where its links lead."""

import email
import re
import shutil
import subprocess
import sys
import zipfile
from email.message import Message
from pathlib import Path

import pytest

pytest.importorskip("hatchling")
ROOT = Path(__file__).resolve().parents[2]
ADDRESS = "https://example.org/owner/simclr_edu"


def build(folder: Path, repository: str) -> tuple[list[str], Message]:
    """Build a wheel beside ``folder``; return the names of its files, and its metadata."""
    for path in (
        "pyproject.toml",
        "hatch_build.py",
        "README.md",
        "LICENSE",
        ".gitignore",
        "simclr_edu_torchvision.py",
    ):
        shutil.copy(ROOT / path, folder / path)
    for path in (
        "simclr_edu/__init__.py",
        "notebooks/00_start_here.ipynb",
        "notebooks/source/00_start_here.py",
    ):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, folder / path)
    settings = (folder / "pyproject.toml").read_text(encoding="utf-8")
    assert 'repository = "' in settings
    lines = [
        f'repository = "{repository}"' if x.startswith("repository = ") else x for x in settings.split("\n")
    ]
    (folder / "pyproject.toml").write_text("\n".join(lines), encoding="utf-8")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "dist")]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = (folder / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        names = opened.namelist()
        metadata = next(name for name in names if name.endswith(".dist-info/METADATA"))
        return names, email.message_from_bytes(opened.read(metadata))


@pytest.fixture(scope="module")
def without_address(tmp_path_factory):
    return build(tmp_path_factory.mktemp("without"), "")


@pytest.fixture(scope="module")
def with_address(tmp_path_factory):
    return build(tmp_path_factory.mktemp("with"), ADDRESS)


def test_it_carries_the_notebooks_and_nothing_of_the_tools(without_address):
    names, _ = without_address
    rooms = {name.split("/")[0].split("-")[0] for name in names}
    assert rooms == {"simclr_edu", "simclr_edu_torchvision.py"}
    assert "simclr_edu/assets/notebooks/00_start_here.ipynb" in names
    assert not [name for name in names if "source" in name]


def test_the_command_is_declared(without_address):
    assert [name for name in without_address[0] if name.endswith("entry_points.txt")]


def test_without_an_address_nothing_is_linked_that_is_not_there(without_address):
    _, metadata = without_address
    assert metadata.get_all("Project-URL") is None
    text = metadata.get_payload()
    assert re.findall(r"\]\((?!https?:|#)", text) == []
    assert "00 Start here" in text and "00_start_here" not in text


def test_with_an_address_every_link_leads_there(with_address):
    _, metadata = with_address
    addresses = dict(line.split(", ") for line in metadata.get_all("Project-URL"))
    assert addresses["Repository"] == ADDRESS
    assert all(address.startswith(ADDRESS) for address in addresses.values())
    text = metadata.get_payload()
    assert f"[00 Start here]({ADDRESS}/blob/main/notebooks/00_start_here.ipynb)" in text
    assert f"]({ADDRESS}/raw/main/docs/similarity.png)" in text
    assert re.findall(r"\]\((?!https?:|#)", text) == []


def test_the_readme_of_the_project_links_to_files_that_are_there():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = re.findall(r"\]\((?![a-z]+:|#)([^)\s#]+)", text)
    assert targets and not [target for target in targets if not (ROOT / target).exists()]
