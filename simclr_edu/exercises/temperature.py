"""Exercises of notebook 03: what the temperature does to the softmax and the gradient, and uniformity."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from simclr_edu.exercises._harness import (
    Arguments,
    Exercise,
    Function,
    Mistake,
    Verdict,
    between,
    check,
    generator,
    gradient_flows,
    read_number,
    report,
    whole,
)


def _similarity_cases(seed: int) -> list[Arguments]:
    cases: list[Arguments] = []
    for k in range(5):
        rng = generator(1000 * seed + k)
        similarities = 2 * torch.rand(k + 2, generator=rng) - 1  # cosines, (K,)
        temperature = between(rng, 0.07, 0.4) if k % 2 == 0 else between(rng, 1.5, 3.0)
        cases.append((similarities, temperature))
    # A temperature below 0.0113: exp(1 / temperature) overflows in float32.
    cases.append((torch.tensor([0.99, 0.985, 0.2, -0.5]), 0.008))
    return cases


# --- softmax weights ----------------------------------------------------------------------------------------


def _weights_loop(similarities: Tensor, temperature: float) -> Tensor:
    logits = [s / temperature for s in similarities.tolist()]
    powers = torch.tensor([v - max(logits) for v in logits], dtype=torch.float64).exp()
    return torch.stack([p / sum(powers) for p in powers])  # (K,)


def _share(powers: Tensor) -> Tensor:
    return powers / powers.sum()


SOFTMAX_WEIGHTS = Exercise(
    name="softmax_weights",
    parameters=("similarities", "temperature"),
    cases=_similarity_cases,
    oracles=(_weights_loop,),
    mistakes=(
        Mistake("The temperature is ignored.", (lambda s, t: s.softmax(0), lambda s, t: _share(s.exp()))),
        Mistake(
            "The similarities are multiplied by the temperature instead of divided by it.",
            (lambda s, t: (s * t).softmax(0), lambda s, t: _share((s * t).exp())),
        ),
        Mistake(
            "The weights were divided by the largest, not by their sum.",
            (lambda s, t: (s / t).softmax(0) / (s / t).softmax(0).max(),),
        ),
        Mistake(
            "The weights do not add up to 1: the division by their sum is missing.",
            (lambda s, t: (s / t).exp(),),
        ),
        Mistake(
            "The exponential is missing: the similarities were only divided by their sum.",
            (lambda s, t: _share(s / t),),
        ),
        Mistake(
            "These are log-probabilities (log-softmax). The weights lie between 0 and 1.",
            (lambda s, t: (s / t).log_softmax(0),),
        ),
        Mistake(
            "The temperature was applied after the softmax. It has to divide the similarities before.",
            (lambda s, t: s.softmax(0) / t,),
        ),
        Mistake(
            "The sign is turned round: the least similar gets the largest weight.",
            (lambda s, t: (-s / t).softmax(0),),
        ),
        Mistake(
            "Only the largest similarity was divided by the temperature, because / binds tighter than -. "
            "Subtract first, then divide.",
            (lambda s, t: _share((s - s.max() / t).exp()),),
        ),
        Mistake(
            "At a small temperature exp(similarity / temperature) overflows in float32, and infinity over "
            "infinity is NaN. Shift the logits so that the largest is 0 first.",
            (lambda s, t: _share((s / t).exp()),),
        ),
        Mistake(
            "All the weight is on the largest similarity (a hard maximum). The softmax leaves some for the "
            "others.",
            (lambda s, t: F.one_hot(s.argmax(), len(s)).float(), lambda s, t: (s == s.max()).float()),
        ),
    ),
)


def diagnose_softmax_weights(f: Function, seed: int = 0) -> Verdict:
    """Judge softmax weights without printing; see ``check_softmax_weights``."""
    return SOFTMAX_WEIGHTS.diagnose(f, seed)


@check
def check_softmax_weights(f: Callable[[Tensor, float], Tensor]) -> None:
    """Check ``f(similarities, temperature)``: the softmax weight of each candidate; print a verdict.

    (K,) to (K,), at any temperature above 0. Difficulty 1 of 5, 4 minutes.
    """
    report(diagnose_softmax_weights(f))


# --- gradient share -----------------------------------------------------------------------------------------


def _share_cases(seed: int) -> list[Arguments]:
    """Candidates, the positive first: now the most similar, now in the middle, now the least."""
    cases: list[Arguments] = []
    for k in range(5):
        rng = generator(1000 * seed + k)
        negatives = 2 * torch.rand(k + 2, generator=rng) - 1  # cosines, (K - 1,)
        positive = between(rng, -0.9, 0.9) if k else 0.9
        temperature = between(rng, 0.07, 0.4) if k % 2 == 0 else between(rng, 1.5, 3.0)
        cases.append((torch.cat([torch.tensor([positive]), negatives]), temperature))
    # A temperature below 0.0113: exp(1 / temperature) overflows in float32.
    cases.append((torch.tensor([0.6, 0.99, 0.985, 0.2, -0.5]), 0.008))
    return cases


def _share_by_autograd(similarities: Tensor, temperature: float) -> Tensor:
    """From the gradient of one anchor's loss by the similarity of each negative."""
    with torch.enable_grad():
        negatives = similarities[1:].detach().clone().requires_grad_()
        logits = torch.cat([similarities[:1].detach(), negatives]) / temperature
        (gradient,) = torch.autograd.grad(torch.logsumexp(logits, 0) - logits[0], negatives)
    return gradient / gradient.sum()


