"""Every folded Solution passes the check above it, and every stub is told apart from an attempt."""

import copy
import functools
import linecache
import re

import nbtools
import pytest

from simclr_edu import data

NOTEBOOKS = nbtools.notebook_paths()  # raises when there is none: an empty course must not pass
SOLUTION = re.compile(r"<details>\s*<summary>Solution</summary>(.*?)</details>", re.DOTALL)
CODE = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


def exercises():
    """Yield one case per exercise: set-up cell, stub, check and folded solution, as text."""
    for path in NOTEBOOKS:
        if not path.exists():
            continue  # test_sync says so
        cells = nbtools.read_notebook(path).cells
        setup = next((c.source for c in cells if "setup" in c.metadata.get("tags", [])), "")
        stubs = [i for i, c in enumerate(cells) if "exercise" in c.metadata.get("tags", [])]
        for i in stubs:
            folds = SOLUTION.search(cells[i + 2].source)
            solution = "\n".join(CODE.findall(folds[1])) if folds else ""
            name = re.search(r"check_(\w+)", cells[i + 1].source)
            yield pytest.param(
                setup,
                cells[i].source,
                cells[i + 1].source,
                solution,
                id=f"{path.stem}-{name[1] if name else i}",
            )


EXERCISES = list(exercises())
load_once = functools.cache(data.load_images)


@pytest.fixture(autouse=True)
def _drawn_once(monkeypatch):
    """Most of a set-up cell's time is spent drawing its data set: each test gets a copy of its own."""
    monkeypatch.setattr(
        data.load, "load_images", lambda *args, **named: copy.deepcopy(load_once(*args, **named))
    )


def verdict(capsys, monkeypatch, *texts):
    """Execute cells in one namespace, as a kernel does; return what the last one printed, lower case."""
    monkeypatch.chdir(nbtools.NOTEBOOKS)
    namespace = {"__name__": "__main__"}
    for number, text in enumerate(texts):
        name = f"<cell {number}>"
        # As a kernel does: a check may read the source of the learner's function.
        monkeypatch.setitem(linecache.cache, name, (len(text), None, text.splitlines(keepends=True), name))
        capsys.readouterr()
        exec(compile(text, name, "exec"), namespace)
    return capsys.readouterr().out.lower()


def test_there_are_exercises():
    assert EXERCISES


@pytest.mark.parametrize(("setup", "stub", "check", "solution"), EXERCISES)
def test_the_solution_passes(capsys, monkeypatch, setup, stub, check, solution):
    assert solution.strip(), "the Solution holds no python block"
    said = verdict(capsys, monkeypatch, setup, stub, solution, check)
    assert re.search(r": correct\b", said) and not re.search(r"not yet|not attempted", said), said


@pytest.mark.parametrize(("setup", "stub", "check", "solution"), EXERCISES)
def test_the_stub_is_not_attempted(capsys, monkeypatch, setup, stub, check, solution):
    said = verdict(capsys, monkeypatch, setup, stub, check)
    assert "not attempted" in said and ": correct" not in said, said
