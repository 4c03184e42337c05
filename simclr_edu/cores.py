"""Cores: how many of them this process may use, and how its threads wait for one another.

Imported before torch, which it does not import: OpenMP, with which torch divides its work between the cores,
reads its settings once, as torch is loaded.
"""

import math
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

# Turns of a thread's waiting loop before it goes to sleep (GNU OpenMP, torch's on Linux; by default 300,000).
# Where other processes want the cores too, a thread that waits so keeps a core from the one it waits for. By
# measurement (benchmarks/waiting.py) 1,000 are as good as none on a busy machine, as 300,000 on an idle one.
TURNS = "1000"


def usable_cores() -> int:
    """Cores that this process may use, not all that the machine has.

    What taskset or a batch system allots (affinity), and no more than the CPU time that a container is
    granted (the quota of cgroups, version 1 or 2), a part of a core counted as one. joblib's ``cpu_count``
    reads the quota of a container too, but not that of a group inside a system, which a server of many users
    (JupyterHub with a systemd slice for each) gives.
    """
    allotted = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allotted, math.ceil(min(_quotas(), default=allotted))))


def _quotas(root: Path = Path("/")) -> Iterator[float]:
    """Yield each limit on this process's CPU time, in cores: that of its control group and of those above."""
    try:
        groups = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # no Linux, or nothing to be known
        return
    for group in groups:
        _, controllers, path = group.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mount = root / "sys/fs/cgroup" / controllers
        # Inside a container the path may be one of the host's; what is mounted is the container's own group.
        inside = mount / path.lstrip("/")
        for folder in {mount, inside, *(p for p in inside.parents if p.is_relative_to(mount))}:
            yield from _limit(folder)


def _limit(group: Path) -> Iterator[float]:
    """Yield the limit of one group, if it has one: CPU time granted in each period, divided by the period."""
    try:
        if (group / "cpu.max").exists():
            quota, period = (group / "cpu.max").read_text().split()
        else:
            quota = (group / "cpu.cfs_quota_us").read_text()
            period = (group / "cpu.cfs_period_us").read_text()
        if quota.strip() != "max" and int(quota) > 0:
            yield int(quota) / int(period)
    except (OSError, ValueError):  # a group without the controller
        return


def wait_briefly() -> bool:
    """Let threads that wait for others go to sleep soon; return whether torch came too early to hear of it.

    Whoever has set OMP_WAIT_POLICY or GOMP_SPINCOUNT is obeyed.
    """
    if {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & set(os.environ):
        return False
    os.environ["GOMP_SPINCOUNT"] = TURNS
    return "torch" in sys.modules


def respect_limits(unheard: bool = False) -> None:
    """Use no more threads than this process has cores, unless OMP_NUM_THREADS says how many.

    Args:
        unheard: what ``wait_briefly`` returned.
    """
    import torch

    if "OMP_NUM_THREADS" not in os.environ and torch.get_num_threads() > usable_cores():
        torch.set_num_threads(usable_cores())
    # A process with more OpenMP threads than cores waits briefly of its own accord (the manual of libgomp,
    # under GOMP_SPINCOUNT). A second team, asleep ever after, makes them more if the first has one a core.
    if unheard and sys.platform == "linux" and torch.get_num_threads() > 1:
        started = threading.Event()

        def second_team() -> None:
            torch.zeros(1 << 18).add_(1)
            started.set()
            threading.Event().wait()

        threading.Thread(target=second_team, name="simclr_edu second team", daemon=True).start()
        started.wait()


UNHEARD = wait_briefly()
