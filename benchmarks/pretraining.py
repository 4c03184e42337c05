"""Pretraining beside lightly's documented recipe: pairs a second, and accuracy at equal wall time.

    python benchmarks/pretraining.py [--rounds 3] [--photographs folder:PATH --seconds 98]

Both train the same encoder on the same machine. lightly's side is the recipe of its documentation for
CIFAR-10: ``SimCLRTransform`` on PIL images without blur, a DataLoader with worker processes, one forward
pass per view, ``SimCLRProjectionHead``, ``NTXentLoss`` at its default temperature, SGD at learning rate 0.06.
Its images lie in memory, decoded: reading files would only slow it down. This side is ``pretrain`` with its
defaults.
"""

import argparse
import json
import statistics
import time
from collections.abc import Iterator

import torch
from torch import Tensor, nn

import simclr_edu  # noqa: F401  before anything that imports torchvision
from simclr_edu import evaluate
from simclr_edu.data import ImageSet, load_images
from simclr_edu.losses import NTXentLoss
from simclr_edu.models import SimCLR, make_encoder
from simclr_edu.pretrain import PretrainConfig, pretrain, train_step

BATCH = 256
ENCODER = "tiny"


class Pictures(torch.utils.data.Dataset):
    """Decoded images behind lightly's transform: two views an item."""

    def __init__(self, images: Tensor) -> None:
        from lightly.transforms import SimCLRTransform
        from torchvision.transforms.v2.functional import to_pil_image

        self.pictures = [to_pil_image(image) for image in images]
        self.transform = SimCLRTransform(input_size=images.shape[-1], gaussian_blur=0.0)

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, i: int) -> list[Tensor]:
        return self.transform(self.pictures[i])


def lightly_steps(images: Tensor, encoder: nn.Module, workers: int) -> Iterator[int]:
    """Train by lightly's recipe without end; yields the pairs of each step."""
    from lightly.loss import NTXentLoss as LightlyLoss
    from lightly.models.modules import SimCLRProjectionHead

    width = encoder.feature_dim
    model = nn.Sequential(encoder, SimCLRProjectionHead(width, width, 128)).train()
    criterion = LightlyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.06)
    loader = torch.utils.data.DataLoader(
        Pictures(images),
        batch_size=BATCH,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    while True:
        for x0, x1 in loader:
            loss = criterion(model(x0), model(x1))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            yield len(x0)


def our_steps(images: Tensor, encoder: nn.Module) -> Iterator[int]:
    """Train with this package's step and default configuration without end; yields the pairs of each step."""
    config = PretrainConfig()
    model = SimCLR(encoder, config.projection_dim).to(memory_format=torch.channels_last).train()
    augment, loss = config.augmentation(images.shape[-1]), NTXentLoss(config.temperature)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate)
    generator = torch.Generator().manual_seed(0)
    while True:
        for rows in torch.randperm(len(images)).split(BATCH):
            if len(rows) == BATCH:
                train_step(model, augment, loss, optimizer, images[rows], generator)
                yield BATCH


def pairs_per_second(steps: Iterator[int], seconds: float) -> float:
    """Rate over at least ``seconds``."""
    pairs, start = 0, time.perf_counter()
    while (passed := time.perf_counter() - start) < seconds:
        pairs += next(steps)
    return pairs / passed


def speed(rounds: int, seconds: float = 8.0) -> dict[str, float]:
    """Median pairs a second of each contender, taking turns."""
    images = torch.randint(0, 256, (4096, 3, 32, 32), dtype=torch.uint8)
    rates: dict[str, list[float]] = {}
    for turn in range(rounds):
        for name, make in {
            "simclr_edu": lambda e: our_steps(images, e),
            "lightly, 2 workers": lambda e: lightly_steps(images, e, workers=2),
            "lightly, no worker": lambda e: lightly_steps(images, e, workers=0),
        }.items():
            torch.manual_seed(turn)
            steps = make(make_encoder(ENCODER))
            next(steps)  # warm-up: libraries, and the workers start
            rates.setdefault(name, []).append(pairs_per_second(steps, seconds))
            steps.close()  # type: ignore[attr-defined]
    return {name: statistics.median(values) for name, values in rates.items()}


def print_speed(rates: dict[str, float]) -> None:
    """A Markdown table of rates, and the ratio to the faster of lightly's two."""
    print("\n| whole pretraining step, `tiny`, batch 256, 32 px | pairs/s |\n| --- | ---: |")
    for name, rate in rates.items():
        print(f"| {name} | {rate:,.0f} |")
    best = max(rate for name, rate in rates.items() if name.startswith("lightly"))
    print(f"\nsimclr_edu is {rates['simclr_edu'] / best:.1f} x as fast as lightly's faster setting")


def quality(images: ImageSet, seconds: float, seed: int = 0) -> dict[str, dict[str, float]]:
    """Linear probe and kNN after equal wall time, with controls; accuracies 0 to 1."""
    torch.manual_seed(seed)
    control = make_encoder(ENCODER)
    scores = {
        "raw pixels": evaluate.probe_scores(None, images),
        "random encoder": evaluate.probe_scores(control, images),
    }
    torch.manual_seed(seed)
    encoder = make_encoder(ENCODER)
    steps = lightly_steps(images.pretrain_images, encoder, workers=2)
    next(steps)
    rate = pairs_per_second(steps, seconds)
    scores["lightly's recipe"] = evaluate.probe_scores(encoder, images) | {"pairs_per_s": rate}
    config = PretrainConfig(data=images.name, seconds=seconds, seed=seed)
    run = pretrain(config, images, progress=False)
    scores["simclr_edu"] = evaluate.probe_scores(run.encoder, images) | {"pairs_per_s": run.pairs_per_s}
    return scores


def print_quality(scores: dict[str, dict[str, float]], name: str, seconds: float) -> None:
    """A Markdown table of accuracies, and the lead over lightly's recipe in points."""
    print(f"\n| {name}, {seconds:.0f} s of training each | linear (%) | kNN (%) | pairs/s |")
    print("| --- | ---: | ---: | ---: |")
    for who, score in scores.items():
        rate = f"{score['pairs_per_s']:,.0f}" if "pairs_per_s" in score else ""
        print(f"| {who} | {100 * score['linear']:.1f} | {100 * score['knn']:.1f} | {rate} |")
    ours, theirs = scores["simclr_edu"], scores["lightly's recipe"]
    lead = {key: 100 * (ours[key] - theirs[key]) for key in ("linear", "knn")}
    print(f"\nlead over lightly's recipe: linear {lead['linear']:+.1f}, kNN {lead['knn']:+.1f} points")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="turns of the comparison of speed; 0: none")
    parser.add_argument("--photographs", help="data set for the comparison of accuracy, such as folder:PATH")
    parser.add_argument("--seconds", type=float, default=98.0, help="training time of each")
    arguments = parser.parse_args()
    results: dict[str, object] = {}
    if arguments.rounds:
        results["speed"] = rates = speed(arguments.rounds)
        print_speed(rates)
    if arguments.photographs:
        images = load_images(arguments.photographs)
        results["quality"] = scores = quality(images, arguments.seconds)
        print_quality(scores, images.name.split("/")[-1], arguments.seconds)
    print("\n" + json.dumps(results))


if __name__ == "__main__":
    main()
