"""What the comparisons share: parts computed side by side, kept in a results file with the configuration.

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
from dataclasses import asdict, dataclass
from functools import lru_cache
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from torch import nn

from simclr_edu import __version__
from simclr_edu._checks import check_int
from simclr_edu.checkpoints import atomic_file
from simclr_edu.cores import usable_cores
from simclr_edu.data import ImageSet, load_images
from simclr_edu.device import seeded
from simclr_edu.encoders import make_encoder
from simclr_edu.evaluate import fine_tune
from simclr_edu.home import ASSETS
from simclr_edu.pretrain import PretrainConfig, load_run, pretrain


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


def check_plan(seeds: Sequence[int], draws: int, budgets: Sequence[int]) -> None:
    """Refuse a comparison without seeds, draws or budgets.

    Raises:
        TypeError, ValueError: a number out of range, or no seed or budget.
    """
    check_int(draws, "draws", 1)
    if not seeds or not budgets:
        raise ValueError(f"seeds and budgets must not be empty, got {seeds} and {budgets}")
    for name, values in (("seeds", seeds), ("budgets", budgets)):
        for value in values:
            check_int(value, f"each of {name}", 0)


def compute(
    config: Any,
    todo: Sequence[Part],
    pretrain_for: Callable[[Any, Any, Path], float],
    measure: Callable[[Any, Any, Path], float],
    path: Path,
    workers: int | None,
    report: Callable[[str], None],
) -> dict[str, Any]:
    """Compute what is missing in a results file, in processes side by side.

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
    workers = usable_cores() if workers is None else check_int(workers, "workers", 1)
    folder = path.parent
    folder.mkdir(parents=True, exist_ok=True)
    results = read_results(path, config)
    missing = [part for part in todo if part.key not in results["accuracy"]]
    waiting: dict[str, list[Part]] = {}
    for part in missing:
        if part.needs is not None:
            waiting.setdefault(part.needs, []).append(part)

    def note(part: Part, accuracy: float) -> None:
        results["accuracy"][part.key] = accuracy
        results["date"] = time.strftime("%Y-%m-%d")
        write_results(path, results)
        report(f"{len(results['accuracy'])}/{len(todo)} {part.key}: {accuracy:.1%}")

    # spawn, so that a worker starts without the threads and random states of this process.
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker) as pool:
        running: dict[Future[float], Part | str] = {
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


def by_draw(
    results: dict[str, Any], methods: Sequence[str], pretrained: Sequence[str]
) -> dict[str, list[list[float]]]:
    """For each method, accuracies ``(draws, budgets)`` from 0 to 1, means over the pretraining seeds.

    Args:
        results: as :func:`compute` returns them.
        methods: of the comparison.
        pretrained: those of them that have a pretraining seed.
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
        for method in methods
        for seeds in [config["seeds"] if method in pretrained else [None]]
    }


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
        old: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
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


def shipped(results: str) -> dict[str, Any]:
    """A results file that comes with the package, with its configuration, machine and date."""
    kept: dict[str, Any] = json.loads((ASSETS / results).read_text(encoding="utf-8"))
    return kept


def spread(values: list[float]) -> float:
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
def images_of(name: str, size: int | None) -> ImageSet:
    """The data set of a part; a worker measures many parts of one set."""
    return load_images(name, image_size=size)


def fresh_encoder(settings: PretrainConfig, seed: int) -> nn.Module:
    """The encoder that ``settings`` name, untrained; nobody's random state is moved."""
    with seeded(seed):
        return make_encoder(settings.encoder, settings.stem)


def run_folder(folder: Path, part: Part) -> Path:
    """Where the pretraining run that a part needs lies, the same for all comparisons of a folder."""
    return folder / f"pretraining-{part.seed}"


def encoder_of(part: Part, settings: PretrainConfig, draw: int, run: Path) -> nn.Module:
    """The encoder that a part measures: that of the run it needs, else an untrained one of seed ``draw``."""
    return fresh_encoder(settings, draw) if part.seed is None else load_run(run).encoder


def pretrain_once(settings: PretrainConfig, seed: int, directory: Path) -> float:
    """Make the run, or finish it, or do nothing where it is finished; return its seconds."""
    settings = PretrainConfig(**{**asdict(settings), "seed": seed})
    images = images_of(settings.data, settings.image_size)
    run = pretrain(settings, images, directory=directory, resume=True, progress=False)
    if not run.finished:
        raise KeyboardInterrupt  # it ended early and was saved
    return run.seconds


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
