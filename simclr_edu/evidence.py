"""Few labels, fairly: the linear probe of SimCLR beside the strongest training from scratch, with spreads.

The comparison that the course rests on takes longer than a notebook may: several pretraining seeds, several
draws of the labels, every budget. It is run by ``python -m simclr_edu evidence --out DIR`` and kept with
its configuration. Each side gets what the other gets: the same labels draw by draw, the same augmentation,
full batches, thousands of steps. The unfair baseline, without the colour jitter and with few steps, is
measured beside the fair one, to show how much of a gap such a choice can make.

Every part is computed on one thread, so that the figures do not depend on the number of cores; the parts run
side by side, each is written down as soon as it is there, and a run that was killed goes on where it stopped.
"""

import json
import multiprocessing
import os
import platform
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from simclr_edu import __version__
from simclr_edu._checks import check_int
from simclr_edu.checkpoints import atomic_file
from simclr_edu.data import ImageSet, load_images
from simclr_edu.evaluate import fine_tune, linear_probe
from simclr_edu.models import make_encoder
from simclr_edu.pretrain import PretrainConfig, load_run, pretrain

RESULTS = "few_labels.json"
SHIPPED = Path(__file__).parent / "assets" / RESULTS
PROBE, TUNED, SCRATCH, LIGHT = "linear probe", "fine-tuned", "from scratch", "from scratch, light"
METHODS: tuple[str, ...] = (PROBE, TUNED, SCRATCH, LIGHT)


@dataclass(frozen=True)
class Training:
    """How one side is trained with labels; see :func:`simclr_edu.evaluate.fine_tune`."""

    steps: int
    """Optimizer steps with at most ``max_labels`` labels."""
    steps_all: int
    """Optimizer steps with more labels than that."""
    lr: float
    light: bool = False
    """Crops of at least half of the area and flips, no colour: not the augmentation that SimCLR had."""
    head: str = "random"
    encoder_lr: float = 1.0
    batch_norm: str = "batch"
    batch_size: int = 64
    max_labels: int = 1000


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
    tuned: Training = Training(
        steps=250, steps_all=1000, lr=1e-3, head="probe", encoder_lr=0.3, batch_norm="frozen"
    )
    scratch: Training = Training(steps=8000, steps_all=8000, lr=3e-3)
    light: Training = Training(steps=400, steps_all=800, lr=1e-3, light=True, batch_size=128)

    def __post_init__(self) -> None:
        check_int(self.draws, "draws", 1)
        if not self.seeds or not self.budgets:
            raise ValueError(f"seeds and budgets must not be empty, got {self.seeds} and {self.budgets}")
        for name in ("seeds", "budgets"):
            for value in getattr(self, name):
                check_int(value, f"each of {name}", 0)


@dataclass(frozen=True)
class Part:
    """One accuracy of the comparison. ``seed`` is that of pretraining; None where nothing is pretrained."""

    method: str
    budget: int
    draw: int
    seed: int | None

    @property
    def key(self) -> str:
        """Its name in the results file."""
        pretrained = "" if self.seed is None else f", pretraining seed {self.seed}"
        return f"{self.method}: {self.budget or 'all'} labels a class, draw {self.draw}{pretrained}"

    @property
    def needs(self) -> str | None:
        """The pretraining run that it waits for."""
        return None if self.seed is None else f"seed {self.seed}"


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
    if not isinstance(config, FewLabels):
        raise TypeError(f"config must be a FewLabels, got {type(config).__name__}")
    return compute(config, parts(config), _pretrain, _measure, Path(directory) / RESULTS, workers, report)


class Computed(Protocol):
    """One accuracy to be computed."""

    @property
    def key(self) -> str:
        """Its name in the results file."""

    @property
    def needs(self) -> str | None:
        """The pretraining run that it waits for."""


