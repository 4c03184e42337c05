"""NT-Xent beside its peers: forward + backward, same inputs, one process; then peak memory, one process each.

    python benchmarks/losses.py [--pairs 256 2048 8192] [--rounds 5] [--no-memory] [--no-time]

Peers: ``nt_xent_dense`` (what one writes on a whiteboard), lightly's ``NTXentLoss``, and
pytorch-metric-learning's ``SupConLoss``: with one positive it equals that package's ``NTXentLoss``, which
compares every pair with every negative and runs out of memory beyond a few hundred pairs. Before anything is
timed, each is asserted to compute what this package computes. The rounds take turns, so that a busy moment of
the machine hits all alike; printed is the median.

Ratios carry over to another machine, milliseconds do not.
"""

import argparse
import contextlib
import math
import multiprocessing
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

import simclr_edu  # noqa: F401  before anything that imports torchvision
from simclr_edu.losses import nt_xent, nt_xent_dense

DIM = 128
TEMPERATURE = 0.5
# Float32 matrices (2N, 2N) that a step needs at its peak: ``peak_mb`` at N = 2,048, rounded up.
MATRICES = {"dense": 4, "lightly": 5, "pytorch-metric-learning": 13}


def contestants() -> dict[str, Callable]:
    """The losses to compare, by name; a peer's only where it is installed."""
    losses = {
        "nt_xent": lambda a, b: nt_xent(a, b, TEMPERATURE),
        "dense": lambda a, b: nt_xent_dense(a, b, TEMPERATURE),
    }
    with contextlib.suppress(ModuleNotFoundError):
        from lightly.loss import NTXentLoss

        losses["lightly"] = NTXentLoss(temperature=TEMPERATURE)
    with contextlib.suppress(ModuleNotFoundError):
        from pytorch_metric_learning.losses import SupConLoss

        metric = SupConLoss(temperature=TEMPERATURE)
        # Its way to say "these two are a pair": the same label.
        losses["pytorch-metric-learning"] = lambda a, b: metric(
            torch.cat([a, b]), torch.arange(len(a), device=a.device).repeat(2)
        )
    return losses


def free_memory() -> float:
    """Bytes of memory that are free; without end if that is unknown."""
    meminfo = Path("/proc/meminfo")
    if not meminfo.exists():
        return math.inf
    return 1024 * int(meminfo.read_text().split("MemAvailable:")[1].split()[0])


def fits(name: str, n: int, free: float | None = None) -> bool:
    """Whether a loss at ``n`` pairs leaves a quarter of the free memory (``free`` bytes, if given)."""
    free = free_memory() if free is None else free
    return MATRICES.get(name, 0) * 4 * (2 * n) ** 2 < 0.75 * free


def views(n: int, device: str = "cpu") -> tuple[torch.Tensor, torch.Tensor]:
    """Two views ``(n, DIM)``, positives at a similarity of about 0.7."""
    generator = torch.Generator().manual_seed(n)
    z1 = torch.randn(n, DIM, generator=generator)
    z2 = z1 + torch.randn(n, DIM, generator=generator)
    return z1.to(device).requires_grad_(), z2.to(device).requires_grad_()


def step(loss: Callable, z1: torch.Tensor, z2: torch.Tensor) -> float:
    """One forward and backward; seconds."""
    z1.grad = z2.grad = None
    start = time.perf_counter()
    loss(z1, z2).backward()
    return time.perf_counter() - start


def matmul_rate() -> float:
    """Best measured float32 matmul rate of this machine, operations a second, at the shape of a tile."""
    a, out = torch.randn(512, DIM), torch.empty(512, 512)
    seconds = []
    for _ in range(200):
        start = time.perf_counter()
        torch.mm(a, a.T, out=out)
        seconds.append(time.perf_counter() - start)
    return 2 * 512 * 512 * DIM / min(seconds)


def high_water_mb() -> float:
    """The most memory this process has held so far, MB. Linux; getrusage would count the parent's, too."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def peak_mb(name: str, n: int) -> float:
    """MB that one step at ``n`` pairs adds to this process's peak, inputs and their gradients left out."""
    loss = contestants()[name]
    step(loss, *views(64))  # libraries, thread pools
    z1, z2 = views(n)
    z1.grad, z2.grad = torch.ones_like(z1), torch.ones_like(z2)
    before = high_water_mb()
    loss(z1, z2).backward()
    return high_water_mb() - before


def fresh_peak_mb(name: str, n: int) -> float:
    """``peak_mb`` in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(peak_mb, (name, n))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, nargs="+", default=[256, 2048, 8192])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--no-time", action="store_true")
    args = parser.parse_args()

    losses = contestants()
    for name in ("lightly", "pytorch-metric-learning"):
        if name not in losses:
            print(f"{name} is not installed: not compared")
    if not args.no_time:
        print_times(args.pairs, args.rounds)
    if not args.no_memory:
        print_memory(losses, args.pairs[-1])


def check_equal(name: str, loss: Callable, z1: torch.Tensor, z2: torch.Tensor) -> None:
    """Raise AssertionError unless a peer's value and gradient are those of ``nt_xent``."""
    found = []
    for function in (loss, contestants()["nt_xent"]):
        z1.grad = z2.grad = None
        value = function(z1, z2)
        value.backward()
        assert z1.grad is not None
        found.append((value.detach(), z1.grad))
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-6, msg=lambda text: f"{name}: {text}")


def times(n: int, rounds: int) -> dict[str, float]:
    """Median seconds of a forward and backward of each loss at ``n`` pairs, taking turns, values compared."""
    z1, z2 = views(n)
    inner = max(1, min(16, 2048 // n))
    losses = {name: loss for name, loss in contestants().items() if fits(name, n)}
    seconds: dict[str, list[float]] = {}
    for name, loss in losses.items():
        check_equal(name, loss, z1, z2)  # warms up, too
    for _ in range(rounds):
        for name, loss in losses.items():
            seconds.setdefault(name, []).append(statistics.median(step(loss, z1, z2) for _ in range(inner)))
    return {name: statistics.median(values) for name, values in seconds.items()}


def print_times(pairs: list[int], rounds: int) -> None:
    """Milliseconds of a forward and backward, and how far the best possible is."""
    rate = matmul_rate()
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, d = {DIM}, {rate / 1e9:.0f} GFLOP/s"
    )
    print("pairs     loss                       median ms   slower than nt_xent")
    for n in pairs:
        medians = times(n, rounds)
        ours = medians["nt_xent"]
        for name, median in medians.items():
            print(f"{n:5d}     {name:24s} {median * 1e3:11.2f}   {median / ours:6.1f} x")
        # Half of the matrix of similarities twice (it is not stored), and its product with z from both sides.
        floor = 4 * (2 * n) ** 2 * DIM / rate
        print(f"{n:5d}     nt_xent's matrix products alone: {floor * 1e3:.2f} ms")


def print_memory(losses: dict[str, Callable], n: int) -> None:
    """What one step adds to the peak memory of a fresh process."""
    print(f"peak memory of one step at {n} pairs, beyond the inputs and their gradients")
    for name in losses:
        peak = f"{fresh_peak_mb(name, n):10.0f} MB" if fits(name, n) else "does not fit"
        print(f"          {name:24s} {peak}")


if __name__ == "__main__":
    main()
