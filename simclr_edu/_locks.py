"""One writer at a time: locks that the operating system holds for a process, and gives back when it ends.

A lock is taken on an empty file beside what it guards and belongs to whoever holds the file open: a process
that was killed leaves the file behind and no lock (``flock`` on Linux and macOS, ``msvcrt`` on Windows, by
way of the library filelock). Each thread is a holder of its own.

Network file systems: NFS and SMB pass these locks on to the server, so a run on one machine refuses one on
another; of a machine that vanished, the server gives them back after its own time, some 90 seconds with NFS
4. Where there is no service for locks (``ENOLCK``, ``ENOTSUP``), the work goes on after a warning: only the
people who start the processes can see to it that there is one. Where even the call is missing (``ENOSYS``, as
on Lustre mounted without ``flock``), filelock says so and takes the file itself, with the process's number in
it, for the lock; one left by a killed process on another machine then has to be deleted by hand.
"""

import contextlib
import datetime
import errno
import os
import platform
import warnings
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

LOCK, WRITER = ".simclr_edu.lock", ".simclr_edu.writer"
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


class FolderInUseError(ValueError):
    """Another process or thread writes to this folder; the message says which one and since when."""


class NoLocksWarning(UserWarning):
    """The file system has no locks, so that nothing keeps a second writer away."""


@contextlib.contextmanager
def _locked(path: Path, seconds: float) -> Iterator[bool]:
    """Hold the lock ``path``, waiting for it at most so long; False within if there are no locks here.

    Raises:
        Timeout: somebody else holds it.
    """
    lock, held = FileLock(path, timeout=seconds), True
    try:
        lock.acquire()
    except (OSError, NotImplementedError) as error:
        if isinstance(error, Timeout) or (isinstance(error, OSError) and error.errno not in _NO_LOCKS):
            raise
        held = False
        warnings.warn(
            f"the file system of {path.parent} has no locks: see to it that nobody else writes there",
            NoLocksWarning,
            stacklevel=2,
        )
    try:
        yield held
    finally:
        if held:
            lock.release()


@contextlib.contextmanager
def one_writer(folder: Path) -> Iterator[bool]:
    """Be the one that writes to ``folder``, which is there, until the end of the block.

    Returns:
        Whether nobody else can write there meanwhile: False on a file system without locks.

    Raises:
        FolderInUseError: somebody else is; at once, without waiting.
        OSError: the folder cannot be written to.
    """
    with contextlib.ExitStack() as stack:
        try:
            alone = stack.enter_context(_locked(folder / LOCK, 0))
        except Timeout:
            raise FolderInUseError(
                f"{folder} is being written to by {_writer(folder)}: wait until it has ended, "
                "or give another directory"
            ) from None
        note = folder / WRITER
        since = datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S %z")
        note.write_text(
            f"process {os.getpid()} on {platform.node() or 'this machine'} since {since}\n", "utf-8"
        )
        try:
            yield alone
        finally:
            with contextlib.suppress(OSError):
                note.unlink()


def _writer(folder: Path) -> str:
    try:
        return (folder / WRITER).read_text(encoding="utf-8").strip() or "another process"
    except (OSError, ValueError):
        return "another process"  # that has only just begun


@contextlib.contextmanager
def in_turn_on(path: Path, seconds: float = 60) -> Iterator[None]:
    """Be the only one that reads ``path``, changes it and writes it back; wait for others to be done.

    Raises:
        FolderInUseError: somebody else was at it for so long.
        OSError: the folder cannot be written to.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(_locked(path.with_name(f".{path.name}.lock"), seconds))
        except Timeout:
            raise FolderInUseError(
                f"{path} has been held by another process for {seconds:g} seconds: end it and try again"
            ) from None
        yield
