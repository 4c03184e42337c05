"""The command without a terminal: it speaks now and then, and is quiet when told to be."""

import json
import re

import pytest

from simclr_edu import __main__ as cli
from simclr_edu import data
from simclr_edu.checkpoints import list_checkpoints
from simclr_edu.commands import training
from simclr_edu.pretrain import recorder

COMMAND = ("pretrain", "--batch-size", 32, "--projection-dim", 8, "--device", "cpu", "--log-every", 1)


@pytest.fixture(autouse=True)
def few_shapes(monkeypatch):
    monkeypatch.setattr(data.load, "_N_SHAPES_TRAIN", 64)
    monkeypatch.setattr(data.load, "_N_SHAPES_TEST", 20)


def run(capsys, *arguments):
    status = cli.main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return status, out, err.splitlines()


def test_a_line_every_so_often_tells_how_far_it_is(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(recorder, "SECONDS_A_LINE", 0.0)
    status, out, lines = run(capsys, *COMMAND, "--epochs", 2, "--out", tmp_path)
    assert status == 0 and json.loads(out)["steps"] == 4
    assert lines[0] == "pretrain tiny on shapes: 4 steps, starts at step 0"
    pattern = (
        r"pretrain tiny on shapes: step (\d), epoch [\d.]+, (\d+)%: loss [\d.]+, \d+ pairs/s, \d+ s"
        r"(, about \d+ s left)?"
    )
    found = [re.fullmatch(pattern, line) for line in lines[1:]]
    assert all(found) and [(m[1], m[2]) for m in found] == [
        ("1", "25"),
        ("2", "50"),
        ("3", "75"),
        ("4", "100"),
    ]
    assert [bool(m[3]) for m in found] == [True, True, True, False]
    assert (tmp_path / "history.csv").read_text().count("\n") == 5


def test_a_short_run_says_how_it_begins_and_ends(tmp_path, capsys):
    lines = run(capsys, *COMMAND, "--epochs", 1, "--out", tmp_path)[2]
    assert [line.split(": ")[1].split(",")[0] for line in lines] == ["2 steps", "step 2"]


def test_quiet_is_quiet(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(recorder, "SECONDS_A_LINE", 0.0)
    status, out, lines = run(capsys, *COMMAND, "--epochs", 1, "--out", tmp_path, "--quiet")
    assert status == 0 and json.loads(out)["finished"] and lines == []


class Gone:
    """A standard error that nobody reads any more."""

    def isatty(self):
        return False

    def write(self, text):
        raise BrokenPipeError

    def flush(self):
        raise BrokenPipeError


@pytest.mark.parametrize("stderr", [None, Gone()], ids=["closed", "gone"])
def test_a_run_does_not_stop_because_nobody_listens(tmp_path, monkeypatch, stderr, capsys):
    monkeypatch.setattr(cli.sys, "stderr", stderr)
    status = cli.main([str(a) for a in (*COMMAND, "--epochs", 1, "--out", tmp_path)])
    out = capsys.readouterr().out
    assert status == 0 and len(out.splitlines()) == 1 and json.loads(out)["finished"]


def test_resume_where_there_is_no_run_is_no_new_run(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(training, "load_images", lambda *a, **k: pytest.fail("loaded images first"))
    for name in ("typo", "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        status, out, lines = run(capsys, *COMMAND, "--out", tmp_path / name, "--resume")
        assert status == 2 and out == ""
        assert lines == [
            f"simclr_edu: --resume: {tmp_path / name} holds no run; leave --resume out to begin one there"
        ]
    assert not (tmp_path / "typo").exists()


def test_resume_goes_on_and_says_from_where(tmp_path, capsys):
    command = (*COMMAND, "--epochs", 2, "--out", tmp_path, "--checkpoint-every", 2)
    assert run(capsys, *command)[0] == 0
    list_checkpoints(tmp_path)[-1].unlink()
    status, out, lines = run(capsys, *command, "--resume")
    assert status == 0 and json.loads(out)["finished"]
    assert lines[0] == "pretrain tiny on shapes: 4 steps, goes on from step 2"


def test_a_run_killed_before_its_first_checkpoint_may_be_resumed(tmp_path, capsys):
    command = (*COMMAND, "--epochs", 1, "--out", tmp_path)
    assert run(capsys, *command)[0] == 0
    for path in list_checkpoints(tmp_path):
        path.unlink()
    status, _, lines = run(capsys, *command, "--resume")
    assert status == 0 and lines[0].endswith("2 steps, starts at step 0")


@pytest.mark.parametrize("out", ["", "file"])
def test_out_that_is_no_directory(tmp_path, capsys, monkeypatch, out):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("precious")
    status, shown, lines = run(capsys, *COMMAND, "--out", out)
    assert status == 2 and shown == "" and len(lines) == 1 and "directory" in lines[0]
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_seconds_that_end_after_one_step_say_so(tmp_path, capsys, monkeypatch):
    ticks = iter(range(0, 10_000, 5))
    monkeypatch.setattr(
        "simclr_edu.pretrain.clock.time", type("Clock", (), {"perf_counter": lambda: next(ticks)})
    )
    status, out, lines = run(capsys, *COMMAND, "--seconds", 1, "--out", tmp_path, "--quiet")
    assert status == 0 and json.loads(out)["steps"] == 1
    assert len(lines) == 1 and lines[0].startswith(
        "simclr_edu: 1 seconds were over after one step, which took"
    )
