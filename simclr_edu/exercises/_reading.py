"""What can be read off the learner's function without running it: whether it is a stub, and slips of Python.

The bytecode is always there, the source mostly: not of a function made by exec, or of a lambda in mid-line.
"""

import ast
import dis
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

Function = Callable[..., Any]


def _code_of(function: Function) -> list[Any]:
    """Code objects of a function, or of the methods that a class defines itself."""
    if inspect.isclass(function):
        return [m.__code__ for m in vars(function).values() if inspect.isfunction(m)]
    function = inspect.unwrap(function)
    code = getattr(function, "__code__", None)
    return [code] if code is not None else []


def _trees(function: Function) -> list[ast.Module]:
    """Syntax trees of a function or of the methods of a class, as far as their source can be read."""
    trees = []
    for code in _code_of(function):
        try:
            trees.append(ast.parse(textwrap.dedent(inspect.getsource(code))))
        except (OSError, SyntaxError):
            continue
    return trees


def _blocks(tree: ast.AST) -> Iterator[list[ast.stmt]]:
    """Every list of statements in a tree: bodies of functions, loops, branches."""
    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if isinstance(block, list) and block and isinstance(block[0], ast.stmt):
                yield block


def source_of(function: Function) -> str:
    """The body of the learner's function, blanks and quotes in one spelling; '' where it cannot be read."""
    bodies = [t.body[0].body if isinstance(t.body[0], ast.FunctionDef) else t.body for t in _trees(function)]
    return "\n".join(ast.unparse(statement) for body in bodies for statement in body)


# --- stubs --------------------------------------------------------------------------------------------------


def is_empty(function: Function) -> bool:
    """True if the body is nothing but a docstring, ``...`` and ``pass``; needs no source."""
    if inspect.isclass(function):
        return False
    harmless = {"RESUME", "NOP", "LOAD_CONST", "RETURN_VALUE", "RETURN_CONST"}
    for code in _code_of(function):
        steps = list(dis.get_instructions(code))
        loads = [s.argval for s in steps if s.opname in ("LOAD_CONST", "RETURN_CONST")]
        return all(s.opname in harmless for s in steps) and all(v is None or v is Ellipsis for v in loads)
    return False


def _is_dots(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is Ellipsis


def _is_filler(statement: ast.stmt) -> bool:
    """True for a line in place of code: ``...``, ``return ...``, ``pass``, or the stub's raise."""
    if isinstance(statement, ast.Raise):
        return statement.exc is not None and "NotImplementedError" in ast.unparse(statement.exc)
    dots = isinstance(statement, (ast.Expr, ast.Return)) and _is_dots(statement.value)
    return dots or isinstance(statement, ast.Pass)


def has_blank(function: Function) -> bool:
    """True if the source holds a ``...`` to be filled in (alone, assigned or returned), or cannot be read."""
    trees = _trees(function)
    for tree in trees:
        for block in _blocks(tree):
            for k, statement in enumerate(block):
                above_code = isinstance(statement, ast.Expr) and not all(map(_is_filler, block[k:]))
                value = getattr(statement, "value", None)
                if _is_dots(value) and not above_code:
                    return True
    return not trees


def leftover(function: Function) -> str | None:
    """The stub's line that ends the function above the learner's own code, if there is one."""
    for tree in _trees(function):
        for block in _blocks(tree):
            for k, statement in enumerate(block):
                ends = _is_filler(statement) and isinstance(statement, (ast.Raise, ast.Return))
                if ends and not all(map(_is_filler, block[k:])):
                    return ast.unparse(statement)
    return None


# --- slips --------------------------------------------------------------------------------------------------


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
    for tree in _trees(function):
        if (call := _unkept(tree)) is not None:
            sentences.append(
                f"What {call}(...) returns is thrown away: it makes a new tensor and changes no old one."
            )
        if _returns_in_loop(tree):
            sentences.append(
                "A return stands inside a loop: it ends the function in the first turn that reaches it."
            )
    return " ".join(sentences)
