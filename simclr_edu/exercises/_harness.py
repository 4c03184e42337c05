"""What the exercises share: run the learner's function safely, compare it with an oracle, name the mistake.

A check never touches what is the learner's: random states are restored, inputs are copies, and an exception
in the learner's code becomes a sentence with the learner's own line.
"""

import functools
import inspect
import io
import linecache
import os
import random
import re
import sys
import sysconfig
import textwrap
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, ParamSpec

import numpy as np
import torch
from torch import Tensor

from simclr_edu.exercises._reading import has_blank, is_empty, leftover, slips, source_of

P = ParamSpec("P")
Function = Callable[..., Any]
Arguments = tuple[Any, ...]

NOT_ATTEMPTED = "not attempted yet"
RETURNED_NOTHING = "It returned nothing (None). Is the return missing?"
_MOST_VALUES = 8  # larger tensors are shown as their shape and one entry
_MOST_LINES = 6  # of what the learner's function printed
_PACKAGE = Path(__file__).resolve().parent.parent
_FOLDER, _EXERCISES = str(_PACKAGE), str(Path(__file__).resolve().parent)
_LIBRARIES = [sysconfig.get_path(p) for p in ("stdlib", "platstdlib", "purelib", "platlib")]
_NOT_THE_LEARNERS = {str(_PACKAGE), str(Path(torch.__file__).parent), *_LIBRARIES}


@dataclass(frozen=True, repr=False)
class Verdict:
    """What a check found: ``passed`` is None when the exercise is not attempted yet."""

    exercise: str
    passed: bool | None
    diagnosis: str
    printed: str = ""  # by the learner's function, meanwhile

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


class _Stop(Exception):
    """Ends a hand-written examination early with its verdict."""

    def __init__(self, passed: bool | None, diagnosis: str) -> None:
        super().__init__(diagnosis)
        self.passed = passed


@dataclass(frozen=True)
class Outcome:
    """What one call of the learner's function gave."""

    value: Any = None
    error: Exception | None = None
    changed: str | None = None  # name of the input that was modified in place
    borrowed: str | None = None  # a function that did the learner's work


# --- drawing cases ------------------------------------------------------------------------------------------


def generator(seed: int) -> torch.Generator:
    """Return a generator on the CPU, seeded."""
    return torch.Generator().manual_seed(seed)


def whole(rng: torch.Generator, low: int, high: int) -> int:
    """Draw a whole number from ``low`` to ``high``, both included."""
    return int(torch.randint(low, high + 1, (), generator=rng))


def between(rng: torch.Generator, low: float, high: float) -> float:
    """Draw a number from ``low`` to ``high``, with few digits so that it can be typed again."""
    return round(low + (high - low) * float(torch.rand((), generator=rng)), 3)


# --- reading what came back ---------------------------------------------------------------------------------


