"""Two and four processes train as one does; what fails on one of them ends all of them.

Run by pytest, this file holds the tests. Run as a script, it is one rank of a process group: it does what the
tests look at and saves what it got. The mistakes that break the equality are in tests/mutants.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
import torch.distributed as dist
from torch import nn

import simclr_edu
from simclr_edu import distributed
from simclr_edu import pretrain as pretrain_module
from simclr_edu.checkpoints import list_checkpoints
from simclr_edu.data.shapes import make_shapes
from simclr_edu.distributed import (
    SyncBatchNorm,
    gather_with_grad,
    is_distributed,
    rank,
    synchronised_batch_norm,
    world_size,
)
from simclr_edu.encoders import ResidualBlock, make_encoder
from simclr_edu.losses import NTXentLoss, nt_xent_dense
from simclr_edu.pretrain import PretrainConfig, StopPretraining, load_run, pretrain
from simclr_edu.simclr import SimCLR

TEMPERATURE = 0.3
PAIRS, STEPS = 3, 5  # pairs on each rank
TIMEOUT_S = 300

pytestmark = pytest.mark.xdist_group("distributed")  # the runs that the tests share are made once


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


# The variants: what a rank makes of its own z1 and z2.


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


RIGHT = {
    "module": NTXentLoss(TEMPERATURE),
    "gathered one view at a time": lambda z1, z2: nt_xent_dense(
        gather_with_grad(z1), gather_with_grad(z2), TEMPERATURE
    ),
    "own anchors": lambda z1, z2: own_anchors(z1, z2, rank() * len(z1)),
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


# A whole run of the package's own loop, in float64 and with plain SGD, so that rounding cannot hide anything.

IMAGES = make_shapes(36, size=16, seed=0)[0]
CONFIG = PretrainConfig(
    epochs=3, batch_size=16, projection_dim=8, temperature=TEMPERATURE, warmup=0.2, learning_rate=0.1,
    weight_decay=0.0, log_every=2, checkpoint_every=1, device="cpu",
)  # fmt: skip
TOLERANCE = 1e-9


class DoubleSimCLR(SimCLR):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.double()

    def forward(self, x):
        return super().forward(x.double())


def plain_sgd(model: nn.Module, config: PretrainConfig) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=config.learning_rate)


def whole_run(config: PretrainConfig = CONFIG, images: torch.Tensor = IMAGES, **kwargs) -> dict:
    """Pretrain: the parameters, BatchNorm's buffers and the history that come out."""
    with (
        patch.object(pretrain_module.loop, "SimCLR", DoubleSimCLR),
        patch.object(pretrain_module.loop, "make_optimizer", plain_sgd),
    ):
        run = pretrain(config, images, progress=False, **kwargs)
    assert not any(isinstance(m, (SyncBatchNorm, nn.SyncBatchNorm)) for m in run.model.modules())
    return {
        "parameters": parameters_of(run.model),
        "BatchNorm buffers": torch.cat([b.double().flatten() for b in run.model.buffers()]),
        "losses": torch.tensor([r["loss"] for r in run.history], dtype=torch.float64),
        "accuracies": torch.tensor([r["contrastive_accuracy"] for r in run.history], dtype=torch.float64),
        "steps": run.step,
    }


def difference(got: dict, wanted: dict) -> dict[str, float]:
    """The largest difference of two runs in parameters, buffers and losses."""
    names = ("parameters", "BatchNorm buffers", "losses")
    return {name: float((got[name] - wanted[name]).abs().max()) for name in names}


def assert_same_run(got: dict, wanted: dict) -> None:
    assert got["steps"] == wanted["steps"]
    off = {name: by for name, by in difference(got, wanted).items() if not by <= TOLERANCE}
    assert not off, ", ".join(f"{name} are off by {by:.1e}" for name, by in off.items())


def join(place: int, ranks: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=place, world_size=ranks)


def leave(out: dict, place: int, folder: Path) -> None:
    torch.save(out, folder / f"rank{place}.pt")
    dist.destroy_process_group()


def stop_at(step: int, calls: list | None = None):
    def callback(run):
        if calls is not None:
            calls.append(run.step)
        if run.step == step:
            raise StopPretraining

    return callback


