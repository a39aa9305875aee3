"""Jobs on their way: each stands in line, or belongs to exactly one instance, until settled.

A job waits in line by priority until an instance is up and has credit. A job is sent again

- when its instance's connection is opened anew and the same incarnation answers, or
- when a ping was sent after the job, and the answer to that ping does not name the job.

A timer alone never sends a job again. Jobs, pings and answers share one connection and keep
their order. So a job did not arrive if the answer to a later ping does not name it and its own
answer did not come before. A job moves to another instance if it was never sent, if it was
refused before it ran, or if it may run twice.

A job may end on this side, by time-out for example, while its instance is still busy with it.
Such a job counts as one of the instance's until an answer to a ping no longer names it.
Otherwise an instance that hangs and still answers pings would be given every second job for
ever. When another instance is idle, a busy instance is asked to give back jobs that it has not
begun.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from itertools import repeat
from math import inf
from typing import cast

from zmqkit.core.dispatch.choice import choose, to_recall
from zmqkit.core.dispatch.connections import Connections, State
from zmqkit.core.dispatch.job import LACKS_MAX, Instance, Job
from zmqkit.core.line import Line
from zmqkit.core.meter import Meter
from zmqkit.limits import PING_S
from zmqkit.types import CallCounts

_LOOK_S = 1 / 64
_RETRY_S = 0.01
_PING_S_MIN = 0.05
_PASSED_MAX = 100
"""Jobs that may be passed over at a time, since no instance that has room may have them."""

Parcel = tuple[Instance, int, list[Job]]
"""One packet of jobs: the instance that it goes to, its kind, and the jobs in it."""


class Dispatcher:
    """Unsettled jobs by sequence number, where each of them is, and the counters.

    At any moment: accepted = delivered + failed + expired + dropped + in flight.
    """

    def __init__(self, connections: Connections[Instance], jobs_max: int) -> None:
        """jobs_max: how many jobs there are at most, in line and at all instances together."""
        self.connections = connections
        self.line: Line[Job] = Line()
        self.jobs: dict[int, Job] = {}
        # The number of the next job. All lower numbers were accepted.
        self.next = 1
        # No job is due before this time. It may be too early, never too late. So a job that is
        # settled in time needs no timer: `due` looks at all jobs together, about once in the
        # shortest time-out and at most once in `_LOOK_S`.
        self.look_at = inf
        # When to look after the instances next.
        self.care_at = inf
        self.counts: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self._jobs_max = jobs_max
        self._base = self._lowest = 1
        # The numbers below the first one that an earlier process gave out, the lowest first.
        self._inherited: list[int] = []
        # Settled jobs whose answers their instances are to keep for now.
        self._kept: set[int] = set()
        # Jobs that a broker is to keep wait in line until then, while brokers are being found.
        self.kept_at = -inf
        # How long jobs take, by method; None where nobody is to know.
        self.meter: Meter | None = None
        # Whether jobs ever wait in an outbox.
        self.holds_back = False

    # Jobs in

    def begin(self, number: int) -> None:
        """Begin with this number, instead of 1; no job was accepted yet."""
        self._base = self._lowest = self.next = number

    def inherit(self, job: Job, instance: Instance) -> None:
        """Have a job that an earlier process gave to an instance, and whose number is lower."""
        job.instance = instance
        job.copies = 1
        instance.jobs[job.sequence] = self.jobs[job.sequence] = job
        heappush(self._inherited, job.sequence)
        self._base -= 1
        self.look(job.deadline_at)

    def add(self, job: Job, now: float) -> None:
        """Accept a job whose number is `next`; `flush` sends it if it need not wait in line."""
        self.jobs[job.sequence] = job
        self.next = job.sequence + 1
        if job.deadline_at < self.look_at:
            self.look_at = job.deadline_at
        instance = None if self.line.count else self._choose(job, now)
        if instance is not None:
            self._assign(job, instance, now)
        else:
            self._wait(job)

    def give(self, job: Job, instance: Instance, now: float) -> None:
        """Accept a job whose number is `next`, for this instance and no other."""
        self.jobs[job.sequence] = job
        self.next = job.sequence + 1
        self.look(job.deadline_at)
        self._assign(job, instance, now)

    def look(self, at: float) -> None:
        """Have `due` look at the jobs at `at`, or earlier."""
        self.look_at = min(self.look_at, at)

    def fill(self, now: float) -> None:
        """Assign waiting jobs, highest priority first, to instances with credit."""
        ready = self.connections.ready
        passed: list[Job] = []
        while self.line.count and any(len(i.jobs) + len(i.occupied) < i.credit for i in ready):
            if len(passed) >= _PASSED_MAX:
                break
            job = self.line.serve()
            if job is None:
                break
            instance = self._choose(job, now)
            if instance is not None:
                self._assign(job, instance, now)
            else:
                passed.append(job)  # the instances with room refused it, or must not keep it
        for job in passed:
            self.line.join(job.sequence, job.priority, job)

    # Jobs out

    def take(
        self, instance: Instance, sequences: Sequence[int], now: float
    ) -> list[Job | None]:
        """Settle the jobs that an instance answers.

        Returns a job for each number, in order; None where the answer is a duplicate. Almost
        every job passes here, so the usual path calls no function for a single job.
        """
        theirs = {} if instance.outbox else instance.jobs
        if len(sequences) == 1 and (job := theirs.pop(sequences[0], None)) is not None:
            del self.jobs[sequences[0]]
            self.counts["delivered"] += 1
            if self.meter is not None:
                self.meter.took(job.method, now - job.begun_at)
            return [job]
        taken: list[Job | None] = list(map(theirs.pop, sequences, repeat(None)))
        jobs = self.jobs
        if None not in taken:
            for sequence in sequences:
                del jobs[sequence]
            self.counts["delivered"] += len(taken)
            if self.meter is not None and taken:
                self.meter.took_all(cast("list[Job]", taken), now)
            return taken
        for at, sequence in enumerate(sequences):
            if taken[at] is None:
                taken[at] = self._take_late(instance, sequence, now)
            if (job := taken[at]) is not None:
                del jobs[sequence]
                self.counts["delivered"] += 1
                if self.meter is not None:
                    self.meter.took(job.method, now - job.begun_at)
        return taken

    def settle(self, job: Job, count: str) -> None:
        """End a job that was answered or ran out of time, and count it under `count`."""
        self.remove(job)
        self.counts[count] += 1
        if self.meter is not None:
            part = self.meter.part(job.method)
            if count == "delivered":
                part.more += 1
            else:
                part.failed += 1

    def drop(self, job: Job, reason: str) -> None:
        """End a job that this side gave up, and count it as dropped for the reason."""
        self.remove(job)
        self.dropped[reason] += 1

    def remove(self, job: Job) -> None:
        """Take a job that ends out of the line, or from its instance.

        If an interrupt stops this halfway, the job is still unsettled and can be ended again.
        """
        if job.instance is None:
            self.line.leave(job.sequence, job.priority)
        else:
            self._unassign(job)
        del self.jobs[job.sequence]

    def abandon(self, job: Job, now: float) -> None:
        """Note that a job ends without an answer of its instance, which may still be busy."""
        instance = job.instance
        if instance is None or not job.copies:
            return
        instance.occupied[job.sequence] = job.epoch
        soon = now + PING_S
        if 4 * len(instance.occupied) >= instance.credit:
            soon = max(now, instance.pinged_at + _PING_S_MIN)
        instance.ping_at = min(instance.ping_at, soon)
        self.care(instance.ping_at)

    def due(self, now: float, *, alone: bool) -> list[Job]:
        """Return the jobs whose time is over, at most `_LOOK_S` late.

        alone: no instance is known. Then a job that cannot have run is due when its patience
        ends.
        """
        if now < self.look_at:
            return []
        due: list[Job] = []
        look_at = inf
        for job in self.jobs.values():
            at = job.give_up_at if alone and not job.may_have_run else job.deadline_at
            if at <= now:
                due.append(job)
            elif at < look_at:
                look_at = at
        self.look_at = max(look_at, now + _LOOK_S)
        return due

    # Jobs from one place to another

    def move(self, jobs: Iterable[Job]) -> None:
        """Put jobs of instances back in line; what is for one instance alone stays there."""
        for job in jobs:
            if job.only:
                continue
            self._unassign(job)
            if job.copies:
                job.exposed = True
                job.attempts -= 1
                job.restart()
                self.counts["retries"] += 1
            self._wait(job)

    def refused(
        self, job: Job, instance: Instance, now: float, *, free: bool, waits: bool
    ) -> bool:
        """Move a job that an instance refused; return False if it has to end instead.

        The instance never accepts this id again, so the job did not run there and will not.
        free: the move costs no attempt.
        waits: the job may wait in line if no other instance has room for it now.
        """
        job.refused_by = (*job.refused_by, instance.incarnation)
        if job.only or (job.attempts <= 0 and not free):
            return False
        other = self._choose(job, now)
        if other is None and not waits:
            return False
        self._unassign(job)
        job.attempts -= not free
        job.restart()
        self.counts["retries"] += 1
        if other is not None:
            self._assign(job, other, now)
        else:
            self._wait(job)
        return True

    def lacks(self, job: Job, instance: Instance) -> bool:
        """Note that an instance lacks a job's method; return whether another may have it."""
        if len(instance.lacks) < LACKS_MAX:
            instance.lacks.add(job.method)
        tried = (instance.incarnation, *job.refused_by)
        return any(
            each.incarnation not in tried and job.method not in each.lacks
            for each in self.connections.ready
        )

    # Instances

    def resume(self, instance: Instance, now: float) -> list[Job]:
        """Use an instance that answered on a new connection; send its jobs again.

        Returns the jobs that have begun. They are not sent again, for they must not begin
        twice: the caller asks the instance for the missing parts of their results.
        """
        begun = [job for job in instance.jobs.values() if job.begun]
        instance.outbox = [job for job in instance.jobs.values() if not job.begun]
        self.counts["retries"] += sum(job.copies > 0 for job in instance.outbox)
        if instance.jobs or instance.occupied:
            instance.ping_at = now + PING_S
            self.care(instance.ping_at)
        return begun

    def held(
        self, instance: Instance, token: int, held: Sequence[int], running: int
    ) -> tuple[list[Job], list[int]]:
        """Take an instance's answer to the ping `token`.

        held: the numbers of the jobs that it has; the first `running` of them have begun.
        Returns the jobs that did not arrive there, and the numbers of the jobs that it should
        give back because another instance is idle.
        """
        instance.lacks.clear()
        named = frozenset(held)
        instance.occupied = {
            sequence: epoch
            for sequence, epoch in instance.occupied.items()
            if epoch >= token or sequence in named
        }
        lost = instance.unnamed(token, named)
        self.counts["retries"] += len(lost)
        ready, theirs = self.connections.ready, map(instance.jobs.get, held[running:])
        waiting = [j for j in theirs if j and not (j.begun or j.kept_as or j.only)]
        return lost, to_recall(instance, ready, waiting) if waiting else []

    def to_ping(self, now: float) -> list[Instance]:
        """Return the instances that are to be pinged now, which asks them what they hold."""
        if now < self.care_at:
            return []
        self.care_at = inf
        due: list[Instance] = []
        for instance in self.connections.by_incarnation.values():
            if instance.state is State.LEFT:
                self.care(instance.left_until)
            if instance.state not in (State.UP, State.LEAVING):
                continue
            if now >= instance.ping_at:
                self.ask(instance, now)
                # The word that one which was full has room again may have been lost.
                owed = instance.jobs or instance.occupied or not instance.credit
                instance.ping_at = now + PING_S if owed else inf
                due.append(instance)
            self.care(instance.ping_at)
            if instance.blocked_until > now:
                self.care(instance.blocked_until)
        return due

    def ping_at_once(self, instance: Instance, now: float) -> None:
        """Have an instance asked what it holds as soon as its outbox is empty."""
        instance.ping_at = now
        self.care(now)

    def ask(self, instance: Instance, now: float) -> None:
        """Note that an instance is pinged; the ping also tells it which answers were read."""
        instance.ping_token += 1
        instance.pinged_at = now
        instance.untold_bytes = 0

    def care(self, at: float) -> None:
        """Have `to_ping` look after the instances at `at`, or earlier."""
        self.care_at = min(self.care_at, at)

    def take_back(self, instance: Instance, sequences: list[int], now: float) -> None:
        """Send the jobs of a packet that found no room again, `_RETRY_S` from now."""
        instance.give_back(sequences, now + _RETRY_S)
        self.care(instance.blocked_until)

    def flush(self, now: float) -> list[Parcel]:
        """Empty the outboxes of all instances that can be sent to; return the packets.

        There is one packet for an instance, or more when a batch is full.
        """
        parcels: list[Parcel] = []
        for instance in self.connections.by_incarnation.values():
            if instance.outbox and instance.sends and now >= instance.blocked_until:
                token = instance.ping_token
                waiting = self._hold_back(instance) if self.holds_back else None
                for job in instance.outbox:
                    job.copies += 1
                    job.epoch = token
                for kind, jobs in instance.take_outbox():
                    parcels.append((instance, kind, jobs))
                if waiting:
                    instance.outbox = waiting
        return parcels

    def keep(self, sequence: int) -> None:
        """Have an instance keep the answer of a settled job until `free`."""
        self._kept.add(sequence)

    def free(self, sequences: Iterable[int]) -> None:
        """Let the answers of these jobs be forgotten."""
        self._kept.difference_update(sequences)

    # The whole

    def needed(self) -> list[int]:
        """Return the numbers of the jobs that are not settled, or whose answers are kept."""
        return [*self.jobs, *self._kept]

    def settled_below(self) -> int:
        """Return the lowest sequence number whose job or answer is still needed."""
        lowest = self._lowest_unsettled()
        return min(lowest, *self._kept) if self._kept else lowest

    def _lowest_unsettled(self) -> int:
        if self._inherited and self.has_inherited():
            return self._inherited[0]
        lowest = self._lowest
        while lowest < self.next and lowest not in self.jobs:
            lowest += 1
        self._lowest = lowest
        return lowest

    def has_inherited(self) -> bool:
        """Return whether a job is not settled that an earlier process gave out."""
        while self._inherited and self._inherited[0] not in self.jobs:
            heappop(self._inherited)
        return bool(self._inherited)

    def stats(self) -> CallCounts:
        """Return the counters, and how many jobs are in flight."""
        counts = self.counts
        return {
            "accepted": self.next - self._base,
            "delivered": counts["delivered"],
            "failed": counts["failed"],
            "expired": counts["expired"],
            "retries": counts["retries"],
            "duplicates": counts["duplicates"],
            "dropped": dict(self.dropped),
            "in_flight": len(self.jobs),
            "waiting": len(self.line),
        }

    def check(self) -> None:
        """Assert that each job is in one place, counters balance, and none is due unseen."""
        counts = self.counts
        ended = counts["delivered"] + counts["failed"] + counts["expired"]
        ended += sum(self.dropped.values())
        assert self.next - self._base == ended + len(self.jobs), "stats do not balance"
        assert len(self.jobs) <= self._jobs_max
        soonest = min((job.deadline_at for job in self.jobs.values()), default=inf)
        assert self.look_at <= soonest + _LOOK_S
        assert all(job.instance is None and not job.only for job in self.line)
        places = [job.sequence for job in self.line]
        for instance in self.connections.by_incarnation.values():
            places.extend(instance.jobs)
            due = {job.sequence for job in instance.outbox}
            assert len(instance.outbox) == len(due) and due <= instance.jobs.keys()
            assert all(job.instance is instance for job in instance.jobs.values())
            assert instance.jobs.keys().isdisjoint(instance.occupied)
        assert sorted(places) == sorted(self.jobs), "a job in no place, or in two"

    # Inside

    def _choose(self, job: Job, now: float) -> Instance | None:
        if job.kept_as and now < self.kept_at:
            self.care(self.kept_at)
            return None
        return choose(job, self.connections.ready)

    def _wait(self, job: Job) -> None:
        self.line.join(job.sequence, job.priority, job)
        self.look(job.give_up_at)

    def _assign(self, job: Job, instance: Instance, now: float) -> None:
        job.instance = instance
        instance.jobs[job.sequence] = job
        instance.outbox.append(job)
        if instance.ping_at == inf:
            instance.ping_at = now + PING_S
            self.care(instance.ping_at)

    def _hold_back(self, instance: Instance) -> list[Job]:
        """Take the jobs out of an outbox that must not leave yet."""
        waiting = [job for job in instance.outbox if job.waits]
        if waiting:
            instance.outbox = [job for job in instance.outbox if not job.waits]
        return waiting

    def _unassign(self, job: Job) -> None:
        """Take the job from its instance, if it has one."""
        instance, job.instance = job.instance, None
        if instance is not None:
            instance.jobs.pop(job.sequence, None)
            if instance.outbox and job in instance.outbox:
                instance.outbox.remove(job)

    def _take_late(self, instance: Instance, sequence: int, now: float) -> Job | None:
        """Take a job that an instance answers, though it is to be sent again or has moved on.

        The instance that it has moved to may still be busy with it. Returns None, and counts a
        duplicate, if the answer settles nothing.
        """
        job = self.jobs.get(sequence)
        here = job is not None and job.instance is instance
        if job is None or not (here or (job.exposed and not job.begun)):
            self.counts["duplicates"] += 1
            return None
        if job.instance is None:
            self.line.leave(sequence, job.priority)
        elif not here:
            self.abandon(job, now)
        self._unassign(job)
        return job
