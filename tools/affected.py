"""Which test files are likely to notice a change: they go first in `make check`, which runs every fast test.

Rules that a person can hold in mind, in place of a record of what each test executed: a wrong guess costs
seconds, never a test. A test file is affected by a changed file

- that it is, or that is a conftest.py above it;
- whose name, or whose folder's, its own begins with: losses.py has test_losses.py and test_losses_memory.py;
- that it imports, or whose package it imports;
- that it names: "test_losses.py" in a test of mutants, "distributed.md";
- that is a notebook or the source of one, if it is in tests/notebooks.
"""

import ast
import functools
import subprocess
from collections.abc import Iterable
from pathlib import Path, PurePosixPath


class NoChangesError(Exception):
    """Git cannot say what changed."""


def changed_files(root: Path, since: str = "HEAD") -> list[str]:
    """Return the files below root that differ from the commit where this branch left ``since``.

    New and deleted files count. Paths are relative to root, with forward slashes. Raises NoChangesError, in
    one sentence, where there is no git or no repository, and for an unknown commit.
    """
    diff = ("diff", "--name-only", "--relative", "--no-renames", "-z", "--merge-base", since, "--")
    new = ("ls-files", "--others", "--exclude-standard", "-z")
    found: set[str] = set()
    for arguments in (diff, new):
        try:
            done = subprocess.run(["git", *arguments], cwd=root, capture_output=True)
        except OSError as error:
            raise NoChangesError(f"git could not be started: {error}") from None
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").partition("\n")[0]
            raise NoChangesError(f"git does not say what changed since {since}: {said}")
        found |= set(filter(None, done.stdout.decode().split("\0")))
    return sorted(found)


def module_name(path: PurePosixPath) -> str:
    """Return the name under which tests import a Python file of the project; tools/ is on their path."""
    parts = path.with_suffix("").parts
    return ".".join(parts[parts[0] == "tools" : -1 if path.stem == "__init__" else None])


@functools.cache
def imported_names(text: str) -> set[str]:
    """Return the dotted names that a test file imports: of `from a import b` both a and a.b."""
    names: set[str] = set()
    try:
        tree = ast.parse(text)
    except SyntaxError:  # somebody is writing it: then it changed itself
        return names
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def is_affected(test: PurePosixPath, text: str, change: PurePosixPath) -> bool:
    """Say whether one test file, with its text, is likely to notice the change of one file."""
    if change == test:
        return True
    if change.name == "conftest.py":
        return change.parent in test.parents
    if change.parts[0] == "notebooks":
        return test.parts[:2] == ("tests", "notebooks")
    # With the folders inside the top one: simclr_edu/exercises/probe.py belongs to the exercises as well.
    subjects = {change.stem.strip("_"), *change.parts[1:-1]}
    if any(f"{test.stem}_".startswith(f"test_{subject}_") for subject in subjects):
        return True
    if change.name != "__init__.py" and change.name in text:
        return True
    if change.suffix != ".py":
        return False
    module = module_name(change)
    return any(
        module == name or ("." in name and module.startswith(f"{name}.")) for name in imported_names(text)
    )


def affected_tests(root: Path, changed: Iterable[str], folders: Iterable[str]) -> list[str]:
    """Return the test files in these folders of root that are likely to notice the changed files."""
    changes = [PurePosixPath(path) for path in changed]
    found = []
    for path in (path for folder in folders for path in sorted((root / folder).rglob("test_*.py"))):
        test, text = PurePosixPath(path.relative_to(root).as_posix()), path.read_text(encoding="utf-8")
        if any(is_affected(test, text, change) for change in changes):
            found.append(str(test))
    return found
