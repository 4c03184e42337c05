"""The picture of the method in JupyterLab and on live slides: drawn, photographs included, and not cut off."""

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
