"""The ten bugs of notebook 10, and the check of a mended one."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from simclr_edu.course.exercises import linear_probe as probe
from simclr_edu.course.exercises import nt_xent
from simclr_edu.course.exercises.bug_hunt.fixed_size import FIXED_SIZE
from simclr_edu.course.exercises.bug_hunt.one_draw import ONE_DRAW
from simclr_edu.course.exercises.bug_hunt.overflow import OVERFLOW
from simclr_edu.course.exercises.bug_hunt.rank_offset import RANK_OFFSET
from simclr_edu.course.exercises.bug_hunt.resuming import RESUME
from simclr_edu.course.exercises.kit import Exercise, Function, Verdict, check, report


def _bug(exercise: Exercise, name: str, **changed: Any) -> Exercise:
    return replace(exercise, name=name, difficulty=2, minutes=4, **changed)


EXERCISES: dict[int, Exercise] = {
    1: _bug(nt_xent.NT_XENT, "bug 1, the label", ours=None),
    2: _bug(nt_xent.NT_XENT, "bug 2, the diagonal", ours=None),
    3: _bug(nt_xent.COSINE_SIMILARITY_MATRIX, "bug 3, the axis", ours=None),
    4: OVERFLOW,
    5: FIXED_SIZE,
    6: _bug(probe.FREEZE, "bug 6, the freeze"),
    7: RANK_OFFSET,
    8: ONE_DRAW,
    9: _bug(probe.EXTRACT_FEATURES, "bug 9, the mode", ours=None),
    10: RESUME,
}
BUGS = tuple(EXERCISES)


def diagnose_bug_hunt(number: int, f: Function, seed: int = 0) -> Verdict:
    """Judge a mended program without printing; see ``check_bug_hunt``."""
    if number not in BUGS:
        return Verdict(f"bug {number}", False, f"There are bugs {BUGS[0]} to {BUGS[-1]}, got {number!r}.")
    return EXERCISES[number].diagnose(f, seed)


@check
def check_bug_hunt(number: int, f: Callable[..., Any]) -> None:
    """Check the mended program of one bug of notebook 10, and print a verdict.

    ``number`` is 1 to 10; ``f`` takes the arguments of the program that it mends. Difficulty 2 of 5,
    4 minutes each.
    """
    report(diagnose_bug_hunt(number, f, 0))
