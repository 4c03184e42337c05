"""How hard an exercise is and how many minutes it takes stands in the exercise; every other place agrees."""

import re

import nbtools
import pytest

from simclr_edu.course.exercises import EXERCISES, bug_hunt, check_bug_hunt

NOTEBOOKS = nbtools.notebook_paths()
STATED = re.compile(r"[Dd]ifficulty (\d) of 5, (\d+) min\b")
CHECK = re.compile(r"exercises\.check_(\w+)\((\d*)")
ROOT = nbtools.NOTEBOOKS.parent


def efforts(cells):
    """For each exercise of a notebook: the exercise, and the (difficulty, minutes) last stated above it."""
    found, stated = [], None
    for cell in cells:
        if cell.cell_type == "markdown":
            stated = next(reversed(STATED.findall(cell.source)), stated)
        elif called := CHECK.search(cell.source):
            name, number = called.groups()
            exercise = bug_hunt.EXERCISES[int(number)] if name == "bug_hunt" else EXERCISES[name]
            found.append((exercise, stated))
            if name != "bug_hunt":  # ten with one statement above them
                stated = None
    return found


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_states_what_its_exercises_say(path):
    cells = nbtools.read_notebook(path).cells
    for exercise, stated in efforts(cells):
        assert stated is not None, f"{exercise.name}: the text above states no difficulty and minutes"
        assert stated == (str(exercise.difficulty), str(exercise.minutes)), exercise.name


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_opening_adds_them_up(path):
    cells = nbtools.read_notebook(path).cells
    total = sum(exercise.minutes for exercise, _ in efforts(cells))
    stated = re.search(r"\*\*Time:?\*\*:? [^\n]*?(\d+) min for the exercises", cells[0].source)
    assert (int(stated[1]) if stated else 0) == total


def test_all_exercises_of_the_core_notebooks_are_in_a_notebook():
    shown = {e.name for path in NOTEBOOKS for e, _ in efforts(nbtools.read_notebook(path).cells)}
    assert set(EXERCISES) - shown == {"cosine_similarity_matrix"}  # bug 3 is made of it


def test_a_statement_that_disagrees_or_is_missing_is_seen():
    class Cell:
        def __init__(self, kind, source):
            self.cell_type, self.source = kind, source

    check = Cell("code", "exercises.check_freeze(f)")
    ((exercise, stated),) = efforts([Cell("markdown", "Difficulty 1 of 5, 9 min, two lines."), check])
    assert exercise.name == "freeze" and stated == ("1", "9") != ("1", str(exercise.minutes))
    assert efforts([check])[0][1] is None


@pytest.mark.parametrize("exercise", EXERCISES.values(), ids=lambda e: e.name)
def test_the_check_says_it_too(exercise):
    said = f"Difficulty {exercise.difficulty} of 5, {exercise.minutes} minutes."
    assert 1 <= exercise.difficulty <= 5 and said in " ".join(exercise.check.__doc__.split())


def test_the_bugs_of_the_hunt_are_equally_hard():
    ((difficulty, minutes),) = {(e.difficulty, e.minutes) for e in bug_hunt.EXERCISES.values()}
    text = " ".join(check_bug_hunt.__doc__.split())
    assert f"Difficulty {difficulty} of 5, {minutes} minutes each." in text


def test_the_table_of_the_readme_gives_the_minutes_of_the_openings():
    rows = re.findall(
        r"^\| \[.*?\]\(notebooks/(\w+)\.ipynb\) .*\| (\d+) min \| [^|]+ \|$",
        (ROOT / "README.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert len(rows) >= 7
    for name, minutes in rows:
        opening = nbtools.read_notebook(nbtools.NOTEBOOKS / f"{name}.ipynb").cells[0].source
        assert re.search(rf"\*\*Time:?\*\*:? {minutes} min to read", opening), name


def test_what_the_teaching_guide_says_of_the_minutes_holds():
    text = (ROOT / "docs" / "teaching.md").read_text(encoding="utf-8")
    assert "most of them three to ten" in text
    within = [3 <= e.minutes <= 10 for e in EXERCISES.values()]
    assert sum(within) > 0.9 * len(within)