def kind(value: object) -> str:
    """Say in a few words what a value is."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    return f"a {type(value).__name__}"


def read_tensor(output: object) -> Tensor:
    """Return the output if it is a tensor; otherwise raise Problem."""
    if output is None or output is Ellipsis:
        raise Problem(RETURNED_NOTHING, nothing=True)
    if not isinstance(output, Tensor):
        raise Problem(f"It must return one torch.Tensor, but it returned {kind(output)}.")
    return output


def read_number(output: object) -> Tensor:
    """Return the output as a scalar tensor if it is a plain number or a tensor; otherwise raise Problem."""
    if isinstance(output, (int, float)) and not isinstance(output, bool):
        return torch.tensor(float(output), dtype=torch.float32)
    return read_tensor(output)


def read_float(output: object) -> Tensor:
    """Return the output as a scalar tensor if it is a plain Python number; otherwise raise Problem."""
    if isinstance(output, Tensor):
        raise Problem(f"It must return a plain float, but it returned {kind(output)}.")
    if output is not None and output is not Ellipsis and not isinstance(output, (int, float)):
        raise Problem(f"It must return a plain float, but it returned {kind(output)}.")
    return read_number(output)


# --- comparing and showing ----------------------------------------------------------------------------------


def agree(got: Tensor, wanted: Tensor, rtol: float, atol: float) -> bool:
    """True if shape, kind of number and every value agree; NaN agrees with NaN."""
    if got.shape != wanted.shape or got.is_floating_point() != wanted.is_floating_point():
        return False
    if not got.is_floating_point():
        return got.dtype == wanted.dtype and torch.equal(got, wanted)
    return bool(_close(got, wanted, rtol, atol).all())


def _close(got: Tensor, wanted: Tensor, rtol: float, atol: float) -> Tensor:
    return torch.isclose(
        got.detach().cpu().double(), wanted.detach().cpu().double(), rtol, atol, equal_nan=True
    )


def _same_numbers(got: Tensor, wanted: Tensor) -> bool:
    """True if the numbers agree exactly, whatever their dtypes."""
    return got.shape == wanted.shape and torch.equal(got.detach().cpu().double(), wanted.cpu().double())


def show(value: object) -> str:
    """Write a number, or a small tensor, in full; a large tensor as its shape."""
    if isinstance(value, Tensor):
        if value.numel() > _MOST_VALUES:
            return f"{tuple(value.shape)}"
        return _show_list(value.detach().cpu().tolist())
    if isinstance(value, tuple):
        return "(" + ", ".join(show(v) for v in value) + ")"
    return _show_list(value)


def _show_list(value: object) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_show_list(v) for v in value) + "]"
    if isinstance(value, float):  # as float32, in which 1e-82 is 0
        return f"{torch.tensor(value, dtype=torch.float32).item():.4g}"
    return str(value)


def show_arguments(names: Sequence[str], arguments: Arguments) -> str:
    """Write the inputs of a case: values when small, shapes when large."""
    parts = []
    for name, value in zip(names, arguments, strict=True):
        large = isinstance(value, Tensor) and value.numel() > _MOST_VALUES
        parts.append(f"{name} {show(value)}" if large else f"{name} = {show(value)}")
    return ", ".join(parts)


def difference(got: Tensor, wanted: Tensor) -> str:
    """Say in one sentence how two tensors differ: in shape, dtype, NaN or values."""
    if got.shape != wanted.shape:
        return f"The shape should be {tuple(wanted.shape)}, but is {tuple(got.shape)}."
    if wanted.is_floating_point() and not got.is_floating_point():
        return f"The dtype should be floating point, but is {got.dtype}."
    if not wanted.is_floating_point() and got.dtype != wanted.dtype:
        cause = "The dtype is the problem, not the numbers: the" if _same_numbers(got, wanted) else "The"
        return f"{cause} dtype should be {wanted.dtype}, but is {got.dtype}."
    if got.is_floating_point() and not got.isfinite().all() and wanted.isfinite().all():
        what = "NaN" if got.isnan().any() else "infinity"
        return f"The result holds {what}, where every value should be finite."
    return "The values differ."


def expected_and_got(got: Tensor, wanted: Tensor, rtol: float, atol: float) -> str:
    """Write expected and got values: all of a small tensor, the first that differs of a large one."""
    if got.shape != wanted.shape:
        return f"expected shape {tuple(wanted.shape)}, got {tuple(got.shape)}"
    if got.numel() <= _MOST_VALUES:
        return f"expected {show(wanted)}, got {show(got)}"
    wrong = torch.nonzero(~_close(got, wanted, rtol, atol))
    place = tuple(wrong[0].tolist()) if len(wrong) else (0,) * got.ndim
    where = ", ".join(map(str, place))
    return f"at [{where}] expected {show(wanted[place])}, got {show(got[place])}"


# --- the learner's code -------------------------------------------------------------------------------------


def _is_learners(filename: str) -> bool:
    folders = Path(filename).parents
    return not filename.startswith("<frozen") and not any(Path(f) in folders for f in _NOT_THE_LEARNERS)


def _learners_frame(traceback: TracebackType | None) -> tuple[TracebackType | None, bool]:
    """The deepest frame of the learner's own code, and whether the exception was raised in it."""
    found, last = None, None
    while traceback is not None:
        if _is_learners(traceback.tb_frame.f_code.co_filename):
            found = traceback
        last, traceback = traceback, traceback.tb_next
    return found, found is last


def left_unwritten(error: Exception) -> bool:
    """True if the exception says that the stub is still a stub."""
    if isinstance(error, NotImplementedError):
        return _learners_frame(error.__traceback__)[1]
    return isinstance(error, (TypeError, AttributeError)) and "ellipsis" in str(error)


def explain_error(error: Exception) -> str:
    """Say what was raised and on which line of the learner's own code."""
    message = textwrap.shorten(str(error), 300, placeholder=" ...")
    what = f"{type(error).__name__}: {message}" if message else type(error).__name__
    frame, _ = _learners_frame(error.__traceback__)
    if frame is None:
        return f"It raised {what}."
    code = frame.tb_frame.f_code
    line = frame.tb_lineno - code.co_firstlineno + 1
    text = linecache.getline(code.co_filename, frame.tb_lineno, frame.tb_frame.f_globals).strip()
    where = f"line {line} of {code.co_name} (its def is line 1)"
    return f"It raised an error on {where}" + (f":\n    {text}\n  {what}" if text else f": {what}")


