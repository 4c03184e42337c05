"""The picture of the method: legible in any font, one part lit a notebook, the package's own views."""

import base64
import io
import re
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image, ImageFont

from simclr_edu.augment import SimCLRAugment
from simclr_edu.course.figures import method
from simclr_edu.data import sample_photographs

SVG = "{http://www.w3.org/2000/svg}"
FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
NOTEBOOKS = tuple(method.LIT)


@pytest.fixture(scope="module", params=NOTEBOOKS)
def notebook(request):
    return request.param


@pytest.fixture(scope="module")
def picture(notebook):
    return method.method_picture(notebook)


@pytest.fixture(scope="module")
def root(picture):
    return ElementTree.fromstring(picture)


@pytest.fixture(scope="module")
def whole():
    return ElementTree.fromstring(method.method_picture())


def number(element, *names):
    return [float(element.get(name)) for name in names]


def bounds(text):
    """The box of a line of text in DejaVu Sans, the widest sans-serif that a browser is likely to take."""
    bold = "-Bold" if text.get("font-weight") == "bold" else ""
    size = float(text.get("font-size"))
    font = ImageFont.truetype(str(FONTS / f"DejaVuSans{bold}.ttf"), 100)
    left, top, right, bottom = (size / 100 * side for side in font.getbbox(text.text, anchor="ls"))
    x, y = number(text, "x", "y")
    x -= {"start": 0, "middle": right / 2, "end": right}[text.get("text-anchor", "start")]
    return x + left, y + top, x + right, y + bottom


def overlap(a, b):
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def test_a_notebook_lights_its_part_and_dims_the_rest(notebook, root):
    groups = {g.get("id"): g.get("opacity") for g in root.iter(f"{SVG}g")}
    assert tuple(groups) == method.PARTS
    lit = {part for part, opacity in groups.items() if opacity is None}
    assert lit == set(method.LIT[notebook])
    assert {o for o in groups.values() if o} <= {str(method.DIMMED)}


def test_every_part_is_lit_by_a_notebook_of_its_own():
    parts = [part for n in NOTEBOOKS if method.LIT[n] != method.PARTS for part in method.LIT[n]]
    assert set(parts) == set(method.PARTS) - {"others"}


def test_it_is_small_says_what_it_shows_and_asks_nothing_of_a_network(notebook, picture, root):
    assert len(picture) < 60_000
    assert root.find(f"{SVG}title").text == method.alt_text(notebook)
    assert method.WHOLE in root.find(f"{SVG}desc").text
    assert method.CREDIT in root.find(f"{SVG}desc").text
    assert method.CREDIT in [t.text for t in root.iter(f"{SVG}text")]
    addresses = [v for e in root.iter() for k, v in e.attrib.items() if k.endswith("href")]
    assert addresses and all(a.startswith("data:image/jpeg;base64,") for a in addresses)
    assert set(re.findall(r"url\(#([^)]+)\)", picture)) <= {m.get("id") for m in root.iter(f"{SVG}marker")}


def test_letters_are_large_enough(whole):
    sizes = {t.text: float(t.get("font-size")) for t in whole.iter(f"{SVG}text")}
    assert min(sizes.values()) >= 12
    assert min(size for text, size in sizes.items() if text != method.CREDIT) >= 16
    style = whole.find(f"{SVG}style").text  # on a telephone larger still
    assert style.startswith("@media (max-width: 480px)")
    larger = {name: float(size) for name, size in re.findall(r"\.(\w+) \{ font-size: (\d+)px", style)}
    used = {t.get("class") for t in whole.iter(f"{SVG}text") if t.get("class") and t.text != method.CREDIT}
    assert used == set(larger) and min(larger.values()) >= 18


def test_no_words_lie_over_others_over_a_photograph_or_over_the_edge(root):
    width, height = number(root, "width", "height")
    texts = [(t.text, bounds(t)) for t in root.iter(f"{SVG}text")]
    for words, box in texts:
        assert box[0] >= 4 and box[1] >= 4 and box[2] <= width - 4 and box[3] <= height - 4, (words, box)
    crossed = [(a, b) for i, (a, x) in enumerate(texts) for b, y in texts[:i] if overlap(x, y)]
    assert not crossed
    for image in root.iter(f"{SVG}image"):
        x, y, w, h = number(image, "x", "y", "width", "height")
        assert not [words for words, box in texts if overlap(box, (x, y, x + w, y + h))]


def test_words_stay_within_their_boxes(whole):
    for part, words in (("loss", "loss"), ("probe", "linear classifier")):
        group = next(g for g in whole.iter(f"{SVG}g") if g.get("id") == part)
        x, y, w, h = number(group.find(f"{SVG}rect"), "x", "y", "width", "height")
        box = bounds(next(t for t in group.iter(f"{SVG}text") if t.text == words))
        assert x < box[0] and y < box[1] and box[2] < x + w and box[3] < y + h, words


def contrast(colour, ground="#FFFFFF"):
    """Contrast of two colours as WCAG 2.1 defines it."""

    def luminance(c):
        values = np.array([int(c[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722]

    light, dark = sorted((luminance(colour), luminance(ground)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_words_stand_out_from_the_panel(whole):
    colours = {t.get("fill", whole.get("fill")) for t in whole.iter(f"{SVG}text")}
    assert len(colours) == 4
    assert min(map(contrast, colours)) >= 4.5
    assert contrast("#767676") == pytest.approx(4.54, abs=0.01)  # a known value


def test_the_views_are_those_of_the_augmentation(whole):
    group = next(g for g in whole.iter(f"{SVG}g") if g.get("id") == "views")
    flower = sample_photographs(256)[1:]
    generator = torch.Generator().manual_seed(6)
    views = SimCLRAugment(168, strength=1.0, blur=True).two_views(flower, generator=generator)
    drawn = [i.get("href").partition(",")[2] for i in group.iter(f"{SVG}image")]
    assert len(drawn) == 2
    for data, view in zip(drawn, views, strict=True):
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))), dtype=float) / 255
        wanted = view[0].clamp(0, 1).permute(1, 2, 0).numpy()
        assert pixels.shape == wanted.shape
        assert np.abs(pixels - wanted).mean() < 0.03  # JPEG


def test_twice_the_same_and_no_draw_from_the_readers_generator():
    before = torch.get_rng_state()
    assert method.method_picture("03") == method.method_picture("03")
    assert torch.equal(torch.get_rng_state(), before)


def test_pushes_point_away_from_the_pair_and_are_longer_near_it():
    assert method._pushed(40) > method._pushed(100) > 0 > method._pushed(-60)
    angles = torch.linspace(-3, 3, 13, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad((angles.cos() / 0.5).exp().sum(), angles)
    ours = torch.tensor([method._pushed(float(a.rad2deg())) for a in angles.detach()])
    assert torch.allclose(ours.double(), -0.5 * slope, atol=1e-6)


@pytest.mark.parametrize("function", [method.method_picture, method.alt_text, method.file_name])
def test_another_notebook_is_refused_in_a_sentence(function):
    with pytest.raises(ValueError, match="notebook must be one of 00, 01, .*, got '07'"):
        function("07")
