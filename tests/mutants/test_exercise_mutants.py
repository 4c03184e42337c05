"""Each classic wrong answer to an exercise gets its own diagnosis; tests/answers lists them."""

import pytest
from answers import WRONG

from simclr_edu.course.exercises import EXERCISES
from simclr_edu.course.exercises.kit import ComparedExercise

SEEDS = (0, pytest.param(11, marks=pytest.mark.slow))
COMPARED = [e for e in EXERCISES.values() if isinstance(e, ComparedExercise)]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("name", "answer", "phrase"),
    [
        pytest.param(name, answer, phrase, id=f"{name}-{i}-{getattr(answer, '__name__', 'partial')}")
        for name, answers in WRONG.items()
        for i, (answer, phrase) in enumerate(answers)
    ],
)
def test_a_wrong_answer_gets_its_own_diagnosis(name, answer, phrase, seed):
    verdict = EXERCISES[name].diagnose(answer, seed)
    assert verdict.passed is False, verdict
    assert phrase in verdict.diagnosis, verdict


def test_every_exercise_has_its_classic_wrong_answers():
    counts = {name: len(WRONG[name]) for name in EXERCISES}
    assert set(WRONG) == set(EXERCISES) and min(counts.values()) >= 7, counts
    print(f"{sum(counts.values())} wrong answers:", *(f"{n} {k}" for n, k in counts.items()), sep="\n  ")


@pytest.mark.parametrize("exercise", COMPARED, ids=lambda e: e.name)
def test_no_known_mistake_passes_or_is_taken_for_another(exercise):
    pairs = [m for m in exercise.mistakes if m.diagnosis.startswith("Two mistakes")]
    for mistake in [m for m in exercise.mistakes if m not in pairs] + pairs[::12]:
        for implementation in mistake.implementations[:4]:
            verdict = exercise.diagnose(implementation, seed=4)
            assert verdict.passed is False and verdict.diagnosis.startswith(mistake.diagnosis), verdict


@pytest.mark.parametrize("exercise", COMPARED, ids=lambda e: e.name)
def test_no_two_mistakes_share_a_diagnosis(exercise):
    said = [m.diagnosis for m in exercise.mistakes]
    assert len(said) == len(set(said)) >= 4
