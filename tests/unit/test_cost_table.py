"""The cost of a training step on paper, and the tables that the documentation shows of it."""

from pathlib import Path

import cost_table
import pytest
import torch
from cost_table import batch_where_loss_equals_encoder, cost
from torch import nn

import simclr_edu
from simclr_edu import losses
from simclr_edu.encoders import make_encoder
from simclr_edu.simclr import SimCLR

DOCUMENT = Path(simclr_edu.__file__).parents[1] / "docs" / "distributed.md"


def test_the_cost_of_a_step_by_hand():
    """N = 4,096 on K = 128: 8,192 embeddings of 128 float32 are 4 MiB; 3 of 4 messages' worth travel."""
    c = cost(4096, 128)
    away = 127 / 128
    assert c.embedding_bytes == pytest.approx(3 * 4 * 2**20 * away)
    assert c.gradient_bytes == pytest.approx(2 * 27_968_704 * 4 * away)
    assert c.batch_norm_bytes == pytest.approx(127 * (2 * 28_608 + 54) * 4 + 2 * away * 2 * 28_608 * 4)
    assert c.encoder_macs == pytest.approx(3 * 4.1e9 * 64)
    assert c.loss_macs == 2 * 8192**2 * 128
    assert c.dense_bytes == 8192**2 * 4
    assert c.tiled_bytes == ((2 * 3 // 2 + 1) * 4096**2 + 3 * 8192 * 128) * 4
    assert c.loss_share == pytest.approx(1.718e10 / (1.718e10 + 7.872e11), rel=1e-3)
    assert c.divided_loss_share < c.loss_share / 100
    assert cost(65536, 256).tiled_bytes == (2 * 4096**2 + 3 * 131072 * 128) * 4
    alone = cost(256, 1)
    assert alone.embedding_bytes == alone.gradient_bytes == alone.batch_norm_bytes == 0


def test_the_network_in_the_cost_is_resnet50_with_its_head():
    with torch.device("meta"):
        model = SimCLR(make_encoder("resnet50", "imagenet"), 128)
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    defaults = cost.__kwdefaults__
    assert defaults["parameters"] == sum(p.numel() for p in model.parameters())
    assert (defaults["norms"], defaults["channels"]) == (len(norms), sum(m.num_features for m in norms))
    assert (defaults["tile"], defaults["kept"]) == (
        losses.tiled._TILE_ELSEWHERE,
        losses.tiled._KEPT_TILES_ELSEWHERE,
    )


@pytest.mark.parametrize("images_per_rank", [32, 256])
@pytest.mark.parametrize("slowdown", [1.0, 10.0])
def test_where_the_loss_takes_as_long_as_the_encoder(images_per_rank, slowdown):
    n = batch_where_loss_equals_encoder(images_per_rank, slowdown=slowdown)
    k = round(n / images_per_rank)
    c = cost(k * images_per_rank, k)
    assert c.loss_macs * slowdown == pytest.approx(c.encoder_macs, rel=2 / k)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((10, 4), "multiple of world_size, got 10 and 4"),
        ((0, 1), "global_batch must be at least 1"),
        ((8, 0), "world_size must be at least 1"),
    ],
)
def test_a_cost_that_cannot_be(arguments, words):
    with pytest.raises(ValueError, match=words):
        cost(*arguments)


def test_the_document_shows_the_figures_that_the_function_computes():
    text = DOCUMENT.read_text()
    for part in cost_table.markdown():
        assert part in text, f"docs/distributed.md is out of date: run tools/cost_table.py\n{part}"
