"""The leases of a pusher: which worker works on which task, and how each attempt ends.

A lease is a job of the Dispatcher, which knows where it is. Whatever ends an attempt ends the
lease, and settles its task in the ledger or has the task wait again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from math import inf

from zmqkit.core.dispatch.instances import Instances
from zmqkit.core.dispatch.job import Instance
from zmqkit.core.effects import Effect
from zmqkit.core.tasks.lease import Lease, MakeLease, Policy
from zmqkit.core.tasks.ledger import Ledger
from zmqkit.core.tasks.task import Event, State, Task
from zmqkit.errors import PeerLost, ZmqkitError
from zmqkit.limits import RETRY_S
from zmqkit.wire.histogram import Histogram

_ANY = -1
"""Stands for the journal of a streamer that is not known yet."""
_UNHEARD = Policy(places=0)
"""Of a worker that has not spoken to this process: what it loses costs nothing, since nobody
knows what it declares."""


class Leases:
    """The attempts under way, and what the workers' handlers declare about attempts."""

    def __init__(
        self,
        incarnation: int,
        ledger: Ledger,
        instances: Instances,
        jitter: Callable[[], float],
        *,
        of_results: bool,
        make: MakeLease = Lease,
    ) -> None:
        """Begin without leases.

        of_results: lease results to sinks, not tasks to workers. make: makes a lease.
        """
        self._make = make
        self._of_results = of_results
        # Whether tasks go to streamers now, and not to workers.
        self.passes_on = False
        # By journal: the tasks that a streamer has on its disk which is not connected now.
        self.away: dict[int, dict[int, Task]] = {}
        # When to ask streamers again that did not say what became of their tasks.
        self.claim_at = inf
        self._incarnation = incarnation
        # The workers some of whose leases have lapsed, until the journal is told.
        self.lapsed: set[int] = set()
        # The leases that may leave once the journal has them, and the numbers of those whose
        # ends it is to have before their workers forget the answers; until it is told.
        self.unwritten: list[Lease] = []
        self.ended: list[int] = []
        # What the handler of each worker declares, by incarnation.
        self._policies: dict[int, Policy] = {}
        # How long tasks waited before each attempt.
        self.waited = Histogram()
        self._ledger = ledger
        self._instances = instances
        self._connections = instances.connections
        self._dispatcher = instances.dispatcher
        self._jitter = jitter

    def declare(self, instance: Instance, policy: Policy) -> None:
        """Note what a worker's handler declares; forget workers that are not used any more."""
        self._policies[instance.incarnation] = policy
        if len(self._policies) > 2 * len(self._connections.by_incarnation):
            used = self._connections.by_incarnation.keys()
            self._policies = {k: v for k, v in self._policies.items() if k in used}

    def fill(self, now: float) -> None:
        """Lease ready tasks, as many as the workers have room for."""
        ready = self._connections.ready
        room = sum(max(0, each.credit - each.load) for each in ready)
        ledger, since = self._ledger, list[float]()
        for _ in range(
            min(room, len(ledger.results) if self._of_results else ledger.line.count)
        ):
            task = ledger.lease_result() if self._of_results else ledger.lease(now)
            if task is None:
                break
            since.append(max(task.pushed_at, task.due_at))
            lease = self._lease(task, now, passes_on=self.passes_on)
            self._dispatcher.add(lease, now)
            lease.once = lease.must_run_once
            if lease.once and ledger.changes is not None:
                lease.waits = self._dispatcher.holds_back = True
                self.unwritten.append(lease)
        if since:
            self.waited.record_since(since, now)

    def keep(self, lease: Lease) -> None:
        """Have the answer kept at its worker until the journal has what follows from it."""
        if lease.once and self._ledger.changes is not None:
            self._dispatcher.keep(lease.sequence)
            self.ended.append(lease.sequence)

    def written(self, leases: Iterable[Lease], ended: Iterable[int]) -> None:
        """Learn that the journal has these leases, and the ends of those."""
        for lease in leases:
            lease.waits = False
        self._dispatcher.free(ended)

    def inherit(self, instance: Instance, receipt: int, task: Task, now: float) -> None:
        """Have a lease that an earlier process gave to a worker."""
        lease = self._make(receipt, task, now, None)
        lease.is_inherited = True
        self._dispatcher.inherit(lease, instance)
        lease.once = lease.must_run_once

    @property
    def count(self) -> int:
        """How many leases were given out so far, and how many receipts were passed over."""
        return self._dispatcher.next

    @property
    def instances(self) -> Mapping[int, Instance]:
        """The workers by incarnation."""
        return self._connections.by_incarnation

    def claim(self, instance: Instance, now: float) -> None:
        """Ask a streamer for what became of the tasks that its journal has."""
        journal = self.policy_of(instance).journal
        if not journal:
            return
        for lease in self.all():  # only one process at a time has a journal open
            if lease.task.journal == journal and lease.instance is not instance:
                self._dispatcher.settle(lease, "failed")
                self._awaits_streamer(lease)
        away = (self.away.pop(journal, {}), self.away.pop(_ANY, {}))
        for task in chain.from_iterable(each.values() for each in away):
            if not task.is_over:
                task.journal = journal
                self._dispatcher.give(self._lease(task, now, passes_on=True), instance, now)

    def trace(self, task: Task, now: float) -> None:
        """Have a task wait for the next streamer with a journal, which perhaps has it."""
        task.journal = _ANY
        self.away.setdefault(_ANY, {})[task.sequence] = task
        self.claim_at = now

    def all(self) -> list[Lease]:
        """Return all leases."""
        return [job for job in self._dispatcher.jobs.values() if isinstance(job, Lease)]

    def of_workers(self) -> list[Lease]:
        """Return the leases that streamers do not have."""
        return [each for each in self.all() if not self._policy_of(each).is_streamer]

    @property
    def passed_on(self) -> int:
        """How many tasks streamers have, connected or not."""
        away = sum(not task.is_over for tasks in self.away.values() for task in tasks.values())
        return away + len(self._dispatcher.jobs) - len(self.of_workers())

    def tasks_away(self) -> set[Task]:
        """Return the open tasks that streamers have, connected or not."""
        away = {task for tasks in self.away.values() for task in tasks.values()}
        leases = [each for each in self.all() if each.sequence == each.task.receipt]
        away |= {each.task for each in leases if self._policy_of(each).is_streamer}
        return {task for task in away if task.state is State.LEASED}

    @property
    def streamer_count(self) -> int:
        """How many streamers tasks may go to now; 0 while they go to workers."""
        return len(self._connections.ready) if self.passes_on else 0

    def accepts_durably(self) -> bool:
        """Return whether tasks go to a streamer that puts them on its disk."""
        ready = self._connections.ready
        return self.passes_on and any(self.policy_of(each).journal for each in ready)

    def of(self, task: Task) -> list[Lease]:
        """Return the leases of a task; more than one if a worker was out of reach.

        The receipts of those that have lapsed are not known.
        """
        if task.has_lapsed:
            return [lease for lease in self.all() if lease.task is task]
        lease = self._dispatcher.jobs.get(task.receipt)
        return [lease] if isinstance(lease, Lease) and lease.task is task else []

    def at(self, instance: Instance, sequence: int) -> Lease | None:
        """Return the lease that an instance has under this number, if it has it."""
        job = instance.jobs.get(sequence)
        return job if isinstance(job, Lease) else None

    def release(self, lease: Lease, now: float) -> None:
        """End an attempt that was not begun."""
        self._dispatcher.settle(lease, "failed")
        if self._awaits_streamer(lease):
            self.claim_at = min(self.claim_at, now + RETRY_S)
        elif not lease.lapsed:
            self._ledger.release(lease.task, now)

    def failed(
        self, lease: Lease, error: ZmqkitError, now: float, pause_s: float | None = None
    ) -> None:
        """End an attempt that failed; another one follows unless it was the last."""
        policy = self._policy_of(lease)
        self._dispatcher.settle(lease, "failed")
        if self._awaits_streamer(lease):
            self.claim_at = min(self.claim_at, now + RETRY_S)
        elif not lease.lapsed:
            self._end_attempt(lease.task, policy, error, now, pause_s)

    def lost(self, leases: list[Lease], now: float) -> None:
        """End the attempts of a worker that is gone; those that it had not begun cost nothing.

        It ran the oldest ones, as many as it has places. What a streamer had on its disk waits
        for the streamer; the rest of what it had is pushed again, at no cost.
        """
        for at, lease in enumerate(leases):
            policy = self._policy_of(lease)
            if policy.is_streamer:
                self._dispatcher.settle(lease, "failed")
                if not self._awaits_streamer(lease) and not lease.lapsed:
                    self._ledger.spare(lease.task, now)
            elif at < policy.places and lease.copies:
                text = "the worker is gone, and had begun the task"
                self.failed(lease, _loss(text, lease, policy, now), now)
            else:
                self.release(lease, now)

    def lapse(self, incarnation: int, now: float) -> None:
        """End the attempts of a worker that is out of reach; it may finish them all the same.

        Those that it had not begun when it was last heard, as far as can be told, cost nothing.
        """
        instance = self._connections.by_incarnation.get(incarnation)
        for at, lease in enumerate(leases_of(instance) if instance is not None else []):
            if lease.lapsed:
                continue
            policy, task = self._policy_of(lease), lease.task
            if task.journal:
                continue
            if not lease.copies:
                self.release(lease, now)
                continue
            lease.lapsed = task.has_lapsed = True
            if self._ledger.changes is not None:
                self.lapsed.add(incarnation)
            if at < policy.places and not policy.is_streamer:
                error = _loss("the worker is out of reach", lease, policy, now)
                self._end_attempt(task, policy, error, now, None)
            else:
                self._ledger.spare(task, now)

    def _awaits_streamer(self, lease: Lease) -> bool:
        """Have a task wait for the streamer that has it on its disk; False if none has it."""
        task = lease.task
        if task.journal and task.receipt == lease.sequence:
            task.receipt = 0
            self.away.setdefault(task.journal, {})[task.sequence] = task
        return task.journal != 0

    def _end_attempt(
        self, task: Task, policy: Policy, error: ZmqkitError, now: float, pause_s: float | None
    ) -> None:
        counted = task.attempt - task.spared
        if counted >= policy.attempts:
            self._ledger.settle(task, Event.EXHAUSTED, now, error=error)
            return
        if pause_s is None:
            pause_s = policy.pause_s(counted, self._jitter())
        self._ledger.retry(task, str(error), pause_s, now)

    def end(self, lease: Lease, event: Event, error: ZmqkitError, now: float) -> None:
        """Settle the task of an attempt that decides it."""
        self._dispatcher.settle(lease, "failed")
        if not lease.lapsed:
            self._ledger.settle(lease.task, event, now, error=error)

    def abandon(self, leases: list[Lease], now: float) -> list[Effect]:
        """Give up leases whose tasks are settled; their workers are told."""
        told: list[Effect] = [*self._instances.cancel([*leases])]
        for lease in leases:
            self._dispatcher.abandon(lease, now)
            self._dispatcher.drop(lease, "cancelled")
        return told

    def policy_of(self, instance: Instance | None) -> Policy:
        """Return what an instance declares."""
        known = self._policies.get(instance.incarnation) if instance is not None else None
        return known or _UNHEARD

    def _policy_of(self, lease: Lease) -> Policy:
        return lease.terms(self.policy_of(lease.instance))

    def _lease(self, task: Task, now: float, *, passes_on: bool) -> Lease:
        pusher = self._incarnation if passes_on else None
        lease = self._make(self._dispatcher.next, task, now, pusher)
        task.receipt = lease.sequence
        return lease


def leases_of(instance: Instance) -> list[Lease]:
    """Return the leases that an instance has."""
    return [job for job in instance.jobs.values() if isinstance(job, Lease)]


def _loss(text: str, lease: Lease, policy: Policy, now: float) -> PeerLost:
    """Return the error of an attempt whose worker is lost, perhaps since it took too long."""
    if now - lease.begun_at >= policy.task_timeout_s:
        text += f"; the task perhaps took longer than task_timeout_s={policy.task_timeout_s:g}"
    return PeerLost(text, may_have_run=True)
