"""Changing one place of a program at a time: the walk that mutations and rewrites share."""

import ast
import copy
from collections.abc import Callable, Iterator

# Called with a node that it may change freely; yields (what was done, the node to stand there instead).
Change = Callable[[ast.AST], Iterator[tuple[str, ast.AST]]]


def _slots(tree: ast.AST) -> Iterator[tuple[ast.AST, str, int | None]]:
    """Every place of a tree that holds a node: (parent, field, position in the field's list or None)."""
    for parent in ast.walk(tree):
        for field, value in ast.iter_fields(parent):
            if isinstance(value, ast.AST):
                yield parent, field, None
            elif isinstance(value, list):
                yield from ((parent, field, k) for k, entry in enumerate(value) if isinstance(entry, ast.AST))


def _get(parent: ast.AST, field: str, position: int | None) -> ast.AST:
    value = getattr(parent, field)
    return value if position is None else value[position]


def _put(parent: ast.AST, field: str, position: int | None, node: ast.AST) -> None:
    if position is None:
        setattr(parent, field, node)
    else:
        getattr(parent, field)[position] = node


def changed_programs(source: str, change: Change) -> Iterator[tuple[str, str]]:
    """Apply a change at each place of a program where it applies; yield (what was done, the new program)."""
    tree = ast.parse(source)
    for number, (parent, field, position) in enumerate(list(_slots(tree))):
        node = _get(parent, field, position)
        if isinstance(node, (ast.arg, ast.arguments, ast.expr_context)):
            continue
        for variant, (what, _) in enumerate(change(copy.deepcopy(node))):
            again = ast.parse(source)
            slot = list(_slots(again))[number]
            new = list(change(_get(*slot)))[variant][1]
            _put(*slot, new)
            yield what, ast.unparse(ast.fix_missing_locations(again))


def is_module(node: ast.AST) -> bool:
    """Whether a node is one of the modules that an answer may use, as opposed to a tensor."""
    return isinstance(node, ast.Name) and node.id in ("torch", "F", "nn", "math", "np")
