"""Which augmentation teaches what: four arms of one pretraining, at two lengths, with seeds.

The colour shortcut (Chen et al. 2020, section 3.1 and figure 5) on the course's pictures. Each arm is the
default recipe with a part of the augmentation switched off, for both views; in the paper both views are
always cropped, and what is compared is applied to one of them. It takes longer than a notebook may, so it
is run by ``python -m simclr_edu evidence --what arms --out DIR`` and kept with its configuration.

Everything is computed on one thread, so that the figures do not depend on the number of cores. Each run's are
written down as soon as they are there, and a comparison that was killed goes on where it stopped.
"""

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from simclr_edu import diagnostics
from simclr_edu._checks import check_choice, check_int
from simclr_edu.course.evidence import comparison
from simclr_edu.course.evidence.comparison import read_results, spread, write_results
from simclr_edu.data import ImageSet, load_images
from simclr_edu.evaluate import embed, fit_linear, knn_accuracy, probe_budgets, probe_factor
from simclr_edu.pretrain import PretrainConfig, Run, pretrain

RESULTS = "arms.json"
ARMS: dict[str, dict[str, bool]] = {
    "flips only": {"crop": False, "color": False},
    "crop only": {"crop": True, "color": False},
    "colour only": {"crop": False, "color": True},
    "crop + colour": {"crop": True, "color": True},
}
"""Settings of each arm. Flips are in all four."""
SCORES = ("linear", "few_labels", "knn", "contrastive", "hue", "y")
_VIEWS = 256


@dataclass(frozen=True)
class Arms:
    """Every setting of the comparison.

    Raises:
        TypeError, ValueError: a number out of range, or no seed or length.
    """

    pretraining: PretrainConfig = field(default_factory=lambda: PretrainConfig(device="cpu"))
    """Its length, seed, crops and colours are replaced."""
    epochs: tuple[int, ...] = (20, 5)
    """Lengths of the runs."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of weights, order, augmentation; also of the probe's validation split."""
    labels: int = 10
    """Labels a class that ``few_labels`` is measured with."""
    draws: int = 5
    """Draws of those labels, of which the mean is kept."""

    def __post_init__(self) -> None:
        check_int(self.labels, "labels", 1)
        check_int(self.draws, "draws", 1)
        if not self.seeds or not self.epochs:
            raise ValueError(f"seeds and epochs must not be empty, got {self.seeds} and {self.epochs}")
        for seed in self.seeds:
            check_int(seed, "each of seeds", 0)
        for length in self.epochs:
            check_int(length, "each of epochs", 1)


def key(arm: str, epochs: int, seed: int) -> str:
    """The name of a run in the results file."""
    return f"{arm}, {epochs} epochs, seed {seed}"


def settings(config: Arms, arm: str, epochs: int, seed: int) -> PretrainConfig:
    """How one run is pretrained.

    Raises:
        ValueError: no such arm.
    """
    check_choice(arm, "arm", tuple(ARMS))
    crop, color = ARMS[arm]["crop"], ARMS[arm]["color"]
    return replace(config.pretraining, epochs=epochs, seconds=None, seed=seed, crop=crop, color=color)


def measure(run: Run, images: ImageSet, labels: int = 10, draws: int = 5) -> dict[str, float]:
    """What a run is worth and what it knows, on the test pictures.

    Returns:
        ``linear`` probe and ``knn`` with all labels, ``few_labels``: the probe with ``labels`` a class, mean
        of ``draws``; ``contrastive`` accuracy on two views of 256 pictures under the run's own augmentation;
        where the factors are known, R squared of ``hue`` and of ``y``, the height of the centre.
    """
    train_x, test_x = (embed(run.encoder, x) for x in (images.train_images, images.test_images))
    train_y, test_y, seed = images.train_labels, images.test_labels, run.config.seed
    augment, generator = run.config.augmentation(images.image_size), torch.Generator().manual_seed(0)
    views = augment.two_views(images.test_images[:_VIEWS], generator=generator)  # 2 of (256, 3, H, W)
    z1, z2 = (embed(run.model, v, level="z") for v in views)
    scores = {
        "linear": fit_linear(train_x, train_y, test_x, test_y, seed=seed).accuracy,
        "knn": knn_accuracy(train_x, train_y, test_x, test_y),
        "few_labels": probe_budgets(train_x, train_y, test_x, test_y, (labels,), draws).mean().item(),
        "contrastive": diagnostics.contrastive_accuracy(z1, z2),
    }
    if images.train_factors and images.test_factors:
        for factor, kind in (("hue", "circular"), ("y", "regression")):
            values = images.train_factors[factor], images.test_factors[factor]
            scores[factor] = probe_factor(train_x, values[0], test_x, values[1], kind=kind)
    return scores


