"""Which worker has which task, as the journal is told of it and tells the next process.

Theory of operation. A lease has the same id whichever process has the journal open. So a
process that ends takes no lease with it: its workers go on, and keep their answers. The next
process begins as if it had lost its connections: the workers that the journal names are out of
reach and have their leases. One that answers is sent these leases again, under their ids, as
after any loss of a connection:

    it runs the task, or has it in line   a copy changes nothing; its pong names the lease
    it has an answer                      it answers
    the lease never came                  it takes it now
    the answer was read before            neither, three times; the task is given out again

What such a worker does not claim within `lease_s` is given out again, at no cost: nobody knows
what its handler declares. A lease joins the commit that comes next, and one that is younger is
not known: its task is given out at once, and its worker is told to stop.

A request of a broker whose method must not run twice (`once`) leaves for its worker after that
commit. Its worker keeps the answer until a commit has that, too. So the next process knows of
all that may have begun; what it cannot learn of is dead, and never given out again. The journal
is not told of requests that may run twice, and these are given out again at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from zmqkit.core.dispatch.job import Instance
from zmqkit.core.tasks.lease import Lease
from zmqkit.core.tasks.leases import Leases
from zmqkit.core.tasks.task import State, Task

Numbers = Mapping[int, Sequence[tuple[int, int]]]
"""By worker: the numbers of its leases, each with that of the task."""

_NOTHING = (0, 0)
_UNKNOWN = (-1, -1)


class Held:
    """Knows which leases a journal has to be told of."""

    def __init__(self, sides: Sequence[Leases]) -> None:
        """Begin with a journal that names none. sides: the leases to workers, and to sinks."""
        self._sides = sides
        # By worker: how many leases it had when the journal was told, and the last one. Numbers
        # grow, so these two change with each lease that comes or goes.
        self._told: dict[int, tuple[int, int]] = {}
        # How many leases there ever were, as `take` was called last.
        self._count = 0
        # By side: what the append under way tells of leases that wait for it, and of ends.
        self._begun: list[list[Lease]] = [[] for _ in sides]
        self._ended: list[list[int]] = [[] for _ in sides]

    def begin(self, workers: Iterable[int]) -> None:
        """Follow a journal that names these workers."""
        self._told = dict.fromkeys(workers, _UNKNOWN)
        self._count = self._counted()

    def has_more(self) -> bool:
        """Return whether there were leases since `take` was called last."""
        return self._counted() != self._count

    def take(self) -> dict[int, list[tuple[int, Task]]]:
        """Return the leases of each worker whose leases have changed, or that it has none."""
        self._count = self._counted()
        told = {worker: mark for worker, mark in self._told.items() if mark != _NOTHING}
        self._told = dict.fromkeys(told, _NOTHING)
        changed: dict[int, list[tuple[int, Task]]] = {}
        for leases, begun, ended in zip(self._sides, self._begun, self._ended, strict=True):
            begun += leases.unwritten
            ended += leases.ended
            leases.unwritten, leases.ended = [], []
            lapsed, leases.lapsed = leases.lapsed, set()
            for worker, instance in leases.instances.items():
                if not instance.jobs or leases.policy_of(instance).is_streamer:
                    continue
                theirs = [
                    (number, each.task)
                    for number, each in instance.jobs.items()
                    if isinstance(each, Lease) and each.is_told and not each.lapsed
                ]
                if not theirs:
                    continue
                mark = self._told[worker] = _mark(instance)
                if told.get(worker) != mark or worker in lapsed:
                    changed[worker] = theirs
        changed.update((w, []) for w in told if self._told[w] == _NOTHING)
        return changed

    def written(self) -> None:
        """Learn that the journal has what `take` returned last."""
        for leases, begun, ended in zip(self._sides, self._begun, self._ended, strict=True):
            leases.written(begun, ended)
            begun.clear()
            ended.clear()

    def again(self) -> None:
        """Have `take` return all, since the journal was not written."""
        self._told = dict.fromkeys(self._told, _UNKNOWN)
        self._count = -1

    def _counted(self) -> int:
        return sum(leases.count for leases in self._sides)


def at_work(
    tasks: Iterable[Task], numbers: Numbers, *, below: int, workers_max: int
) -> dict[int, list[tuple[int, Task]]]:
    """Have those tasks be leased that a worker has, as a journal says; return them by worker.

    below: a lease with another number was not given out by an earlier process. A task that two
    workers seem to have is that of the later lease.
    """
    latest: dict[int, tuple[int, int]] = {}
    for worker in list(numbers)[:workers_max]:
        for receipt, sequence in numbers[worker]:
            if receipt < below:
                latest[sequence] = max(latest.get(sequence, (0, 0)), (receipt, worker))
    found: dict[int, list[tuple[int, Task]]] = {}
    for task in tasks:
        receipt, worker = latest.get(task.sequence, (0, 0))
        if receipt and task.state is State.WAITING:
            task.state = State.LEASED
            task.attempt += 1
            task.receipt = receipt
            found.setdefault(worker, []).append((receipt, task))
    return found


def _mark(instance: Instance) -> tuple[int, int]:
    jobs = instance.jobs
    return len(jobs), next(reversed(jobs))
