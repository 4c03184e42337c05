"""The tools that execute and render notebooks: what they save, what they refuse, what they say."""

import json
import os
import subprocess

import check
import course
import lab
import markup
import nbtools
import pytest
import run_notebooks
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

WIDGET_ERROR = """
from ipywidgets import interact

def show(x):
    if x == 1:
        raise ValueError("the widget broke")

interact(show, x=1);
"""
FAILING = {
    "error": ("1 / 0", "ZeroDivisionError"),
    "warning": ("import sys\nprint('careful', file=sys.stderr)", "wrote to the error stream: careful"),
    "path": ("import os\nprint(os.getcwd())", "shows a path of this machine"),
    "widget": (WIDGET_ERROR, "a widget shows an error or a warning: the widget broke"),
}


def folder_with(tmp_path, **sources):
    (tmp_path / "source").mkdir()
    for number, (name, text) in enumerate(sources.items()):
        source = tmp_path / "source" / f"{number:02}_{name}.py"
        source.write_text(f"# %% [markdown]\n# # Notebook {name}\n\n# %%\n{text}\n", encoding="utf-8")
    return tmp_path


RECORD = """import json, os, pathlib
home = pathlib.Path(os.environ["SIMCLR_EDU_HOME"])
rows = json.loads((home / "results.json").read_text())
print(sorted(rows), sorted(p.name for p in home.iterdir()))
(home / "a run of my own").touch()
rows["row NUMBER"] = {"notebook": "NUMBER"}
(home / "results.json").write_text(json.dumps(rows))"""


@pytest.mark.slow
def test_a_notebook_runs_with_the_rows_of_those_before_it_and_no_other_trace_of_them(tmp_path):
    sources = {
        name: RECORD.replace("NUMBER", f"{k:02}") for k, name in enumerate(("first", "second", "third"))
    }
    folder, home = folder_with(tmp_path, **sources), tmp_path / "home"
    arguments = ["--folder", str(folder), "--home", str(home)]
    for extra in (["--fresh"], ["01"], []):  # all, one again, all again: the same each time
        assert run_notebooks.main([*extra, *arguments]) == 0
        notebooks = [nbtools.read_notebook(p) for p in nbtools.notebook_paths(folder=folder)]
        printed = [n.cells[1].outputs[0].text for n in notebooks]
        rows = (["row 00", "row 01"][:k] for k in range(3))
        assert printed == [f"{before} ['results.json']\n" for before in rows]
        assert [n.cells[1].execution_count for n in notebooks] == [1, 1, 1]
        assert sorted(json.loads((home / "results.json").read_text())) == ["row 00", "row 01", "row 02"]
    assert [nbtools.difference(p) for p in nbtools.notebook_paths(folder=folder)] == [None] * 3


@pytest.mark.parametrize("kind", FAILING)
def test_run_refuses_to_save(tmp_path, capsys, kind):
    text, complaint = FAILING[kind]
    folder = folder_with(tmp_path, broken=text)
    assert run_notebooks.main(["--folder", str(folder), "--home", str(tmp_path / "home")]) == 1
    assert complaint in capsys.readouterr().err
    assert not (folder / "00_broken.ipynb").exists()


def test_fresh_needs_a_home_to_delete(tmp_path):
    with pytest.raises(SystemExit):
        run_notebooks.main(["--folder", str(tmp_path), "--fresh"])


@pytest.mark.parametrize(
    "text",
    ["costs $5 and $6", "`$x$` is code", "```\n$x$\n```", r"an escaped \$x\$", "no formula"],
)
def test_text_without_formulas_is_left_alone(text):
    assert markup.with_mathml(text) == text


def test_formulas_become_mathml():
    text = markup.with_mathml("a $\\tau$ of $1/2$\n\n$$\nx^2\n$$\n")
    assert text.count("<math") == 3 and text.count('display="block"') == 1 and "$" not in text


def test_a_page_loads_nothing_from_the_network_and_links_to_pages():
    cells = [
        new_markdown_cell("# A\n\n[on](02_b.ipynb#x) [out](https://example.org/c.ipynb)"),
        new_code_cell("1"),
    ]
    page = course.page(nbtools.normalise(new_notebook(cells=cells)), "A")
    assert "<script src" not in page and "<link" not in page
    assert 'href="02_b.html#x"' in page and 'href="https://example.org/c.ipynb"' in page


def test_without_chromium_the_browser_step_is_skipped_but_fails_in_ci(monkeypatch):
    step = ("browser", check.PARTS["browser"])
    monkeypatch.setattr(check.shutil, "which", lambda name: None)
    monkeypatch.delenv("CI", raising=False)
    assert check.run_step(*step) == ("skipped: there is no Chromium on this machine", 0.0)
    monkeypatch.setenv("CI", "true")
    assert check.run_step(*step) == ("FAILED: there is no Chromium on this machine", 0.0)
    assert check.missing("unit") is None


def test_lab_finds_the_course_s_extension_and_keeps_the_reader_s_path(monkeypatch):
    monkeypatch.setenv("JUPYTER_PATH", "mine")
    first, second = lab.environment()["JUPYTER_PATH"].split(os.pathsep)
    assert second == "mine"
    (description,) = (lab.EXTENSIONS / "labextensions").glob("*/package.json")
    assert first == str(lab.EXTENSIONS)
    build = json.loads(description.read_text(encoding="utf-8"))["jupyterlab"]["_build"]
    assert (description.parent / build["load"]).exists()
    monkeypatch.delenv("JUPYTER_PATH")
    assert lab.environment()["JUPYTER_PATH"] == str(lab.EXTENSIONS)


@pytest.mark.parametrize("told", [None, "elsewhere"])
def test_lab_keeps_results_where_any_other_way_to_open_a_notebook_does(told, monkeypatch):
    calls = []

    def run(command, env, check):
        calls.append((command, env))
        return subprocess.CompletedProcess(command, 7)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.delenv("SIMCLR_EDU_HOME", raising=False)
    if told:
        monkeypatch.setenv("SIMCLR_EDU_HOME", told)
    assert lab.main(["--no-browser"]) == 7
    ((command, env),) = calls
    assert command[-1] == "--no-browser" and f"--notebook-dir={nbtools.NOTEBOOKS}" in command
    assert env.get("SIMCLR_EDU_HOME") == told
