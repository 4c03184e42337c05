"""`make test` runs everything, `make check` a part of it: first what a change is likely to break."""

import json
import os
import re
import shutil
import subprocess
import sys
from types import SimpleNamespace

import affected
import check
import pytest

# A project in miniature, its files named unlike this project's own, whose changes would seem to matter here.
PROJECT = {
    "pkg/prices.py": "",
    "pkg/room/__init__.py": "",
    "pkg/room/_kit.py": "",
    "pkg/room/door.py": "",
    "assets/map.html": "",
    "docs/prices.md": "",
    "tools/notes.py": "",
    "notebooks/source/01_first.py": "",
    "tests/conftest.py": "",
    "tests/unit/conftest.py": "",
    "tests/unit/test_prices.py": "",
    "tests/unit/test_prices_memory.py": "",
    "tests/unit/test_priceless.py": "text = 'prices'",
    "tests/unit/test_map.py": "",
    "tests/unit/test_room.py": "",
    "tests/unit/test_pretrain.py": "def test():\n    from pkg import prices",
    "tests/unit/test_widgets.py": "import pkg.room",
    "tests/unit/test_broken.py": "def (:",
    "tests/notebooks/test_sync.py": "import notes",
    "tests/mutants/test_price_mutants.py": "load('test_prices.py')",
    "tests/browser/test_pages.py": "from pkg import prices",
}
FOLDERS = ("tests/unit", "tests/notebooks", "tests/mutants")
UNIT = [path.split("/")[-1] for path in PROJECT if path.startswith("tests/unit/test_")]
EXPECTED = {
    "pkg/prices.py": ["test_pretrain.py", "test_prices.py", "test_prices_memory.py", "test_price_mutants.py"],
    "docs/prices.md": ["test_prices.py", "test_prices_memory.py"],
    "assets/map.html": ["test_map.py"],
    "pkg/room/__init__.py": ["test_room.py", "test_widgets.py"],
    "pkg/room/_kit.py": ["test_room.py", "test_widgets.py"],
    "tools/notes.py": ["test_sync.py"],
    "notebooks/source/01_first.py": ["test_sync.py"],
    "tests/unit/test_prices.py": ["test_prices.py", "test_price_mutants.py"],
    "tests/unit/test_broken.py": ["test_broken.py"],
    "tests/unit/conftest.py": sorted(UNIT),
    "tests/conftest.py": [*sorted(UNIT), "test_sync.py", "test_price_mutants.py"],
    "tests/unit/test_deleted.py": [],
    "pyproject.toml": [],
}


@pytest.fixture
def project(tmp_path):
    for name, text in PROJECT.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("change", EXPECTED)
def test_the_affected_tests_are_those_of_the_rules(project, change):
    found = affected.affected_tests(project, [change], FOLDERS)
    assert [path.split("/")[-1] for path in found] == EXPECTED[change]
    assert all((project / path).is_file() for path in found)


def test_several_changes_name_a_test_once_and_in_the_order_of_the_folders(project):
    found = affected.affected_tests(project, ["tests/mutants/test_price_mutants.py", *EXPECTED], FOLDERS)
    assert len(found) == len(set(found))
    folders = [path.rsplit("/", 1)[0] for path in found]
    assert folders == sorted(folders, key=FOLDERS.index) and set(folders) == set(FOLDERS)


def test_every_public_module_of_the_package_has_a_test_that_goes_first():
    modules = [
        path.relative_to(check.ROOT).as_posix()
        for path in (check.ROOT / "simclr_edu").rglob("*.py")
        if not path.name.startswith("_")
    ]
    lacking = [m for m in modules if not affected.affected_tests(check.ROOT, [m], check.FAST_FOLDERS)]
    assert modules and not lacking


# --- what changed, as git says ------------------------------------------------------------------------


