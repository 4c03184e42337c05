"""Where things lie: what comes with the package, and the folder where data, runs and results go."""

import os
from pathlib import Path

ASSETS = Path(__file__).parent / "assets"


def check_path(value: object, name: str) -> Path:
    """Return ``value`` as a path, ``~`` and ``~name`` replaced by the home folder of that user.

    Raises:
        TypeError: neither text nor a path.
        ValueError: an empty text, one that no file can have as its name, or nobody's home folder.
    """
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
    """Return the folder of data, runs and results: ``$SIMCLR_EDU_HOME``, else ``~/.cache/simclr_edu``.

    Raises:
        ValueError: that is in a home folder which is not known.
    """
    if asked := os.environ.get("SIMCLR_EDU_HOME"):
        return check_path(asked, "SIMCLR_EDU_HOME")
    try:
        return check_path("~/.cache/simclr_edu", "home")
    except ValueError:
        raise ValueError(
            "this user has no home folder: set SIMCLR_EDU_HOME to a folder for data and runs"
        ) from None


def data_folder(root: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder of the downloaded sets: ``root``, or ``data`` in ``home_folder()``.

    Raises:
        TypeError, ValueError: not a path, or in a home folder that is not known.
    """
    return home_folder() / "data" if root is None else check_path(root, "root")
