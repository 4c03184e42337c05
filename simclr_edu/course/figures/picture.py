"""A figure of the course: its look, its size on a page, and how it gets there."""

import base64
import functools
import html
import inspect
import io
import textwrap
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image

from simclr_edu._checks import check_flag, check_kind

T = TypeVar("T")

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
COLOUR_CYCLE = tuple(c for name, c in OKABE_ITO.items() if name != "yellow")  # yellow lines vanish on white
CLASS_COLOURS = (*OKABE_ITO.values(), "#999999", "#7A4B00")
CLASS_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
LINE_STYLES = ("-", "--", "-.", (0, (6, 2, 1, 2, 1, 2)), (0, (9, 3)))  # dotted is kept for chance
GRAY = "#767676"
POSITIVE, NEGATIVE = OKABE_ITO["orange"], OKABE_ITO["blue"]
DPI = 100
PAGE_WIDTH = 9.0  # inches: 900 pixels, the width of a notebook's output and of a slide
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


def to_png(fig: Figure, small: bool = True) -> bytes:
    """Return the figure as PNG at 100 dots per inch.

    Args:
        fig: any matplotlib figure.
        small: reduce a picture above 400 kB (photographs) to 256 colours, so that notebooks stay small.
            Widgets, whose pictures are not saved, skip it: it takes longer than the drawing.

    Raises:
        TypeError: ``fig`` is not a matplotlib figure.
    """
    check_kind(fig, "fig", Figure, "a matplotlib Figure")
    check_flag(small, "small")
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
    alt = getattr(fig, "alt_text", "")  # any Figure may be given one; to_html refuses those without
    display({"text/html": page, "text/plain": f"[figure] {alt}"}, raw=True)


def new_figure(width: float, height: float, title: str, alt: str, constrained: bool = True) -> Picture:
    """Return an empty figure; ``constrained=False`` leaves the layout to the caller and is twice as fast."""
    fig = Picture(
        figsize=(width, height),
        dpi=DPI,
        layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1) if constrained else None,
    )
    FigureCanvasAgg(fig)
    if constrained:
        fig.suptitle(wrap_title(title, width))
    else:
        fig.suptitle(wrap_title(title, width), y=1 - 0.1 / height, va="top")
    fig.alt_text = " ".join(alt.split())
    return fig


def wrap_title(title: str, width: float) -> str:
    return textwrap.fill(title, int(width * 10.2))


def with_texts(function: Callable[..., T]) -> Callable[..., T]:
    """Refuse what is no text wherever the function's signature has ``str``, or ``str | None``."""
    signature = inspect.signature(function)
    texts = {
        name: p.annotation for name, p in signature.parameters.items() if p.annotation in (str, str | None)
    }

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> T:
        for name, value in signature.bind(*args, **kwargs).arguments.items():
            if name in texts and (value is not None or texts[name] is str):
                check_kind(value, name, str, "a string")
        return function(*args, **kwargs)

    return wrapper


def styled(function: Callable[..., Picture]) -> Callable[..., Picture]:
    """Check the texts, draw in the house style, leave the reader's matplotlib settings as they were."""
    checked = with_texts(function)

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Picture:
        style = {**matplotlib.rcParamsDefault, **_STYLE, "backend": matplotlib.get_backend()}
        with _DRAWING, matplotlib.rc_context(style):
            return checked(*args, **kwargs)

    return wrapper


def write_beside_bar(ax: Axes, text: str, end: float, row: int) -> None:
    """Write a bar's value to the right of where it ends."""
    ax.annotate(text, (end, row), xytext=(6, 0), textcoords="offset points", va="center", ha="left")


# 64 colours, 0.03 apart: more would not be seen, and make the picture file several times larger.
SIMILARITY_STYLE: dict[str, Any] = {
    "cmap": matplotlib.colormaps["RdBu_r"].resampled(64),
    "vmin": -1.0,
    "vmax": 1.0,
    "interpolation": "nearest",
}
