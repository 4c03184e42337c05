"""Live slides (jupyterlab-rise): the slides have a kernel, and a slider on them moves its figure."""

import pytest
from playwright.sync_api import expect

CELL = "explorers.loss_floor_explorer("


@pytest.fixture
def live_slides(watched, lab_url, open_notebook):
    """A notebook's set-up cell run in JupyterLab, then its slides in another tab: they share the kernel."""

    def open_(name):
        notebook = open_notebook(name)
        notebook.run_cell(notebook.find("from simclr_edu import"), 120)
        page = watched.context.new_page()
        page.goto(f"{lab_url}/rise/{notebook.path.name}")
        page.wait_for_selector(".reveal section.present .jp-Cell", timeout=60_000)
        return page

    return open_


def go_to(page, text):
    """Press the key for the next step until the slide with this code is on the screen; return its cell."""
    cell = page.locator("section.present:not(:has(section)) .jp-CodeCell", has_text=text)
    page.locator(".reveal").focus()
    for _ in range(200):
        if cell.count() and cell.is_visible():
            return cell
        page.keyboard.press("Space")
        page.wait_for_timeout(50)
    raise AssertionError(f"no slide shows {text!r}")


def test_a_slider_on_a_live_slide_moves_its_figure(live_slides, watched):
    page = live_slides("02")
    cell = go_to(page, CELL)
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+Enter")
    handle, image = cell.locator(".noUi-handle"), cell.locator("img.widget-image")
    handle.wait_for(timeout=60_000)
    image.wait_for()
    before = image.get_attribute("src")
    handle.focus()
    page.keyboard.press("ArrowLeft")
    follows = expect(image, "the figure did not follow the slider")
    follows.not_to_have_attribute("src", before, timeout=20_000)
    assert "N = 128" in cell.get_by_role("status").inner_text()
    assert cell.is_visible(), "the slide moved on with the slider"
    assert not watched.outside, f"live slides asked other hosts: {watched.outside}"
