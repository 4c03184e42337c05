"""The ten silhouettes of ``shapes``, as signed distances.

Each takes coordinates u, v ``(n, p)`` and returns ``(n, p)``: negative inside, positive outside, in units of
the silhouette's own radius; its outer radius is about 1.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor


def _disc(u: Tensor, v: Tensor) -> Tensor:
    return torch.hypot(u, v) - 0.9


def _polygon(u: Tensor, v: Tensor, sides: int, inradius: float) -> Tensor:
    """Regular polygon: the largest signed distance to any of its sides."""
    angles = [math.pi / 2 + math.pi + 2 * math.pi * k / sides for k in range(sides)]
    return torch.stack([u * math.cos(a) + v * math.sin(a) for a in angles]).amax(0) - inradius


def _triangle(u: Tensor, v: Tensor) -> Tensor:
    return _polygon(u, v + 0.1, 3, 0.56)


def _square(u: Tensor, v: Tensor) -> Tensor:
    return torch.maximum(u.abs(), v.abs()) - 0.78


def _star(u: Tensor, v: Tensor) -> Tensor:
    """Five points: fold the plane onto one tenth of it, then one slanted edge."""
    radius, sector = torch.hypot(u, v), math.pi / 5
    angle = torch.atan2(u, v)
    folded = (torch.remainder(angle + sector, 2 * sector) - sector).abs()  # 0 at a tip, pi/5 in a notch
    x, y = radius * folded.sin(), radius * folded.cos()
    # The edge runs from the tip (0, 1.1) to the notch at radius 0.42.
    nx, ny = 0.42 * math.sin(sector), 0.42 * math.cos(sector)
    ex, ey = nx, ny - 1.1
    length = math.hypot(ex, ey)
    return (x * -ey + (y - 1.1) * ex) / length


def _ring(u: Tensor, v: Tensor) -> Tensor:
    return (torch.hypot(u, v) - 0.7).abs() - 0.22


def _plus(u: Tensor, v: Tensor) -> Tensor:
    a, b = u.abs(), v.abs()
    long, short = torch.maximum(a, b), torch.minimum(a, b)
    return torch.maximum(long - 0.98, short - 0.28)


def _crescent(u: Tensor, v: Tensor) -> Tensor:
    return torch.maximum(torch.hypot(u, v) - 0.98, 0.78 - torch.hypot(u - 0.5, v))


def _bar(u: Tensor, v: Tensor) -> Tensor:
    return torch.maximum(u.abs() - 1.1, v.abs() - 0.3)


def _pair_of_dots(u: Tensor, v: Tensor) -> Tensor:
    return torch.hypot(u.abs() - 0.64, v) - 0.44


def _trefoil(u: Tensor, v: Tensor) -> Tensor:
    leaves = [
        torch.hypot(u - 0.55 * math.cos(a), v - 0.55 * math.sin(a)) - 0.4
        for a in (math.pi / 2, math.pi / 2 + 2 * math.pi / 3, math.pi / 2 + 4 * math.pi / 3)
    ]
    return torch.stack(leaves).amin(0)


SILHOUETTES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "disc": _disc,
    "triangle": _triangle,
    "square": _square,
    "star": _star,
    "ring": _ring,
    "plus": _plus,
    "crescent": _crescent,
    "bar": _bar,
    "pair of dots": _pair_of_dots,
    "trefoil": _trefoil,
}
