"""The method in one picture: two views, f, h, g, z, attract and repel; each notebook has its own part lit.

Unlike the other figures it shows no result of a run. So it is kept as SVG files beside the notebooks, which
whatever shows a notebook shows too; tools/method_picture.py writes them.
"""

import math

import torch
from torch import Tensor

from simclr_edu.augment import SimCLRAugment
from simclr_edu.course.figures import svg
from simclr_edu.course.figures.picture import NEGATIVE, POSITIVE
from simclr_edu.data import sample_photographs

WIDTH, HEIGHT = 720, 490
POSITIVE_TEXT = "#8A5600"  # POSITIVE itself is too light for letters on white
DIMMED = 0.3  # opacity of what is not lit
CREDIT = "Photographs: vultilion, danielbuechele (Flickr, CC BY 2.0), changed"

# What the picture is made of, and what each notebook lights.
PARTS = (
    "others",
    "augment",
    "views",
    "f",
    "h",
    "g",
    "z",
    "pull",
    "push",
    "temperature",
    "loss",
    "loop",
    "probe",
)
LIT: dict[str, tuple[str, ...]] = {
    "00": PARTS,
    "01": ("augment", "views"),
    "02": ("z", "pull", "push", "loss"),
    "03": ("z", "push", "temperature"),
    "04": ("f", "h", "g", "z", "loss", "loop"),
    "05": ("h",),
    "06": ("f", "h", "probe"),
    "10": PARTS,
}
_SAID = {
    "01": "the augmentation, which makes two views of one picture",
    "02": "the loss on z, by which views of one picture attract and others repel",
    "03": "the temperature, which says how much harder the nearer ones are repelled",
    "04": "the training loop, in which the loss trains encoder f and projection head g",
    "05": "the representation h, which the encoder makes",
    "06": "a linear classifier on h, in place of g",
}
WHOLE = (
    "The method in one picture. Random crops, flips and colours make two views of a photograph. The same"
    " encoder f makes a representation h of each view, the same projection head g an embedding z of each h."
    " On the unit circle the z of the two views attract each other; those of the other pictures of the batch"
    " are repelled, the nearer ones harder, how much harder the temperature says. The gradient of this loss"
    " trains f and g. After training a linear classifier takes the place of g."
)

# Where things lie: three lanes from left to right (two views of one picture; other pictures), and the circle.
LANES = (112, 208, 330)
F_LEFT, F_RIGHT, H_LEFT, H_RIGHT, G_LEFT, G_RIGHT = 244, 332, 350, 368, 388, 486
F, H, G = (F_LEFT + F_RIGHT) / 2, (H_LEFT + H_RIGHT) / 2, (G_LEFT + G_RIGHT) / 2  # their middles
CIRCLE_X, CIRCLE_Y, RADIUS = 610, 200, 96
PAIR = (148, 206)  # degrees on the circle, of the z of the two views
OTHERS = (250, 312, 354, 30, 74)  # and of those of other pictures
SHADES = ((7, 2, 9, 4, 1, 6, 3), (6, 3, 9, 3, 1, 7, 2), (2, 8, 1, 5, 9, 2, 7))  # of the numbers in each h
TOP = 34  # of the way back from the loss
LEGEND = 540  # left end of the words below the circle


def file_name(notebook: str) -> str:
    """Return the name of the file that holds a notebook's picture; those that light everything share one.

    Raises:
        ValueError: no notebook of this number has the picture.
    """
    return f"method_{notebook}.svg" if _known(notebook) in _SAID else "method.svg"


def alt_text(notebook: str) -> str:
    """Return what a notebook's picture shows, for who cannot see it: all of it, or the part that is lit.

    Raises:
        ValueError: no notebook of this number has the picture.
    """
    return f"The method in one picture. Lit: {_SAID[notebook]}" if _known(notebook) in _SAID else WHOLE


def method_picture(notebook: str = "00") -> str:
    """Return the picture as one SVG document in which a notebook's part is lit and the rest is dimmed.

    The photographs come with scikit-learn; their views are drawn by the package's augmentation, with the
    recipe of Chen et al. 2020 (appendix A), from fixed seeds. The parts are those of the paper's Figure 2.

    Args:
        notebook: two digits; "00" and "10" light everything.

    Raises:
        ValueError: no notebook of this number has the picture.
    """
    lit = LIT[_known(notebook)]
    drawn = []
    for part, lines in _parts().items():
        dim = "" if part in lit else f' opacity="{DIMMED}"'
        drawn += [f'<g id="{part}"{dim}>', *lines, "</g>"]
    drawn.append(svg.text(12, HEIGHT - 9, CREDIT, size=svg.FINE, colour=svg.FAINT))
    if lit != PARTS:
        drawn.append(svg.text(WIDTH - 12, HEIGHT - 9, "lit: this notebook", size=svg.FINE, anchor="end"))
    description = f"{WHOLE} {CREDIT}."
    return svg.document(WIDTH, HEIGHT, alt_text(notebook), description, drawn, heads=[POSITIVE, NEGATIVE])


