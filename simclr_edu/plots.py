"""Every figure of the course as a pure function: data in, matplotlib figure out.

No function touches pyplot or its list of open figures, so nothing is displayed twice and nothing
leaks. Each returns a :class:`Picture`: a matplotlib ``Figure`` with ``alt_text``, a sentence made
from the data. There is one way to display it: as the last expression of a cell, or by ``show(fig)``
anywhere else. Both put the same ``<img alt="...">`` into the notebook, which exported HTML and slides
keep; ``%matplotlib inline`` is not needed.

Arguments may be tensors (any device) or arrays. Images are ``(N, 3, H, W)``, uint8 or float in [0, 1].
Accuracies go in as fractions from 0 to 1 and are drawn in per cent. Colours are those of Okabe and Ito
("Color Universal Design", 2008), told apart with every common kind of colour blindness; where colour
names a class, a marker or a pattern does too.
"""

import base64
import functools
import html
import io
import json
import math
import re
import textwrap
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PatchCollection, PathCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator
from PIL import Image
from torch import Tensor

from simclr_edu._checks import check_choice, check_fraction, check_images, check_int, check_positive

Array = np.ndarray
ArrayLike = Tensor | np.ndarray | Sequence[Any]

OKABE_ITO: dict[str, str] = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "green": "#009E73",
    "vermilion": "#D55E00",
    "sky": "#56B4E9",
    "purple": "#CC79A7",
    "yellow": "#F0E442",
    "black": "#000000",
}
_CYCLE = tuple(c for name, c in OKABE_ITO.items() if name != "yellow")  # yellow lines vanish on white
_CLASS_COLOURS = (*OKABE_ITO.values(), "#999999", "#7A4B00")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
_LINES = ("-", "--", "-.", (0, (6, 2, 1, 2, 1, 2)), (0, (9, 3)))  # dotted is kept for chance
_GRAY = "#767676"
_POSITIVE, _NEGATIVE = OKABE_ITO["orange"], OKABE_ITO["blue"]

_DPI = 100
_WIDTH = 9.0  # inches: 900 pixels, the width of a notebook's output and of a slide
_MAX_PNG_BYTES = 400_000
_STYLE: dict[Any, Any] = {
    "font.size": 12,
    "axes.titlesize": 12,
    "axes.labelsize": 12,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "legend.fontsize": 11,
    "figure.titlesize": 14,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "grid.color": "#DDDDDD",
    "lines.linewidth": 2.0,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}


# matplotlib's settings are global, and widgets draw in threads of their own while a cell runs.
_DRAWING = threading.RLock()


class Picture(Figure):
    """A matplotlib figure that carries its description and displays itself with it.

    Attributes:
        alt_text: what the figure shows, for who cannot see it.
    """

    alt_text: str = ""

    def _ipython_display_(self) -> None:
        show(self)


# --- from figure to page ------------------------------------------------------------------------------


def to_png(fig: Figure, small: bool = True) -> bytes:
    """Return the figure as PNG at 100 dots per inch.

    Args:
        fig: any matplotlib figure.
        small: reduce a picture above 400 kB (photographs) to 256 colours, so that notebooks stay small.
            Widgets, whose pictures are not saved, skip it: it takes longer than the drawing.

    Raises:
        TypeError: ``fig`` is not a matplotlib figure.
    """
    if not isinstance(fig, Figure):
        raise TypeError(f"fig must be a matplotlib Figure, got {type(fig).__name__}")
    with _DRAWING, matplotlib.rc_context(_STYLE):
        canvas = FigureCanvasAgg(fig)
        canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=6 if small else 3)
    if small and buffer.tell() > _MAX_PNG_BYTES:
        buffer = io.BytesIO()
        image.quantize(256).save(buffer, format="PNG")
    return buffer.getvalue()


def to_html(fig: Figure) -> str:
    """Return the figure as an HTML ``<img>`` with its alt text.

    Raises:
        TypeError: ``fig`` is not a matplotlib figure.
        ValueError: it has no ``alt_text``.
    """
    png = to_png(fig)
    alt = getattr(fig, "alt_text", "")
    if not alt:
        raise ValueError("fig must have a non-empty alt_text, got none; set fig.alt_text to one sentence")
    width, height = int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")
    return (
        f'<img alt="{html.escape(alt)}" width="{width}" height="{height}" style="max-width:100%;height:auto" '
        f'src="data:image/png;base64,{base64.b64encode(png).decode()}">'
    )


def show(fig: Figure) -> None:
    """Display a figure in a notebook, once, with its alt text; needs no ``%matplotlib inline``.

    Any matplotlib figure will do that was given an ``alt_text``.

    Raises:
        TypeError, ValueError: as :func:`to_html`.
    """
    from IPython.display import display

    page = to_html(fig)
    display({"text/html": page, "text/plain": f"[figure] {fig.alt_text}"}, raw=True)  # type: ignore[attr-defined]


def _figure(width: float, height: float, title: str, alt: str, constrained: bool = True) -> Picture:
    """Return an empty figure; ``constrained=False`` leaves the layout to the caller and is twice as fast."""
    fig = Picture(
        figsize=(width, height),
        dpi=_DPI,
        layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1) if constrained else None,
    )
    FigureCanvasAgg(fig)
    if constrained:
        fig.suptitle(_wrap(title, width))
    else:
        fig.suptitle(_wrap(title, width), y=1 - 0.1 / height, va="top")
    fig.alt_text = " ".join(alt.split())
    return fig


def _wrap(title: str, width: float) -> str:
    return textwrap.fill(title, int(width * 10.2))


