"""Transfer: an encoder pretrained on drawn shapes, probed and fine-tuned on digits that people wrote.

It is probed at h and at the pooled features, two linear layers before h. Beside it stand raw pixels, random
encoders, a network from scratch under the same augmentation as fine-tuning, and an encoder pretrained on the
digits themselves. Run by ``python -m simclr_edu transfer --out DIR`` on the pretraining runs of ``python -m
simclr_edu evidence --out DIR``, which it makes where they are missing.

Nothing is chosen on the test digits. Training from scratch has the settings of :mod:`.few_labels`,
with fewer steps for so small a set, and fine-tuning has the same. On training digits kept apart (300, two
draws, one encoder): from scratch 76.5 and 92.2% at 2 and 10 labels a class with 1,000 steps, 75.8 and 93.3
with 3,000; fine-tuned as on shapes, from the probe with BatchNorm frozen, 55.3 and 73.4; at the best of six
other settings with the probe as head 59.9 and 85.8; as from scratch, with a new head, 73.2 at 2. Digits are
never flipped: a mirrored 2 is no digit.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from simclr_edu._checks import check_config
from simclr_edu.course.evidence import comparison
from simclr_edu.course.evidence.comparison import (
    Training,
    check_plan,
    compute,
    encoder_of,
    images_of,
    label_share,
    pretrain_once,
    trained,
)
from simclr_edu.course.evidence.few_labels import FewLabels
from simclr_edu.encoders import TinyEncoder
from simclr_edu.evaluate import linear_probe
from simclr_edu.pretrain import PretrainConfig

RESULTS = "transfer.json"
PIXELS, RANDOM, SCRATCH = "raw pixels", "random encoder", "from scratch"
FROZEN, EARLIER, TUNED = "shapes, frozen", "shapes, two layers earlier", "shapes, fine-tuned"
OWN, RANDOM_EARLIER = "digits, frozen", "random, two layers earlier"
METHODS: tuple[str, ...] = (FROZEN, EARLIER, TUNED, OWN, SCRATCH, PIXELS, RANDOM, RANDOM_EARLIER)
PRETRAINED: tuple[str, ...] = (FROZEN, EARLIER, TUNED, OWN)


def _training() -> Training:
    return replace(FewLabels().scratch, steps=1000, steps_all=1000)


@dataclass(frozen=True)
class Transfer:
    """Every setting of the comparison.

    Raises:
        TypeError, ValueError: a number out of range, or no seed or budget.
    """

    source: PretrainConfig = field(default_factory=lambda: PretrainConfig(epochs=200, device="cpu"))
    """Its seed is replaced by each of ``seeds``, as that of ``target``."""
    target: PretrainConfig = field(
        default_factory=lambda: PretrainConfig(data="digits", epochs=100, flip=False, device="cpu")
    )
    """Pretraining on the pictures that the probe is about."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of pretraining."""
    draws: int = 5
    """Draws of the labels, the same for every method; also the seeds of random encoders."""
    budgets: tuple[int, ...] = (1, 2, 5, 10, 0)
    """Labels a class; 0 for all of them."""
    tuned: Training = field(default_factory=_training)
    """As from scratch: only the weights at the start differ."""
    scratch: Training = field(default_factory=_training)

    def __post_init__(self) -> None:
        check_plan(self.seeds, self.draws, self.budgets)


class Part(comparison.Part):
    """One accuracy of the comparison; its pretraining run is of shapes or, for one method, of the digits."""

    @property
    def needs(self) -> str | None:
        """The pretraining run that it waits for."""
        run = super().needs
        return run and f"{'digits' if self.method == OWN else 'shapes'}, {run}"


def parts(config: Transfer) -> list[Part]:
    """All accuracies that the comparison consists of, seed after seed."""
    places = [(budget, draw) for budget in config.budgets for draw in range(config.draws)]
    plain = [Part(method, b, d, None) for method in METHODS if method not in PRETRAINED for b, d in places]
    return plain + [Part(m, b, d, s) for s in config.seeds for m in PRETRAINED for b, d in places]


def run_transfer(
    config: Transfer,
    directory: str | os.PathLike[str],
    workers: int | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Run what is missing of the comparison and return its results; see :func:`summary`.

    Arguments, result and errors as for :func:`.few_labels.run_few_labels`; runs that it left in the
    directory are used.
    """
    check_config(config, Transfer)
    return compute(config, parts(config), _pretrain, _measure, Path(directory) / RESULTS, workers, report)


def summary(results: dict[str, Any]) -> dict[str, list[list[float]]]:
    """For each method, accuracies ``(draws, budgets)`` from 0 to 1, the means over the pretraining seeds.

    Args:
        results: as :func:`run_transfer` returns them.
    """
    return comparison.by_draw(results, METHODS, PRETRAINED)


def table(results: dict[str, Any]) -> str:
    """The summary as lines of text: accuracies in percent, mean and standard deviation over the draws."""
    budgets = results["config"]["budgets"]
    lines = [f"{'labels a class':27s}" + "".join(f"{b or 'all':>13}" for b in budgets)]
    for method, draws in summary(results).items():
        columns = torch.tensor(draws).mul(100)  # (draws, budgets)
        spread = columns.std(0) if len(draws) > 1 else torch.zeros(len(budgets))
        cells = "".join(f"{f'{m:.1f} ± {s:.1f}':>13}" for m, s in zip(columns.mean(0), spread, strict=True))
        lines.append(f"{method:27s}{cells}")
    return "\n".join(lines)


def shipped() -> dict[str, Any]:
    """The comparison at full size that comes with the package, with its configuration, machine and date."""
    return comparison.shipped(RESULTS)


def pooled(encoder: nn.Module) -> nn.Module:
    """The encoder ``tiny`` up to its pooling: without its two last groups of Linear, BatchNorm, ReLU.

    Raises:
        TypeError: another encoder.
    """
    if not isinstance(encoder, TinyEncoder):
        raise TypeError(f"encoder must be tiny, whose layers are known, got {type(encoder).__name__}")
    return nn.Sequential(*list(encoder.layers)[:-6])


# What follows runs in the workers.


def _run_folder(folder: Path, part: Part) -> Path:
    # That of the few-label comparison for shapes, so that the same runs serve both.
    run = comparison.run_folder(folder, part)
    return run.with_name(f"digits-{run.name}") if part.method == OWN else run


def _pretrain(config: Transfer, part: Part, folder: Path) -> float:
    assert part.seed is not None
    settings = config.target if part.method == OWN else config.source
    return pretrain_once(settings, part.seed, _run_folder(folder, part))


def _measure(config: Transfer, part: Part, folder: Path) -> float:
    """Accuracy on the test pictures of one part."""
    images = images_of(config.target.data, config.target.image_size)
    share = label_share(images, part.budget)
    if part.method == PIXELS:
        return linear_probe(None, images, share, seed=part.draw).accuracy
    encoder = encoder_of(part, config.source, part.draw, _run_folder(folder, part))
    if part.method in (TUNED, SCRATCH):
        how = config.tuned if part.method == TUNED else config.scratch
        return trained(encoder, images, share, part.draw, how, config.target)
    if part.method in (EARLIER, RANDOM_EARLIER):
        encoder = pooled(encoder)
    return linear_probe(encoder, images, share, seed=part.draw).accuracy
