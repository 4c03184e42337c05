"""Few labels, fairly: the linear probe of SimCLR beside the strongest training from scratch, with spreads.

The comparison that the course rests on takes longer than a notebook may: several pretraining seeds, several
draws of the labels, every budget. It is run by ``python -m simclr_edu evidence --out DIR`` and kept with
its configuration. Each side gets what the other gets: the same labels draw by draw, the same augmentation,
full batches, thousands of steps. The unfair baseline, without the colour jitter and with few steps, is
measured beside the fair one, to show how much of a gap such a choice can make.

How the parts are computed and kept is in :mod:`simclr_edu.course.evidence.comparison`.
"""

import os
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simclr_edu._checks import check_config
from simclr_edu.course.evidence import comparison
from simclr_edu.course.evidence.comparison import (
    Part,
    Training,
    check_plan,
    compute,
    encoder_of,
    images_of,
    label_share,
    pretrain_once,
    run_folder,
    spread,
    trained,
)
from simclr_edu.evaluate import linear_probe
from simclr_edu.pretrain import PretrainConfig

RESULTS = "few_labels.json"
PROBE, TUNED, SCRATCH, LIGHT = "linear probe", "fine-tuned", "from scratch", "from scratch, light"
METHODS: tuple[str, ...] = (PROBE, TUNED, SCRATCH, LIGHT)


@dataclass(frozen=True)
class FewLabels:
    """Every setting of the comparison.

    Raises:
        TypeError, ValueError: a number out of range, or no seed or budget.
    """

    pretraining: PretrainConfig = field(default_factory=lambda: PretrainConfig(epochs=200, device="cpu"))
    """Its seed is replaced by each of ``seeds``."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of pretraining."""
    draws: int = 5
    """Draws of the labels, the same for every method; also the seeds of the networks trained from scratch."""
    budgets: tuple[int, ...] = (1, 2, 5, 10, 50, 0)
    """Labels a class; 0 for all of them."""
    tuned: Training = field(
        default_factory=lambda: Training(
            steps=250, steps_all=1000, lr=1e-3, head="probe", encoder_lr=0.3, batch_norm="frozen"
        )
    )
    scratch: Training = field(default_factory=lambda: Training(steps=8000, steps_all=8000, lr=3e-3))
    light: Training = field(
        default_factory=lambda: Training(steps=400, steps_all=800, lr=1e-3, light=True, batch_size=128)
    )

    def __post_init__(self) -> None:
        check_plan(self.seeds, self.draws, self.budgets)


def parts(config: FewLabels) -> list[Part]:
    """All accuracies that the comparison consists of, costly ones first."""
    places = [
        (budget, draw)
        for budget in sorted(config.budgets, key=lambda b: (b > 0, -b))
        for draw in range(config.draws)
    ]
    plain = [Part(method, b, d, None) for method in (SCRATCH, LIGHT) for b, d in places]
    return plain + [Part(m, b, d, seed) for seed in config.seeds for m in (TUNED, PROBE) for b, d in places]


