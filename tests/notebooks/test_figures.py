"""A figure is stored once: README.md, docs, interview.toml and notebooks quote it as its run has it.

The second half makes each mistake on purpose, in a small course, and wants a sentence that names the place.
"""

import json
from dataclasses import asdict

import figures
import nbformat
import nbtools
import pytest
from figures import FigureProblem, Figures

from simclr_edu.course import interview
from simclr_edu.course.evidence import few_labels


@pytest.fixture(scope="module")
def course():
    return Figures()


def names(paths):
    return [path.relative_to(nbtools.ROOT).as_posix() for path in paths]


@pytest.mark.parametrize("path", Figures().texts, ids=lambda path: path.name)
def test_texts_quote_the_runs(course, path):
    assert not list(course.text_problems(path))


def test_cards_quote_the_runs_and_notebook_10_shows_them(course):
    assert not list(course.card_problems())


def test_quiz_and_mock_interview_of_notebook_10_are_todays(course):
    shown = course.outputs("10")
    assert interview.quiz(count=10, seed=0)._repr_html_() in shown, "run notebook 10 again: its quiz is stale"
    assert interview.mock_interview(seed=0)._repr_html_() in shown, "run notebook 10 again: it is stale"


def test_a_row_is_the_same_in_every_table_of_results(course):
    assert not list(course.row_problems())


def test_the_tables_of_the_readme_are_filled_in_and_every_document_is_looked_at(course):
    assert {"README.md", "docs/teaching.md", "docs/distributed.md"} <= set(names(course.texts))
    blocks = list(figures.BLOCK.finditer((nbtools.ROOT / "README.md").read_text(encoding="utf-8")))
    assert {"few labels", "rows of 06"} <= {block["where"] or block["origin"] for block in blocks}


# --- the comparison itself ----------------------------------------------------------------------------------

README = """# A course

## Results

Python 3.11, 2,000 pictures, `0.5` in code. The probe reaches 97.5%<!-- 06: SimCLR +linear +([\\d.]+) -->, kNN
some 97%<!-- 06: SimCLR .* kNN +([\\d.]+) -->, the paper 69.3%<!-- source: Chen et al. 2020, Table 6 -->.
Ten labels a class: 95.0%<!-- few_labels: 10 / linear probe / mean -->, ahead
by +11.2 points<!-- few_labels: 10 / lead -->.

<!-- rows of 06: raw pixels, SimCLR -->
<!-- end -->

<!-- few labels -->
<!-- end -->

<!-- source: make bench -->

| faster | 4.6 x |

<!-- end -->

## More

40% of this claims nothing.
"""
CARD = """
[[questions]]
id = "{id}"
topic = "t"
depth = "30 s"
part = "warm-up"
question = "Why?"
answer = "It has 97.5% with all labels, `97.5` in code, 95.0% with ten; the paper 69.3%, another 197.5%."
rubric = ["97.5% is said", "two"]
follow_ups = [["And?", "So."]]
link = "06_linear_probe#Recap"
figures = [
  {{ text = "97.5%", notebook = "06_linear_probe", pattern = 'SimCLR +linear +(97.5|[\\d.]+)%' }},
  {{ text = "95.0%", results = "few_labels", path = "10 / linear probe / mean" }},
  {{ text = "69.3%", source = "Chen et al. 2020, Table 6" }},
]
"""
TABLE = """|  | linear probe (%) | kNN (%) | trained with labels (%) | notebook | profile | seed |
| --- | ---: | ---: | ---: | ---: | ---: | ---: |
| raw pixels | 20.9 | 71.9 | – | 00 | laptop | 0 |
| SimCLR | 97.5 | 96.6 | – | 06 | laptop | 0 |
"""
MEANS = {few_labels.PROBE: 0.95, few_labels.TUNED: 0.96, few_labels.SCRATCH: 0.838, few_labels.LIGHT: 0.146}


def save(root, name, *outputs):
    cell = nbformat.v4.new_code_cell("1", execution_count=1)
    cell.outputs = [
        nbformat.v4.new_output("display_data", {kind: text})
        if kind
        else nbformat.v4.new_output("stream", text=text)
        for kind, text in outputs
    ]
    notebook = nbtools.normalise(nbformat.v4.new_notebook(cells=[cell]))
    nbtools.write_notebook(notebook, root / "notebooks" / f"{name}.ipynb")


