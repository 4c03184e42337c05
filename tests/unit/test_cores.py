"""Cores that a process may use, in a container too, and how its threads wait for one another."""

import os
import subprocess
import sys

import pytest

from simclr_edu import cores

V2_BY_ITSELF = {"proc/self/cgroup": "0::/\n"}
V2_OF_A_JOB = {"proc/self/cgroup": "0::/slice/job\n"}
V1 = {"proc/self/cgroup": "4:memory:/m\n3:cpu,cpuacct:/docker/abc\n2:cpuset:/\n1:name=systemd:/x\n0::/\n"}
V1_GROUP = "sys/fs/cgroup/cpu,cpuacct"


def limit(folder, quota, period=100000):
    return {f"{folder}/cpu.cfs_quota_us": f"{quota}\n", f"{folder}/cpu.cfs_period_us": f"{period}\n"}


CONTAINERS = {
    "no control groups": ({}, []),
    "nothing granted in particular": (V2_BY_ITSELF | {"sys/fs/cgroup/cpu.max": "max 100000\n"}, []),
    "version 2": (V2_BY_ITSELF | {"sys/fs/cgroup/cpu.max": "200000 100000\n"}, [2]),
    "a group above has less": (
        V2_OF_A_JOB
        | {
            "sys/fs/cgroup/slice/cpu.max": "150000 100000",
            "sys/fs/cgroup/slice/job/cpu.max": "400000 100000",
        },
        [1.5, 4],
    ),
    "version 1, the host's path": (V1 | limit(f"{V1_GROUP}/docker/abc", 50000), [0.5]),
    "version 1, the container's own": (V1 | limit(V1_GROUP, 300000), [3]),
    "version 1, unlimited": (V1 | limit(V1_GROUP, -1), []),
    "another controller's limit": (V1 | limit("sys/fs/cgroup/memory/m", 100000), []),
    "a file that is none": (V2_BY_ITSELF | {"sys/fs/cgroup/cpu.max": ""}, []),
}


@pytest.mark.parametrize("kind", CONTAINERS)
def test_the_quota_of_a_container_is_found(kind, tmp_path):
    files, expected = CONTAINERS[kind]
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert sorted(cores._quotas(tmp_path)) == expected


@pytest.mark.parametrize(
    ("allotted", "quotas", "usable"),
    [(64, [2], 2), (64, [1.5, 4], 2), (2, [16], 2), (4, [0.1], 1), (3, [], 3)],
)
def test_usable_cores_are_the_least_of_what_is_allotted_and_granted(allotted, quotas, usable, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(allotted)), raising=False)
    monkeypatch.setattr(cores, "_quotas", lambda: quotas)
    assert cores.usable_cores() == usable


SHOW = """
import os, threading, torch
print(os.environ.get("GOMP_SPINCOUNT"), torch.get_num_threads(), threading.active_count())
"""


def shown(program, **environment):
    """What a fresh Python prints."""
    kept = {k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY")}
    kept.pop("GOMP_SPINCOUNT", None)
    return subprocess.run(
        [sys.executable, "-c", program],
        env=kept | environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "environment", "expected"),
    [
        ("", {"OMP_NUM_THREADS": "2"}, [cores.TURNS, "2", "1"]),
        ("", {"OMP_NUM_THREADS": "2", "GOMP_SPINCOUNT": "7"}, ["7", "2", "1"]),
        ("", {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "active"}, ["None", "2", "1"]),
        # torch was there first: a second team of threads sleeps beside the first.
        ("import torch", {"OMP_NUM_THREADS": "2"}, [cores.TURNS, "2", "2"]),
        ("import torch", {"OMP_NUM_THREADS": "1"}, [cores.TURNS, "1", "1"]),
        ("import torch", {"OMP_NUM_THREADS": "2", "GOMP_SPINCOUNT": "7"}, ["7", "2", "1"]),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="GNU OpenMP is torch's on Linux")
def test_threads_wait_briefly_unless_told_otherwise(first, environment, expected):
    assert shown(f"{first}\nimport simclr_edu{SHOW}", **environment) == expected


@pytest.mark.parametrize("told", [True, False])
def test_threads_are_no_more_than_cores_unless_told(told, monkeypatch):
    import torch

    asked = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    monkeypatch.setattr(cores, "usable_cores", lambda: 2)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if told:
        monkeypatch.setenv("OMP_NUM_THREADS", "64")
    cores.respect_limits()
    assert asked == ([] if told else [2])
