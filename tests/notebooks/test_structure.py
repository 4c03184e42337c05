"""What every notebook of the course promises its reader, checked on the saved files."""

import re
import statistics
import subprocess
import sys

import nbtools
import pytest

NOTEBOOKS = nbtools.notebook_paths()  # raises when there is none: an empty course must not pass
CORE = ("00", "01", "02", "03", "04", "05", "06")
MUST_COMPARE = ("02", "06")  # the loss worked by hand, and the proof that the encoder stayed frozen


@pytest.fixture(params=NOTEBOOKS, ids=lambda p: p.stem)
def path(request):
    return request.param


@pytest.fixture
def notebook(path):
    return nbtools.read_notebook(path)


def code(notebook):
    """The code cells that are the course's: the one that installs it on the web is none of them."""
    cells = [c for c in notebook.cells if c.cell_type == "code" and c.source.strip()]
    return [c for c in cells if nbtools.INSTALL not in tags(c)]


def prose(notebook):
    return [c for c in notebook.cells if c.cell_type == "markdown"]


def tags(cell):
    return cell.metadata.get("tags", [])


def section(notebook, word):
    """The text under the heading that holds ``word``, up to the next heading of its level or above."""
    text = "\n\n".join(c.source for c in prose(notebook))
    heading = re.search(rf"^(#+) [^\n]*{word}[^\n]*$", text, re.IGNORECASE | re.MULTILINE)
    if heading is None:
        return None
    rest = text[heading.end() :]
    following = re.search(rf"^#{{1,{len(heading[1])}}} ", rest, re.MULTILINE)
    return rest[: following.start()] if following else rest


@pytest.mark.parametrize("number", CORE)
def test_the_core_notebooks_are_there(number):
    assert [p.stem for p in NOTEBOOKS if p.stem.startswith(number + "_")], f"notebook {number} is missing"


def test_opening_says_what_how_long_and_what_first(notebook):
    first_code = next(i for i, c in enumerate(notebook.cells) if c.cell_type == "code")
    opening = " ".join(c.source for c in notebook.cells[:first_code]).lower()
    assert opening.startswith("# ")
    for wanted in ("able to", "min", "prerequisite"):
        assert wanted in opening, f"the opening does not say {wanted!r}"


def test_the_install_cell_stands_before_the_set_up_and_says_nothing_where_it_is_not_needed(notebook):
    (number,) = (i for i, c in enumerate(notebook.cells) if nbtools.INSTALL in tags(c))
    cell, setup = notebook.cells[number : number + 2]
    assert cell.cell_type == "code" and cell.outputs == [] and "setup" in tags(setup)
    assert cell.source.count("simclr_edu") and len(cell.source.splitlines()) <= 12


def test_first_code_cell_is_the_set_up_and_prints_the_setting(notebook):
    first, *others = code(notebook)
    assert "setup" in tags(first) and "simclr_edu" in first.source
    assert not [c for c in others if "setup" in tags(c)], "there must be one set-up cell"
    printed = " ".join(o.get("text", "") for o in first.outputs).lower()
    for wanted in ("torch", "seed"):
        assert wanted in printed, f"the set-up cell does not print {wanted!r}"


def test_the_results_table_holds_no_row_of_a_later_notebook(path, notebook):
    pages = [o.get("data", {}).get("text/html", "") for c in code(notebook) for o in c.outputs]
    tables = [page for page in pages if "<caption>Results so far</caption>" in page]
    assert tables or path.stem[:2] not in CORE, "a core notebook ends with the table of results"
    for table in tables:
        header = re.findall(r"<th[^>]*>([^<]*)</th>", table.split("</thead>")[0])
        column = header.index("notebook") - 1  # a row's first cell is its name
        rows = [re.findall(r"<td[^>]*>([^<]*)</td>", row) for row in table.split("<tr>")[2:]]
        assert rows and max(row[column] for row in rows) <= path.stem[:2]


