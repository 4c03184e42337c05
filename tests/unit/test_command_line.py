"""The command line as a person meets it: one line of JSON at the end, one line for a mistake."""

import json
import os
import subprocess
import sys

import pytest
from PIL import Image

from simclr_edu import __main__ as cli
from simclr_edu import profiles
from simclr_edu.shapes import make_shapes


@pytest.fixture
def folder(tmp_path):
    """A folder of 60 pictures in three classes, laid out as a person would."""
    images, labels, _ = make_shapes(600, size=16)
    for split, rows in (("train", range(0, 450)), ("test", range(450, 600))):
        for i in rows:
            if labels[i] < 3:
                place = tmp_path / "pictures" / split / f"class{labels[i]}"
                place.mkdir(parents=True, exist_ok=True)
                Image.fromarray(images[i].permute(1, 2, 0).numpy()).save(place / f"{i}.png")
    return tmp_path / "pictures"


def run(capsys, *arguments):
    status = cli.main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return status, out, err


def test_pretrain_then_probe_on_a_folder_of_pictures(tmp_path, folder, capsys):
    status, out, _ = run(
        capsys, "pretrain", "--data", f"folder:{folder}", "--out", tmp_path / "run", "--epochs", 2,
        "--batch-size", 32, "--temperature", 0.3, "--seed", 1, "--encoder", "tiny",
    )  # fmt: skip
    assert status == 0
    summary = json.loads(out.splitlines()[-1])
    assert (
        summary["epochs"] == 2 and summary["pairs_per_s"] > 0 and summary["loss"] > 0 and summary["finished"]
    )
    recorded = json.loads((tmp_path / "run" / "config.json").read_text())["config"]
    assert recorded["temperature"] == 0.3 and recorded["seed"] == 1 and recorded["batch_size"] == 32

    status, out, _ = run(capsys, "probe", tmp_path / "run")
    assert status == 0
    scores = json.loads(out.splitlines()[-1])
    for name in (
        "linear",
        "knn",
        "random_encoder_linear",
        "random_encoder_knn",
        "pixels_linear",
        "pixels_knn",
    ):
        assert 0 <= scores[name] <= 1


def test_seconds_and_resume(tmp_path, folder, capsys):
    common = ("pretrain", "--data", f"folder:{folder}", "--out", tmp_path / "run", "--batch-size", 32)
    status, out, _ = run(capsys, *common, "--seconds", 0.5)
    assert status == 0 and json.loads(out.splitlines()[-1])["seconds"] >= 0.5
    status, _, err = run(capsys, *common, "--seconds", 0.5)
    assert status == 2 and "already holds a run: resume it" in err
    status, out, _ = run(capsys, *common, "--seconds", 0.5, "--resume")
    assert status == 0 and json.loads(out.splitlines()[-1])["finished"]
    status, _, err = run(capsys, *common, "--seconds", 0.5, "--resume", "--temperature", 0.9)
    assert status == 2 and "temperature 0.2 there and 0.9 here" in err


def test_doctor_says_what_is_there(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("SIMCLR_EDU_HOME", str(tmp_path))
    status, out, _ = run(capsys, "doctor")
    report = json.loads(out.splitlines()[-1])
    assert status == 0 and report["profile"] in profiles.PROFILES and "shapes" in report["datasets"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "expected one of"),
        (("train",), "train"),
        (("pretrain",), "out"),
        (("pretrain", "--out", "x", "--epochs", "many"), "--epochs"),
        (("pretrain", "--out", "x", "--bogus", "1"), "--bogus"),
        (("pretrain", "--out", "x", "--data", "cifar11"), "cifar11"),
        (("pretrain", "--out", "x", "--data", "folder:/does/not/exist"), "/does/not/exist"),
        (("pretrain", "--out", "x", "--temperature", "-1"), "temperature"),
        (("pretrain", "--out", "x", "--epochs", "2", "--seconds", "3"), "not both"),
        (("probe", "/does/not/exist"), "holds no checkpoint"),
    ],
)
def test_a_mistake_is_one_line_on_standard_error_and_status_2(
    arguments, words, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    status, out, err = run(capsys, *arguments)
    assert status == 2 and out == ""
    assert err.count("\n") == 1 and words.lower() in err.lower() and "Traceback" not in err
    assert not any(character in err for character in "╭│─")


def test_the_module_runs_as_a_program(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "simclr_edu", "probe", str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "SIMCLR_EDU_HOME": str(tmp_path)},
    )
    assert done.returncode == 2 and done.stdout == "" and "holds no checkpoint" in done.stderr


def test_help_names_every_setting(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["pretrain", "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for option in (
        "--data",
        "--out",
        "--encoder",
        "--epochs",
        "--seconds",
        "--temperature",
        "--batch-size",
        "--seed",
        "--resume",
    ):
        assert option in text


@pytest.mark.parametrize("name", ["laptop", "gpu"])
def test_the_profile_can_be_named(name, monkeypatch):
    monkeypatch.setenv("SIMCLR_EDU_PROFILE", name)
    assert profiles.current_profile().name == name
    assert name in profiles.describe(seed=3) and "seed 3" in profiles.describe(seed=3)


def test_an_unknown_profile_is_a_sentence(monkeypatch, capsys):
    monkeypatch.setenv("SIMCLR_EDU_PROFILE", "mainframe")
    status, _, err = run(capsys, "doctor")
    assert status == 2 and "must be one of laptop, gpu, got 'mainframe'" in err