def _styled(function: Callable[..., Picture]) -> Callable[..., Picture]:
    """Draw under the house style and leave the reader's own matplotlib settings as they were."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Picture:
        style = {**matplotlib.rcParamsDefault, **_STYLE, "backend": matplotlib.get_backend()}
        with _DRAWING, matplotlib.rc_context(style):
            return function(*args, **kwargs)

    return wrapper


# --- input checks -------------------------------------------------------------------------------------


def _array(value: object, name: str) -> Array:
    """Return float64 values, all finite."""
    if isinstance(value, Tensor):
        value = value.detach().to("cpu", torch.float64).numpy()
    try:
        out = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must hold numbers, got {type(value).__name__}") from None
    if out.size == 0:
        raise ValueError(f"{name} must not be empty, got shape {out.shape}")
    if not np.isfinite(out).all():
        raise ValueError(
            f"{name} must be finite, got {int((~np.isfinite(out)).sum())} NaN or infinite values"
        )
    return out


def _vector(value: object, name: str, length: int | None = None) -> Array:
    x = _array(value, name)
    if x.ndim != 1:
        raise ValueError(f"{name} must be a vector of shape (N,), got shape {x.shape}")
    if length is not None and len(x) != length:
        raise ValueError(f"{name} must have {length} values, got {len(x)}")
    return x


def _similarities(value: object, name: str) -> Array:
    """Check cosine similarities; rounding may carry them a little past 1."""
    x = _array(value, name)
    if np.abs(x).max() > 1 + 1e-3:
        raise ValueError(
            f"{name} must be cosine similarities from -1 to 1, got {x.min():.3g} to {x.max():.3g}"
        )
    return x


def _square(value: object, name: str) -> Array:
    x = _similarities(value, name)
    if x.ndim != 2 or x.shape[0] != x.shape[1]:
        raise ValueError(f"{name} must be a square matrix, got shape {x.shape}")
    return x


def _accuracies(value: object, name: str, length: int | None = None) -> Array:
    x = _vector(value, name, length)
    if x.min() < 0 or x.max() > 1:
        raise ValueError(f"{name} must be accuracies from 0 to 1, got {x.min():g} to {x.max():g}")
    return x


def _spread(value: object | None, name: str, length: int) -> Array | None:
    if value is None:
        return None
    x = _vector(value, name, length)
    if x.min() < 0:
        raise ValueError(f"{name} must not be negative, got {x.min():g}")
    return x


def _names(value: object, name: str, length: int | None = None) -> list[str]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise TypeError(f"{name} must be a list of names, got {type(value).__name__}")
    if len(value) == 0:
        raise ValueError(f"{name} must not be empty, got 0 names")
    if length is not None and len(value) != length:
        raise ValueError(f"{name} must have {length} names, got {len(value)}")
    return [str(v) for v in value]


def _classes(labels: object, class_names: object, length: int) -> tuple[Array, list[str]]:
    names = _names(class_names, "class_names")
    values = _vector(labels, "labels", length)
    out = values.astype(np.int64)
    if (out != values).any():
        raise TypeError("labels must be whole numbers, got fractions")
    if out.min() < 0 or out.max() >= len(names):
        raise ValueError(
            f"labels must be from 0 to {len(names) - 1}, one for each class name, got {out.min()} to "
            f"{out.max()}"
        )
    return out, names


def _pixels(value: object, name: str) -> Array:
    """Return images (N, 3, H, W) as float32 (N, H, W, 3) in [0, 1]."""
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(value)
    x = check_images(value, name).detach().cpu()
    if x.dtype == torch.uint8:
        return (x.float() / 255).permute(0, 2, 3, 1).numpy()
    x = x.float()
    low, high = float(x.min()), float(x.max())
    if not (low >= -1e-3 and high <= 1 + 1e-3):  # also False for NaN
        raise ValueError(
            f"{name} must be in [0, 1], got {low:.3g} to {high:.3g}; undo the normalisation first"
        )
    return x.clamp(0, 1).permute(0, 2, 3, 1).numpy()


def _percent(x: float) -> str:
    return f"{100 * x:.0f}%"


def _percent_axis(axis: Any) -> None:
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:g}"))


def _fixed(x: float, decimals: int) -> str:
    """Return this many decimals, never -0.00."""
    return f"{round(float(x), decimals) + 0.0:.{decimals}f}"


def _two(x: float) -> str:
    return _fixed(x, 2)


def _softmax(x: Array, temperature: float) -> Array:
    logits = x / temperature
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


def _temperatures(value: object) -> list[float]:
    values = value if isinstance(value, Sequence) else _array(value, "temperatures").ravel().tolist()
    if not values:
        raise ValueError("temperatures must not be empty, got none")
    return [check_positive(t, "temperature") for t in values]


# --- pictures made of pictures ------------------------------------------------------------------------


def _mosaic(
    tiles: Array,
    title: str,
    alt: str,
    captions: Sequence[str] | None = None,
    row_names: Sequence[str] | None = None,
    column_names: Sequence[str] | None = None,
    x_label: str = "",
    n_shown: int | None = None,
) -> tuple[Picture, Axes, Callable[[int, int], tuple[float, float]]]:
    """Draw ``tiles`` (R, C, H, W, 3) as one image in one axes: a hundred axes would take a second.

    Returns:
        The figure, its axes, and a function from (row, column) to the tile's top left corner.
    """
    rows, columns, height, width = tiles.shape[:4]
    left = 0.15 + (max(len(n) for n in row_names) * 0.092 if row_names else 0.0)
    tile = min(1.6, (_WIDTH - left - 0.15) / columns)  # inches
    unit = width / tile  # pixels an inch
    caption_lines = max((c.count("\n") + 1 for c in captions), default=0) if captions else 0
    gap_x = max(1, round(0.05 * unit))
    gap_y = max(1, round((0.07 + 0.2 * caption_lines) * unit))
    canvas = np.full((rows * (height + gap_y), columns * (width + gap_x) - gap_x, 3), 255, dtype=np.uint8)
    shown = rows * columns if n_shown is None else n_shown
    for k in range(shown):
        r, c = divmod(k, columns)
        y, x = r * (height + gap_y) + gap_y, c * (width + gap_x)
        canvas[y : y + height, x : x + width] = np.rint(tiles[r, c] * 255)

    inner_w = min(_WIDTH - left - 0.15, canvas.shape[1] / unit)
    scale = inner_w / canvas.shape[1]
    fig_w = max(inner_w + left + 0.15, 6.0)
    lines = _wrap(title, fig_w).count("\n") + 1
    top = (0.14 if captions else 0.22) + 0.25 * lines + (0.28 if column_names else 0.0)
    bottom = 0.12 + (0.3 if x_label else 0.0)
    inner_h = canvas.shape[0] * scale
    fig = _figure(fig_w, inner_h + top + bottom, title, alt, constrained=False)
    fig_h = fig.get_figheight()
    start = left + (fig_w - left - 0.15 - inner_w) / 2
    ax = fig.add_axes((start / fig_w, bottom / fig_h, inner_w / fig_w, inner_h / fig_h))
    # Enlarged pixels stay squares, photographs that shrink are smoothed.
    how = "nearest" if inner_w * _DPI >= canvas.shape[1] else "auto"
    ax.imshow(canvas, extent=(0, canvas.shape[1], canvas.shape[0], 0), aspect="auto", interpolation=how)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)

    def corner(r: int, c: int) -> tuple[float, float]:
        return c * (width + gap_x), r * (height + gap_y) + gap_y

    if captions:
        for k, caption in enumerate(captions):
            x, y = corner(*divmod(k, columns))
            ax.text(x + width / 2, y - 0.065 * unit, caption, ha="center", va="baseline", fontsize=11)
    if row_names:
        ax.set_yticks([corner(r, 0)[1] + height / 2 for r in range(rows)], row_names)
    if column_names:
        for c, name in enumerate(column_names):
            ax.text(corner(0, c)[0] + width / 2, 0, name, ha="center", va="bottom")
    if x_label:
        ax.set_xlabel(x_label)
    return fig, ax, corner


@_styled
def image_grid(
    images: ArrayLike,
    titles: Sequence[str] | None = None,
    columns: int = 8,
    title: str | None = None,
    row_names: Sequence[str] | None = None,
) -> Picture:
    """Show images in a grid, row by row, each under its own title.

    Args:
        images: ``(N, 3, H, W)``, uint8 or float in [0, 1].
        titles: N short names, one above each image.
        columns: number of images in a row.
        title: what to see; the default counts the images.
        row_names: one short name for each row, to its left.

    Raises:
        TypeError, ValueError: images of another kind, not one title for each, not one name a row.
    """
    x = _pixels(images, "images")  # (N, H, W, 3)
    n = len(x)
    columns = min(check_int(columns, "columns", 1, 32), n)
    captions = _names(titles, "titles", n) if titles is not None else None
    rows = -(-n // columns)
    sides = _names(row_names, "row_names", rows) if row_names is not None else None
    tiles = np.ones((rows * columns, *x.shape[1:]), dtype=np.float32)
    tiles[:n] = x
    what = f"{n} image{'s' * (n > 1)} of {x.shape[1]} x {x.shape[2]} pixels"
    alt = f"A grid of {what} in {rows} row{'s' * (rows > 1)}"
    alt += f" ({', '.join(sides)})" if sides else ""
    alt += ": " + ", ".join(c.replace("\n", " ") for c in captions) + "." if captions else "."
    if captions:  # long names over small tiles would run into each other
        room = max(6, int((_WIDTH - 0.3) / columns * 11.5))
        captions = [textwrap.fill(c, room, break_long_words=False) for c in captions]
    grid = tiles.reshape(rows, columns, *x.shape[1:])
    fig, _, _ = _mosaic(grid, title or what, alt, captions, sides, n_shown=n)
    return fig


@_styled
def view_pairs(
    originals: ArrayLike, views1: ArrayLike, views2: ArrayLike, title: str | None = None
) -> Picture:
    """Show pictures above their two views: each column is one positive pair.

    Args:
        originals: ``(N, 3, H, W)``; N up to about 10 stays legible.
        views1: ``(N, 3, h, w)``, the first view of each.
        views2: ``(N, 3, h, w)``, the second.
        title: what to see.

    Raises:
        TypeError, ValueError: images of another kind, or not N of each.
    """
    rows = [_pixels(v, n) for v, n in ((originals, "originals"), (views1, "views1"), (views2, "views2"))]
    if len({len(r) for r in rows}) > 1:
        raise ValueError(
            f"originals, views1 and views2 must be equally many, got {', '.join(str(len(r)) for r in rows)}"
        )
    side = max(rows, key=lambda r: r.shape[1] * r.shape[2]).shape[1:3]
    tiles = np.stack([_resize(r, side) for r in rows])  # (3, N, H, W, 3)
    n = tiles.shape[1]
    title = title or "Each column is a positive pair: two views of one picture"
    alt = f"{n} picture{'s' * (n > 1)} in the top row, and below each its two random views, a positive pair."
    fig, _, _ = _mosaic(tiles, title, alt, row_names=("original", "view 1", "view 2"), x_label="picture")
    return fig


def _resize(x: Array, side: tuple[int, int]) -> Array:
    """Repeat or skip pixels so that (N, h, w, 3) fills ``side``: nothing is smoothed, pixels stay visible."""
    rows = (np.arange(side[0]) + 0.5) * x.shape[1] / side[0]
    columns = (np.arange(side[1]) + 0.5) * x.shape[2] / side[1]
    return x[:, rows.astype(int)][:, :, columns.astype(int)]


@_styled
def augmentation_steps(
    steps: Sequence[tuple[str, ArrayLike]], title: str | None = None, x_label: str = "picture"
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
    rows = [_pixels(images, f"images of step {name!r}") for name, images in steps]
    if len({len(r) for r in rows}) > 1:
        raise ValueError(f"every step must show as many images, got {', '.join(str(len(r)) for r in rows)}")
    side = max(rows, key=lambda r: r.shape[1] * r.shape[2]).shape[1:3]
    tiles = np.stack([_resize(r, side) for r in rows])
    alt = f"{tiles.shape[1]} pictures, one a column, after each step from top to bottom: {', '.join(names)}."
    title = title or "What each step of the augmentation does, from top to bottom"
    fig, _, _ = _mosaic(tiles, title, alt, row_names=names, x_label=x_label)
    return fig


@_styled
def colour_histograms(
    crop_a: ArrayLike,
    crop_b: ArrayLike,
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
        top: end of the vertical axis as a share of the pixels, 0 to 1, to compare figures; fits if not given.

    Raises:
        TypeError, ValueError: not one image each.
    """
    crops = []
    for value, name in ((crop_a, "crop_a"), (crop_b, "crop_b")):
        if getattr(value, "ndim", None) != 3:
            raise ValueError(f"{name} must be one image of shape (3, H, W), got {_shape(value)}")
        crops.append(_pixels(value[None], name)[0])  # type: ignore[call-overload]
    names = _names(names, "names", 2)
    bins = check_int(bins, "bins", 2, 256)
    edges = np.linspace(0, 1, bins + 1)
    shares = np.stack([[np.histogram(c[..., k], edges)[0] / c[..., k].size for k in range(3)] for c in crops])
    overlap = np.minimum(shares[0], shares[1]).sum(axis=1)  # (3,)
    title = (
        title or f"{names[0]} and {names[1]}: colour histograms overlap by {_percent(float(overlap.mean()))}"
    )
    alt = (
        f"Two crops, and the histograms of their red, green and blue values; they overlap by "
        f"{_percent(overlap[0])}, {_percent(overlap[1])} and {_percent(overlap[2])}."
    )
    fig = _figure(_WIDTH, 3.7, title, alt)
    grid = fig.add_gridspec(2, 4, width_ratios=(0.75, 1, 1, 1))
    colours, styles = (OKABE_ITO["blue"], OKABE_ITO["orange"]), ("-", "--")
    for k in range(2):
        ax = fig.add_subplot(grid[k, 0])
        ax.imshow(crops[k])
        ax.set(xticks=[], yticks=[])
        ax.set_title(names[k], color="black")
        for spine in ax.spines.values():
            spine.set(visible=True, color=colours[k], linewidth=3, linestyle=styles[k])
    high = float(shares.max()) * 1.1 if top is None else check_fraction(top, "top")
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
        ax.set(title=f"{channel}: overlap {_percent(overlap[c])}", xlabel="pixel value (0 to 255)")
        ax.set(xticks=[0, 128, 255], ylim=(0, high), xlim=(0, 255))
        if c == 0:
            ax.set_ylabel("share of pixels (%)")
            ax.legend(frameon=False, handlelength=1.6)
        _percent_axis(ax.yaxis)
        if c:
            ax.tick_params(labelleft=False)
    return fig


def _shape(value: object) -> str:
    return f"shape {tuple(value.shape)}" if hasattr(value, "shape") else type(value).__name__


@_styled
def nearest_neighbours(
    queries: ArrayLike,
    neighbours: ArrayLike,
    similarities: ArrayLike,
    same_class: ArrayLike | None = None,
    title: str | None = None,
    query: str = "query",
) -> Picture:
    """Show each query on the left and its nearest neighbours beside it, with their similarity.

    Args:
        queries: ``(Q, 3, H, W)``.
        neighbours: ``(Q, K, 3, H, W)``, nearest first.
        similarities: ``(Q, K)`` cosine similarities.
        same_class: ``(Q, K)`` of bool; neighbours of another class than the query get a cross.
        title: what to see.
        query: what to write above each picture on the left.

    Raises:
        TypeError, ValueError: shapes that do not fit together.
    """
    q = _pixels(queries, "queries")
    shape = tuple(getattr(neighbours, "shape", ()))
    if len(shape) != 5 or shape[0] != len(q):
        raise ValueError(f"neighbours must have shape ({len(q)}, K, 3, H, W), got {_shape(neighbours)}")
    k = shape[1]
    near = _pixels(neighbours.reshape(-1, *shape[2:]), "neighbours")  # type: ignore[union-attr]
    if near.shape[1:] != q.shape[1:]:
        raise ValueError(f"neighbours must be images of the queries' size, got {_shape(neighbours)}")
    sim = _similarities(similarities, "similarities")
    if sim.shape != (len(q), k):
        raise ValueError(f"similarities must have shape ({len(q)}, {k}), got {sim.shape}")
    tiles = np.concatenate([q[:, None], near.reshape(len(q), k, *q.shape[1:])], axis=1)  # (Q, 1 + K, H, W, 3)
    alt = f"{len(q)} queries, each with its {k} nearest neighbours; mean similarity {_two(sim.mean())}"
    captions = [c for row in sim for c in (query, *(_two(s) for s in row))]
    same = None
    if same_class is not None:
        same = _array(same_class, "same_class").astype(bool)
        if same.shape != sim.shape:
            raise ValueError(f"same_class must have shape {sim.shape}, got {same.shape}")
        alt += f"; {int(same.sum())} of {same.size} neighbours are of the query's class"
    default = "Nearest neighbours of each query by cosine similarity"
    if same is not None:
        default += "; a cross marks another class"
    fig, ax, corner = _mosaic(tiles, title or default, alt + ".", captions)
    height, width = q.shape[1:3]
    for r in range(len(q)):
        ax.add_patch(
            Rectangle(corner(r, 0), width, height, fill=False, edgecolor="black", linewidth=3, clip_on=False)
        )
    if same is not None:
        _cross_out(ax, [corner(int(r), int(c) + 1) for r, c in np.argwhere(~same)], height, width)
    return fig


def _cross_out(ax: Axes, corners: Sequence[tuple[float, float]], height: int, width: int) -> None:
    """Put a small cross into the top left corner of each of these tiles."""
    crosses = []
    for x, y in corners:
        w, h = 0.22 * width, 0.22 * height
        crosses += [[(x, y), (x + w, y + h)], [(x, y + h), (x + w, y)]]
    ax.add_collection(LineCollection(crosses, colors="white", linewidths=5), autolim=False)
    marks = LineCollection(crosses, colors=OKABE_ITO["vermilion"], linewidths=2.5)
    marks.set_gid("other class")
    ax.add_collection(marks, autolim=False)


