"""The one home folder of data, runs and results: read-only machines, no HOME, a HOME that is none."""

import json
import os
import pwd
from pathlib import Path

import pytest

from simclr_edu import __main__ as cli
from simclr_edu import home
from simclr_edu.course import profiles, results
from simclr_edu.data import load_images


@pytest.fixture
def nobody(monkeypatch):
    """A user without a HOME whom the system does not know, as in a container with a number for a user."""

    def unknown(uid):
        raise KeyError(uid)

    for name in ("HOME", "SIMCLR_EDU_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)


@pytest.fixture(params=["a read-only home", "a home that cannot be made", "a file for a home"])
def bad_home(request, monkeypatch, read_only_folder):
    path = {
        "a read-only home": read_only_folder,
        "a home that cannot be made": read_only_folder / "a" / "b",
        "a file for a home": Path(os.devnull, "home"),
    }[request.param]
    monkeypatch.setenv("SIMCLR_EDU_HOME", str(path))
    return path


def test_home_is_the_variable_or_the_cache_of_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("SIMCLR_EDU_HOME", "~/mine")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert home.home_folder() == tmp_path / "mine"
    monkeypatch.delenv("SIMCLR_EDU_HOME")
    assert home.home_folder() == tmp_path / ".cache" / "simclr_edu" and home.home_problem() is None
    assert list(tmp_path.iterdir()) == []  # looking makes nothing
    assert home.writable_home().is_dir()


def assert_way_out(text):
    assert "SIMCLR_EDU_HOME" in text and "\n" not in text


def test_no_home_at_all_is_a_sentence_and_drawn_data_need_none(nobody):
    for call in (
        home.home_folder,
        home.writable_home,
        lambda: results.record("x", notebook="00", linear=0.5),
    ):
        with pytest.raises(home.HomeError) as error:
            call()
        assert_way_out(str(error.value))
    assert_way_out(profiles.describe().splitlines()[-1])
    assert len(load_images("digits").train_images)


def test_a_home_that_may_not_be_written_is_a_sentence(bad_home):
    assert_way_out(home.home_problem())
    assert str(bad_home) in home.home_problem()
    assert home.home_problem() == profiles.describe().splitlines()[-1]
    with pytest.raises(home.HomeError, match="SIMCLR_EDU_HOME"):
        results.record("chance", notebook="00", linear=0.1)


def test_doctor_says_where_home_is(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("SIMCLR_EDU_HOME", str(tmp_path))
    assert cli.main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert f"home of data, runs and results: {tmp_path}\n" in text
    assert json.loads(text.splitlines()[-1])["home"] == str(tmp_path)


def test_doctor_says_that_there_is_no_home(nobody, capsys):
    assert cli.main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert home.WAY_OUT in text and json.loads(text.splitlines()[-1])["home"] is None


def test_nothing_is_amiss_with_a_home_like_any(monkeypatch, tmp_path):
    monkeypatch.setenv("SIMCLR_EDU_HOME", str(Path(tmp_path, "new")))
    assert len(profiles.describe().splitlines()) == 2