def compute(
    config: Any,
    todo: Sequence[Computed],
    pretrain_for: Callable[[Any, Any, Path], float],
    measure: Callable[[Any, Any, Path], float],
    path: Path,
    workers: int | None,
    report: Callable[[str], None],
) -> dict[str, Any]:
    """Compute what is missing in a results file, in processes side by side; see :func:`run_few_labels`.

    Args:
        config: a dataclass with every setting, kept in the file and compared with it.
        todo: all accuracies that the file is to hold.
        pretrain_for: given ``config``, an accuracy and the folder: makes the run that this one needs, and
            returns its seconds. A function of a module, as is ``measure``: both run in other processes.
        measure: given the same, returns the accuracy.
        path: the results file. The folder is made if it is not there.
        workers: processes; as many as this one may use cores if None.
        report: called with a line about each part as it ends.
    """
    workers = _usable_cores() if workers is None else check_int(workers, "workers", 1)
    folder = path.parent
    folder.mkdir(parents=True, exist_ok=True)
    results = read_results(path, config)
    missing = [part for part in todo if part.key not in results["accuracy"]]
    waiting: dict[str, list[Computed]] = {}
    for part in missing:
        if part.needs is not None:
            waiting.setdefault(part.needs, []).append(part)

    def note(part: Computed, accuracy: float) -> None:
        results["accuracy"][part.key] = accuracy
        results["date"] = time.strftime("%Y-%m-%d")
        write_results(path, results)
        report(f"{len(results['accuracy'])}/{len(todo)} {part.key}: {accuracy:.1%}")

    # spawn, so that a worker starts without the threads and random states of this process.
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker) as pool:
        running: dict[Future, Computed | str] = {
            pool.submit(pretrain_for, config, ps[0], folder): needs for needs, ps in waiting.items()
        }
        running |= {pool.submit(measure, config, p, folder): p for p in missing if p.needs is None}
        try:
            while running:
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    what = running.pop(future)
                    if isinstance(what, str):
                        report(f"pretraining {what}: {future.result():.0f} s")
                        running |= {pool.submit(measure, config, p, folder): p for p in waiting[what]}
                    else:
                        note(what, future.result())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in set(multiprocessing.active_children()) - others:  # not minutes later
                process.terminate()
            raise
    return results


def by_draw(results: dict[str, Any]) -> dict[str, list[list[float]]]:
    """For each method, accuracies ``(draws, budgets)`` from 0 to 1, means over the pretraining seeds.

    Args:
        results: as :func:`run_few_labels` returns them.
    """
    config = results["config"]
    return {
        method: [
            [
                statistics.fmean(results["accuracy"][Part(method, budget, draw, s).key] for s in seeds)
                for budget in config["budgets"]
            ]
            for draw in range(config["draws"])
        ]
        for method in METHODS
        for seeds in [config["seeds"] if method in (PROBE, TUNED) else [None]]
    }


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
            row[method] = {"mean": statistics.fmean(values), "std": _spread(values)}
        lead = [a - b for a, b in zip(column[PROBE], column[SCRATCH], strict=True)]
        row |= {"lead": statistics.fmean(lead), "lead_error": _spread(lead) / len(lead) ** 0.5}
        rows.append(row)
    return rows


def table(results: dict[str, Any]) -> str:
    """The summary as lines of text: accuracies in percent, mean and standard deviation over the draws."""
    lines = [
        f"{'labels a class':>14}  " + "  ".join(f"{m:>19}" for m in METHODS) + f"  {'lead of the probe':>17}"
    ]
    for row in summary(results):
        cells = [f"{100 * row[m]['mean']:.1f} ± {100 * row[m]['std']:.1f}" for m in METHODS]
        lead = f"{100 * row['lead']:+.1f} ± {100 * row['lead_error']:.1f}"
        lines.append(
            f"{row['labels'] or 'all':>14}  " + "  ".join(f"{c:>19}" for c in cells) + f"  {lead:>17}"
        )
    return "\n".join(lines)


def shipped() -> dict[str, Any]:
    """The comparison at full size that comes with the package, with its configuration, machine and date."""
    return json.loads(SHIPPED.read_text(encoding="utf-8"))


def write_results(path: Path, results: dict[str, Any]) -> None:
    """Write the results whole or not at all."""
    with atomic_file(path) as file:
        file.write((json.dumps(results, indent=1, ensure_ascii=False) + "\n").encode())


