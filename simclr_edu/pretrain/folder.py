"""The folder of a run: whose it is, and what lies in it for people to read."""

import contextlib
import csv
import io
import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simclr_edu._locks import one_writer
from simclr_edu.checkpoints import atomic_file, clear_unfinished, list_checkpoints
from simclr_edu.home import check_path

if TYPE_CHECKING:  # a run writes into its folder
    from simclr_edu.pretrain.run import Run

CONFIG, HISTORY = "config.json", "history.csv"
_WRITTEN_BY_RUNS = re.compile(r"checkpoint-\d{8}\.pt|config\.json|history\.csv")
_FIRST_COLUMNS = ("step", "epoch", "progress", "loss")  # how a history begins, and no other program's file


def as_folder(directory: str | os.PathLike[str]) -> Path:
    """The path of a directory that is there or can be made.

    Raises:
        TypeError, ValueError: an empty name, or something that is no directory is in its place.
    """
    if isinstance(directory, str) and not directory:
        raise ValueError("directory must have a name, got ''; '.' is the current one")
    folder = check_path(directory, "directory")
    for path in (folder, *folder.parents):
        if path.exists() and not path.is_dir():
            raise ValueError(f"{path} is a file, and {folder} must be a directory: give another one")
    return folder


def holds_run(folder: Path) -> bool:
    """Whether a run was begun in ``folder``, if only so far that its configuration was written."""
    return bool(list_checkpoints(folder)) or _is_our_config(folder / CONFIG)


@contextlib.contextmanager
def open_folder(folder: Path, resume: bool) -> Iterator[None]:
    """Be the one that trains in ``folder``, made if it is not there, until the end of the block.

    Raises:
        ValueError: it holds another run that is not to be resumed, or files of somebody else under the names
            that a run writes.
        FolderInUseError: somebody else trains there.
        OSError: it cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with one_writer(folder) as alone:
        if not resume and list_checkpoints(folder):
            raise ValueError(f"{folder} already holds a run: resume it, or give another directory")
        for name, is_ours in ((CONFIG, _is_our_config), (HISTORY, _is_our_history)):
            if os.path.lexists(folder / name) and not is_ours(folder / name):
                raise ValueError(
                    f"{folder / name} was not written by a run of simclr_edu and is not replaced: "
                    "give another directory"
                )
        if alone:
            clear_unfinished(folder, _WRITTEN_BY_RUNS)
        yield


def write_config(run: "Run") -> None:
    """Write the configuration and how the run stands, for people to read; nothing is read back from it."""
    if run.directory is not None:
        with atomic_file(run.directory / CONFIG) as file:
            text = json.dumps({"config": asdict(run.config), **run.summary()}, indent=2)
            file.write(f"{text}\n".encode())


def write_history(run: "Run") -> None:
    """Write the history as a table, a row a record, to be plotted while the run goes on."""
    if run.directory is not None:
        columns = list(dict.fromkeys([*_FIRST_COLUMNS, *(key for record in run.history for key in record)]))
        text = io.StringIO(newline="")
        table = csv.DictWriter(text, columns, lineterminator="\n")
        table.writeheader()
        table.writerows(run.history)
        with atomic_file(run.directory / HISTORY) as file:
            file.write(text.getvalue().encode())


def _is_our_config(path: Path) -> bool:
    try:
        stored: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    config = stored.get("config") if isinstance(stored, dict) else None
    return isinstance(config, dict) and {"encoder", "temperature", "batch_size"} <= config.keys()


def _is_our_history(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8") as file:
            first = file.readline(200)
    except (OSError, ValueError):
        return False
    return first.startswith(",".join(_FIRST_COLUMNS))
