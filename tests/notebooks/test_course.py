"""`make course`: it goes on where it stopped, keeps what is done, and says what failed."""

import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import time

import course
import course_state
import kernels
import nbtools
import progress
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from simclr_edu import _locks

NAMES = ("00_first", "01_second", "02_third")


def notebook(name, code="x = 1", printed="as saved\n"):
    cell = new_code_cell(code, outputs=[new_output("stream", name="stdout", text=printed)])
    return nbtools.normalise(new_notebook(cells=[new_markdown_cell(f"# Notebook {name}"), cell]))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A course of three notebooks, a build folder and a home of its own."""
    monkeypatch.setattr(course, "BUILD", tmp_path / "build")
    monkeypatch.setenv("SIMCLR_EDU_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SIMCLR_EDU_PROFILE", "laptop")
    monkeypatch.setattr(course, "ROWS", ())
    (tmp_path / "notebooks").mkdir()
    for name in NAMES:
        nbtools.write_notebook(notebook(name), tmp_path / "notebooks" / f"{name}.ipynb")
    return tmp_path / "notebooks"


@pytest.fixture
def runs(monkeypatch):
    """In place of kernels: the names of what was run, in order; ``runs.fail`` says what a notebook does."""

    class Runs(list):
        def __init__(self):
            self.fail = {}

    log = Runs()

    def execute(notebook, *, home, folder, tell):
        name = re.search(r"# Notebook (\w+)", notebook.cells[0].source)[1]
        log.append(name)
        tell(1, 2, 0.5)
        if name in log.fail:
            raise log.fail[name]
        notebook.cells[1].outputs = [new_output("stream", name="stdout", text="as run\n")]
        return 2.0

    monkeypatch.setattr(kernels, "execute", execute)
    return log


def run(folder, *arguments):
    return course.main(["--folder", str(folder), *arguments])


def page(folder, name):
    return (folder.parent / "build" / "html" / f"{name}.html").read_text(encoding="utf-8")


def test_what_is_done_is_kept_and_what_has_changed_is_run_again(folder, runs, capsys):
    assert run(folder) == 0 and runs == list(NAMES)
    assert "as run" in page(folder, NAMES[0]) and "3 of 3 notebooks" in page(folder, "index")
    runs.clear()
    assert run(folder) == 0 and runs == []
    assert "Kept from before: 00_first, 01_second, 02_third" in capsys.readouterr().out
    nbtools.write_notebook(notebook(NAMES[1], "x = 2"), folder / f"{NAMES[1]}.ipynb")
    assert run(folder) == 0 and runs == [NAMES[1]]
    nbtools.write_notebook(notebook(NAMES[1], "x = 2", "other output\n"), folder / f"{NAMES[1]}.ipynb")
    assert run(folder) == 0 and runs == [NAMES[1]]  # other saved outputs are no other notebook
    (folder.parent / "build" / "html" / f"{NAMES[2]}.html").unlink()
    assert run(folder) == 0 and runs == [NAMES[1], NAMES[2]]
    assert run(folder, "--fresh") == 0 and runs[2:] == list(NAMES)


@pytest.mark.parametrize("change", ["package", "profile", "a damaged state"])
def test_another_package_or_profile_begins_anew(change, folder, runs, monkeypatch, capsys):
    assert run(folder, "00", "01") == 0
    runs.clear()
    if change == "package":
        monkeypatch.setattr(course_state, "stamp", lambda: "another package")
    elif change == "profile":
        monkeypatch.setenv("SIMCLR_EDU_PROFILE", "gpu")
    else:
        (folder.parent / "build" / "state.json").write_text('{"stamp": 1, "entries": {"a"')
    assert run(folder, "00") == 0 and runs == [NAMES[0]]
    assert ("Begins anew" in capsys.readouterr().out) == (change != "a damaged state")
    assert not (folder.parent / "build" / "html" / f"{NAMES[1]}.html").exists()


def test_the_stamp_follows_the_code_of_the_package(tmp_path):
    (tmp_path / "a.py").write_text("x = 1")
    first = course_state.stamp(tmp_path)
    (tmp_path / "notes.txt").write_text("no code")
    assert course_state.stamp(tmp_path) == first
    (tmp_path / "a.py").write_text("x = 2")
    assert course_state.stamp(tmp_path) != first


def test_one_that_fails_stands_in_the_index_with_its_saved_outputs(folder, runs, capsys):
    runs.fail[NAMES[1]] = nbtools.NotebookProblem("\x1b[31mTraceback\x1b[0m <b>\n\nZeroDivisionError: by 0\n")
    assert run(folder) == 1 and runs == list(NAMES)
    said = capsys.readouterr().out.strip().splitlines()[-1]
    assert said.startswith("1 of 3 notebooks failed: 01_second (ZeroDivisionError: by 0).")
    index, failed = page(folder, "index"), page(folder, NAMES[1])
    assert index.count("<li>") == 3 and "2 of 3 notebooks" in index and "ZeroDivisionError: by 0" in index
    assert "did not run to its end" in failed and "as saved" in failed and "Traceback &lt;b&gt;" in failed
    del runs.fail[NAMES[1]], runs[:]
    assert run(folder) == 0 and runs == [NAMES[1]]
    assert (
        "did not run" not in page(folder, NAMES[1])
        and "failed" not in page(folder, "index").split("</style>")[1]
    )


def test_the_index_is_there_after_each_notebook(folder, runs, capsys):
    runs.fail[NAMES[2]] = KeyboardInterrupt()
    assert run(folder) == course.INTERRUPTED and "goes on" in capsys.readouterr().err
    index = page(folder, "index")
    assert "2 of 3 notebooks" in index and "Notebook 02_third (not run yet)" in index
    runs.fail.clear()
    assert run(folder) == 0 and runs == [*NAMES, NAMES[2]]


def test_results_of_before_are_set_aside_and_never_deleted(folder, runs, tmp_path, capsys):
    home = tmp_path / "home"
    for k in (1, 2):
        (home / "runs" / "simclr").mkdir(parents=True)
        (home / "runs" / "mine").mkdir(exist_ok=True)
        (home / "results.json").write_text(f'{{"of run {k}": 1}}')
        assert run(folder, "--fresh") == 0
        assert f"results of before are in {home / 'earlier' / str(k)}" in capsys.readouterr().out
        assert (home / "earlier" / str(k) / "results.json").read_text() == f'{{"of run {k}": 1}}'
        assert (home / "earlier" / str(k) / "runs" / "simclr").is_dir() and (home / "runs" / "mine").is_dir()
    (home / "results.json").write_text("{}")
    assert run(folder) == 0 and (home / "results.json").exists()  # a run that goes on keeps its results


def test_a_read_only_folder_of_the_course_leaves_the_pages_at_home(
    folder, runs, monkeypatch, read_only_folder, tmp_path, capsys
):
    if os.getuid() == 0:
        os.seteuid(0)  # the home folder of this test is root's; what counts is where the pages are put
    monkeypatch.setattr("simclr_edu.home.may_be_made", lambda path: not path.is_relative_to(read_only_folder))
    monkeypatch.setattr(course, "BUILD", read_only_folder / "build" / "course")
    assert run(folder) == 0
    index = tmp_path / "home" / "course" / "html" / "index.html"
    assert index.exists() and str(index) in capsys.readouterr().out


@pytest.mark.parametrize("user", ["a home", "no such folder", "no home"])
def test_without_a_home_of_the_user_one_is_made_in_the_course_s(user, folder, runs, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path if user == "a home" else tmp_path / "nowhere"))
    if user == "no home":
        monkeypatch.setattr(pwd, "getpwuid", lambda uid: {}[uid])
        del os.environ["HOME"]
    assert run(folder, "00") == 0
    assert os.environ["HOME"] == str(tmp_path if user == "a home" else tmp_path / "home" / "user")
    assert not (tmp_path / "nowhere").exists()


def test_a_second_course_in_one_home_is_refused_in_a_sentence(folder, runs, tmp_path, capsys):
    (tmp_path / "home" / "course").mkdir(parents=True)
    with _locks.one_writer(tmp_path / "home" / "course"):
        assert run(folder) == 1 and runs == []
    said = capsys.readouterr().err.strip()
    assert f"is being written to by process {os.getpid()}" in said and "\n" not in said
    assert run(folder) == 0 and runs == list(NAMES)


def test_a_home_that_may_not_be_written_is_a_sentence(folder, runs, monkeypatch, capsys):
    monkeypatch.setenv("SIMCLR_EDU_HOME", os.path.join(os.devnull, "home"))
    assert run(folder) == 1 and runs == []
    assert "SIMCLR_EDU_HOME" in capsys.readouterr().err


def test_a_missing_row_of_the_table_is_named(folder, runs, monkeypatch, capsys):
    monkeypatch.setattr(course, "ROWS", ("raw pixels", "simclr"))
    assert run(folder) == 1
    assert "lacks a row for raw pixels, simclr" in capsys.readouterr().err
    assert run(folder, "00") == 0  # of a part of the course no table is asked


def test_the_usual_times_are_those_of_the_map():
    usual = progress.usual_seconds()
    assert set(usual) == {path.stem for path in nbtools.notebook_paths()}
    assert usual["03_temperature"] == 150 and usual["10_interview"] == 10


def test_the_estimate_follows_what_has_run(monkeypatch):
    monkeypatch.setattr(progress, "usual_seconds", lambda: {"a": 10.0, "b": 20.0, "c": 30.0})
    series = progress.Progress(["a", "b", "c"], {})
    series.name = "a"
    assert series.left(0) == 60 and series.left(5) == 55
    assert series.left(40) == 4 * 50  # four times as slow as usual, and at its end
    series.taken, series.name = {"a": 30.0}, "b"
    assert series.left(0) == 150  # three times as slow as usual
    series.taken = {"a": 30.0, "c": 90.0}
    assert series.left(0) == 60


def test_progress_is_a_line_a_minute_without_a_terminal(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    series = progress.Progress(["00_a"], {})
    series.begin("00_a")
    for now[0] in (1.0, 30.0, 61.0, 62.0):
        series.tell(3, 10, 0.25)
    series.end("63 s", 63.0)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[1].startswith("[1/1] 00_a: cell 4 of 10, training 25%, 61 s gone, about ")


@pytest.mark.parametrize(("seconds", "words"), [(9.6, "10 s"), (150, "2 min"), (3 * 3600, "3 h 00 min")])
def test_durations_are_read_easily(seconds, words):
    assert progress.in_words(seconds) == words


def executed(code, **settings):
    made = notebook("any", code)
    kernels.execute(made, **settings)
    return "".join(o.get("text", "") for o in made.cells[1].outputs)


@pytest.mark.slow
def test_a_cell_of_which_nothing_is_heard_is_given_up_and_one_that_trains_is_not(tmp_path):
    with pytest.raises(nbtools.NotebookProblem, match="nothing was heard of cell 1 for 3 seconds"):
        executed("import time; time.sleep(600)", home=tmp_path, folder=tmp_path, silence=3)
    heard = []
    slow = """
