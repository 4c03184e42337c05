"""Each classic mistake with several processes, made on purpose in the package's own loop, and its size shown.

Run by pytest, this file holds the tests. Run as a script, it is one rank of a group, which trains once
with each mistake.
"""

import contextlib
import importlib.util
import sys
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F

# First the package, then what it patches; the comparison under test is the one of the unit tests, not a copy.
from simclr_edu import distributed
from simclr_edu.losses import NTXentLoss, nt_xent_dense

_path = Path(__file__).parents[1] / "unit" / "test_distributed.py"
_spec = importlib.util.spec_from_file_location("distributed_under_test", _path)
suite = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(suite)

MARGIN = 10_000  # how many times the tolerance a mistake is off, at least

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("distributed"),  # the runs that the tests share are made once
]


def gather_without_gradient(x):
    """The bare collective, whose rows arrive as constants, with the own part put back: a half-measure."""
    parts = [torch.empty_like(x) for _ in range(distributed.world_size())]
    dist.all_gather(parts, x.detach().contiguous())
    parts[distributed.rank()] = x
    return torch.cat(parts)


class OwnPartOnly(torch.autograd.Function):
    """A gather whose backward takes the own part of the own gradient, without the sum over ranks."""

    @staticmethod
    def forward(ctx, x):
        ctx.length = len(x)
        return gather_without_gradient(x)

    @staticmethod
    def backward(ctx, grad):
        return grad[distributed.rank() * ctx.length :][: ctx.length]


def sum_gradients(module):
    """All-reduce without the division."""
    suite_average(module)
    for p in module.parameters():
        p.grad *= distributed.world_size()


def average_twice(module):
    """The division made twice, as by a loss divided by K under DistributedDataParallel."""
    suite_average(module)
    for p in module.parameters():
        p.grad /= distributed.world_size()


suite_average = distributed.average_gradients


def no_label_offset(self, z1, z2):
    """Each rank's anchors among everybody's candidates, the positives' columns being those of rank 0."""
    return suite.own_anchors(z1, z2, 0)


def with_label_offset(self, z1, z2):
    return suite.own_anchors(z1, z2, distributed.rank() * len(z1))


def own_negatives(self, z1, z2):
    return nt_xent_dense(z1, z2, self.temperature)


class ConstantStatistics:
    """Shared statistics in BatchNorm, taken for constants in the backward pass."""

    @staticmethod
    def apply(x, weight, bias, mean, variance, count, eps):
        return F.batch_norm(x, mean, variance, weight, bias, training=False, eps=eps)


def first_part(batch):
    return batch[: len(batch) // distributed.world_size()]


RIGHT = {
    "as it is": [],
    "own anchors, with their offset": [(NTXentLoss, "forward", with_label_offset)],
}
WRONG = {
    "no gradient through the gather": [(distributed, "gather_with_grad", gather_without_gradient)],
    "gradient K times too small in the gather": [(distributed, "gather_with_grad", OwnPartOnly.apply)],
    "gradient K times too small in the mean": [(distributed, "average_gradients", average_twice)],
    "gradient K times too large": [(distributed, "average_gradients", sum_gradients)],
    "gradients not shared at all": [(distributed, "average_gradients", lambda module: None)],
    "label offset missing": [(NTXentLoss, "forward", no_label_offset)],
    "negatives of the own rank only": [(NTXentLoss, "forward", own_negatives)],
    "BatchNorm of each rank for itself": [
        (distributed, "synchronised_batch_norm", lambda model, device: contextlib.nullcontext())
    ],
    "no gradient through BatchNorm's statistics": [
        (distributed.sync_batch_norm, "_Normalise", ConstantStatistics)
    ],
    "every rank the same images": [(distributed, "own_part", first_part)],
    "views drawn for the own part only": [(distributed, "share", lambda: (0, 1))],
}


def run_rank(place: int, ranks: int, folder: Path) -> None:
    """What one process does: a whole run with each variant."""
    suite.join(place, ranks, folder)
    out = {}
    for name, patches in (RIGHT | WRONG).items():
        with contextlib.ExitStack() as stack:
            for patched in patches:
                stack.enter_context(patch.object(*patched))
            out[name] = suite.whole_run()
    suite.leave(out, place, folder)


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    return suite.what_ranks_saved(__file__, 2, tmp_path_factory.mktemp("ranks"))  # what shows on 2 needs no 4


@pytest.fixture(scope="module")
def alone():
    return suite.whole_run()


@pytest.mark.parametrize("name", RIGHT)
def test_what_the_mutants_start_from_is_right(ranks, alone, name):
    for r in ranks:
        if name != "as it is":  # the loss of a rank's own anchors is a part of the loss
            r[name]["losses"] = alone["losses"]
        suite.assert_same_run(r[name], alone)


@pytest.mark.parametrize("name", WRONG)
def test_the_comparison_tells_a_mutant_apart(ranks, alone, name):
    off = suite.difference(ranks[0][name], alone)
    print(
        f"{name}, {len(ranks)} processes: " + ", ".join(f"{what} off by {x:.1e}" for what, x in off.items())
    )
    assert off["parameters"] > MARGIN * suite.TOLERANCE
    with pytest.raises(AssertionError, match="parameters are off by"):
        suite.assert_same_run(ranks[0][name], alone)


if __name__ == "__main__":
    run_rank(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
