"""Is the exercise attempted, and what was left of the stub?"""

import ast
import dis
import inspect

from simclr_edu.course.exercises.kit.source import Function, blocks, code_of, syntax_trees


def is_empty(function: Function) -> bool:
    """True if the body is nothing but a docstring, ``...`` and ``pass``; needs no source."""
    if inspect.isclass(function):
        return False
    harmless = {"RESUME", "NOP", "LOAD_CONST", "RETURN_VALUE", "RETURN_CONST"}
    for code in code_of(function):
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
    trees = syntax_trees(function)
    for tree in trees:
        for block in blocks(tree):
            for k, statement in enumerate(block):
                above_code = isinstance(statement, ast.Expr) and not all(map(_is_filler, block[k:]))
                value = getattr(statement, "value", None)
                if _is_dots(value) and not above_code:
                    return True
    return not trees


def leftover(function: Function) -> str | None:
    """The stub's line that ends the function above the learner's own code, if there is one."""
    for tree in syntax_trees(function):
        for block in blocks(tree):
            for k, statement in enumerate(block):
                ends = _is_filler(statement) and isinstance(statement, (ast.Raise, ast.Return))
                if ends and not all(map(_is_filler, block[k:])):
                    return ast.unparse(statement)
    return None
