"""Checkpoints: whole or absent, checked to the byte, the last good one named."""

import errno
import io
import math
import os
import pickle
import stat
import subprocess
import zipfile

import pytest
import torch

from simclr_edu import checkpoints
from simclr_edu.checkpoints import (
    CheckpointError,
    list_checkpoints,
    read_checkpoint,
    read_latest,
    save_checkpoint,
)


def state(value: float) -> dict:
    return {"weights": torch.full((1000,), float(value)), "step": int(value), "nested": {"names": ["a", "b"]}}


def test_what_is_saved_comes_back(tmp_path):
    path = save_checkpoint(tmp_path / "run", 12, state(12))
    assert path.name == "checkpoint-00000012.pt"
    found, loaded = read_latest(tmp_path / "run")
    assert found == path and loaded["step"] == 12 and loaded["nested"] == {"names": ["a", "b"]}
    assert torch.equal(loaded["weights"], torch.full((1000,), 12.0))


@pytest.mark.parametrize(
    "value",
    [
        torch.ones(3, dtype=torch.complex64).conj(),
        torch.tensor([True, False]),
        torch.tensor(math.nan),
        torch.empty(0, 3),
        torch.ones(3).to(torch.bfloat16),
        torch.eye(3).to_sparse(),
        torch.zeros(1).expand(4),
        torch.ones(2, 3, 4, 4).to(memory_format=torch.channels_last),
        {1: 2, (1, 2): None, "nested": [math.nan, (True, "x")]},
    ],
    ids=["conjugate", "bool", "NaN", "empty", "bfloat16", "sparse", "expanded", "channels last", "nested"],
)
def test_values_of_any_kind_are_saved_and_read_with_their_digest(tmp_path, value):
    save_checkpoint(tmp_path, 1, {"value": value})
    found = read_latest(tmp_path)[1]["value"]
    assert type(found) is type(value) and str(found) == str(value)


def test_the_two_newest_are_kept_in_order_of_step(tmp_path):
    for step in (5, 100, 20, 300):
        save_checkpoint(tmp_path, step, state(step))
    assert [p.name for p in list_checkpoints(tmp_path)] == [
        "checkpoint-00000100.pt",
        "checkpoint-00000300.pt",
    ]


def test_it_is_an_ordinary_torch_file(tmp_path):
    path = save_checkpoint(tmp_path, 1, state(1))
    assert torch.load(path, weights_only=True)["step"] == 1


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_any_flipped_byte_of_the_weights_is_noticed(tmp_path, seed):
    path = save_checkpoint(tmp_path, 1, state(7))
    content = bytearray(path.read_bytes())
    start = content.index(torch.full((1000,), 7.0).numpy().tobytes())
    place = start + int(torch.randint(4000, (1,), generator=torch.Generator().manual_seed(seed)))
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="is damaged"):
        read_checkpoint(path)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_damaged_and_the_last_good_one_is_named(tmp_path, share):
    save_checkpoint(tmp_path, 1, state(1))
    newest = save_checkpoint(tmp_path, 2, state(2))
    content = newest.read_bytes()
    newest.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(
        CheckpointError, match="last good one is checkpoint-00000001.pt: delete checkpoint-00000002.pt"
    ):
        read_latest(tmp_path)
    newest.unlink()
    assert read_latest(tmp_path)[1]["step"] == 1


def test_where_nothing_is_good_it_says_so(tmp_path):
    save_checkpoint(tmp_path, 1, state(1)).write_bytes(b"")
    with pytest.raises(CheckpointError, match="no older one to go back to"):
        read_latest(tmp_path)


def a_zip() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("holiday.txt", "sun")
    return content.getvalue()