def run_arms(
    config: Arms, directory: str | os.PathLike[str], report: Callable[[str], None] = lambda line: None
) -> dict[str, Any]:
    """Run what is missing of the comparison and return its results.

    Args:
        config: every setting.
        directory: where the results lie; made if it is not there. What they hold is not computed again.
        report: called with a line about each run as it ends.

    Returns:
        ``config``, ``machine``, ``date`` and ``scores``: what :func:`measure` returns, by the :func:`key` of
        each run.

    Raises:
        TypeError, ValueError: an argument does not fit, or the directory holds results of other settings.
    """
    if not isinstance(config, Arms):
        raise TypeError(f"config must be an Arms, got {type(config).__name__}")
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    results = read_results(folder / RESULTS, config, "scores")
    images = load_images(config.pretraining.data, image_size=config.pretraining.image_size)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for seed in config.seeds:
            for epochs in config.epochs:
                for arm in ARMS:
                    name = key(arm, epochs, seed)
                    if name in results["scores"]:
                        continue
                    run = pretrain(settings(config, arm, epochs, seed), images, progress=False)
                    if not run.finished:
                        raise KeyboardInterrupt  # a run that ended early is not what its name says
                    scores = measure(run, images, config.labels, config.draws)
                    results["scores"][name] = {k: round(v, 4) for k, v in scores.items()}
                    results["date"] = time.strftime("%Y-%m-%d")
                    write_results(folder / RESULTS, results)
                    report(f"{name}: linear {scores['linear']:.1%}, {run.seconds:.0f} s")
    finally:
        torch.set_num_threads(threads)
    return results


def summary(results: dict[str, Any], epochs: int) -> dict[str, dict[str, tuple[float, float]]]:
    """Mean and standard deviation over the seeds at one length: ``summary(results, 20)["crop only"]["hue"]``.

    Raises:
        ValueError: the results hold no runs of that length.
    """
    config = results["config"]
    if epochs not in config["epochs"]:
        raise ValueError(f"epochs must be one of {config['epochs']}, got {epochs}")
    rows: dict[str, dict[str, tuple[float, float]]] = {}
    for arm in ARMS:
        runs = [results["scores"][key(arm, epochs, seed)] for seed in config["seeds"]]
        rows[arm] = {
            score: (statistics.fmean(values), spread(values))
            for score in SCORES
            if score in runs[0]
            for values in [[r[score] for r in runs]]
        }
    return rows


def table(results: dict[str, Any]) -> str:
    """The summary as lines of text, mean and standard deviation over the seeds; accuracies in percent."""
    lines = []
    for epochs in sorted(results["config"]["epochs"]):
        rows = summary(results, epochs)
        columns = list(rows["crop only"])
        lines.append(f"{f'{epochs} epochs':<14}" + "".join(f"{c:>14}" for c in columns))
        for arm, scores in rows.items():
            cells = [
                f"{m:.2f} ± {s:.2f}" if c in ("hue", "y") else f"{100 * m:.1f} ± {100 * s:.1f}"
                for c, (m, s) in scores.items()
            ]
            lines.append(f"{arm:<14}" + "".join(f"{cell:>14}" for cell in cells))
    return "\n".join(lines)


def shipped() -> dict[str, Any]:
    """The comparison at full size that comes with the package, with its configuration, machine and date."""
    return comparison.shipped(RESULTS)
