"""The command line as a person meets it: one line of JSON at the end, one line for a mistake."""

import errno
import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from simclr_edu import __main__ as cli
from simclr_edu import checkpoints, data, distributed, evaluate
from simclr_edu.checkpoints import list_checkpoints, read_latest
from simclr_edu.commands import training
from simclr_edu.course import profiles
from simclr_edu.data import load_images
from simclr_edu.data.shapes import make_shapes
from simclr_edu.encoders import make_encoder
from simclr_edu.pretrain import NonFiniteLossError, PretrainConfig, StopPretraining, load_run, pretrain


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


@pytest.mark.slow
def test_probe_of_published_weights_on_a_folder_of_pictures(tmp_path, folder, capsys, monkeypatch):
    """Random weights stand for the published ones, which no test can download."""
    from torchvision import models

    with torch.random.fork_rng():
        torch.manual_seed(7)
        published = models.resnet18(weights=None)
    (tmp_path / "checkpoints").mkdir()
    torch.save(published.state_dict(), tmp_path / "weights.pth")
    digest = hashlib.sha256((tmp_path / "weights.pth").read_bytes()).hexdigest()
    file = (tmp_path / "weights.pth").rename(tmp_path / "checkpoints" / f"resnet18-{digest[:8]}.pth")
    monkeypatch.setattr(
        models.ResNet18_Weights.IMAGENET1K_V1.value, "url", f"https://example.invalid/{file.name}"
    )
    monkeypatch.setattr("torch.hub._hub_dir", str(tmp_path))
    command = ("probe", "--weights", "imagenet", "--encoder", "resnet18", "--data", f"folder:{folder}")

    status, out, err = run(capsys, *command)  # pictures of 16 pixels
    assert (status, out) == (2, "") and "must have 64 pixels a side or more" in err and "16 x 16" in err

    status, out, _ = run(capsys, *command, "--image-size", 64)
    scores = json.loads(out.splitlines()[-1])
    assert status == 0 and scores["encoder"] == "resnet18" and scores["weights"] == "imagenet"
    images = load_images(f"folder:{folder}", image_size=64)
    expected = evaluate.probe_scores(make_encoder("resnet18", "imagenet", "imagenet"), images)
    assert (scores["linear"], scores["knn"]) == tuple(round(v, 4) for v in expected.values())
    assert {"random_encoder_linear", "pixels_linear"} <= set(scores)


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
        (("probe",), "needs the directory of a run, or --weights"),
        (("probe", "--weights", "imagenet"), "needs --data"),
        (("probe", "run", "--weights", "imagenet", "--data", "digits"), "not both, got run as well"),
        (("probe", "run", "--encoder", "resnet18"), "a run brings its own encoder"),
        (("probe", "--weights", "imagenet", "--data", "digits", "--encoder", "tiny"), "none for tiny"),
        (("probe", "--weights", "imagenet", "--data", "digits"), "weights of resnet50 are not in"),
    ],
)
def test_a_mistake_is_one_line_on_standard_error_and_status_2(
    arguments, words, capsys, tmp_path, monkeypatch, refuse
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("torch.hub._hub_dir", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", refuse)
    status, out, err = run(capsys, *arguments)
    assert status == 2 and out == ""
    assert err.count("\n") == 1 and words.lower() in err.lower() and "Traceback" not in err
    assert not any(character in err for character in "╭│─")


@pytest.mark.slow
def test_the_module_runs_as_a_program(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "simclr_edu", "probe", str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "SIMCLR_EDU_HOME": str(tmp_path)},
    )
    assert done.returncode == 2 and done.stdout == "" and "holds no checkpoint" in done.stderr


@pytest.mark.parametrize(
    ("error", "rank", "status", "said"),
    [
        (ValueError("no"), 0, 2, "simclr_edu: no\n"),
        (ValueError("no"), 3, 2, "simclr_edu (rank 3): no\n"),
        (distributed.ElsewhereError("rank 3 failed: no"), 0, 2, ""),  # rank 3 says so
        (distributed.LostRankError("rank 1 is gone"), 0, 2, "simclr_edu: rank 1 is gone\n"),
        (NonFiniteLossError("nan"), 0, 2, "simclr_edu: nan\n"),
        (NonFiniteLossError("nan"), 1, 2, ""),  # the same on all ranks, so rank 0 says it
        (KeyboardInterrupt(), 0, 130, "simclr_edu: interrupted\n"),
        (KeyboardInterrupt(), 1, 130, ""),
    ],
)
def test_with_several_processes_an_error_is_said_once(error, rank, status, said, capsys, monkeypatch):
    def fail(arguments):
        raise error

    monkeypatch.setattr(cli, "_parse", fail)
    monkeypatch.setattr(distributed, "rank", lambda: rank)
    assert run(capsys, "doctor") == (status, "", said)


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


# --- what goes wrong with files, disks and numbers ------------------------------------------------------

TINY_RUN = ("--epochs", 2, "--batch-size", 32, "--projection-dim", 8, "--device", "cpu", "--quiet")


def files(directory) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


def assert_mistake(result, *words):
    """Exit status 2, nothing on standard output, one line on standard error that holds the words."""
    status, out, err = result
    assert status == 2 and out == ""
    assert err.startswith("simclr_edu: ") and err.count("\n") == 1 and "\r" not in err
    assert "Traceback" not in err
    for word in words:
        assert word in err, err


def test_a_corrupt_picture_is_named(tmp_path, folder, capsys):
    broken = sorted(folder.rglob("*.png"))[3]
    broken.write_bytes(broken.read_bytes()[:60])
    result = run(capsys, "pretrain", "--data", f"folder:{folder}", "--out", tmp_path / "run", *TINY_RUN)
    assert_mistake(result, str(broken), "cannot be read as an image")
    assert not (tmp_path / "run").exists()


def test_fewer_pictures_than_a_batch(tmp_path, folder, capsys):
    result = run(
        capsys, "pretrain", "--data", f"folder:{folder}", "--out", tmp_path / "run", "--batch-size", 4096
    )
    n = len(list((folder / "train").rglob("*.png")))
    assert_mistake(result, f"batch_size 4096 needs as many images, got {n}: lower batch_size")
    assert not (tmp_path / "run").exists()


def test_one_class_can_be_pretrained_on_and_not_probed(tmp_path, folder, capsys):
    for split in ("train", "test"):
        for name in ("class1", "class2"):
            for picture in (folder / split / name).iterdir():
                picture.rename(folder / split / "class0" / picture.name)
            (folder / split / name).rmdir()
    status, out, _ = run(
        capsys, "pretrain", "--data", f"folder:{folder}", "--out", tmp_path / "run", *TINY_RUN
    )
    assert status == 0 and json.loads(out)["finished"]
    before = files(tmp_path / "run")
    assert_mistake(run(capsys, "probe", tmp_path / "run"), "at least 2 classes")
    assert files(tmp_path / "run") == before


def test_pictures_of_every_kind_and_size_in_one_folder(tmp_path, capsys):
    """Grey, with transparency, palette, 16 bits, two colours, CMYK; upright, lying, tiny, odd."""
    dice = np.random.default_rng(0)
    for split in ("train", "test"):
        place = tmp_path / "mixed" / split / "all"
        place.mkdir(parents=True)
        for i, (width, height) in enumerate([(16, 16), (33, 17), (9, 40), (7, 5), (1, 3), (64, 48)]):
            picture = Image.fromarray(dice.integers(0, 256, (height, width, 3), dtype=np.uint8))
            for mode in ("L", "LA", "RGBA", "P", "1"):
                picture.convert(mode).save(place / f"{i}{mode}.png")
            picture.convert("CMYK").save(place / f"{i}.jpg")
            Image.fromarray(dice.integers(0, 2**16, (height, width), dtype=np.uint16)).save(
                place / f"{i}.png"
            )
    status, out, _ = run(
        capsys, "pretrain", "--data", f"folder:{tmp_path / 'mixed'}", "--out", tmp_path / "run",
        "--image-size", 16, *TINY_RUN,
    )  # fmt: skip
    assert status == 0 and json.loads(out)["steps"] == 2


def save_something_else(path):
    torch.save({"weights": torch.zeros(3)}, path)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1000])


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (truncate, "is damaged, cut short"),
        (flip_a_bit, "is damaged"),
        (save_something_else, "was not written by simclr_edu"),
        (lambda path: path.write_text("dear diary"), "not a checkpoint"),
    ],
    ids=["truncated", "one bit", "foreign", "text"],
)
def test_a_damaged_checkpoint_is_named_and_the_last_good_one_too(tmp_path, folder, capsys, damage, words):
    command = ("pretrain", "--data", f"folder:{folder}", "--out", tmp_path / "run", "--checkpoint-every", 2)
    assert run(capsys, *command, *TINY_RUN)[0] == 0
    good, newest = list_checkpoints(tmp_path / "run")
    whole = newest.read_bytes()
    damage(newest)
    before = files(tmp_path / "run")
    advice = f"the last good one is {good.name}: delete {newest.name} to go on from it"
    assert_mistake(run(capsys, *command, *TINY_RUN, "--resume"), str(newest), words, advice)
    assert_mistake(run(capsys, "probe", tmp_path / "run"), str(newest), words, advice)
    assert files(tmp_path / "run") == before
    newest.unlink()  # the advice is good: what comes out is what was there
    assert run(capsys, *command, *TINY_RUN, "--resume")[0] == 0
    newest_again = list_checkpoints(tmp_path / "run")[-1]
    assert newest_again == newest
    newest.with_name("checkpoint-00000999.pt").write_bytes(whole)
    assert all(
        torch.equal(a, b)
        for a, b in zip(
            checkpoints.read_checkpoint(newest)["model"].values(),
            read_latest(tmp_path / "run")[1]["model"].values(),
            strict=True,
        )
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (("--encoder", "resnet18"), "encoder 'tiny' there and 'resnet18' here"),
        (("--temperature", "0.5"), "temperature 0.2 there and 0.5 here"),
        (("--no-color",), "color True there and False here"),
        (("--strength", "0.25"), "strength 0.5 there and 0.25 here"),
    ],
)
def test_another_configuration_is_not_resumed(tmp_path, folder, capsys, changes, words):
    command = ("pretrain", "--data", f"folder:{folder}", "--out", tmp_path / "run", *TINY_RUN)
    assert run(capsys, *command)[0] == 0
    before = files(tmp_path / "run")
    assert_mistake(run(capsys, *command, "--resume", *changes), "cannot be resumed", words)
    assert files(tmp_path / "run") == before


