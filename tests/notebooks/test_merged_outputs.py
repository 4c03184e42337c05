"""Saved outputs stay with the code that printed them and leave with it, however small the change."""

import nbtools
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

# Each pair is taken for the same cell, or for the next best one, where outputs are matched loosely.
CHANGED = [
    ("area(1)", "area(2)"),
    ("print(1, 2)", "print(12)"),
    ("print('a b')", "print('ab')"),
    ("x = (1)", "x = 1"),
    ("x = 1\nprint(x)", "print(x)"),
    ("print(x)", "print(x)  # now"),
    ("f(x)", "f(x);"),
    ("f(x)", ""),
]


def merged(saved: list[str], fresh: list[str]) -> list[list[str]]:
    """The outputs of the cells ``fresh``, when each cell of ``saved`` had printed its own text."""
    cells = [new_code_cell(text, outputs=[new_output("stream", text=text)]) for text in saved]
    notebook = nbtools.merge_outputs(
        new_notebook(cells=[new_code_cell(text) for text in fresh]), new_notebook(cells=cells)
    )
    return [[output.text for output in cell.outputs] for cell in notebook.cells]


@pytest.mark.parametrize(("before", "after"), [*CHANGED, *(pair[::-1] for pair in CHANGED)])
def test_changed_code_has_no_output_and_its_neighbours_keep_theirs(before, after):
    assert merged([before], [after]) == [[]]
    assert merged(["a", before, "b"], ["a", after, "b"]) == [["a"], [], ["b"]]
    assert merged(["a", before, "b"], ["b", after, "a"]) == [["b"], [], ["a"]]


def test_cells_with_the_same_text_keep_their_order():
    first, second = (new_code_cell("x", outputs=[new_output("stream", text=t)]) for t in ("first", "second"))
    fresh = new_notebook(cells=[new_code_cell("x") for _ in range(3)])
    cells = nbtools.merge_outputs(fresh, new_notebook(cells=[first, second])).cells
    assert [[output.text for output in cell.outputs] for cell in cells] == [["first"], ["second"], []]
