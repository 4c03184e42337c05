"""Cases that the exercises of this notebook share."""

import torch

from simclr_edu.course.exercises.kit import Arguments, between, generator


def similarity_cases(seed: int) -> list[Arguments]:
    cases: list[Arguments] = []
    for k in range(5):
        rng = generator(1000 * seed + k)
        similarities = 2 * torch.rand(k + 2, generator=rng) - 1  # cosines, (K,)
        temperature = between(rng, 0.07, 0.4) if k % 2 == 0 else between(rng, 1.5, 3.0)
        cases.append((similarities, temperature))
    # A temperature below 0.0113: exp(1 / temperature) overflows in float32.
    cases.append((torch.tensor([0.99, 0.985, 0.2, -0.5]), 0.008))
    cases.append((torch.tensor([0.6, -0.1, 0.3], dtype=torch.float64), 0.5))  # the dtype is the input's
    return cases + shift_cases()


def shift_cases() -> list[Arguments]:
    """Where only a shift by the largest is safe: one by the smallest or by the mean overflows."""
    return [
        (torch.tensor([0.99, 0.985, 0.9]), 0.008),
        (torch.tensor([0.99, 0.98, -0.9, -0.95]), 0.004),
    ]
