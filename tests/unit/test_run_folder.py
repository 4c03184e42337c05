"""The folder of a run: one writer at a time, and nobody else's files replaced or deleted."""

import json
import os
import platform
import re
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import filelock
import pytest
import torch

import simclr_edu
from simclr_edu import _locks
from simclr_edu.checkpoints import CheckpointError, list_checkpoints, read_latest, save_checkpoint
from simclr_edu.course import results
from simclr_edu.data.shapes import make_shapes
from simclr_edu.pretrain import PretrainConfig, StopPretraining, load_run, pretrain

IMAGES = make_shapes(32, size=16, seed=0)[0]
CONFIG = PretrainConfig(
    epochs=3, batch_size=16, projection_dim=8, log_every=1, checkpoint_every=2, device="cpu"
)
LOCK = ".simclr_edu.lock"


def fit(directory, callbacks=(), config=CONFIG, **kwargs):
    return pretrain(config, IMAGES, callbacks, directory=directory, progress=False, **kwargs)


def stop(run):
    raise StopPretraining


def files(folder) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}


# One writer.


def test_a_second_thread_is_refused_and_told_who_is_there_and_the_first_ends_as_ever(tmp_path):
    refusals = []

    def second():
        with pytest.raises(_locks.FolderInUseError) as caught:
            fit(tmp_path, resume=True)
        refusals.append(str(caught.value))

    def call(run):
        if run.step == 3:
            before = files(tmp_path)
            with ThreadPoolExecutor(1) as pool:
                pool.submit(second).result()
            second()  # nor may a callback of the run itself
            assert files(tmp_path) == before

    run = fit(tmp_path, [call])
    assert run.finished and load_run(tmp_path).finished
    for words in refusals:
        assert re.fullmatch(
            rf"{tmp_path} is being written to by process {os.getpid()} on {platform.node()} since "
            r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}: wait until it has ended, or give another directory",
            words,
        )
    assert len(refusals) == 2
    assert sorted(files(tmp_path)) == [
        LOCK,
        "checkpoint-00000004.pt",
        "checkpoint-00000006.pt",
        "config.json",
        "history.csv",
    ]


HOLD = """
import sys, time
from pathlib import Path
from simclr_edu._locks import one_writer
with one_writer(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.mark.slow
def test_another_process_is_named_and_once_killed_blocks_nobody(tmp_path):
    root = str(Path(simclr_edu.__file__).parents[1])
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
    ) as holder:
        try:
            assert holder.stdout.readline() == "held\n"
            with pytest.raises(_locks.FolderInUseError, match=f"by process {holder.pid} on "):
                fit(tmp_path)
            assert not list_checkpoints(tmp_path)
        finally:
            holder.kill()
    assert (tmp_path / LOCK).exists()  # what the killed one left behind
    assert fit(tmp_path).finished


def test_a_lock_left_behind_blocks_nobody(tmp_path):
    (tmp_path / LOCK).touch()
    (tmp_path / ".simclr_edu.writer").write_text("process 1 on elsewhere since 2020-01-01")
    assert fit(tmp_path).finished
    assert not (tmp_path / ".simclr_edu.writer").exists()


def test_a_run_that_fails_gives_its_lock_back(tmp_path):
    def fail(run):
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        fit(tmp_path, [fail])
    assert fit(tmp_path).finished


def test_a_file_system_without_locks_is_said(tmp_path, monkeypatch):
    def refuse(self, *args, **kwargs):
        raise OSError(_locks.errno.ENOLCK, "No locks available")

    monkeypatch.setattr(filelock.BaseFileLock, "acquire", refuse)
    left = tmp_path / ".checkpoint-00000009.pt.4242.unfinished"
    left.write_bytes(b"half")  # perhaps of one that writes it right now
    with pytest.warns(_locks.NoLocksWarning, match="has no locks: see to it that nobody else writes there"):
        assert fit(tmp_path).finished
    assert left.read_bytes() == b"half"


def test_what_killed_runs_left_half_written_is_cleared_by_the_next_and_nothing_else(tmp_path):
    ours = [
        ".checkpoint-00000002.pt.4242.unfinished",
        ".checkpoint-00000002.pt.4242-1a2b.unfinished",
        ".config.json.7-0f.unfinished",
        ".history.csv.7-0f.unfinished",
    ]
    theirs = [".note", ".thesis.tex.4242.unfinished", ".checkpoint-2.pt.4242.unfinished", "x.unfinished"]
    for name in (*ours, *theirs):
        (tmp_path / name).write_text(name)
    fit(tmp_path)
    assert not any((tmp_path / name).exists() for name in ours)
    assert all((tmp_path / name).read_text() == name for name in theirs)


def test_half_written_files_have_names_of_their_own(tmp_path):
    """Two writers, threads or processes of the same number on two machines, never share a file."""
    from simclr_edu.checkpoints import atomic_file

    with atomic_file(tmp_path / "a") as first, atomic_file(tmp_path / "a") as second:
        assert first.name != second.name
        first.write(b"1")
        second.write(b"2")
    assert (tmp_path / "a").read_bytes() == b"1"


def test_rows_recorded_at_once_are_all_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("SIMCLR_EDU_HOME", str(tmp_path / "home"))
    barrier = threading.Barrier(6)

    def notebook(k):
        barrier.wait()
        for i in range(4):
            results.record(f"row {k} {i}", notebook=f"{k:02}", linear=0.5)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(notebook, range(6)))
    assert len(results.rows()) == 24


RECORD = """
import sys
from simclr_edu.course import results
for i in range(10):
    results.record(f"row {sys.argv[1]} {i}", notebook=sys.argv[1], linear=0.5)