def _minus_first(weights: Tensor) -> Tensor:
    """Weights minus 1 at the first entry: p - y, the gradient of the positive and of the negatives."""
    return weights - F.one_hot(torch.tensor(0), len(weights))


GRADIENT_SHARE = Exercise(
    name="gradient_share",
    parameters=("similarities", "temperature"),
    cases=_share_cases,
    oracles=(_share_by_autograd,),
    mistakes=(
        Mistake(
            "The positive is still among the candidates. Only the negatives share their gradient: leave out "
            "the first entry.",
            (
                lambda s, t: (s / t).softmax(0),
                lambda s, t: _share((s / t).exp()),
                lambda s, t: (s / t).softmax(0) / t,
            ),
        ),
        Mistake(
            "The positive was removed after the softmax, so its weight is missing: the shares do not add up "
            "to 1. Divide by the sum of what is left.",
            (
                lambda s, t: (s / t).softmax(0)[1:],
                lambda s, t: _share((s / t).exp())[1:],
            ),
        ),
        Mistake(
            "That is the gradient of each negative, p / temperature. Its share is what is left after "
            "division by their sum.",
            (lambda s, t: (s / t).softmax(0)[1:] / t,),
        ),
        Mistake(
            "That is the whole gradient, p - y, with that of the positive in front. Only the negatives are "
            "wanted, as shares that add up to 1.",
            (
                lambda s, t: _minus_first((s / t).softmax(0)),
                lambda s, t: _minus_first((s / t).softmax(0)) / t,
            ),
        ),
        Mistake(
            "The result still has an entry for the positive. Return one share for each negative.",
            (
                lambda s, t: F.pad((s[1:] / t).softmax(0), (1, 0)),
                lambda s, t: F.pad((s / t).softmax(0)[1:], (1, 0)),
            ),
        ),
        Mistake(
            "The last entry was taken for the positive. It is the first.",
            (lambda s, t: (s[:-1] / t).softmax(0),),
        ),
        Mistake(
            "The most similar candidate was taken for the positive. It is the first, whatever its "
            "similarity.",
            (lambda s, t: (s[torch.arange(len(s)) != s.argmax()] / t).softmax(0),),
        ),
        Mistake("The temperature is ignored.", (lambda s, t: s[1:].softmax(0),)),
        Mistake(
            "The similarities are multiplied by the temperature instead of divided by it.",
            (lambda s, t: (s[1:] * t).softmax(0),),
        ),
        Mistake(
            "That is divided by the temperature once too often. Shares add up to 1.",
            (lambda s, t: (s[1:] / t).softmax(0) / t,),
        ),
        Mistake(
            "The shares were scaled so that the hardest negative has 1. They should add up to 1.",
            (lambda s, t: (s[1:] / t).softmax(0) / (s[1:] / t).softmax(0).max(),),
        ),
        Mistake(
            "The shares do not add up to 1: divide by their sum.",
            (lambda s, t: (s[1:] / t).exp(),),
        ),
        Mistake(
            "The share was taken as proportional to the similarity itself. It is proportional to its "
            "exponential.",
            (lambda s, t: _share(s[1:]), lambda s, t: _share(s[1:] / t)),
        ),
        Mistake(
            "Every negative gets the same share. Hard negatives, the similar ones, should get more.",
            (lambda s, t: torch.full_like(s[1:], 1 / (len(s) - 1)),),
        ),
        Mistake(
            "The sign is turned round: the easiest negatives get the largest share.",
            (lambda s, t: (-s[1:] / t).softmax(0),),
        ),
        Mistake(
            "That is p (1 - p), the derivative of a weight by its own logit. The loss falls on each "
            "negative with p.",
            (
                lambda s, t: (s[1:] / t).softmax(0) * (1 - (s[1:] / t).softmax(0)),
                lambda s, t: _share((s[1:] / t).softmax(0) * (1 - (s[1:] / t).softmax(0))),
            ),
        ),
        Mistake("These are logarithms of the shares.", (lambda s, t: (s[1:] / t).log_softmax(0),)),
        Mistake(
            "Only the largest similarity was divided by the temperature, because / binds tighter than -. "
            "Subtract first, then divide.",
            (lambda s, t: _share((s - s.max() / t).exp()),),
        ),
        Mistake(
            "At a small temperature exp(similarity / temperature) overflows in float32, and infinity over "
            "infinity is NaN. Shift the logits so that the largest is 0 first.",
            (lambda s, t: _share((s[1:] / t).exp()),),
        ),
    ),
)


