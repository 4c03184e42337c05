"""What an examination may use up: seconds of the processor, and room for what is printed."""

import ctypes
import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Of the processor, for a whole examination; one takes about a tenth of a second. A busy machine makes the
# clock on the wall run on, not this one.
SECONDS = 20.0
WALL_SECONDS = 120.0  # where a thread's processor time cannot be read (macOS, Windows)
MOST_CHARACTERS = 2000


class TooLong(BaseException):
    """The examination used up its time. No Exception: the learner's `except Exception` must not catch it."""


def _clock_of_this_thread() -> tuple[Callable[[], float], float]:
    """A clock that another thread can read, and how far it may run."""
    if hasattr(time, "pthread_getcpuclockid"):
        number = time.pthread_getcpuclockid(threading.get_ident())
        return lambda: time.clock_gettime(number), SECONDS
    return time.monotonic, WALL_SECONDS


@contextmanager
def ending() -> Iterator[None]:
    """Raise TooLong in this thread when the time is up.

    Not by a signal: those reach the main thread of Unix alone. An operation of torch is not cut short.
    """
    thread, over, lock = threading.get_ident(), threading.Event(), threading.Lock()
    clock, most = _clock_of_this_thread()
    start = clock()

    def watch() -> None:
        while not over.wait(0.1 if clock() - start < most else 1.0):
            with lock:
                if clock() - start >= most and not over.is_set():
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(
                        ctypes.c_ulong(thread), ctypes.py_object(TooLong)
                    )

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        with lock:
            over.set()
        watcher.join()


class Printed(io.TextIOBase):
    """Keeps the beginning of what is written, and counts the lines of the rest."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self.lines = 0
        self._open = False  # the last line has not ended yet

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        room = MOST_CHARACTERS - len(self.text)
        if room > 0:
            self.text += text[:room]
        if text:
            self.lines += text.count("\n") + (not text.endswith("\n")) - self._open
            self._open = not text.endswith("\n")
        return len(text)
