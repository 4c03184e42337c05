"""Checkpoints that are whole or not there at all, and that say what is wrong with them.

A checkpoint is an ordinary ``torch.save`` file of tensors and plain values, named after its step and read
with ``weights_only=True``, so that opening somebody else's cannot run code. A digest of all its values lies
in it, so that one whose numbers were edited is noticed. The two newest are kept: a damaged newest one still
leaves a good one to go on from. Files of other programs are neither replaced nor deleted, whatever their
names.
"""

import contextlib
import hashlib
import io
import os
import re
import secrets
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

FORMAT = "simclr_edu.checkpoint.2"
_WITHOUT_DIGEST = "simclr_edu.checkpoint.1"  # as they were at first: read without that check
_ANY_FORMAT = b"simclr_edu.checkpoint."
_KEEP = 2
_UNFINISHED = ".unfinished"  # ends the name of a file that is being written
_NAME = re.compile(r"^checkpoint-(\d{8})\.pt$")


class CheckpointError(ValueError):
    """A checkpoint is missing, damaged, foreign, or belongs to another configuration."""


def list_checkpoints(directory: str | os.PathLike[str]) -> list[Path]:
    """The checkpoints in ``directory``, oldest first; none if the directory does not exist."""
    folder = Path(directory)
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _NAME.match(path.name))


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes the place of ``path`` only once it is complete and on the disk.

    A reader, or a crash at any moment, sees the old file or the new one, never half of one.

    Raises:
        OSError: the directory cannot be written to, or the disk is full; ``path`` is then as it was.
    """
    # A name that nobody else has: not another thread, nor a process of the same number on another machine.
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{_UNFINISHED}")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # the content must reach the disk before the name does
        os.replace(temporary, path)
        _sync_names(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.errno is not None:  # say which file: a full disk does not
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def _sync_names(folder: Path) -> None:
    """Bring the folder's list of names to the disk, so that a file that was renamed survives a power cut."""
    if os.name != "posix":
        return  # Windows opens no folders and offers no such call
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def save_checkpoint(directory: str | os.PathLike[str], step: int, state: dict[str, Any]) -> Path:
    """Save ``state`` as the checkpoint of ``step`` and remove older ones of this package but for the newest.

    Raises:
        CheckpointError: a file of this name is there that this package did not write.
        OSError: the directory cannot be written to, or the disk is full; older checkpoints stay.
    """
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"checkpoint-{step:08d}.pt"
    if os.path.lexists(path) and not is_ours(path):
        raise CheckpointError(f"{path} was not written by simclr_edu and is not replaced: move it away")
    # By way of memory: straight to a full disk, torch.save ends in a RuntimeError about its own positions.
    content = io.BytesIO()
    state = {k: v for k, v in state.items() if k not in ("format", "digest")}
    torch.save({"format": FORMAT, "digest": _digest(state), **state}, content)
    with atomic_file(path) as file:
        file.write(content.getbuffer())
    older = [p for p in list_checkpoints(folder) if p.name < path.name and is_ours(p)]
    for old in older[: 1 - _KEEP]:
        with contextlib.suppress(OSError):
            old.unlink()
    return path


def is_ours(path: Path) -> bool:
    """Whether a file looks like a checkpoint of this package; its contents are not checked."""
    try:
        with zipfile.ZipFile(path) as archive:
            (pickled,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
            return _ANY_FORMAT in archive.read(pickled)
    except (OSError, ValueError, zipfile.BadZipFile):
        return False


def clear_unfinished(folder: Path, names: re.Pattern[str]) -> None:
    """Remove what killed processes left half-written of files called ``names``; nobody else may write."""
    for path in folder.glob(f".*{_UNFINISHED}"):
        if names.fullmatch(path.name[1:].split(_UNFINISHED)[0].rpartition(".")[0]):
            with contextlib.suppress(OSError):
                path.unlink()


def _digest(value: Any) -> str:
    """SHA-256 over every value in a state and its place."""
    digest = hashlib.sha256()

    def feed(value: Any) -> None:
        if isinstance(value, Tensor):
            digest.update(f"tensor {value.dtype} {tuple(value.shape)};".encode())
            plain = value.detach().cpu().resolve_conj().resolve_neg()
            flat = (plain if plain.layout == torch.strided else plain.to_dense()).contiguous().reshape(-1)
            digest.update(flat.view(torch.uint8).numpy().data)
        elif isinstance(value, dict):
            digest.update(f"dict {len(value)};".encode())
            for key, item in value.items():
                feed(key)
                feed(item)
        elif isinstance(value, list | tuple):
            digest.update(f"{type(value).__name__} {len(value)};".encode())
            for item in value:
                feed(item)
        else:
            digest.update(f"{type(value).__name__} {value!r};".encode())

    feed(value)
    return digest.hexdigest()


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read one checkpoint file onto the CPU, checking every byte of it.

    Raises:
        CheckpointError: the file is missing, damaged, edited, or was not written by this package.
        OSError: the file may not be read, or the disk fails.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint at {path}")
    try:
        with zipfile.ZipFile(path) as archive:  # what torch.save writes: its checksums find flipped bits
            bad = archive.testzip()
        if bad is not None:
            raise CheckpointError(f"{path} is damaged (the checksum of {bad} does not match)")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (CheckpointError, OSError):
        raise
    except Exception as error:
        raise CheckpointError(
            f"{path} is damaged, cut short, or not a checkpoint ({type(error).__name__})"
        ) from error
    form = state.get("format") if isinstance(state, dict) else None
    if form == FORMAT:
        content = {k: v for k, v in state.items() if k not in ("format", "digest")}
        if state.get("digest") != _digest(content):
            raise CheckpointError(
                f"{path} was edited after it was written: its values do not match its digest"
            )
    elif form != _WITHOUT_DIGEST:
        if isinstance(form, str) and form > FORMAT and form.encode().startswith(_ANY_FORMAT):
            raise CheckpointError(
                f"{path} was written by a newer version of simclr_edu ({form}): update yours"
            )
        raise CheckpointError(f"{path} was not written by simclr_edu (wanted format {FORMAT})")
    return dict(state)


def read_latest(directory: str | os.PathLike[str]) -> tuple[Path, dict[str, Any]]:
    """Read the newest checkpoint of a run's directory.

    Raises:
        CheckpointError: there is none, or the newest is damaged; the message names the last good one.
    """
    paths = list_checkpoints(directory)
    if not paths:
        raise CheckpointError(f"{directory} holds no checkpoint; give the directory of a run")
    try:
        return paths[-1], read_checkpoint(paths[-1])
    except CheckpointError as error:
        good = next((p for p in reversed(paths[:-1]) if _is_good(p)), None)
        way_on = (
            f"the last good one is {good.name}: delete {paths[-1].name} to go on from it"
            if good
            else "there is no older one to go back to"
        )
        raise CheckpointError(f"{error}; {way_on}") from error


def _is_good(path: Path) -> bool:
    try:
        read_checkpoint(path)
    except (CheckpointError, OSError):
        return False
    return True
