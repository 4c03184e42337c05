"""Other ways to write the same program: none of them changes what it computes beyond rounding."""

import ast
import random
from collections.abc import Iterator

from variants.sites import changed_programs, is_module

# Methods of a tensor that are functions of torch as well, with the same arguments.
BOTH_WAYS = frozenset(
    "exp log sum mean amax roll square flip softmax argsort topk "
    "where sqrt abs logsumexp split chunk log_softmax mul nonzero squeeze".split()
)


def _commute(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Mult)):
        if not isinstance(node.left, (ast.List, ast.Tuple)):
            yield "operands turned round", ast.BinOp(node.right, node.op, node.left)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub):
        yield "a - b as -(b - a)", ast.UnaryOp(ast.USub(), ast.BinOp(node.right, ast.Sub(), node.left))
        yield "a - b as a + (-b)", ast.BinOp(node.left, ast.Add(), ast.UnaryOp(ast.USub(), node.right))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
        yield "@ as torch.matmul", ast.Call(_torch("matmul"), [node.left, node.right], [])
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        mirrored = {ast.Lt: ast.Gt, ast.Gt: ast.Lt, ast.LtE: ast.GtE, ast.GtE: ast.LtE, ast.Eq: ast.Eq}
        if (other := mirrored.get(type(node.ops[0]))) is not None:
            yield "comparison mirrored", ast.Compare(node.comparators[0], [other()], [node.left])


def _torch(name: str) -> ast.Attribute:
    return ast.Attribute(ast.Name("torch", ast.Load()), name, ast.Load())


def _methods(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    if (
        not isinstance(node, ast.Call)
        or not isinstance(node.func, ast.Attribute)
        or node.func.attr not in BOTH_WAYS
    ):
        return
    name, subject = node.func.attr, node.func.value
    if not is_module(subject):
        yield f".{name} as a function", ast.Call(_torch(name), [subject, *node.args], node.keywords)
    elif isinstance(subject, ast.Name) and subject.id == "torch" and name != "where" and node.args:
        yield (
            f"torch.{name} as a method",
            ast.Call(ast.Attribute(node.args[0], name, ast.Load()), node.args[1:], node.keywords),
        )


def _transpose(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node, ast.Attribute) and node.attr == "T":
        turned = ast.Call(
            ast.Attribute(node.value, "transpose", ast.Load()), [ast.Constant(0), ast.Constant(1)], []
        )
        yield ".T as transpose(0, 1)", turned
    if isinstance(node, ast.Attribute) and node.attr == "inf":
        yield "inf as float('inf')", ast.Call(ast.Name("float", ast.Load()), [ast.Constant("inf")], [])


def _temporary(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """A result with a name of its own before it is returned, or a return from both branches."""
    if isinstance(node, ast.Return) and node.value is not None:
        keep = ast.Assign([ast.Name("outcome", ast.Store())], node.value)
        give = ast.Return(ast.Name("outcome", ast.Load()))
        yield "result named first", ast.If(ast.Constant(True), [keep, give], [])


def _helper(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """The body moved into a function inside the function; a docstring; an assertion that holds."""
    if not isinstance(node, ast.FunctionDef) or node.name == "inner" or not node.args.args:
        return
    first = node.args.args[0].arg
    inner = ast.FunctionDef("inner", _no_arguments(), node.body, [], None, None)
    call = ast.Return(ast.Call(ast.Name("inner", ast.Load()), [], []))
    yield "body in an inner function", _function(node, [inner, call])
    yield "a docstring", _function(node, [ast.Expr(ast.Constant("What it does.")), *node.body])
    given = ast.Compare(ast.Name(first, ast.Load()), [ast.IsNot()], [ast.Constant(None)])
    yield "an assertion", _function(node, [ast.Assert(given, None), *node.body])
    say = ast.Expr(ast.Call(ast.Name("print", ast.Load()), [ast.Constant("called")], []))
    yield "a print", _function(node, [say, *node.body])
    attempt = ast.Try(node.body, [], [], [ast.Pass()])
    yield "try and finally", _function(node, [attempt])


def _no_arguments() -> ast.arguments:
    return ast.arguments([], [], None, [], [], None, [])


def _function(node: ast.FunctionDef, body: list[ast.stmt]) -> ast.FunctionDef:
    return ast.FunctionDef(node.name, node.args, body, [], None, None)


def renamed(source: str) -> str:
    """The program with every name of its own, the arguments left alone, replaced by another."""
    tree = ast.parse(source)
    own = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in own:
            node.id = f"{node.id}_"
    return ast.unparse(tree)


CHANGES = (_commute, _methods, _transpose, _temporary, _helper)


def rewrites(source: str, number: int, seed: int) -> list[tuple[str, str]]:
    """Programs of one to three rewritings, none twice: (what was done, the program), ``number`` at most."""
    rng = random.Random(seed)
    found: dict[str, str] = {}
    for _ in range(20 * number):
        program, done = source, []
        for _ in range(rng.randint(1, 3)):
            options = [option for change in CHANGES for option in changed_programs(program, change)]
            if not options:
                break
            what, program = rng.choice(options)
            done.append(what)
        if rng.random() < 0.5:
            program, done = renamed(program), [*done, "names"]
        if done:
            found.setdefault(program, ", ".join(done))
        if len(found) == number:
            break
    return [(what, program) for program, what in found.items()]
