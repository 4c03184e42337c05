"""The kit of the exercises: how a verdict reads, and how cases are drawn."""

import pytest

from simclr_edu.course.exercises import EXERCISES, kit

SEEDS = (0, 1, 11)
COMPARED = [e for e in EXERCISES.values() if isinstance(e, kit.ComparedExercise)]


def test_a_verdict_reads_as_its_message():
    assert repr(kit.Verdict("e", None, "not attempted yet")) == "e: not attempted yet."
    assert repr(kit.Verdict("e", True, "Fine.")) == "e: correct. Fine."
    assert repr(kit.Verdict("e", False, "Wrong.")) == "e: not yet. Wrong."


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("exercise", COMPARED, ids=lambda e: e.name)
def test_cases_differ_between_seeds_and_are_reproducible(exercise, seed):
    once, again, other = (repr(exercise.cases(s)) for s in (seed, seed, seed + 1))
    assert once == again and once != other
