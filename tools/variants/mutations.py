"""Slips: small changes of a right program, most of which make it wrong."""

import ast
from collections.abc import Iterator

from variants.sites import changed_programs, is_module

# Methods and functions that stand in for each other in a hurry.
SIBLINGS = (
    ("sum", "mean"),
    ("amax", "amin"),
    ("max", "min"),
    ("exp", "log"),
    ("exp", "square"),
    ("log", "log2"),
    ("log", "log10"),
    ("log", "log1p"),
    ("softmax", "log_softmax"),
    ("softmax", "sigmoid"),
    ("logsumexp", "sum"),
    ("square", "abs"),
    ("square", "sqrt"),
    ("norm", "sum"),
    ("cat", "stack"),
    ("roll", "flip"),
    ("eye", "ones"),
    ("zeros", "ones"),
    ("argsort", "argmax"),
    ("argsort", "sort"),
    ("topk", "sort"),
    ("indices", "values"),
    ("rand", "randn"),
    ("randperm", "arange"),
    ("randperm", "randint"),
    ("flip", "roll"),
    ("cos", "sin"),
    ("eval", "train"),
    ("split", "chunk"),
    ("no_grad", "enable_grad"),
    ("ReLU", "Identity"),
    ("ReLU", "Sigmoid"),
    ("round", "int"),
    ("max", "sum"),
    ("pdist", "cdist"),
    ("svdvals", "eigvals"),
    ("mean", "std"),
)

ARITHMETIC: dict[type[ast.operator], tuple[type[ast.operator], ...]] = {
    ast.Add: (ast.Sub, ast.Mult),
    ast.Sub: (ast.Add, ast.Div),
    ast.Mult: (ast.Div, ast.Add),
    ast.Div: (ast.Mult, ast.Sub),
    ast.MatMult: (ast.Mult,),
    ast.FloorDiv: (ast.Mult,),
    ast.Pow: (ast.Mult,),
    ast.Mod: (ast.FloorDiv,),
}

COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq, ast.GtE),
    ast.NotEq: (ast.Eq,),
}


def _numbers(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    if not isinstance(node, ast.Constant) or isinstance(node.value, (bool, str)) or node.value is None:
        return
    value = node.value
    if isinstance(value, (int, float)):
        for other in dict.fromkeys((value + 1, value - 1, 0, -value, 2 * value)):
            if other != value:
                yield f"{value} -> {other}", ast.Constant(other)


def _truths(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield f"{node.value} -> {not node.value}", ast.Constant(not node.value)


def _operators(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node, ast.BinOp):
        for other in ARITHMETIC.get(type(node.op), ()):
            yield f"{type(node.op).__name__} -> {other.__name__}", ast.BinOp(node.left, other(), node.right)
        yield "right operand left out", node.left
        yield "left operand left out", node.right
        if isinstance(node.op, (ast.Sub, ast.Div, ast.MatMult)):
            yield "operands turned round", ast.BinOp(node.right, node.op, node.left)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.Invert, ast.Not)):
        yield "sign or negation left out", node.operand
    elif isinstance(node, ast.Compare) and len(node.ops) == 1:
        for relation in COMPARISONS.get(type(node.ops[0]), ()):
            yield (
                f"{type(node.ops[0]).__name__} -> {relation.__name__}",
                ast.Compare(node.left, [relation()], node.comparators),
            )


