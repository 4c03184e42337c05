"""The course as web pages, opened from the disk with no network and no kernel."""

import course
import markup
import nbtools
import pytest

PATHS = nbtools.notebook_paths()


@pytest.fixture
def open_page(watched, tmp_path):
    """Render a notebook as saved, open it from the disk."""

    def open_(path):
        notebook = nbtools.read_notebook(path)
        file = tmp_path / f"{path.stem}.html"
        file.write_text(course.page(notebook, markup.heading(notebook, path.stem)), encoding="utf-8")
        watched.page.goto(file.as_uri())
        return notebook

    return open_


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.stem)
def test_page_shows_its_figures_and_formulas_and_asks_nobody(path, watched, open_page):
    notebook = open_page(path)
    page = watched.page
    assert page.title() == markup.heading(notebook, path.stem)
    broken = page.evaluate(
        """async () => {
            await Promise.all([...document.images].map(image => image.decode().catch(() => null)));
            const broken = [...document.images].filter(image => !image.naturalWidth || !image.alt);
            return broken.map(image => image.alt || image.outerHTML.slice(0, 80));
        }"""
    )
    assert broken == [], "pictures that do not show, or have no alt text"
    figures = sum(
        "<img" in o.get("data", {}).get("text/html", "") for c in notebook.cells for o in c.get("outputs", [])
    )
    assert page.locator(".jp-OutputArea-output img").count() >= figures
    assert figures > 0 or path.stem == "10_interview", "a notebook of the core without a figure"
    assert page.get_by_text("$$").count() == 0, "a formula is left as text"
    watched.check()


def test_embedding_map_in_the_page(watched, open_page, explore_map):
    (path,) = nbtools.notebook_paths(["05"])
    open_page(path)
    frame = watched.page.locator("iframe").element_handle().content_frame()
    explore_map(frame)
    watched.check()


def test_a_request_to_the_outside_is_seen(watched, tmp_path):
    """The watch itself: without it the tests above could pass on a page that fetches."""
    file = tmp_path / "fetching.html"
    file.write_text('<img src="https://example.org/picture.png"><script>missing()</script>', encoding="utf-8")
    watched.page.goto(file.as_uri())
    with pytest.raises(AssertionError, match="asked other hosts.*example.org"):
        watched.check()
    watched.outside.clear()
    with pytest.raises(AssertionError, match="missing is not defined"):
        watched.check()