@_styled
def neighbours_before_after(
    queries: ArrayLike,
    before: ArrayLike,
    after: ArrayLike,
    same_before: ArrayLike,
    same_after: ArrayLike,
    names: Sequence[str] = ("random encoder", "SimCLR"),
    title: str | None = None,
) -> Picture:
    """Show each query with its nearest neighbours under two encoders, side by side.

    Args:
        queries: ``(Q, 3, H, W)``.
        before: ``(Q, K, 3, H, W)``, the neighbours under the first encoder, nearest first.
        after: ``(Q, K, 3, H, W)``, under the second.
        same_before: ``(Q, K)`` of bool; neighbours of another class than the query get a cross.
        same_after: ``(Q, K)`` of bool, for the second.
        names: of the two encoders.
        title: what to see; the default counts the neighbours of the query's class.

    Raises:
        TypeError, ValueError: shapes that do not fit together.
    """
    q = _pixels(queries, "queries")
    names = _names(names, "names", 2)
    shape = tuple(getattr(before, "shape", ()))
    if len(shape) != 5 or shape[0] != len(q) or tuple(getattr(after, "shape", ())) != shape:
        raise ValueError(
            f"before and after must both have shape ({len(q)}, K, 3, H, W), got {_shape(before)} and "
            f"{_shape(after)}"
        )
    if shape[3:] != q.shape[1:3]:
        raise ValueError(f"neighbours must be images of the queries' size, got {_shape(before)}")
    k, (height, width) = shape[1], q.shape[1:3]
    groups, sames = [], []
    for name, images, same in (("before", before, same_before), ("after", after, same_after)):
        pixels = _pixels(images.reshape(-1, *shape[2:]), name)  # type: ignore[union-attr]
        groups.append(pixels.reshape(len(q), k, height, width, 3))
        sames.append(_array(same, f"same_{name}").astype(bool))
        if sames[-1].shape != (len(q), k):
            raise ValueError(f"same_{name} must have shape ({len(q)}, {k}), got {sames[-1].shape}")
    gap = np.ones((len(q), 1, height, width, 3), dtype=np.float32)
    tiles = np.concatenate([q[:, None], groups[0], gap, groups[1]], axis=1)  # (Q, 2 + 2K, H, W, 3)
    counts = [f"{name}: {int(s.sum())} of {s.size}" for name, s in zip(names, sames, strict=True)]
    title = title or f"Neighbours of the query's class: {'; '.join(counts)} (a cross marks another class)"
    alt = (
        f"{len(q)} queries, each with its {k} nearest neighbours. Of the query's class: {'; '.join(counts)}."
    )
    blank = [""] * (2 + 2 * k)
    fig, ax, corner = _mosaic(tiles, title, alt, column_names=["query", *blank[1:]])
    for r in range(len(q)):
        ax.add_patch(
            Rectangle(corner(r, 0), width, height, fill=False, edgecolor="black", linewidth=3, clip_on=False)
        )
    crossed = []
    for name, same, start in zip(names, sames, (1, 2 + k), strict=True):
        middle = (corner(0, start)[0] + corner(0, start + k - 1)[0] + width) / 2
        ax.text(middle, 0, name, ha="center", va="bottom")
        crossed += [corner(int(r), int(c) + start) for r, c in np.argwhere(~same)]
    _cross_out(ax, crossed, height, width)
    return fig


# --- similarity matrices ------------------------------------------------------------------------------

# 64 colours, 0.03 apart: more would not be seen, and make the picture file several times larger.
_SIMILARITY: dict[str, Any] = {
    "cmap": matplotlib.colormaps["RdBu_r"].resampled(64),
    "vmin": -1.0,
    "vmax": 1.0,
    "interpolation": "nearest",
}


@_styled
def arrows(vectors: ArrayLike, names: Sequence[str], title: str | None = None) -> Picture:
    """Draw embeddings in the plane as arrows on the unit circle, view 1 of all images stacked on view 2.

    Args:
        vectors: ``(2N, 2)``, drawn at length 1; the two views of an image share a colour.
        names: ``(2N,)`` names.
        title: what to see.

    Raises:
        TypeError, ValueError: not an even number of vectors in the plane, one of length 0, or too few names.
    """
    v = _array(vectors, "vectors")
    if v.ndim != 2 or v.shape[1] != 2 or len(v) % 2:
        raise ValueError(f"vectors must have shape (2N, 2), got {v.shape}")
    names = _names(names, "names", len(v))
    length = np.linalg.norm(v, axis=1, keepdims=True)
    if length.min() == 0:
        raise ValueError("vectors must have a direction, got one of length 0")
    v = v / length
    degrees = np.degrees(np.arctan2(v[:, 1], v[:, 0])) % 360
    title = title or "Embeddings as arrows: only the angle between two of them counts"
    alt = "Arrows of length 1 from one point: " + ", ".join(
        f"{n} at {d:.0f} degrees" for n, d in zip(names, degrees, strict=True)
    )
    fig = _figure(_WIDTH, 3.6, title, alt + ".")
    ax = fig.add_subplot()
    turn = np.linspace(0, 2 * np.pi, 200)
    ax.plot(np.cos(turn), np.sin(turn), color=_GRAY, linestyle=":", linewidth=1.5)
    half = len(v) // 2
    for k, (x, y) in enumerate(v):
        colour = _CYCLE[k % half % len(_CYCLE)]
        ax.annotate(
            "",
            (x, y),
            (0, 0),
            arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 2.5, "shrinkA": 0, "shrinkB": 0},
        )
        ax.text(1.08 * x, 1.08 * y, f"{names[k]} at {degrees[k]:.0f}°", va="center", ha=_side(float(x)))
    low = min(0.0, float(v[:, 1].min()))
    ax.set(xlim=(-2, 2), ylim=(low - 0.15, 1.2), aspect="equal")
    ax.set(xlabel="first coordinate (no unit)", ylabel="second (no unit)", xticks=[-1, 0, 1], yticks=[0, 1])
    return fig


def _side(x: float) -> str:
    """Where a label beside a point of the unit circle begins."""
    return "center" if abs(x) < 0.2 else "left" if x > 0 else "right"


@_styled
def similarity_matrix(
    sim: ArrayLike,
    kind: str = "pairs",
    labels: Sequence[str] | None = None,
    title: str | None = None,
    decimals: int = 2,
) -> Picture:
    """Draw a cosine similarity matrix, the positives outlined and the diagonal crossed out.

    Args:
        sim: ``(2N, 2N)`` for ``kind="pairs"``, view 1 of all N images stacked on view 2, so that the
            positive of row i is column (i + N) mod 2N. Any square matrix for ``kind="plain"``.
        kind: ``"pairs"`` outlines the 2N positives and crosses out the 2N self-similarities; ``"plain"``
            marks nothing.
        labels: a name for each row; the default for pairs of up to 8 images is ``1a, 2a, ..., 1b, 2b, ...``.
        title: what to see.
        decimals: of the numbers in the cells of up to 12 rows, 1 to 3.

    Raises:
        TypeError, ValueError: not a square matrix of cosine similarities, or of odd size for pairs.
    """
    x = _square(sim, "sim")
    check_choice(kind, "kind", ("pairs", "plain"))
    check_int(decimals, "decimals", 1, 3)
    n = len(x)
    if kind == "pairs" and (n % 2 or n < 4):
        raise ValueError(f"sim must have 2N rows with N at least 2 for kind='pairs', got {n} rows")
    half = n // 2
    if labels is not None:
        ticks = _names(labels, "labels", n)
    elif kind == "pairs" and n <= 16:
        ticks = [f"{i % half + 1}{'ab'[i // half]}" for i in range(n)]
    else:
        ticks = []
    index = np.arange(n)
    if kind == "pairs":
        positives = x[index, (index + half) % n]
        negative = ~np.eye(n, dtype=bool) & (np.roll(np.eye(n, dtype=bool), half, axis=1) == 0)
        title = title or f"Each row: 1 positive (outlined), {n - 2} negatives, itself left out (crossed)"
        alt = (
            f"Cosine similarity matrix of {n} views, {half} pairs: mean similarity "
            f"{_fixed(positives.mean(), decimals)} over the "
            f"{n} outlined positives and {_fixed(x[negative].mean(), decimals)} over the negatives; "
            "the diagonal is crossed out."
        )
    else:
        title = title or "Cosine similarities: red is alike, blue is opposite"
        alt = (
            f"Cosine similarity matrix of {n} rows, from {_two(x.min())} to {_two(x.max())}, mean "
            f"{_two(x.mean())}."
        )
    fig = _figure(7.4 if n <= 16 else 6.9, 6.2, title, alt)
    ax = fig.add_subplot()
    image = ax.imshow(x, **_SIMILARITY)
    fig.colorbar(image, ax=ax, label="cosine similarity (no unit)", shrink=0.9)
    what = "view" if kind == "pairs" else "embedding"
    ax.set_xlabel(f"candidate {what}")
    ax.set_ylabel(f"anchor {what}" if kind == "pairs" else what)
    ax.spines[:].set_visible(False)
    if ticks:
        ax.set_xticks(index, ticks, rotation=90 if max(map(len, ticks)) > 3 else 0)
        ax.set_yticks(index, ticks)
        ax.tick_params(length=0)
    if kind == "pairs":
        boxes = PatchCollection([Rectangle(((i + half) % n - 0.5, i - 0.5), 1, 1) for i in index])
        boxes.set(facecolor="none", edgecolor="black", linewidth=2.5 if n <= 32 else 1.0, gid="positives")
        ax.add_collection(boxes)
        d = 0.5
        cross = [[(i - d, i - d), (i + d, i + d)] for i in index] + [
            [(i - d, i + d), (i + d, i - d)] for i in index
        ]
        lines = LineCollection(cross, colors="black", linewidths=1.2 if n <= 32 else 0.5, gid="self")
        ax.add_collection(lines)
        ax.set(xlim=(-0.5, n - 0.5), ylim=(n - 0.5, -0.5))
    if n <= 12:
        for i in range(n):
            for j in range(n):
                if kind == "pairs" and i == j:
                    continue
                colour = "white" if abs(x[i, j]) > 0.65 else "black"
                size = 10 if decimals < 3 else 9
                value = _fixed(x[i, j], decimals)
                ax.text(j, i, value, ha="center", va="center", fontsize=size, color=colour)
    return fig


def _by_class(ax: Axes, x: Array, labels: Array, names: list[str], y_names: bool = True) -> Any:
    """Draw ``x`` with rows and columns sorted by class and lines between the classes."""
    order = np.argsort(labels, kind="stable")
    image = ax.imshow(x[order][:, order], **_SIMILARITY)
    counts = np.bincount(labels, minlength=len(names))
    ends = np.cumsum(counts)
    bounds = [e - 0.5 for e in ends[:-1] if 0 < e < len(labels)]
    n = len(labels)
    segments = [[(b, -0.5), (b, n - 0.5)] for b in bounds] + [[(-0.5, b), (n - 0.5, b)] for b in bounds]
    ax.add_collection(LineCollection(segments, colors="black", linewidths=0.8, gid="classes"))
    present = np.flatnonzero(counts)
    centres = (ends - counts / 2 - 0.5)[present]
    ax.set_xticks(centres, [names[c] for c in present], rotation=90)
    ax.set_yticks(centres, [names[c] for c in present] if y_names else [])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set(xlim=(-0.5, n - 0.5), ylim=(n - 0.5, -0.5), xlabel="image, sorted by class")
    return image


def _class_means(x: Array, labels: Array) -> tuple[float, float]:
    """Return the mean similarity within a class (self left out) and between classes."""
    same = labels[:, None] == labels[None, :]
    within = same & ~np.eye(len(labels), dtype=bool)
    if same.all() or not within.any():
        raise ValueError("labels must hold at least 2 classes, one of them at least twice")
    return float(x[within].mean()), float(x[~same].mean())


@_styled
def similarity_by_class(
    sim: ArrayLike, labels: ArrayLike, class_names: Sequence[str], title: str | None = None
) -> Picture:
    """Draw a similarity matrix sorted by class, lines between the classes.

    Args:
        sim: ``(N, N)`` cosine similarities, in any order.
        labels: ``(N,)`` class of each row.
        class_names: a name for each class.
        title: what to see; the default states the means within and between classes.

    Raises:
        TypeError, ValueError: not a square matrix, or labels that do not fit.
    """
    x = _square(sim, "sim")
    y, names = _classes(labels, class_names, len(x))
    within, between = _class_means(x, y)
    title = title or f"Sorted by class: similarity {_two(within)} within, {_two(between)} between classes"
    alt = (
        f"Cosine similarities of {len(x)} images sorted into {len(np.unique(y))} classes: mean "
        f"{_two(within)} within "
        f"a class and {_two(between)} between classes."
    )
    fig = _figure(7.6, 6.6, title, alt)
    ax = fig.add_subplot()
    image = _by_class(ax, x, y, names)
    ax.set_ylabel("image, sorted by class")
    fig.colorbar(image, ax=ax, label="cosine similarity (no unit)", shrink=0.9)
    return fig


