"""Slips that the source alone gives away."""

import ast
import dis
import inspect
import re
from typing import Any

from torch import Tensor

from simclr_edu.course.exercises.kit.source import Function, syntax_trees


def _unused(function: Function) -> tuple[list[str], list[str]]:
    """Arguments that the function never reads, and the numbers and tensors that it reads from outside."""
    function = inspect.unwrap(
        vars(function).get("__init__", object) if inspect.isclass(function) else function
    )
    code = getattr(function, "__code__", None)
    if code is None:
        return [], []
    arguments = [a for a in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount] if a != "self"]
    read: set[Any] = set()
    outside = []
    for step in dis.get_instructions(code):
        if "LOAD" in step.opname:  # two names at once in newer versions of Python
            read.update(step.argval if isinstance(step.argval, tuple) else [step.argval])
        if step.opname == "LOAD_GLOBAL":
            value = function.__globals__.get(step.argval)
            if isinstance(value, (int, float, Tensor)) and step.argval not in outside:
                outside.append(step.argval)
    return [a for a in arguments if a not in read], outside


def _unkept(tree: ast.AST) -> str | None:
    """A call that only gives a result, as ``logits.masked_fill(...)`` does, whose result is thrown away."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            called = node.value.func
            if not isinstance(called, ast.Attribute) or called.attr == "add":  # that of a set
                continue
            changes_nothing = hasattr(Tensor, called.attr) and hasattr(Tensor, called.attr + "_")
            if changes_nothing or ast.unparse(called.value) == "F":
                return ast.unparse(called)
    return None


def _returns_in_loop(tree: ast.AST) -> bool:
    loops = [n for n in ast.walk(tree) if isinstance(n, (ast.For, ast.While))]
    return any(isinstance(n, ast.Return) for loop in loops for n in ast.walk(loop))


def slips(function: Function, said: str) -> str:
    """Sentences on what is odd about a function that failed, whatever the exercise; '' if nothing is.

    Args:
        function: the learner's.
        said: the diagnosis so far. An unused argument that it names, or before an exception, is no news,
            unless something from outside was read in its place.
    """
    sentences = []
    unused, outside = _unused(function)
    if not outside:
        unused = [a for a in unused if said.endswith(".") and not re.search(rf"\b{a}\b", said)]
    if unused:
        plural = "s" if len(unused) > 1 else ""
        sentence = f"Your function never uses its argument{plural} {' and '.join(unused)}"
        if outside:
            sentence += f"; it reads {' and '.join(outside)} from outside instead, a global of your notebook"
        sentences.append(sentence + ".")
    for tree in syntax_trees(function):
        if (call := _unkept(tree)) is not None:
            sentences.append(
                f"What {call}(...) returns is thrown away: it makes a new tensor and changes no old one."
            )
        if _returns_in_loop(tree):
            sentences.append(
                "A return stands inside a loop: it ends the function in the first turn that reaches it."
            )
    return " ".join(sentences)
