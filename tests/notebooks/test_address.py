"""One setting, the repository's address, decides what install cell and badges say."""

import ast
import subprocess
import sys

import address
import nbtools
import pytest
import sync

GITHUB = "https://github.com/owner/simclr_edu"
SOURCE = """\
# %% [markdown]
# # Title

# %% tags=["setup"] slideshow={"slide_type": "skip"}
from simclr_edu import losses

# %%
import simclr_edu
"""


def body(cell):
    """The code of an install cell, without its py:percent head."""
    return cell.split("\n", 1)[1]


def run(cell, present, tmp_path, monkeypatch):
    """Run an install cell in a process where the package is or is not; return what it printed and called."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    script = "import importlib.util, subprocess\n"
    script += f"importlib.util.find_spec = lambda name: {'object()' if present else 'None'}\n"
    script += "subprocess.run = lambda command, check: print('called', *command[1:], check)\n" + body(cell)
    done = subprocess.run(
        [sys.executable, "-I", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("value", ["", GITHUB, "https://git.example.org/a/b"])
def test_where_the_package_is_nothing_happens(value, tmp_path, monkeypatch):
    assert run(address.install_cell(value), True, tmp_path, monkeypatch) == ""


def test_without_an_address_one_sentence_says_what_to_install(tmp_path, monkeypatch):
    said = run(address.install_cell(""), False, tmp_path, monkeypatch)
    assert said.count("\n") == 1 and "pip install" in said and "called" not in said


def test_with_an_address_it_is_installed_from_there(tmp_path, monkeypatch):
    said = run(address.install_cell(GITHUB), False, tmp_path, monkeypatch)
    assert said == f"called -m pip install --quiet git+{GITHUB} True\n"


@pytest.mark.parametrize("value", ["", GITHUB, "https://git.example.org/" + "a" * 60])
def test_the_cell_is_code_in_the_projects_format(value, tmp_path):
    source = tmp_path / "cell.py"
    source.write_text(address.install_cell(value).rstrip("\n") + "\n", encoding="utf-8")
    assert ast.parse(source.read_text())
    command = [sys.executable, "-m", "ruff", "format", "--check", "--line-length=110", str(source)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_it_is_put_in_once_and_follows_the_setting():
    empty = address.with_install_cell(SOURCE, "")
    assert empty.replace(address.install_cell(""), "") == SOURCE
    assert empty.index('tags=["install"]') < empty.index('tags=["setup"]')
    assert address.with_install_cell(empty, "") == empty
    full = address.with_install_cell(empty, GITHUB)
    assert GITHUB in full and address.with_install_cell(full, "") == empty


@pytest.mark.parametrize(
    "source", ['# %% tags=["setup"]\nimport math\n\n# %%\nimport simclr_edu\n', "# %%\nimport simclr_edu\n"]
)
def test_a_notebook_that_sets_up_no_package_gets_none(source):
    assert address.with_install_cell(source, GITHUB) == source


def test_badges_are_shown_only_where_there_is_something_to_open():
    readme = "# T\n\n<!-- badges: made by tools/sync.py -->\nold\n<!-- end -->\n\nText\n<!-- end -->\n"
    bare = readme.replace("old\n", "")
    assert address.with_badges(readme, "") == address.with_badges(readme, "https://example.org/a/b") == bare
    full = address.with_badges(bare, GITHUB)
    assert (
        full.count("[![") == 2
        and full.count("owner/simclr_edu") == 2
        and full.endswith("Text\n<!-- end -->\n")
    )
    assert address.with_badges(full, "") == bare
    with pytest.raises(nbtools.NotebookProblem, match="badges"):
        address.with_badges("# T\n", "")


@pytest.mark.parametrize(
    "value", ["github.com/a/b", "https://github.com/a/b/", "http://x/y", "https://x", "a b"]
)
def test_what_is_no_address_is_refused(value, tmp_path, monkeypatch):
    settings = tmp_path / "pyproject.toml"
    settings.write_text(f'[tool.simclr_edu]\nrepository = "{value}"\n')
    monkeypatch.setattr(address, "SETTINGS", settings)
    with pytest.raises(nbtools.NotebookProblem, match="OWNER/NAME"):
        address.repository()


def test_sync_puts_it_in_and_check_sees_that_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(address, "repository", lambda: GITHUB)
    source = tmp_path / "source" / "00_toy.py"
    source.parent.mkdir()
    source.write_text(SOURCE, encoding="utf-8")
    assert sync.main(["--folder", str(tmp_path)]) == 0
    first = nbtools.read_notebook(tmp_path / "00_toy.ipynb").cells[1]
    assert first.metadata.tags == ["install"] and GITHUB in first.source
    assert sync.main(["--check", "--folder", str(tmp_path)]) == 0
    monkeypatch.setattr(address, "repository", lambda: "")
    assert sync.main(["--check", "--folder", str(tmp_path)]) == 1
    assert sync.main(["--folder", str(tmp_path)]) == 0 and GITHUB not in source.read_text(encoding="utf-8")


def test_sync_brings_the_readme_along(tmp_path, monkeypatch):
    readme = tmp_path / "README.md"
    readme.write_text("# T\n<!-- badges: made by tools/sync.py -->\n<!-- end -->\n")
    monkeypatch.setattr(address, "README", readme)
    monkeypatch.setattr(address, "repository", lambda: GITHUB)
    assert "badges" in sync.sync_readme(check=True) and "[![" not in readme.read_text()
    assert sync.sync_readme(check=False) == "README.md: written" and "[![" in readme.read_text()
    assert sync.sync_readme(check=True) is None


def test_a_page_leaves_the_install_cell_out():
    notebook = nbtools.read_notebook(nbtools.notebook_paths(["00"])[0])
    shown = nbtools.to_read(notebook)
    assert len(shown.cells) == len(notebook.cells) - 1 and "importlib" not in str(shown.cells[1].source)