@_styled
def before_after_similarity(
    sim_before: ArrayLike,
    sim_after: ArrayLike,
    labels: ArrayLike,
    class_names: Sequence[str],
    title: str | None = None,
) -> Picture:
    """Draw the similarity matrix of the same images before and after pretraining, sorted by class.

    Args:
        sim_before: ``(N, N)`` cosine similarities under the untrained encoder.
        sim_after: ``(N, N)`` under the pretrained one.
        labels: ``(N,)`` class of each image.
        class_names: a name for each class.
        title: what to see.

    Raises:
        TypeError, ValueError: not two square matrices of one size, or labels that do not fit.
    """
    before, after = _square(sim_before, "sim_before"), _square(sim_after, "sim_after")
    if before.shape != after.shape:
        raise ValueError(
            f"sim_before and sim_after must have one shape, got {before.shape} and {after.shape}"
        )
    y, names = _classes(labels, class_names, len(before))
    means = [_class_means(x, y) for x in (before, after)]
    gains = means[1][0] - means[1][1] > means[0][0] - means[0][1]
    title = title or (
        "Pretraining without labels finds classes: blocks appear along the diagonal"
        if gains
        else "Pretraining did not separate the classes: no more contrast than before"
    )
    alt = (
        f"Two similarity matrices of {len(before)} images sorted by class. Before pretraining the "
        "mean similarity is "
        f"{_two(means[0][0])} within a class and {_two(means[0][1])} between classes; after it, "
        f"{_two(means[1][0])} and "
        f"{_two(means[1][1])}."
    )
    fig = _figure(_WIDTH, 5.1, title, alt)
    axes = fig.subplots(1, 2)
    for k, (ax, x, name) in enumerate(zip(axes, (before, after), ("before", "after"), strict=True)):
        image = _by_class(ax, x, y, names, y_names=k == 0)
        ax.set_title(f"{name}: {_two(means[k][0])} within, {_two(means[k][1])} between")
    axes[0].set_ylabel("image, sorted by class")
    fig.colorbar(image, ax=axes, label="cosine similarity (no unit)", shrink=0.8, pad=0.02)
    return fig


# --- temperature and loss -----------------------------------------------------------------------------


@_styled
def softmax_row(
    similarities: ArrayLike,
    positive_index: int,
    temperatures: Sequence[float] = (0.1, 0.5, 1.0),
    title: str | None = None,
) -> Picture:
    """Draw one anchor's similarities and the softmax weights that each temperature makes of them.

    Args:
        similarities: ``(K,)`` cosine similarities to the candidates, the anchor itself left out, so
            K = 2N - 1.
        positive_index: which candidate is the positive.
        temperatures: one row of weights for each, up to 4.
        title: what to see.

    Raises:
        TypeError, ValueError: not a vector of similarities, an index out of range, a temperature not
            greater than 0.
    """
    s = _vector(_similarities(similarities, "similarities"), "similarities")
    k = check_int(positive_index, "positive_index", 0, len(s) - 1)
    taus = _temperatures(temperatures)
    if len(taus) > 4:
        raise ValueError(f"temperatures must be at most 4 to stay legible, got {len(taus)}")
    weights = [_softmax(s, t) for t in taus]
    title = title or "The lower the temperature, the more weight on the most similar candidates"
    parts = ", ".join(f"{_two(w[k])} at temperature {t:g}" for t, w in zip(taus, weights, strict=True))
    alt = (
        f"Similarities of one anchor to {len(s)} candidates; the positive, at {_two(s[k])}, gets "
        f"softmax weight {parts}."
    )
    rows = 1 + len(taus)
    fig = _figure(_WIDTH, 1.1 + 1.2 * rows, title, alt, constrained=False)
    height = fig.get_figheight()
    axes = fig.subplots(rows, 1, sharex=True)
    fig.subplots_adjust(left=0.1, right=0.98, top=1 - 0.72 / height, bottom=0.6 / height, hspace=0.6)
    for ax, values, name in zip(
        axes, [s, *weights], ["similarity", *(f"weight, temperature {t:g}" for t in taus)], strict=True
    ):
        _bars(ax, values, k)
        ax.set_xlim(-0.6, len(s) - 0.4)
        ax.set_title(name, loc="left", pad=3)
        ax.axhline(0, color="black", linewidth=0.8)
        ax.yaxis.set_major_locator(MaxNLocator(3))
    axes[0].set(ylim=(-1.05, 1.05), yticks=[-1, 0, 1], ylabel="cosine")
    for ax, w in zip(axes[1:], weights, strict=True):
        ax.set(ylabel="weight", ylim=(0, max(w) * 1.25))
        ax.annotate(
            f"positive {_two(w[k])}", (k, w[k]), xytext=(0, 2), textcoords="offset points", ha="center"
        )
    axes[-1].set_xlabel("candidate (2N - 1 of them; orange is the positive; each row has its own scale)")
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    return fig


_HARDNESS = ("hardest 10%", "next 40%", "easiest 50%")
_HARDNESS_COLOURS = (OKABE_ITO["vermilion"], OKABE_ITO["sky"], "#DDDDDD")


def _hardness_cuts(k: int) -> list[int]:
    """Return how many of ``k`` negatives, hardest first, end the first and the second group."""
    first = max(1, round(0.1 * k))
    return [first, min(max(first + 1, round(0.5 * k)), k - 1)]


def _share_bars(ax: Axes, shares: Array, names: Sequence[str]) -> None:
    """Draw one stacked bar of three shares for each row of ``shares`` (R, 3)."""
    left = np.zeros(len(shares))
    y = np.arange(len(shares))
    for g, group in enumerate(_HARDNESS):
        ax.barh(
            y,
            shares[:, g],
            left=left,
            color=_HARDNESS_COLOURS[g],
            edgecolor="white",
            label=group,
            height=0.75,
        )
        for i, share in enumerate(shares[:, g]):
            if share >= 0.045:
                ink = "white" if g == 0 else "black"
                ax.text(left[i] + share / 2, i, _percent(share), ha="center", va="center_baseline", color=ink)
        left = left + shares[:, g]
    ax.set_yticks(y, names)
    ax.invert_yaxis()
    ax.set(xlim=(0, 1), xlabel="share (%)")
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    _percent_axis(ax.xaxis)


@_styled
def gradient_share(
    similarities: ArrayLike, temperatures: Sequence[float] = (0.1, 0.5, 1.0), title: str | None = None
) -> Picture:
    """Draw which negatives the gradient comes from, for each temperature.

    The gradient of NT-Xent with respect to the similarity of negative j is its softmax weight over the
    temperature, so its share among the negatives is exp(s_j / tau) / sum_k exp(s_k / tau).

    Args:
        similarities: ``(K,)`` cosine similarities of the negatives, K at least 3.
        temperatures: one bar for each.
        title: what to see.

    Raises:
        TypeError, ValueError: not a vector of similarities, or a temperature not greater than 0.
    """
    s = _vector(_similarities(similarities, "similarities"), "similarities")
    if len(s) < 3:
        raise ValueError(f"similarities must hold at least 3 negatives, got {len(s)}")
    taus = _temperatures(temperatures)
    s = np.sort(s)[::-1]
    cuts = _hardness_cuts(len(s))
    first = cuts[0]
    shares = np.array(
        [[len(p) / len(s) for p in np.split(s, cuts)]]
        + [[p.sum() for p in np.split(_softmax(s, t), cuts)] for t in taus]
    )
    names = ["their number", *(f"gradient, temperature {t:g}" for t in taus)]
    title = title or "At a low temperature the hardest negatives carry nearly all of the gradient"
    parts = ", ".join(f"{_percent(r[0])} at temperature {t:g}" for t, r in zip(taus, shares[1:], strict=True))
    alt = (
        f"Of {len(s)} negatives the {first} most similar to the anchor, {_percent(shares[0, 0])} of them, "
        f"carry this share of the gradient: {parts}."
    )
    fig = _figure(_WIDTH, 1.9 + 0.5 * len(names), title, alt)
    ax = fig.add_subplot()
    _share_bars(ax, shares, names)
    handles, groups = ax.get_legend_handles_labels()
    fig.legend(
        handles,
        groups,
        loc="outside lower center",
        ncols=3,
        frameon=False,
        title="negatives by similarity to the anchor",
    )
    return fig


@_styled
def temperature_effect(
    similarities: ArrayLike, positive_index: int, temperature: float = 0.5, title: str | None = None
) -> Picture:
    """Draw what one temperature does: the softmax weights, and which negatives the gradient comes from.

    Args:
        similarities: ``(K,)`` cosine similarities of one anchor to its candidates, itself left out; K at
            least 4.
        positive_index: which candidate is the positive.
        temperature: greater than 0.
        title: what to see; the default states the anchor's loss.

    Raises:
        TypeError, ValueError: not a vector of similarities, or an index or temperature out of range.
    """
    s = _vector(_similarities(similarities, "similarities"), "similarities")
    if len(s) < 4:
        raise ValueError(f"similarities must hold at least 4 candidates, got {len(s)}")
    k = check_int(positive_index, "positive_index", 0, len(s) - 1)
    tau = check_positive(temperature, "temperature")
    order = np.argsort(-s, kind="stable")
    weights = _softmax(s, tau)[order]
    place = int(np.flatnonzero(order == k)[0])
    negatives = np.sort(np.delete(s, k))[::-1]
    cuts = _hardness_cuts(len(negatives))
    shares = np.array(
        [
            [len(p) / len(negatives) for p in np.split(negatives, cuts)],
            [p.sum() for p in np.split(_softmax(negatives, tau), cuts)],
        ]
    )
    loss = float(_loss(s[None], np.array([k]), tau)[0])
    title = (
        title
        or f"Temperature {tau:.3g}: the positive weighs {_two(weights[place])}, so the loss is {_two(loss)}"
    )
    alt = (
        f"At temperature {tau:.3g} the positive has softmax weight {_two(weights[place])} among "
        f"{len(s)} candidates, "
        f"and the hardest {_percent(shares[0, 0])} of the negatives carry {_percent(shares[1, 0])} of "
        "the gradient."
    )
    fig = _figure(_WIDTH, 4.6, title, alt, constrained=False)
    ax = fig.add_axes((0.14, 0.49, 0.84, 0.38))
    x = np.arange(len(s))
    _bars(ax, weights, place)
    ax.set(xlabel="candidate, most similar first (orange is the positive)", ylabel="softmax weight")
    ax.set(xlim=(-0.6, len(s) - 0.4), ylim=(0, max(float(weights.max()) * 1.2, 1e-6)))
    ax.axhline(1 / len(s), color=_GRAY, linestyle=":", linewidth=2)
    ax.text(x[-1] + 0.4, 1 / len(s), "uniform", ha="right", va="bottom", color=_GRAY)
    ax.yaxis.set_major_locator(MaxNLocator(4))
    ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    below = fig.add_axes((0.14, 0.13, 0.84, 0.17))
    _share_bars(below, shares, ("negatives", "gradient"))
    below.set_xlabel("share (%): hardest 10% (red), next 40% (blue), easiest 50% (gray)")
    return fig


def _bars(ax: Axes, values: Array, positive: int) -> None:
    """Draw bars as one collection, which is several times faster than a patch each."""
    at = np.arange(len(values))
    boxes = [
        [(i - 0.45, 0), (i - 0.45, v), (i + 0.45, v), (i + 0.45, 0)] for i, v in zip(at, values, strict=True)
    ]
    ax.add_collection(
        PolyCollection(boxes, facecolors=np.where(at == positive, _POSITIVE, _NEGATIVE), gid="bars")
    )


def _loss(sim: Array, positive: Array, temperature: float) -> Array:
    """Return each row's cross-entropy (R,) of ``sim`` (R, K) / temperature against column "
    "``positive`` (R,)."""
    logits = sim / temperature
    top = logits.max(axis=1)
    total = np.log(np.exp(logits - top[:, None]).sum(axis=1)) + top
    return total - logits[np.arange(len(sim)), positive]


