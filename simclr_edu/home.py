"""Where things lie: what comes with the package, and the folder where data, runs and results go."""

import os
from pathlib import Path

ASSETS = Path(__file__).parent / "assets"


def home_folder() -> Path:
    """Return the folder of data, runs and results: ``$SIMCLR_EDU_HOME``, else ``~/.cache/simclr_edu``."""
    return Path(os.environ.get("SIMCLR_EDU_HOME") or "~/.cache/simclr_edu").expanduser()


def data_folder(root: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder of the downloaded sets: ``root``, or ``data`` in ``home_folder()``."""
    return home_folder() / "data" if root is None else Path(root).expanduser()
