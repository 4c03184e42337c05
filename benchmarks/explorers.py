"""How long each widget of the notebooks takes to redraw after one move of a control.

Each explorer is made at the size that the notebooks use, each of its controls is moved in turn, and the
median over the moves is printed, the slowest control beside it. A redraw is everything between the new value
and the bytes of the new picture. Below 150 ms a slider feels as if it moved the picture itself.

Run ``python benchmarks/explorers.py``; the last line is JSON.
"""

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from simclr_edu.course import explorers, figures
from simclr_edu.data import load_images, sample_photographs

MARK = 150  # milliseconds
METHODS = (
    "SimCLR + linear",
    "random encoder + linear",
    "raw pixels + linear",
    "SimCLR, fine-tuned",
    "supervised from scratch",
)


def makers() -> dict[str, Callable[[], explorers.Explorer]]:
    """Return the makers of the notebooks' widgets by name, with data of the notebooks' sizes."""
    generator = torch.Generator().manual_seed(0)
    rng = np.random.default_rng(0)
    small = load_images("shapes").train_images[3]  # (3, 32, 32)
    z1, z2 = torch.randn(2, 8, 64, generator=generator)  # (8, 64) each
    candidates = torch.cat(
        [torch.tensor([0.7]), (0.25 * torch.randn(62, generator=generator)).clamp(max=0.6)]
    )
    maps = {(p, s): rng.normal(size=(800, 2)) for p in (5, 30, 100) for s in (0, 1)}
    budget = {name: np.sort(rng.uniform(0.1, 1, 3)) for name in METHODS}
    names = [f"class {k}" for k in range(10)]
    return {
        "augmentation, 224 pixels": lambda: explorers.augmentation_explorer(sample_photographs(224)[1]),
        "augmentation, 32 pixels": lambda: explorers.augmentation_explorer(small),
        "similarity, 8 pairs": lambda: explorers.similarity_explorer(z1, z2),
        "temperature, 63 candidates": lambda: explorers.temperature_explorer(candidates, 0),
        "loss floor": explorers.loss_floor_explorer,
        "t-SNE, 800 points": lambda: explorers.tsne_explorer(maps, np.arange(800) % 10, names),
        "label budget, 5 methods": lambda: explorers.label_budget_explorer(
            (0.01, 0.1, 1.0), budget, chance=0.1
        ),
    }


def other_values(control) -> list:
    """Return a few values that a control can take."""
    if hasattr(control, "options"):
        return [o[1] if isinstance(o, tuple) else o for o in control.options]
    if isinstance(control.value, bool):
        return [True, False]
    low, high = (10**control.min, 10**control.max) if hasattr(control, "base") else (control.min, control.max)
    values = np.linspace(low, high, 7)
    return [type(control.value)(v) for v in values]


def redraw_ms(explorer: explorers.Explorer, moves: int) -> dict[str, list[float]]:
    """Move each control in turn until there were ``moves`` moves; return milliseconds by control."""
    values = {name: itertools.cycle(other_values(control)) for name, control in explorer.controls.items()}
    times: dict[str, list[float]] = {name: [] for name in values}
    for name in itertools.islice(itertools.cycle(values), moves):
        control = explorer.controls[name]
        value = next(v for v in values[name] if v != control.value)
        before = explorer.image.value
        start = time.perf_counter()
        control.value = value
        times[name].append(1000 * (time.perf_counter() - start))
        assert explorer.image.value is not before, f"{name} did not redraw"
    return times


def live_ms(draws: int) -> list[float]:
    """Return the milliseconds that one drawing of the live curve takes in the middle of a run."""
    history = [
        {"step": s, "loss": 6 - s / 200, "contrastive_accuracy": s / 1000, "progress": s / 1000, "knn": 0.5}
        for s in range(1, 401)
    ]
    times = []
    for _ in range(draws):
        start = time.perf_counter()
        figures.to_png(figures.loss_curve(history, 256), small=False)
        times.append(1000 * (time.perf_counter() - start))
    return times


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--moves", type=int, default=20, help="moves of each widget")
    options = parser.parse_args()
    print(f"{torch.get_num_threads()} threads; milliseconds a redraw, median of {options.moves} moves")
    result = {}
    for name, make in makers().items():
        explorer = make()
        redraw_ms(explorer, 3)  # fonts and caches
        times = redraw_ms(explorer, options.moves)
        every = list(itertools.chain(*times.values()))
        slowest = max(times, key=lambda control: statistics.median(times[control] or [0]))
        result[name] = round(statistics.median(every), 1)
        verdict = "" if result[name] <= MARK else f"  above {MARK}"
        slow = f"slowest control {slowest} {statistics.median(times[slowest]):.0f}"
        print(f"{name:28} {result[name]:6.0f}   {slow}{verdict}")
    result["live training, 400 records"] = round(statistics.median(live_ms(options.moves)), 1)
    print(f"{'live training, 400 records':28} {result['live training, 400 records']:6.0f}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
