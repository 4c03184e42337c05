"""The files of the method's picture are up to date, and shown by notebooks, README, pages and slides."""

import base64
import io
import re

import course
import method_picture
import nbtools
import numpy as np
import pytest
import slides
from nbformat.v4 import new_markdown_cell, new_notebook
from PIL import Image

from simclr_edu.course.figures import method

PATHS = nbtools.notebook_paths()
SHOWN = re.compile(r"^!\[([^\]]+)\]\(([^)]+)\)$", re.MULTILINE)


@pytest.fixture(scope="module")
def pictures():
    return method_picture.wanted()


@pytest.fixture
def folder(tmp_path, pictures):
    for name, svg in pictures.items():
        (tmp_path / name).write_text(svg, encoding="utf-8", newline="\n")
    return tmp_path


@pytest.fixture
def quick(monkeypatch, pictures):
    """The command, without drawing anew."""
    monkeypatch.setattr(method_picture, "wanted", lambda: pictures)


def test_the_saved_pictures_are_up_to_date(pictures):
    assert method_picture.problems(method_picture.FOLDER, pictures) == []


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.stem)
def test_a_notebook_opens_with_its_picture(path):
    opening = nbtools.read_notebook(path).cells[0].source
    number = path.stem[:2]
    assert SHOWN.findall(opening) == [(method.alt_text(number), f"figures/{method.file_name(number)}")]
    assert opening.index("![") < opening.index("able to")


def test_readme_shows_the_whole():
    readme = (nbtools.ROOT / "README.md").read_text(encoding="utf-8")
    assert (method.WHOLE, "notebooks/figures/method.svg") in SHOWN.findall(readme)


@pytest.mark.parametrize("change", ["text", "photograph", "missing", "foreign"])
def test_the_command_tells_what_is_out_of_date_and_mends_it(folder, quick, pictures, change, capsys):
    command = ["--folder", str(folder)]
    assert method_picture.main([*command, "--check"]) == 0
    assert "up to date" in capsys.readouterr().out
    file = folder / "method_02.svg"
    if change == "text":
        file.write_text(pictures[file.name].replace("attract", "attracts"), encoding="utf-8")
    elif change == "photograph":
        svg = pictures[file.name]
        first, second = re.findall(r"data:image/jpeg;base64,[^\"]+", svg)[3:5]  # the photograph and a view
        file.write_text(svg.replace(second, first), encoding="utf-8")
    elif change == "missing":
        file.unlink()
    else:
        (folder / "method_99.svg").write_text("<svg/>", encoding="utf-8")
    assert method_picture.main([*command, "--check"]) == 1
    said = capsys.readouterr().out
    wanted = {"missing": "method_02.svg is missing", "foreign": "method_99.svg belongs to no notebook"}
    assert wanted.get(change, "method_02.svg is out of date") in said and "make figures" in said
    assert method_picture.main(command) == 0
    assert method_picture.main([*command, "--check"]) == 0


def test_another_jpeg_library_leaves_the_files_alone(folder, quick, pictures):
    def again(match):
        image = Image.open(io.BytesIO(base64.b64decode(match[1])))
        buffer = io.BytesIO()
        Image.fromarray(np.asarray(image)).save(buffer, "JPEG", quality=75)
        return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()

    file = folder / "method.svg"
    other = method_picture.PHOTOGRAPH.sub(again, pictures["method.svg"])
    assert other != pictures["method.svg"]
    file.write_text(other, encoding="utf-8", newline="\n")
    assert method_picture.main(["--folder", str(folder)]) == 0
    assert file.read_text(encoding="utf-8") == other


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.stem)
def test_a_page_carries_the_picture_in_it(path):
    opening = nbtools.normalise(new_notebook(cells=nbtools.read_notebook(path).cells[:1]))
    page = course.page(opening, "a title")
    (image,) = re.findall(r"<img[^>]*>", page)
    assert 'src="data:image/svg+xml;base64,' in image and f'alt="{method.alt_text(path.stem[:2])}"' in image


def test_a_page_leaves_folds_and_other_addresses_as_they_are():
    text = "<details><summary>more</summary>\n\nfolded\n\n</details>\n\n![dot](https://example.org/a.svg)"
    page = course.page(nbtools.normalise(new_notebook(cells=[new_markdown_cell(text)])), "a title")
    assert page.index("<summary>more") < page.index("folded") < page.index("</details>")
    assert 'src="https://example.org/a.svg"' in page


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.stem)
def test_slides_give_the_picture_a_slide_of_its_own_after_the_title(path):
    deck = slides.slides_of(nbtools.read_notebook(path))
    assert "<img" not in "".join(deck[0].parts) and "![" not in "".join(deck[0].parts)
    (part,) = deck[1].parts
    assert part.count("<img") == 1 and method.alt_text(path.stem[:2]) in part
    assert "data:image/svg+xml;base64," in part and deck[1].running


@pytest.mark.parametrize("export", [course.page, slides.deck])
def test_a_picture_that_is_not_there_is_named(export, tmp_path):
    cell = new_markdown_cell(
        "# A\n\n![dot](figures/none.svg)\n", metadata={"slideshow": {"slide_type": "slide"}}
    )
    with pytest.raises(nbtools.NotebookProblem, match=r"none\.svg, which is not in"):
        export(nbtools.normalise(new_notebook(cells=[cell])), "A", tmp_path)


def test_the_executed_notebooks_have_the_pictures_beside_them(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    run = course.Course(nbtools.NOTEBOOKS, tmp_path / "course", home)
    run.build.mkdir()
    run.begin(fresh=False)
    run.run([])
    there = sorted(p.name for p in (run.build / "figures").iterdir())
    assert there == sorted({method.file_name(p.stem[:2]) for p in PATHS})