def run_whole(out: dict, place: int, folder: Path) -> None:
    """Runs in one go, stopped and resumed, stopped and left for another number of processes, by the clock."""
    out["run"] = whole_run()
    calls: list[int] = []
    out["stopped"] = whole_run(directory=folder / "resumed", callbacks=[stop_at(4, calls)])
    out["calls"] = calls
    out["resumed"] = whole_run(directory=folder / "resumed", resume=True)
    whole_run(directory=folder / "left", callbacks=[stop_at(2)])
    out["by the clock"] = whole_run(replace(CONFIG, epochs=None, seconds=0.3))


def run_into_mistakes(out: dict, place: int, ranks: int, folder: Path) -> None:
    """Each mistake on one rank or on all: what each rank is told, by name of the mistake."""

    def full(*args):
        raise OSError("no space left")

    def broken(run):
        raise ArithmeticError("a callback's own mistake")

    last = place == ranks - 1
    mistakes = {
        "batch": lambda: whole_run(replace(CONFIG, batch_size=15)),
        "settings": lambda: whole_run(replace(CONFIG, temperature=1.0 if last else 0.5)),
        "images": lambda: whole_run(images=IMAGES[:8] if last else IMAGES),
        "directory": lambda: whole_run(directory=folder / "resumed"),
        "callback": lambda: whole_run(callbacks=[broken]),
    }
    out["mistakes"] = {}
    for name, mistake in mistakes.items():
        try:
            mistake()
        except Exception as error:
            out["mistakes"][name] = (type(error).__name__, str(error))
    with patch.object(pretrain_module.saver, "save_checkpoint", full):
        try:
            whole_run(directory=folder / "full")
        except Exception as error:
            out["mistakes"]["disk"] = (type(error).__name__, str(error))


# BatchNorm alone: the kind of layer, the shape of the whole batch and where its values lie.
NORMS = [
    (nn.BatchNorm1d, {}, (13, 3), 0.0, torch.float64),
    (nn.BatchNorm1d, {"momentum": None}, (13, 3, 4), 5.0, torch.float64),
    (nn.BatchNorm2d, {"affine": False}, (13, 3, 2, 4), 0.0, torch.float64),
    (nn.BatchNorm2d, {"track_running_stats": False}, (13, 3, 2, 4), 1e4, torch.float64),
    (nn.BatchNorm2d, {}, (13, 3, 4, 4), 1e2, torch.float32),
]


def normalise(case: int, rows: slice) -> dict:
    """Two training steps and an evaluation on ``rows`` of the batch: results, gradients and buffers."""
    kind, settings, shape, mean, dtype = NORMS[case]
    generator = torch.Generator().manual_seed(case)
    x = torch.randn(2, *shape, generator=generator, dtype=torch.float64) + mean
    direction = torch.randn(shape, generator=generator, dtype=torch.float64)[rows].to(dtype)
    model = nn.Sequential(kind(shape[1], dtype=dtype, **settings))
    out: dict = {}
    with synchronised_batch_norm(model, torch.device("cpu")):
        for step in range(2):
            own = x[step, rows].to(dtype)
            if own.ndim == 4:
                own = own.contiguous(memory_format=torch.channels_last)
            own.requires_grad_()
            y = model(own)
            (y**2 * direction).sum().backward()
            out |= {f"y{step}": y.detach().contiguous(), f"gradient{step}": own.grad.contiguous()}
    out["weights"] = [p.grad for p in model.parameters()]
    out["buffers"] = list(model.buffers())
    model.eval()
    if settings.get("track_running_stats", True):  # else the batch's own statistics are used here too
        with torch.no_grad():
            out["eval"] = model(x[0, rows].to(dtype))
    return out


def exchange() -> tuple[list[str], bool]:
    """What the BatchNorm layers are called within, and whether the model is as before afterwards."""
    model = SimCLR(make_encoder("tiny"), 4)
    before = [(name, id(m)) for name, m in model.named_modules()]
    tensors = [id(t) for t in (*model.parameters(), *model.buffers())]
    norms = [name for name, m in model.named_modules() if "BatchNorm" in type(m).__name__]
    model.eval()
    with contextlib.suppress(ZeroDivisionError), synchronised_batch_norm(model, torch.device("cpu")):
        within = [type(model.get_submodule(name)).__name__ for name in norms]
        same = tensors == [id(t) for t in (*model.parameters(), *model.buffers())]
        model.train()
        raise ZeroDivisionError  # an error within must not leave the model changed
    same = same and before == [(name, id(m)) for name, m in model.named_modules()]
    return within, same and all(m.training for m in model.modules())


