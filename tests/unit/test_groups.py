"""Tests that share a costly run land on one worker, where it is made once; nothing but this would show it."""

import subprocess
import sys

import check
import pytest

# Twelve tests of two groups, by turns; each notes its worker.
TESTS = """
import os
from pathlib import Path
import pytest

@pytest.mark.parametrize("k", range(6))
@pytest.mark.parametrize("group", [pytest.param(g, marks=pytest.mark.xdist_group(g)) for g in ("a", "b")])
def test(group, k):
    Path(__file__).with_name(f"{group} on {os.environ['PYTEST_XDIST_WORKER']}").touch()
"""


@pytest.mark.slow
def test_each_group_has_one_worker(tmp_path):
    (tmp_path / "test_grouped.py").write_text(TESTS, encoding="utf-8")
    command = [sys.executable, *check.PYTEST, "-n2", "-p", "no:nbval", "test_grouped.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0 and "12 passed" in done.stdout, done.stdout + done.stderr
    groups = sorted(path.name[0] for path in tmp_path.glob("* on *"))
    assert groups == ["a", "b"], (
        "the workers have split a group: this pytest and this pytest-xdist do not agree"
    )
