"""Time and exits: whatever an answer does, the check ends in a sentence and leaves all as it was."""

import os

import numpy as np
import pytest
import torch
from answers import RIGHT
from answers.cell import attempt

from simclr_edu.course import exercises
from simclr_edu.course.exercises import EXERCISES
from simclr_edu.course.exercises.kit import limits


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(limits, "SECONDS", 0.2)
    monkeypatch.setattr(limits, "WALL_SECONDS", 0.2)


@pytest.mark.parametrize("name", EXERCISES)
def test_an_endless_loop_ends_in_a_sentence(name, impatient, capsys):
    loop = "k = 0\nwhile True:\n    try:\n        k += 1\n    except Exception:\n        pass"
    endless = attempt(name, loop)
    getattr(exercises, f"check_{name}")(endless)
    out, err = capsys.readouterr()
    assert out.startswith(f"{name}: not yet. It does not end: the check stopped it.") and err == ""
    assert "of attempt (its def is line 1)" in out


def test_the_time_is_the_processors_of_this_thread_and_over_when_the_check_is(impatient):
    assert EXERCISES["positive_index"].diagnose(RIGHT["positive_index"][0]).passed
    before = limits._clock_of_this_thread()[0]()
    while limits._clock_of_this_thread()[0]() - before < 0.4:  # nothing is raised here any more
        pass


@pytest.mark.parametrize(
    ("name", "line"),
    [(name, "sys.exit(1)") for name in EXERCISES] + [("nt_xent", "raise SystemExit"), ("nt_xent", "exit()")],
)
def test_an_exit_ends_in_a_sentence(name, line, capsys):
    leaving = attempt(name, f"import sys\n{line}")
    getattr(exercises, f"check_{name}")(leaving)
    out = capsys.readouterr().out
    assert out.startswith(f"{name}: not yet. It ends Python (exit, quit or sys.exit)")
    assert f"line 3 of attempt (its def is line 1):\n    {line}\n" in out


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_flood_of_prints_keeps_its_beginning_only(stream, capsys):
    flood = attempt(
        "positive_index",
        f"import sys\nfor k in range(2000):\n    print('x' * 5000, file=sys.{stream})\nreturn n",
    )
    verdict = EXERCISES["positive_index"].diagnose(flood)
    assert len(verdict.printed) <= limits.MOST_CHARACTERS and verdict.printed_lines >= 10_000
    exercises.check_positive_index(flood)
    out, err = capsys.readouterr()
    assert "Your function printed 10,000 lines, the first 1:\n    xxx" in out
    assert len(out) < 3000 and err == ""


def test_prints_without_an_end_of_line_are_one_line():
    printed = limits.Printed()
    for text in ("a", "b", "", "c\n", "d\ne"):
        printed.write(text)
    assert printed.text == "abc\nd\ne" and printed.lines == 3


def settings():
    return {
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "warn only": torch.is_deterministic_algorithms_warn_only_enabled(),
        "precision": torch.get_float32_matmul_precision(),
        "threads": torch.get_num_threads(),
        "anomaly": torch.is_anomaly_enabled(),
        "gradients": torch.is_grad_enabled(),
        "folder": os.getcwd(),
        "numpy": np.geterr(),
    }


MEDDLING = """
import os
torch.set_default_dtype(torch.float64)
torch.set_default_device("meta")
torch.use_deterministic_algorithms(True)
torch.set_float32_matmul_precision("medium")
torch.set_num_threads(2)
torch.autograd.set_detect_anomaly(True)
torch.set_grad_enabled(False)
os.chdir("/")
"""


@pytest.mark.parametrize("name", EXERCISES)
def test_settings_are_as_before(name):
    before = settings()
    EXERCISES[name].diagnose(attempt(name, MEDDLING + "raise ValueError"))
    assert settings() == before


@pytest.fixture
def unusual_notebook():
    """Settings that a learner's notebook may have, which are no reason to refuse an answer."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    try:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            yield
    finally:
        torch.set_default_dtype(before)
        torch.set_default_device(None)


@pytest.mark.parametrize("name", EXERCISES)
def test_a_right_answer_is_right_whatever_the_notebooks_settings(name, unusual_notebook):
    verdict = EXERCISES[name].diagnose(RIGHT[name][0])
    assert verdict.passed is True, verdict
    assert torch.get_default_dtype() == torch.float64 and torch.get_default_device().type == "meta"


def test_no_default_device_is_left_set_where_none_was():
    from torch.overrides import _get_current_function_mode_stack

    before = len(_get_current_function_mode_stack())
    EXERCISES["positive_index"].diagnose(
        attempt("positive_index", "torch.set_default_device('meta')\nreturn n")
    )
    assert len(_get_current_function_mode_stack()) == before
