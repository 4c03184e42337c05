"""Colour: each operation is one matrix on the channels of a view, and a clamp.

Images carry a channel more here than red, green and blue. It is full of ones, so that a matrix can add an
offset; hue fills it with what it needs, and leaves ones. So an operation is one product and one clamp, for
many views that each have their own.
"""

import torch
from torch import Tensor

from simclr_edu.augment.parameters import CONTRAST, HUE, SATURATION, AugmentParameters
from simclr_edu.device import hand_over

# The luma weights of ITU-R 601-2, as torchvision and Pillow round them. They add up to 0.9999.
LUMA = (0.2989, 0.587, 0.114)


def with_room(n: int, channels: int, height: int, width: int, device: torch.device | str) -> Tensor:
    """Return (n, channels + 1, height, width) for images: the last channel is full of ones."""
    room = torch.empty(n, channels + 1, height, width, device=device)
    room[:, -1] = 1
    return room


def luma(x: Tensor) -> Tensor:
    """Return the gray images (V, H, W) of (V, 3, H, W)."""
    n, _, height, width = x.shape
    weights = hand_over(torch.tensor(LUMA), x.device).expand(n, 1, 3)
    return torch.bmm(weights, x.view(n, 3, -1)).view(n, height, width)


def blend_matrices(operation: Tensor, factor: Tensor) -> tuple[Tensor, Tensor]:
    """Return matrices (..., 3, 4) of brightness, contrast or saturation, and the shares of the mean gray.

    All three are ``factor * x + (1 - factor) * other``, where ``other`` is black, the image's mean gray, or
    each pixel's gray. The mean is not known yet: it comes with the shares (..., 3) of the three channels.
    """
    weights, rest = torch.tensor(LUMA, device=factor.device), 1 - factor
    matrix = factor.new_zeros(*factor.shape, 3, 4)
    matrix[..., :3] = torch.eye(3, device=factor.device) * factor[..., None, None]
    matrix[..., :3] += torch.where(operation == SATURATION, rest, 0)[..., None, None] * weights
    return matrix, torch.where(operation == CONTRAST, rest, 0)[..., None] * weights


def blend(room: Tensor, matrix: Tensor, to_mean: Tensor | None = None, scratch: Tensor | None = None) -> None:
    """Apply matrices (V, 3, 4) to images (V, 4, H, W) in place, and clamp to [0, 1].

    Args:
        room: the images; see :func:`with_room`.
        matrix: of each image.
        to_mean: (V, 3), the shares of the mean gray, None where no image needs it.
        scratch: (V, 3, HW) to overwrite, new memory if None.
    """
    flat = room.flatten(2)  # (V, 4, HW)
    colours = flat[:, :3]
    if to_mean is not None:
        matrix = matrix.clone()
        matrix[:, :, 3] = (to_mean * colours.mean(2)).sum(1, keepdim=True)
    torch.clamp(torch.bmm(matrix, flat, out=scratch), 0, 1, out=colours)


def hue_matrices(turns: Tensor) -> Tensor:
    """Return the matrices (V, 3, 4) that turn the hue, exactly, without branches, divisions or HSV.

    A shift by a third of a turn permutes the channels, so a shift of between -1 and 1 sixth remains.
    Let it be t >= 0. In HSV each channel is a trapezoid of the hue between ``low`` and ``high``, the
    smallest and largest channel, and for trapezoids shifted by t <= 1 this holds on every sixth:

        red' = clamp(red - green + (2 t - 1) blue + (1 - t) (low + high), low, high)

    and the same with the channels rotated; for t < 0 the two other channels change places. So the
    whole turn is one matrix per image, with ``low + high`` in the fourth channel, and a clamp.
    """
    sixths = 6 * turns
    thirds = (sixths / 2).round()
    rest = sixths - 2 * thirds  # (V,), -1 to 1
    t = rest.abs()
    one, minus, other = torch.ones_like(t), -torch.ones_like(t), 2 * t - 1
    forward = torch.stack([one, minus, other], dim=1)  # red' from red, green, blue
    backward = torch.stack([one, other, minus], dim=1)
    first = torch.where(rest[:, None] >= 0, forward, backward)  # (V, 3)
    channel = torch.arange(3, device=turns.device)
    place = (channel - channel[:, None] + thirds.long()[:, None, None]) % 3  # (V, 3, 3)
    matrix = turns.new_zeros(len(turns), 3, 4)
    matrix[:, :, :3] = first[:, None].expand(-1, 3, -1).gather(2, place)
    matrix[:, :, 3] = (1 - t)[:, None]
    return matrix


