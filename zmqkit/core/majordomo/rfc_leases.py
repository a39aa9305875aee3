"""Until when each busy worker of an RFC has its request."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Mapping
from math import inf
from typing import Generic, TypeVar

Worker = TypeVar("Worker", bound=Hashable)


class RfcLeases(Generic[Worker]):
    """The leases of busy workers, each as long as is said for the service of its worker."""

    def __init__(self, lease_s: float, by_service: Mapping[str, float]) -> None:
        """lease_s: how long a lease is. by_service: those services for which it is another."""
        self._lease_s = lease_s
        self._by_service = by_service
        # When each lease is over, by its length; so the earliest of each length comes first.
        self._ends: dict[float, OrderedDict[Worker, float]] = {}
        self._lengths: dict[Worker, float] = {}

    def __contains__(self, worker: Worker) -> bool:
        """Return whether a worker has a lease."""
        return worker in self._lengths

    def begin(self, worker: Worker, service: str, now: float) -> None:
        """Give a worker a lease; one that it has begins anew."""
        length_s = self._by_service.get(service, self._lease_s)
        self.end(worker)
        self._lengths[worker] = length_s
        self._ends.setdefault(length_s, OrderedDict())[worker] = now + length_s

    def end(self, worker: Worker) -> None:
        """Take the lease of a worker, if it has one."""
        length_s = self._lengths.pop(worker, None)
        if length_s is not None:
            ends = self._ends[length_s]
            del ends[worker]
            if not ends:
                del self._ends[length_s]

    def over(self, now: float) -> list[Worker]:
        """Return the workers whose leases are over."""
        found: list[Worker] = []
        for ends in self._ends.values():
            for worker, end in ends.items():
                if now < end:
                    break
                found.append(worker)
        return found

    def deadline(self) -> float:
        """Return when the first lease is over."""
        return min((next(iter(ends.values())) for ends in self._ends.values()), default=inf)

    def workers(self) -> set[Worker]:
        """Return all workers that have a lease."""
        return set(self._lengths)

    def check(self) -> None:
        """Assert that each worker has one lease, and that they stand in order."""
        held = [worker for ends in self._ends.values() for worker in ends]
        assert len(held) == len(self._lengths) and set(held) == self._lengths.keys()
        for ends in self._ends.values():
            assert ends and list(ends.values()) == sorted(ends.values())
