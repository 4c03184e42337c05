"""Pretraining beside lightly's: pairs a second, and accuracy at equal wall time.

    python benchmarks/pretraining.py [--rounds 3] [--photographs folder:PATH --seconds 98]

All train the same encoder on the same machine. lightly's side is its own transform on PIL images, a
DataLoader with worker processes, one forward pass per view, ``SimCLRProjectionHead`` and ``NTXentLoss``; its
encoder is evaluated on inputs normalised as they were in training. It has two rows: configured as lightly's
own benchmark code for CIFAR-10 does (``cifar10_benchmark.py``: jitter .5, no blur, loss at its default
temperature, SGD with momentum .9, weight decay 5e-4, learning rate .06 for each 128 images, cosine), and with
settings of this package's kind, AdamW and its schedule. Its images lie in memory, decoded: reading files
would only slow it down. This side is ``pretrain``.

No setting is chosen on the test pictures: both sides choose among the same ``SETTINGS``, by the linear probe
on a fifth of the training pictures, which neither side trains on while it chooses. Then each is trained once
more on all training pictures, and the test pictures are read once.
"""

import argparse
import json
import math
import statistics
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

import simclr_edu  # noqa: F401  before anything that imports torchvision
from simclr_edu import evaluate
from simclr_edu.data import ImageSet, load_images
from simclr_edu.device import keep_freed_memory
from simclr_edu.encoders import make_encoder
from simclr_edu.losses import NTXentLoss
from simclr_edu.pretrain import PretrainConfig, learning_rate, pretrain
from simclr_edu.simclr import SimCLR, train_step

BATCH = 256
ENCODER = "tiny"
# Chosen by our own validation accuracy, before lightly was run with it; the same for all sides.
PHOTOGRAPHS_ENCODER = "small"
VALIDATION_SHARE = 0.2
OURS, THEIRS, TUNED = "simclr_edu", "lightly, its CIFAR-10 benchmark", "lightly, settings chosen as ours"


@dataclass(frozen=True)
class Settings:
    """What both sides choose: the settings of AdamW, of the loss, and of the views."""

    learning_rate: float
    temperature: float
    crop_scale: float
    strength: float = 0.5


SETTINGS = (
    Settings(4e-3, 0.2, 0.4),  # as photographs had it from the start
    Settings(3e-3, 0.2, 0.2),  # proposed for lightly's transform and loss
    Settings(3e-3, 0.5, 0.08),  # temperature and crops of lightly's benchmark
    Settings(3e-3, 0.1, 0.2),
)


class Normalised(nn.Module):
    """An encoder behind the normalisation that it was trained with: takes images in [0, 1]."""

    def __init__(self, encoder: nn.Module, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.encoder = encoder
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("std", torch.tensor(std)[:, None, None])

    def forward(self, x: Tensor) -> Tensor:
        return self.encoder((x - self.mean) / self.std)


class Pictures(torch.utils.data.Dataset):
    """Decoded images behind lightly's transform: two views an item."""

    def __init__(self, images: Tensor, crop_scale: float, strength: float) -> None:
        from lightly.transforms import SimCLRTransform
        from torchvision.transforms.v2.functional import to_pil_image

        self.pictures = [to_pil_image(image) for image in images]
        self.transform = SimCLRTransform(
            input_size=images.shape[-1], min_scale=crop_scale, cj_strength=strength, gaussian_blur=0.0
        )

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, i: int) -> list[Tensor]:
        return self.transform(self.pictures[i])


