"""The ten bugs of notebook 10, and the check of a mended one."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from simclr_edu.course.exercises import linear_probe as probe
from simclr_edu.course.exercises import nt_xent
from simclr_edu.course.exercises.bug_hunt.fixed_size import FIXED_SIZE
from simclr_edu.course.exercises.bug_hunt.one_draw import diagnose_flip
from simclr_edu.course.exercises.bug_hunt.overflow import OVERFLOW
from simclr_edu.course.exercises.bug_hunt.rank_offset import RANK_OFFSET
from simclr_edu.course.exercises.bug_hunt.resuming import RESUME
from simclr_edu.course.exercises.kit import Exercise, Function, Verdict, check, report

_SHIFTED_LABEL = replace(nt_xent.NT_XENT, name="bug 1, the label", ours=None)
_OWN_RIVAL = replace(nt_xent.NT_XENT, name="bug 2, the diagonal", ours=None)
_WRONG_AXIS = replace(nt_xent.COSINE_SIMILARITY_MATRIX, name="bug 3, the axis", ours=None)
_FROZEN_IN_NAME = replace(probe.FREEZE, name="bug 6, the freeze")
_TRAIN_MODE = replace(probe.EXTRACT_FEATURES, name="bug 9, the mode", ours=None)
_EXERCISES: dict[int, Exercise] = {
    1: _SHIFTED_LABEL,
    2: _OWN_RIVAL,
    3: _WRONG_AXIS,
    4: OVERFLOW,
    5: FIXED_SIZE,
    6: _FROZEN_IN_NAME,
    7: RANK_OFFSET,
    9: _TRAIN_MODE,
    10: RESUME,
}
BUGS = tuple(range(1, 11))


def diagnose_bug_hunt(number: int, f: Function, seed: int = 0) -> Verdict:
    """Judge a mended program without printing; see ``check_bug_hunt``."""
    if number not in BUGS:
        return Verdict(f"bug {number}", False, f"There are bugs {BUGS[0]} to {BUGS[-1]}, got {number!r}.")
    return diagnose_flip(f, seed) if number == 8 else _EXERCISES[number].diagnose(f, seed)


@check
def check_bug_hunt(number: int, f: Callable[..., Any]) -> None:
    """Check the mended program of one bug of notebook 10, and print a verdict.

    ``number`` is 1 to 10; ``f`` takes the arguments of the program that it mends. Difficulty 2 of 5,
    4 minutes each.
    """
    report(diagnose_bug_hunt(number, f, 0))
