"""On a CUDA GPU: loss, augmentation and whole step beside their peers, then a run of the GPU profile.

    python benchmarks/gpu.py [--data cifar10 | folder:PATH] [--epochs 100] [--rounds 5]

Times are those of CUDA events, the median over rounds that take turns; memory is what the allocator held at
most, beyond the inputs and their gradients. Every peer is configured as in the comparison on the CPU. Without
``--data`` no run is made.
"""

import argparse
import gc
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import augment
import losses
import pretraining
import torch
from torch import Tensor, nn

import simclr_edu  # noqa: F401  before anything that imports torchvision
from simclr_edu import evaluate
from simclr_edu.augment import SimCLRAugment
from simclr_edu.course.profiles import PROFILES
from simclr_edu.data import load_images
from simclr_edu.encoders import make_encoder
from simclr_edu.losses import NTXentLoss
from simclr_edu.losses.tiled import nt_xent_tiled
from simclr_edu.pretrain import pretrain
from simclr_edu.simclr import SimCLR, train_step

PAIRS = (256, 2048, 8192, 32768)
TILES = (1024, 2048, 4096, 8192)
BATCH = 512
# As on the CPU, but that a GPU wants larger batches.
RECIPES = augment.RECIPES | {"imagenet-224": augment.RECIPES["imagenet-224"] | {"batch": 256}}


def milliseconds(call: Callable[[], object], repeats: int) -> float:
    """Mean milliseconds of a call on the GPU."""
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    for _ in range(repeats):
        call()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / repeats


def in_turns(calls: dict[str, Callable[[], object]], rounds: int, repeats: int) -> dict[str, float]:
    """Median milliseconds of each call over ``rounds`` turns; one turn before warms up."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name, call in calls.items():
            took = milliseconds(call, repeats)
            if turn:
                found[name].append(took)
    return {name: statistics.median(values) for name, values in found.items()}


def repeats(n: int) -> int:
    """How often a loss is called between two looks at the clock."""
    return max(2, min(50, 100_000 // n))


def loss_step(loss: Callable, z1: Tensor, z2: Tensor) -> None:
    """One forward and backward."""
    z1.grad = z2.grad = None
    loss(z1, z2).backward()


def extra_memory(call: Callable[[], object]) -> float:
    """MB that the allocator holds at most during a call, beyond what it holds before."""
    gc.collect()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 1e6


def loss_tables(rounds: int) -> dict[str, object]:
    """Milliseconds and MB of a forward and backward, beside the peers; then against the side of a tile."""
    result: dict[str, object] = {}
    print(
        "\n| NT-Xent, float32, forward and backward | pairs N | ms | extra MB |\n| --- | ---: | ---: | ---: |"
    )
    for n in PAIRS:
        z1, z2 = losses.views(n, "cuda")
        calls = {
            name: partial(loss_step, loss, z1, z2)
            for name, loss in losses.contestants().items()
            if losses.fits(name, n, torch.cuda.mem_get_info()[0])
        }
        for name in calls:
            losses.check_equal(name, losses.contestants()[name], z1, z2)
        times = in_turns(calls, rounds, repeats(n))
        for name, call in calls.items():
            memory = extra_memory(call)
            print(f"| {name} | {n:,} | {times[name]:.2f} | {memory:,.0f} |", flush=True)
            result[f"loss {name} {n}"] = [times[name], memory]
    print("\n| tile | " + " | ".join(f"{n:,}" for n in PAIRS) + " |\n| ---: |" + " ---: |" * len(PAIRS))
    by_tile: dict[int, list[float]] = {tile: [] for tile in TILES}
    for n in PAIRS:
        z1, z2 = losses.views(n, "cuda")
        calls = {
            str(t): partial(loss_step, lambda a, b, t=t: nt_xent_tiled(a, b, losses.TEMPERATURE, t), z1, z2)
            for t in TILES
        }
        for name, took in in_turns(calls, rounds, repeats(n)).items():
            by_tile[int(name)].append(took)
    for tile, times_of in by_tile.items():
        print(f"| {tile} | " + " | ".join(f"{took:.2f}" for took in times_of) + " |", flush=True)
    return result | {"tiles": by_tile}


def augmentation_table(rounds: int) -> dict[str, float]:
    """Views a second on the GPU, beside kornia's."""
    result = {}
    print("\n| augmentation on the GPU | recipe | views/s |\n| --- | --- | ---: |")
    for recipe, r in RECIPES.items():
        shape = (r["batch"], 3, r["source"], r["source"])
        x = torch.randint(0, 256, shape, dtype=torch.uint8, device="cuda")
        ours = SimCLRAugment(r["size"], strength=r["strength"], blur=r["blur"])
        calls: dict[str, Callable[[], object]] = {"simclr_edu": partial(ours, x)}
        if (kornia := augment.peer("kornia.augmentation")) is not None:
            pipeline = augment.kornia_pipeline(kornia, r["size"], r["strength"], r["blur"]).cuda()
            calls["kornia"] = lambda pipeline=pipeline, x=x: pipeline(x.float() / 255)
        for name, took in in_turns(calls, rounds, 10).items():
            speed = result[f"augment {name} {recipe}"] = len(x) / took * 1e3
            print(f"| {name} | {recipe} | {speed:,.0f} |", flush=True)
    return result