@_styled
def anchor_softmax(
    sim: ArrayLike, anchor: int = 0, temperature: float = 0.5, title: str | None = None
) -> Picture:
    """Draw the similarity matrix with one anchor's row framed, and the softmax over that row.

    Args:
        sim: ``(2N, 2N)`` cosine similarities, view 1 of all images stacked on view 2.
        anchor: row, from 0 to 2N - 1.
        temperature: greater than 0.
        title: what to see; the default states the loss of the anchor and of the batch.

    Raises:
        TypeError, ValueError: not such a matrix, or an anchor or temperature out of range.
    """
    x = _square(sim, "sim")
    n = len(x)
    if n % 2 or n < 4:
        raise ValueError(f"sim must have 2N rows with N at least 2, got {n} rows")
    i = check_int(anchor, "anchor", 0, n - 1)
    tau = check_positive(temperature, "temperature")
    index = np.arange(n)
    positives = (index + n // 2) % n
    # Minus infinity takes the anchor itself out of the softmax.
    losses = _loss(np.where(np.eye(n, dtype=bool), -np.inf, x), positives, tau)
    weights = np.zeros(n)
    weights[index != i] = _softmax(x[i, index != i], tau)
    p = int(positives[i])
    title = title or (
        f"Anchor {i}, temperature {tau:.3g}: its loss is -ln({_two(weights[p])}) = {_two(losses[i])}, "
        f"the batch's {_two(losses.mean())}"
    )
    alt = (
        f"Similarity matrix of {n} views with the row of anchor {i} framed; beside it the softmax of "
        "that row at "
        f"temperature {tau:.3g}: the positive, candidate {p}, weighs {_two(weights[p])}. Mean loss "
        f"{_two(losses.mean())}."
    )
    fig = _figure(_WIDTH, 4.4, title, alt, constrained=False)
    ax = fig.add_axes((0.07, 0.14, 0.37, 0.37 * _WIDTH / 4.4))
    ax.imshow(x, **_SIMILARITY, aspect="auto")
    ax.add_patch(
        Rectangle((-0.5, i - 0.5), n, 1, fill=False, edgecolor="black", linewidth=2.5, clip_on=False)
    )
    boxes = PatchCollection([Rectangle((positives[r] - 0.5, r - 0.5), 1, 1) for r in index])
    boxes.set(facecolor="none", edgecolor=_POSITIVE, linewidth=1.5, gid="positives")
    ax.add_collection(boxes, autolim=False)
    ax.spines[:].set_visible(False)
    ax.set(xlabel="candidate (red is alike, blue opposite)", ylabel="anchor")
    right = fig.add_axes((0.56, 0.14, 0.42, 0.37 * _WIDTH / 4.4))
    _bars(right, weights, p)
    right.plot([i], [0], "x", color="black", markersize=9, markeredgewidth=2, clip_on=False)
    right.set(xlabel="candidate (orange: positive, cross: itself)", ylabel="softmax weight")
    right.set(xlim=(-0.6, n - 0.4), ylim=(0, float(weights.max()) * 1.15))
    for axis in (ax.xaxis, ax.yaxis, right.xaxis):
        axis.set_major_locator(MaxNLocator(6, integer=True))
    return fig


_MANY = 60  # logged values above which a curve is drawn thin, with its running mean


def _running_mean(y: Array) -> Array:
    """Average over the last 5% of the points (at least 5), fewer at the start; never ahead of the data."""
    window = max(5, len(y) // 20)
    total = np.concatenate([[0.0], np.cumsum(y)])
    i = np.arange(1, len(y) + 1)
    start = np.maximum(0, i - window)
    return (total[i] - total[start]) / (i - start)


def _series(history: Sequence[Mapping[str, Any]], key: str) -> tuple[Array, Array] | None:
    """Return the steps and values of the rows that have ``key``."""
    rows = [(row["step"], row[key]) for row in history if row.get(key) is not None]
    if not rows:
        return None
    steps, values = zip(*rows, strict=True)
    return _vector(steps, "step"), _vector(values, key)


@_styled
def loss_curve(
    history: Sequence[Mapping[str, Any]],
    num_pairs: int,
    title: str | None = None,
    knn_title: str = "kNN accuracy",
) -> Picture:
    """Draw the loss with its ln(2N - 1) line and, where logged, contrastive accuracy, kNN and learning rate.

    An encoder that has learned nothing scores about ln(2N - 1), the cross-entropy of a guess among
    2N - 1 candidates: the line tells whether a loss is stuck.

    Args:
        history: rows with ``step`` and ``loss``; ``contrastive_accuracy``, ``knn`` and ``learning_rate`` get
            a panel if some row has them.
        num_pairs: N, the images in a batch.
        title: what to see; the default compares the last loss with the line. More than 60 losses are drawn
            with their running mean, and then it is the mean that the title compares.
        knn_title: of the panel with kNN, to say on how many labels it was measured.

    Raises:
        TypeError, ValueError: no rows, a row without ``step``, no loss, or a value that is not finite.
    """
    if isinstance(history, str | Mapping) or not isinstance(history, Sequence):
        raise TypeError(f"history must be a list of rows, got {type(history).__name__}")
    if not history:
        raise ValueError("history must not be empty, got 0 rows")
    if any("step" not in row for row in history):
        raise ValueError("every row of history must have a step, got one without")
    n = check_int(num_pairs, "num_pairs", 2)
    floor = math.log(2 * n - 1)
    wanted = ("loss", "contrastive_accuracy", "knn", "learning_rate")
    found = {key: s for key in wanted if (s := _series(history, key)) is not None}
    if "loss" not in found:
        raise ValueError("history must hold a loss in some row, got none")
    losses = found["loss"][1]
    averaged = len(losses) > _MANY
    last = float(_running_mean(losses)[-1]) if averaged else float(losses[-1])
    verdict = "well below" if last < 0.8 * floor else "below" if last < 0.98 * floor else "still at"
    now = f"{_two(last)} (running mean)" if averaged else _two(last)
    title = title or f"The loss, now {now}, is {verdict} the guessing line ln(2N - 1) = {_two(floor)}"
    alt = f"The loss goes from {_two(losses[0])} to {now} over {len(losses)} logged steps"
    alt += f"; the dashed line is ln(2N - 1) = {_two(floor)} for N = {n}"
    for key, name in (("contrastive_accuracy", "contrastive accuracy"), ("knn", "kNN accuracy")):
        if key in found:
            alt += f"; {name} ends at {_percent(found[key][1][-1])}"
    count = len(found)
    rows, columns = (1, count) if count < 4 else (2, 2)
    fig = _figure(_WIDTH, 3.9 if rows == 1 else 6.0, title, alt + ".", constrained=False)
    height = fig.get_figheight()
    axes = np.atleast_1d(fig.subplots(rows, columns)).ravel()
    fig.subplots_adjust(
        left=0.085, right=0.985, top=1 - 0.75 / height, bottom=0.6 / height, wspace=0.32, hspace=0.5
    )
    last_step = max(float(s[0].max()) for s in found.values())
    for ax, (key, (steps, values)) in zip(axes, found.items(), strict=True):
        many = len(values) > _MANY and key in ("loss", "contrastive_accuracy")
        colour = {"loss": OKABE_ITO["blue"], "contrastive_accuracy": OKABE_ITO["green"]}.get(key, "black")
        if many:
            ax.plot(steps, values, color=colour, alpha=0.45, linewidth=1)
            ax.plot(steps, _running_mean(values), color=colour, label="running mean")
        else:
            ax.plot(steps, values, color=colour, marker="o" if len(values) < 15 else None, clip_on=False)
        ax.set_xlabel("step")
        ax.set_xlim(0, max(last_step, 1) * 1.02)
        ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        ax.grid(axis="y")
    for ax, key in zip(axes, found, strict=True):
        if key == "loss":
            line = ax.axhline(floor, color=OKABE_ITO["vermilion"], linestyle="--", linewidth=2)
            line.set_gid("floor")
            ax.set_ylim(0, max(floor, float(found["loss"][1].max())) * 1.15)
            ax.text(
                0.98,
                floor,
                f"ln(2N - 1) = {_two(floor)}",
                transform=ax.get_yaxis_transform(),
                ha="right",
                va="bottom",
            )
            ax.set(title="loss", ylabel="NT-Xent loss (nats)")
        elif key == "contrastive_accuracy":
            ax.axhline(1 / (2 * n - 1), color=_GRAY, linestyle=":", linewidth=2)
            # Chance is a fraction of a per cent: on an axis up to 100 the curve would lie on top of it.
            top = min(1.02, max(1.5 * float(found[key][1].max()), 3 / (2 * n - 1)))
            ax.set(title="contrastive accuracy", ylabel="positive ranked first (%)", ylim=(0, top))
            ax.text(
                0.98,
                0.97,  # the curve keeps to the lower half in all but the longest runs
                f"dotted: chance, {100 / (2 * n - 1):.2g}%",
                transform=ax.transAxes,
                ha="right",
                va="top",
                color=_GRAY,
            )
            _percent_axis(ax.yaxis)
        elif key == "knn":
            ax.set(title=knn_title, ylabel="accuracy (%)", ylim=(0, 1.02))
            _percent_axis(ax.yaxis)
        else:
            ax.set(
                title="learning rate",
                ylabel="learning rate",
                ylim=(0, float(found["learning_rate"][1].max()) * 1.15 or 1),
            )
    return fig


@_styled
def loss_floor(num_pairs: int | None = None, max_pairs: int = 8192, title: str | None = None) -> Picture:
    """Draw ln(2N - 1), what an encoder that guesses scores, against the batch size N.

    Args:
        num_pairs: a batch size to point out; None points out 256 and 4096.
        max_pairs: right end of the axis.
        title: what to see.

    Raises:
        TypeError, ValueError: not whole numbers in range.
    """
    top = check_int(max_pairs, "max_pairs", 4)
    marks = [256, 4096] if num_pairs is None else [check_int(num_pairs, "num_pairs", 2, top)]
    marks = [m for m in marks if m <= top]
    title = title or "Guessing costs ln(2N - 1): losses of different batch sizes do not compare"
    values = ", ".join(f"{math.log(2 * m - 1):.2f} at N = {m}" for m in marks)
    alt = (
        f"The loss of a guessing encoder, ln(2N - 1), rises with the logarithm of the batch size N: {values}."
    )
    fig = _figure(_WIDTH, 4.0, title, alt, constrained=False)
    height = fig.get_figheight()
    ax = fig.add_axes((0.08, 0.65 / height, 0.88, 1 - 1.15 / height))
    n = np.geomspace(2, top, 200)
    ax.plot(n, np.log(2 * n - 1), color=OKABE_ITO["blue"])
    for m in marks:
        y = math.log(2 * m - 1)
        ax.plot([m, m, 2], [0, y, y], color=_GRAY, linestyle=":", linewidth=1.5)
        ax.plot([m], [y], "o", color=OKABE_ITO["vermilion"], markersize=9)
        left = m > math.sqrt(2 * top)
        ax.annotate(
            f"N = {m}: {2 * m - 1} candidates, {_two(y)}",
            (m, y),
            xytext=(-8 if left else 10, 8 if left else -14),
            textcoords="offset points",
            ha="right" if left else "left",
        )
    ax.set_xscale("log", base=2)
    ticks = [t for t in (2, 8, 32, 128, 512, 2048, 8192, 32768) if t <= top]
    ax.set_xticks(ticks, [str(t) for t in ticks])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set(xlabel="batch size N (images)", ylabel="loss of a guess (nats)", xlim=(2, top), ylim=(0, None))
    ax.set_ylim(0, math.log(2 * top - 1) * 1.12)
    ax.grid(axis="y")
    return fig


@_styled
def temperature_results(
    taus: ArrayLike,
    probe_mean: ArrayLike,
    probe_std: ArrayLike,
    contrastive_mean: ArrayLike,
    contrastive_std: ArrayLike,
    paper_probe: Mapping[float, float] | None = None,
    paper_contrastive: Mapping[float, float] | None = None,
    title: str | None = None,
) -> Picture:
    """Draw linear probe and contrastive accuracy against the temperature, the paper's below ours.

    Every panel has an axis of its own: the heights of two different data sets do not compare.

    Args:
        taus: ``(T,)`` temperatures.
        probe_mean: ``(T,)`` mean linear probe accuracy, 0 to 1.
        probe_std: ``(T,)`` its standard deviation over seeds.
        contrastive_mean: ``(T,)`` mean contrastive accuracy, 0 to 1.
        contrastive_std: ``(T,)`` its standard deviation.
        paper_probe: temperature to accuracy (0 to 1) in Chen et al. 2020, table 5.
        paper_contrastive: the same for contrastive accuracy.
        title: what to see.

    Raises:
        TypeError, ValueError: lengths that differ, or values out of range.
    """
    t = np.array([check_positive(v, "temperature") for v in _vector(taus, "taus").tolist()])
    order = np.argsort(t)
    panels = []
    for name, mean, std, paper in (
        ("linear probe", probe_mean, probe_std, paper_probe),
        ("contrastive accuracy", contrastive_mean, contrastive_std, paper_contrastive),
    ):
        key = name.replace(" ", "_")
        m = _accuracies(mean, f"mean of {key}", len(t))[order]
        s = _spread(std, f"std of {key}", len(t))
        p = dict(sorted(paper.items())) if paper else {}
        if p:
            _accuracies(list(p.values()), f"paper's {key}")
        panels.append((name, m, s[order] if s is not None else None, p))
    t = t[order]
    title = title or "Linear probe and contrastive accuracy do not peak at the same temperature"
    parts = []
    for name, m, _, p in panels:
        for whose, values in (("ours", dict(zip(t.tolist(), m, strict=True))), ("the paper's", p)):
            listed = ", ".join(f"{_percent(v)} at temperature {k:g}" for k, v in values.items())
            parts += [f"{name}, {whose}: {listed}"] if values else []
    drawn_paper = any(p for _, _, _, p in panels)
    fig = _figure(
        _WIDTH, 5.8 if drawn_paper else 3.6, title, "Accuracy against temperature. " + "; ".join(parts) + "."
    )
    axes = fig.subplots(1 + drawn_paper, 2, sharex=True, squeeze=False)
    ticks = sorted({*t.tolist(), *(k for _, _, _, p in panels for k in p)})
    for column, (name, m, s, p) in zip(axes.T, panels, strict=True):
        column[0].errorbar(t, m, yerr=s, color=OKABE_ITO["blue"], marker="o", capsize=4)
        column[0].set_title(f"{name}, ours" + (" (mean, std of seeds)" if s is not None else ""))
        if p:
            column[1].plot(list(p), list(p.values()), "s--", color=OKABE_ITO["orange"], markersize=7)
            column[1].set_title(f"{name}, paper")
        for ax in column:
            ax.set_xscale("log")
            ax.set_xticks(ticks, [f"{v:g}" for v in ticks])
            ax.xaxis.set_minor_locator(NullLocator())
            ax.set(xlabel="temperature (no unit, log scale)", ylabel="accuracy (%)")
            ax.tick_params(labelbottom=True)
            _percent_axis(ax.yaxis)
            ax.grid(axis="y")
    return fig


@_styled
def learning_rate(lrs: ArrayLike, steps_per_epoch: int | None = None, title: str | None = None) -> Picture:
    """Draw the learning rate of every step.

    Args:
        lrs: ``(steps,)`` learning rates.
        steps_per_epoch: with it, the axis counts epochs.
        title: what to see; the default names the peak.

    Raises:
        TypeError, ValueError: not a vector of rates that are 0 or more.
    """
    y = _vector(lrs, "lrs")
    if y.min() < 0:
        raise ValueError(f"lrs must not be negative, got {y.min():g}")
    per = 1 if steps_per_epoch is None else check_int(steps_per_epoch, "steps_per_epoch", 1)
    unit = "step" if steps_per_epoch is None else "epoch"
    x = np.arange(len(y)) / per
    peak = int(y.argmax())
    title = title or f"Warm-up to {y[peak]:.3g} at {unit} {x[peak]:.3g}, then decay to {y[-1]:.2g}"
    alt = (
        f"The learning rate starts at {y[0]:.3g}, peaks at {y[peak]:.3g} at {unit} {x[peak]:.3g}, "
        f"ends at {y[-1]:.2g}."
    )
    fig = _figure(_WIDTH, 3.6, title, alt)
    ax = fig.add_subplot()
    ax.plot(x, y, color=OKABE_ITO["blue"])
    ax.plot([x[peak]], [y[peak]], "o", color=OKABE_ITO["vermilion"], markersize=8)
    ax.set(xlabel=unit, ylabel="learning rate", xlim=(0, max(x[-1], 1e-9)), ylim=(0, y.max() * 1.15 or 1))
    ax.grid(axis="y")
    return fig


# --- results ------------------------------------------------------------------------------------------


@_styled
def bar_with_error(
    names: Sequence[str],
    means: ArrayLike,
    stds: ArrayLike | None = None,
    chance: float | None = None,
    label: str = "linear probe accuracy (%)",
    title: str | None = None,
) -> Picture:
    """Draw one accuracy a bar, with error bars and the chance line.

    Args:
        names: B names.
        means: ``(B,)`` accuracies from 0 to 1.
        stds: ``(B,)`` standard deviations over seeds, 0 where there is none; None draws no error bars.
        chance: accuracy of a guess, drawn as a line.
        label: name of the axis.
        title: what to see; the default names the best.

    Raises:
        TypeError, ValueError: lengths that differ, or values out of range.
    """
    names = _names(names, "names")
    m = _accuracies(means, "means", len(names))
    s = _spread(stds, "stds", len(names))
    guess = None if chance is None else float(_accuracies([chance], "chance")[0])
    best = int(m.argmax())
    title = title or f"{names[best]} is best with {100 * m[best]:.1f}%"
    alt = "Bars: " + ", ".join(f"{n} {100 * v:.1f}%" for n, v in zip(names, m, strict=True))
    alt += f"; chance is {100 * guess:.0f}%." if guess is not None else "."
    fig = _figure(_WIDTH, 1.5 + 0.5 * len(names), title, alt)
    ax = fig.add_subplot()
    y = np.arange(len(names))
    known = None if s is None else np.where(s > 0, s, np.nan)  # no cap where there is no spread
    ax.barh(y, m, xerr=known, color=OKABE_ITO["blue"], height=0.7, error_kw={"capsize": 4, "elinewidth": 1.8})
    for i, v in enumerate(m):
        end = v + (s[i] if s is not None else 0)
        spread = f" ± {100 * s[i]:.1f}" if s is not None and s[i] else ""
        ax.annotate(
            f"{100 * v:.1f}{spread}",
            (end, i),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            ha="left",
        )
    if guess is not None:
        line = ax.axvline(guess, color=OKABE_ITO["vermilion"], linestyle="--")
        fig.legend([line], ["chance"], loc="outside lower right", frameon=False)  # never on top of a bar
    ax.set_yticks(y, names)
    ax.invert_yaxis()
    ax.set(xlabel=label, xlim=(0, min(1.18, max(0.5, 1.25 * float(m.max())))), xticks=np.arange(0, 1.01, 0.2))
    ax.spines["bottom"].set_bounds(0, min(1.0, ax.get_xlim()[1]))  # past 100% there is only room for a number
    ax.tick_params(axis="y", length=0)
    _percent_axis(ax.xaxis)
    return fig


@_styled
def results_bars(
    rows: Sequence[Mapping[str, Any]], chance: float | None = None, title: str | None = None
) -> Picture:
    """Draw the results table: a group of bars for each method, a bar for each measure.

    Args:
        rows: one mapping for each method, with ``name`` and accuracies from 0 to 1, such as
            ``{"name": "SimCLR", "linear": 0.93, "knn": 0.91}``. A measure that a row lacks, or that is
            None, has no bar.
        chance: accuracy of a guess, drawn as a line.
        title: what to see; the default names the best.

    Raises:
        TypeError, ValueError: no rows, a row without a name or accuracy, or values out of range.
    """
    if isinstance(rows, str | Mapping) or not isinstance(rows, Sequence):
        raise TypeError(f"rows must be a list of mappings, got {type(rows).__name__}")
    if not rows:
        raise ValueError("rows must not be empty, got 0 rows")
    if any("name" not in row for row in rows):
        raise ValueError("every row must have a name, got one without")
    measures = list(dict.fromkeys(k for row in rows for k, v in row.items() if k != "name" and v is not None))
    if not measures:
        raise ValueError("rows must hold an accuracy, got only names")
    for row in rows:
        for key in measures:
            if row.get(key) is not None:
                _accuracies([row[key]], f"{key} of {row['name']!r}")
    flat = [(row[k], row["name"], k) for row in rows for k in measures if row.get(k) is not None]
    value, who, what = max(flat, key=lambda r: r[0])
    guess = None if chance is None else float(_accuracies([chance], "chance")[0])
    title = title or f"Best so far: {who}, {what.replace('_', ' ')} {100 * value:.1f}%"
    alt = "Accuracies. " + "; ".join(
        f"{row['name']}: "
        + ", ".join(f"{k.replace('_', ' ')} {100 * row[k]:.1f}%" for k in measures if row.get(k) is not None)
        for row in rows
    )
    bar = 0.8 / len(measures)
    present = [[k for k in measures if row.get(k) is not None] for row in rows]
    fig = _figure(_WIDTH, 1.6 + len(rows) * max(0.45, 0.27 * len(measures) + 0.1), title, alt + ".")
    ax = fig.add_subplot()
    for j, key in enumerate(measures):
        at = [i for i, row in enumerate(rows) if row.get(key) is not None]
        values = [float(rows[i][key]) for i in at]
        # The bars that a row has are centred on its name.
        y = np.array([i + bar * (present[i].index(key) - (len(present[i]) - 1) / 2) for i in at])
        ax.barh(y, values, height=bar * 0.92, color=_CYCLE[j % len(_CYCLE)], label=key.replace("_", " "))
        for yi, v in zip(y, values, strict=True):
            ax.annotate(
                f"{100 * v:.1f}", (v, yi), xytext=(4, 0), textcoords="offset points", va="center", fontsize=10
            )
    if guess is not None:
        ax.axvline(guess, color=OKABE_ITO["vermilion"], linestyle="--", label="chance")
    ax.set_yticks(np.arange(len(rows)), [str(row["name"]) for row in rows])
    ax.invert_yaxis()
    ax.set(xlabel="accuracy (%)", xlim=(0, 1.08), xticks=np.arange(0, 1.01, 0.2))
    ax.tick_params(axis="y", length=0)
    _percent_axis(ax.xaxis)
    fig.legend(loc="outside lower center", ncols=5, frameon=False)
    return fig


@_styled
def label_budget(
    fractions: ArrayLike,
    results: Mapping[str, ArrayLike],
    chance: float | None = None,
    at: float | None = None,
    title: str | None = None,
    per_class: int | None = None,
) -> Picture:
    """Draw accuracy against the share of labels used, one line a method.

    Args:
        fractions: ``(F,)`` shares of the training labels, above 0 to 1.
        results: name to accuracies from 0 to 1, ``(F,)``, or ``(S, F)`` for S seeds or draws of the labels
            (mean and standard deviation are drawn).
        chance: accuracy of a guess, drawn as a line.
        at: the fraction that the title speaks of, marked by an upright line; None takes the smallest and
            marks nothing.
        title: what to see; the default names the best method.
        per_class: pictures that a class has in all; then labels a class are counted, not per cent.

    Raises:
        TypeError, ValueError: lengths that differ, or values out of range.
    """
    x = _vector(fractions, "fractions")
    if x.min() <= 0 or x.max() > 1:
        raise ValueError(f"fractions must be above 0 and at most 1, got {x.min():g} to {x.max():g}")
    if not isinstance(results, Mapping) or not results:
        raise ValueError("results must map at least one name to accuracies, got none")
    order = np.argsort(x)
    x = x[order]
    lines: dict[str, tuple[Array, Array | None]] = {}
    for name, values in results.items():
        v = _array(values, f"accuracies of {name!r}")
        if v.ndim not in (1, 2) or v.shape[-1] != len(x):
            raise ValueError(
                f"accuracies of {name!r} must have shape ({len(x)},) or (S, {len(x)}), got {v.shape}"
            )
        if v.min() < 0 or v.max() > 1:
            raise ValueError(f"accuracies of {name!r} must be from 0 to 1, got {v.min():g} to {v.max():g}")
        v = v[..., order]
        one = v.ndim == 1
        lines[str(name)] = (v, None) if one else (v.mean(axis=0), v.std(axis=0, ddof=min(1, len(v) - 1)))
    count = None if per_class is None else check_int(per_class, "per_class", 1)
    ticks = [budget_name(f, count) for f in x]
    unit = "%" if count is None else "labels a class"
    guess = None if chance is None else float(_accuracies([chance], "chance")[0])
    if at is not None and not np.isclose(x, at).any():
        raise ValueError(f"at must be one of the fractions {x.tolist()}, got {at}")
    here = 0 if at is None else int(np.isclose(x, at).argmax())
    best = max(lines, key=lambda k: lines[k][0][here])
    what = f"{ticks[here]}% of the labels" if count is None else f"{ticks[here]} labels a class"
    what = what.replace("all labels a class", "all labels")
    what = "1 label a class" if what == "1 labels a class" else what
    title = title or f"With {what}, {best} is best: {100 * lines[best][0][here]:.1f}%"
    alt = f"Accuracy against the share of labels, from {ticks[0]} to {ticks[-1]} {unit}. " + "; ".join(
        f"{name}: {100 * m[0]:.1f}% to {100 * m[-1]:.1f}%" for name, (m, _) in lines.items()
    )
    fig = _figure(_WIDTH, 4.6, title, alt + ".")
    ax = fig.add_subplot()
    handles: list[tuple[float, Any]] = []  # each with the height at which its line ends
    for k, (name, (m, s)) in enumerate(lines.items()):
        bars = ax.errorbar(
            x,
            m,
            yerr=s,
            label=name,
            color=_CYCLE[k % len(_CYCLE)],
            marker=_MARKERS[k % len(_MARKERS)],
            linestyle=_LINES[k % len(_LINES)],
            markersize=8,
            capsize=4,
        )
        handles.append((float(m[-1]), bars))
    if guess is not None:
        handles.append((guess, ax.axhline(guess, color=_GRAY, linestyle=":", label="chance")))
    if at is not None:
        ax.axvline(x[here], color=_GRAY, linewidth=8, alpha=0.3, gid="at")
    ax.set_xscale("log")
    ax.set_xticks(x, ticks)
    ax.xaxis.set_minor_locator(NullLocator())
    label = "training labels used (%, log scale)" if count is None else "labels a class (log scale)"
    ax.set(xlabel=label, ylabel="test accuracy (%)", ylim=(0, 1.02))
    _percent_axis(ax.yaxis)
    ax.grid(axis="y")
    handles.sort(key=lambda pair: -pair[0])  # from top to bottom as the curves end
    fig.legend(handles=[handle for _, handle in handles], loc="outside right center", frameon=False)
    return fig


def budget_name(fraction: float, per_class: int | None = None) -> str:
    """A share of the labels in words for an axis: per cent, or labels a class of ``per_class`` in all."""
    if per_class is None:
        return f"{100 * fraction:g}"
    return "all" if fraction == 1 else f"{round(fraction * per_class)}"


@_styled
def confusion(matrix: ArrayLike, class_names: Sequence[str], title: str | None = None) -> Picture:
    """Draw a confusion matrix: rows the true class, columns the prediction, cells in per cent of the row.

    Args:
        matrix: ``(C, C)`` counts, entry (i, j) for images of class i predicted as j.
        class_names: C names.
        title: what to see; the default names the commonest confusion.

    Raises:
        TypeError, ValueError: not a square matrix of counts, or another number of names.
    """
    names = _names(class_names, "class_names")
    x = _array(matrix, "matrix")
    if x.shape != (len(names), len(names)):
        raise ValueError(f"matrix must have shape ({len(names)}, {len(names)}), got {x.shape}")
    if x.min() < 0 or x.sum() == 0:
        raise ValueError("matrix must hold counts, none negative and not all zero")
    share = x / np.maximum(x.sum(axis=1, keepdims=True), 1e-12)
    accuracy = float(np.trace(x) / x.sum())
    off = share - np.diag(np.diag(share))
    i, j = np.unravel_index(int(off.argmax()), off.shape)
    worst = f"{names[i]} taken for {names[j]} ({_percent(off[i, j])})" if off.max() > 0 else "none"
    title = title or f"{100 * accuracy:.1f}% correct; commonest confusion: {worst}"
    alt = (
        f"Confusion matrix of {len(names)} classes, {100 * accuracy:.1f}% correct; the commonest "
        f"confusion: {worst}."
    )
    fig = _figure(7.8, 6.6, title, alt)
    ax = fig.add_subplot()
    image = ax.imshow(share, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    bar = fig.colorbar(image, ax=ax, label="share of the true class (%)", shrink=0.9)
    _percent_axis(bar.ax.yaxis)
    ticks = np.arange(len(names))
    ax.set_xticks(ticks, names, rotation=90)
    ax.set_yticks(ticks, names)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set(xlabel="predicted class", ylabel="true class")
    if len(names) <= 20:
        for r in range(len(names)):
            for c in range(len(names)):
                if share[r, c] >= 0.005:
                    ink = "white" if share[r, c] > 0.55 else "black"
                    ax.text(
                        c, r, f"{100 * share[r, c]:.0f}", ha="center", va="center", color=ink, fontsize=10
                    )
    return fig


@_styled
def factor_bars(
    names: Sequence[str],
    h_values: ArrayLike,
    z_values: ArrayLike,
    label: str = "probe score (1 is perfect)",
    title: str | None = None,
) -> Picture:
    """Draw how well each known factor can be read from h and from z (Chen et al. 2020, table 3).

    Args:
        names: F factors.
        h_values: ``(F,)`` probe scores on h, accuracy or R squared, at most 1.
        z_values: ``(F,)`` on z = g(h).
        label: name of the axis.
        title: what to see; the default names the factor that the head loses most of.

    Raises:
        TypeError, ValueError: lengths that differ, or a score above 1.
    """
    names = _names(names, "names")
    h, z = _vector(h_values, "h_values", len(names)), _vector(z_values, "z_values", len(names))
    if max(h.max(), z.max()) > 1 + 1e-9:
        raise ValueError(f"h_values and z_values must be at most 1, got {max(h.max(), z.max()):g}")
    most = int((h - z).argmax())
    lost = h[most] > z[most]
    title = title or (
        f"The projection head discards most of: {names[most]} ({_two(h[most])} in h, {_two(z[most])} in z)"
        if lost
        else "z keeps every factor as well as h does"
    )
    alt = "Probe scores. " + "; ".join(
        f"{n}: {_two(a)} from h, {_two(b)} from z" for n, a, b in zip(names, h, z, strict=True)
    )
    fig = _figure(_WIDTH, 1.6 + 0.62 * len(names), title, alt + ".")
    ax = fig.add_subplot()
    y = np.arange(len(names))
    for values, at, colour, hatch, name in (
        (h, y - 0.2, OKABE_ITO["blue"], "", "h (encoder)"),
        (z, y + 0.2, OKABE_ITO["orange"], "//", "z (projection head)"),
    ):
        ax.barh(
            at, values, height=0.37, color=colour, hatch=hatch, edgecolor="white", linewidth=0, label=name
        )
        for yi, v in zip(at, values, strict=True):
            ax.annotate(_two(v), (max(v, 0), yi), xytext=(5, 0), textcoords="offset points", va="center")
    ax.set_yticks(y, names)
    ax.invert_yaxis()
    ax.axvline(0, color="black", linewidth=0.8)
    ax.set(xlabel=label, xlim=(min(0.0, h.min(), z.min()) * 1.05, 1.1))
    ax.tick_params(axis="y", length=0)
    fig.legend(loc="outside lower center", ncols=2, frameon=False)
    return fig


@_styled
def throughput_bars(
    names: Sequence[str], values: ArrayLike, unit: str = "views/s", title: str | None = None
) -> Picture:
    """Draw rates as bars, each with its ratio to the slowest.

    Args:
        names: B names.
        values: ``(B,)`` rates, greater than 0.
        unit: their unit.
        title: what to see; the default compares the fastest with the slowest.

    Raises:
        TypeError, ValueError: lengths that differ, or a rate not greater than 0.
    """
    names = _names(names, "names")
    v = _vector(values, "values", len(names))
    if v.min() <= 0:
        raise ValueError(f"values must be greater than 0, got {v.min():g}")
    fast, slow = int(v.argmax()), int(v.argmin())
    title = title or f"{names[fast]} is {v[fast] / v[slow]:.1f} times as fast as {names[slow]}"
    alt = "Bars: " + ", ".join(f"{n} {x:,.0f} {unit}" for n, x in zip(names, v, strict=True)) + "."
    fig = _figure(_WIDTH, 1.4 + 0.5 * len(names), title, alt)
    ax = fig.add_subplot()
    y = np.arange(len(names))
    colours = [OKABE_ITO["orange"] if i == fast else OKABE_ITO["blue"] for i in range(len(names))]
    ax.barh(y, v, color=colours, height=0.7)
    for i, x in enumerate(v):
        text = f"{x:,.0f}" if x >= 10 else f"{x:.3g}"
        ax.annotate(
            f"{text} ({x / v[slow]:.1f} x)",
            (x, i),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            ha="left",
        )
    ax.set_yticks(y, names)
    ax.invert_yaxis()
    ax.set(xlabel=unit, xlim=(0, v.max() * 1.25))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda t, _: f"{t:,.0f}" if v.max() >= 10 else f"{t:g}"))
    ax.xaxis.set_major_locator(MaxNLocator(6))
    ax.tick_params(axis="y", length=0)
    return fig


# --- embeddings ---------------------------------------------------------------------------------------


def _points(value: object) -> Array:
    p = _array(value, "points")
    if p.ndim != 2 or p.shape[1] != 2:
        raise ValueError(f"points must have shape (N, 2), got {p.shape}")
    return p


@_styled
def embedding_scatter(
    points: ArrayLike,
    labels: ArrayLike,
    class_names: Sequence[str],
    title: str | None = None,
    method: str = "t-SNE",
) -> Picture:
    """Draw embeddings reduced to two dimensions, a colour and a marker for each class.

    Args:
        points: ``(N, 2)``.
        labels: ``(N,)`` class of each point.
        class_names: a name for each class.
        title: what to see.
        method: what made the points, for the axes.

    Raises:
        TypeError, ValueError: not N points in the plane, or labels that do not fit.
    """
    p = _points(points)
    y, names = _classes(labels, class_names, len(p))
    present = np.unique(y)
    title = title or "Points that lie together have similar representations"
    listed = ", ".join(names[c] for c in present)
    alt = f"{method} map of {len(p)} images, coloured by their {len(present)} classes: {listed}."
    fig = _figure(8.0, 6.0, title, alt, constrained=False)
    ax = fig.add_axes((0.07, 0.1, 0.68, 0.8))
    _scatter(ax, p, y, names, float(np.clip(12000 / len(p), 10, 60)))
    ax.set(xlabel=f"{method} dimension 1 (no unit)", ylabel=f"{method} dimension 2 (no unit)")
    _enlarge(fig.legend(loc="center left", bbox_to_anchor=(0.76, 0.5), frameon=False, title="class"))
    return fig


def _scatter(ax: Axes, points: Array, labels: Array, names: list[str], size: float) -> None:
    """Draw points (N, 2), a colour and a marker for each class, without ticks."""
    for c in np.unique(labels):
        chosen = points[labels == c]
        ax.scatter(
            chosen[:, 0],
            chosen[:, 1],
            s=size,
            color=_CLASS_COLOURS[c % len(_CLASS_COLOURS)],
            marker=_MARKERS[c % len(_MARKERS)],
            edgecolors="white",
            linewidths=0.3,
            label=names[c],
        )
    ax.set(xticks=[], yticks=[])


def _enlarge(legend: Any) -> None:
    for handle in legend.legend_handles:
        if isinstance(handle, PathCollection):
            handle.set_sizes([70])


@_styled
def embedding_maps(
    maps: Mapping[str, ArrayLike],
    labels: ArrayLike,
    class_names: Sequence[str],
    title: str | None = None,
    method: str = "t-SNE",
) -> Picture:
    """Draw several maps of the same images side by side, a colour and a marker for each class.

    Args:
        maps: name to points ``(N, 2)``, one to three maps.
        labels: ``(N,)`` class of each point, or any other grouping of them.
        class_names: a name for each class.
        title: what to see.
        method: what made the points, for the axes.

    Raises:
        TypeError, ValueError: not one to three maps of N points in the plane, or labels that do not fit.
    """
    if not isinstance(maps, Mapping) or not 1 <= len(maps) <= 3:
        got = len(maps) if isinstance(maps, Mapping) else type(maps).__name__
        raise ValueError(f"maps must map one to three names to points, got {got}")
    drawn = {str(name): _array(points, f"points of {name!r}") for name, points in maps.items()}
    count = len(next(iter(drawn.values())))
    for name, p in drawn.items():
        if p.shape != (count, 2):
            raise ValueError(f"points of {name!r} must have shape ({count}, 2), got {p.shape}")
    y, names = _classes(labels, class_names, count)
    title = title or "Points that lie together have similar representations"
    listed = ", ".join(names[c] for c in np.unique(y))
    alt = f"{method} maps of {count} images ({'; '.join(drawn)}), coloured by: {listed}."
    fig = _figure(_WIDTH, 2.0 + (_WIDTH - 0.4) / max(2, len(drawn)), title, alt)
    axes = np.atleast_1d(fig.subplots(1, len(drawn)))
    for ax, (name, p) in zip(axes, drawn.items(), strict=True):
        _scatter(ax, p, y, names, float(np.clip(9000 / count, 10, 50)))
        ax.set(title=name, xlabel=f"{method} dimension 1 (no unit)")
    axes[0].set_ylabel(f"{method} dimension 2 (no unit)")
    handles, shown = axes[0].get_legend_handles_labels()
    _enlarge(fig.legend(handles, shown, loc="outside lower center", ncols=5, frameon=False))
    return fig


class EmbeddingMap:
    """An interactive page that displays itself in a notebook; made by :func:`embedding_map`.

    Attributes:
        document: the whole page; it works as a file of its own.
        alt_text: what the map shows, for who cannot see it.
    """

    def __init__(self, document: str, alt_text: str) -> None:
        self.document = document
        self.alt_text = alt_text

    def __repr__(self) -> str:
        return f"[interactive map] {self.alt_text}"

    def _repr_html_(self) -> str:
        # A frame of its own: styles, script and arrow keys stay inside it, and where a page removes
        # frames (a notebook that is not trusted yet), the sentence between the tags is left.
        return (
            f'<iframe title="{html.escape(self.alt_text)}" srcdoc="{html.escape(self.document)}" '
            f'sandbox="allow-scripts" width="900" height="{_MAP_HEIGHT + 60}" '
            'style="max-width:100%;border:0">Run this cell to use the interactive map.</iframe>'
        )


_MAP_TEMPLATE = Path(__file__).parent / "assets" / "embedding_map.html"
_MAP_WIDTH, _MAP_HEIGHT = 600, 500
_MAP_TILE = 64  # pixels at most, so that photographs do not fill the page


def _polygon(*corners: tuple[float, float]) -> str:
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in corners) + "Z"


