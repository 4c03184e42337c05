"""Answers that nobody typed: right ones pass, wrong ones do not, and the judges are no rubber stamps."""

import pytest
from exercise_variants import make, try_on
from variants.judging import judge
from variants.programs import ANSWERS, programs, solutions

EXERCISES = tuple(ANSWERS)


@pytest.mark.slow
@pytest.mark.parametrize("exercise", EXERCISES)
def test_every_answer_to_start_from_is_right(exercise):
    words = {program: judge(exercise, program, seed=3) for program in programs(exercise)}
    assert set(words.values()) == {"right"}, words


def test_the_notebooks_solutions_are_found():
    assert set(solutions()) == set(EXERCISES) - {"cosine_similarity_matrix"}


@pytest.mark.parametrize("exercise", EXERCISES)
def test_a_judge_refuses_what_does_nothing(exercise):
    lines = programs(exercise)[0].splitlines()
    signature = next(line for line in lines if line.startswith("def "))
    assert judge(exercise, f"{signature}\n    return None", seed=3) == "wrong"


@pytest.mark.slow
@pytest.mark.parametrize("exercise", EXERCISES)
def test_generated_answers_are_judged_as_they_are(exercise):
    rates = try_on(exercise, wrong=10, right=4, seed=1)
    assert rates.right == 4 and rates.wrong == 10
    assert not rates.refused, rates.refused[0]
    assert not rates.accepted, rates.accepted[0]


def test_the_same_seed_makes_the_same_answers():
    first, again = (list(make("positive_index", "wrong", 8, seed=5)) for _ in range(2))
    assert first == again and len({program for _, program in first}) == 8
