"""The interactive map as text: every point, picture and name where it belongs, and nothing from outside.

That it reacts to mouse and keys is tested in a browser, tests/browser.
"""

import base64
import html
import io
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from simclr_edu.course import figures

NAMES = ("disc", "star & moon", "</script><b>")
SEEDS = (0, 1, 2)


def material(n=7, side=8, k=2, seed=0):
    """Pictures of one colour each, so that a sheet of 256 colours holds them exactly."""
    rng = np.random.default_rng(seed)
    colours = torch.from_numpy(rng.permutation(256)[:n]).to(torch.uint8)
    images = torch.stack([colours, 255 - colours, colours // 2], dim=1)[:, :, None, None].expand(
        n, 3, side, side
    )
    neighbours = np.stack([rng.permutation(np.delete(np.arange(n), i))[:k] for i in range(n)])
    return rng.normal(size=(n, 2)), images, np.arange(n) % 3, NAMES, neighbours


def parts(page):
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])
    sheet = re.search(r"data:image/png;base64,([\w+/=]+)", page)[1]
    marks = re.findall(r'<use href="#m(\d+)" class="c(\d+)" x="(\d+)" y="(\d+)"/>', page)
    return data, np.asarray(Image.open(io.BytesIO(base64.b64decode(sheet))).convert("RGB")), marks


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("n", [2, 7, 16, 17])
def test_each_picture_lies_at_its_place_in_the_sheet(n, seed):
    arguments = material(n, k=1, seed=seed)
    data, sheet, _ = parts(figures.embedding_map(*arguments).document)
    (width, height), columns = data["tile"], data["columns"]
    assert (width, height) == (8, 8) and data["sheet"] == [sheet.shape[1], sheet.shape[0]]
    for i, picture in enumerate(arguments[1]):
        row, column = divmod(i, columns)  # as the page's script cuts it out
        there = sheet[row * height : (row + 1) * height, column * width : (column + 1) * width]
        np.testing.assert_array_equal(there, picture.permute(1, 2, 0).numpy(), err_msg=f"picture {i}")


@pytest.mark.parametrize("seed", SEEDS)
def test_points_labels_and_neighbours_are_those_given(seed):
    points, images, labels, names, neighbours = material(seed=seed)
    data, _, marks = parts(figures.embedding_map(points, images, labels, names, neighbours).document)
    assert data["labels"] == labels.tolist() and data["names"] == list(names)
    assert data["neighbours"] == neighbours.tolist()
    assert [(int(m), int(c)) for m, c, _, _ in marks] == [(c, c) for c in labels]
    at = np.array([[int(x), int(y)] for _, _, x, y in marks])
    # The plane's order is kept, with y upwards; equal places can come from rounding to whole units.
    assert (np.diff(at[points[:, 0].argsort(), 0]) >= 0).all()
    assert (np.diff(at[points[:, 1].argsort(), 1]) <= 0).all()
    assert at.min() >= 0 and at[:, 0].max() <= 600 and at[:, 1].max() <= 500


def test_the_page_names_no_other_place_and_forbids_fetching():
    page = figures.embedding_map(*material()).document
    without_names = page.replace("http://www.w3.org/2000/svg", "")  # the name of SVG, not an address to fetch
    assert not re.search(r"https?:|//[a-z]+\.|@import|\bsrc=|@@\w+@@", without_names)
    assert "default-src 'none'" in page
    assert set(re.findall(r'href="([^"]*)"', page)) <= {f"#m{k}" for k in range(10)}
    assert set(re.findall(r"url\((.{5})", page)) == {"data:"}


def test_names_and_titles_are_text_and_never_markup():
    page = figures.embedding_map(*material(), title="<i>a & b</i>").document
    assert "<b>" not in page and "<i>" not in page
    assert page.count("</script>") == 2
    assert "<title>&lt;i&gt;a &amp; b&lt;/i&gt;</title>" in page and "star &amp; moon</li>" in page


def test_the_frame_holds_the_page_its_description_and_a_sentence_for_where_frames_are_removed():
    shown = figures.embedding_map(*material())
    frame = shown._repr_html_()
    assert html.unescape(re.search(r'srcdoc="([^"]*)"', frame)[1]) == shown.document
    assert html.unescape(re.search(r'title="([^"]*)"', frame)[1]) == shown.alt_text
    assert 'sandbox="allow-scripts"' in frame  # and not allow-same-origin: the page cannot reach the notebook
    assert re.sub(r"<[^>]*>", "", frame) == "Run this cell to use the interactive map."
    assert "7 images of 3 classes: disc, star & moon" in shown.alt_text
    assert repr(shown).endswith(shown.alt_text) and len(repr(shown)) < 200


def test_every_class_has_a_colour_and_a_shape_of_its_own():
    names = [f"class {k}" for k in range(10)]
    points, images, _, _, neighbours = material(20)
    page = figures.embedding_map(points, images, np.arange(20) % 10, names, neighbours).document
    shapes = re.findall(r'<path id="m\d" d="([^"]+)"', page)
    colours = re.findall(r"\.c\d\{fill:(#\w+)\}", page)
    assert len(shapes) == len(set(shapes)) == len(colours) == len(set(colours)) == 10
    assert page.count("<li>") == 10


def test_large_pictures_are_shrunk_and_keep_their_proportions():
    points, _, labels, names, neighbours = material()
    wide = torch.full((7, 3, 100, 200), 200, dtype=torch.uint8)
    data, sheet, _ = parts(figures.embedding_map(points, wide, labels, names, neighbours).document)
    assert data["tile"] == [64, 32] and data["sheet"] == [64 * 3, 32 * 3]
    assert (sheet[:32, :64] == 200).all()


def test_all_points_at_one_place_still_make_a_map():
    _, *others = material()
    _, _, marks = parts(figures.embedding_map(np.ones((7, 2)), *others).document)
    assert len(marks) == 7 and len({(x, y) for _, _, x, y in marks}) == 1


def changed(position, value):
    arguments = list(material())
    arguments[position] = value
    return arguments


BAD = [
    (0, np.zeros((7, 3)), ValueError, r"points must have shape \(N, 2\)"),
    (0, np.full((7, 2), np.nan), ValueError, "points must be finite"),
    (0, np.zeros((1, 2)), ValueError, "the number of points must be from 2 to 2000"),
    (1, torch.zeros(6, 3, 8, 8), ValueError, "images must be one for each of the 7 points, got 6"),
    (1, torch.full((7, 3, 8, 8), 7.0), ValueError, r"images must be in \[0, 1\]"),
    (2, [0] * 6, ValueError, "labels must have 7 values"),
    (2, [3] * 7, ValueError, "labels must be from 0 to 2"),
    (4, np.zeros(7), ValueError, r"neighbours must have shape \(7, k\)"),
    (4, np.full((7, 1), 7), ValueError, "whole numbers from 0 to 6, got 7 to 7"),
    (4, np.full((7, 1), 0.5), ValueError, "whole numbers from 0 to 6"),
    (4, np.arange(7)[:, None], ValueError, "not its own neighbour"),
]


@pytest.mark.parametrize(
    ("position", "value", "error", "message"), BAD, ids=[str(i) for i in range(len(BAD))]
)
def test_bad_input_gives_a_sentence(position, value, error, message):
    with pytest.raises(error, match=message):
        figures.embedding_map(*changed(position, value))
