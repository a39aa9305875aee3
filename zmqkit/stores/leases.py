"""The leases of a store: which receipt stands for which attempt, and until when."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from math import inf

from zmqkit.core.tasks.task import State, Task

_NUMBER_BYTES = 8
_STALE_MAX = 1000
"""How many deadlines may mean nothing any more before the heap is made anew."""


@dataclass(slots=True)
class Lease:
    """One attempt at a task, which ends by itself when its time is over."""

    number: int
    task: Task
    until: float
    attempts_max: int

    @property
    def holds(self) -> bool:
        """Whether the task is still at this attempt."""
        return self.task.state is State.LEASED and self.task.receipt == self.number


class Leases:
    """All leases that have not ended."""

    def __init__(self, prefix: bytes) -> None:
        """prefix: the beginning of each receipt, which no other store has, nor had."""
        self._prefix = prefix
        self._leases: dict[int, Lease] = {}
        self._deadlines: list[tuple[float, int]] = []
        self._last = 0

    def __len__(self) -> int:
        """How many deadlines are kept, those that mean nothing any more included."""
        return len(self._deadlines)

    def give(self, task: Task, until: float, attempts_max: int) -> bytes:
        """Begin the lease of a task that has just been leased; return its receipt."""
        self._last = number = self._last + 1
        task.receipt = number
        self._leases[number] = Lease(number, task, until, attempts_max)
        self._push(until, number)
        return self._prefix + number.to_bytes(_NUMBER_BYTES, "big")

    def find(self, receipt: bytes) -> Lease | None:
        """Return the lease of a receipt; None if it is over or was never given."""
        if len(receipt) != len(self._prefix) + _NUMBER_BYTES:
            return None
        if not receipt.startswith(self._prefix):
            return None
        number = int.from_bytes(receipt[len(self._prefix) :], "big")
        lease = self._leases.get(number)
        return lease if lease is not None and lease.holds else None

    def renew(self, lease: Lease, until: float) -> None:
        """Have a lease end at another time."""
        lease.until = until
        self._push(until, lease.number)

    def end(self, lease: Lease) -> None:
        """Forget a lease."""
        self._leases.pop(lease.number, None)

    def lapse(self, now: float) -> Iterator[Lease]:
        """Yield the leases whose time is over, and forget them."""
        while self._deadlines and self._deadlines[0][0] <= now:
            at, number = heappop(self._deadlines)
            lease = self._leases.get(number)
            if lease is None or lease.until != at:
                continue
            del self._leases[number]
            if lease.holds:
                yield lease

    def deadline(self) -> float:
        """Return when the next lease may end; infinity if there is none."""
        return self._deadlines[0][0] if self._deadlines else inf

    def _push(self, until: float, number: int) -> None:
        if len(self._deadlines) > 2 * len(self._leases) + _STALE_MAX:
            self._leases = {n: lease for n, lease in self._leases.items() if lease.holds}
            self._deadlines = [(lease.until, n) for n, lease in self._leases.items()]
            heapify(self._deadlines)
            return  # the new one is among them
        heappush(self._deadlines, (until, number))
