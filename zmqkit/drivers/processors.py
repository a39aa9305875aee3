"""Tells how many processors this process may use: in a container often not all there are."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from math import inf
from pathlib import Path, PurePosixPath

Read = Callable[[str], str]
"""Returns the text of the file at a path, or raises OSError."""

_ROOT = "/sys/fs/cgroup"


def processors() -> int:
    """Return how many threads of this process and its peers can run at once; at least 1.

    The cgroups of a process may limit its processor time. A process that has used up its quota
    stands still until the next period begins. To which processors this process is bound says
    nothing about its peers, so all processors of the machine count; see `bound`.
    """
    return max(1, int(min(os.cpu_count() or 1, quota(_text))))


def bound() -> int:
    """Return how many processors this process is bound to; mostly all that there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def quota(read: Read) -> float:
    """Return how many processors the cgroups of this process allow; infinity for no limit.

    The limit of each cgroup above applies too. A container often sees only its own cgroup, at
    the root.
    """
    limits = [inf]
    with suppress(OSError):
        for line in read("/proc/self/cgroup").splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                limits += (_limit(read, f"{_ROOT}{each}/cpu.max") for each in _upwards(path))
            elif "cpu" in controllers.split(","):
                limits += (_limit_v1(read, f"{_ROOT}/cpu{each}") for each in _upwards(path))
    return min(limits)


def _upwards(path: str) -> Iterator[str]:
    """Yield the path of a cgroup and of all cgroups above it; the root is empty."""
    for each in (PurePosixPath(path), *PurePosixPath(path).parents):
        yield str(each).rstrip("/")


def _limit(read: Read, path: str) -> float:
    """Return the processors that a `cpu.max` allows: microseconds, or `max`, in each period."""
    with suppress(OSError, ValueError):
        time_us, period_us = read(path).split()
        if time_us != "max":
            return int(time_us) / int(period_us)
    return inf


def _limit_v1(read: Read, path: str) -> float:
    """Return the processors that the two files of version 1 allow; there -1 means no limit."""
    with suppress(OSError, ValueError):
        time_us = int(read(f"{path}/cpu.cfs_quota_us"))
        if time_us > 0:
            return time_us / int(read(f"{path}/cpu.cfs_period_us"))
    return inf


def _text(path: str) -> str:
    return Path(path).read_text()
