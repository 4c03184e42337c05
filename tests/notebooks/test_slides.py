"""Slides: every core cell says what becomes of it, and the export does what the cells say."""

import re

import nbtools
import pytest
import slides
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

CORE = [p for p in nbtools.notebook_paths() if p.stem < "07"]
PICTURE = '<img alt="a dot" width="900" height="300" style="max-width:100%" src="data:image/png;base64,AA==">'


def cell(source, kind=None, tags=(), outputs=None):
    metadata = {"slideshow": {"slide_type": kind}} if kind else {}
    if outputs is None:
        return new_markdown_cell(source, metadata=metadata)
    return new_code_cell(source, metadata=metadata | {"tags": list(tags)}, outputs=outputs)


def printed(text):
    return new_output("stream", name="stdout", text=text)


def shown(html):
    return new_output("display_data", data={"text/html": html, "text/plain": "[figure]"})


def cut(*cells):
    return slides.slides_of(new_notebook(cells=list(cells)))


@pytest.mark.parametrize("path", CORE, ids=lambda p: p.stem)
def test_every_core_cell_says_what_becomes_of_it(path):
    for number, c in enumerate(nbtools.read_notebook(path).cells):
        kind = c.metadata.get("slideshow", {}).get("slide_type")
        assert kind in slides.TYPES, f"cell {number} has the slide type {kind!r}: {c.source[:60]}"


@pytest.mark.parametrize("path", CORE, ids=lambda p: p.stem)
def test_a_core_notebook_begins_with_its_title_and_ends_with_questions(path):
    deck = slides.slides_of(nbtools.read_notebook(path))
    assert 10 <= len(deck) <= 45
    assert "<h1" in deck[0].parts[0]
    assert "".join(deck[-1].parts).count("<details>") >= 3
    solutions = "".join("".join(s.notes) for s in deck).count("<summary>Solution</summary>")
    stubs = sum("exercise" in c.metadata.get("tags", []) for c in nbtools.read_notebook(path).cells)
    assert solutions == stubs, "the solutions of the exercises belong to the speaker's notes"


def test_slide_types_cut_continue_leave_out_and_note():
    deck = cut(
        cell("# 2. Title", "slide"),
        cell("more", "-"),
        cell("secret", "notes"),
        cell("not for slides", "skip"),
        cell("below", "subslide"),
        cell("later", "fragment"),
        cell("## Next", "slide"),
    )
    assert [s.kind for s in deck] == ["slide", "subslide", "slide"]
    assert [len(s.parts) for s in deck] == [2, 2, 1]
    assert "secret" in deck[0].notes[0] and not deck[1].notes
    assert "step" in deck[1].parts[1] and "step" not in deck[1].parts[0]
    assert [s.running for s in deck] == ["", "2. Title", ""]
    assert "not for slides" not in slides.deck(new_notebook(cells=[cell("# A", "slide")]), "A")


def test_code_is_shown_before_what_it_prints():
    (slide,) = cut(cell("# A", "slide"), cell("1 < 2", "-", outputs=[printed("True <b>\n")]))
    _, code, output = slide.parts
    assert "input" in code and "step" not in code
    assert "output step" in output and "True &lt;b&gt;" in output


def test_a_figure_under_long_code_gets_a_slide_of_its_own():
    long = "\n".join(f"x{k} = {k}" for k in range(slides.CODE_BESIDE_FIGURE + 1))
    deck = cut(cell("# A", "slide"), cell(long, "-", outputs=[shown(PICTURE)]))
    assert [len(s.parts) for s in deck] == [2, 1] and deck[1].running == "A"
    (slide,) = cut(cell("# A", "slide"), cell("x = 1", "-", outputs=[shown(PICTURE)]))
    assert len(slide.parts) == 3
    assert 'alt="a dot"' in slide.parts[2] and "max-width" not in slide.parts[2]


def test_output_only_hides_the_code():
    (slide,) = cut(cell("# A", "slide"), cell("x = 1", "-", [slides.OUTPUT_ONLY], [shown(PICTURE)]))
    assert "x = 1" not in "".join(slide.parts) and "a dot" in slide.parts[1]


def test_words_stand_beside_a_squarish_figure():
    square = PICTURE.replace('height="300"', 'height="900"')
    words, wide = '<div class="prose">a</div>', slides.rendered(shown(PICTURE))
    assert slides.beside([words, wide]) == [words, wide]
    (both,) = slides.beside([words, slides.rendered(shown(square))])
    assert both.startswith('<div class="beside">') and words in both


@pytest.mark.parametrize(
    ("cells", "complaint"),
    [
        ([cell("# A", "sidle")], "'sidle'"),
        ([cell("# A", "-")], "first cell that is shown"),
        ([cell("# A", "skip")], "no cell is shown"),
        (
            [
                cell("# A", "slide"),
                cell("x", "-", outputs=[new_output("display_data", data={"image/bmp": "AA"})]),
            ],
            "only image/bmp",
        ),
    ],
)
def test_what_cannot_be_presented_is_one_clear_sentence(tmp_path, capsys, cells, complaint):
    nbtools.write_notebook(new_notebook(cells=cells), tmp_path / "00_toy.ipynb")
    assert slides.main(["--folder", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    message = capsys.readouterr().err
    assert message.startswith("00_toy.ipynb: ") and complaint in message


def test_a_deck_loads_nothing_and_draws_formulas_by_itself():
    page = slides.deck(
        new_notebook(cells=[cell("# A\n\n$x^2$ and [on](02_b.ipynb), [out](https://example.org)", "slide")]),
        "A & B",
    )
    assert "<title>A &amp; B</title>" in page and "<math" in page and "$x" not in page
    assert 'href="02_b.html"' in page
    loading = re.findall(r'(?:src|<link[^>]* href)="(?!data:)([^"]*)"|@import|url\((?!data:)', page)
    assert not loading
