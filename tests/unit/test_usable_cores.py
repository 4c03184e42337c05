"""The cores that may be used, where a container or the user allows fewer than the machine has."""

import os

import pytest

from simclr_edu.device import usable_cores


def test_no_more_cores_are_counted_than_this_process_may_use():
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert 1 <= usable_cores() <= allowed


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_under_taskset_only_those_cores_are_counted():
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(
    ("quota", "cores"), [("50000 100000", 1), ("100000 100000", 1), ("max 100000", None)]
)
def test_the_cpu_quota_of_a_container_counts(monkeypatch, tmp_path, quota, cores):
    from joblib.externals.loky.backend import context

    monkeypatch.delenv("LOKY_MAX_CPU_COUNT", raising=False)
    file = tmp_path / "cpu.max"
    file.write_text(quota)
    real, exists = open, os.path.exists
    place = "/sys/fs/cgroup/cpu.max"
    monkeypatch.setattr(
        context, "open", lambda p, *a, **k: real(file if p == place else p, *a, **k), raising=False
    )
    monkeypatch.setattr("os.path.exists", lambda p: p == place or exists(p))
    without = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert usable_cores() == (cores or without)