def lightly_steps(
    images: Tensor,
    encoder: nn.Module,
    workers: int,
    settings: Settings | None = None,
    seconds: float = math.inf,
) -> Iterator[int]:
    """Train with lightly's parts without end; yields the pairs of each step.

    Without ``settings`` it is configured as lightly's benchmark for CIFAR-10. The learning rate comes to its
    end ``seconds`` after the first step.
    """
    from lightly.loss import NTXentLoss as LightlyLoss
    from lightly.models.modules import SimCLRProjectionHead

    width = encoder.feature_dim
    model = nn.Sequential(encoder, SimCLRProjectionHead(width, width, 128)).train()
    optimizer: torch.optim.Optimizer
    if settings is None:
        pictures, criterion = Pictures(images, 0.08, 0.5), LightlyLoss()
        base, warmup = 0.06 * BATCH / 128, 0.0
        optimizer = torch.optim.SGD(model.parameters(), lr=base, momentum=0.9, weight_decay=5e-4)
    else:
        pictures = Pictures(images, settings.crop_scale, settings.strength)
        criterion = LightlyLoss(temperature=settings.temperature)
        base, warmup = settings.learning_rate, PretrainConfig().warmup
        optimizer = torch.optim.AdamW(model.parameters(), lr=base, weight_decay=PretrainConfig().weight_decay)
    loader = torch.utils.data.DataLoader(
        pictures,
        batch_size=BATCH,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    start = math.inf
    while True:
        for x0, x1 in loader:
            progress = min(1.0, max(0.0, time.perf_counter() - start) / seconds)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(progress, base, warmup)
            loss = criterion(model(x0), model(x1))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            yield len(x0)
            # The clock starts after the first step, which waits for the libraries and the workers.
            start = min(start, time.perf_counter())


def our_steps(images: Tensor, encoder: nn.Module) -> Iterator[int]:
    """Train with this package's step and augmentation without end; yields the pairs of each step."""
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
    keep_freed_memory()  # ``pretrain`` does it: so do the others
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


def train_and_score(
    who: str, images: ImageSet, seconds: float, settings: Settings | None, seed: int
) -> dict[str, float]:
    """Pretrain one side for ``seconds``: linear probe and kNN (0 to 1), pairs a second, epochs."""
    torch.manual_seed(seed)
    encoder = make_encoder(PHOTOGRAPHS_ENCODER)
    if who == OURS:
        assert settings is not None
        config = PretrainConfig(
            data=images.name,
            encoder=PHOTOGRAPHS_ENCODER,
            batch_size=BATCH,
            seconds=seconds,
            seed=seed,
            **asdict(settings),
        )
        run = pretrain(config, images, progress=False)
        return evaluate.probe_scores(run.encoder, images) | {
            "pairs_per_s": run.pairs_per_s,
            "epochs": run.epoch,
        }
    from lightly.transforms.utils import IMAGENET_NORMALIZE

    steps = lightly_steps(images.pretrain_images, encoder, 2, settings, seconds)
    pairs = next(steps)
    rate = pairs_per_second(steps, seconds)
    steps.close()  # type: ignore[attr-defined]
    scores = evaluate.probe_scores(Normalised(encoder, **IMAGENET_NORMALIZE), images)
    epochs = (pairs + rate * seconds) / len(images.pretrain_images)
    return scores | {"pairs_per_s": rate, "epochs": epochs}


def choose(who: str, images: ImageSet, seconds: float, seed: int) -> Settings:
    """The settings with the best linear probe on held-out training pictures; prints every trial."""
    held_out = images.with_validation(round(VALIDATION_SHARE * len(images.train_images)))
    best = (-1.0, SETTINGS[0])
    for settings in SETTINGS:
        score = train_and_score(who, held_out, seconds, settings, seed)
        print(
            f"{who}, validation: linear {100 * score['linear']:.1f}, kNN {100 * score['knn']:.1f}, {settings}"
        )
        best = max(best, (score["linear"], settings), key=lambda pair: pair[0])
    return best[1]


def quality(images: ImageSet, seconds: float, seed: int = 0) -> dict[str, dict[str, float]]:
    """Linear probe and kNN after equal wall time, with controls; accuracies 0 to 1.

    Settings are chosen first, on training pictures alone.
    """
    keep_freed_memory()  # ``pretrain`` does it: so do the others
    chosen = {OURS: choose(OURS, images, seconds, seed), TUNED: choose(TUNED, images, seconds, seed)}
    print(f"chosen: {chosen}", flush=True)
    torch.manual_seed(seed)
    scores = {
        "raw pixels": evaluate.probe_scores(None, images),
        "random encoder": evaluate.probe_scores(make_encoder(PHOTOGRAPHS_ENCODER), images),
    }
    for who in (THEIRS, TUNED, OURS):
        scores[who] = train_and_score(who, images, seconds, chosen.get(who), seed)
    return scores


def leads(scores: dict[str, dict[str, float]]) -> dict[str, float]:
    """How many points this package is ahead of the better of lightly's rows: linear, knn."""
    return {
        key: 100 * (scores[OURS][key] - max(scores[THEIRS][key], scores[TUNED][key]))
        for key in ("linear", "knn")
    }


def print_quality(scores: dict[str, dict[str, float]], name: str, seconds: float) -> None:
    """A Markdown table of accuracies, and the lead over lightly's better row in points."""
    print(f"\n| {name}, {seconds:.0f} s of training each | linear (%) | kNN (%) | pairs/s | epochs |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for who, score in scores.items():
        speed = f"{score['pairs_per_s']:,.0f} | {score['epochs']:.1f}" if "epochs" in score else " | "
        print(f"| {who} | {100 * score['linear']:.1f} | {100 * score['knn']:.1f} | {speed} |")
    lead = leads(scores)
    print(f"\nlead over the better of lightly's: linear {lead['linear']:+.1f}, kNN {lead['knn']:+.1f} points")


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