def _svg_markers() -> list[str]:
    """The shapes of ``_MARKERS`` as SVG paths, about 9 units wide."""
    cross = [(-1.4, -4.2), (1.4, -4.2), (1.4, -1.4), (4.2, -1.4), (4.2, 1.4), (1.4, 1.4)]
    cross += [(1.4, 4.2), (-1.4, 4.2), (-1.4, 1.4), (-4.2, 1.4), (-4.2, -1.4), (-1.4, -1.4)]
    turned = [(0.75 * (x - y), 0.75 * (x + y)) for x, y in cross]
    up = ((0.0, -4.6), (4.2, 3.4), (-4.2, 3.4))
    star = [
        (r * math.sin(k * math.pi / 5), -r * math.cos(k * math.pi / 5)) for k, r in enumerate([5.2, 2.2] * 5)
    ]
    return [
        "M-4 0A4 4 0 1 1 4 0A4 4 0 1 1 -4 0Z",
        _polygon((-3.6, -3.6), (3.6, -3.6), (3.6, 3.6), (-3.6, 3.6)),
        _polygon(*up),
        _polygon((0, -5), (5, 0), (0, 5), (-5, 0)),
        _polygon(*((x, -y) for x, y in up)),
        _polygon(*cross),
        _polygon(*turned),
        _polygon(*((y, x) for x, y in up)),
        _polygon(*((-y, x) for x, y in up)),
        _polygon(*star),
    ]