def turn_hue(room: Tensor, matrix: Tensor, scratch: Tensor | None = None) -> None:
    """Turn the hue of images (V, 4, H, W) in place by the matrices of :func:`hue_matrices`.

    ``scratch`` is as for :func:`blend`.
    """
    flat = room.flatten(2)
    colours = flat[:, :3]
    low, high = colours.amin(1), colours.amax(1)  # (V, HW)
    torch.add(low, high, out=flat[:, 3])
    torch.clamp(torch.bmm(matrix, flat, out=scratch), low[:, None], high[:, None], out=colours)
    flat[:, 3] = 1


class Jitter:
    """The four colour operations, each view in its own order; the matrices of all views are made at once.

    The views must come sorted by :func:`jitter_group`. So hue is done once, for all; before it, step k
    concerns the views with more than k operations to go; after it, step k those with at most 2 - k done.
    """

    def __init__(self, p: AugmentParameters, device: torch.device) -> None:
        """Work out the matrices of the views that ``p``, on the CPU, describes, for images on ``device``."""
        n = len(p)
        simple = p.order[p.order != HUE].view(n, 3)  # the order of the other three
        factor = torch.stack([p.brightness, p.contrast, p.saturation], dim=1).gather(1, simple)  # (V, 3)
        before = (*blend_matrices(simple, factor), simple == CONTRAST)
        # The same counted from hue on; what would lie behind the last is never read.
        done = _before_hue(p)
        later = (done[:, None] + torch.arange(3)).clamp_(max=2)  # (V, 3)
        rows = torch.arange(n)[:, None]
        after = tuple(t[rows, later] for t in before)
        # A tensor for each step, so that one slice cuts out the views of a step.
        matrices, to_mean, contrast = (
            torch.stack([first, second]).movedim(2, 1).contiguous()  # (2, 3, V, ...)
            for first, second in zip(before, after, strict=True)
        )
        self._matrices, self._to_mean = hand_over(matrices, device), hand_over(to_mean, device)
        self._contrast = contrast.tolist()
        self._hue = hand_over(hue_matrices(p.hue), device)

    def __call__(self, room: Tensor, start: int, edges: list[int], scratch: Tensor | None = None) -> None:
        """Change images in place.

        Args:
            room: (n, 4, H, W), the views from number ``start`` on; see :func:`with_room`.
            start: number of the first view.
            edges: group g are the images from ``edges[g]`` to ``edges[g + 1]``, for the five groups.
            scratch: (n, 3, HW) to overwrite, new memory if None.
        """
        if edges[1] == edges[5]:
            return
        for k in range(3):
            self._step(0, k, room, start, edges[k + 2], edges[5], scratch)
        views = slice(edges[1], edges[5])
        hue = self._hue[start + edges[1] : start + edges[5]]
        turn_hue(room[views], hue, None if scratch is None else scratch[views])
        for k in range(3):
            self._step(1, k, room, start, edges[1], edges[4 - k], scratch)

    def _step(
        self, later: int, k: int, room: Tensor, start: int, first: int, end: int, scratch: Tensor | None
    ) -> None:
        if first == end:
            return
        if end - first < len(room):
            room, scratch = room[first:end], None if scratch is None else scratch[first:end]
        views = slice(start + first, start + end)
        to_mean = self._to_mean[later, k, views] if any(self._contrast[later][k][views]) else None
        blend(room, self._matrices[later, k, views], to_mean, scratch)


def jitter_group(p: AugmentParameters) -> Tensor:
    """Return (V,): 0 for views without jitter, else 1 more than the operations that come before hue."""
    return torch.where(p.jitter, _before_hue(p) + 1, 0)


def _before_hue(p: AugmentParameters) -> Tensor:
    """Return (V,): how many of the three other operations come before hue."""
    return (p.order == HUE).int().argmax(1)
