"""Exercise: uniformity on the sphere."""

import inspect

import torch
import torch.nn.functional as F
from torch import Tensor

from simclr_edu.course.exercises.kit import (
    Arguments,
    ComparedExercise,
    Function,
    Mistake,
    between,
    call_or_stop,
    generator,
    gradient_flows,
    read_number,
    stop,
    whole,
)


def _uniformity_cases(seed: int) -> list[Arguments]:
    cases: list[Arguments] = []
    for k in range(4):
        rng = generator(1000 * seed + k)
        z = F.normalize(
            torch.randn(k + 3, whole(rng, 2, 5), generator=rng), dim=1
        )  # unit rows: either reading holds
        cases.append((z, 2.0 if k == 0 else between(rng, 0.5, 3.0)))
    return cases


def _uniformity_loop(z: Tensor, t: float) -> Tensor:
    rows = list(z)
    pairs = [(a, b) for i, a in enumerate(rows) for b in rows[i + 1 :]]
    potential = [torch.exp(-t * ((a - b) ** 2).sum()) for a, b in pairs]
    return torch.log(torch.stack(potential).sum() / len(pairs))


def _of_cosines(sign: int, power: int, itself: bool) -> Function:
    """The measure with cosines, or their squares, where the squared distances belong."""

    def measure(z: Tensor, t: float) -> Tensor:
        exponentials = (sign * t * (z @ z.T) ** power).exp()  # (M, M)
        return (exponentials if itself else exponentials[_others(z)]).mean().log()

    return measure


def _of_half_squares(z: Tensor, t: float) -> Tensor:
    return (-t * _squares(z) / 2).exp().mean().log()


def _squares(z: Tensor) -> Tensor:
    return torch.pdist(z) ** 2  # every pair once, (M (M - 1) / 2,)


def _differences(z: Tensor, t: float) -> Tensor:
    """exp of -t times the squared differences, entry by entry, (M, M, d)."""
    return (-t * (z[:, None] - z[None]).square()).exp()


def _others(z: Tensor) -> Tensor:
    return ~torch.eye(len(z), dtype=torch.bool)  # (M, M)


def _wrong_fact(f: Function) -> str | None:
    """Rows whose answer one knows by heart."""
    axes = torch.eye(4)
    facts: tuple[tuple[str, Tensor, float, float], ...] = (
        ("Equal rows are at distance 0 and give 0", axes[:1].expand(4, -1), 2.0, 0.0),
        ("Two rows at a right angle are at squared distance 2: with t = 1 they give -2", axes[:2], 1.0, -2.0),
        ("Four rows at right angles to each other give -2 with t = 1 too", axes, 1.0, -2.0),
        ("Two rows at a right angle give -4 with t = 2", axes[:2], 2.0, -4.0),
        (
            "Two opposite rows are at squared distance 4: with t = 1 they give -4",
            torch.eye(1, 4) * torch.tensor([[1.0], [-1.0]]),
            1.0,
            -4.0,
        ),
        (
            "Two equal rows and one at a right angle, t = 1: ln((1 + 2 exp(-2)) / 3) = -0.859",
            axes[[0, 0, 1]],
            1.0,
            -0.8591,
        ),
        ("Its rows in another order give the same, -0.859", axes[[0, 1, 0]], 1.0, -0.8591),
    )
    for fact, z, t, value in facts:
        got = float(f(z.clone(), t))
        if not abs(got - value) < 2e-3:
            return f"{fact}; yours is {got:.4g}."
    return None


def _then(f: Function, seed: int) -> str | None:
    """Gradients; then one pair of opposite rows, for which the mean is exp(-24), far below 1e-8."""
    gradient_flows(f, _uniformity_cases(seed)[:2], ("z", "t"), _uniformity_loop, on_sphere=True)
    default = inspect.signature(f).parameters.get("t")
    if default is not None and default.default not in (inspect.Parameter.empty, 2):
        stop(
            f"The values are right, but left out, t is {default.default!r}. Its default is 2, as in the stub."
        )
    pole = F.normalize(torch.randn(1, 3, generator=generator(1000 * seed + 9)), dim=1)
    got = read_number(call_or_stop(f, (torch.cat([pole, -pole]), 6.0), ("z", "t")))
    if not got.isfinite():
        return (
            "A remark: for two opposite rows and t = 6 it gives infinity or NaN: 1 for each row with itself "
            "was added and taken off, and exp(-24) got lost beside it. Leave those pairs out of the sum."
        )
    if not abs(float(got.detach()) + 24) < 0.1:
        stop(
            "Right for rows that are near each other, but a small number was added inside the logarithm, or "
            "the exponentials were cut off: for two opposite rows and t = 6 expected -24, got "
            f"{float(got.detach()):.4g}."
        )
    return None


