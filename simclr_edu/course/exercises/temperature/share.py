"""Exercise: the share of the gradient that each negative takes."""

import torch
import torch.nn.functional as F
from torch import Tensor

from simclr_edu.course.exercises.kit import (
    Arguments,
    ComparedExercise,
    Mistake,
    between,
    generator,
)
from simclr_edu.course.exercises.temperature.similarities import shift_cases
from simclr_edu.course.exercises.temperature.weights import NOT_THE_LARGEST, shares_of, shifted_otherwise
from simclr_edu.course.exercises.temperature.weights_properties import OF_SHARES


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
    # The positive wins by 25: its weight is 1 in float32, and 1 minus it is 0.
    cases.append((torch.tensor([0.9, 0.4, 0.35, -0.2]), 0.02))
    return cases + [(torch.cat([torch.tensor([0.97]), s]), temperature) for s, temperature in shift_cases()]


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


GRADIENT_SHARE = ComparedExercise(
    name="gradient_share",
    parameters=("similarities", "temperature"),
    asks="``f(similarities, temperature)``: each negative's share of the gradient",
    details=(
        "``similarities`` (K,) are those of one anchor with its candidates, the positive first. The "
        "result (K - 1,) is the part that each negative has in the negatives' gradient of NT-Xent, adding "
        "up to 1."
    ),
    difficulty=2,
    minutes=5,
    cases=_share_cases,
    oracles=(_share_by_autograd,),
    properties=OF_SHARES,
    mistakes=(
        Mistake(
            "The positive is still among the candidates. Only the negatives share their gradient: leave out "
            "the first entry.",
            (
                lambda s, t: (s / t).softmax(0),
                lambda s, t: shares_of((s / t).exp()),
                lambda s, t: (s / t).softmax(0) / t,
            ),
        ),
        Mistake(
            "The positive was removed after the softmax, so its weight is missing: the shares do not add up "
            "to 1. Divide by the sum of what is left.",
            (
                lambda s, t: (s / t).softmax(0)[1:],
                lambda s, t: shares_of((s / t).exp())[1:],
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
            (lambda s, t: shares_of(s[1:]), lambda s, t: shares_of(s[1:] / t)),
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
                lambda s, t: shares_of((s[1:] / t).softmax(0) * (1 - (s[1:] / t).softmax(0))),
            ),
        ),
        Mistake("These are logarithms of the shares.", (lambda s, t: (s[1:] / t).log_softmax(0),)),
        Mistake(
            "Only the largest similarity was divided by the temperature, because / binds tighter than -. "
            "Subtract first, then divide.",
            (lambda s, t: shares_of((s - s.max() / t).exp()),),
        ),
        Mistake(
            "The gradient was divided by 1 - p of the positive. That is its sum, but where the positive wins "
            "p is 1 in float32 and 1 - p is 0. Divide by the sum, or take the softmax of the negatives.",
            tuple(
                lambda s, t, e=e: (s / t).softmax(0)[1:] / (1 - (s / t).softmax(0)[0] + e)
                for e in (0.0, 1e-12, 1e-10, 1e-8, 1e-7, 1e-6)
            ),
        ),
        Mistake(NOT_THE_LARGEST, tuple(lambda s, t, k=k: shifted_otherwise(s[1:], t)[k] for k in range(6))),
        Mistake(
            "At a small temperature exp(similarity / temperature) overflows in float32, and infinity over "
            "infinity is NaN. Shift the logits so that the largest is 0 first.",
            (lambda s, t: shares_of((s[1:] / t).exp()),),
        ),
    ),
)
