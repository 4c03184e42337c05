"""What holds of softmax weights whatever the similarities, and the sentence where it does not hold."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from simclr_edu.course.exercises.kit import Function, show

_S, _T = torch.tensor([0.5, 0.1, -0.3, 0.4]), 0.4
Lacks = Callable[[Function], str | None]


def _of_candidates(f: Function, similarities: Tensor, temperature: float) -> Tensor:
    weights: Tensor = f(similarities.clone(), temperature)
    return weights.detach()


def _of_negatives(f: Function, similarities: Tensor, temperature: float) -> Tensor:
    return _of_candidates(f, torch.cat([torch.tensor([0.2]), similarities]), temperature)


def _near(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a, b, rtol=1e-3, atol=1e-4)


def properties(what: str, of: Callable[[Function, Tensor, float], Tensor]) -> tuple[Lacks, ...]:
    """Properties of weights (``what`` says in the sentences what they are) as ``of`` gets them."""

    def negative(f: Function) -> str | None:
        got = of(f, _S, _T)
        return None if bool((got >= 0).all()) else f"No {what} is negative; yours are {show(got)}."

    def sum_is_not_one(f: Function) -> str | None:
        sums = [float(of(f, s, t).sum()) for s, t in ((_S, _T), (_S[:2], _T), (_S, 2.0))]
        if all(abs(s - 1) < 1e-3 for s in sums):
            return None
        shown = ", ".join(f"{s:.4g}" for s in sums)
        return f"The {what}s must add up to 1; yours add up to {shown} in three cases."

    def order_matters(f: Function) -> str | None:
        got, turned = of(f, _S, _T), of(f, _S.roll(1), _T)
        if _near(got.roll(1), turned):
            return None
        return (
            f"Each candidate keeps its {what} when the candidates are put in another order; yours go from "
            f"{show(got)} to {show(turned)} when the last is moved to the front. Were they sorted or turned "
            f"round?"
        )

    def shift_matters(f: Function) -> str | None:
        got, shifted = of(f, _S, _T), of(f, _S + 0.4, _T)
        if _near(got, shifted):
            return None
        return (
            f"One number added to all similarities changes no {what}, since exp makes it a common factor; "
            f"yours go from {show(got)} to {show(shifted)}. Is something done with the similarities besides "
            "exp?"
        )

    def another_temperature(f: Function) -> str | None:
        acts = []
        for t in (0.4, 1.5):
            a, b = (float(v) for v in of(f, torch.tensor([0.5, 0.1]), t))
            acts.append(0.4 / math.log(a / b) if a > 0 and b > 0 and a != b else math.inf)
        if abs(acts[0] - 0.4) < 4e-3 and abs(acts[1] - 1.5) < 1.5e-2:
            return None
        return (
            f"The ratio of two {what}s should be exp(difference / temperature). Yours is what temperature "
            f"{acts[0]:.4g} gives where 0.4 was asked for, and {acts[1]:.4g} where 1.5 was."
        )

    return negative, sum_is_not_one, order_matters, shift_matters, another_temperature


def positive_matters(f: Function) -> str | None:
    first, other = (_of_candidates(f, torch.cat([torch.tensor([p]), _S]), _T) for p in (0.9, -0.9))
    if _near(first, other):
        return None
    return (
        "How the negatives share their gradient does not depend on the positive. With its similarity at "
        f"0.9 yours are {show(first)}, at -0.9 {show(other)}."
    )


OF_WEIGHTS = properties("weight", _of_candidates)
OF_SHARES = (positive_matters, *properties("share", _of_negatives))