def read_results(path: Path, config: Any, measured: str = "accuracy") -> dict[str, Any]:
    """The results at ``path``, or new ones without a figure in ``measured``, written there.

    Raises:
        ValueError: the file holds something else, or results of other settings.
    """
    settings = json.loads(json.dumps(asdict(config)))  # as it comes back from the file: tuples are lists
    new = {"config": settings, "machine": _machine(), "date": "", measured: {}}
    if not path.exists():
        write_results(path, new)
        return new
    try:
        old = json.loads(path.read_text(encoding="utf-8"))
        same = old["config"] == settings
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is not a results file of this command ({error}): give another folder"
        ) from None
    if not same:
        differ = sorted(k for k in settings if old["config"].get(k) != settings[k])
        raise ValueError(f"{path} holds results of other settings ({', '.join(differ)}): give another folder")
    return old


def _machine() -> dict[str, str]:
    return {
        "processor": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "simclr_edu": __version__,
    }


def _usable_cores() -> int:
    """Cores that this process may use; not all that the machine has, in a container or under taskset."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _spread(values: list[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


def label_share(images: ImageSet, budget: int) -> float:
    """The share of the training labels that makes ``budget`` of each class; 1 for a budget of 0, all."""
    return 1.0 if budget == 0 else budget * images.num_classes / len(images.train_labels)


# What follows runs in the workers.


def _start_worker() -> None:
    torch.set_num_threads(1)
    parent = multiprocessing.parent_process()
    if parent is not None:  # killed without a word, it cannot end its workers: they end themselves
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


@lru_cache(maxsize=1)
def _images(name: str, size: int | None) -> ImageSet:
    return load_images(name, image_size=size)


def _run_folder(folder: Path, seed: int) -> Path:
    return folder / f"pretraining-{seed}"


def _pretrain(config: FewLabels, part: Part, folder: Path) -> float:
    assert part.seed is not None
    return pretrain_once(config.pretraining, part.seed, _run_folder(folder, part.seed))


def pretrain_once(settings: PretrainConfig, seed: int, directory: Path) -> float:
    """Make the run, or finish it, or do nothing where it is finished; return its seconds."""
    settings = PretrainConfig(**{**asdict(settings), "seed": seed})
    images = _images(settings.data, settings.image_size)
    run = pretrain(settings, images, directory=directory, resume=True, progress=False)
    if not run.finished:
        raise KeyboardInterrupt  # it ended early and was saved
    return run.seconds


def _measure(config: FewLabels, part: Part, folder: Path) -> float:
    """Accuracy on the test pictures of one part."""
    settings = config.pretraining
    images = _images(settings.data, settings.image_size)
    share = label_share(images, part.budget)
    if part.seed is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(part.draw)
            encoder = make_encoder(settings.encoder, settings.stem)
    else:
        encoder = load_run(_run_folder(folder, part.seed)).encoder
    if part.method == PROBE:
        return linear_probe(encoder, images, fraction=share, seed=part.draw).accuracy
    how = {TUNED: config.tuned, SCRATCH: config.scratch, LIGHT: config.light}[part.method]
    return trained(encoder, images, share, part.draw, how, settings)


def trained(
    encoder: nn.Module, images: ImageSet, share: float, draw: int, how: Training, settings: PretrainConfig
) -> float:
    """Test accuracy after training with labels; ``settings`` say which augmentation SimCLR had."""
    few = share < 1 and round(share * len(images.train_labels)) <= how.max_labels
    return fine_tune(
        encoder,
        images,
        fraction=share,
        lr=how.lr,
        seed=draw,
        augment="light" if how.light else settings.augmentation(images.image_size),
        batch_size=how.batch_size,
        val_fraction=0.0,  # every label of the budget is trained on; nothing is chosen here
        steps=how.steps if few else how.steps_all,
        head=how.head,
        encoder_lr=how.encoder_lr,
        batch_norm=how.batch_norm,
    ).accuracy
