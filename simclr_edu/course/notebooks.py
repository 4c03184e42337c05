"""The notebooks that come with the package, copied out to where a learner can open and change them."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from simclr_edu.home import ASSETS

# What is copied: notebooks, the look of their live slides, the pictures that they show.
KINDS = ("[0-9]*.ipynb", "*.css", "figures/*.svg")


@dataclass(frozen=True)
class Copied:
    """What ``copy_notebooks`` did, by file name: written, already there as they come, there and changed."""

    written: list[str]
    same: list[str]
    changed: list[str]


def notebooks_folder() -> Path:
    """Return the folder of the course's notebooks: the package's own, or that of the checkout it lies in.

    Raises:
        FileNotFoundError: neither is there.
    """
    packed, beside = ASSETS / "notebooks", ASSETS.parent.parent / "notebooks"
    for folder in (packed, beside):
        if any(folder.glob("[0-9]*.ipynb")):
            return folder
    raise FileNotFoundError(
        f"this installation of simclr_edu has no notebooks: neither {packed} nor {beside}"
    )


def copy_notebooks(folder: str | os.PathLike[str]) -> Copied:
    """Copy the notebooks, outputs and pictures too, into ``folder``; a file that is there is never changed.

    Args:
        folder: where to; made if it is not there.

    Raises:
        ValueError: ``folder`` is empty text, or the home folder of nobody.
        NotADirectoryError: it is a file.
        OSError: it cannot be made or written to.
    """
    if not str(folder):
        raise ValueError("the notebooks need a folder to go to, got ''")
    try:
        target = Path(folder).expanduser()
    except RuntimeError as error:
        raise ValueError(f"there is no home folder for {folder}") from error
    if target.exists() and not target.is_dir():
        raise NotADirectoryError(f"{target} is a file; the notebooks need a folder to go to")
    source = notebooks_folder()
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"the folder {target} cannot be made: {error.strerror}") from error
    done = Copied([], [], [])
    for path in sorted(path for kind in KINDS for path in source.glob(kind)):
        name, text = path.relative_to(source).as_posix(), path.read_bytes()
        place = target / name
        try:
            place.parent.mkdir(exist_ok=True)
        except FileExistsError:  # a file of the learner's, where the pictures' folder should be
            done.changed.append(name)
            continue
        try:  # "x" fails where a file is, even one that came this moment: nobody's work is written over
            with place.open("xb") as copy:
                _write_whole(copy, text, place)
        except FileExistsError:
            same = place.is_file() and place.read_bytes() == text
            (done.same if same else done.changed).append(name)
        else:
            done.written.append(name)
    return done


def _write_whole(copy: BinaryIO, text: bytes, place: Path) -> None:
    """Write a file that was just made, or leave none: half of one would pass for the learner's own."""
    try:
        copy.write(text)
        copy.flush()
    except BaseException:
        place.unlink(missing_ok=True)
        raise