def test_pictures_that_have_changed_are_not_resumed(tmp_path, folder, capsys):
    command = ("pretrain", "--data", f"folder:{folder}", "--out", tmp_path / "run", *TINY_RUN)
    assert run(capsys, *command)[0] == 0
    next((folder / "train").rglob("*.png")).unlink()
    assert_mistake(run(capsys, *command, "--resume"), "trained on other images")


def test_a_full_disk(tmp_path, folder, capsys, monkeypatch):
    command = ("pretrain", "--data", f"folder:{folder}", "--out", tmp_path / "run", "--checkpoint-every", 2)
    fsync, times = os.fsync, iter(range(100))

    def fill_up(handle):
        if next(times) == 10:  # two calls each for config.json, two checkpoints and histories, content first
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", fill_up)
    assert_mistake(
        run(capsys, *command, *TINY_RUN),
        "No space left on device",
        str(tmp_path / "run" / "checkpoint-00000006.pt"),
    )
    assert [p.name for p in list_checkpoints(tmp_path / "run")] == [
        "checkpoint-00000002.pt",
        "checkpoint-00000004.pt",
    ]
    assert run(capsys, *command, *TINY_RUN, "--resume")[0] == 0


def test_a_folder_that_may_not_be_written(capsys, monkeypatch, read_only_folder):
    monkeypatch.setattr(data.load, "_N_SHAPES_TRAIN", 64)
    monkeypatch.setattr(data.load, "_N_SHAPES_TEST", 20)
    result = run(capsys, "pretrain", "--data", "shapes", "--out", read_only_folder / "run", *TINY_RUN)
    assert_mistake(result, "Permission denied", str(read_only_folder))


