"""Downloads that neither hang a class nor spoil what a program reads from standard output."""

import contextlib
import http.client
import socket
import sys
from collections.abc import Iterator

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


def reason_of(error: BaseException) -> str:
    """An exception as part of a sentence: its first line, or its type if it says nothing."""
    text = str(error).strip()
    return text.splitlines()[0].rstrip(".") if text else type(error).__name__