def _siblings(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    if not isinstance(node, (ast.Attribute, ast.Name)) or not isinstance(node.ctx, ast.Load):
        return
    name = node.attr if isinstance(node, ast.Attribute) else node.id
    others = dict.fromkeys([b for a, b in SIBLINGS if a == name] + [a for a, b in SIBLINGS if b == name])
    for other in others:
        if isinstance(node, ast.Attribute):
            yield f"{name} -> {other}", ast.Attribute(node.value, other, node.ctx)
        elif name in ("max", "min", "round", "int", "sum"):
            yield f"{name} -> {other}", ast.Name(other, node.ctx)


def _calls(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    if not isinstance(node, ast.Call):
        return
    for k, keyword in enumerate(node.keywords):
        if keyword.arg is not None:
            rest = node.keywords[:k] + node.keywords[k + 1 :]
            yield f"{keyword.arg}= left out", ast.Call(node.func, node.args, rest)
    if isinstance(node.func, ast.Attribute) and not is_module(node.func.value):
        yield f".{node.func.attr}() left out", node.func.value
    elif len(node.args) == 1 and not isinstance(node.args[0], ast.Starred):
        yield "call left out", node.args[0]
    if len(node.args) >= 2 and not any(isinstance(a, ast.Starred) for a in node.args[:2]):
        yield (
            "arguments turned round",
            ast.Call(node.func, [node.args[1], node.args[0], *node.args[2:]], node.keywords),
        )
        yield "last argument left out", ast.Call(node.func, node.args[:-1], node.keywords)


def _subscripts(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
        yield "index left out", node.value
    if isinstance(node, ast.Slice):
        if node.lower is not None:
            yield "slice from the start", ast.Slice(None, node.upper, node.step)
        if node.upper is not None:
            yield "slice to the end", ast.Slice(node.lower, None, node.step)
        yield "slice turned into its complement", ast.Slice(node.upper, node.lower, node.step)
    if isinstance(node, ast.Attribute) and node.attr == "T":
        yield ".T left out", node.value


def _numerics(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """What is added against, or in ignorance of, the limits of float32; and what stops the gradient."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return
    name, subject = node.func.attr, node.func.value
    if name == "log" and not is_module(subject):
        small = ast.BinOp(subject, ast.Add(), ast.Constant(1e-8))
        yield "+ 1e-8 inside the log", ast.Call(ast.Attribute(small, "log", ast.Load()), [], [])
    if name in ("log_softmax", "logsumexp") and not is_module(subject):
        plain = "softmax" if name == "log_softmax" else "exp"
        inner = ast.Call(
            ast.Attribute(subject, plain, ast.Load()),
            node.args if plain == "softmax" else [],
            node.keywords if plain == "softmax" else [],
        )
        if plain == "exp":
            inner = ast.Call(ast.Attribute(inner, "sum", ast.Load()), node.args, node.keywords)
        yield f"{name} in two steps", ast.Call(ast.Attribute(inner, "log", ast.Load()), [], [])
    if name in ("normalize", "softmax", "chunk", "exp", "cat", "amax", "encoder"):
        yield ".detach() added", ast.Call(ast.Attribute(node, "detach", ast.Load()), [], [])
    if name in ("arange", "argsort", "nonzero", "topk", "cat", "sum", "softmax", "flip"):
        yield ".float() added", ast.Call(ast.Attribute(node, "float", ast.Load()), [], [])
        yield ".half() added", ast.Call(ast.Attribute(node, "half", ast.Load()), [], [])


def _statements(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node, (ast.Expr, ast.Assign, ast.AugAssign)):
        yield f"left out: {ast.unparse(node)[:40]}", ast.Pass()
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield f"done twice: {ast.unparse(node)[:40]}", ast.If(ast.Constant(True), [node, node], [])
    if isinstance(node, ast.If):
        yield "branch never taken", ast.If(ast.Constant(False), node.body, node.orelse)
        yield "branch always taken", ast.If(ast.Constant(True), node.body, node.orelse)
    if isinstance(node, ast.Return) and node.value is not None:
        yield "result not returned", ast.Expr(node.value)
        yield "sign of the result", ast.Return(ast.UnaryOp(ast.USub(), node.value))
        yield "two times the result", ast.Return(ast.BinOp(ast.Constant(2), ast.Mult(), node.value))


def _bodies(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Neighbouring statements turned round, and the last one moved into the loop above it."""
    if not isinstance(node, (ast.FunctionDef, ast.For)):
        return
    body = node.body
    for k in range(len(body) - 1):
        if not isinstance(body[k + 1], ast.Return):
            yield (
                "two statements turned round",
                _with_body(node, [*body[:k], body[k + 1], body[k], *body[k + 2 :]]),
            )
    if len(body) > 1 and isinstance(body[-2], ast.For) and isinstance(body[-1], ast.Return):
        loop = ast.For(body[-2].target, body[-2].iter, [*body[-2].body, body[-1]], [])
        yield "return inside the loop", _with_body(node, [*body[:-2], loop])


def _with_body(node: ast.FunctionDef | ast.For, body: list[ast.stmt]) -> ast.AST:
    if isinstance(node, ast.For):
        return ast.For(node.target, node.iter, body, [])
    return ast.FunctionDef(node.name, node.args, body, [], None, None)


def _names(parameters: tuple[str, ...]):  # type: ignore[no-untyped-def]
    """One argument taken for another."""

    def change(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in parameters:
            for other in parameters:
                if other != node.id:
                    yield f"{node.id} -> {other}", ast.Name(other, ast.Load())

    return change


CHANGES = (_numbers, _truths, _operators, _siblings, _calls, _subscripts, _numerics, _statements, _bodies)


def mutations(source: str) -> Iterator[tuple[str, str]]:
    """All programs one slip away from a program: (the slip, the program), each program once."""
    function = next(n for n in ast.parse(source).body if isinstance(n, ast.FunctionDef))
    parameters = tuple(a.arg for a in function.args.args)
    seen = {ast.unparse(ast.parse(source))}
    for change in (*CHANGES, _names(parameters)):
        for what, program in changed_programs(source, change):
            if program not in seen:
                seen.add(program)
                yield what, program