def test_out_is_a_file(capsys, tmp_path, folder):
    (tmp_path / "run").write_text("precious")
    result = run(capsys, "pretrain", "--data", f"folder:{folder}", "--out", tmp_path / "run", *TINY_RUN)
    assert_mistake(result, str(tmp_path / "run"))
    assert (tmp_path / "run").read_text() == "precious"


def test_a_loss_that_is_not_finite(capsys, tmp_path, folder):
    command = ("pretrain", "--data", f"folder:{folder}", "--out", tmp_path / "run", *TINY_RUN)
    result = run(capsys, *command, "--learning-rate", "1e30", "--checkpoint-every", 1)
    assert_mistake(
        result, "at step 2 (epoch 0.50)", "too high for adamw", "last checkpoint is checkpoint-00000001.pt"
    )
    assert all(v.isfinite().all() for v in load_run(tmp_path / "run").model.state_dict().values())


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_out_of_range(capsys, tmp_path, folder, seed):
    command = ("pretrain", "--data", f"folder:{folder}", "--out", tmp_path / "run", *TINY_RUN)
    assert_mistake(run(capsys, *command, "--seed", seed), f"seed must be from 0 to 4294967295, got {seed}")


def test_an_interrupt_is_no_traceback(capsys, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "load_images", interrupt)
    assert run(capsys, "pretrain", "--out", "x") == (130, "", "simclr_edu: interrupted\n")