def diagnose_gradient_share(f: Function, seed: int = 0) -> Verdict:
    """Judge gradient shares without printing; see ``check_gradient_share``."""
    return GRADIENT_SHARE.diagnose(f, seed)


@check
def check_gradient_share(f: Callable[[Tensor, float], Tensor]) -> None:
    """Check ``f(similarities, temperature)``: each negative's share of the gradient, and print a verdict.

    ``similarities`` (K,) are those of one anchor with its candidates, the positive first. The result
    (K - 1,) is the part that each negative has in the negatives' gradient of NT-Xent, adding up to 1.
    Difficulty 2 of 5, 5 minutes.
    """
    report(diagnose_gradient_share(f))


# --- uniformity ---------------------------------------------------------------------------------------------


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


UNIFORMITY = Exercise(
    name="uniformity",
    parameters=("z", "t"),
    cases=_uniformity_cases,
    oracles=(_uniformity_loop,),
    read=read_number,  # a plain float fails later, for want of a gradient
    then=lambda f, seed: gradient_flows(f, _uniformity_cases(seed)[:2], ("z", "t")),
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
            "triu puts 0 in place of the other pairs, and the mean still counts those places.",
            (
                lambda z, t: (-t * torch.cdist(z, z).square()).exp().triu(1).mean().log(),
                lambda z, t: (-t * torch.cdist(z, z).square().triu(1)).exp().mean().log(),
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


def diagnose_uniformity(f: Function, seed: int = 0) -> Verdict:
    """Judge a uniformity measure without printing; see ``check_uniformity``."""
    return UNIFORMITY.diagnose(f, seed)


@check
def check_uniformity(f: Callable[[Tensor, float], Tensor]) -> None:
    """Check ``f(z, t=2)``: log of the mean over pairs of exp(-t ||zi - zj||^2), and print a verdict.

    ``z`` (M, d) has rows of length 1; a pair is two different rows (Wang and Isola 2020, arXiv 2005.10242,
    section 4.1.2). The result keeps its gradient. Difficulty 2 of 5, 6 minutes.
    """
    report(diagnose_uniformity(f))
