"""An exercise whose answer is a value: cases, an oracle for them, the classic mistakes."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from simclr_edu.course.exercises.kit.calling import (
    attempt,
    call,
    explain_error,
    in_place,
    left_unwritten,
    stop,
)
from simclr_edu.course.exercises.kit.compare import (
    NOT_FINITE,
    VALUES_DIFFER,
    agree,
    difference,
    expected_and_got,
    same_numbers,
    show_arguments,
)
from simclr_edu.course.exercises.kit.exercise import Exercise
from simclr_edu.course.exercises.kit.relations import how_many, related, where_right
from simclr_edu.course.exercises.kit.source import source_of
from simclr_edu.course.exercises.kit.values import read_tensor
from simclr_edu.course.exercises.kit.verdict import Arguments, Function, Mistake, Outcome, Problem


@dataclass(frozen=True, kw_only=True)
class ComparedExercise(Exercise):
    """An exercise whose answer is a value: cases, an oracle for them, and the classic mistakes.

    Attributes:
        cases: from a seed, the inputs to try, smallest first.
        oracles: functions of a case's inputs in float64. The answer has to agree with one of them on all
            cases; there are several only where a convention is free.
        mistakes: tried in order, in the dtype of the inputs, against the learner's results.
        read: turns what the function returned into a tensor, or raises Problem.
        run: calls the function with a case's inputs; where the result is an effect (trained weights, say),
            returns that.
        inputs: names of a case's inputs, where they are not the learner's arguments.
        rtol: relative tolerance.
        atol: absolute tolerance.
        then: a further test once all values agree; calls ``stop`` with a diagnosis, or returns a remark on a
            right answer.
        besides: what ``then`` tests, for the verdict on a right answer.
        follows: whether the result has to be on the device of the first tensor that goes in.
        ours: names of functions outside the package that do the whole work: calling them, or anything of the
            package, is no answer. With None any function may be called.
        explain: gives the sentence for a result that fits no known mistake, from (inputs, got, wanted).
        properties: of a right answer, whatever its values; each returns the sentence on how a function lacks
            it, or None. Tried in order where the result fits no known mistake.
        place: gives the line on the smallest failing case, maybe empty, from (inputs, got or None, wanted).
    """

    cases: Callable[[int], list[Arguments]]
    oracles: tuple[Function, ...]
    mistakes: tuple[Mistake, ...] = ()
    read: Callable[[object], Tensor] = read_tensor
    run: Function = call
    inputs: tuple[str, ...] = ()
    rtol: float = 1e-3
    atol: float = 1e-4
    then: Callable[[Function, int], str | None] | None = None
    besides: str = ""
    follows: bool = False
    ours: tuple[str, ...] | None = ()
    explain: Callable[[Arguments, Tensor, Tensor], str] | None = None
    properties: tuple[Callable[[Function], str | None], ...] = ()
    place: Callable[[Arguments, Tensor | None, Tensor], str] | None = None

    def _run(self, function: Function, inputs: Arguments) -> Tensor:
        return self.read(self.run(function, inputs))

    def _agree(self, got: Tensor, wanted: Tensor) -> bool:
        return agree(got, wanted, self.rtol, self.atol)

    def _examine(self, function: Function, seed: int) -> str:
        cases = self.cases(seed)
        outcomes = [self._attempt(function, inputs, self.ours) for inputs in cases]
        for outcome in outcomes:
            if isinstance(outcome.error, Problem) or (outcome.error and left_unwritten(outcome.error)):
                raise outcome.error
            if outcome.changed is not None:
                stop(in_place(outcome.changed))
        most = -1
        for oracle in self.oracles:
            answers = [self._run(oracle, self._double(inputs)) for inputs in cases]
            agreed = [
                o.error is None and self._agree(o.value, w) for o, w in zip(outcomes, answers, strict=True)
            ]
            if sum(agreed) > most:
                most, wanted, right = sum(agreed), answers, agreed
            if all(right):
                break
        else:
            self._fail(function, cases, outcomes, wanted, right)
        if (borrowed := outcomes[0].borrowed) is not None:
            stop(f"The result is right, but the work was done by {borrowed}. Write it yourself.")
        for inputs, outcome in zip(cases, outcomes, strict=True):
            if wrong := self._wrong_dtype(inputs, outcome.value):
                stop(f"The numbers are right. {wrong}")
        if self.follows:
            for inputs in cases:
                self._follow(function, inputs)
        remark = self.then(function, seed) if self.then is not None else None
        besides = [self.besides] * bool(self.besides) + ["the device of the input"] * self.follows
        also = f"; also tested: {', '.join(besides)}" if besides else ""
        said = f"It agrees with an independent reference on {len(cases)} random cases{also}."
        return f"{said} {remark}" if remark else said

    def _follow(self, function: Function, inputs: Arguments) -> None:
        """End the examination if a tensor that the function makes stays on the CPU, wherever the input is.

        On the device "meta" tensors have no values, so an answer that looks at them cannot be tested so.
        """
        try:
            got = function(*(v.to("meta") if isinstance(v, Tensor) else v for v in inputs))
        except (RuntimeError, NotImplementedError) as error:
            if not re.search(r"expected device|same device|on device", str(error)):
                return
        else:
            if not isinstance(got, Tensor) or got.device.type == "meta":
                return
        stop(
            "The numbers are right, but a tensor that your function makes is always on the CPU: on a GPU it "
            "would meet the input on another device. Make it with device= that of the input."
        )

    def _attempt(self, function: Function, inputs: Arguments, ours: Sequence[str] | None = None) -> Outcome:
        return attempt(function, inputs, self.inputs or self.parameters, self._run, ours)

    def _wrong_dtype(self, inputs: Arguments, got: Tensor) -> str:
        """A sentence if what should be of the inputs' floating dtype is of another; '' otherwise."""
        dtypes = [v.dtype for v in inputs if isinstance(v, Tensor) and v.is_floating_point()]
        if self.run is not call or not dtypes or not got.is_floating_point() or got.dtype == dtypes[0]:
            return ""
        return f"The dtype should be that of the input, {dtypes[0]}, but is {got.dtype}."

    @staticmethod
    def _double(inputs: Arguments) -> Arguments:
        return tuple(v.double() if isinstance(v, Tensor) and v.is_floating_point() else v for v in inputs)

    def _place(self, inputs: Arguments, got: Tensor | None, wanted: Tensor) -> str:
        if self.place is not None:
            return self.place(inputs, got, wanted)
        if got is not None and same_numbers(got, wanted):
            return ""  # the dtype differs, which two equal rows of numbers would only hide
        case = f"Smallest failing case: {show_arguments(self.inputs or self.parameters, inputs)}"
        return case if got is None else f"{case}: {expected_and_got(got, wanted, self.rtol, self.atol)}"

    def _fail(
        self,
        function: Function,
        cases: list[Arguments],
        outcomes: list[Outcome],
        answers: list[Tensor],
        right: list[bool],
    ) -> None:
        first = right.index(False)
        inputs, outcome, wanted = cases[first], outcomes[first], answers[first]
        place = self._place(inputs, outcome.value, wanted)
        if place:
            place = f"\n  {place} ({right.count(False)} of {len(right)} fail)."
        source = source_of(function)
        suspects = [m for m in self.mistakes if m.written is None or re.search(m.written, source)]
        if outcome.error is not None:
            said = f"{type(outcome.error).__name__}: {outcome.error}"
            known = [m.diagnosis for m in suspects if m.raises and re.search(m.raises, said)]
            if not known and any(right):
                known = [self._only_for_some(cases, right)]
            stop("\n  ".join([*known[:1], explain_error(outcome.error)]) + place)
        for mistake in suspects:
            unless = mistake.unless
            tried = [(c, o) for c, o in zip(cases, outcomes, strict=True) if unless is None or not unless(*c)]
            if any(self._is_what(implementation, tried) for implementation in mistake.implementations):
                stop(mistake.diagnosis + place)
        again = self._attempt(function, inputs)
        if again.error is None and not self._agree(again.value, outcome.value):
            stop(
                "Called again with the same input, it gives another answer: it must draw nothing random."
                + place
            )
        said = self._wrong_dtype(inputs, outcome.value)
        if not said and self.explain is not None:
            said = self.explain(inputs, outcome.value, wanted)
        about, said = said, said or difference(outcome.value, wanted)
        if said == VALUES_DIFFER:
            said = self._lacking(function) or self._relation(outcomes, answers, right)
        elif said.startswith(NOT_FINITE) and (lacking := self._lacking(function)):
            said = f"{said} {lacking}"
        if place:
            place += where_right(self.inputs or self.parameters, cases, right)
        stop(said + place, about or VALUES_DIFFER)

    def _lacking(self, function: Function) -> str | None:
        """The sentence on the first property that the function lacks."""
        for lacks in self.properties:
            try:
                if said := lacks(function):
                    return said
            except Exception:  # the learner's code may raise whatever it likes on other inputs
                continue
        return None

    def _relation(self, outcomes: list[Outcome], answers: list[Tensor], right: list[bool]) -> str:
        """What can be said of values that differ and are those of no known mistake."""
        wrong = [
            (o.value, w)
            for o, w, r in zip(outcomes, answers, right, strict=True)
            if o.error is None and not r
        ]
        first = right.index(False)
        return related(wrong, all_of_them=not any(right)) or how_many(outcomes[first].value, answers[first])

    @staticmethod
    def _only_for_some(cases: list[Arguments], right: list[bool]) -> str:
        """The sentence for an exception that not all inputs cause."""
        works = [c[0] for c, fine in zip(cases, right, strict=True) if fine]
        if all(isinstance(x, Tensor) and len(x) == 1 for x in works):
            return "It works for a batch of one only: a size of 1 fits any other, so shapes that differ pass."
        return "It works for some inputs and not for others: is a size fixed in your code?"

    def _is_what(self, implementation: Function, tried: list[tuple[Arguments, Outcome]]) -> bool:
        """True if the learner's results are those of a mistake, on every case that gave a result."""
        for inputs, outcome in tried:
            if outcome.error is not None:
                continue
            expected = self._attempt(implementation, inputs)
            if expected.error is not None or not self._agree(outcome.value, expected.value):
                return False
        return True
