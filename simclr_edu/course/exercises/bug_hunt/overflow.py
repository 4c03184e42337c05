"""Bug 4: one anchor's loss at a low temperature."""

import torch
from torch import Tensor

from simclr_edu.course.exercises.kit import (
    Arguments,
    ComparedExercise,
    Function,
    Mistake,
    between,
    generator,
    read_number,
)


def _anchor_cases(seed: int) -> list[Arguments]:
    cases: list[Arguments] = []
    for k in range(3):
        rng = generator(1000 * seed + k)
        cases.append((2 * torch.rand(k + 3, generator=rng) - 1, between(rng, 0.1, 1.5)))
    for k, temperature in enumerate((0.01, 0.005, 0.001)):
        rng = generator(1000 * seed + 10 + k)
        # The positive within a few temperatures of the best negative, so that the loss is neither 0 nor huge.
        near = 0.99 - temperature * torch.rand(3, generator=rng)
        cases.append((torch.cat([near, torch.tensor([-0.3])]), temperature))
    return cases


def _anchor_loss(similarities: Tensor, temperature: float) -> Tensor:
    logits = [s / temperature for s in similarities.tolist()]
    rest = torch.tensor([v - logits[0] for v in logits], dtype=torch.float64)
    return rest.exp().sum().log() if float(rest.max()) < 600 else rest.max()


def _naive(similarities: Tensor, temperature: float) -> Tensor:
    powers = (similarities / temperature).exp()
    return -(powers[0] / powers.sum()).log()


def _clamped(limit: float) -> Function:
    def loss(similarities: Tensor, temperature: float) -> Tensor:
        powers = (similarities / temperature).clamp(max=limit).exp()
        return -(powers[0] / powers.sum()).log()

    return loss


OVERFLOW = ComparedExercise(
    name="bug 4, the overflow",
    parameters=("similarities", "temperature"),
    asks="``f(similarities, temperature)``: the loss of one anchor, its positive first, at any temperature",
    details="(K,) to a scalar.",
    difficulty=2,
    minutes=4,
    cases=_anchor_cases,
    oracles=(_anchor_loss,),
    read=read_number,
    mistakes=(
        Mistake(
            "exp() overflows: in float32 exp(89) is infinity, and 1 / temperature passes 88.7 below 0.0113. "
            "Infinity over infinity is NaN. Stay with logarithms.",
            (
                _naive,
                lambda s, t: (s / t).exp().sum().log() - s[0] / t,
            ),
        ),
        Mistake(
            "The logits were cut off at a limit. No NaN any more, but a wrong loss: the differences between "
            "large logits are gone.",
            tuple(_clamped(limit) for limit in (10.0, 20.0, 50.0, 80.0, 85.0, 88.0)),
        ),
        Mistake(
            "The NaN was replaced by a number after the fact. The loss of that anchor is still unknown.",
            (lambda s, t: _naive(s, t).nan_to_num(0.0), lambda s, t: _naive(s, t).nan_to_num(1.0)),
        ),
        Mistake(
            "The largest logit was subtracted from the powers' logits, but not from the positive's.",
            (lambda s, t: (s / t - (s / t).max()).exp().sum().log() - s[0] / t,),
        ),
        Mistake("The temperature is ignored.", (lambda s, t: s.logsumexp(0) - s[0],)),
        Mistake("The sign is wrong: the loss is not negative.", (lambda s, t: (s / t).log_softmax(0)[0],)),
    ),
)
