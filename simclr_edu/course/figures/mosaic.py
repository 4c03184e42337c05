"""Pictures made of pictures."""

import textwrap
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from simclr_edu._checks import check_int
from simclr_edu.course.figures.inputs import Array, ArrayLike, as_names, as_pixels
from simclr_edu.course.figures.picture import (
    DPI,
    OKABE_ITO,
    PAGE_WIDTH,
    Picture,
    new_figure,
    styled,
    wrap_title,
)


def draw_mosaic(
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
    tile = min(1.6, (PAGE_WIDTH - left - 0.15) / columns)  # inches
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

    inner_w = min(PAGE_WIDTH - left - 0.15, canvas.shape[1] / unit)
    scale = inner_w / canvas.shape[1]
    fig_w = max(inner_w + left + 0.15, 6.0)
    lines = wrap_title(title, fig_w).count("\n") + 1
    top = (0.14 if captions else 0.22) + 0.25 * lines + (0.28 if column_names else 0.0)
    bottom = 0.12 + (0.3 if x_label else 0.0)
    inner_h = canvas.shape[0] * scale
    fig = new_figure(fig_w, inner_h + top + bottom, title, alt, constrained=False)
    fig_h = fig.get_figheight()
    start = left + (fig_w - left - 0.15 - inner_w) / 2
    ax = fig.add_axes((start / fig_w, bottom / fig_h, inner_w / fig_w, inner_h / fig_h))
    # Enlarged pixels stay squares, photographs that shrink are smoothed.
    how = "nearest" if inner_w * DPI >= canvas.shape[1] else "auto"
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


@styled
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
    x = as_pixels(images, "images")  # (N, H, W, 3)
    n = len(x)
    columns = min(check_int(columns, "columns", 1, 32), n)
    captions = as_names(titles, "titles", n) if titles is not None else None
    rows = -(-n // columns)
    sides = as_names(row_names, "row_names", rows) if row_names is not None else None
    tiles = np.ones((rows * columns, *x.shape[1:]), dtype=np.float32)
    tiles[:n] = x
    what = f"{n} image{'s' * (n > 1)} of {x.shape[1]} x {x.shape[2]} pixels"
    alt = f"A grid of {what} in {rows} row{'s' * (rows > 1)}"
    alt += f" ({', '.join(sides)})" if sides else ""
    alt += ": " + ", ".join(c.replace("\n", " ") for c in captions) + "." if captions else "."
    if captions:  # long names over small tiles would run into each other
        room = max(6, int((PAGE_WIDTH - 0.3) / columns * 11.5))
        captions = [textwrap.fill(c, room, break_long_words=False) for c in captions]
    grid = tiles.reshape(rows, columns, *x.shape[1:])
    fig, _, _ = draw_mosaic(grid, title or what, alt, captions, sides, n_shown=n)
    return fig


def resized(x: Array, side: tuple[int, int]) -> Array:
    """Repeat or skip pixels so that (N, h, w, 3) fills ``side``: nothing is smoothed, pixels stay visible."""
    rows = (np.arange(side[0]) + 0.5) * x.shape[1] / side[0]
    columns = (np.arange(side[1]) + 0.5) * x.shape[2] / side[1]
    return x[:, rows.astype(int)][:, :, columns.astype(int)]


def cross_out(ax: Axes, corners: Sequence[tuple[float, float]], height: int, width: int) -> None:
    """Put a small cross into the top left corner of each of these tiles."""
    crosses = []
    for x, y in corners:
        w, h = 0.22 * width, 0.22 * height
        crosses += [[(x, y), (x + w, y + h)], [(x, y + h), (x + w, y)]]
    ax.add_collection(LineCollection(crosses, colors="white", linewidths=5), autolim=False)
    marks = LineCollection(crosses, colors=OKABE_ITO["vermilion"], linewidths=2.5)
    marks.set_gid("other class")
    ax.add_collection(marks, autolim=False)