def save_results(root, shift=0.0):
    config = few_labels.FewLabels(budgets=(10,), draws=2, seeds=(0,))
    accuracy = {
        part.key: MEANS[part.method] + (shift if part.method == few_labels.PROBE else 0)
        for part in few_labels.parts(config)
    }
    results = {"config": asdict(config), "machine": {}, "date": "", "accuracy": accuracy}
    path = root / "simclr_edu" / "assets" / "few_labels.json"
    path.write_text(json.dumps(results), encoding="utf-8")


def save_cards(root):
    path = root / "simclr_edu" / "assets" / "interview.toml"
    path.write_text('topics = ["t"]\n' + CARD.format(id="one"), encoding="utf-8")


def show_cards(root):
    cards = interview.load(root / "simclr_edu" / "assets" / "interview.toml")
    save(root, "10_interview", ("text/html", "".join(map(interview.answer_html, cards))))


def edit(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.fixture
def small(tmp_path):
    """A course of one README, two notebooks with tables and one card, in which all agrees."""
    for folder in ("docs", "notebooks/source", "simclr_edu/assets"):
        (tmp_path / folder).mkdir(parents=True)
    save_results(tmp_path)
    save(
        tmp_path,
        "00_start",
        ("text/markdown", TABLE.replace("| SimCLR | 97.5 | 96.6 | – | 06 | laptop | 0 |\n", "")),
    )
    save(tmp_path, "06_probe", (None, "SimCLR   linear  97.5%   kNN  96.6%\n"), ("text/markdown", TABLE))
    save_cards(tmp_path)
    edit(
        tmp_path / "simclr_edu/assets/interview.toml", 'notebook = "06_linear_probe"', 'notebook = "06_probe"'
    )
    show_cards(tmp_path)
    (tmp_path / "docs" / "teaching.md").write_text("Half an hour.\n", encoding="utf-8")
    (tmp_path / "README.md").write_text(Figures(tmp_path).fill(README), encoding="utf-8")
    assert Figures(tmp_path).problems() == []
    return tmp_path


def test_tables_are_filled_in(small):
    text = (small / "README.md").read_text(encoding="utf-8")
    assert "\n| SimCLR | 97.5 | 96.6 |\n\n<!-- end -->" in text
    assert "| 10 | 95.0 ± 0.0 | 96.0 ± 0.0 | 83.8 ± 0.0 | 14.6 ± 0.0 | +11.2 ± 0.0 |" in text
    assert Figures(small).fill(text) == text


MISTAKES = [
    ("README.md", "reaches 97.5%", "reaches 97.6%", "README.md, line 5: says 97.6%, 06 has 97.5%"),
    ("README.md", "95.0%<", "95.1%<", "README.md, line 7: says 95.1%, few_labels has 95.0%"),
    (
        "README.md",
        "+11.2 points",
        "+12 points",
        "README.md, line 8: says +12 points, few_labels has +11 points",
    ),
    ("README.md", "| SimCLR | 97.5 |", "| SimCLR | 97.9 |", "README.md, line 10: the table 'rows of 06"),
    ("README.md", "83.8 ±", "73.8 ±", "README.md, line 19: the table 'few labels' is not"),
    ("README.md", "The probe", "Beside 33.7%, the probe", "README.md, line 5: 33.7% has no origin"),
    ("README.md", "The probe", "Beside 33.7, the probe", "README.md, line 5: 33.7 has no origin"),
    ("README.md", "<!-- source: make bench -->", "", "README.md, line 29: 4.6 has no origin"),
    (
        "README.md",
        "Table 6",
        "Table 7",
        "line 6: 69.3%: 'Chen et al. 2020, Table 7' is not one of the sources",
    ),
    ("README.md", "<!-- 06: SimCLR +linear", "<!-- 06: SimClr +linear", "notebook 06 does not print 'SimClr"),
    ("README.md", "<!-- 06: SimCLR +linear", "<!-- 07: SimCLR +linear", "'07' must name one notebook"),
    ("README.md", "10 / lead -", "11 / lead -", "few_labels.json holds no '11 / lead'"),
    ("README.md", "10 / lead -", "10 -", "few_labels.json has no number at '10', but a dict"),
    ("README.md", "raw pixels, SimCLR -->", "raw pixels, BYOL -->", "06 have no row 'BYOL'"),
    ("README.md", "## Results", "## Figures", "README.md, line 1: what should stand under"),
    ("docs/teaching.md", "Half", "50% of", "docs/teaching.md, line 1: 50% has no origin"),
    (
        "simclr_edu/assets/interview.toml",
        'text = "95.0%"',
        'text = "95.9%"',
        "card one: says 95.9%, few_labels has",
    ),
    (
        "simclr_edu/assets/interview.toml",
        'path = "10 /',
        'path = "all /',
        "card one: 95.0%: few_labels.json holds no",
    ),
    (
        "simclr_edu/assets/interview.toml",
        "with ten",
        "with nine",
        "notebook 10 shows other texts than interview.toml of one",
    ),
]


@pytest.mark.parametrize(("file", "old", "new", "said"), MISTAKES, ids=[m[3] for m in MISTAKES])
def test_a_mistake_in_a_text_is_found_and_its_place_named(small, file, old, new, said):
    edit(small / file, old, new)
    problems = Figures(small).problems()
    assert any(said in problem for problem in problems), problems


def test_a_notebook_that_was_run_again_makes_its_quotations_stale(small):
    edit(small / "notebooks" / "06_probe.ipynb", "linear  97.5%", "linear  98.1%")
    assert Figures(small).problems() == [
        "README.md, line 5: says 97.5%, 06 has 98.1%",
        "card one: says 97.5%, 06_probe has 98.1%",
    ]
    edit(small / "notebooks" / "06_probe.ipynb", "| raw pixels | 20.9", "| raw pixels | 20.8")
    (problem,) = Figures(small).row_problems()
    assert problem.startswith("notebook 06: the row 'raw pixels' differs from notebook 00")


def test_a_notebook_that_quotes_another_is_compared_too(small):
    path = small / "notebooks" / "source" / "06_probe.py"
    path.write_text(
        "# %% [markdown]\n# It was 20.8%<!-- 00: raw pixels . ([\\d.]+) --> there.\n", encoding="utf-8"
    )
    assert Figures(small).problems() == ["notebooks/source/06_probe.py, line 2: says 20.8%, 00 has 20.9%"]


def test_what_a_new_run_changed_is_put_in(small, monkeypatch, capsys):
    edit(small / "notebooks" / "06_probe.ipynb", "linear  97.5%", "linear  98.1%")
    save_results(small, shift=-0.06)
    monkeypatch.setattr(figures, "Figures", lambda: Figures(small))
    assert figures.main(["--check"]) == 1
    assert "card one: says 97.5%, 06_probe has 98.1%" in capsys.readouterr().out
    assert figures.main([]) == 1  # the cards of notebook 10 are left: it has to be run
    assert "card one: 97.5% -> 98.1%, 95.0% -> 89.0%\nRead" in capsys.readouterr().out
    readme = (small / "README.md").read_text(encoding="utf-8")
    assert "reaches 98.1%<" in readme and "89.0%<" in readme and "+5.2 points<" in readme
    card = (small / "simclr_edu" / "assets" / "interview.toml").read_text(encoding="utf-8")
    assert "It has 98.1% with all labels, `97.5` in code, 89.0% with ten" in card
    assert "another 197.5%" in card and "(97.5|" in card and '"98.1% is said"' in card
    show_cards(small)
    assert figures.main(["--check"]) == 0


def test_one_text_for_two_figures_that_part_is_left_to_a_person(small):
    path = small / "simclr_edu" / "assets" / "interview.toml"
    edit(
        path,
        '"69.3%", source = "Chen et al. 2020, Table 6"',
        '"97.5%", notebook = "06", pattern = "kNN +([\\\\d.]+)"',
    )
    with pytest.raises(
        FigureProblem, match="card one: 97.5% stands for 2 figures that are now 96.6% and 97.5%"
    ):
        Figures(small).fill_cards(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("value", "like", "wanted"),
    [
        (98.14, "97.5%", "98.1%"),
        (1234.4, "1,024", "1,234"),
        (-1.26, "+4.9 points", "-1.3 points"),
        (3.0, "-1.4", "3.0"),
    ],
)
def test_a_figure_is_written_like_the_old_one(value, like, wanted):
    assert figures.written(value, like) == wanted and figures.same(value, wanted)
