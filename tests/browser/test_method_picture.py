"""The picture of the method in JupyterLab, on live slides and on a telephone: whole, and legible."""

import nbtools
import pytest

from simclr_edu.course.figures import method

PICTURE = 'img[alt^="The method in one picture"]'
# How the picture differs inside the first view's frame: a photograph is many colours, a missing one none.
COLOURS = """async image => {
    await image.decode();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [720, 490];
    const pen = canvas.getContext("2d");
    pen.drawImage(image, 0, 0, 720, 490);
    const { data } = pen.getImageData(142, 74, 76, 76);
    const seen = new Set();
    for (let k = 0; k < data.length; k += 4) seen.add(data.slice(k, k + 3).join());
    return [image.naturalWidth, image.naturalHeight, seen.size];
}"""

# Pairs of words that touch; the boxes of letters are cut by a quarter, the room above them.
TOUCHING = """() => {
    const words = [...document.querySelectorAll("text")].map((text) => [text.textContent, text.getBBox()]);
    const touch = (a, b) => a.x < b.x + b.width && b.x < a.x + a.width &&
        a.y + a.height / 4 < b.y + b.height && b.y + b.height / 4 < a.y + a.height;
    const pairs = words.flatMap(([a, x], k) => words.slice(0, k).map(([b, y]) => [a, b, touch(x, y)]));
    return pairs.filter(([, , touching]) => touching);
}"""
SIZES = "() => [...document.querySelectorAll('.t16')].map((text) => getComputedStyle(text).fontSize)"


@pytest.mark.parametrize(("width", "size"), [(390, "18px"), (1366, "16px")])
def test_letters_are_larger_on_a_telephone_and_do_not_touch(watched, width, size):
    page = watched.page
    page.set_viewport_size({"width": width, "height": 700})
    page.goto((nbtools.NOTEBOOKS / "figures" / "method_02.svg").as_uri())
    assert set(page.evaluate(SIZES)) == {size}
    assert page.evaluate(TOUCHING) == []


@pytest.mark.parametrize("name", ["00", "02"])
def test_jupyterlab_shows_the_picture_with_its_photographs(open_notebook, watched, name):
    notebook = open_notebook(name)
    image = watched.page.locator(PICTURE)
    image.wait_for(timeout=60_000)
    width, height, colours = image.evaluate(COLOURS)
    assert (width, height) == (method.WIDTH, method.HEIGHT)
    assert colours > 500
    assert image.get_attribute("alt") == method.alt_text(notebook.path.stem[:2])


def test_a_live_slide_shows_the_whole_picture(open_notebook, lab_url, watched):
    notebook = open_notebook("02")
    page = watched.context.new_page()
    page.goto(f"{lab_url}/rise/{notebook.path.name}")
    image = page.locator(f".reveal section.present {PICTURE}")
    image.wait_for(timeout=60_000)
    box, window = image.bounding_box(), page.viewport_size
    assert box["width"] > 300 and box["x"] >= 0 and box["x"] + box["width"] <= window["width"]
    assert box["height"] <= 0.5 * window["height"]
