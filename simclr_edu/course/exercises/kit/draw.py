"""Inputs of the cases, drawn from a seed."""

import torch


def generator(seed: int) -> torch.Generator:
    """Return a generator on the CPU, seeded."""
    return torch.Generator().manual_seed(seed)


def whole(rng: torch.Generator, low: int, high: int) -> int:
    """Draw a whole number from ``low`` to ``high``, both included."""
    return int(torch.randint(low, high + 1, (), generator=rng))


def between(rng: torch.Generator, low: float, high: float) -> float:
    """Draw a number from ``low`` to ``high``, with few digits so that it can be typed again."""
    return round(low + (high - low) * float(torch.rand((), generator=rng)), 3)
