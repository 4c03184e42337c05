"""A learner's function as a notebook makes it: from the text of a cell, in a namespace of its own."""

import linecache
import textwrap
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from simclr_edu.course.exercises import EXERCISES


def cell(text: str, *, with_source: bool = True, **planted: Any) -> Callable[..., Any]:
    """Execute a cell and return the first function that it defines.

    Args:
        text: of the cell; torch, F and nn are imported.
        with_source: whether the source can be read back, as in a kernel, or not, as where it was typed in.
        planted: names that another cell left behind.
    """
    source = textwrap.dedent(text).strip() + "\n"
    filename = f"<cell {abs(hash(source))}>"
    if with_source:
        linecache.cache[filename] = (len(source), None, source.splitlines(True), filename)
    namespace: dict[str, Any] = {"torch": torch, "F": F, "nn": nn, **planted}
    before = set(namespace)
    exec(compile(source, filename, "exec"), namespace)
    return next(value for name, value in namespace.items() if name not in before and callable(value))


def attempt(name: str, body: str, **options: Any) -> Callable[..., Any]:
    """A learner's function for an exercise, by the exercise's arguments and the lines of its body."""
    arguments = ", ".join(EXERCISES[name].parameters)
    return cell(f"def attempt({arguments}):\n" + textwrap.indent(textwrap.dedent(body), "    "), **options)
