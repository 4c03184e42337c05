"""Run every benchmark side by side and print the tables of the README: python benchmarks/report.py

`make bench` installs the peers in an environment of its own and runs this. Each comparison takes turns in one
process, because ratios carry over to another machine and a noisy one slows all alike; memory is measured in
fresh processes. Rows that miss their mark say so, and the exit status is then 1.

    --photographs folder:PATH   images for the comparison of accuracy (default: cifar10 where it is on disk);
                                with the choice of settings for both sides, 11 times ``--seconds``
    --quick                     fewer turns and no comparison of accuracy: minutes, for a look
"""

import argparse
import json
import platform
import sys
import time
from importlib import metadata
from pathlib import Path

import torch

import simclr_edu  # noqa: F401  before anything that imports torchvision
from simclr_edu.data import available_datasets, load_images

sys.path.insert(0, str(Path(__file__).parent))
import augment
import losses
import pretraining

# Marks: how many times faster than the peer this package has to be, and the rest of the numbers to reach.
# Every peer has a row; where the mark is 1, this package has to be no slower.
LOSS_MARKS = {256: 2.0, 2048: 3.5, 8192: 5.0}
MEMORY_MARK_MB = 120.0
AUGMENT_MARKS = {("cifar-32", "lightly"): 14.0, ("cifar-32", "kornia"): 2.5}
BLUR_MARK = 1.5  # against the best peer
STEP_MARK = 5.0
LEAD_MARK = 6.0


class Report:
    """Rows of one table: what, measured, mark, reached."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str, str, bool]] = []

    def ratio(self, what: str, value: float, mark: float = 1.0) -> None:
        self.rows.append((what, f"{value:.2f} x", f"at least {mark:g} x", value >= mark))

    def least(self, what: str, value: float, mark: float, unit: str) -> None:
        self.rows.append((what, f"{value:.1f} {unit}", f"at least {mark:g} {unit}", value >= mark))

    def most(self, what: str, value: float, mark: float, unit: str) -> None:
        self.rows.append((what, f"{value:.0f} {unit}", f"at most {mark:g} {unit}", value <= mark))

    def print(self) -> bool:
        print("\n| what | measured | mark | |\n| --- | ---: | ---: | --- |")
        for what, value, mark, reached in self.rows:
            print(f"| {what} | {value} | {mark} | {'reached' if reached else '**missed**'} |")
        return all(row[-1] for row in self.rows)


def machine() -> str:
    """The machine in one line."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1] for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0].strip() if names else model
    return (
        f"{model}, {torch.get_num_threads()} threads, {platform.system()}, "
        f"Python {platform.python_version()}, torch {torch.__version__}"
    )


def peers() -> str:
    """The versions of the peers in one line; one that is not installed is left out, and said so."""
    found = []
    for name in ("torchvision", "lightly", "kornia", "pytorch-metric-learning", "albumentations"):
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            found.append(f"{name} not installed")
    return ", ".join(found)


def copy_bandwidth() -> float:
    """Best measured rate of copying float32 in memory, bytes read and written a second."""
    a = torch.ones(32 << 20)  # 128 MiB, more than any cache
    b = torch.empty_like(a)
    seconds = []
    for _ in range(7):
        start = time.perf_counter()
        b.copy_(a)
        seconds.append(time.perf_counter() - start)
    return 2 * a.numel() * a.element_size() / min(seconds)


