"""Batches of pixels: their size, their channels, and whether they fit in memory."""

import contextlib
import os
from pathlib import Path

import torch
from torch import Tensor

from simclr_edu.data.image_set import DataError


def resize_to(images: Tensor, size: int, name: str, chunk: int = 1024) -> Tensor:
    """Return uint8 ``(N, 3, size, size)``, contiguous, resized with antialiasing if need be."""
    if images.shape[2] == size:
        return images.contiguous()
    require_memory(len(images) * 3 * size**2, f"{name} at {size} x {size} pixels")
    resized = torch.empty(len(images), 3, size, size, dtype=torch.uint8)
    for start in range(0, len(images), chunk):  # all at once, the float copy would be 4 times the images
        part = images[start : start + chunk].float()
        part = torch.nn.functional.interpolate(part, size=(size, size), mode="bilinear", antialias=True)
        resized[start : start + chunk] = part.round().clamp(0, 255).to(torch.uint8)
    return resized


def grey_to_rgb(images: Tensor) -> Tensor:
    return images.unsqueeze(1).expand(-1, 3, -1, -1)  # (N, H, W) to (N, 3, H, W)


# Memory and messages


def require_memory(needed: int, what: str) -> None:
    """Raise DataError if ``needed`` bytes are more than the machine has free (where that can be asked)."""
    free = _free_memory()
    if free is not None and needed > free:
        raise DataError(
            f"{what} would need {needed / 1e9:.1f} GB of memory and {free / 1e9:.1f} GB are free; "
            f"choose a smaller image_size or fewer images"
        )


def _free_memory() -> int | None:
    """Bytes that can still be allocated, within a container's limit on Linux; None where nothing says so."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        try:
            return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")  # macOS: the whole memory
        except (AttributeError, ValueError, OSError):
            return None  # Windows: not known without another dependency
    group = Path("/sys/fs/cgroup")
    with contextlib.suppress(OSError, ValueError, StopIteration):  # "max" means no limit and is no number
        limit, used = (int((group / file).read_text()) for file in ("memory.max", "memory.current"))
        stat = (group / "memory.stat").read_text().splitlines()
        # Files that are cached count as used, but are given back on demand.
        cache = next(int(line.split()[1]) for line in stat if line.startswith("file "))
        free = min(free, limit - used + cache)
    return free
