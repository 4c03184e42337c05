"""The notebooks of the package, copied to a learner's folder: nothing of theirs is ever written over."""

import json
import os
import re

import pytest

from simclr_edu import __main__ as cli
from simclr_edu import __version__
from simclr_edu.commands import machine
from simclr_edu.course import notebooks
from simclr_edu.course.notebooks import copy_notebooks, notebooks_folder


@pytest.fixture
def packed(tmp_path, monkeypatch):
    """A package that carries two small notebooks, a picture and a style sheet."""
    assets = tmp_path / "site-packages" / "simclr_edu" / "assets"
    (assets / "notebooks" / "figures").mkdir(parents=True)
    for name in NAMES:
        (assets / "notebooks" / name).write_text(f"{name} as it comes")
    monkeypatch.setattr(notebooks, "ASSETS", assets)
    return assets / "notebooks"


NAMES = ["00_first.ipynb", "01_second.ipynb", "figures/method.svg", "rise.css"]


def test_all_are_copied_and_a_second_time_none(tmp_path, packed):
    target = tmp_path / "new" / "course"
    done = copy_notebooks(target)
    assert (done.written, done.same, done.changed) == (NAMES, [], [])
    assert {name: (target / name).read_bytes() for name in NAMES} == {
        name: (packed / name).read_bytes() for name in NAMES
    }
    assert len([p for p in target.rglob("*") if p.is_file()]) == len(NAMES)
    again = copy_notebooks(str(target))
    assert (again.written, again.same, again.changed) == ([], NAMES, [])


@pytest.mark.parametrize("kind", ["file", "folder", "link to a file", "link to nothing"])
def test_what_is_there_stays(tmp_path, packed, kind):
    target = tmp_path / "mine"
    target.mkdir()
    place, other = target / "00_first.ipynb", tmp_path / "elsewhere"
    if kind == "file":
        place.write_text("my answers")
    elif kind == "folder":
        place.mkdir()
    else:
        if kind == "link to a file":
            other.write_text("my answers")
        place.symlink_to(other)
    done = copy_notebooks(target)
    assert (done.written, done.same, done.changed) == (NAMES[1:], [], NAMES[:1])
    if kind == "folder":
        assert place.is_dir() and not list(place.iterdir())
    elif kind == "link to nothing":
        assert place.is_symlink() and not other.exists()
    else:
        assert place.read_text() == "my answers"


def test_a_file_where_the_pictures_go_stays(tmp_path, packed):
    target = tmp_path / "mine"
    target.mkdir()
    (target / "figures").write_text("my list of figures")
    done = copy_notebooks(target)
    assert done.changed == ["figures/method.svg"] and "rise.css" in done.written
    assert (target / "figures").read_text() == "my list of figures"


def test_every_picture_that_a_notebook_shows_is_copied(tmp_path):
    copy_notebooks(tmp_path)
    shown = {
        address
        for path in tmp_path.glob("*.ipynb")
        for address in re.findall(r"!\[[^]]*\]\((?!\w+:)([^)]+)\)", path.read_text(encoding="utf-8"))
    }
    assert "figures/method.svg" in shown
    assert [address for address in shown if not (tmp_path / address).is_file()] == []


def test_half_a_notebook_is_not_left_behind(tmp_path, packed, monkeypatch):
    write = notebooks._write_whole

    def full_disk(copy, text, place):
        if place.name == "01_second.ipynb":

            class Full:
                def write(self, text):
                    place.write_bytes(text[:4])
                    raise OSError(28, "No space left on device")

            return write(Full(), text, place)
        return write(copy, text, place)

    monkeypatch.setattr(notebooks, "_write_whole", full_disk)
    with pytest.raises(OSError, match="No space left"):
        copy_notebooks(tmp_path / "mine")
    assert os.listdir(tmp_path / "mine") == ["00_first.ipynb"]


def test_a_checkout_takes_its_own_and_a_bare_package_says_so(tmp_path, monkeypatch):
    assert (notebooks_folder() / "00_start_here.ipynb").is_file()
    assets = tmp_path / "checkout" / "simclr_edu" / "assets"
    monkeypatch.setattr(notebooks, "ASSETS", assets)
    with pytest.raises(FileNotFoundError, match="has no notebooks"):
        copy_notebooks(tmp_path / "mine")
    (tmp_path / "checkout" / "notebooks").mkdir(parents=True)
    (tmp_path / "checkout" / "notebooks" / "02_third.ipynb").write_text("{}")
    assert copy_notebooks(tmp_path / "mine").written == ["02_third.ipynb"]


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("", "need a folder to go to, got ''"),
        ("~nobody-of-that-name/x", "no home folder for ~nobody-of-that-name/x"),
        ("a file", "is a file"),
        ("a file/x", "cannot be made"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path, packed, monkeypatch, capsys, folder, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a file").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    assert cli.main(["notebooks", folder]) == cli.USER_ERROR
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and message in err
    assert sorted(tmp_path.rglob("*")) == before


def test_the_command_says_what_it_did_and_how_to_go_on(tmp_path, packed, monkeypatch, capsys):
    target = tmp_path / "my course"
    target.mkdir()
    (target / "rise.css").write_text("mine")
    monkeypatch.setattr(machine, "find_spec", lambda name: None)
    assert cli.main(["notebooks", str(target)]) == 0
    out, err = capsys.readouterr()
    assert "pip install jupyterlab" in out and err.startswith(f"kept {target / 'rise.css'}")
    result = json.loads(out.splitlines()[-1])
    assert result == {"directory": str(target), "written": NAMES[:3], "same": [], "changed": NAMES[3:]}
    monkeypatch.setattr(machine, "find_spec", lambda name: object())
    cli.main(["notebooks", str(target)])
    assert f"jupyter lab '{target}'" in capsys.readouterr().out


def test_the_version_is_asked_for_by_name(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"simclr_edu {__version__}\n"