"""


@pytest.mark.slow
def test_rows_recorded_by_two_processes_at_once_are_all_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("SIMCLR_EDU_HOME", str(tmp_path / "home"))
    root = str(Path(simclr_edu.__file__).parents[1])
    command = [sys.executable, "-c", RECORD]
    env = {**os.environ, "PYTHONPATH": root}
    with subprocess.Popen([*command, "a"], env=env) as a, subprocess.Popen([*command, "b"], env=env) as b:
        assert a.wait() == b.wait() == 0
    assert len(results.rows()) == 20


def test_a_table_that_is_held_for_too_long_is_a_sentence(tmp_path):
    with _locks.in_turn_on(tmp_path / "results.json"), ThreadPoolExecutor(1) as pool:

        def second():
            with _locks.in_turn_on(tmp_path / "results.json", seconds=0.01):
                pass

        with pytest.raises(_locks.FolderInUseError, match="results.json has been held by another process"):
            pool.submit(second).result()


# Files that are not ours.


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", b'{"learning_rate": 0.1}'),
        ("config.json", b"[1, 2]"),
        ("config.json", b"precious, and no JSON"),
        ("config.json", b'{"config": "mine"}'),
        ("config.json", b"\xff\xfe"),
        ("history.csv", b"date,weight\n2020-01-01,80\n"),
        ("history.csv", b""),
        ("history.csv", b"\xff\xfe"),
    ],
)
def test_a_foreign_file_under_a_name_that_a_run_writes_is_left_and_named(tmp_path, name, content, resume):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(
        ValueError, match=f"{name} was not written by a run of simclr_edu and is not replaced"
    ):
        fit(tmp_path, resume=resume)
    assert files(tmp_path) == {LOCK: b"", name: content}


@pytest.mark.parametrize("name", ["checkpoint-00000001.pt", "checkpoint-00000900.pt"])
def test_a_foreign_file_named_like_a_checkpoint_is_never_deleted(tmp_path, name):
    (tmp_path / name).write_bytes(b"precious")
    with pytest.raises(ValueError, match="already holds a run"):
        fit(tmp_path)
    for step in (100, 200, 300, 400):
        save_checkpoint(tmp_path, step, {"step": step})
    assert (tmp_path / name).read_bytes() == b"precious"
    kept = [p.name for p in list_checkpoints(tmp_path) if p.name != name]
    assert kept == ["checkpoint-00000300.pt", "checkpoint-00000400.pt"]


def test_nor_one_of_another_program_that_torch_wrote(tmp_path):
    other = tmp_path / "checkpoint-00000001.pt"
    torch.save({"state_dict": {"w": torch.ones(3)}}, other)
    before = other.read_bytes()
    with pytest.raises(CheckpointError, match="was not written by simclr_edu and is not replaced"):
        save_checkpoint(tmp_path, 1, {"step": 1})
    for step in (2, 3, 4):
        save_checkpoint(tmp_path, step, {"step": step})
    assert other.read_bytes() == before


def test_a_run_resumed_beside_an_older_foreign_checkpoint_leaves_it(tmp_path):
    fit(tmp_path, [stop])
    (tmp_path / "checkpoint-00000000.pt").write_bytes(b"precious")
    assert fit(tmp_path, resume=True).finished
    assert (tmp_path / "checkpoint-00000000.pt").read_bytes() == b"precious"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "directory must have a name, got ''"),
        ("file", "file is a file, and .*file must be a directory"),
        ("file/run", "file is a file, and .*file/run must be a directory"),
    ],
)
def test_a_directory_that_cannot_be_one(tmp_path, monkeypatch, name, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("precious")
    with pytest.raises(ValueError, match=words):
        fit(name)
    assert files(tmp_path) == {"file": b"precious"}


def test_a_directory_that_is_no_path():
    with pytest.raises(TypeError, match="directory must be a path, got int"):
        fit(3)


def test_resume_without_a_directory_is_no_new_run():
    with pytest.raises(ValueError, match="resume needs the directory of the run"):
        fit(None, resume=True)


# Weights alone.


def test_weights_of_an_earlier_step_replace_nothing_and_are_not_deleted(tmp_path):
    early = fit(None, [stop])
    late = fit(tmp_path / "full")
    late.save_weights(tmp_path / "weights")
    before = files(tmp_path / "weights"), files(tmp_path / "full")
    with pytest.raises(CheckpointError, match="checkpoint-00000006.pt is of a later step than 1: give"):
        early.save_weights(tmp_path / "weights")
    for run in (early, late):
        with pytest.raises(
            CheckpointError, match="is of a run that can be resumed: give save_weights a folder"
        ):
            run.save_weights(tmp_path / "full")
    assert (files(tmp_path / "weights"), files(tmp_path / "full")) == before
    assert late.save_weights(tmp_path / "weights").exists()  # the same once more


def test_weights_may_be_saved_again_and_again_as_a_run_improves(tmp_path):
    fit(tmp_path / "run", [lambda run: run.save_weights(tmp_path / "best")])
    assert load_run(tmp_path / "best").step == 6
    assert [int(p.stem[-8:]) for p in list_checkpoints(tmp_path / "best")] == [5, 6]


def test_weights_do_not_go_into_a_folder_that_is_trained_in_nor_beside_foreign_checkpoints(tmp_path):
    def save(run):
        with pytest.raises(_locks.FolderInUseError):
            run.save_weights(tmp_path / "run")
        raise StopPretraining

    run = fit(tmp_path / "run", [save])
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "checkpoint-00000001.pt").write_bytes(b"precious")
    with pytest.raises(CheckpointError, match="was not written by simclr_edu: give save_weights a folder"):
        run.save_weights(tmp_path / "other")
    assert (tmp_path / "other" / "checkpoint-00000001.pt").read_bytes() == b"precious"


# What people read in it.


def test_the_history_lies_beside_the_checkpoint_as_a_table(tmp_path):
    def measure(run):
        run.history[-1]["knn"] = run.step / 10

    run = fit(tmp_path, [measure])
    header, *lines = (tmp_path / "history.csv").read_text().splitlines()
    names = header.split(",")
    assert names == list(run.history[0]) and names[:4] == ["step", "epoch", "progress", "loss"]
    assert [dict(zip(names, map(float, line.split(",")), strict=True)) for line in lines] == run.history


def test_a_record_of_other_libraries_numbers_is_saved_as_pythons(tmp_path):
    np = pytest.importorskip("numpy")

    def measure(run):
        run.history[-1] |= {"a": np.float64(0.25), "b": torch.tensor(0.5), "c": np.int64(3), "d": None}

    fit(tmp_path, [measure])
    last = read_latest(tmp_path)[1]["history"][-1]
    assert [last[k] for k in "abcd"] == [0.25, 0.5, 3, None]


def test_a_record_that_cannot_be_read_back_is_refused_when_it_is_saved(tmp_path):
    with pytest.raises(TypeError, match="must hold numbers and texts, got Path as 'place'|PosixPath"):
        fit(tmp_path, [lambda run: run.history[-1].update(place=tmp_path)])


def test_the_configuration_says_how_the_run_stands(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(tmp_path, config=replace(CONFIG, seed=4))
    stored = json.loads((tmp_path / "config.json").read_text())
    assert stored["config"]["seed"] == 4 and stored["finished"]
