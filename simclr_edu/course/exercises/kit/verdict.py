"""What a check found, and what an exercise can say about a mistake."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ParamSpec

P = ParamSpec("P")
Function = Callable[..., Any]
Arguments = tuple[Any, ...]
NOT_ATTEMPTED = "not attempted yet"
RETURNED_NOTHING = "It returned nothing (None). Is the return missing?"
MOST_VALUES = 8  # larger tensors are shown as their shape and one entry
MOST_LINES = 6  # of what the learner's function printed
MOST_OF_A_LINE = 200  # characters


@dataclass(frozen=True, repr=False)
class Verdict:
    """What a check found: ``passed`` is None when the exercise is not attempted yet."""

    exercise: str
    passed: bool | None
    diagnosis: str
    printed: str = ""  # the beginning of what the learner's function printed meanwhile
    printed_lines: int = 0  # all of them

    def __repr__(self) -> str:
        if self.passed is None:
            return f"{self.exercise}: {self.diagnosis}."
        return f"{self.exercise}: {'correct' if self.passed else 'not yet'}. {self.diagnosis}"


@dataclass(frozen=True)
class Mistake:
    """A classic wrong answer: what it computes, or how its exception reads, and what to tell the learner."""

    diagnosis: str
    implementations: tuple[Function, ...] = ()
    raises: str | None = None  # a pattern searched for in "IndexError: message"
    written: str | None = None  # a pattern that the source must hold besides, where the result is ambiguous
    unless: Callable[..., bool] | None = None  # inputs on which the mistake is not defined: not compared


class Problem(Exception):
    """What the learner's function returned cannot be compared; the message is the sentence to print."""

    def __init__(self, sentence: str, *, nothing: bool = False) -> None:
        super().__init__(sentence)
        self.nothing = nothing  # it returned None or `...`


class Stop(Exception):
    """Ends a hand-written examination early with its verdict."""

    def __init__(self, passed: bool | None, diagnosis: str, about: str | None = None) -> None:
        super().__init__(diagnosis)
        self.passed = passed
        self.about = about  # the diagnosis less what tells of other arguments only to describe the result


@dataclass(frozen=True)
class Outcome:
    """What one call of the learner's function gave."""

    value: Any = None
    error: Exception | None = None
    changed: str | None = None  # name of the input that was modified in place
    borrowed: str | None = None  # a function that did the learner's work
