"""Checkpoints: whole or absent, checked to the byte, the last good one named."""

import errno
import os
import pickle

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


def test_foreign_files_are_refused(tmp_path):
    path = tmp_path / "checkpoint-00000001.pt"
    torch.save({"state_dict": {}}, path)
    with pytest.raises(CheckpointError, match="was not written by simclr_edu"):
        read_checkpoint(path)


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


def test_a_full_disk_loses_nothing_that_was_saved(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, 1, state(1))

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(tmp_path, 2, state(2))
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint-00000001.pt"]  # no half-written file either
    assert read_latest(tmp_path)[1]["step"] == 1
