"""Making views by their parameters, a piece of the batch at a time so that it stays in the cache."""

from typing import Protocol

import torch
from torch import Tensor

from simclr_edu.augment import resample
from simclr_edu.augment.bands import Resize, Scratch, block_for, make_blur, resize_numbers
from simclr_edu.augment.colour import Jitter, jitter_group, luma, with_room
from simclr_edu.augment.parameters import AugmentParameters
from simclr_edu.device import hand_over

# On a CPU images are worked on in pieces of about this many floats a thread. Of large images that is one for
# each thread: operations on it are long enough, and the cache of a core holds no second one.
_SMALL_PIECE, _LARGE_PIECE = 1 << 20, 1 << 18


def make_views(x: Tensor, parameters: AugmentParameters, size: int, kernel_size: int) -> Tensor:
    """Make the views (V, C, size, size) of images (B, C, H, W) that the parameters of V views describe."""
    # What to do with which view is decided on the CPU: a GPU is handed its work and never waited for.
    parameters = parameters.to("cpu")
    # Sorted by where hue comes in the order of operations, views that need the same step lie side
    # by side, and the steps work on slices.
    group, index = jitter_group(parameters).sort(stable=True)
    p, edges = parameters[index], [0, *torch.bincount(group, minlength=5).cumsum(0).tolist()]
    out = torch.empty(len(p), x.shape[1], size, size, device=x.device)
    large, channels = block_for(x, size) > 0, x.shape[1]
    step = len(p)
    if x.device.type == "cpu":
        whole = channels * max(x.shape[2] * x.shape[3], size**2)
        step = max(1, (_LARGE_PIECE if large else _SMALL_PIECE) // whole) * torch.get_num_threads()
    step = min(step, len(p))
    room = with_room(step, channels, size, size, x.device)
    make: _Maker
    between = None
    if large:
        scratch = Scratch(max(resize_numbers(x, size), step * channels * size**2))
        between = scratch.first(step, channels, size**2)
        make = _OneByOne(x, p, index, size, kernel_size, out, scratch)
    else:
        make = _Batches(x, p, index, size, kernel_size, out)
    jitter = Jitter(p, x.device) if edges[1] < edges[5] else None
    for start in range(0, len(p), step):
        here = room[: len(p) - start]
        views = here[:, :-1]
        make.resize(start, views)
        if jitter is not None:
            local = [min(max(e - start, 0), len(here)) for e in edges]
            jitter(here, start, local, None if between is None else between[: len(here)])
        make.finish(start, views)
    return out


class _Maker(Protocol):
    """What comes before the colours and after them, for the views from number ``start`` on."""

    def resize(self, start: int, views: Tensor) -> None: ...

    def finish(self, start: int, views: Tensor) -> None: ...


class _Batches:
    """Small images, and images on a GPU: every operation takes the whole piece at once."""

    def __init__(
        self, x: Tensor, p: AugmentParameters, index: Tensor, size: int, kernel_size: int, out: Tensor
    ) -> None:
        self.grayscale, self.blur = p.grayscale.tolist(), p.blur.tolist()
        self.boxes, self.flip, self.sigma = (hand_over(t, x.device) for t in (p.boxes, p.flip, p.sigma))
        self.x, self.index = x, hand_over(index, x.device)
        self.size, self.kernel_size, self.out = size, kernel_size, out

    def resize(self, start: int, views: Tensor) -> None:
        piece = slice(start, start + len(views))
        images = self.x.index_select(0, self.index[piece] % len(self.x))
        resized = resample.crop_and_resize(images, self.boxes[piece], self.flip[piece], self.size)
        # Shares add up to 1 but for rounding, which the clamp takes away.
        torch.clamp(resized, 0, 1, out=views)

    def finish(self, start: int, views: Tensor) -> None:
        piece = slice(start, start + len(views))
        if (rows := self._chosen(self.grayscale[piece])) is not None:
            gray = luma(views.index_select(0, rows)).unsqueeze(1)
            views.index_copy_(0, rows, gray.expand(-1, 3, -1, -1))
        if (rows := self._chosen(self.blur[piece])) is not None:
            sigma = self.sigma[piece].index_select(0, rows)
            blurred = resample.gaussian_blur(views.index_select(0, rows), sigma, self.kernel_size)
            views.index_copy_(0, rows, blurred.clamp_(0, 1))
        self.out.index_copy_(0, self.index[piece], views)

    def _chosen(self, flags: list[bool]) -> Tensor | None:
        rows = [i for i, flag in enumerate(flags) if flag]
        return hand_over(torch.tensor(rows), self.x.device) if rows else None


class _OneByOne:
    """Large images on a CPU: all but the colours image by image, by banded products."""

    def __init__(
        self,
        x: Tensor,
        p: AugmentParameters,
        index: Tensor,
        size: int,
        kernel_size: int,
        out: Tensor,
        scratch: Scratch,
    ) -> None:
        block = block_for(x, size)
        self.images, self.out, self.rows = len(x), out.unbind(), index.tolist()
        self.grayscale, self.blurred = p.grayscale.tolist(), p.blur.tolist()
        self.resized = Resize(x, p.boxes, p.flip, size, block, scratch)
        if any(self.blurred):
            self.blur = make_blur(p.sigma, kernel_size, (x.shape[1], size, size), block, scratch)

    def resize(self, start: int, views: Tensor) -> None:
        for v, view in enumerate(views, start):
            self.resized(self.rows[v] % self.images, v, view)

    def finish(self, start: int, views: Tensor) -> None:
        for v, view in enumerate(views, start):
            if self.grayscale[v]:
                view.copy_(luma(view[None]).expand_as(view))
            out = self.out[self.rows[v]]
            if self.blurred[v]:
                self.blur(view, v, out)
            else:
                torch.clamp(view, 0, 1, out=out)
