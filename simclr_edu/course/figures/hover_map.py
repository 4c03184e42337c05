"""Notebook 05's map of embeddings in a page: point at a point and see its picture, without a kernel."""

import base64
import html
import io
import json
import math
import re
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from simclr_edu._checks import check_int
from simclr_edu.course.figures.inputs import Array, ArrayLike, as_array, as_classes, as_pixels, as_points
from simclr_edu.course.figures.picture import CLASS_COLOURS, CLASS_MARKERS, with_texts
from simclr_edu.home import ASSETS


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


_MAP_TEMPLATE = ASSETS / "embedding_map.html"
_MAP_WIDTH, _MAP_HEIGHT = 600, 500
_MAP_TILE = 64  # pixels at most, so that photographs do not fill the page


def _polygon(*corners: tuple[float, float]) -> str:
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in corners) + "Z"


def _svg_markers() -> list[str]:
    """The shapes of ``CLASS_MARKERS`` as SVG paths, about 9 units wide."""
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


@with_texts
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

    Why no plotting library: for 2,000 pictures of 32 pixels this page has 1.8 MB. Bokeh 3.9's has 6.4 MB, 1.3
    of them script and the rest pictures one by one, as it takes no sheet; plotly 7.1's has 10.7 MB, 5.6 of
    them script and figure, and to show a picture at a point it needs Dash, so a server. Altair 6.3 fetches
    Vega from the network unless a 33 MB package is installed to inline it; jupyter-scatter 1.0 (2.1 MB of
    script) asks the kernel for the pictures, so its tooltips are empty in an exported page. Bokeh, Altair and
    jupyter-scatter do not move from point to point with the arrow keys.

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
    p = as_points(points)
    n = check_int(len(p), "the number of points", 2, 2000)
    x = as_pixels(images, "images")  # (N, H, W, 3)
    if len(x) != n:
        raise ValueError(f"images must be one for each of the {n} points, got {len(x)}")
    y, names = as_classes(labels, class_names, n)
    near = as_array(neighbours, "neighbours")
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
    kinds, present = len(CLASS_MARKERS), np.unique(y)
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
    fill = "".join(f".c{c}{{fill:{CLASS_COLOURS[c % len(CLASS_COLOURS)]}}}" for c in present)
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