def run_few_labels(
    config: FewLabels,
    directory: str | os.PathLike[str],
    workers: int | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Run what is missing of the comparison and return its results; see :func:`summary`.

    Args:
        config: every setting.
        directory: where the pretraining runs and the results lie; made if it is not there. What a run before
            this one left there is kept and not computed again.
        workers: processes side by side; as many as the process may use cores if not given.
        report: called with a line about each part as it ends.

    Returns:
        ``config``, ``machine``, ``date`` and ``accuracy``: a value from 0 to 1 for the ``key`` of each part.

    Raises:
        TypeError, ValueError: an argument does not fit, or the directory holds results of other settings.
    """
    check_config(config, FewLabels)
    return compute(config, parts(config), pretrain_for, _measure, Path(directory) / RESULTS, workers, report)


def by_draw(results: dict[str, Any]) -> dict[str, list[list[float]]]:
    """For each method, accuracies ``(draws, budgets)`` from 0 to 1, means over the pretraining seeds.

    Args:
        results: as :func:`run_few_labels` returns them.
    """
    return comparison.by_draw(results, METHODS, pretrained=(PROBE, TUNED))


def summary(results: dict[str, Any]) -> list[dict[str, Any]]:
    """A record for each budget: mean and spread of each method, and how far the probe is ahead.

    Args:
        results: as :func:`run_few_labels` returns them.

    Returns:
        For each budget ``labels`` (a class; 0 for all), for each method ``mean`` and ``std`` (over the draws,
        of the means over the seeds), and ``lead`` with its standard error ``lead_error``: probe minus from
        scratch, draw by draw on the same labels. Accuracies from 0 to 1.
    """
    config, draws = results["config"], by_draw(results)
    rows = []
    for k, budget in enumerate(config["budgets"]):
        row: dict[str, Any] = {"labels": budget}
        column = {method: [accuracies[k] for accuracies in draws[method]] for method in METHODS}
        for method, values in column.items():
            row[method] = {"mean": statistics.fmean(values), "std": spread(values)}
        lead = [a - b for a, b in zip(column[PROBE], column[SCRATCH], strict=True)]
        row |= {"lead": statistics.fmean(lead), "lead_error": spread(lead) / len(lead) ** 0.5}
        rows.append(row)
    return rows


def lead_by_seed(results: dict[str, Any], labels: int) -> list[float]:
    """How far the probe is ahead of training from scratch for each pretraining seed, means over the draws.

    Args:
        results: as :func:`run_few_labels` returns them.
        labels: a class; 0 for all of them.

    Raises:
        ValueError: the results do not hold that budget.
    """
    config, accuracy = results["config"], results["accuracy"]
    if labels not in config["budgets"]:
        raise ValueError(f"labels must be one of {config['budgets']}, got {labels}")
    draws = range(config["draws"])
    return [
        statistics.fmean(
            accuracy[Part(PROBE, labels, d, seed).key] - accuracy[Part(SCRATCH, labels, d, None).key]
            for d in draws
        )
        for seed in config["seeds"]
    ]


def cells_of(row: dict[str, Any]) -> list[str]:
    """A row of the summary as it is written in tables: percent for each of ``METHODS``, then the lead."""
    scores = [f"{100 * row[m]['mean']:.1f} ± {100 * row[m]['std']:.1f}" for m in METHODS]
    return [*scores, f"{100 * row['lead']:+.1f} ± {100 * row['lead_error']:.1f}"]


def table(results: dict[str, Any]) -> str:
    """The summary as lines of text: accuracies in percent, mean and standard deviation over the draws."""
    lines = [
        f"{'labels a class':>14}  " + "  ".join(f"{m:>19}" for m in METHODS) + f"  {'lead of the probe':>17}"
    ]
    for row in summary(results):
        *cells, lead = cells_of(row)
        lines.append(
            f"{row['labels'] or 'all':>14}  " + "  ".join(f"{c:>19}" for c in cells) + f"  {lead:>17}"
        )
    return "\n".join(lines)


def shipped() -> dict[str, Any]:
    """The comparison at full size that comes with the package, with its configuration, machine and date."""
    return comparison.shipped(RESULTS)


# What follows runs in the workers.


def pretrain_for(config: FewLabels, part: Part, folder: Path) -> float:
    assert part.seed is not None
    return pretrain_once(config.pretraining, part.seed, run_folder(folder, part))


def _measure(config: FewLabels, part: Part, folder: Path) -> float:
    """Accuracy on the test pictures of one part."""
    settings = config.pretraining
    images = images_of(settings.data, settings.image_size)
    share = label_share(images, part.budget)
    encoder = encoder_of(part, settings, part.draw, run_folder(folder, part))
    if part.method == PROBE:
        return linear_probe(encoder, images, fraction=share, seed=part.draw).accuracy
    how = {TUNED: config.tuned, SCRATCH: config.scratch, LIGHT: config.light}[part.method]
    return trained(encoder, images, share, part.draw, how, settings)