def embedding_map(
    points: ArrayLike,
    images: ArrayLike,
    labels: ArrayLike,
    class_names: Sequence[str],
    neighbours: ArrayLike,
    title: str | None = None,
    method: str = "t-SNE",
) -> EmbeddingMap:
    """Draw a map to explore: point at a dot and see its picture, its class and its nearest neighbours.

    The page holds everything, one sheet with all pictures included, so it works offline, without a kernel and
    in exported HTML; its script has 3 kB. Mouse, touch and arrow keys move the chosen point. Static twin:
    :func:`embedding_scatter`.

    Why no plotting library: Bokeh 3.9 inlines 1.3 MB of script into each page and takes one picture for each
    point, not a sheet; Altair 6.3 fetches Vega from the network unless a 33 MB package is installed to
    inline it; jupyter-scatter 1.0 (2.1 MB of script) asks the kernel for the pictures, so its tooltips are
    empty in an exported page. None of them moves from point to point with the arrow keys.

    Args:
        points: ``(N, 2)``, N from 2 to 2,000.
        images: ``(N, 3, H, W)``, uint8 or float in [0, 1]; shrunk to 64 pixels if larger, 256 colours in all.
        labels: ``(N,)`` class of each point.
        class_names: a name for each class.
        neighbours: ``(N, k)``, which points are nearest to each in the representation, nearest first, k from
            1 to 10.
        title: what to see.
        method: what made the points, for the axes.

    Raises:
        TypeError, ValueError: not N points, pictures, labels and rows of neighbours that fit together.
    """
    p = _points(points)
    n = check_int(len(p), "the number of points", 2, 2000)
    x = _pixels(images, "images")  # (N, H, W, 3)
    if len(x) != n:
        raise ValueError(f"images must be one for each of the {n} points, got {len(x)}")
    y, names = _classes(labels, class_names, n)
    near = _array(neighbours, "neighbours")
    if near.ndim != 2 or len(near) != n or not 1 <= near.shape[1] <= 10:
        raise ValueError(f"neighbours must have shape ({n}, k) with k from 1 to 10, got {near.shape}")
    if (near % 1 != 0).any() or near.min() < 0 or near.max() >= n:
        raise ValueError(
            f"neighbours must be whole numbers from 0 to {n - 1}, got {near.min():g} to {near.max():g}"
        )
    if (near == np.arange(n)[:, None]).any():
        raise ValueError("neighbours must be other points: a point is not its own neighbour")

    sheet, tile, columns = _sprite_sheet(x)
    # SVG counts downwards, the plane upwards.
    low, span = p.min(axis=0), np.maximum(np.ptp(p, axis=0), 1e-12)
    at = 14 + (p - low) / span * (np.array([_MAP_WIDTH, _MAP_HEIGHT]) - 28)
    at[:, 1] = _MAP_HEIGHT - at[:, 1]
    kinds, present = len(_MARKERS), np.unique(y)
    title = title or "Point at a dot to see its picture"
    listed = ", ".join(names[c] for c in present)
    alt = f"Interactive {method} map of {n} images of {len(present)} classes: {listed}."
    data = {
        "tile": tile,
        "sheet": sheet.size,
        "columns": columns,
        "names": names,
        "labels": y.tolist(),
        "neighbours": near.astype(int).tolist(),
    }
    buffer = io.BytesIO()
    sheet.quantize(256).save(buffer, format="PNG")
    fill = "".join(f".c{c}{{fill:{_CLASS_COLOURS[c % len(_CLASS_COLOURS)]}}}" for c in present)
    parts = {
        "TITLE": html.escape(title),
        "ALT": html.escape(alt),
        "METHOD": html.escape(method),
        "WIDTH": str(_MAP_WIDTH),
        "HEIGHT": str(_MAP_HEIGHT),
        "COLOURS": fill,
        "MARKERS": "".join(f'<path id="m{k}" d="{d}"/>' for k, d in enumerate(_svg_markers())),
        "POINTS": "".join(
            f'<use href="#m{c % kinds}" class="c{c}" x="{a:.0f}" y="{b:.0f}"/>'
            for c, (a, b) in zip(y, at, strict=True)
        ),
        "LEGEND": "".join(
            f'<li><svg viewBox="-6 -6 12 12" aria-hidden="true"><use href="#m{c % kinds}" class="c{c}"/>'
            f"</svg>{html.escape(names[c])}</li>"
            for c in present
        ),
        "SHEET": f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}",
        # "<" would let a name such as "</script>" end the data.
        "DATA": json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),
    }
    page = _MAP_TEMPLATE.read_text(encoding="utf-8")
    return EmbeddingMap(re.sub(r"@@(\w+)@@", lambda match: parts[match[1]], page), alt)


