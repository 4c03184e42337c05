"""The learning rate: linear warm-up, then a cosine to 0."""

import math

from simclr_edu._checks import check_fraction, check_positive


def learning_rate(progress: float, base: float, warmup: float = 0.1) -> float:
    """Learning rate after a share ``progress`` (0 to 1) of the run: linear warm-up, then a cosine to 0.

    Chen et al. 2020, section 2.3 (default setting: warm-up, then cosine decay without restarts).

    Raises:
        TypeError, ValueError: ``progress`` or ``warmup`` is not from 0 to 1, or ``base`` is not above 0.
    """
    progress, warmup = check_fraction(progress, "progress"), check_fraction(warmup, "warmup")
    return warmup_cosine(progress, warmup, 1, check_positive(base, "base"))


def warmup_cosine(at: float, warmup: float, end: float, peak: float = 1.0) -> float:
    """0 at 0, ``peak`` at ``warmup``, 0 again at ``end``: a line up, half a cosine down. In any one unit."""
    if at < warmup:
        return peak * at / warmup
    if warmup == end:
        return peak
    return peak * 0.5 * (1 + math.cos(math.pi * (at - warmup) / (end - warmup)))