def _known(notebook: str) -> str:
    if notebook not in LIT:
        raise ValueError(f"notebook must be one of {', '.join(LIT)}, got {notebook!r}")
    return notebook


def _parts() -> dict[str, list[str]]:
    """The lines of each part, in the order of PARTS: the circle lies under its arrows."""
    temple, flower = sample_photographs(256)
    lines = (
        _others(temple),
        _augment(flower),
        _views(flower),
        _encoder(),
        _representations(),
        _head(),
        _embeddings(),
        _pull(),
        _push(),
        _temperature(),
        _loss(),
        _loop(),
        _probe(),
    )
    return dict(zip(PARTS, lines, strict=True))


def _two_views(picture: Tensor, size: int, seed: int) -> list[Tensor]:
    """Two views of a picture uint8 ``(3, H, W)``: floats in [0, 1], ``(3, size, size)`` each."""
    generator = torch.Generator().manual_seed(seed)
    views = SimCLRAugment(size, strength=1.0, blur=True).two_views(picture[None], generator=generator)
    return [view[0] for view in views]


def _others(temple: Tensor) -> list[str]:
    y = LANES[2]
    a, b = _two_views(temple, 96, seed=9)
    return [
        *(svg.frame(20 + 5 * k, y - 30 - 5 * k, 64, NEGATIVE, fill=svg.FILL, width=1) for k in (2, 1)),
        svg.photograph(temple, 20, y - 30, 64),
        svg.frame(20, y - 30, 64, NEGATIVE),
        svg.arrow(f"M98,{y} H126"),
        svg.photograph(a, 130, y - 36, 48),
        svg.frame(130, y - 36, 48, NEGATIVE),
        svg.photograph(b, 170, y - 12, 48),
        svg.frame(170, y - 12, 48, NEGATIVE),
        svg.arrow(f"M221,{y} H{F_LEFT - 2}"),
        svg.text(12, y + 56, "the other pictures of the"),
        svg.text(12, y + 75, "batch, two views of each"),
    ]


def _augment(flower: Tensor) -> list[str]:
    y = (LANES[0] + LANES[1]) / 2
    return [
        svg.name(12, 26, "augmentation"),
        svg.text(12, 46, "random crop, flip, colours"),
        svg.photograph(flower, 12, y - 48, 96),
        svg.text(60, y + 68, "a picture", anchor="middle"),
        svg.arrow(f"M110,{y - 16} L134,{LANES[0] + 16}"),
        svg.arrow(f"M110,{y + 16} L134,{LANES[1] - 16}"),
    ]


def _views(flower: Tensor) -> list[str]:
    lines = []
    for view, y in zip(_two_views(flower, 168, seed=6), LANES, strict=False):
        lines += [svg.photograph(view, 138, y - 42, 84), svg.frame(138, y - 42, 84, POSITIVE)]
        lines.append(svg.arrow(f"M225,{y} H{F_LEFT - 2}"))
    return [*lines, svg.text(180, LANES[1] + 60, "two views of it", anchor="middle")]


def _encoder() -> list[str]:
    return [
        svg.shape(f"M{F_LEFT},62 L{F_RIGHT},80 V372 L{F_LEFT},390 Z"),
        svg.name(F, 150, "encoder", anchor="middle"),
        svg.symbol(F, 186, "f"),
        *_shared(F),
    ]


def _shared(x: float) -> list[str]:
    words = ("the same", "weights", "for all")
    return [svg.text(x, 256 + 20 * k, word, anchor="middle") for k, word in enumerate(words)]


def _representations() -> list[str]:
    lines = []
    for y, shades, colour in zip(LANES, SHADES, (POSITIVE, POSITIVE, NEGATIVE), strict=True):
        lines.append(svg.arrow(f"M{F_RIGHT + 1},{y} H{H_LEFT - 2}"))
        lines += [
            f'<rect x="{H_LEFT}" y="{y - 31.5 + 9 * k}" width="{H_RIGHT - H_LEFT}" height="9" fill="{colour}"'
            f' fill-opacity="{shade / 10}" stroke="{svg.INK}" stroke-width=".7"/>'
            for k, shade in enumerate(shades)
        ]
        lines.append(svg.symbol(H, y - 38, "h", size=22))
    return [*lines, svg.name(H + 8, 408, "representation h")]


def _head() -> list[str]:
    return [
        *(svg.arrow(f"M{H_RIGHT + 1},{y} H{G_LEFT - 2}") for y in LANES),
        svg.shape(f"M{G_LEFT},80 L{G_RIGHT},92 V360 L{G_LEFT},372 Z"),
        svg.name(G, 150, "projection", anchor="middle"),
        svg.name(G, 171, "head", anchor="middle"),
        svg.symbol(G, 206, "g"),
        *_shared(G),
    ]


