"""Bug 5: a size fixed at construction."""

from dataclasses import replace

import torch
from torch import Tensor

from simclr_edu.course.exercises import nt_xent
from simclr_edu.course.exercises.kit import Arguments, Mistake, between, generator


def _batch_cases(seed: int) -> list[Arguments]:
    cases = nt_xent.loss.loss_cases(seed)[:4]
    for k, n in enumerate((8, 8, 3)):  # two full batches of the program, then a smaller one
        rng = generator(1000 * seed + 20 + k)
        z1, z2 = torch.randn(2, n, 10, generator=rng)
        cases.append((z1, z2, between(rng, 0.1, 0.9)))
    return cases


def _padded(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    """The loss of a small batch filled up to eight pairs with zeros."""
    missing = max(0, 8 - len(z1))
    fill = z1.new_zeros(missing, z1.shape[1])
    loss: Tensor = nt_xent.loss_mistakes.loss_with()(
        torch.cat([z1, fill]), torch.cat([z2, fill]), temperature
    )
    return loss


# That a size is still fixed shows as a function that works for eight pairs only; the harness says so.
FIXED_SIZE = replace(
    nt_xent.NT_XENT,
    name="bug 5, the last batch",
    difficulty=2,
    minutes=4,
    ours=None,
    cases=_batch_cases,
    mistakes=(
        Mistake(
            "The small batch was filled up with zeros: they compete as negatives, at similarity 0.",
            (_padded,),
        ),
        *nt_xent.NT_XENT.mistakes,
    ),
)
