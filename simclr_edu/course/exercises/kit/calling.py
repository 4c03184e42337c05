"""Calling the learner's function safely: errors, prints, forbidden help, random state."""

import linecache
import os
import sys
import sysconfig
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import torch
from torch import Tensor

from simclr_edu.course.exercises.kit.verdict import (
    Arguments,
    Function,
    Outcome,
    Stop,
)

_PACKAGE, _EXERCISES = (str(Path(__file__).resolve().parents[k]) for k in (3, 1))
_LIBRARIES = [sysconfig.get_path(p) for p in ("stdlib", "platstdlib", "purelib", "platlib")]
_NOT_THE_LEARNERS = {_PACKAGE, str(Path(torch.__file__).parent), *_LIBRARIES}


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


def where(error: BaseException) -> str:
    """The line of the learner's own code that raised an exception, or was running; '' if there is none."""
    frame, _ = _learners_frame(error.__traceback__)
    if frame is None:
        return ""
    code = frame.tb_frame.f_code
    line = frame.tb_lineno - code.co_firstlineno + 1
    text = linecache.getline(code.co_filename, frame.tb_lineno, frame.tb_frame.f_globals).strip()
    return f"line {line} of {code.co_name} (its def is line 1)" + (f":\n    {text}" if text else "")


def explain_error(error: Exception) -> str:
    """Say what was raised and on which line of the learner's own code."""
    message = textwrap.shorten(str(error), 300, placeholder=" ...")
    what = f"{type(error).__name__}: {message}" if message else type(error).__name__
    if not (line := where(error)):
        return f"It raised {what}."
    return f"It raised an error on {line}" + (f"\n  {what}" if "\n" in line else f": {what}")


def copy(value: Any) -> Any:
    """Copy the tensors in a value, so that the learner's function cannot reach the originals."""
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, tuple):
        return tuple(copy(v) for v in value)
    return value


def _same(before: Any, after: Any) -> bool:
    if isinstance(before, Tensor):
        left = before.shape == after.shape and before.requires_grad == after.requires_grad
        return left and torch.equal(before, after)
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
    if file.startswith("_") and folder == _PACKAGE:
        return None  # settings, checks and locks do nobody's work
    if folder == _PACKAGE:
        return f"{file.removesuffix('.py')}.{name.removesuffix('.__init__')}"
    if folder.startswith(_PACKAGE + os.sep) and not folder.startswith(
        _EXERCISES
    ):  # a package of ours, by its own name
        return f"{folder[len(_PACKAGE) + 1 :].split(os.sep)[0]}.{name.removesuffix('.__init__')}"
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


def stop(diagnosis: str, about: str | None = None) -> None:
    """End an examination: the answer is wrong, for this reason.

    ``about`` takes the diagnosis's place where it is asked whether an argument was named already.
    """
    raise Stop(False, diagnosis, about)


def in_place(name: str) -> str:
    """The sentence about a modified input."""
    return f"Your function changed its input {name} in place. The caller still needs it: make a new tensor."
