"""What the exercises share: run the learner's function safely, compare it with an oracle, name the mistake.

A check never touches what is the learner's: random states are restored, inputs are copies, and an exception
in the learner's code becomes a sentence with the learner's own line.
"""

from simclr_edu.course.exercises.kit.calling import (
    attempt,
    call,
    call_or_stop,
    copy,
    explain_error,
    in_place,
    left_unwritten,
    stop,
)
from simclr_edu.course.exercises.kit.compare import (
    VALUES_DIFFER,
    agree,
    difference,
    expected_and_got,
    show,
    show_arguments,
)
from simclr_edu.course.exercises.kit.compared import ComparedExercise
from simclr_edu.course.exercises.kit.draw import between, generator, whole
from simclr_edu.course.exercises.kit.examination import examine
from simclr_edu.course.exercises.kit.exercise import ExaminedExercise, Exercise
from simclr_edu.course.exercises.kit.gradient import gradient_flows
from simclr_edu.course.exercises.kit.printing import check, report
from simclr_edu.course.exercises.kit.values import kind, read_float, read_number, read_tensor
from simclr_edu.course.exercises.kit.verdict import (
    NOT_ATTEMPTED,
    RETURNED_NOTHING,
    Arguments,
    Function,
    Mistake,
    Outcome,
    P,
    Problem,
    Verdict,
)

__all__ = [
    "NOT_ATTEMPTED",
    "RETURNED_NOTHING",
    "VALUES_DIFFER",
    "Arguments",
    "ComparedExercise",
    "ExaminedExercise",
    "Exercise",
    "Function",
    "Mistake",
    "Outcome",
    "P",
    "Problem",
    "Verdict",
    "agree",
    "attempt",
    "between",
    "call",
    "call_or_stop",
    "check",
    "copy",
    "difference",
    "examine",
    "expected_and_got",
    "explain_error",
    "generator",
    "gradient_flows",
    "in_place",
    "kind",
    "left_unwritten",
    "read_float",
    "read_number",
    "read_tensor",
    "report",
    "show",
    "show_arguments",
    "stop",
    "whole",
]