def _sprite_sheet(x: Array) -> tuple[Image.Image, tuple[int, int], int]:
    """Return pictures (N, H, W, 3) as one near-square sheet, row by row; width and height of one; columns."""
    n, height, width = x.shape[:3]
    if max(height, width) > _MAP_TILE:
        factor = _MAP_TILE / max(height, width)
        height, width = max(1, round(height * factor)), max(1, round(width * factor))
        small = torch.nn.functional.interpolate(
            torch.from_numpy(x).permute(0, 3, 1, 2), (height, width), mode="area"
        )
        x = small.permute(0, 2, 3, 1).numpy()
    columns = math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    tiles = np.zeros((rows * columns, height, width, 3), dtype=np.uint8)
    tiles[:n] = np.rint(x * 255)
    tiles = tiles.reshape(rows, columns, height, width, 3).transpose(0, 2, 1, 3, 4)
    return Image.fromarray(tiles.reshape(rows * height, columns * width, 3)), (width, height), columns


@_styled
def histogram_pair(
    positive: ArrayLike, negative: ArrayLike, bins: int = 50, title: str | None = None
) -> Picture:
    """Draw the similarities of positive and of negative pairs, each as shares that add up to 100%.

    Args:
        positive: similarities of positive pairs, any shape.
        negative: similarities of negative pairs, any shape.
        bins: bins from -1 to 1.
        title: what to see; the default states both means.

    Raises:
        TypeError, ValueError: not cosine similarities.
    """
    groups = [
        _similarities(v, n).ravel().clip(-1, 1) for v, n in ((positive, "positive"), (negative, "negative"))
    ]
    bins = check_int(bins, "bins", 2, 1000)
    edges = np.linspace(-1, 1, bins + 1)
    shares = [np.histogram(g, edges)[0] / len(g) for g in groups]
    means = [float(g.mean()) for g in groups]
    title = title or (
        f"Positives at {_two(means[0])} on average, negatives at {_two(means[1])}: "
        f"a gap of {_two(means[0] - means[1])}"
    )
    overlap = float(np.minimum(*shares).sum())
    alt = (
        f"Histograms of cosine similarity: {len(groups[0])} positive pairs with mean {_two(means[0])} and "
        f"{len(groups[1])} negative pairs with mean {_two(means[1])}; they overlap by {_percent(overlap)}."
    )
    fig = _figure(_WIDTH, 4.0, title, alt)
    ax = fig.add_subplot()
    for share, mean, colour, hatch, name in (
        (shares[1], means[1], _NEGATIVE, "", "negative pairs"),
        (shares[0], means[0], _POSITIVE, "//", "positive pairs"),
    ):
        bars = ax.stairs(
            share, edges, fill=True, facecolor=colour, alpha=0.55, edgecolor=colour, hatch=hatch, label=name
        )
        bars.set_gid(name)
        ax.axvline(mean, color=colour, linestyle="--", linewidth=2)
    ax.set(xlabel="cosine similarity (no unit); dashed lines are the means", ylabel="share of pairs (%)")
    ax.set(xlim=(-1, 1), ylim=(0, float(max(s.max() for s in shares)) * 1.15))
    _percent_axis(ax.yaxis)
    ax.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    ax.legend(frameon=False, loc="upper left")
    return fig


@_styled
def uniformity_alignment(
    names: Sequence[str], alignment: ArrayLike, uniformity: ArrayLike, title: str | None = None
) -> Picture:
    """Draw encoders by alignment and uniformity, both better when lower.

    Source: Wang and Isola 2020, arXiv 2005.10242.

    Args:
        names: E names.
        alignment: ``(E,)`` mean squared distance of positive pairs, 0 or more.
        uniformity: ``(E,)`` log of the mean Gaussian potential, 0 or less; 0 is collapse.
        title: what to see.

    Raises:
        TypeError, ValueError: lengths that differ, or values out of range.
    """
    names = _names(names, "names")
    a, u = _vector(alignment, "alignment", len(names)), _vector(uniformity, "uniformity", len(names))
    if a.min() < 0:
        raise ValueError(f"alignment must not be negative, got {a.min():g}")
    if u.max() > 1e-6:
        raise ValueError(f"uniformity must not be positive, got {u.max():g}")
    title = title or "Lower left would be best: positives close together, everything spread out"
    alt = "Alignment and uniformity: " + "; ".join(
        f"{n} {_two(x)} and {_two(y)}" for n, x, y in zip(names, a, u, strict=True)
    )
    fig = _figure(8.0, 5.0, title, alt + ".")
    ax = fig.add_subplot()
    for k, name in enumerate(names):
        ax.plot(a[k], u[k], _MARKERS[k % len(_MARKERS)], color=_CYCLE[k % len(_CYCLE)], markersize=12)
        right = a[k] > a.min() + 0.7 * np.ptp(a) and np.ptp(a) > 0
        ax.annotate(
            name,
            (a[k], u[k]),
            xytext=(-11 if right else 11, 0),
            textcoords="offset points",
            va="center",
            ha="right" if right else "left",
        )
    ax.margins(0.15)
    ax.set(
        xlabel="alignment: mean squared distance of positives (no unit)",
        ylabel="uniformity: ln of mean exp(-2 d²)",
    )
    ax.grid()
    return fig
