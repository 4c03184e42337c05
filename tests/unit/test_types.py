"""mypy checks the package strictly, and where it is told to look away the line says why."""

import re
import tomllib
from pathlib import Path

import pytest

import simclr_edu

PACKAGE = Path(simclr_edu.__file__).parent
IGNORE = re.compile(r"#\s*type:\s*ignore(?P<rest>.*)")
WITH_CODE_AND_REASON = re.compile(r"\[[a-z-]+(, ?[a-z-]+)*\]  # \S.+")


def ignored(text):
    return [found["rest"] for found in map(IGNORE.search, text.splitlines()) if found]


def test_strict_for_every_module():
    settings = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"]
    assert settings["strict"] and "simclr_edu" in settings["files"]


@pytest.mark.parametrize(
    "line", ["x = 1  # type: ignore", "x = 1  # type: ignore[misc]", "x = 1 #type:ignore[misc]"]
)
def test_an_ignore_without_code_or_reason_is_seen(line):
    assert not WITH_CODE_AND_REASON.fullmatch(ignored(line)[0])


def test_every_ignore_has_its_code_and_a_reason():
    bad = [
        f"{path.relative_to(PACKAGE)}: type: ignore{rest}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for rest in ignored(path.read_text(encoding="utf-8"))
        if not WITH_CODE_AND_REASON.fullmatch(rest)
    ]
    assert bad == []
