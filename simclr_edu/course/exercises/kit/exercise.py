"""An exercise: what it asks, how hard it is, and the check that judges an answer."""

import textwrap
from collections.abc import Callable
from dataclasses import dataclass

from simclr_edu.course.exercises.kit.examination import examine, unwritten
from simclr_edu.course.exercises.kit.printing import check, report
from simclr_edu.course.exercises.kit.stubs import has_blank
from simclr_edu.course.exercises.kit.verdict import Function, Verdict


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """What every exercise has. How an answer is judged, ComparedExercise and ExaminedExercise say.

    Attributes:
        name: as printed.
        parameters: names of the learner's arguments.
        asks: what to write, in one line that begins with the call: "``f(n)``: for each row ...".
        details: shapes, dtypes, what is free, and the source: the rest of the check's help.
        difficulty: 1 (a line that the notebook has shown) to 5 (an hour of thought).
        minutes: to allow a learner who has read so far, from the stub to the verdict.
        idle: beginning of the diagnosis for an answer that did nothing, where a right answer returns nothing:
            then only the ``...`` in the source tells a stub from an attempt.
    """

    name: str
    parameters: tuple[str, ...]
    asks: str
    details: str
    difficulty: int
    minutes: int
    idle: str | None = None

    def diagnose(self, function: Function, seed: int = 0) -> Verdict:
        """Judge a function; prints nothing. ``seed`` draws the cases."""
        verdict = examine(self.name, self.parameters, function, lambda: self._examine(function, seed), seed)
        idle = self.idle is not None and verdict.diagnosis.startswith(self.idle)
        return Verdict(self.name, *unwritten(function)) if idle and has_blank(function) else verdict

    @property
    def check(self) -> Callable[[Function], None]:
        """The function that prints the verdict on an answer; its help says what the exercise asks."""

        def check_answer(answer: Function) -> None:
            report(self.diagnose(answer))

        check_answer.__name__ = check_answer.__qualname__ = f"check_{self.name}"
        more = textwrap.fill(self.details, 106, break_on_hyphens=False)
        effort = f"Difficulty {self.difficulty} of 5, {self.minutes} minutes."
        check_answer.__doc__ = f"Check {self.asks}; print a verdict.\n\n{more}\n{effort}"
        return check(check_answer)

    def _examine(self, function: Function, seed: int) -> str:
        """The sentence of success; ends early by ``kit.stop``, by Problem, or by the answer's own error."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class ExaminedExercise(Exercise):
    """An exercise with an examination of its own: many answers are right, or the answer draws at random.

    Attributes:
        examination: from the function and a seed, the sentence of success; ends early by ``kit.stop``.
    """

    examination: Callable[[Function, int], str]

    def _examine(self, function: Function, seed: int) -> str:
        return self.examination(function, seed)
