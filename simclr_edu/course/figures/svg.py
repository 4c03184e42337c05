"""A pen for pictures drawn by hand: SVG text, small and sharp at every size, whose letters stay letters."""

import base64
import io
from html import escape

import torch
from PIL import Image
from torch import Tensor

INK, FAINT, FILL, EDGE, PANEL = "#1B2A36", "#5A6772", "#EDF1F4", "#C9D1D8", "#FFFFFF"
FONT = "'Helvetica Neue', Arial, 'Liberation Sans', sans-serif"
OUTLINE = f'fill="{FILL}" stroke="{INK}" stroke-width="1.5"'
TEXT, SMALL, FINE = 17, 16, 13  # sizes of letters
# On a telephone letters grow: its sans-serif is as narrow as Arial, and leaves the room of a wider one.
_LARGER = f"@media (max-width: 480px) {{ .t{TEXT} {{ font-size: 19px }} .t{SMALL} {{ font-size: 18px }} }}"


def document(
    width: int, height: int, title: str, description: str, drawn: list[str], heads: list[str]
) -> str:
    """Return an SVG document on a light panel of its own, so that it can be read on a dark page too.

    Args:
        width, height: in pixels.
        title: what the picture shows, in one sentence.
        description: the same at length, for who cannot see it.
        drawn: what the other functions of this module return.
        heads: colours of arrows, beside INK.
    """
    markers = "".join(
        f'<marker id="{_head(colour)}" viewBox="0 0 10 10" refX="8" refY="5" markerWidth="{size}"'
        f' markerHeight="{size}" markerUnits="userSpaceOnUse" orient="auto">'
        f'<path d="M0,0 L10,5 L0,10 Z" fill="{colour}"/></marker>'
        for colour, size in ((INK, 10), *((colour, 14) for colour in heads))
    )
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
        f' viewBox="0 0 {width} {height}" role="img" font-family="{FONT}" fill="{INK}">',
        f"<title>{escape(title)}</title>",
        f"<desc>{escape(description)}</desc>",
        f"<style>{_LARGER}</style>",
        f"<defs>{markers}</defs>",
        f'<rect x="1" y="1" width="{width - 2}" height="{height - 2}" rx="10" fill="{PANEL}"'
        f' stroke="{EDGE}"/>',
        *drawn,
        "</svg>\n",
    ]
    return "\n".join(lines)


def text(
    x: float,
    y: float,
    words: str,
    *,
    size: int = SMALL,
    bold: bool = False,
    anchor: str = "start",
    colour: str = INK,
) -> str:
    """One line of words; ``anchor`` (start, middle, end) is the point of it that lies at x."""
    weight = ' font-weight="bold"' if bold else ""
    place = "" if anchor == "start" else f' text-anchor="{anchor}"'
    fill = "" if colour == INK else f' fill="{colour}"'
    style = f'class="t{size}" font-size="{size}"{weight}{place}{fill}'
    return f'<text x="{x:g}" y="{y:g}" {style}>{escape(words)}</text>'


def name(x: float, y: float, words: str, anchor: str = "start", colour: str = INK) -> str:
    """The name of a part, in bold."""
    return text(x, y, words, size=TEXT, bold=True, anchor=anchor, colour=colour)


def symbol(x: float, y: float, letter: str, size: int = 30) -> str:
    """A mathematical symbol whose middle lies at x."""
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size}" font-style="italic" font-weight="bold"'
        f' text-anchor="middle">{escape(letter)}</text>'
    )


def shape(path: str) -> str:
    """A filled shape with an outline."""
    return f'<path d="{path}" {OUTLINE}/>'


def box(x: float, y: float, width: float, height: float) -> str:
    """A filled box with round corners."""
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6" {OUTLINE}/>'


def frame(x: float, y: float, side: float, colour: str, fill: str = "none", width: float = 3) -> str:
    """A square frame."""
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{side:g}" height="{side:g}" fill="{fill}" stroke="{colour}"'
        f' stroke-width="{width:g}"/>'
    )


def arrow(path: str, colour: str = INK, width: float = 1.6, dashed: bool = False) -> str:
    """An arrow along a path; colours other than INK have to be among the document's ``heads``."""
    dashes = ' stroke-dasharray="6 4"' if dashed else ""
    return (
        f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{width:g}"{dashes}'
        f' marker-end="url(#{_head(colour)})"/>'
    )


def _head(colour: str) -> str:
    return f"head-{colour.lstrip('#')}"


def photograph(picture: Tensor, x: float, y: float, side: int) -> str:
    """A photograph uint8 ``(3, H, W)``, or floats in [0, 1], as a JPEG of twice the pixels that it takes."""
    bytes_ = (
        picture if picture.dtype == torch.uint8 else (255 * picture).round().clamp(0, 255).to(torch.uint8)
    )
    image = Image.fromarray(bytes_.permute(1, 2, 0).numpy())
    buffer = io.BytesIO()
    image.resize((2 * side, 2 * side), Image.Resampling.LANCZOS).save(
        buffer, "JPEG", quality=70, optimize=True
    )
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<image x="{x:g}" y="{y:g}" width="{side}" height="{side}" href="data:image/jpeg;base64,{data}"/>'
