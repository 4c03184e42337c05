"""NT-Xent on a busy machine: how long threads wait for one another before they sleep, and what that costs.

    python benchmarks/waiting.py [--busy 0 4] [--pairs 256 1024 4096] [--turns 0 1000 300000] [--rounds 7]

For each number of busy processes, Python is started with one number of turns of the waiting loop after the
other (GNU OpenMP's GOMP_SPINCOUNT; Linux only), so that a moment of the machine hits all alike. 300,000 is
OpenMP's default, ``late`` is this package imported after torch. In each process the losses take turns too.
Printed are medians over the rounds of each process's median, and the ratio to 300,000.

Ratios carry over to another machine, milliseconds do not.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

UNLESS_TOLD = "300000"
SETTINGS = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


def medians(pairs: list[int], seconds: float) -> dict[str, float]:
    """Median milliseconds of a step of each loss at each N, the losses in turns for so long at each N."""
    sys.path.insert(0, str(Path(__file__).parent))
    import losses

    contestants = {k: v for k, v in losses.contestants().items() if k != "pytorch-metric-learning"}
    found = {}
    for n in pairs:
        z1, z2 = losses.views(n)
        taken: dict[str, list[float]] = {name: [] for name in contestants}
        for loss in contestants.values():
            losses.step(loss, z1, z2)
        end = time.perf_counter() + seconds
        while time.perf_counter() < end or len(taken["nt_xent"]) < 3:
            for name, loss in contestants.items():
                taken[name].append(losses.step(loss, z1, z2))
        found |= {f"{n} {name}": 1e3 * statistics.median(times) for name, times in taken.items()}
    return found


def in_a_process(turns: str, pairs: list[int], seconds: float) -> dict[str, float]:
    """``medians`` in a fresh Python that waits for so many turns, or that imports this package late."""
    environment = {k: v for k, v in os.environ.items() if k not in SETTINGS}
    early = "" if turns == "late" else "import simclr_edu;"
    if turns != "late":
        environment["GOMP_SPINCOUNT"] = turns
    folder = str(Path(__file__).parent)
    program = (
        f"import sys; sys.path.insert(0, {folder!r}); {early} import torch, json, waiting;"
        f"print(json.dumps(waiting.medians({pairs}, {seconds})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def measure(busy: int, pairs: list[int], turns: list[str], rounds: int, seconds: float) -> dict[str, dict]:
    """For each setting, what each loss took in each round, beside so many processes that only run."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
    taken: dict[str, dict[str, list[float]]] = {setting: {} for setting in turns}
    try:
        for _ in range(rounds):
            for setting in turns:
                for what, median in in_a_process(setting, pairs, seconds).items():
                    taken[setting].setdefault(what, []).append(median)
    finally:
        for process in others:
            process.kill()
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 4], help="busy processes beside it")
    parser.add_argument("--pairs", type=int, nargs="+", default=[256, 1024, 4096])
    parser.add_argument("--turns", nargs="+", default=["0", "1000", UNLESS_TOLD, "late"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each N in each process")
    options = parser.parse_args()
    for busy in options.busy:
        taken = measure(busy, options.pairs, options.turns, options.rounds, options.seconds)
        print(
            f"\n{busy} busy processes, {len(os.sched_getaffinity(0))} cores; milliseconds (to 300,000 turns)"
        )
        print(f"{'pairs, loss':20}" + "".join(f"{turns:>20}" for turns in options.turns))
        for what in next(iter(taken.values())):
            median = {turns: statistics.median(rows[what]) for turns, rows in taken.items()}
            base = median.get(UNLESS_TOLD)
            cells = (f"{ms:12.2f}" + (f" ({ms / base:4.2f})" if base else "") for ms in median.values())
            print(f"{what:20}" + "".join(f"{cell:>20}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