def our_steps(images: Tensor, *, amp: bool, channels_last: bool, compiled: bool) -> Iterator[int]:
    """Train a ResNet-18 with this package's parts without end; yields the pairs of each step."""
    config = PROFILES["gpu"].config
    model = SimCLR(make_encoder(config.encoder, config.stem), config.projection_dim).cuda().train()
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
    forward = torch.compile(model) if compiled else model
    views, loss = config.augmentation(32), NTXentLoss(config.temperature)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    generator = torch.Generator().manual_seed(0)
    while True:
        for rows in torch.randperm(len(images), device="cuda").split(BATCH):
            precision = torch.autocast("cuda", torch.bfloat16, enabled=amp)
            train_step(forward, views, loss, optimizer, images[rows], generator, precision)
            yield len(rows)


def lightly_steps(images: Tensor, workers: int) -> Iterator[int]:
    """The same network at the same speed-ups with lightly's transform, loader, head and loss."""
    from lightly.loss import NTXentLoss as LightlyLoss
    from lightly.models.modules import SimCLRProjectionHead

    encoder = make_encoder("resnet18", "cifar")
    model = nn.Sequential(encoder, SimCLRProjectionHead(512, 512, 128)).cuda().train()
    forward = torch.compile(model.to(memory_format=torch.channels_last))
    criterion = LightlyLoss(temperature=0.5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    loader = torch.utils.data.DataLoader(
        pretraining.Pictures(images, 0.2, 0.5),
        batch_size=BATCH,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=True,
        pin_memory=True,
    )
    while True:
        for x0, x1 in loader:
            x0, x1 = (x.cuda(non_blocking=True).to(memory_format=torch.channels_last) for x in (x0, x1))
            with torch.autocast("cuda", torch.bfloat16):
                z0, z1 = forward(x0), forward(x1)
            loss = criterion(z0.float(), z1.float())
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            yield len(x0)


def rate(steps: Iterator[int], seconds: float) -> float:
    """Pairs a second over at least ``seconds``, after as long a warm-up: more than one step compiles."""
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        next(steps)
    torch.cuda.synchronize()
    start, pairs = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        pairs += sum(next(steps) for _ in range(8))
        torch.cuda.synchronize()
    return pairs / (time.perf_counter() - start)


def step_table(seconds: float) -> dict[str, float]:
    """Pairs a second of the whole step, one speed-up after the other, and lightly with all of them."""
    images = torch.randint(0, 256, (16 * BATCH, 3, 32, 32), dtype=torch.uint8)
    on_gpu, workers = images.cuda(), len(os.sched_getaffinity(0))
    off = {"amp": False, "channels_last": False, "compiled": False}
    kinds: dict[str, Iterator[int]] = {
        "float32": our_steps(on_gpu, **off),
        "+ channels_last": our_steps(on_gpu, **off | {"channels_last": True}),
        "+ bfloat16": our_steps(on_gpu, amp=True, channels_last=True, compiled=False),
        "+ torch.compile: the GPU profile": our_steps(on_gpu, amp=True, channels_last=True, compiled=True),
    }
    try:
        import lightly  # noqa: F401

        kinds[f"lightly, all of these, {workers} workers"] = lightly_steps(images, workers)
    except ImportError as error:
        print(f"lightly: skipped, {error}")
    print(f"\n| whole step, ResNet-18, batch {BATCH}, 32 px | pairs/s | memory GB |\n| --- | ---: | ---: |")
    result = {}
    for name, steps in kinds.items():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        result[name] = rate(steps, seconds)
        steps.close()  # type: ignore[attr-defined]
        memory = torch.cuda.max_memory_allocated() / 1e9
        print(f"| {name} | {result[name]:,.0f} | {memory:.1f} |", flush=True)
    return result


def profile_run(data: str, epochs: int) -> dict[str, float]:
    """Train the GPU profile on ``data`` and measure its encoder, test pictures read once."""
    images = load_images(data)
    config = replace(PROFILES["gpu"].config, data=images.name, epochs=epochs)
    run = pretrain(config, images, progress=False)
    found = dict(run.summary()) | {
        f"{who}{key}": value
        for who, encoder in (
            ("", run.encoder),
            ("random_encoder_", make_encoder("resnet18", "cifar").cuda()),
            ("pixels_", None),
        )
        for key, value in evaluate.probe_scores(encoder, images).items()
    }
    print(f"\nGPU profile, {epochs} epochs of {len(images.pretrain_images):,} pictures: {json.dumps(found)}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="data set of the run, such as cifar10 or folder:PATH")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=("loss", "augment", "step", "run"), action="append")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error(f"torch {torch.__version__} finds no CUDA GPU on this machine")
    torch.manual_seed(0)
    print(f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}, torch {torch.__version__}")
    parts = {
        "loss": lambda: loss_tables(arguments.rounds),
        "augment": lambda: augmentation_table(arguments.rounds),
        "step": lambda: step_table(8.0),
        "run": lambda: profile_run(arguments.data, arguments.epochs) if arguments.data else {},
    }
    results: dict[str, object] = {}
    for name in arguments.only or parts:
        results |= parts[name]()
    print("\n" + json.dumps(results))


if __name__ == "__main__":
    main()
