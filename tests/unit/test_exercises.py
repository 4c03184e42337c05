"""The checks of the exercises accept right answers, in several styles, and print one verdict."""

import inspect
import sys

import pytest
from answers import RIGHT

from simclr_edu import augment, diagnostics, losses
from simclr_edu.course import exercises
from simclr_edu.course.exercises import EXERCISES

SEEDS = (0, 1, 11)
ANSWERS = [pytest.param(n, f, id=f"{n}-{i}") for n, fs in RIGHT.items() for i, f in enumerate(fs)]

# The package's own, which must agree, and are not an answer.
OURS = {
    "horizontal_flip": [augment.horizontal_flip],
    "grayscale": [augment.to_grayscale],
    "cosine_similarity_matrix": [diagnostics.similarity_matrix],
    "nt_xent": [losses.nt_xent_loop, losses.nt_xent_dense, losses.nt_xent],
    "softmax_weights": [diagnostics.softmax_weights],
    "uniformity": [diagnostics.uniformity],
    "effective_rank": [diagnostics.effective_rank],
    "order_by_class": [diagnostics.order_by_class],
}


def test_every_exercise_has_its_check_and_right_answers():
    names = {name.removeprefix("check_") for name in exercises.__all__ if name.startswith("check_")}
    names.remove("bug_hunt")  # ten in one, with tests of their own: test_bug_hunt_mutants.py
    assert names == set(EXERCISES) == set(RIGHT)
    assert all(exercise.name == name for name, exercise in EXERCISES.items())


def share_package(similarities, temperature):
    return diagnostics.softmax_weights(similarities[1:], temperature)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("name", "answer"), ANSWERS)
def test_a_right_answer_is_correct(name, answer, seed):
    verdict = EXERCISES[name].diagnose(answer, seed)
    assert verdict.passed is True, verdict
    assert verdict.exercise == name and "correct" in repr(verdict)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("name", "ours"), [(n, f) for n, fs in OURS.items() for f in fs])
def test_the_packages_own_agrees_but_is_no_answer(name, ours, seed):
    verdict = EXERCISES[name].diagnose(ours, seed)
    done_by = f"{ours.__module__.split('.')[1]}.{ours.__name__}"  # losses.nt_xent, augment.to_grayscale
    said = f"The result is right, but the work was done by {done_by}. Write it yourself."
    assert verdict.passed is False and verdict.diagnosis == said


@pytest.mark.parametrize("seed", SEEDS)
def test_work_handed_to_the_package_is_no_answer(seed):
    verdict = EXERCISES["gradient_share"].diagnose(share_package, seed)
    assert verdict.passed is False
    assert "the work was done by diagnostics.softmax_weights. Write it yourself." in verdict.diagnosis


def test_a_profiler_is_left_alone():
    calls = []
    before = sys.getprofile()
    sys.setprofile(lambda *event: calls.append(event))
    mine = sys.getprofile()
    try:
        EXERCISES["uniformity"].diagnose(RIGHT["uniformity"][0])
        assert sys.getprofile() is mine and calls
    finally:
        sys.setprofile(before)


@pytest.mark.parametrize("name", [*EXERCISES, "bug_hunt"])
def test_a_check_called_without_its_function_says_so(name, capsys):
    check = getattr(exercises, f"check_{name}")
    assert check() is None and check(1, 2, 3) is None and check(nonsense=1) is None
    out, err = capsys.readouterr()
    parameter = list(inspect.signature(check).parameters)[-1]
    assert err == "" and out.count("\n") == 3
    assert all(
        line.startswith(f"check_{name}: not yet. Pass your function") and line.endswith(f"{parameter}).")
        for line in out.splitlines()
    )


@pytest.mark.parametrize("name", EXERCISES)
def test_a_check_prints_one_verdict_and_returns_nothing(name, capsys):
    check = getattr(exercises, f"check_{name}")
    assert check(RIGHT[name][0]) is None
    out, err = capsys.readouterr()
    assert out.startswith(f"{name}: correct.") and out.count("\n") == 1 and err == ""


@pytest.mark.parametrize("name", EXERCISES)
def test_a_check_takes_the_function_only_and_says_how_hard_it_is(name):
    check = getattr(exercises, f"check_{name}")
    assert len(inspect.signature(check).parameters) == 1
    assert "Difficulty " in check.__doc__ and " of 5, " in check.__doc__ and " minutes" in check.__doc__
