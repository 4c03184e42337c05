"""Where things lie: what comes with the package, and the one folder where data, runs and results go."""

import os
from pathlib import Path

from simclr_edu._checks import check_kind

ASSETS = Path(__file__).parent / "assets"
WAY_OUT = "set the environment variable SIMCLR_EDU_HOME to a folder that you may write"


class HomeError(OSError):
    """There is no home folder, or it may not be written; the message says which, and names the way out."""


def check_path(value: object, name: str) -> Path:
    """Return ``value`` as a path, ``~`` and ``~name`` replaced by the home folder of that user.

    Raises:
        TypeError: neither text nor a path.
        ValueError: an empty text, one that no file can have as its name, or nobody's home folder.
    """
    check_kind(name, "name", str, "a string")
    if isinstance(value, bytes) or not isinstance(value, str | os.PathLike):
        raise TypeError(f"{name} must be a path, got {type(value).__name__}")
    text = os.fspath(value)
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        raise ValueError(f"{name} must be a path, got {text!r}")
    try:
        return Path(text).expanduser()
    except RuntimeError:  # a shell leaves ~name as it is where it knows no such user
        raise ValueError(f"{name} {text} cannot be found: no home folder is known for that user") from None


def home_folder() -> Path:
    """Return the folder of data, runs and results, however a notebook was opened.

    It is ``$SIMCLR_EDU_HOME``, else ``~/.cache/simclr_edu``; it need not be there yet.

    Raises:
        HomeError: neither the environment nor the system knows of a home folder.
    """
    asked = os.environ.get("SIMCLR_EDU_HOME")
    try:
        return check_path(asked or "~/.cache/simclr_edu", "SIMCLR_EDU_HOME")
    except ValueError as error:  # no HOME, and a user whom the system does not know; or ~name of nobody
        said = str(error) if asked else "no home folder is known on this machine"
        raise HomeError(f"{said}: {WAY_OUT}") from None


def home_problem() -> str | None:
    """Say in one sentence why nothing can be kept in ``home_folder()``, or return None. Nothing is made."""
    try:
        folder = home_folder()
    except HomeError as error:
        return str(error)
    if may_be_made(folder):
        return None
    return f"results, runs and data cannot be kept in {folder}, which may not be written: {WAY_OUT}"


def may_be_made(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder may be written, or be made where it is not. Nothing is made."""
    folder = check_path(folder, "folder")
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(path))
    effective = os.access in os.supports_effective_ids
    return os.path.isdir(there) and os.access(there, os.W_OK | os.X_OK, effective_ids=effective)


def writable_home() -> Path:
    """Return ``home_folder()``, made if it was not there.

    Raises:
        HomeError: it cannot be made or may not be written.
    """
    if problem := home_problem():
        raise HomeError(problem)
    folder = home_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HomeError(f"{folder} cannot be made ({error.strerror}): {WAY_OUT}") from error
    return folder


def data_folder(root: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder of the downloaded sets: ``root``, or ``data`` in ``home_folder()``.

    Raises:
        TypeError, ValueError: not a path, or in a home folder that is not known.
        HomeError: no ``root``, and no home folder is known.
    """
    return home_folder() / "data" if root is None else check_path(root, "root")