def loss_tables(report: Report, rounds: int) -> None:
    """Speed of NT-Xent against N beside its peers, its memory, and the distance to the matrix products."""
    rate = losses.matmul_rate()
    print(
        f"\nNT-Xent, forward and backward, d = {losses.DIM} (machine: {rate / 1e9:.0f} GFLOP/s in matmul)\n"
    )
    names = list(losses.contestants())
    print("| pairs N | " + " | ".join(f"{name} ms" for name in names) + " | matmuls alone ms |")
    print("| ---: |" + " ---: |" * (len(names) + 1))
    for n in (64, 256, 1024, 2048, 4096, 8192):
        times = losses.times(n, rounds if n < 8192 else max(2, rounds // 2))
        floor = 4 * (2 * n) ** 2 * losses.DIM / rate
        cells = [f"{1e3 * times[name]:.1f}" if name in times else "does not fit" for name in names]
        print(f"| {n} | " + " | ".join(cells) + f" | {1e3 * floor:.1f} |", flush=True)
        if n in LOSS_MARKS:
            others = [name for name in names[1:] if name in times]
            for name in others:
                mark = LOSS_MARKS[n] if name == "lightly" else 1.0
                report.ratio(f"NT-Xent, N = {n:,}, against {name}", times[name] / times["nt_xent"], mark)
            best = min(others, key=times.__getitem__)
            report.ratio(
                f"NT-Xent, N = {n:,}, against the best peer ({best})", times[best] / times["nt_xent"]
            )
    print("\n| memory of one step at N = 8,192 beyond inputs and gradients | MB |\n| --- | ---: |")
    peaks = {}
    for name in filter(lambda name: losses.fits(name, 8192), names):
        peaks[name] = losses.fresh_peak_mb(name, 8192)
        print(f"| {name} | {peaks[name]:,.0f} |", flush=True)
    report.most("NT-Xent, extra memory at N = 8,192", peaks["nt_xent"], MEMORY_MARK_MB, "MB")
    for name in list(peaks)[1:]:
        report.ratio(f"NT-Xent, memory of {name} at N = 8,192", peaks[name] / peaks["nt_xent"])


def augmentation_tables(report: Report, rounds: int) -> None:
    """Views a second beside the peers, how that falls with the side, and the share of copy bandwidth."""
    for recipe in augment.RECIPES:
        speeds = augment.measure(augment.contenders(augment.RECIPES[recipe]), rounds)
        print(f"\n| augmentation, {recipe} | views/s |\n| --- | ---: |")
        for name, speed in speeds.items():
            print(f"| {name} | {speed:,.0f} |")
        ours = speeds["simclr_edu"]
        peers_at_best = augment.best_peers(speeds)
        for package, (name, speed) in peers_at_best.items():
            mark = AUGMENT_MARKS.get((recipe, package), 1.0)
            report.ratio(f"augmentation, {recipe}, against {name}", ours / speed, mark)
        if peers_at_best:
            best, speed = max(peers_at_best.values(), key=lambda row: row[1])
            mark = BLUR_MARK if augment.RECIPES[recipe]["blur"] else 1.0
            report.ratio(f"augmentation, {recipe}, against the best peer ({best})", ours / speed, mark)
    bandwidth = copy_bandwidth()
    print(f"\nAugmentation without blur against the side (machine copies {bandwidth / 1e9:.1f} GB/s)\n")
    print("| side px | views/s | output MB/s | share of copy bandwidth |\n| ---: | ---: | ---: | ---: |")
    for side, speed in augment.by_size(rounds).items():
        written = speed * 3 * side * side * 4  # float32 views
        print(f"| {side} | {speed:,.0f} | {written / 1e6:,.0f} | {written / bandwidth:.1%} |")


def main() -> int:
    """Run the command line; return 0, or 1 when a mark is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photographs")
    parser.add_argument(
        "--seconds", type=float, default=98.0, help="training time in the comparison of accuracy"
    )
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    print(machine())
    print(peers())
    report = Report()
    augmentation_tables(report, rounds=3 if arguments.quick else 7)
    loss_tables(report, rounds=2 if arguments.quick else 5)
    rates = pretraining.speed(rounds=1 if arguments.quick else 3)
    pretraining.print_speed(rates)
    peer = max(rate for name, rate in rates.items() if name.startswith("lightly"))
    report.ratio(
        "whole pretraining step against lightly's faster setting", rates["simclr_edu"] / peer, STEP_MARK
    )
    photographs = arguments.photographs
    if photographs is None and "cifar10" in available_datasets():
        photographs = "cifar10"
    if photographs and not arguments.quick:
        scores = pretraining.quality(load_images(photographs), arguments.seconds)
        pretraining.print_quality(scores, "photographs", arguments.seconds)
        for key, lead in pretraining.leads(scores).items():
            report.least(f"photographs, lead over the better of lightly's, {key}", lead, LEAD_MARK, "points")
    else:
        print("\nNo photographs: accuracy at equal wall time not compared; give --photographs folder:PATH")
    reached = report.print()
    print(json.dumps({"reached": reached, "rows": report.rows}))
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