def test_sizes(path, notebook):
    lengths = [len(c.source.strip().splitlines()) for c in code(notebook)]
    assert statistics.median(lengths) <= 8, f"median code cell of {statistics.median(lengths):g} lines"
    assert max(lengths) <= 30, (
        f"a code cell of {max(lengths)} lines: {code(notebook)[lengths.index(max(lengths))].source}"
    )
    assert len(notebook.cells) - 1 <= 70, "at most 70 cells beside the one that installs the package"
    assert sum(len(c.source.split()) for c in prose(notebook)) <= 3000
    assert path.stat().st_size < 2_000_000


def test_executed_once_from_top_to_bottom(notebook):
    counts = [c.execution_count for c in code(notebook)]
    assert counts == list(range(1, len(counts) + 1))
    assert any(c.outputs for c in code(notebook))


def undefined_names(text):
    """Names that a program uses and never defines, by ruff."""
    command = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--isolated",
        "--select=F821",
        "--output-format=concise",
        "-",
    ]
    ran = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert ran.returncode in (0, 1), ran.stderr
    return re.findall(r"Undefined name `(\w+)`", ran.stdout)


def test_any_section_runs_right_after_the_set_up(notebook):
    setup, sections = code(notebook)[0].source, {}
    for cell in notebook.cells[notebook.cells.index(code(notebook)[0]) + 1 :]:
        if cell.cell_type == "markdown" and (heading := re.match(r"## .+", cell.source)):
            sections[heading[0]] = [setup]
        elif cell.cell_type == "code":
            list(sections.values())[-1].append(cell.source)
    assert len(sections) > 3
    lacking = {name: undefined_names("\n".join(cells)) for name, cells in sections.items()}
    assert not {name: names for name, names in lacking.items() if names}


def test_a_name_of_another_section_is_seen():
    assert undefined_names("import torch\nprint(torch.ones(n), [k for k in (1, 2)])") == ["n"]


def test_no_error_warning_or_machine_path(notebook):
    assert nbtools.output_problems(notebook) == []
    for cell in notebook.cells:
        assert not nbtools.MACHINE_PATH.search(cell.source), cell.source


def test_closing_sections(notebook):
    assert section(notebook, "recap"), "no recap"
    questions = section(notebook, "interview")
    assert questions, "no interview questions"
    assert questions.count("<details>") >= 3, "three questions, each with its answer folded, are wanted"
    assert section(notebook, "sources"), "no sources"


def test_folds_are_closed_and_pictures_have_alt_text(notebook):
    for cell in prose(notebook):
        assert cell.source.count("<details>") == cell.source.count("</details>"), cell.source
        assert "![](" not in cell.source, cell.source
        for image in re.findall(r"<img\b[^>]*>", cell.source):
            assert re.search(r"""\balt=["'][^"']""", image), image


def test_compared_cells_have_something_to_compare(path, notebook):
    compared = [c for c in code(notebook) if "nbval-check-output" in tags(c)]
    for cell in compared:
        assert [o for o in cell.outputs if "text" in o or "text/plain" in o.get("data", {})], cell.source
    if path.stem.startswith(MUST_COMPARE):
        assert compared, "no cell is tagged nbval-check-output"


def test_every_exercise_is_a_stub_a_check_and_two_folds(notebook):
    cells = notebook.cells
    stubs = [i for i, c in enumerate(cells) if "exercise" in tags(c)]
    for i in stubs:
        assert cells[i].cell_type == "code" and "def " in cells[i].source
        check, folds = cells[i + 1 : i + 3]
        assert check.cell_type == "code" and "exercises.check_" in check.source
        assert folds.cell_type == "markdown"
        for wanted in ("<summary>Hint</summary>", "<summary>Solution</summary>", "```python"):
            assert wanted in folds.source, f"{wanted} is missing after {check.source}"
        printed = " ".join(o.get("text", "") for o in check.outputs).lower()
        assert "not attempted" in printed, f"the unattempted {check.source} printed {printed!r}"
    checks = [i for i, c in enumerate(cells) if c.cell_type == "code" and "exercises.check_" in c.source]
    assert checks == [i + 1 for i in stubs], "a check cell stands right under each stub and nowhere else"