# --- one run, three ways --------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_notebook_command_line_and_resumed_run_agree_to_the_bit(tmp_path, folder, capsys, seed):
    source = f"folder:{folder}"
    config = PretrainConfig(
        data=source, epochs=2, batch_size=32, projection_dim=8, seed=seed, log_every=3, device="cpu"
    )

    torch.manual_seed(1)
    shown = []  # a notebook draws while it trains
    called = pretrain(
        config, load_images(source), [lambda run: shown.append(torch.rand(3))], directory=tmp_path / "a"
    )

    torch.manual_seed(2)
    status, out, _ = run(
        capsys,
        "pretrain",
        "--data",
        source,
        "--out",
        tmp_path / "b",
        "--seed",
        seed,
        "--log-every",
        3,
        *TINY_RUN,
    )
    assert status == 0 and json.loads(out)["loss"] == called.summary()["loss"] and shown

    def stop(run):
        raise StopPretraining

    pretrain(config, load_images(source), [stop], directory=tmp_path / "c", progress=False)
    torch.rand(5)
    assert run(
        capsys, "pretrain", "--data", source, "--out", tmp_path / "c", "--seed", seed, "--log-every", 3,
        "--resume", *TINY_RUN,
    )[0] == 0  # fmt: skip

    def outcome(directory):
        state = read_latest(directory)[1]
        moments = [v for s in state["optimizer"]["state"].values() for v in s.values()]
        history = [
            {k: v for k, v in r.items() if k not in ("seconds", "pairs_per_s")} for r in state["history"]
        ]
        return [*state["model"].values(), *moments, state["generators"]["augmentation"]], history

    a, b, c = (outcome(tmp_path / name) for name in "abc")
    assert a[1] == b[1] == c[1] and len(a[1]) == 3
    for other in (b, c):
        assert len(a[0]) == len(other[0]) > 50
        assert all(torch.equal(x, y) for x, y in zip(a[0], other[0], strict=True))
