"""The embedded data set: ten silhouettes drawn on the spot, every factor of every image known.

Real photographs need a network; teaching must not. Each image is one silhouette (the class) under
nuisance factors that say nothing about the class: hue, background, position, scale, rotation, noise.
Because the factors are known, one can ask of a representation what no photograph answers: which
factors did it keep, which did the augmentation throw away? The idea of probing known factors follows
Table 3 of Chen et al. 2020 (section 4.2), which asks h and z for the transformation that was applied.

Everything is drawn from the signed distances of :mod:`simclr_edu.data.silhouettes`, one batched expression
per class, no loop over images.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from simclr_edu._checks import (
    LARGEST_SEED,
    check_finite,
    check_flag,
    check_int,
    check_labels,
    check_mapping,
    check_seed,
    check_tensor,
    enough_memory,
)
from simclr_edu._settings import check_default_dtype, plain_settings
from simclr_edu.data.silhouettes import SILHOUETTES

# Rendering in slices keeps the working memory near 100 MB and the data in cache; see `render`.
_CHUNK_PIXELS = 1 << 19

# Luma of a pure colour, ITU-R BT.601: the weights that torchvision's grayscale uses too.
_LUMA = (0.299, 0.587, 0.114)
CLASS_NAMES: tuple[str, ...] = tuple(SILHOUETTES)
FACTOR_UNITS: dict[str, str] = {
    "hue": "degrees, 0 to 360",
    "luma": "0 black to 1 white",
    "background_hue_a": "degrees, 0 to 360",
    "background_hue_b": "degrees, 0 to 360",
    "background_luma_a": "0 black to 1 white",
    "background_luma_b": "0 black to 1 white",
    "background_angle": "degrees, 0 to 360",
    "x": "centre, fraction of the side",
    "y": "centre, fraction of the side",
    "scale": "radius, fraction of the side",
    "rotation": "degrees, counter-clockwise",
    "noise": "standard deviation, fraction of full range",
    "texture": "amplitude, fraction of full range",
}


_MOST = 100_000_000  # images in one call


def _check_shapes_seed(seed: object) -> int:
    """A seed, or one of the three streams that ``make_shapes`` derives from its own."""
    return check_int(seed, "seed", 0, 3 * LARGEST_SEED + 2)


class _Ranges(NamedTuple):
    """What place, size and rotation are drawn from."""

    scale: tuple[float, float]
    rotation: float
    """To either side, in degrees."""
    edge: Callable[[Tensor], Tensor]
    """Least distance of the centre from the border for a silhouette of this scale."""


# The set was designed, on pictures of other seeds, so that unlabelled pictures help: see docs/shapes.md.
_RANGES = _Ranges(scale=(0.25, 0.38), rotation=28, edge=lambda scale: 0.95 * scale)
_EASY = _Ranges(scale=(0.28, 0.40), rotation=20, edge=lambda scale: torch.full_like(scale, 0.34))


@plain_settings()
def sample_factors(n: int, seed: int = 0, texture: bool = False, easy: bool = False) -> dict[str, Tensor]:
    """Draw every nuisance factor of ``n`` images, independent of any class.

    The foreground is light on a dark background or dark on a light one, a coin each time: the two always
    differ by at least 0.3 in luma, so colour never hides the silhouette, yet the sign of the difference
    says nothing. The silhouette lies anywhere in the picture, as a whole or nearly so.

    Args:
        n: number of images, at least 1.
        seed: seed of the generator.
        texture: draw a background texture of stripes (amplitude above 0); off by default.
        easy: draw place, size and rotation from narrower ranges, silhouettes larger and near the middle:
            then pixels have near twins, and a network learns the classes from ten labels each.

    Returns:
        One float32 tensor ``(n,)`` for each name in ``FACTOR_UNITS``, in the units given there.

    Raises:
        TypeError, ValueError: ``n`` or ``seed`` is not a whole number in range; another default dtype than
            float32.
    """
    check_default_dtype("drawing shapes")
    n, seed = check_int(n, "n", 1, _MOST), _check_shapes_seed(seed)
    texture, easy = check_flag(texture, "texture"), check_flag(easy, "easy")
    g = torch.Generator().manual_seed(seed)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(n, generator=g)

    ranges = _EASY if easy else _RANGES
    light_on_dark = torch.rand(n, generator=g) < 0.5
    dark = [uniform(0.08, 0.38) for _ in range(3)]
    light = [uniform(0.68, 0.95) for _ in range(3)]
    factors = {
        "hue": uniform(0, 360),
        "luma": torch.where(light_on_dark, light[0], dark[0]),
        "background_hue_a": uniform(0, 360),
        "background_hue_b": uniform(0, 360),
        "background_luma_a": torch.where(light_on_dark, dark[1], light[1]),
        "background_luma_b": torch.where(light_on_dark, dark[2], light[2]),
        "background_angle": uniform(0, 360),
        "x": uniform(0, 1),  # of the range that the silhouette's size leaves, see below
        "y": uniform(0, 1),
        "scale": uniform(*ranges.scale),
        "rotation": uniform(-ranges.rotation, ranges.rotation),
        "noise": uniform(0.0, 0.06),
        "texture": uniform(0.1, 0.2) if texture else torch.zeros(n),
    }
    edge = ranges.edge(factors["scale"])  # of the centre from the border, (n,) or one number
    for name in ("x", "y"):
        factors[name] = edge + (1 - 2 * edge) * factors[name]
    return factors


def _colour(hue: Tensor, luma: Tensor) -> Tensor:
    """The most saturated RGB colour ``(n, 3)`` of this hue (degrees) and luma (0 to 1)."""
    offsets = torch.tensor([0.0, 120.0, 240.0], device=hue.device)
    distance = ((hue[:, None] - offsets + 180) % 360 - 180).abs()  # (n, 3) from each primary
    pure = (2 - distance / 60).clamp(0, 1)  # (n, 3)
    pure_luma = (pure * torch.tensor(_LUMA, device=hue.device)).sum(1, keepdim=True)  # (n, 1)
    luma = luma[:, None]
    darker = pure * (luma / pure_luma)  # towards black keeps the hue
    lighter = pure + (1 - pure) * ((luma - pure_luma) / (1 - pure_luma))  # towards white too
    return torch.where(luma <= pure_luma, darker, lighter)  # (n, 3)


def _render_chunk(labels: Tensor, f: dict[str, Tensor], size: int, noise: Tensor) -> Tensor:
    """Images ``(n, 3, size, size)`` in [0, 1] for factors ``(n,)`` and noise ``(n, 3, size, size)``."""
    n, device = len(labels), labels.device
    centre = (torch.arange(size, device=device, dtype=torch.float32) + 0.5) / size  # pixel centres, (size,)
    py, px = (t.reshape(1, -1) for t in torch.meshgrid(centre, centre, indexing="ij"))  # (1, p)

    turn = torch.deg2rad(f["rotation"])[:, None]  # (n, 1)
    dx, dy = px - f["x"][:, None], f["y"][:, None] - py  # (n, p), dy points up
    radius = f["scale"][:, None]
    u = (dx * turn.cos() + dy * turn.sin()) / radius  # (n, p)
    v = (dy * turn.cos() - dx * turn.sin()) / radius
    distance = torch.empty_like(u)
    for k, silhouette in enumerate(SILHOUETTES.values()):
        rows = (labels == k).nonzero().squeeze(1)
        if len(rows):
            distance[rows] = silhouette(u[rows], v[rows])
    # Cover of a pixel: the edge is one pixel wide, so silhouettes are smooth at any size.
    cover = (0.5 - distance * radius * size).clamp(0, 1)[:, None]  # (n, 1, p)

    lean = torch.deg2rad(f["background_angle"])[:, None]
    along = (px - 0.5) * lean.cos() + (py - 0.5) * lean.sin()  # (n, p), about -0.7 to 0.7
    blend = (along / math.sqrt(2) + 0.5)[:, None]  # (n, 1, p)
    a = _colour(f["background_hue_a"], f["background_luma_a"])[:, :, None]  # (n, 3, 1)
    b = _colour(f["background_hue_b"], f["background_luma_b"])[:, :, None]
    background = a + (b - a) * blend  # (n, 3, p)
    # Stripes across the gradient, eight to a side: a shortcut when a notebook switches it on.
    stripes = torch.sin(2 * math.pi * 8 * along) * f["texture"][:, None]  # (n, p)
    background = background + stripes[:, None]
    foreground = _colour(f["hue"], f["luma"])[:, :, None]  # (n, 3, 1)
    image = background + (foreground - background) * cover  # (n, 3, p)
    return image.reshape(n, 3, size, size) + noise * f["noise"][:, None, None, None]


@plain_settings()
def render(labels: Tensor, factors: dict[str, Tensor], size: int = 32, seed: int = 0) -> Tensor:
    """Draw the silhouettes ``labels`` under ``factors``.

    Args:
        labels: class of each image, integers ``(n,)`` from 0 to 9, an index into ``CLASS_NAMES``.
        factors: one tensor ``(n,)`` for each name in ``FACTOR_UNITS``, as from ``sample_factors``;
            change one of them to see what it does.
        size: side of the image in pixels, at least 8.
        seed: seed of the sensor noise.

    Returns:
        uint8 images ``(n, 3, size, size)``, on the CPU.

    Raises:
        TypeError, ValueError: labels out of range, a factor missing, of another length or not finite,
            a size out of range, or another default dtype than float32.
    """
    check_default_dtype("drawing shapes")
    labels = check_labels(labels, "labels").cpu()
    size, seed = check_int(size, "size", 8, 65_535), _check_shapes_seed(seed)
    check_mapping(factors, "factors")
    n = len(labels)
    if int(labels.max()) >= len(CLASS_NAMES):
        raise ValueError(f"labels must be from 0 to {len(CLASS_NAMES) - 1}, got {int(labels.max())}")
    if missing := sorted(set(FACTOR_UNITS) - set(factors)):
        raise ValueError(f"factors must hold every name in FACTOR_UNITS, missing {', '.join(missing)}")
    f = {}
    for name in FACTOR_UNITS:
        value = check_tensor(factors[name], f"factors[{name!r}]")
        if value.is_complex() or value.dtype == torch.bool:
            raise TypeError(f"factors[{name!r}] must be real numbers, got {value.dtype}")
        value = value.to("cpu", torch.float32)
        if value.shape != (n,):
            raise ValueError(f"factors[{name!r}] must have shape ({n},), got {tuple(value.shape)}")
        f[name] = check_finite(value.detach(), f"factors[{name!r}]")
    if bool((f["scale"] <= 0).any()):
        raise ValueError(f"factors['scale'] must be greater than 0, got {float(f['scale'].min())}")

    g = torch.Generator().manual_seed(seed)
    with enough_memory(f"{n} images of {size} x {size} pixels"):
        images = torch.empty(n, 3, size, size, dtype=torch.uint8)
    step = max(1, _CHUNK_PIXELS // (size * size))
    for start in range(0, n, step):
        rows = slice(start, min(start + step, n))
        noise = torch.randn(rows.stop - start, 3, size, size, generator=g)
        chunk = _render_chunk(labels[rows], {k: t[rows] for k, t in f.items()}, size, noise)
        images[rows] = (chunk * 255).round_().clamp_(0, 255).to(torch.uint8)
    return images


@plain_settings()
def make_shapes(
    n: int, size: int = 32, seed: int = 0, texture: bool = False, easy: bool = False
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Draw ``n`` images of the ten silhouettes, classes balanced and shuffled.

    Args:
        n: number of images, at least 1; the counts of two classes differ by at most one.
        size: side in pixels, at least 8.
        seed: the same seed draws the same images.
        texture: draw stripes on the background, a shortcut; off by default.
        easy: draw the easier set, see :func:`sample_factors`.

    Returns:
        Images uint8 ``(n, 3, size, size)``, labels int64 ``(n,)``, and the factors: one float32 tensor
        ``(n,)`` for each name in ``FACTOR_UNITS``.

    Raises:
        TypeError, ValueError: ``n``, ``size`` or ``seed`` is not a whole number in range; another default
            dtype than float32.
    """
    n, size, seed = check_int(n, "n", 1, _MOST), check_int(size, "size", 8, 65_535), check_seed(seed)
    # Separate streams, so that the labels do not depend on how many factors there are.
    g = torch.Generator().manual_seed(3 * seed)
    labels = (torch.arange(n) % len(CLASS_NAMES))[torch.randperm(n, generator=g)]  # (n,)
    factors = sample_factors(n, seed=3 * seed + 1, texture=texture, easy=easy)
    return render(labels, factors, size=size, seed=3 * seed + 2), labels, factors