def _on_circle(degrees: float, radius: float = RADIUS) -> tuple[float, float]:
    angle = math.radians(degrees)
    return round(CIRCLE_X + radius * math.cos(angle), 1), round(CIRCLE_Y - radius * math.sin(angle), 1)


def _arc(start: float, end: float, colour: str) -> str:
    """An arrow along the circle, from one angle to another."""
    (x0, y0), (x1, y1) = _on_circle(start), _on_circle(end)
    return svg.arrow(f"M{x0},{y0} A{RADIUS},{RADIUS} 0 0 {int(end < start)} {x1},{y1}", colour, width=4.5)


def _embeddings() -> list[str]:
    lines = [
        f'<circle cx="{CIRCLE_X}" cy="{CIRCLE_Y}" r="{RADIUS}" fill="none" stroke="{svg.FAINT}"'
        ' stroke-width="1.5"/>'
    ]
    for lane, degrees in zip(LANES, (*PAIR, OTHERS[0]), strict=True):
        (end_x, end_y), (near_x, near_y) = _on_circle(degrees, RADIUS + 9), _on_circle(degrees, RADIUS + 34)
        lines.append(
            svg.arrow(f"M{G_RIGHT + 1},{lane} C{G_RIGHT + 14},{lane} {near_x},{near_y} {end_x},{end_y}")
        )
        lines.append(svg.symbol(G_RIGHT + 11, lane - 9, "z", size=22))
    for colour, angles in ((NEGATIVE, OTHERS), (POSITIVE, PAIR)):
        for x, y in map(_on_circle, angles):
            lines.append(f'<circle cx="{x}" cy="{y}" r="7" fill="{colour}" stroke="{svg.INK}"/>')
    return [
        *lines,
        svg.name(LEGEND, 346, "embeddings z"),
        svg.text(LEGEND, 365, "on the unit circle"),
    ]


def _pull() -> list[str]:
    x = CIRCLE_X - 78
    return [
        _arc(PAIR[0] + 6, PAIR[0] + 20, POSITIVE),
        _arc(PAIR[1] - 6, PAIR[1] - 20, POSITIVE),
        svg.name(x, CIRCLE_Y - 15, "attract", colour=POSITIVE_TEXT),
        svg.text(x, CIRCLE_Y + 4, "two views of", colour=POSITIVE_TEXT),
        svg.text(x, CIRCLE_Y + 22, "one picture", colour=POSITIVE_TEXT),
    ]


def _push() -> list[str]:
    """An arrow away from the pair for each other z: the harder the pair's views push it, the longer."""
    pushes = {degrees: sum(_pushed(degrees - anchor) for anchor in PAIR) for degrees in OTHERS}
    hardest = max(map(abs, pushes.values()))
    lines = []
    for degrees, push in pushes.items():
        if abs(push) > 0.15 * hardest:  # what lies on the far side is hardly pushed
            way = math.copysign(1, push)
            lines.append(_arc(degrees + 6 * way, degrees + 14 * way + 18 * push / hardest, NEGATIVE))
    x = CIRCLE_X - 6
    return [
        *lines,
        svg.name(x, CIRCLE_Y + 53, "repel", anchor="middle", colour=NEGATIVE),
        svg.text(x, CIRCLE_Y + 72, "other pictures", anchor="middle", colour=NEGATIVE),
    ]


def _pushed(degrees: float, temperature: float = 0.5) -> float:
    """How hard, and to which side, the loss pushes a z so many degrees from an anchor, up to a factor.

    It is the derivative of exp(cos / temperature), the negative's term in the loss, by the angle.
    """
    angle = math.radians(degrees)
    return math.exp(math.cos(angle) / temperature) * math.sin(angle)


def _temperature() -> list[str]:
    words = ("how much harder", "the nearer ones", "are repelled")
    return [
        svg.name(LEGEND, 400, "temperature τ"),
        *(svg.text(LEGEND, 419 + 19 * k, line) for k, line in enumerate(words)),
    ]


def _loss() -> list[str]:
    return [
        svg.box(CIRCLE_X - 56, TOP - 18, 112, 34),
        svg.name(CIRCLE_X, TOP + 5, "loss", anchor="middle"),
        svg.arrow(f"M{CIRCLE_X},{CIRCLE_Y - RADIUS - 8} V{TOP + 19}"),
    ]


def _loop() -> list[str]:
    return [
        svg.arrow(f"M{CIRCLE_X - 58},{TOP} H{G} V83", dashed=True),
        svg.arrow(f"M{G},{TOP} H{F} V67", dashed=True),
        svg.text(422, TOP - 8, "the gradient trains f and g", anchor="middle"),
    ]


def _probe() -> list[str]:
    y = 447
    return [
        svg.arrow(f"M{H},{LANES[2] + 33} V{y - 19}"),
        svg.box(284, y - 16, 152, 32),
        svg.name(360, y + 6, "linear classifier", anchor="middle"),
        svg.text(276, y + 6, "after training, in place of g", anchor="end"),
        svg.arrow(f"M438,{y} H454"),
        svg.text(458, y + 6, "class"),
    ]
