"""Two and four processes train as one does, and each classic mistake of gathering breaks that.

Run by pytest, this file holds the tests. Run as a script, it is one rank of a process group: it trains with
every variant and saves what it got.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

import simclr_edu
from simclr_edu.distributed import gather_with_grad, is_distributed, rank, world_size
from simclr_edu.losses import NTXentLoss, nt_xent_dense

TEMPERATURE = 0.3
PAIRS, STEPS = 3, 5  # pairs on each rank
TIMEOUT_S = 300


def make_model() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4)).double()


def batch(step: int, pairs: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The two views of the global batch, each ``(pairs, 6)``."""
    generator = torch.Generator().manual_seed(step)
    x1 = torch.randn(pairs, 6, generator=generator, dtype=torch.float64)
    return x1, x1 + torch.randn(pairs, 6, generator=generator, dtype=torch.float64)


def parameters_of(model: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def train_alone(pairs: int) -> tuple[list[float], torch.Tensor]:
    """One process, the whole batch, plain SGD: losses and final parameters."""
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    history = []
    for step in range(STEPS):
        x1, x2 = batch(step, pairs)
        loss = nt_xent_dense(model(x1), model(x2), TEMPERATURE)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    return history, parameters_of(model)


# The variants: what a rank makes of its own z1 and z2. The wrong ones differ from a right one in one thing.


def gather_without_gradient(x: torch.Tensor) -> torch.Tensor:
    """The bare collective, whose rows arrive as constants, with the own part put back: a half-measure."""
    parts = [torch.empty_like(x) for _ in range(world_size())]
    dist.all_gather(parts, x.detach())
    parts[rank()] = x
    return torch.cat(parts)


def own_anchors(z1: torch.Tensor, z2: torch.Tensor, offset: int) -> torch.Tensor:
    """The loss of this rank's 2n anchors among all ranks' embeddings; ``offset`` is where its rows start."""
    everyone1, everyone2 = gather_with_grad(z1), gather_with_grad(z2)
    n, total = len(z1), len(everyone1)
    own = nn.functional.normalize(torch.cat([z1, z2]), dim=1)
    everyone = nn.functional.normalize(torch.cat([everyone1, everyone2]), dim=1)
    logits = own @ everyone.T / TEMPERATURE  # (2n, 2 total)
    at = torch.arange(n) + offset
    itself = torch.cat([at, at + total])
    positive = torch.cat([at + total, at])
    logits = logits.scatter(1, itself[:, None], -torch.inf)
    return nn.functional.cross_entropy(logits, positive)


def gathered(gather, factor=1.0):
    def loss(z1, z2):
        return factor * nt_xent_dense(gather(z1), gather(z2), TEMPERATURE)

    return loss


RIGHT = {
    "module": NTXentLoss(TEMPERATURE),
    "gathered one view at a time": gathered(gather_with_grad),
    "own anchors": lambda z1, z2: own_anchors(z1, z2, rank() * len(z1)),
}
WRONG = {
    "gathered without gradient": gathered(gather_without_gradient),
    "gradient 1/world_size": lambda z1, z2: gathered(gather_with_grad, 1 / world_size())(z1, z2),
    "gradient times world_size": lambda z1, z2: gathered(gather_with_grad, world_size())(z1, z2),
    "label offset missing": lambda z1, z2: own_anchors(z1, z2, 0),
    "negatives of the own rank only": lambda z1, z2: nt_xent_dense(z1, z2, TEMPERATURE),
}


def train_together(loss, with_ddp: bool) -> tuple[list[float], torch.Tensor]:
    """One rank's part of the training: its slice of each batch, gradients averaged over ranks."""
    model = make_model()
    wrapped = nn.parallel.DistributedDataParallel(model) if with_ddp else model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    own = slice(rank() * PAIRS, (rank() + 1) * PAIRS)
    history = []
    for step in range(STEPS):
        x1, x2 = batch(step, PAIRS * world_size())
        z1, z2 = wrapped(torch.cat([x1[own], x2[own]])).split(PAIRS)
        value = loss(z1, z2)
        optimizer.zero_grad()
        value.backward()
        if not with_ddp:
            for p in model.parameters():
                dist.all_reduce(p.grad)
                p.grad /= world_size()
        optimizer.step()
        history.append(value.item())
    return history, parameters_of(model)


def run_rank(place: int, ranks: int, folder: Path) -> None:
    """What one process does: everything the tests look at, saved to ``folder``."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=place, world_size=ranks)
    out = {"facts": (is_distributed(), world_size(), rank())}
    for name, loss in (RIGHT | WRONG).items():
        out[name] = train_together(loss, with_ddp=False)
    out["module under DDP"] = train_together(RIGHT["module"], with_ddp=True)

    # The gather alone: rank r holds 10 r and 10 r + 1; its copy of the loss weighs row i by (i + 1)(r + 1).
    x = (torch.arange(2.0)[:, None] + 10 * place).requires_grad_()
    everyone = gather_with_grad(x)
    weights = torch.arange(1.0, 2 * ranks + 1)[:, None] * (place + 1)
    (everyone * weights).sum().backward()
    out["gather"] = (everyone.detach(), x.grad)
    with torch.no_grad():
        out["gather of strided bfloat16"] = gather_with_grad(
            torch.full((3, 2), place, dtype=torch.bfloat16).T
        )
    try:
        gather_with_grad(torch.zeros(2 + place, 3))
    except ValueError as error:
        out["unequal"] = str(error)
    half = [z.half().requires_grad_() for z in batch(place, PAIRS)]
    value = NTXentLoss(TEMPERATURE)(*half)
    value.backward()
    out["half"] = (value.dtype, half[0].grad)
    torch.save(out, folder / f"rank{place}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module", params=[2, 4])
def ranks(request, tmp_path_factory) -> list[dict]:
    """What each rank of a group of 2, then 4, processes saved."""
    folder = tmp_path_factory.mktemp(f"ranks{request.param}")
    root = str(Path(simclr_edu.__file__).parents[1])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    started = [
        subprocess.Popen(
            [sys.executable, __file__, str(k), str(request.param), str(folder)],
            env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for k in range(request.param)
    ]
    try:
        for process in started:
            _, problem = process.communicate(timeout=TIMEOUT_S)
            assert process.returncode == 0, problem
    finally:
        for process in started:
            process.kill()
    return [torch.load(folder / f"rank{k}.pt", weights_only=True) for k in range(request.param)]


def test_each_rank_knows_its_place(ranks):
    assert [r["facts"] for r in ranks] == [(True, len(ranks), k) for k in range(len(ranks))]


@pytest.mark.parametrize("name", [*RIGHT, "module under DDP"])
def test_several_processes_train_as_one(ranks, name):
    history, wanted = train_alone(PAIRS * len(ranks))
    for r in ranks:
        assert torch.allclose(r[name][1], wanted, rtol=1e-9, atol=1e-9)
    # Averaged over ranks the loss is the global one; the module has it on every rank.
    losses = torch.tensor([r[name][0] for r in ranks], dtype=torch.float64)
    assert torch.allclose(losses.mean(0), torch.tensor(history, dtype=torch.float64), rtol=1e-9)
    if name != "own anchors":
        assert torch.equal(losses, losses[:1].expand_as(losses))


@pytest.mark.parametrize("name", WRONG)
def test_each_mistake_breaks_the_equality(ranks, name):
    _, wanted = train_alone(PAIRS * len(ranks))
    moved = (wanted - parameters_of(make_model())).norm()
    assert (ranks[0][name][1] - wanted).norm() > 0.01 * moved  # ten million times the tolerance


def test_gather_keeps_the_order_and_sums_the_gradient(ranks):
    k = len(ranks)
    rows = torch.tensor([[10.0 * r + i] for r in range(k) for i in range(2)])
    copies = k * (k + 1) / 2  # sum over the ranks' weights
    for place, r in enumerate(ranks):
        everyone, gradient = r["gather"]
        assert torch.equal(everyone, rows)
        assert torch.equal(gradient, torch.tensor([[2.0 * place + 1], [2.0 * place + 2]]) * copies)


def test_gather_takes_strided_and_half_tensors(ranks):
    for r in ranks:
        got = r["gather of strided bfloat16"]
        assert got.dtype == torch.bfloat16 and got.shape == (2 * len(ranks), 3)
        assert got[:, 0].tolist() == [float(k) for k in range(len(ranks)) for _ in range(2)]


def test_unequal_batches_are_refused_on_every_rank(ranks):
    rows = str([2 + k for k in range(len(ranks))])
    for r in ranks:
        assert "same number of rows" in r["unequal"] and rows in r["unequal"]


def test_half_embeddings_are_gathered_and_reduced_in_float32(ranks):
    k = len(ranks)
    views = [torch.cat(v).half().float() for v in zip(*(batch(r, PAIRS) for r in range(k)), strict=True)]
    views[0].requires_grad_()
    nt_xent_dense(*views, TEMPERATURE).backward()
    for place, r in enumerate(ranks):
        dtype, gradient = r["half"]
        assert dtype == torch.float32 and gradient.dtype == torch.float16
        own = k * views[0].grad[place * PAIRS : (place + 1) * PAIRS]
        assert torch.allclose(gradient.float(), own, rtol=2e-3, atol=1e-6)


def test_with_one_process_nothing_is_gathered():
    x = torch.randn(3, 2, requires_grad=True)
    assert (is_distributed(), world_size(), rank()) == (False, 1, 0)
    assert gather_with_grad(x) is x
    with pytest.raises(TypeError, match=r"x must be a torch.Tensor, got list"):
        gather_with_grad([1.0])
    with pytest.raises(ValueError, match="got a scalar"):
        gather_with_grad(torch.tensor(1.0))


def test_a_group_of_one_process_is_not_distributed(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    try:
        assert (is_distributed(), world_size(), rank()) == (False, 1, 0)
        z1, z2 = batch(0, 4)
        assert NTXentLoss(TEMPERATURE)(z1, z2).item() == pytest.approx(
            nt_xent_dense(z1, z2, TEMPERATURE).item(), rel=1e-12
        )
    finally:
        dist.destroy_process_group()


if __name__ == "__main__":
    run_rank(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
