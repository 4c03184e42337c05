"""Downloads that do not hang a class, spoil what a program reads from standard output or leave halves behind.

The downloads themselves are torchvision's and torch.hub's; this is what they do not do. Pooch 1.9 would
replace torchvision's and take nothing away from here: it, too, replaces a file of a wrong checksum that lies
there already, begins a broken download anew, and leaves its temporary file when it is killed. It says that
there is no network in a line of urllib3's, and took 4 times torchvision's CPU seconds for 100 MB (0.99
against 0.25; torch.hub 0.14; medians of five, taken in turn on one core of an AMD EPYC).
"""

import contextlib
import http.client
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

TIMEOUT = 30.0  # seconds without an answer; a silent firewall would otherwise hang the class

# What a download that fails raises: no network, a broken connection, a wrong checksum, a full disk.
DOWNLOAD_ERRORS = (OSError, RuntimeError, http.client.HTTPException)


@contextlib.contextmanager
def downloading() -> Iterator[None]:
    """Inside, a silent server is given up after ``TIMEOUT``, and what is printed goes to standard error."""
    before = socket.getdefaulttimeout()
    # Standard output may be read by a program (one line of JSON): progress belongs on standard error.
    with contextlib.redirect_stdout(sys.stderr):
        socket.setdefaulttimeout(TIMEOUT)
        try:
            yield
        finally:
            socket.setdefaulttimeout(before)


def remove_leftovers(folder: Path, pattern: str) -> None:
    """Delete what downloads that were killed left in ``folder``: up to gigabytes that nobody would look for.

    A download that still goes on, in another process, has written something within ``TIMEOUT``.
    """
    for path in folder.glob(pattern):
        with contextlib.suppress(OSError):  # gone meanwhile, or another user's
            last = max(file.stat().st_mtime for file in (path, *path.rglob("*")))
            if time.time() - last > 10 * TIMEOUT:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def reason_of(error: BaseException) -> str:
    """An exception as part of a sentence: its first line, or its type if it says nothing."""
    text = str(error).strip()
    return text.splitlines()[0].rstrip(".") if text else type(error).__name__
