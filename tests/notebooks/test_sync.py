"""Every notebook says what its source says, and the tools that keep it so do what they promise."""

import copy

import nbtools
import pytest
import sync
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

NOTEBOOKS = nbtools.notebook_paths()  # raises when there is none: an empty course must not pass

SOURCE = """\
# %% [markdown] slideshow={"slide_type": "slide"}
# # Title
#
# Text with $x^2$ and a [link](https://example.org).

# %% tags=["setup"]
import math


# %% tags=["nbval-check-output"] slideshow={"slide_type": "subslide"}
def area(r):
    return math.pi * r**2


area(1)

# %%
# %matplotlib inline
x = 1

# %%
x = 1
"""


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_and_source_agree(path):
    assert nbtools.difference(path) is None


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "00_toy.py").write_text(SOURCE, encoding="utf-8")
    assert sync.main(["--folder", str(tmp_path)]) == 0
    return tmp_path


def check(folder):
    return sync.main(["--check", "--folder", str(folder)])


def save_outputs(folder):
    path = folder / "00_toy.ipynb"
    notebook = nbtools.read_notebook(path)
    for count, cell in enumerate((c for c in notebook.cells if c.cell_type == "code"), start=1):
        cell.execution_count = count
        cell.outputs = [new_output("stream", name="stdout", text=f"output {count}\n")]
    nbtools.write_notebook(notebook, path)
    return notebook


def test_source_notebook_source_is_the_identity(folder):
    path = folder / "00_toy.ipynb"
    assert sync.to_source(path) is False
    assert nbtools.source_path(path).read_text(encoding="utf-8") == SOURCE
    assert check(folder) == 0


def test_tags_and_slides_survive_and_ids_are_unique(folder):
    cells = nbtools.read_notebook(folder / "00_toy.ipynb").cells
    assert cells[0].metadata == {"slideshow": {"slide_type": "slide"}}
    assert cells[2].metadata == {"slideshow": {"slide_type": "subslide"}, "tags": ["nbval-check-output"]}
    assert len({c.id for c in cells}) == len(cells) == 5
    assert cells[3].source.startswith("%matplotlib inline")


def test_sync_keeps_outputs_of_unchanged_code_and_drops_the_others(folder):
    save_outputs(folder)
    source = folder / "source" / "00_toy.py"
    source.write_text(SOURCE.replace("area(1)", "area(2)").replace("Text", "Prose"), encoding="utf-8")
    assert check(folder) == 1
    sync.main(["--folder", str(folder)])
    cells = nbtools.read_notebook(folder / "00_toy.ipynb").cells
    outputs = [[o.text for o in c.outputs] for c in cells if c.cell_type == "code"]
    assert outputs == [["output 1\n"], [], ["output 3\n"], ["output 4\n"]]
    assert "Prose" in cells[0].source and check(folder) == 0


def test_an_inserted_cell_changes_no_other_id(folder):
    before = [c.id for c in nbtools.read_notebook(folder / "00_toy.ipynb").cells]
    source = folder / "source" / "00_toy.py"
    source.write_text("# %%\ny = 2\n\n" + SOURCE, encoding="utf-8")
    sync.main(["--folder", str(folder)])
    assert [c.id for c in nbtools.read_notebook(folder / "00_toy.ipynb").cells][1:] == before


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("# # Title", "# # Another title"),
        lambda text: text.replace('tags=["setup"]', ""),
        lambda text: text.replace("x = 1\n\n", "x = 2\n\n"),
        lambda text: text + "\n# %%\nz = 1\n",
        lambda text: text.replace("# %%\nx = 1\n", ""),
    ],
    ids=["prose", "tag", "code", "cell added", "cell removed"],
)
def test_check_sees_every_kind_of_difference(folder, change):
    source = folder / "source" / "00_toy.py"
    assert change(SOURCE) != SOURCE
    source.write_text(change(SOURCE), encoding="utf-8")
    assert check(folder) == 1


def test_check_fails_without_notebooks_and_without_a_partner(folder, tmp_path_factory):
    assert check(tmp_path_factory.mktemp("empty")) == 1
    (folder / "source" / "00_toy.py").unlink()
    assert check(folder) == 1


def test_check_sees_metadata_that_must_not_be_saved(folder):
    path = folder / "00_toy.ipynb"
    notebook = nbtools.read_notebook(path)
    notebook.cells[1].metadata["execution"] = {"iopub.execute_input": "2026-01-01T00:00:00Z"}
    nbtools.write_notebook(notebook, path)
    assert check(folder) == 1


def test_normalise_twice_is_once_and_widgets_become_text():
    widget = {nbtools.WIDGET_VIEW: {"model_id": "abc"}, "text/plain": "interactive(children=())"}
    streams = [new_output("stream", name="stdout", text=t) for t in ("a\n", "b\n")]
    cells = [
        new_code_cell("w", outputs=[*streams, new_output("display_data", data=widget)]),
        new_markdown_cell("m"),
    ]
    once = nbtools.normalise(new_notebook(cells=cells, metadata={"widgets": {}}))
    assert [o.get("text") or o.data for o in once.cells[0].outputs] == [
        "a\nb\n",
        {"text/plain": nbtools.WIDGET_TEXT},
    ]
    assert nbtools.normalise(copy.deepcopy(once)) == once and "widgets" not in once.metadata


@pytest.mark.parametrize(
    "output",
    [
        new_output("stream", name="stderr", text="UserWarning: x\n"),
        new_output("stream", name="stdout", text="saved to /home/me/runs\n"),
        new_output("stream", name="stdout", text=f"saved to {nbtools.ROOT / 'runs'}\n"),
        new_output("execute_result", data={"text/plain": "PosixPath('/tmp/x')"}),
        new_output("error", ename="ValueError", evalue="no", traceback=[]),
    ],
)
def test_outputs_that_must_not_be_saved_are_found(output):
    assert len(nbtools.output_problems(new_notebook(cells=[new_code_cell("x", outputs=[output])]))) == 1


@pytest.mark.parametrize(
    "text", ["3/4 of a/tmp/b", "https://example.org/home/x", "train/test/0.5", "arXiv 2002.05709"]
)
def test_harmless_outputs_pass(text):
    output = new_output("stream", name="stdout", text=text)
    assert nbtools.output_problems(new_notebook(cells=[new_code_cell("x", outputs=[output])])) == []


def test_names_pick_notebooks():
    first = NOTEBOOKS[0]
    for name in (
        first.stem,
        first.stem.split("_")[0],
        f"notebooks/{first.name}",
        f"notebooks/source/{first.stem}.py",
    ):
        assert nbtools.notebook_paths([name]) == [first]
    with pytest.raises(nbtools.NotebookProblem, match="must name one notebook"):
        nbtools.notebook_paths(["no_such_notebook"])