@pytest.fixture
def git(project, monkeypatch):
    """Run git in a repository of its own with one commit of the project, on the branch main."""
    if not shutil.which("git"):
        pytest.skip("there is no git on this machine")
    for name in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE"):  # as set while git runs a hook
        monkeypatch.delenv(name, raising=False)
    me = ("-c", "user.name=me", "-c", "user.email=me@example.org", "-c", "commit.gpgsign=false")

    def run(*arguments):
        subprocess.run(["git", *me, *arguments], cwd=project, check=True, capture_output=True)

    run("init", "--initial-branch=main")
    run("add", ".")
    run("commit", "--message=all")
    return run


def test_what_is_not_committed_counts_in_every_form(git, project):
    assert affected.changed_files(project) == []
    (project / "pkg/prices.py").write_text("edited = 1\n", encoding="utf-8")
    (project / "pkg/room/_kit.py").write_text("staged = 1\n", encoding="utf-8")
    git("add", "pkg/room/_kit.py")
    (project / "pkg/new file é.py").touch()
    (project / "assets/map.html").unlink()
    git("mv", "docs/prices.md", "docs/costs.md")
    (project / ".gitignore").write_text("build/\n", encoding="utf-8")
    (project / "build").mkdir()
    (project / "build/left.py").touch()
    assert affected.changed_files(project) == [
        ".gitignore",
        "assets/map.html",
        "docs/costs.md",
        "docs/prices.md",
        "pkg/new file é.py",
        "pkg/prices.py",
        "pkg/room/_kit.py",
    ]
    # In a folder of a larger repository: what lies below, from there.
    assert affected.changed_files(project / "pkg") == ["new file é.py", "prices.py", "room/_kit.py"]


def test_since_a_branch_left_another_its_own_commits_count_and_not_the_others(git, project):
    git("switch", "--create", "mine")
    (project / "pkg/prices.py").write_text("mine = 1\n", encoding="utf-8")
    git("commit", "--all", "--message=mine")
    git("switch", "main")
    (project / "assets/map.html").write_text("theirs", encoding="utf-8")
    git("commit", "--all", "--message=theirs")
    git("switch", "mine")
    (project / "docs/prices.md").write_text("not committed", encoding="utf-8")
    assert affected.changed_files(project) == ["docs/prices.md"]
    assert affected.changed_files(project, "main") == ["docs/prices.md", "pkg/prices.py"]


def test_without_a_repository_or_a_commit_of_that_name_one_sentence_says_so(git, project, tmp_path_factory):
    with pytest.raises(affected.NoChangesError, match=r"^git does not say what changed since nowhere: .+"):
        affected.changed_files(project, "nowhere")
    with pytest.raises(affected.NoChangesError, match=r"^git does not say what changed since HEAD: .+"):
        affected.changed_files(tmp_path_factory.mktemp("bare"))


def test_without_git_one_sentence_says_so(project, monkeypatch):
    monkeypatch.setenv("PATH", str(project))
    with pytest.raises(affected.NoChangesError, match=r"^git could not be started: .+"):
        affected.changed_files(project)


# --- the command line ---------------------------------------------------------------------------------


@pytest.fixture
def ran(monkeypatch, tmp_path):
    """What would have run, as lists of arguments; `status` decides how each run ends."""
    runs = []

    def run(command, **_):
        runs.append(command[1:])
        return SimpleNamespace(returncode=runs.status(command[1:]))

    class Runs(list):
        status = staticmethod(lambda arguments: 0)

    runs = Runs()
    monkeypatch.setattr(check, "BUILD", tmp_path / "build")
    monkeypatch.setattr(check, "COVERAGE", tmp_path / "build" / "coverage.json")
    monkeypatch.setattr(check, "subprocess", SimpleNamespace(run=run))
    monkeypatch.setattr(check, "missing", lambda step: None)
    monkeypatch.setattr(check, "changed_files", lambda root, since: ["tests/unit/test_first.py"])
    monkeypatch.setattr(check, "affected_tests", lambda root, changed, folders: changed)
    return runs


def test_with_no_arguments_every_step_runs(ran):
    assert check.main([]) == 0
    assert ran == [list(arguments) for arguments in check.STEPS.values()]