import time
from simclr_edu._progress import tell
for k in range(12):
    tell(k / 12)
    time.sleep(0.5)
print("done")"""
    # The kernel alone takes longer than that on a busy machine: hence the share that is heard first.
    text = executed(
        slow, home=tmp_path, folder=nbtools.NOTEBOOKS, silence=60, tell=lambda *a: heard.append(a)
    )
    assert text == "done\n" and {cells for _, cells, _ in heard} == {2}
    assert any(0 < share < 1 for *_, share in heard)


WHOLE = """
import sys
sys.path.insert(0, {tools!r})
import course
from pathlib import Path
course.BUILD, course.ROWS = Path({build!r}), ()
sys.exit(course.main(["--folder", {folder!r}]))
"""
SLOW = """import os, time, pathlib
with open(pathlib.Path(os.environ["SIMCLR_EDU_HOME"]) / "log", "a") as log:
    print("NAME", file=log)
time.sleep(3)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_killed_at_any_moment_the_next_call_finishes(folder, tmp_path):
    for name in NAMES:
        nbtools.write_notebook(notebook(name, SLOW.replace("NAME", name)), folder / f"{name}.ipynb")
    program = WHOLE.format(
        tools=str(nbtools.ROOT / "tools"), build=str(tmp_path / "build"), folder=str(folder)
    )
    log = tmp_path / "home" / "log"

    def begun():
        return log.read_text().splitlines() if log.exists() else []

    for name in NAMES[:2]:  # kill it in the first, then in the second
        process = subprocess.Popen([sys.executable, "-c", program], cwd=nbtools.ROOT)
        while name not in begun():
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert subprocess.run([sys.executable, "-c", program], cwd=nbtools.ROOT, check=False).returncode == 0
    assert begun()[-1] == NAMES[2] and begun().count(NAMES[2]) == 1
    state = json.loads((tmp_path / "build" / "state.json").read_text())
    assert sorted(state["entries"]) == list(NAMES)
    assert "3 of 3 notebooks" in page(folder, "index")


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make on this machine")
@pytest.mark.parametrize(
    ("arguments", "environment", "profile", "fresh"),
    [
        ((), {}, None, False),
        (("PROFILE=gpu", "FRESH=1"), {}, "gpu", True),
        ((), {"PROFILE": "of another program"}, None, False),
    ],
)
def test_make_hands_on_the_profile_and_the_wish_to_begin_anew(arguments, environment, profile, fresh):
    kept = {k: v for k, v in os.environ.items() if k not in ("SIMCLR_EDU_PROFILE", "PROFILE", "FRESH")}
    done = subprocess.run(
        ["make", "-n", "-p", "course", *arguments],
        cwd=nbtools.ROOT,
        env=kept | environment,
        capture_output=True,
        text=True,
    )
    exported = re.findall(r"^SIMCLR_EDU_PROFILE := (.*)$", done.stdout, re.MULTILINE)
    assert exported == ([profile] if profile else [])
    (call,) = re.findall(r"^\S+python tools/course.py(.*)$", done.stdout, re.MULTILINE)
    assert ("--fresh" in call) == fresh