UNIFORMITY = ComparedExercise(
    name="uniformity",
    parameters=("z", "t"),
    asks="``f(z, t=2)``: log of the mean over pairs of exp(-t ||zi - zj||^2)",
    details=(
        "``z`` (M, d) has rows of length 1; a pair is two different rows (Wang and Isola 2020, arXiv "
        "2005.10242, section 4.1.2). The result keeps its gradient."
    ),
    difficulty=2,
    minutes=6,
    cases=_uniformity_cases,
    oracles=(_uniformity_loop,),
    properties=(_wrong_fact,),
    read=read_number,  # a plain float fails later, for want of a gradient
    then=_then,
    besides="gradients, a mean of exponentials near 0",
    mistakes=(
        Mistake(
            "Each embedding is also paired with itself, at distance 0. Only pairs of different rows count.",
            (lambda z, t: torch.cdist(z, z).square().mul(-t).exp().mean().log(),),
        ),
        Mistake("The distance is not squared.", (lambda z, t: torch.pdist(z).mul(-t).exp().mean().log(),)),
        Mistake("The logarithm is missing.", (lambda z, t: _squares(z).mul(-t).exp().mean(),)),
        Mistake(
            "The exponent has the wrong sign: far-apart pairs should add little.",
            (lambda z, t: _squares(z).mul(t).exp().mean().log(),),
        ),
        Mistake(
            "t is ignored.",
            (
                lambda z, t: _squares(z).mul(-2).exp().mean().log(),
                lambda z, t: _squares(z).mul(-1).exp().mean().log(),
            ),
        ),
        Mistake(
            "The mean was taken of the exponents, so exp and log cancel. Average the exponentials.",
            (lambda z, t: -t * _squares(z).mean(),),
        ),
        Mistake(
            "The exponentials were summed, not averaged: the result grows with the number of pairs.",
            (
                lambda z, t: _squares(z).mul(-t).exp().sum().log(),
                lambda z, t: (2 * _squares(z).mul(-t).exp().sum()).log(),
            ),
        ),
        Mistake(
            "These are cosines, not squared distances.",
            tuple(_of_cosines(s, p, i) for s in (-1, 1) for p in (1, 2) for i in (False, True)),
        ),
        Mistake(
            "The exponent is half of what it should be. 1 - cosine, for one, is only half the squared "
            "distance.",
            (_of_half_squares,),
        ),
        Mistake(
            "The outer sign is turned round. Uniformity is the logarithm itself, at most 0, lower is more "
            "uniform.",
            (lambda z, t: -_squares(z).mul(-t).exp().mean().log(),),
        ),
        Mistake(
            "All M x M pairs were counted in the mean, although the pairs with itself were left out of the "
            "sum.",
            (lambda z, t: (2 * _squares(z).mul(-t).exp().sum() / len(z) ** 2).log(),),
        ),
        Mistake(
            "triu puts 0 in place of the other pairs, and the mean still counts those places.",
            (
                lambda z, t: (-t * torch.cdist(z, z).square()).exp().triu(1).mean().log(),
                lambda z, t: (-t * torch.cdist(z, z).square().triu(1)).exp().mean().log(),
            ),
            written=r"\btriu\b",
        ),
        Mistake(
            "The sum over pairs, each counted once, was divided by the number of all M x M places. There are "
            "M (M - 1) / 2 pairs.",
            (lambda z, t: (_squares(z).mul(-t).exp().sum() / len(z) ** 2).log(),),
        ),
        Mistake(
            "The sum was divided by M, the number of rows. The mean is over pairs, M (M - 1) / 2 of them.",
            (
                lambda z, t: (_squares(z).mul(-t).exp().sum() / len(z)).log(),
                lambda z, t: (2 * _squares(z).mul(-t).exp().sum() / len(z)).log(),
            ),
        ),
        Mistake(
            "The sum over pairs, each counted once, was divided by M (M - 1), which counts each twice.",
            (lambda z, t: (_squares(z).mul(-t).exp().sum() / (len(z) * (len(z) - 1))).log(),),
        ),
        Mistake(
            "t was squared together with the distance. Square the distance, then multiply by t.",
            (lambda z, t: (-(torch.pdist(z) * t).square()).exp().mean().log(),),
        ),
        Mistake(
            "The distance was raised to the power t. It is squared, and t multiplies the square.",
            (
                lambda z, t: (-(torch.pdist(z) ** t)).exp().mean().log(),
                lambda z, t: (-t * torch.pdist(z) ** t).exp().mean().log(),
            ),
        ),
        Mistake(
            "The squared differences were not added up over the d entries of a row: no distances yet.",
            (
                lambda z, t: _differences(z, t).mean().log(),
                lambda z, t: _differences(z, t)[_others(z)].mean().log(),
            ),
        ),
        Mistake(
            "These are the distances between the d columns. Each embedding is a row.",
            (lambda z, t: _squares(z.T).mul(-t).exp().mean().log(),),
        ),
        Mistake(
            "The squared distance is divided by t instead of multiplied by it.",
            (lambda z, t: _squares(z).div(-t).exp().mean().log(),),
        ),
    ),
)