def a_torch_file(value, **options) -> bytes:
    content = io.BytesIO()
    torch.save(value, content, **options)
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "damaged, cut short, or not a checkpoint"),
        (b"dear diary", "damaged, cut short, or not a checkpoint"),
        (a_zip(), "damaged, cut short, or not a checkpoint"),
        (pickle.dumps({"format": checkpoints.FORMAT}), "damaged, cut short, or not a checkpoint"),
        (a_torch_file({"x": 1}, _use_new_zipfile_serialization=False), "damaged, cut short, or not"),
        (a_torch_file({"state_dict": {}}), "was not written by simclr_edu"),
        (a_torch_file([1, 2]), "was not written by simclr_edu"),
        (a_torch_file({"format": "simclr_edu.checkpoint.0"}), "was not written by simclr_edu"),
    ],
    ids=["empty", "text", "zip", "pickle", "old torch", "other torch", "list", "older format"],
)
def test_foreign_files_are_refused_and_the_last_good_one_is_named(tmp_path, content, words):
    good = save_checkpoint(tmp_path, 1, state(1)).read_bytes()
    (tmp_path / "checkpoint-00000002.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=f"checkpoint-00000002.pt .*{words}"):
        read_checkpoint(tmp_path / "checkpoint-00000002.pt")
    with pytest.raises(CheckpointError, match="last good one is checkpoint-00000001.pt: delete"):
        read_latest(tmp_path)
    assert (tmp_path / "checkpoint-00000001.pt").read_bytes() == good
    assert (tmp_path / "checkpoint-00000002.pt").read_bytes() == content  # it may be somebody's only copy


class Bomb:
    def __reduce__(self):
        return (os.mkdir, ("bomb_went_off",))


def test_loading_runs_no_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "checkpoint-00000001.pt"
    torch.save({"format": checkpoints.FORMAT, "bomb": Bomb()}, path)
    with pytest.raises(CheckpointError):
        read_checkpoint(path)
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(CheckpointError):
        read_checkpoint(path)
    assert not (tmp_path / "bomb_went_off").exists()


def test_no_checkpoint_is_a_sentence(tmp_path):
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        read_latest(tmp_path)
    with pytest.raises(CheckpointError, match="there is no checkpoint at"):
        read_checkpoint(tmp_path / "missing.pt")
    assert list_checkpoints(tmp_path / "nowhere") == []


# --- writing --------------------------------------------------------------------------------------------


def test_the_content_reaches_the_disk_before_the_name_and_both_before_anything_is_deleted(
    tmp_path, monkeypatch
):
    for step in (1, 2):
        save_checkpoint(tmp_path, step, state(step))
    calls = []
    fsync, replace, unlink = os.fsync, os.replace, type(tmp_path).unlink

    def log_fsync(handle):
        calls.append("sync names" if stat.S_ISDIR(os.fstat(handle).st_mode) else "sync content")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", log_fsync)
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append("rename"), replace(a, b)))
    monkeypatch.setattr(
        type(tmp_path), "unlink", lambda path: (calls.append(f"delete {path.name}"), unlink(path))
    )
    save_checkpoint(tmp_path, 3, state(3))
    synced = ["sync names"] if os.name == "posix" else []
    assert calls == ["sync content", "rename", *synced, "delete checkpoint-00000001.pt"]


def test_what_others_left_half_written_is_ignored_and_left_alone(tmp_path):
    save_checkpoint(tmp_path, 1, state(1))
    rest = tmp_path / ".checkpoint-00000002.pt.4242.unfinished"
    rest.write_bytes(b"half")
    assert read_latest(tmp_path)[1]["step"] == 1
    save_checkpoint(tmp_path, 2, state(2))
    assert (
        rest.read_bytes() == b"half"
    )  # it may still be being written: whoever holds the folder's lock knows


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_checkpoint_may_be_read_by_those_who_may_read_new_files(tmp_path):
    before = os.umask(0o022)
    try:
        path = save_checkpoint(tmp_path, 1, state(1))
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@pytest.mark.parametrize("moment", ["while writing", "at the end"])
def test_a_full_disk_loses_nothing_that_was_saved(tmp_path, monkeypatch, moment):
    save_checkpoint(tmp_path, 1, state(1))

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    class FullFile(io.FileIO):
        def write(self, content):
            super().write(memoryview(content)[:1000])
            full()

    if moment == "at the end":
        monkeypatch.setattr(os, "fsync", full)
    else:
        monkeypatch.setattr(checkpoints, "open", FullFile, raising=False)
    with pytest.raises(OSError, match=r"No space left on device: '.*checkpoint-00000002.pt'"):
        save_checkpoint(tmp_path, 2, state(2))
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint-00000001.pt"]  # no half-written file either
    assert read_latest(tmp_path)[1]["step"] == 1


@pytest.fixture
def small_disk(tmp_path):
    """A disk of one megabyte, a real one; the test is skipped where none can be mounted."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    try:
        mounted = subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("only root on Linux may mount a small disk")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_is_really_full(small_disk):
    big = {"weights": torch.randn(100_000), "step": 1}  # 400 kB: two fit, the third does not
    for step in (1, 2):
        save_checkpoint(small_disk, step, {**big, "step": step})
    with pytest.raises(OSError, match=r"No space left on device: '.*checkpoint-00000003.pt'"):
        save_checkpoint(small_disk, 3, {**big, "step": 3})
    assert sorted(p.name for p in small_disk.iterdir()) == [
        "checkpoint-00000001.pt",
        "checkpoint-00000002.pt",
    ]
    assert read_latest(small_disk)[1]["step"] == 2


def test_a_file_that_may_not_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    path = save_checkpoint(tmp_path, 1, state(1))

    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(zipfile, "ZipFile", refuse)
    with pytest.raises(PermissionError, match="Permission denied"):
        read_latest(tmp_path)
