"""How far a long computation is, told to the program that started this process, if it wants to know."""

import os
import time
from pathlib import Path

VARIABLE = "SIMCLR_EDU_PROGRESS"  # names a file; the program reads it to know that this process is not stuck
_EVERY = 1.0  # seconds
_last = -_EVERY


def tell(share: float) -> None:
    """Write the share that is done, 0 to 1, into the file, once a second at most; without one do nothing.

    A file that cannot be written is passed over: a run does not end for it.
    """
    global _last
    path = os.environ.get(VARIABLE)
    if not path or time.monotonic() - _last < _EVERY:
        return
    _last = time.monotonic()
    try:
        Path(path).write_text(f"{share:.4f}", encoding="utf-8")
    except OSError:
        return
