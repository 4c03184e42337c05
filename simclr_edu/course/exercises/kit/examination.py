"""Running an examination of the learner's function, and turning whatever happens into a verdict."""

import inspect
import warnings
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout

from simclr_edu.course.exercises.kit.calling import explain_error, left_unwritten, where
from simclr_edu.course.exercises.kit.limits import Printed, TooLong, ending
from simclr_edu.course.exercises.kit.slips import slips
from simclr_edu.course.exercises.kit.state import untouched_state
from simclr_edu.course.exercises.kit.stubs import has_blank, is_empty, leftover
from simclr_edu.course.exercises.kit.values import kind
from simclr_edu.course.exercises.kit.verdict import (
    NOT_ATTEMPTED,
    RETURNED_NOTHING,
    Function,
    Problem,
    Stop,
    Verdict,
)


def examine(
    name: str, parameters: Sequence[str], function: Function, examination: Callable[[], str], seed: int
) -> Verdict:
    """Run an examination of the learner's function with nothing of the learner's touched.

    Args:
        name: of the exercise, as printed.
        parameters: names of the arguments that the function has to accept.
        function: the learner's.
        examination: returns the sentence of success, or raises: Problem, what ``stop`` raises, or whatever
            the learner's code raised.
        seed: of everything random.
    """
    if not callable(function):
        return Verdict(name, False, f"Pass the function itself to the check; this is {kind(function)}.")
    try:
        inspect.signature(function).bind(*parameters)
    except TypeError:
        return Verdict(name, False, f"The function must accept these arguments: {', '.join(parameters)}.")
    except ValueError:  # a built-in without a signature
        pass
    if is_empty(function):
        return Verdict(name, *unwritten(function))
    printed = Printed()
    with untouched_state(seed), warnings.catch_warnings(), redirect_stdout(printed), redirect_stderr(printed):
        warnings.simplefilter("ignore")
        passed, diagnosis = _judge(function, examination)
    if diagnosis.startswith(RETURNED_NOTHING) and printed.lines:
        diagnosis += " It prints instead: return the result."
    return Verdict(name, passed, diagnosis, printed.text, printed.lines)


def _judge(function: Function, examination: Callable[[], str]) -> tuple[bool | None, str]:
    """Run the examination and turn whatever it raises into a verdict's two parts."""
    try:
        with ending():
            return True, examination()
    except TooLong as late:
        return False, _with_where(
            "It does not end: the check stopped it. Is there a loop whose condition never changes?", late
        )
    except SystemExit as left:
        return False, _with_where(
            "It ends Python (exit, quit or sys.exit), and your notebook's kernel with it: return instead.",
            left,
        )
    except Stop as stopped:
        return stopped.passed, _with_slips(str(stopped), function, stopped.about)
    except Problem as problem:
        return unwritten(function) if problem.nothing and has_blank(function) else (False, str(problem))
    except Exception as error:
        if left_unwritten(error):
            return unwritten(function)
        return False, _with_slips(explain_error(error), function)


def _with_where(sentence: str, error: BaseException) -> str:
    """The sentence, and the learner's line that was running."""
    return f"{sentence}\n  {where(error)}" if where(error) else sentence


def unwritten(function: Function) -> tuple[bool | None, str]:
    """The two parts of a verdict on a function that ended as a stub does."""
    if (line := leftover(function)) is not None:
        return False, f"Your code stands below the stub's `{line}`, so it never runs: remove that line."
    return None, NOT_ATTEMPTED


def _with_slips(diagnosis: str, function: Function, about: str | None = None) -> str:
    """The diagnosis, and on its first line what is odd about the function whatever the exercise."""
    first, newline, rest = diagnosis.partition("\n")
    if not (more := slips(function, about or first)):
        return diagnosis
    if first.endswith("."):
        return f"{first} {more}{newline}{rest}"
    return f"{diagnosis}\n  {more}"
