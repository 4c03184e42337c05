"""One tolerance for pixels: whatever takes images refuses the same ones."""

import pytest
import torch
from torch import nn

from simclr_edu.augment import SimCLRAugment
from simclr_edu.course import figures
from simclr_edu.evaluate import embed
from simclr_edu.pretrain import PretrainConfig, pretrain

ENCODER = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(3))
TAKERS = {
    "augment": lambda x: SimCLRAugment(8)(x),
    "pretrain": lambda x: pretrain(
        PretrainConfig(batch_size=4, epochs=1), x, encoder=ENCODER, progress=False
    ),
    "embed": lambda x: embed(ENCODER, x),
    "figures": lambda x: figures.image_grid(x),
}


@pytest.mark.parametrize("taker", TAKERS)
@pytest.mark.parametrize("off", [5e-5, 5e-4, float("nan")])
@pytest.mark.parametrize("side", ["above", "below"])
def test_the_same_pixels_are_refused_everywhere(taker, off, side):
    x = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    x[2, 1, 3, 3] = 1 + off if side == "above" else -off
    if off == 5e-5:
        TAKERS[taker](x)
    else:
        with pytest.raises(ValueError, match=r"\[0, 1\]"):
            TAKERS[taker](x)
