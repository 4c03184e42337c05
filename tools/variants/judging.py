"""From a program to its judge's word, and from there to what the check says of it."""

import builtins
import contextlib
import io
import linecache
import math
import random
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from variants.effects import EFFECTS
from variants.values import VALUES

SECONDS = 5  # of one judgement; an answer that needs longer never ends
_numbers = iter(range(10**9))


class TooLongError(Exception):
    """An answer did not end in time."""


def load(source: str) -> Callable[..., Any]:
    """Make the function that a program defines, its source readable as a notebook cell's is."""
    name = f"<answer {next(_numbers)}>"
    linecache.cache[name] = (len(source), None, source.splitlines(True), name)
    space: dict[str, Any] = {"torch": torch, "F": F, "nn": nn, "math": math, "__builtins__": builtins}
    exec(compile(source, name, "exec"), space)
    functions = [
        v for v in space.values() if getattr(getattr(v, "__code__", None), "co_filename", "") == name
    ]
    return functions[0]


@contextmanager
def limited() -> Iterator[None]:
    """Raise TooLongError in what runs for more than ``SECONDS``."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TooLongError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def judge(exercise: str, source: str, seed: int) -> str:
    """Say whether a program answers an exercise: "right", "wrong" or "undecided"."""
    decide = EFFECTS.get(exercise) or VALUES[exercise].verdict
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    with limited(), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return decide(load(source), seed)
        except Exception:
            return "wrong"