def copy(value: Any) -> Any:
    """Copy the tensors in a value, so that the learner's function cannot reach the originals."""
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, tuple):
        return tuple(copy(v) for v in value)
    return value


def _same(before: Any, after: Any) -> bool:
    if isinstance(before, Tensor):
        return before.shape == after.shape and torch.equal(before, after)
    if isinstance(before, tuple):
        return all(_same(b, a) for b, a in zip(before, after, strict=True))
    return True


def call(function: Function, arguments: Arguments) -> Any:
    """Call the function with the arguments: the usual way to run an exercise."""
    return function(*arguments)


def _name_of_ours(frame: FrameType, event: str, argument: Any, ours: Sequence[str]) -> str | None:
    """Name of the function that is being entered, if it is the package's or listed in ``ours``."""
    if event == "c_call":
        return next((name for name in ours if name == getattr(argument, "__name__", None)), None)
    if event != "call":
        return None
    folder, file = os.path.split(frame.f_code.co_filename)  # for every call: Path would be slow
    name = frame.f_code.co_qualname
    if folder == _FOLDER:
        return f"{file.removesuffix('.py')}.{name.removesuffix('.__init__')}"
    if folder.startswith(_FOLDER + os.sep) and folder != _EXERCISES:  # a package of ours, by its own name
        return f"{folder[len(_FOLDER) + 1 :].split(os.sep)[0]}.{name.removesuffix('.__init__')}"
    return name if name in ours else None


@contextmanager
def _watch(ours: Sequence[str] | None) -> Iterator[list[str]]:
    """Collect the names of functions that are entered and do a learner's work; none if ``ours`` is None."""
    names: list[str] = []

    def note(frame: FrameType, event: str, argument: Any) -> None:
        if not names and (name := _name_of_ours(frame, event, argument, ours or ())):
            names.append(name)

    before = sys.getprofile()
    if ours is not None:
        sys.setprofile(note)
    try:
        yield names
    finally:
        sys.setprofile(before)


def attempt(
    function: Function,
    arguments: Arguments,
    names: Sequence[str],
    run: Function = call,
    ours: Sequence[str] | None = None,
) -> Outcome:
    """Run the function on a copy of the inputs; note an exception, a modified input, and work done by others.

    ``ours`` names functions outside the package that do the work; with None any function may be called.
    """
    given = copy(arguments)
    try:
        with _watch(ours) as borrowed:
            value = run(function, given)
    except Exception as error:  # whatever the learner's code raises is part of the answer
        return Outcome(error=error)
    changed = [
        n for n, before, after in zip(names, arguments, given, strict=True) if not _same(before, after)
    ]
    return Outcome(value, changed=next(iter(changed), None), borrowed=next(iter(borrowed), None))


def call_or_stop(
    function: Function, arguments: Arguments, names: Sequence[str], ours: Sequence[str] | None = None
) -> Any:
    """Run the function; end the examination if it raises, modifies an input or has others do the work."""
    outcome = attempt(function, arguments, names, ours=ours)
    if outcome.error is not None:
        raise outcome.error
    if outcome.changed is not None:
        stop(in_place(outcome.changed))
    if outcome.borrowed is not None:
        stop(f"The work was done by {outcome.borrowed}. Write it yourself.")
    return outcome.value


def gradient_flows(
    function: Function, cases: list[Arguments], names: Sequence[str], oracle: Function | None = None
) -> None:
    """Once the values agree: end the examination unless the oracle's gradient reaches every tensor.

    Without an oracle any gradient will do: on unit rows, say, it matters whether they are normalised again.
    """
    for inputs in cases:
        given, exact = (
            tuple(change(v).requires_grad_() if isinstance(v, Tensor) else v for v in inputs)
            for change in (torch.clone, Tensor.double)
        )
        leaves, answers = ([v for v in values if isinstance(v, Tensor)] for values in (given, exact))
        result = call_or_stop(function, given, names)
        if not isinstance(result, Tensor) or not result.requires_grad:
            stop(
                "The value is right, but no gradient can flow: something detached it (item, float, math, "
                "numpy, detach, no_grad)."
            )
        got = torch.autograd.grad(result, leaves, allow_unused=True)
        wanted = torch.autograd.grad(oracle(*exact), answers) if oracle else got
        tensors = [n for n, v in zip(names, inputs, strict=True) if isinstance(v, Tensor)]
        for name, g, w in zip(tensors, got, wanted, strict=True):
            if g is not None and g.isnan().any():
                stop(f"The value is right, but the gradient of {name} holds NaN: is there a root of 0?")
            if g is None or not agree(g, w, 1e-2, 1e-4):
                cause = "does not reach" if g is None else "is wrong for"
                stop(f"The value is right, but the gradient {cause} {name}: part of the graph was detached.")