def report(tmp_path, *shares):
    """A report of coverage, each file of a hundred lines."""
    files = {f"pkg/{k}.py": {"summary": {"percent_covered": share}} for k, share in enumerate(shares)}
    totals = {"percent_covered": sum(shares) / len(shares), "num_statements": 100 * len(shares)}
    path = tmp_path / "coverage.json"
    path.write_text(json.dumps({"totals": totals, "files": files}), encoding="utf-8")
    return path


def test_coverage_is_printed_with_the_files_that_have_little(tmp_path, capsys):
    assert check.coverage_problem(report(tmp_path, 99.0, 89.5, 100.0, 90.0)) is None
    assert capsys.readouterr().out.splitlines()[1:] == [
        "coverage: 94.6% of the package's 400 lines",
        "   89.5%  pkg/1.py",
    ]


def test_coverage_under_the_floor_fails_make_test_and_a_failed_test_still_prints_it(
    ran, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(check, "COVERAGE", report(tmp_path, check.COVERAGE_FLOOR - 0.1))
    assert check.main([]) == 1
    assert f"wanted are {check.COVERAGE_FLOOR}%" in capsys.readouterr().out
    monkeypatch.setattr(check, "COVERAGE", report(tmp_path, check.COVERAGE_FLOOR))
    assert check.main([]) == 0
    capsys.readouterr()
    ran.status = lambda arguments: int("tests/unit" in arguments)
    assert check.main([]) == 1
    out = capsys.readouterr().out
    assert f"coverage: {check.COVERAGE_FLOOR:.1f}%" in out and "FAILED (exit status 1)" in out


def test_named_steps_run_alone_and_an_early_failure_stops_nothing(ran, capsys):
    ran.status = lambda arguments: check.NO_TESTS if "tests/unit" in arguments else 0
    assert check.main(["unit", "nbval"]) == 1  # that no test is found is a failure here
    assert ran == [list(check.PARTS["unit"]), list(check.PARTS["nbval"])]
    assert re.search(r"unit +\d+ s  FAILED \(exit status 5\)\nnbval +\d+ s  passed", capsys.readouterr().out)


def test_fast_runs_the_affected_tests_before_the_others(ran, capsys):
    assert check.main(["--fast"]) == 0
    assert ran[:4] == [list(check.STEPS[step]) for step in ("lint", "format", "types", "sync")]
    first, others = ran[4:]
    assert first == [*check.FAST_TESTS, "tests/unit/test_first.py"]
    assert others == [*check.FAST_TESTS, "--ignore=tests/unit/test_first.py", *check.FAST_FOLDERS]
    ran.clear()
    ran.status = lambda arguments: 1 if arguments == first else 0
    assert check.main(["--fast"]) == 1 and ran[-1] == others  # a failure stops nothing
    assert re.search(r"affected +\d+ s  FAILED", capsys.readouterr().out)


def test_fast_with_slow_tests_alone_affected_says_so_and_is_no_failure(ran, capsys):
    ran.status = lambda arguments: check.NO_TESTS if arguments[-1].endswith("test_first.py") else 0
    assert check.main(["--fast"]) == 0
    assert "skipped: all its tests are slow, `make test` runs them" in capsys.readouterr().out


def test_fast_without_git_runs_all_fast_tests_in_any_order(ran, monkeypatch, capsys):
    def nothing(root, since):
        raise affected.NoChangesError(f"no {since}")

    monkeypatch.setattr(check, "changed_files", nothing)
    assert check.main(["--fast"]) == 0
    assert "No test goes first: no HEAD" in capsys.readouterr().out
    assert len(ran) == 5 and not any("--ignore" in argument for argument in ran[-1])
    with pytest.raises(SystemExit) as refused:  # but who names a commit is told that it is none
        check.main(["--fast", "--since", "nowhere"])
    assert refused.value.code == 2 and "no nowhere" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["unti"], "there is no step 'unti'"),
        (["--fast", "unit"], "--fast has steps of its own: name none"),
        (["--since", "main"], "--since goes with --fast"),
    ],
)
def test_a_mistake_on_the_command_line_is_said(ran, capsys, arguments, words):
    with pytest.raises(SystemExit) as refused:
        check.main(arguments)
    assert refused.value.code == 2 and words in capsys.readouterr().err and not ran


