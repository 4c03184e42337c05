"""What a run may use: the device, its fast precision and random state, memory kept from step to step."""

import contextlib
import ctypes
import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator

import torch
from torch import Tensor

from simclr_edu._checks import check_choice, check_kind, check_seed, check_tensor

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # names of glibc's malloc.h: M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
# Entries of a matrix of similarities that are held at once: 64 MB in float32.
ENTRIES_AT_ONCE = 1 << 24
_KEEP_UP_TO = 1 << 30  # bytes; what lies above is still given back


def pick_device(name: str = "auto") -> torch.device:
    """The device called ``name``; ``auto`` is CUDA if there is one, else MPS, else the CPU.

    Raises:
        ValueError: the device that was asked for by name is not there.
    """
    check_choice(name, "device", ("auto", "cpu", "cuda", "mps"))
    if name == "auto":
        return torch.device(next(kind for kind, count in _how_many().items() if count))
    return check_device(name)


def _how_many() -> dict[str, int]:
    """How many devices of each kind there are, in the order of preference."""
    return {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available()), "cpu": 1}


def check_device(value: object, name: str = "device") -> torch.device:
    """Return the device that ``value`` names, such as ``cpu`` or ``cuda:1``, if it is there.

    Raises:
        TypeError: neither text nor a torch.device.
        ValueError: no such device, or none of that kind on this machine.
    """
    check_kind(name, "name", str, "a string")
    if not isinstance(value, str | torch.device):
        raise TypeError(f"{name} must be a torch.device or its name, got {type(value).__name__}")
    try:
        device = torch.device(value)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda", "mps"):
        raise ValueError(f"{name} must be cpu, cuda or mps, got {str(value)!r}")
    if (device.index or 0) >= (count := _how_many()[device.type]):
        found = f"finds {count}" if count else "finds none"
        raise ValueError(
            f"device {device} was asked for, but torch {torch.__version__} {found} on this machine"
        )
    return device


def bf16_is_fast(device: torch.device) -> bool:
    """Whether this device multiplies bfloat16 in hardware.

    A CPU without the instructions emulates them, hundreds of times slower than float32.

    Raises:
        TypeError, ValueError: not a device of this machine.
    """
    device = check_device(device)
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        return torch.ops.mkldnn._is_mkldnn_bf16_supported() and torch.cpu._is_avx512_bf16_supported()
    return False


def check_compiler(device: torch.device) -> None:
    """Make sure that ``torch.compile`` finds what it compiles with on this device.

    Raises:
        ValueError: no C++ compiler for a CPU, no Triton for a GPU.
    """
    device = check_device(device)
    if device.type == "cpu":
        usual = {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
        compiler = os.environ.get("CXX", usual)
        if shutil.which(compiler) is None:
            raise ValueError(
                f"compiling for a CPU needs a C++ compiler, and {compiler} is not there: leave compile out"
            )
    elif device.type == "cuda" and importlib.util.find_spec("triton") is None:
        raise ValueError("compiling for CUDA needs the package triton, which is not installed: run without")


@contextlib.contextmanager
def seeded(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Within, torch's own numbers on ``device`` follow from ``seed``; its state comes back afterwards."""
    check_seed(seed)
    kind = check_device(device).type
    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if kind == "cuda" else []):
        # torch.manual_seed would seed a GPU as well, which work on the CPU has no business with.
        (torch.default_generator if kind == "cpu" else torch).manual_seed(seed)
        yield


def hand_over(small: Tensor, device: torch.device) -> Tensor:
    """Return a small tensor of the CPU on ``device``; nobody waits until a GPU has come to it.

    Raises:
        TypeError, ValueError: not a tensor, or not a device of this machine.
    """
    check_tensor(small, "small")
    device = check_device(device)
    if device.type != "cuda":
        return small.to(device)
    return small.pin_memory().to(device, non_blocking=True)


def keep_freed_memory() -> bool:
    """Let this process reuse freed blocks of up to 1 GiB; return whether the C library was told so.

    Every step allocates the same activations, tens of megabytes each. By default glibc returns such blocks to
    the system when they are freed, and the next step fetches and clears every page again. On a CPU
    that is a good part of a small step.

    Only glibc (Linux) has these settings; elsewhere nothing is done. The process keeps the memory of its
    largest step until it ends. Calling it again changes nothing.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # musl
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _KEEP_UP_TO)) and bool(mallopt(_TRIM_THRESHOLD, _KEEP_UP_TO))
