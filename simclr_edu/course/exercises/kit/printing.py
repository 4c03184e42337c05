"""What a check prints: the verdict, what the learner's function printed, and how to call the check."""

import functools
import inspect
from collections.abc import Callable

from simclr_edu.course.exercises.kit.verdict import MOST_LINES, MOST_OF_A_LINE, P, Verdict


def report(verdict: Verdict) -> None:
    """Print a verdict, and the first lines of what the learner's function printed."""
    print(verdict)
    lines = [line[:MOST_OF_A_LINE] for line in verdict.printed.splitlines()[:MOST_LINES]]
    if lines:
        count = verdict.printed_lines
        few = f"{count:,} lines, the first {len(lines)}" if count > len(lines) else "this"
        print(f"Your function printed {few}:", *lines, sep="\n    ")


def check(function: Callable[P, None]) -> Callable[P, None]:
    """Make a check that is called with too few or too many arguments say so in a sentence."""

    @functools.wraps(function)
    def checked(*given: P.args, **named: P.kwargs) -> None:
        signature = inspect.signature(function)
        try:
            signature.bind(*given, **named)
        except TypeError:
            name, what = function.__name__, ", ".join(signature.parameters)
            print(f"{name}: not yet. Pass your function to the check: {name}({what}).")
        else:
            function(*given, **named)

    return checked
