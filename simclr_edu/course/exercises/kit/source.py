"""The source of the learner's function."""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

Function = Callable[..., Any]


def code_of(function: Function) -> list[Any]:
    """Code objects of a function, or of the methods that a class defines itself."""
    if inspect.isclass(function):
        return [m.__code__ for m in vars(function).values() if inspect.isfunction(m)]
    function = inspect.unwrap(function)
    code = getattr(function, "__code__", None)
    return [code] if code is not None else []


def syntax_trees(function: Function) -> list[ast.Module]:
    """Syntax trees of a function or of the methods of a class, as far as their source can be read."""
    trees = []
    for code in code_of(function):
        try:
            trees.append(ast.parse(textwrap.dedent(inspect.getsource(code))))
        except (OSError, SyntaxError):
            continue
    return trees


def blocks(tree: ast.AST) -> Iterator[list[ast.stmt]]:
    """Every list of statements in a tree: bodies of functions, loops, branches."""
    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if isinstance(block, list) and block and isinstance(block[0], ast.stmt):
                yield block


def source_of(function: Function) -> str:
    """The body of the learner's function, blanks and quotes in one spelling; '' where it cannot be read."""
    bodies = [
        t.body[0].body if isinstance(t.body[0], ast.FunctionDef) else t.body for t in syntax_trees(function)
    ]
    return "\n".join(ast.unparse(statement) for body in bodies for statement in body)