# --- nothing is lost, nothing is run by the loop alone ------------------------------------------------


def test_make_test_runs_every_step_and_every_test_file_is_in_one():
    assert list(check.STEPS) == ["lint", "format", "types", "sync", "tests"]
    makefile = (check.ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^test: .*\n\t\$\(BIN\)/python tools/check\.py\n\n", makefile, re.MULTILINE)
    assert re.search(r"^check: .*\n\t\$\(BIN\)/python tools/check\.py --fast ", makefile, re.MULTILINE)
    given = {argument for arguments in check.STEPS.values() for argument in arguments}
    parts = {argument for arguments in check.PARTS.values() for argument in arguments}
    assert {a for a in parts if not a.startswith("-n")} <= given
    files = [*(check.ROOT / "tests").rglob("test_*.py"), *(check.ROOT / "notebooks").glob("*.ipynb")]
    folders = [path.parent.relative_to(check.ROOT).as_posix() for path in files]
    assert folders and set(folders) <= given
    # In `make test` nothing is deselected: each run of pytest has one -m, its own.
    assert all(arguments.count("-m") <= 1 for arguments in check.STEPS.values())
    assert not any(argument.startswith(("-k", "--ignore", "--deselect")) for argument in given)


# Writes which tests pytest takes and which it leaves out, so that one collection answers for both.
RECORDER = """
import os
def note(kind, items):
    with open(os.environ["RECORDED"], "a", encoding="utf-8") as file:
        file.writelines(f"{kind} {item.nodeid}\\n" for item in items)
def pytest_collection_finish(session): note("taken", session.items)
def pytest_deselected(items): note("left", items)
"""


@pytest.fixture
def collected(tmp_path):
    """Collect the tests of a step; return those that it would run and those that it leaves out."""
    (tmp_path / "recorder.py").write_text(RECORDER, encoding="utf-8")
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    record = tmp_path / "recorded"

    def collect(*arguments: str) -> tuple[list[str], list[str]]:
        record.unlink(missing_ok=True)
        done = subprocess.run(
            [sys.executable, *arguments, "-p", "recorder", "-n0", "--no-cov", "--collect-only", "-qq"],
            cwd=check.ROOT,
            env={**os.environ, "PYTHONPATH": path, "RECORDED": str(record)},
            capture_output=True,
            text=True,
            encoding="utf-8",
        )
        assert done.returncode == 0, done.stdout + done.stderr
        lines = record.read_text(encoding="utf-8").splitlines()
        found = [line.partition(" ")[::2] for line in lines]
        return tuple([test for kind, test in found if kind == want] for want in ("taken", "left"))

    return collect


def files(tests: list[str]) -> list[str]:
    return [test.partition("::")[0] for test in tests]


@pytest.mark.slow
def test_the_loop_runs_all_tests_of_make_test_but_the_slow_ones_and_no_other(collected):
    steps = check.fast_steps(
        affected.affected_tests(check.ROOT, ["simclr_edu/losses.py"], check.FAST_FOLDERS)
    )
    (first, slow_first), (others, slow_others) = (
        collected(*steps.pop("affected")),
        collected(*steps.pop("others")),
    )
    assert steps.items() <= check.STEPS.items()
    not_in_the_loop = ("notebooks", "tests/browser")
    whole = [argument for argument in check.STEPS["tests"] if argument not in not_in_the_loop]
    all_tests, left = collected(*whole)
    assert {"tests/unit/test_losses.py", "tests/mutants/test_loss_mutants.py"} <= set(files(first))
    assert set(files(first)).isdisjoint(files(others)) and slow_others and not left
    assert sorted(first + others + slow_first + slow_others) == sorted(all_tests)
