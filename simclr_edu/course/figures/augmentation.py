"""Figures of notebook 01: views, the steps that make them, colours of two crops."""

from collections.abc import Sequence

import numpy as np

from simclr_edu._checks import check_int, check_positive
from simclr_edu.course.figures.inputs import (
    Images,
    as_names,
    as_pixels,
    dimensions,
    percent,
    percent_axis,
    shape_of,
)
from simclr_edu.course.figures.mosaic import draw_mosaic, resized
from simclr_edu.course.figures.picture import OKABE_ITO, PAGE_WIDTH, Picture, new_figure, styled


@styled
def view_pairs(originals: Images, views1: Images, views2: Images, title: str | None = None) -> Picture:
    """Show pictures above their two views: each column is one positive pair.

    Args:
        originals: ``(N, 3, H, W)``; N up to about 10 stays legible.
        views1: ``(N, 3, h, w)``, the first view of each.
        views2: ``(N, 3, h, w)``, the second.
        title: what to see.

    Raises:
        TypeError, ValueError: images of another kind, or not N of each.
    """
    rows = [as_pixels(v, n) for v, n in ((originals, "originals"), (views1, "views1"), (views2, "views2"))]
    if len({len(r) for r in rows}) > 1:
        raise ValueError(
            f"originals, views1 and views2 must be equally many, got {', '.join(str(len(r)) for r in rows)}"
        )
    side = max(rows, key=lambda r: r.shape[1] * r.shape[2]).shape[1:3]
    tiles = np.stack([resized(r, side) for r in rows])  # (3, N, H, W, 3)
    n = tiles.shape[1]
    title = title or "Each column is a positive pair: two views of one picture"
    alt = f"{n} picture{'s' * (n > 1)} in the top row, and below each its two random views, a positive pair."
    fig, _, _ = draw_mosaic(tiles, title, alt, row_names=("original", "view 1", "view 2"), x_label="picture")
    return fig


@styled
def augmentation_steps(
    steps: Sequence[tuple[str, Images]], title: str | None = None, x_label: str = "picture"
) -> Picture:
    """Show the same pictures after each step of the augmentation, one row a step.

    Args:
        steps: pairs (name of the step, images ``(N, 3, H, W)``), all with the same N.
        title: what to see.
        x_label: what the columns are.

    Raises:
        TypeError, ValueError: no steps, images of another kind, or another number of images in a row.
    """
    if isinstance(steps, str) or not isinstance(steps, Sequence) or len(steps) == 0:
        raise ValueError("steps must be a non-empty list of pairs (name, images)")
    names = [str(name) for name, _ in steps]
    rows = [as_pixels(images, f"images of step {str(name)[:40]!r}") for name, images in steps]
    if len({len(r) for r in rows}) > 1:
        raise ValueError(f"every step must show as many images, got {', '.join(str(len(r)) for r in rows)}")
    side = max(rows, key=lambda r: r.shape[1] * r.shape[2]).shape[1:3]
    tiles = np.stack([resized(r, side) for r in rows])
    alt = f"{tiles.shape[1]} pictures, one a column, after each step from top to bottom: {', '.join(names)}."
    title = title or "What each step of the augmentation does, from top to bottom"
    fig, _, _ = draw_mosaic(tiles, title, alt, row_names=names, x_label=x_label)
    return fig


@styled
def colour_histograms(
    crop_a: Images,
    crop_b: Images,
    names: Sequence[str] = ("crop A", "crop B"),
    bins: int = 16,
    title: str | None = None,
    top: float | None = None,
) -> Picture:
    """Compare the colours of two crops: those of one picture nearly share a histogram.

    The overlap of a channel is the sum over bins of the smaller share, 1 for equal histograms. This is
    the shortcut that colour jitter closes (Chen et al. 2020, section 3.1, figure 6).

    Args:
        crop_a: one image ``(3, H, W)``, uint8 or float in [0, 1].
        crop_b: the other, of any size.
        names: what to call them.
        bins: bins from 0 to 255 in each channel.
        title: what to see; the default states the mean overlap.
        top: end of the vertical axis as a share of the pixels, above 0 to 1; fits if not given.

    Raises:
        TypeError, ValueError: not one image each.
    """
    crops = []
    for value, name in ((crop_a, "crop_a"), (crop_b, "crop_b")):
        if len(dimensions(value, name)) != 3:
            raise ValueError(f"{name} must be one image of shape (3, H, W), got {shape_of(value)}")
        crops.append(as_pixels(value[None], name)[0])
    names = as_names(names, "names", 2)
    bins = check_int(bins, "bins", 2, 256)
    edges = np.linspace(0, 1, bins + 1)
    shares = np.stack([[np.histogram(c[..., k], edges)[0] / c[..., k].size for k in range(3)] for c in crops])
    overlap = np.minimum(shares[0], shares[1]).sum(axis=1)  # (3,)
    mean, (red, green, blue) = percent(float(overlap.mean())), (percent(o) for o in overlap)
    title = title or f"{names[0]} and {names[1]}: colour histograms overlap by {mean}"
    alt = f"""
        Two crops, and the histograms of their red, green and blue values;
        they overlap by {red}, {green} and {blue}.
    """
    fig = new_figure(PAGE_WIDTH, 3.7, title, alt)
    grid = fig.add_gridspec(2, 4, width_ratios=(0.75, 1, 1, 1))
    colours, styles = (OKABE_ITO["blue"], OKABE_ITO["orange"]), ("-", "--")
    for k in range(2):
        ax = fig.add_subplot(grid[k, 0])
        ax.imshow(crops[k])
        ax.set(xticks=[], yticks=[])
        ax.set_title(names[k], color="black")
        for spine in ax.spines.values():
            spine.set(visible=True, color=colours[k], linewidth=3, linestyle=styles[k])
    high = float(shares.max()) * 1.1 if top is None else check_positive(top, "top", 1)
    for c, channel in enumerate(("red", "green", "blue")):
        ax = fig.add_subplot(grid[:, c + 1])
        for k in range(2):
            ax.stairs(
                shares[k, c],
                edges * 255,
                color=colours[k],
                linestyle=styles[k],
                linewidth=2.2,
                label=names[k],
            )
        ax.fill_between(
            np.repeat(edges, 2)[1:-1] * 255,
            np.repeat(np.minimum(shares[0, c], shares[1, c]), 2),
            color="#BBBBBB",
            alpha=0.6,
            linewidth=0,
            label="overlap",
        )
        ax.set(title=f"{channel}: overlap {percent(overlap[c])}", xlabel="pixel value (0 to 255)")
        ax.set(xticks=[0, 128, 255], ylim=(0, high), xlim=(0, 255))
        if c == 0:
            ax.set_ylabel("share of pixels (%)")
            ax.legend(frameon=False, handlelength=1.6)
        percent_axis(ax.yaxis)
        if c:
            ax.tick_params(labelleft=False)
    return fig
