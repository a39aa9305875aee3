"""How many processors a process may use, by what there are and what its cgroups say."""

from __future__ import annotations

import os
from math import inf

import pytest

from zmqkit.drivers import busypoll, processors
from zmqkit.drivers.busypoll import BusyPoll
from zmqkit.drivers.processors import quota
from zmqkit.limits import BUSY_POLL_S

CGROUP = "/sys/fs/cgroup"


def quota_of(cgroups: str, **files: str) -> float:
    """The quota, by the text of /proc/self/cgroup and of files of the cgroups."""
    texts = {f"{CGROUP}{path}": text for path, text in files.items()}
    texts["/proc/self/cgroup"] = cgroups

    def read(path: str) -> str:
        if path not in texts:
            raise FileNotFoundError(path)
        return texts[path]

    return quota(read)


def test_a_cgroup_without_a_limit_allows_any_number() -> None:
    assert quota_of("0::/\n") == inf
    assert quota_of("0::/\n", **{"/cpu.max": "max 100000\n"}) == inf


def test_a_quota_is_time_in_each_period() -> None:
    assert quota_of("0::/\n", **{"/cpu.max": "150000 100000\n"}) == 1.5


def test_the_smallest_quota_of_a_cgroup_and_those_above_it_holds() -> None:
    files = {"/a/b/cpu.max": "400000 100000\n", "/a/cpu.max": "100000 50000\n"}
    assert quota_of("0::/a/b\n", **files) == 2.0


def test_a_container_that_sees_its_own_cgroup_at_the_root_finds_its_quota() -> None:
    assert quota_of("0::/docker/4f1c\n", **{"/cpu.max": "50000 100000\n"}) == 0.5


VERSION_1 = "5:cpuset:/a\n4:cpu,cpuacct:/a\n1:name=systemd:/a\n0::/\n"


def test_a_quota_of_version_1_stands_in_two_files() -> None:
    files = {"/cpu/a/cpu.cfs_quota_us": "200000\n", "/cpu/a/cpu.cfs_period_us": "100000\n"}
    assert quota_of(VERSION_1, **files) == 2.0


def test_minus_one_is_no_limit_in_version_1() -> None:
    files = {"/cpu/a/cpu.cfs_quota_us": "-1\n", "/cpu/a/cpu.cfs_period_us": "100000\n"}
    assert quota_of(VERSION_1, **files) == inf


def test_a_text_that_is_none_of_these_is_no_limit() -> None:
    assert quota_of("0::/\n", **{"/cpu.max": "much\n"}) == inf


def test_a_machine_without_cgroups_has_no_limit() -> None:
    def read(path: str) -> str:
        raise FileNotFoundError(path)

    assert quota(read) == inf


def test_a_process_is_bound_to_what_it_asked_for() -> None:
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("this system binds nothing to a processor")
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert processors.bound() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(
    ("allowed", "machine", "count"), [(0.5, 8, 1), (2.5, 8, 2), (4.0, 2, 2)]
)
def test_the_smaller_of_both_counts_and_at_least_one(
    monkeypatch: pytest.MonkeyPatch, allowed: float, machine: int, count: int
) -> None:
    monkeypatch.setattr(processors, "quota", lambda _: allowed)
    monkeypatch.setattr("os.cpu_count", lambda: machine)
    assert processors.processors() == count


def test_a_wait_does_not_begin_awake_where_one_processor_may_be_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(busypoll, "processors", lambda: 1)
    busy = BusyPoll()
    busy.begin(100.0)
    busy.end(100.0 + BUSY_POLL_S / 2)
    assert not busy.pays
