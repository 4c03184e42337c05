"""Exercise: the softmax weights of the negatives."""

import torch
import torch.nn.functional as F
from torch import Tensor

from simclr_edu.course.exercises.kit import ComparedExercise, Mistake
from simclr_edu.course.exercises.temperature.similarities import similarity_cases
from simclr_edu.course.exercises.temperature.weights_properties import OF_WEIGHTS


def _weights_loop(similarities: Tensor, temperature: float) -> Tensor:
    logits = [s / temperature for s in similarities.tolist()]
    powers = torch.tensor([v - max(logits) for v in logits], dtype=torch.float64).exp()
    return torch.stack([p / sum(powers) for p in powers])  # (K,)


def shares_of(powers: Tensor) -> Tensor:
    return powers / powers.sum()


NOT_THE_LARGEST = (
    "What was subtracted is not the largest logit, so exp() still overflows at a small temperature."
)


def shifted_otherwise(similarities: Tensor, temperature: float) -> tuple[Tensor, ...]:
    """Weights with a shift by something other than the largest logit."""
    logits = similarities / temperature
    return tuple(
        shares_of((logits - shift).exp())
        for shift in (logits.mean(), logits.min(), -logits.min(), -logits.max(), logits.median(), logits[0])
    )


SOFTMAX_WEIGHTS = ComparedExercise(
    name="softmax_weights",
    parameters=("similarities", "temperature"),
    asks="``f(similarities, temperature)``: the softmax weight of each candidate",
    details="(K,) to (K,), at any temperature above 0.",
    difficulty=1,
    minutes=4,
    cases=similarity_cases,
    oracles=(_weights_loop,),
    properties=OF_WEIGHTS,
    mistakes=(
        Mistake("The temperature is ignored.", (lambda s, t: s.softmax(0), lambda s, t: shares_of(s.exp()))),
        Mistake(
            "The similarities are multiplied by the temperature instead of divided by it.",
            (lambda s, t: (s * t).softmax(0), lambda s, t: shares_of((s * t).exp())),
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
            (lambda s, t: shares_of(s / t),),
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
            (lambda s, t: shares_of((s - s.max() / t).exp()),),
        ),
        Mistake(
            "At a small temperature exp(similarity / temperature) overflows in float32, and infinity over "
            "infinity is NaN. Shift the logits so that the largest is 0 first.",
            (lambda s, t: shares_of((s / t).exp()),),
        ),
        Mistake(NOT_THE_LARGEST, tuple(lambda s, t, k=k: shifted_otherwise(s, t)[k] for k in range(6))),
        Mistake(
            "All the weight is on the largest similarity (a hard maximum). The softmax leaves some for the "
            "others.",
            (lambda s, t: F.one_hot(s.argmax(), len(s)).float(), lambda s, t: (s == s.max()).float()),
        ),
    ),
)
