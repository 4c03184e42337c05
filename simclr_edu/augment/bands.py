"""Crop, resize and blur of large images on a CPU, one at a time, by banded products.

A new row needs only a few old ones. So a block of new rows is a small dense product with the old rows around
it, its *window*, and most of the zeros of a dense product are left out; so for columns. Between the passes
the image lies as suits them: rows are mixed for all channels at once in (H, C, W), columns in any order of
rows. One image at a time stays in the cache; at 224 pixels that is worth more than the calls that a batch
would save. The calls themselves weigh as much as the work, so windows are cut out by one call each.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from simclr_edu.augment.resample import gaussian_blur, gaussian_kernels, resize_taps

# So many new columns or rows are one block.
_BLOCK, _SMALLEST_BLOCK = 16, 8
# Up to this side, batches are quicker (see resample).
_SMALL_SIDE = 64
# A window reaches over the edge of a box by less than this many pixels of the view.
_MARGIN = 8


def block_for(x: Tensor, side: int) -> int:
    """Return the pixels of a block for a view of ``side`` pixels, 0 if views are not made by bands."""
    if x.device.type != "cpu" or side <= _SMALL_SIDE:
        return 0
    block = max(b for b in range(1, _BLOCK + 1) if side % b == 0)
    return block if block >= _SMALLEST_BLOCK else 0


class Scratch:
    """Memory for what lies between the passes, of all operations in turn.

    The less there is, the more stays in the cache. Only one result at a time is in each half.
    """

    def __init__(self, size: int) -> None:
        # Zeros: whatever is left there counts nothing, but must be finite.
        self._halves = torch.zeros(2, size)

    def first(self, *shape: int) -> Tensor:
        return self._halves[0, : math.prod(shape)].view(shape)

    def second(self, *shape: int) -> Tensor:
        return self._halves[1, : math.prod(shape)].view(shape)


class Resize:
    """Crop, flip and resize: the shares of all V views are worked out at once, for images like ``x``.

    Windows may reach over the edge of a box, where their shares are 0: what is left there of another image
    is finite and counts nothing.
    """

    def __init__(
        self, x: Tensor, boxes: Tensor, flip: Tensor, size: int, block: int, scratch: Scratch
    ) -> None:
        channels, height, width = x.shape[1:]
        self._x, self._boxes, self._flip = x.contiguous(), boxes.tolist(), flip.tolist()
        self._rows = _resize_bands(boxes[:, 2], height, size, block)
        self._columns = _resize_bands(boxes[:, 3], width, size, block, flip)
        if x.dtype == torch.uint8:
            self._rows.shares.div_(255)
        tall, wide = max(self._rows.sides), max(self._columns.sides)
        self._room = scratch.first(tall * channels * wide)  # (h, C, w)
        self._middle = scratch.second(size * channels * wide)  # (H, C, w)
        self._mixed = scratch.first(size // block, size * channels, block)  # (blocks, H C, block)
        mixed = self._mixed.view(-1, size, channels, block)
        self._result = mixed.permute(2, 1, 0, 3)  # (C, H, blocks, block)

    def __call__(self, image: int, v: int, out: Tensor) -> None:
        """Make view ``v`` of an image in ``out`` (C, size, size), in [0, 1] but for rounding."""
        (_, channels, full_height, full_width), (top, left, height, width) = self._x.shape, self._boxes[v]
        line = channels * self._columns.sides[v]  # numbers in a row of all channels
        first = self._x.storage_offset() + (image * channels * full_height + top) * full_width + left
        crop = self._x.as_strided((height, channels, width), (full_width, full_height * full_width, 1), first)
        wide = line // channels
        corner = self._room.storage_offset() + self._rows.before * line + self._columns.before
        place = (height, channels, width), (line, wide, 1), corner
        self._room.as_strided(*place).copy_(crop.flip(-1) if self._flip[v] else crop)

        blocks, block, taps = len(self._mixed), self._mixed.shape[2], self._rows.taps[v]
        windows = self._room.as_strided((blocks, taps, line), (self._rows.steps[v] * line, line, 1))
        middle = self._middle.as_strided((blocks, block, line), (block * line, line, 1))
        torch.bmm(self._rows.of(v), windows, out=middle)

        shape = blocks, self._mixed.shape[1], self._columns.taps[v]
        windows = self._middle.as_strided(shape, (self._columns.steps[v], wide, 1))
        torch.bmm(windows, self._columns.of(v).mT, out=self._mixed)
        out.view(self._result.shape).copy_(self._result)


def make_blur(
    sigma: Tensor, kernel_size: int, shape: tuple[int, int, int], block: int, scratch: Scratch
) -> Callable[[Tensor, int, Tensor], None]:
    """Return the Gaussian blur of V views (C, H, W), each with its own sigma; the border is reflected.

    Called with a view, its number and a tensor ``out``, it writes the blurred view, clamped to [0, 1], to
    ``out``; the view itself will do. By bands where the windows away from the border do not reach over it.
    """
    kernels, (_, height, width) = gaussian_kernels(sigma, kernel_size), shape
    reach = int((kernels > 0).sum(1).max()) // 2  # of the widest one, whatever the size of the kernel
    kernels = kernels[:, kernel_size // 2 - reach : kernel_size // 2 + reach + 1]
    if reach <= block and height % block == 0 == width % block and min(height, width) >= 3 * block:
        return _Blur(kernels, shape, block, scratch)

    def blur(view: Tensor, v: int, out: Tensor) -> None:
        torch.clamp(gaussian_blur(view[None], sigma[v : v + 1], kernel_size)[0], 0, 1, out=out)

    return blur


class _Blur:
    """Blur by bands. Narrow kernels are cut to half of the widest one, which halves the windows."""

    def __init__(self, kernels: Tensor, shape: tuple[int, int, int], block: int, scratch: Scratch) -> None:
        half = kernels.shape[1] // 2
        channels, height, width = shape
        self._columns = scratch.first(width // block, channels * height, block)  # (blocks, C H, block)
        self._turned = scratch.second(height, channels * width)  # (H, C W)
        self._rows = scratch.first(height // block, block, channels * width)  # (blocks, block, C W)
        self._mixed = self._columns.view(-1, channels, height, block).permute(2, 1, 0, 3)
        self._result = self._rows.view(height, channels, width).permute(1, 0, 2)  # (C, H, W)
        # Where the first block, the last one and those between them go.
        self._new_columns = self._columns[0], self._columns[-1], self._columns[1:-1]
        self._new_rows = self._rows[0], self._rows[-1], self._rows[1:-1]
        self._narrow = (kernels[:, : half - half // 2] == 0).all(1).tolist()
        narrow = kernels[:, half - half // 2 : half + half // 2 + 1]
        self._shares = _BlurShares(kernels, block), _BlurShares(narrow, block)
        self._windows = tuple(self._of_rows(shares) for shares in self._shares)

    def _of_rows(self, shares: "_BlurShares") -> tuple[Tensor, Tensor, Tensor]:
        """Return the old rows of the first block, of the last one and of those between them."""
        blocks, block, line = self._rows.shape
        windows = self._turned.as_strided(
            (blocks - 2, shares.inner.shape[2], line),
            (block * line, line, 1),
            self._turned.storage_offset() + (2 * block - shares.reach) * line,
        )
        return self._turned[: shares.reach], self._turned[-shares.reach :], windows

    def __call__(self, view: Tensor, v: int, out: Tensor) -> None:
        shares, rows = self._shares[self._narrow[v]], self._windows[self._narrow[v]]
        inner, edge, far_edge = shares.of(v)
        blocks, size, block = self._columns.shape
        width, reach = view.shape[2], shares.reach
        lines = view.view(size, width)
        windows = lines.as_strided(
            (blocks - 2, size, inner.shape[1]), (block, width, 1), view.storage_offset() + 2 * block - reach
        )
        first, last, between = self._new_columns
        torch.bmm(windows, inner.mT.expand(blocks - 2, -1, -1), out=between)
        torch.mm(lines[:, :reach], edge.T, out=first)
        torch.mm(lines[:, -reach:], far_edge.T, out=last)
        self._turned.view(self._mixed.shape).copy_(self._mixed)

        first, last, between = self._new_rows
        torch.bmm(inner.expand(len(between), -1, -1), rows[2], out=between)
        torch.mm(edge, rows[0], out=first)
        torch.mm(far_edge, rows[1], out=last)
        torch.clamp(self._result, 0, 1, out=out)


def resize_numbers(x: Tensor, size: int) -> int:
    """Return the size of the :class:`Scratch` that a resize to ``size`` needs."""
    channels, height, width = x.shape[1:]
    # A window reaches over the edge of a box by a few pixels, of the old ones and of the new.
    tall, wide = (max(side, size) + _MARGIN * math.ceil(side / size) for side in (height, width))
    return channels * tall * wide


@dataclass
class _Bands:
    """The shares of V views: blocks of new pixels, each from ``taps`` old ones, ``step`` further a block."""

    shares: Tensor  # (V, blocks, block, K)
    before: (
        int  # pixels of the first window that lie before the box, as a triangle is wider than a block's share
    )
    steps: list[int]
    taps: list[int]
    sides: list[int]  # of the room that a view's windows need

    def of(self, v: int) -> Tensor:
        """Return the shares (blocks, block, taps) of view ``v``."""
        return self.shares[v, :, :, : self.taps[v]]


def _resize_bands(length: Tensor, n_in: int, n_out: int, block: int, mirror: Tensor | None = None) -> _Bands:
    """Return the shares of a resize of boxes of these lengths (V,).

    Where ``mirror`` (V,), box and result are both the other way round: the same shares, to the last digit.
    """
    pixels, shares = resize_taps(torch.zeros_like(length), length, n_in, n_out)
    if mirror is not None:
        turned = (length[:, None, None] - 1 - pixels).flip(1)
        pixels = torch.where(mirror[:, None, None], turned, pixels)
        shares = torch.where(mirror[:, None, None], shares.flip(1), shares)
    step, blocks = length * block // n_out, n_out // block
    first = step[:, None] * (torch.arange(n_out) // block)
    pixels -= first[:, :, None]
    before = -int(pixels.amin().clamp(max=0))
    pixels += before
    taps = pixels.amax(dim=(1, 2)) + 1
    bands = shares.new_zeros(len(length), n_out, int(taps.max())).scatter_add_(2, pixels, shares)
    sides = torch.maximum(length + before, step * (blocks - 1) + taps)
    bands = bands.view(len(length), blocks, block, -1)
    return _Bands(bands, before, step.tolist(), taps.tolist(), sides.tolist())


class _BlurShares:
    """What a block away from the border, the first and the last one are made of."""

    def __init__(self, kernels: Tensor, block: int) -> None:
        half, n = kernels.shape[1] // 2, len(kernels)
        self.reach = block + half  # old pixels that the first block is made of
        offset = torch.arange(-half, half + 1)
        shares = kernels[:, None].expand(-1, block, -1)  # (V, block, K)
        pixel = torch.arange(block)[:, None] + offset  # (block, K), from the first of the block on
        inner = kernels.new_zeros(n, block, block + 2 * half)
        self.inner = inner.scatter_(2, (pixel + half).expand(n, -1, -1), shares)
        edge = kernels.new_zeros(n, block, self.reach)
        self.edge = edge.scatter_add_(2, pixel.abs().expand(n, -1, -1), shares)  # reflected at the border
        self._lists = [t.unbind() for t in (self.inner, self.edge, self.edge.flip(1, 2))]

    def of(self, v: int) -> list[Tensor]:
        return [views[v] for views in self._lists]
