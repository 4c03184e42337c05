"""How long to train with few labels: accuracy against steps, for the choice in :mod:`.few_labels`.

A baseline that is stopped early is a weak baseline, so each side's number of steps is chosen where more no
longer help much. Chosen on training pictures held out, with other draws of the labels than those that the
comparison reports. Run by ``python -m simclr_edu evidence --what steps --out DIR``, on the pretraining run of
seed 0 of that folder, which it makes where it is missing.
"""

import os
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from simclr_edu._checks import check_config, check_int
from simclr_edu.course.evidence import comparison, few_labels
from simclr_edu.course.evidence.comparison import Part, compute, encoder_of, label_share, run_folder, trained
from simclr_edu.course.evidence.few_labels import SCRATCH, TUNED, FewLabels
from simclr_edu.data import ImageSet
from simclr_edu.pretrain import PretrainConfig

RESULTS = "training_steps.json"
FIRST_DRAW = 100  # the draws of the comparison count from 0


@dataclass(frozen=True)
class Steps:
    """Every setting of the measurement.

    Raises:
        TypeError, ValueError: a number out of range, or no length.
    """

    pretraining: PretrainConfig = field(default_factory=lambda: FewLabels().pretraining)
    """Of the network that is fine-tuned; seed 0."""
    draws: int = 2
    """Draws of the labels, counted from ``FIRST_DRAW``."""
    budgets: tuple[int, ...] = (1, 10)
    """Labels a class."""
    held_out: int = 2000
    """Training pictures that accuracy is measured on."""
    scratch: tuple[int, ...] = (500, 1000, 2000, 4000, 8000, 16000)
    """Steps from scratch."""
    tuned: tuple[int, ...] = (60, 125, 250, 500, 1000)
    """Steps of fine-tuning."""

    def __post_init__(self) -> None:
        comparison.check_plan((0,), self.draws, self.budgets)
        check_int(self.held_out, "held_out", 1)
        for name in ("scratch", "tuned"):
            if not getattr(self, name):
                raise ValueError(f"{name} must not be empty")
            for steps in getattr(self, name):
                check_int(steps, f"each of {name}", 1)


def method(who: str, steps: int) -> str:
    """The name of a length in the results."""
    return f"{who}, {steps} steps"


def lengths(config: Any) -> dict[str, tuple[str, int]]:
    """For each name: from scratch or fine-tuned, and the steps. Takes ``Steps`` or its stored settings."""
    settings = config if isinstance(config, dict) else vars(config)
    sides = ((SCRATCH, settings["scratch"]), (TUNED, settings["tuned"]))
    return {method(who, steps): (who, steps) for who, all_steps in sides for steps in all_steps}


def _seed(who: str) -> int | None:
    return 0 if who == TUNED else None  # of pretraining


def parts(config: Steps) -> list[Part]:
    """All accuracies, the longest first."""
    longest_first = sorted(lengths(config).items(), key=lambda item: -item[1][1])
    return [
        Part(name, budget, draw, _seed(who))
        for name, (who, _) in longest_first
        for budget in config.budgets
        for draw in range(config.draws)
    ]


def run_steps(
    config: Steps,
    directory: str | os.PathLike[str],
    workers: int | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Run what is missing of the measurement and return its results; see :func:`summary`.

    Arguments, result and errors as for :func:`.few_labels.run_few_labels`; runs that it left in the
    directory are used.
    """
    check_config(config, Steps)
    return compute(config, parts(config), _pretrain, _measure, Path(directory) / RESULTS, workers, report)


def summary(results: dict[str, Any]) -> dict[str, dict[int, dict[int, list[float]]]]:
    """Accuracies from 0 to 1, one a draw of the labels: ``summary(results)["from scratch"][10][4000]``."""
    config = results["config"]
    found: dict[str, dict[int, dict[int, list[float]]]] = {}
    for name, (who, steps) in lengths(config).items():
        for budget in config["budgets"]:
            found.setdefault(who, {}).setdefault(budget, {})[steps] = [
                results["accuracy"][Part(name, budget, draw, _seed(who)).key]
                for draw in range(config["draws"])
            ]
    return found


def table(results: dict[str, Any]) -> str:
    """The summary as lines of text: accuracies in percent, means over the draws."""
    lines = []
    for who, budgets in summary(results).items():
        steps = list(next(iter(budgets.values())))
        lines.append(f"{who + ', steps':22s}" + "".join(f"{s:>8,}" for s in steps))
        for budget, column in budgets.items():
            cells = "".join(f"{100 * statistics.fmean(column[s]):>8.1f}" for s in steps)
            lines.append(f"{f'{budget} labels a class':22s}{cells}")
    return "\n".join(lines)


def shipped() -> dict[str, Any]:
    """The measurement at full size that comes with the package, with its configuration, machine and date."""
    return comparison.shipped(RESULTS)


# What follows runs in the workers.


@lru_cache(maxsize=1)
def _images(name: str, size: int | None, held_out: int) -> ImageSet:
    return comparison.images_of(name, size).with_validation(held_out)


def _few_labels(config: Steps) -> FewLabels:
    return FewLabels(pretraining=config.pretraining)


def _pretrain(config: Steps, part: Part, folder: Path) -> float:
    return few_labels.pretrain_for(_few_labels(config), part, folder)


def _measure(config: Steps, part: Part, folder: Path) -> float:
    """Accuracy of one part on the pictures held out."""
    who, steps = lengths(config)[part.method]
    images = _images(config.pretraining.data, config.pretraining.image_size, config.held_out)
    draw, both = FIRST_DRAW + part.draw, _few_labels(config)
    how = replace(both.tuned if who == TUNED else both.scratch, steps=steps)
    encoder = encoder_of(part, config.pretraining, draw, run_folder(folder, part))
    return trained(encoder, images, label_share(images, part.budget), draw, how, config.pretraining)
