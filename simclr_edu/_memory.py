"""Large blocks of memory, kept for the next step: on a CPU a good part of a small step is page faults.

Every step allocates the same activations, tens of megabytes each. By default glibc returns such blocks to the
system when they are freed, and the next step pays for fetching and clearing every page again.
"""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # names of glibc's malloc.h: M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
_KEEP_UP_TO = 1 << 30  # bytes; what lies above is still given back


def keep_freed_memory() -> bool:
    """Let this process reuse freed blocks of up to 1 GiB; return whether the C library was told so.

    Only glibc (Linux) has these settings; elsewhere nothing is done. The process keeps the memory of its
    largest step until it ends. Calling it again changes nothing.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # musl
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _KEEP_UP_TO)) and bool(mallopt(_TRIM_THRESHOLD, _KEEP_UP_TO))