def run_rank(place: int, ranks: int, folder: Path) -> None:
    """What one process does: everything the tests look at, saved to ``folder``."""
    join(place, ranks, folder)
    out: dict = {"facts": (is_distributed(), world_size(), rank())}
    for name, loss in RIGHT.items():
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
    out["batch norm"] = [normalise(case, slice(place, None, ranks)) for case in range(len(NORMS))]
    out["exchanged"] = exchange()
    run_whole(out, place, folder)
    run_into_mistakes(out, place, ranks, folder)
    leave(out, place, folder)


def launch(script: str, ranks: int, folder: Path, *arguments: str) -> list[subprocess.Popen]:
    """Start ``script`` once for each rank."""
    root = str(Path(simclr_edu.__file__).parents[1])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    return [
        subprocess.Popen(
            [sys.executable, script, str(k), str(ranks), str(folder), *arguments],
            env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for k in range(ranks)
    ]


def what_ranks_saved(script: str, ranks: int, folder: Path) -> list[dict]:
    """Run ``script`` in ``ranks`` processes and load what each of them saved."""
    started = launch(script, ranks, folder)
    try:
        for process in started:
            _, problem = process.communicate(timeout=TIMEOUT_S)
            assert process.returncode == 0, problem
    finally:
        for process in started:
            process.kill()
    return [torch.load(folder / f"rank{k}.pt", weights_only=True) for k in range(ranks)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module", params=[pytest.param(k, marks=pytest.mark.slow) for k in (2, 4)])
def ranks(request, folder) -> list[dict]:
    """What each rank of a group of 2, then 4, processes saved."""
    own = folder / str(request.param)
    own.mkdir()
    return what_ranks_saved(__file__, request.param, own)


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


# --- whole runs ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def alone() -> dict:
    """The same run in this process, with torch's own BatchNorm and no process group."""
    return whole_run()


def test_a_whole_run_with_several_processes_equals_that_of_one(ranks, alone):
    assert alone["steps"] == 6
    for r in ranks:
        assert_same_run(r["run"], alone)
        assert torch.allclose(r["run"]["accuracies"], alone["accuracies"], atol=1e-6)


def test_a_group_of_one_runs_as_no_group_does(tmp_path, alone):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    try:
        assert_same_run(whole_run(), alone)
    finally:
        dist.destroy_process_group()


def test_all_ranks_hold_the_same_weights_to_the_bit(ranks):
    for name in ("run", "resumed", "by the clock"):
        for r in ranks[1:]:
            assert r[name]["steps"] == ranks[0][name]["steps"] > 0
            for what in ("parameters", "BatchNorm buffers"):
                assert torch.equal(r[name][what], ranks[0][name][what])


def test_a_stopped_and_resumed_run_ends_with_the_same_weights_to_the_bit(ranks):
    for r in ranks:
        assert r["stopped"]["steps"] == 4 and r["resumed"]["steps"] == 6
        for what in ("parameters", "BatchNorm buffers", "losses"):
            assert torch.equal(r["resumed"][what], r["run"][what])


def test_a_run_may_be_resumed_with_another_number_of_processes(ranks, folder, alone):
    left = folder / str(len(ranks)) / "left"
    resumed = whole_run(directory=left, resume=True)
    assert_same_run(resumed, alone)


def test_rank_0_alone_calls_back_and_writes(ranks, folder):
    assert ranks[0]["calls"] == [2, 4] and all(r["calls"] == [] for r in ranks[1:])
    written = sorted(p.name for p in (folder / str(len(ranks)) / "resumed").glob("[!.]*"))
    assert written == ["checkpoint-00000005.pt", "checkpoint-00000006.pt", "config.json", "history.csv"]


# --- what fails on one fails on all -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mistake", "kind", "words"),
    [
        ("batch", "ValueError", r"must be a multiple of (2, got 15: 14 or 16|4, got 15: 12 or 16) would do"),
        ("settings", "ValueError", r"temperature is 0.5 on rank 0 and 1.0 on rank"),
        ("images", "ValueError", r"needs as many images, got 8"),
        ("directory", "ValueError", r"already holds a run"),
        ("callback", "ArithmeticError", r"a callback's own mistake"),
        ("disk", "OSError", r"no space left"),
    ],
)
def test_a_mistake_on_one_rank_ends_all_with_one_to_say_why(ranks, mistake, kind, words):
    teller = len(ranks) - 1 if mistake == "images" else 0
    for place, r in enumerate(ranks):
        name, message = r["mistakes"][mistake]
        assert re.search(words, message), message
        assert name == (kind if place == teller else "ElsewhereError")
        assert place == teller or message.startswith(f"rank {teller} failed: ")


@pytest.mark.slow
def test_a_rank_that_is_killed_does_not_leave_the_other_waiting(tmp_path):
    first, second = launch(__file__, 2, tmp_path, "die")
    try:
        _, problem = first.communicate(timeout=TIMEOUT_S)
        second.wait(timeout=TIMEOUT_S)
    finally:
        first.kill()
        second.kill()
    assert second.returncode == -signal.SIGKILL and first.returncode == 1
    assert "LostRankError: rank 0 can no longer reach the others" in problem
    assert [p.name for p in list_checkpoints(tmp_path / "run")][-1] == "checkpoint-00000003.pt"


def die(place: int, ranks: int, folder: Path) -> None:
    """Be killed, as rank 1, in the fourth step of a run."""
    join(place, ranks, folder)
    average, calls = distributed.average_gradients, []

    def fatal(module):
        calls.append(1)
        if place == 1 and len(calls) == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        average(module)

    with patch.object(distributed, "average_gradients", fatal):
        whole_run(directory=folder / "run")


# --- BatchNorm ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", range(len(NORMS)))
def test_synchronised_batch_norm_is_batch_norm_of_the_whole_batch(ranks, case):
    wanted = normalise(case, slice(None))  # in this process: torch's own
    double = NORMS[case][-1] == torch.float64
    tolerance = {"rtol": 1e-9, "atol": 1e-9} if double else {"rtol": 1e-3, "atol": 1e-3}
    k = len(ranks)
    for place, r in enumerate(ranks):
        got = r["batch norm"][case]
        for name in wanted.keys() - {"weights", "buffers"}:
            torch.testing.assert_close(got[name], wanted[name][place::k], **tolerance)
        torch.testing.assert_close(got["buffers"], wanted["buffers"], **tolerance)
    for i, gradient in enumerate(wanted["weights"]):
        total = sum(r["batch norm"][case]["weights"][i] for r in ranks)
        torch.testing.assert_close(total, gradient, **tolerance)


def test_the_layers_are_exchanged_and_put_back(ranks):
    for r in ranks:
        within, same = r["exchanged"]
        assert len(within) > 5 and set(within) == {"SyncBatchNorm"} and same


def test_cuda_gets_torchs_own_batch_norm(monkeypatch):
    monkeypatch.setattr(distributed.ranks, "world_size", lambda: 2)
    block = ResidualBlock(4)
    with synchronised_batch_norm(block, torch.device("cuda")):
        assert isinstance(block.bn1, nn.SyncBatchNorm) and isinstance(block.bn2, nn.SyncBatchNorm)
        assert block.bn1.weight is dict(block.named_parameters())["bn1.weight"]
    assert type(block.bn1) is nn.BatchNorm2d
    with (
        pytest.raises(TypeError, match="a BatchNorm itself"),
        synchronised_batch_norm(nn.BatchNorm1d(3), torch.device("cpu")),
    ):
        pass


def test_batch_norm_alone_is_torchs_own():
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    ours, torchs = SyncBatchNorm(3), nn.BatchNorm1d(3)
    assert torch.equal(ours(x), torchs(x)) and torch.equal(ours.running_var, torchs.running_var)
    with pytest.raises(ValueError, match=r"needs a batch of shape \(B, C, ...\), got \(3,\)"):
        ours(x[0])


# --- devices and shares -------------------------------------------------------------------------------


def test_each_process_has_a_gpu_of_its_own(monkeypatch):
    chosen = []
    assert distributed.local_device(torch.device("mps")) == torch.device("mps")  # alone: anything goes
    monkeypatch.setattr(distributed.ranks, "world_size", lambda: 4)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert distributed.local_device(torch.device("cuda")) == torch.device("cuda", 1) and chosen == [1]
    assert distributed.local_device(torch.device("cpu")) == torch.device("cpu")
    with pytest.raises(ValueError, match="cpu or cuda, got mps"):
        distributed.local_device(torch.device("mps"))
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ValueError, match="process 2 of this machine.* torch finds 2: start 2 processes"):
        distributed.local_device(torch.device("cuda"))


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_the_shares_of_a_batch_are_the_batch_in_order(parts, monkeypatch):
    batch = torch.arange(12).view(6, 2)
    monkeypatch.setattr(distributed.ranks, "world_size", lambda: parts)
    shares = []
    for k in range(parts):
        monkeypatch.setattr(distributed.ranks, "rank", lambda k=k: k)
        shares.append(distributed.own_part(batch))
    assert torch.equal(torch.cat(shares), batch) and {len(s) for s in shares} == {6 // parts}
    monkeypatch.setattr(distributed.ranks, "world_size", lambda: 4)
    with pytest.raises(ValueError, match="must be a multiple of 4, got 6: 4 or 8 would do"):
        distributed.own_part(batch)


# --- the real thing -----------------------------------------------------------------------------------


def torchrun(*arguments: str | Path) -> subprocess.Popen:
    """``torchrun --nproc-per-node=2 -m simclr_edu ...`` by its module's name, on the CPU."""
    root = str(Path(simclr_edu.__file__).parents[1])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
        + ["-m", "simclr_edu", *map(str, arguments), "--device", "cpu"],
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "SIMCLR_EDU_PROFILE": "laptop"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_torchrun_trains_is_stopped_and_resumes(tmp_path):
    common = [
        "pretrain",
        "--data",
        "shapes",
        "--image-size",
        "16",
        "--out",
        tmp_path / "run",
        "--epochs",
        "1",
    ]
    common += ["--batch-size", "128", "--checkpoint-every", "10"]
    first = torchrun(*common)
    try:
        patience = time.monotonic() + TIMEOUT_S
        while not list_checkpoints(tmp_path / "run") and first.poll() is None:
            assert time.monotonic() < patience
            time.sleep(0.02)
        first.terminate()
        out, _ = first.communicate(timeout=TIMEOUT_S)
    finally:
        first.kill()
    assert first.returncode != 0 and out == ""
    stopped = load_run(tmp_path / "run")
    assert 0 < stopped.step < 78 and not stopped.finished

    second = torchrun(*common, "--resume")
    out, err = second.communicate(timeout=TIMEOUT_S)
    assert second.returncode == 0, err
    assert len(out.splitlines()) == 1
    summary = json.loads(out)
    assert summary["steps"] == 78 and summary["finished"] and summary["pairs_per_s"] > 0
    names = [p.name for p in list_checkpoints(tmp_path / "run")]
    assert names == ["checkpoint-00000070.pt", "checkpoint-00000078.pt"]
    resumed = load_run(tmp_path / "run")
    assert resumed.history[: len(stopped.history)] == stopped.history
    assert resumed.history[-1]["loss"] < resumed.history[0]["loss"]


@pytest.mark.slow
def test_under_torchrun_a_mistake_is_said_once(tmp_path):
    started = torchrun("pretrain", "--data", "shapes", "--out", tmp_path / "run", "--batch-size", "15")
    out, err = started.communicate(timeout=TIMEOUT_S)
    assert started.returncode != 0 and out == "" and not (tmp_path / "run").exists()
    said = [line for line in err.splitlines() if re.match(r"simclr_edu( \(rank \d+\))?: ", line)]
    assert said == [
        "simclr_edu: batch_size counts the images of all 2 processes together and must be a multiple of 2, "
        "got 15: 14 or 16 would do"
    ]


if __name__ == "__main__":
    worker = die if sys.argv[4:] == ["die"] else run_rank
    worker(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
