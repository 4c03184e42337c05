"""Fine-tuning's learning rates are the same numbers, to the bit, as from the formula written out here.

The course's figures of fine-tuning rest on them.
"""

import math

import pytest

from simclr_edu.evaluate.tuning import _share_of_peak


def written_out(step, steps):
    warmup = max(1, round(0.05 * steps))
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


@pytest.mark.parametrize("steps", [1, 2, 3, 10, 19, 20, 21, 30, 31, 157, 4000, 12_345])
def test_rates_are_the_formula_to_the_bit(steps):
    share = _share_of_peak(steps)
    rates = [share(step) for step in range(steps + 1)]  # the scheduler asks once after the last step
    assert rates == [written_out(step, steps) for step in range(steps + 1)]
    assert max(rates) == 1 and min(rates[:-1]) > 0