def stop(diagnosis: str) -> None:
    """End a hand-written examination: the answer is wrong, for this reason."""
    raise _Stop(False, diagnosis)


def in_place(name: str) -> str:
    """The sentence about a modified input."""
    return f"Your function changed its input {name} in place. The caller still needs it: make a new tensor."


@contextmanager
def _untouched_state(seed: int) -> Iterator[None]:
    """Restore every random state and the gradient mode afterwards; inside, draws are those of ``seed``."""
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the tensors are tiny; on a busy machine threads cost a hundred times more
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices), torch.enable_grad():
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would also reseed the GPUs
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)  # noqa: NPY002
            torch.set_num_threads(threads)


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
    printed = io.StringIO()
    with _untouched_state(seed), redirect_stdout(printed), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        passed, diagnosis = _judge(function, examination)
    if diagnosis.startswith(RETURNED_NOTHING) and printed.getvalue():
        diagnosis += " It prints instead: return the result."
    return Verdict(name, passed, diagnosis, printed.getvalue())


def _judge(function: Function, examination: Callable[[], str]) -> tuple[bool | None, str]:
    """Run the examination and turn whatever it raises into a verdict's two parts."""
    try:
        return True, examination()
    except _Stop as stopped:
        return stopped.passed, _with_slips(str(stopped), function)
    except Problem as problem:
        return unwritten(function) if problem.nothing and has_blank(function) else (False, str(problem))
    except Exception as error:
        if left_unwritten(error):
            return unwritten(function)
        return False, _with_slips(explain_error(error), function)


def unwritten(function: Function) -> tuple[bool | None, str]:
    """The two parts of a verdict on a function that ended as a stub does."""
    if (line := leftover(function)) is not None:
        return False, f"Your code stands below the stub's `{line}`, so it never runs: remove that line."
    return None, NOT_ATTEMPTED


def _with_slips(diagnosis: str, function: Function) -> str:
    """The diagnosis, and on its first line what is odd about the function whatever the exercise."""
    first, newline, rest = diagnosis.partition("\n")
    if not (more := slips(function, first)):
        return diagnosis
    if first.endswith("."):
        return f"{first} {more}{newline}{rest}"
    return f"{diagnosis}\n  {more}"


def report(verdict: Verdict) -> None:
    """Print a verdict, and the first lines of what the learner's function printed."""
    print(verdict)
    lines = verdict.printed.splitlines()
    if lines:
        few = f"{len(lines)} lines, the first {_MOST_LINES}" if len(lines) > _MOST_LINES else "this"
        print(f"Your function printed {few}:", *lines[:_MOST_LINES], sep="\n    ")


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


@dataclass(frozen=True)
class Exercise:
    """An exercise whose answer is a value: cases, an oracle for them, and the classic mistakes.

    Attributes:
        name: as printed.
        parameters: names of the learner's arguments.
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
        then: a further test once all values agree; calls ``stop`` with a diagnosis.
        ours: names of functions outside the package that do the whole work: calling them, or anything of the
            package, is no answer. With None any function may be called.
        explain: gives the sentence for a result that fits no known mistake, from (inputs, got, wanted).
        place: gives the line on the smallest failing case, maybe empty, from (inputs, got or None, wanted).
    """

    name: str
    parameters: tuple[str, ...]
    cases: Callable[[int], list[Arguments]]
    oracles: tuple[Function, ...]
    mistakes: tuple[Mistake, ...] = ()
    read: Callable[[object], Tensor] = read_tensor
    run: Function = call
    inputs: tuple[str, ...] = ()
    rtol: float = 1e-3
    atol: float = 1e-4
    then: Callable[[Function, int], None] | None = None
    ours: tuple[str, ...] | None = ()
    explain: Callable[[Arguments, Tensor, Tensor], str] | None = None
    place: Callable[[Arguments, Tensor | None, Tensor], str] | None = None

    def diagnose(self, function: Function, seed: int = 0) -> Verdict:
        """Judge a function; prints nothing."""
        return examine(self.name, self.parameters, function, lambda: self._examine(function, seed), seed)

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
        if self.then is not None:
            self.then(function, seed)
        return f"It agrees with an independent reference on {len(cases)} random cases."

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
        if got is not None and _same_numbers(got, wanted):
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
        explain = self.explain or self._explain
        stop((self._wrong_dtype(inputs, outcome.value) or explain(inputs, outcome.value, wanted)) + place)

    def _explain(self, inputs: Arguments, got: Tensor, wanted: Tensor) -> str:
        return difference(got, wanted)

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
