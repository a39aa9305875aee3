"""The pusher's side of the pipeline: leases tasks to workers until each task is settled.

The ledger has the tasks. Whenever a worker has credit, the next task is leased to it. A lease
is one attempt. It is a job with a number of its own, the receipt, so a worker that is given the
same task once more sees a new id. The Dispatcher keeps the leases: which worker has which, and
whether a worker that answers a ping has received it.

An attempt ends in one of these ways:

    the handler returned           the task is done
    the handler raised             another attempt after a pause, or the task is dead
    it raised Discard              the task has failed
    the worker did not begin it    the task waits again, at no cost: the worker is full, leaves,
                                   or gave it back because another worker is idle
    its time ran out               the task has expired
    the worker is gone             as if the handler had raised
    the worker is out of reach     the same, once membership gives it up; if it returns within
                                   `lease_s` and finishes first, that result counts

What the handler declares, such as how many attempts there are, comes with the worker's WELCOME.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from math import inf

from zmqkit.core.calls.outcome import (
    BAD_ARGUMENTS,
    BUSY,
    DISCARD,
    EXPIRED,
    LEAVING,
    NO_METHOD,
    RETRY,
    UNRUN,
    Outcome,
    from_row,
)
from zmqkit.core.dispatch.connections import Event as Change
from zmqkit.core.dispatch.connections import State as Standing
from zmqkit.core.dispatch.instances import Instances
from zmqkit.core.dispatch.job import Instance
from zmqkit.core.effects import Effect, News, Note, Settle, Tell
from zmqkit.core.pace import Pace
from zmqkit.core.tasks.appends import Appends
from zmqkit.core.tasks.lease import TASK, Lease, pause_of, policy_of
from zmqkit.core.tasks.leases import Leases, leases_of
from zmqkit.core.tasks.ledger import Ledger
from zmqkit.core.tasks.task import Event, State, Task
from zmqkit.errors import CallCancelled, JournalError, PeerLost, RemoteError
from zmqkit.limits import (
    BATCH_BYTES,
    COUNTED_BYTES_MIN,
    LINGER_S,
    PusherLimits,
)
from zmqkit.model import Frames, PeerId
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Malformed
from zmqkit.wire.packet import Packet
from zmqkit.wire.rows import ErrorRow, read_errors, read_replies, sequences_in

_DEFAULTS = PusherLimits()
_OPENING_BITS = 40


class PusherCore:
    """Gives the tasks of one name to the workers that membership tells of."""

    def __init__(
        self,
        name: str,
        incarnation: int,
        jitter: Callable[[], float],
        limits: PusherLimits = _DEFAULTS,
    ) -> None:
        """Begin without tasks and workers.

        jitter: returns a factor about 1 for each pause, so that not all tasks whose worker was
        lost come back at the same moment.
        """
        self.name = name
        self.incarnation = incarnation
        self.limits = limits
        self.ledger = Ledger(limits)
        self.malformed: Counter[str] = Counter()
        self.pace = Pace(limits.follow_s, limits.hold_s)
        # Why no worker was found, in membership's words.
        self.hint = ""
        self._instances = Instances(name, incarnation, limits)
        self._connections = self._instances.connections
        self._dispatcher = self._instances.dispatcher
        self._appends = Appends(self.ledger)
        # Waits that were over as they began.
        self._outcomes: list[Outcome] = []
        self._leases = Leases(self.ledger, self._instances, jitter)
        # Since when workers are out of reach that have leases.
        self._lost_at: dict[int, float] = {}
        # Those of them that membership has given up, and its last word.
        self._gone: dict[int, Tell] = {}
        self._pushed = 0
        self._closed = False
        self._receivers: dict[int, Callable[[Instance, Packet, float], list[Effect]]] = {
            wire.REPLY: self._reply,
            wire.ERROR: self._error,
            wire.PONG: self._pong,
            wire.CREDIT: self._more,
            wire.WELCOME: self._welcome,
            wire.BYE: self._bye,
        }

    # Commands

    def submit(self, task: Task, now: float) -> None:
        """Accept a task; `flush` leases it.

        If another task has its id or its unique key, that one becomes its `twin`, and it is not
        accepted. Raises QueueFull when there is no room.
        """
        task.twin = self.ledger.known(task)
        if task.twin is None:
            self.ledger.add(task, now)
            task.append = self._appends.next

    def push(self, task: Task, now: float) -> list[Effect]:
        """Accept a task as `submit` does; it gathers with others if it follows them closely.

        Then `pace` says when `flush` is due.
        """
        self.submit(task, now)
        self._pushed += 1
        if self.pace.gathers(now) and task.size >= BATCH_BYTES:
            self.pace.fill()
        return []

    def recover(
        self, tasks: Iterable[tuple[Task, bool]], last: int, opening: int, now: float
    ) -> None:
        """Begin with the tasks of a journal, which follows the ledger from now on.

        tasks: each with whether it is dead. last: the highest number that was ever accepted.
        opening: how often the journal was opened. Leases have other numbers each time.
        """
        for task, dead in tasks:
            self.ledger.restore(task, now, dead=dead)
        self.ledger.last = max(self.ledger.last, last)
        self.ledger.changes = {}
        self._dispatcher.begin(opening << _OPENING_BITS)

    def submit_safely(self, task: Task, waiter: object, now: float) -> None:
        """Accept a task as `submit` does; the wait ends once the journal has it on disk.

        The outcome is the task, or JournalError if it cannot be written. Then it was dropped.
        Raises JournalError once the disk has failed, for nothing is written any more.
        """
        if self._appends.fault is not None:
            raise self._appends.fault
        self.submit(task, now)
        there = task.twin or task
        if not self._appends.wait(there, waiter):
            self._outcomes.append((waiter, there, None))

    def await_append_no_more(self, waiter: object, now: float) -> list[Effect]:
        """Forget who waits for an append; the task stays accepted."""
        self._appends.forget(waiter)
        return []

    def appended(self, number: int, now: float) -> list[Effect]:
        """Learn that an append is on disk."""
        waits = self._appends.written(number)
        return [Settle(waits)] if waits else []

    def unwritten(self, number: int, error: JournalError, now: float) -> list[Effect]:
        """Learn that an append failed, and changed nothing on disk.

        The new tasks in it are dropped, and those who pushed them are told. The other changes
        are appended later.
        """
        waits: list[Outcome] = []
        told: list[Effect] = []
        for waiter, task in self._appends.failed(number, error, now):
            if task.append == number and not task.is_over:
                leases = self._leases.of(task)
                begun = error.with_doubt(may_have_run=task.attempt > 0)
                self.ledger.settle(task, Event.PURGED, now, error=begun)
                told += self._leases.abandon(leases, now)
            # A worker may have been quicker than the disk; what has ended needs no journal.
            dropped = task.error if task.state is State.DROPPED else None
            waits.append((waiter, task, dropped))
        note = Note("journal-failed", {"name": self.name, "error": str(error)})
        return [note, *([Settle(waits)] if waits else []), *told, *self._told()]

    def await_end(self, task: Task, waiter: object, now: float) -> None:
        """End the wait once the task has ended, with its value or its error.

        The task must not have ended. `await_no_more` forgets the waiter.
        """
        task.waiters = [*(task.waiters or ()), waiter]

    def await_no_more(self, task: Task, waiter: object, now: float) -> list[Effect]:
        """Forget a waiter, which has given up."""
        task.waiters = [each for each in task.waiters or () if each is not waiter]
        return []

    def cancel(self, task: Task, now: float) -> list[Effect]:
        """Give a task up; a handler that works on it is told."""
        error = CallCancelled("the task was cancelled", may_have_run=task.attempt > 0)
        leases = self._leases.of(task)
        if not self.ledger.settle(task, Event.CANCELLED, now, error=error):
            return []
        return self._leases.abandon(leases, now) + self._told()

    def purge(self, task: Task, now: float) -> list[Effect]:
        """Throw away a task that waits or is dead, or give up one that is at work."""
        error = CallCancelled("the task was purged", may_have_run=task.attempt > 0)
        leases = self._leases.of(task)
        if not self.ledger.settle(task, Event.PURGED, now, error=error):
            return []
        return self._leases.abandon(leases, now) + self._told()

    def requeue(self, task: Task, now: float) -> list[Effect]:
        """Have a dead task wait again, with all of its attempts. Raises QueueFull."""
        self.ledger.requeue(task, now)
        return []

    def hear(self, tell: Tell, now: float) -> list[Effect]:
        """Take membership's news of a worker and decide what follows."""
        if self._closed:
            return []
        if tell.news is News.HINT:
            self.hint = tell.text
            return []
        if tell.news is News.LOST:
            self._lost_at.setdefault(tell.incarnation, now)
        elif tell.news is News.GONE and tell.incarnation in self._lost_at:
            # It may return and have finished; its tasks do not wait for that.
            self._leases.lapse(tell.incarnation, now)
            self._connections.hush(
                tell.incarnation, silent=False
            )  # to be found means to answer
            self._gone[tell.incarnation] = tell
            return self._go_on(now)
        elif tell.news in (News.FOUND, News.GONE):
            self._lost_at.pop(tell.incarnation, None)
            self._gone.pop(tell.incarnation, None)
        return self._instances.hear(tell, now) + self._go_on(now)

    def close(self) -> list[Effect]:
        """Cancel all tasks that have not ended, and close every connection."""
        self._closed = True
        told = self._instances.cancel([*self._leases.all()])
        error = CallCancelled("the pusher was closed", may_have_run=True)
        waits: list[Outcome] = [(each, None, error) for each in self._appends.waiting()]
        left = [each for each in self.ledger.tasks.values() if not each.is_over]
        last: list[Effect] = []
        if self.ledger.changes is None:
            for task in left:
                gone = CallCancelled("the pusher was closed", may_have_run=task.attempt > 0)
                self.ledger.settle(task, Event.CANCELLED, task.due_at, error=gone)
        else:  # they stay in the journal
            waits += [(waiter, None, error) for task in left for waiter in task.waiters or ()]
            last += self._appends.take_last()
        settled: list[Effect] = [Settle(waits)] if waits else []
        disconnects = self._instances.close(LINGER_S if told else 0.0)
        return [*self._told(), *settled, *last, *told, *disconnects]

    def stats(self) -> dict[str, object]:
        """Return the counters; accepted is the sum of the states."""
        return {**self.ledger.stats(), "malformed": dict(self.malformed)}

    @property
    def in_flight(self) -> int:
        """How many tasks are still to be done."""
        return self.ledger.open_count

    @property
    def ready_count(self) -> int:
        """How many workers may get tasks now."""
        return len(self._connections.ready)

    @property
    def instances(self) -> list[Instance]:
        """The workers that are connected, or were connected and may return."""
        return list(self._connections.by_incarnation.values())

    # What the driver asks for

    def receive(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Take one packet from a worker. Never raises for what it sent."""
        instance = self._connections.by_peer.get(peer)
        if instance is None:
            return []
        try:
            packet = wire.unpack(frames)
            receiver = self._receivers.get(packet.kind)
            if receiver is None or packet.target not in (0, self.incarnation):
                raise Malformed("unexpected")
            if packet.source != instance.incarnation:
                if packet.kind != wire.WELCOME:
                    raise Malformed("source")
                return self._instances.replaced(instance, now) + self._go_on(now)
            effects = receiver(instance, packet, now)
            if instance.state is Standing.LEFT:
                effects += self._instances.part(instance, now) + self._go_on(now)
            return effects + self.flush(now)  # a thread that waits flushes nothing by itself
        except Malformed as error:
            self.malformed[str(error)] += 1
            return []

    def unsent(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Learn that a packet did not leave; its leases are sent again soon."""
        instance, packet = self._connections.by_peer.get(peer), wire.unpack(frames)
        if instance is not None and packet.kind == wire.REQUEST:
            self._dispatcher.take_back(instance, sequences_in(packet), now)
        return []

    def tick(self, now: float) -> list[Effect]:
        """Look after tasks that are delayed or expire, leases that lapse, and the workers."""
        self.ledger.tick(now)
        effects: list[Effect] = []
        for incarnation, lost_at in list(self._lost_at.items()):
            if now >= lost_at + self.limits.lease_s:
                del self._lost_at[incarnation]
                self._leases.lapse(incarnation, now)
                tell = self._gone.pop(incarnation, None)
                effects += self._instances.hear(tell, now) if tell is not None else []
        return effects + self._instances.tick(now) + self._go_on(now)

    def flush(self, now: float) -> list[Effect]:
        """Lease what is ready to workers with credit, and return the packets."""
        if self.pace.due_at < inf:
            self.pace.left(self._pushed, now)
        self._pushed = 0
        if self.ledger.ready and self._connections.ready and not self._closed:
            self._leases.fill(now)
        sends = self._instances.flush(now)
        return [*self._told(), *sends, *self._appends.take(now)]

    def deadline(self) -> float:
        """Return when `tick`, and `flush` after it, are due next."""
        lapse_at = min(self._lost_at.values(), default=inf) + self.limits.lease_s
        return min(
            self._appends.due_at(),
            self.ledger.deadline(),
            self._dispatcher.care_at,
            self._connections.due_at,
            self.pace.due_at,
            lapse_at,
        )

    def check(self) -> None:
        """Assert that the tasks and the leases are consistent."""
        self.ledger.check()
        self._instances.check()
        assert not self._dispatcher.line.count, "tasks wait in the ledger"
        current = {lease.sequence for lease in self._leases.all() if not lease.lapsed}
        if not self._closed:
            leased = [t for t in self.ledger.tasks.values() if t.state is State.LEASED]
            assert current == {task.receipt for task in leased}, "each leased task has a lease"

    # Packets in

    def _welcome(self, instance: Instance, packet: Packet, now: float) -> list[Effect]:
        fields = wire.fields_of(packet)
        instance.credit = self._credit(fields.get("credit"))
        self._leases.declare(instance, policy_of(fields.get(TASK)))
        opening = instance.state is Standing.OPENING
        self._connections.shift(instance, Change.WELCOME)
        self._lost_at.pop(instance.incarnation, None)
        self._gone.pop(instance.incarnation, None)
        if not opening:
            return self._go_on(now)
        over = [lease for lease in leases_of(instance) if lease.task.is_over]
        told = self._leases.abandon(over, now)
        self._dispatcher.resume(instance, now)
        return [self._instances.note("up", instance), *told, *self._go_on(now)]

    def _bye(self, instance: Instance, packet: Packet, now: float) -> list[Effect]:
        self._connections.shift(instance, Change.BYE)
        below, taken = 0, frozenset[int]()
        if packet.meta is not None:
            below, taken = wire.last_word(packet.meta, self.limits.jobs_max)
        begun: list[Lease] = []
        for lease in leases_of(instance):
            if lease.copies and packet.meta is None:
                continue  # it finishes what it has
            if lease.copies and (lease.sequence < below or lease.sequence in taken):
                begun.append(lease)
            else:
                self._leases.release(lease, now)
        self._leases.lost(begun, now)
        return self._go_on(now)

    def _more(self, instance: Instance, packet: Packet, now: float) -> list[Effect]:
        instance.credit = self._credit(packet.meta)
        return self._go_on(now)

    def _pong(self, instance: Instance, packet: Packet, now: float) -> list[Effect]:
        pong = wire.read_pong(packet, instance.ping_token, self.limits.jobs_max)
        instance.credit = self._credit(pong.credit)
        instance.pong_token = pong.token
        lost, surplus = self._dispatcher.held(instance, pong.token, pong.held, pong.running)
        instance.outbox.extend(lost)
        recall = [self._instances.say(instance, wire.RECALL, surplus)] if surplus else []
        return [*recall, *self._go_on(now)]

    def _reply(self, instance: Instance, packet: Packet, now: float) -> list[Effect]:
        sequences, values, unreadable = read_replies(packet)
        done, size = self.ledger.done, packet.size // (len(sequences) or 1)
        leases = self._dispatcher.take(instance, sequences, now)
        effects: list[Effect] = []
        for lease, value in zip(leases, values, strict=True):
            if isinstance(lease, Lease):
                done(lease.task, value, size, now)
                if lease.task.has_lapsed:
                    effects += self._leases.abandon(self._leases.of(lease.task), now)
        for sequence in unreadable:
            self.malformed["reply"] += 1
            lease = self._leases.at(instance, sequence)
            if lease is not None:
                error = PeerLost("the result cannot be read", may_have_run=True)
                self._leases.end(lease, Event.FAILED, error, now)
        effects += self._told()
        if packet.size < COUNTED_BYTES_MIN:
            return effects
        highest = max(*sequences, *unreadable, 0)
        return effects + self._instances.have_read(instance, highest, packet.size, now)

    def _error(self, instance: Instance, packet: Packet, now: float) -> list[Effect]:
        for row in read_errors(packet):
            lease = self._leases.at(instance, row[0])
            if lease is None:
                self._dispatcher.counts["duplicates"] += 1
                continue
            self._ended(lease, instance, row, now)
        return self._go_on(now)

    def _ended(self, lease: Lease, instance: Instance, row: ErrorRow, now: float) -> None:
        """Decide what follows from an attempt that did not return."""
        _, code, type_, message, *_ = row
        if code in UNRUN:
            self._leases.release(lease, now)
            if code == BUSY:  # its own word, CREDIT or a pong, tells when it has room again
                instance.credit = len(instance.jobs)
            elif code == LEAVING:
                self._connections.shift(instance, Change.BYE)
        elif code == EXPIRED:
            self._dispatcher.settle(lease, "expired")
            if not lease.lapsed:
                self.ledger.expire(lease.task, now)
        elif code == RETRY:
            error = RemoteError("zmqkit.Retry", message, "")
            self._leases.failed(lease, error, now, pause_of(type_))
        elif code in (DISCARD, BAD_ARGUMENTS, NO_METHOD):
            self._leases.end(lease, Event.FAILED, from_row(lease, row), now)
        else:
            self._leases.failed(lease, from_row(lease, row), now)

    def _credit(self, value: object) -> int:
        if type(value) is not int or value < 1:
            raise Malformed("credit")
        return min(value, self.limits.credit_max)

    def _go_on(self, now: float) -> list[Effect]:
        """End attempts whose workers will not return; take back what no worker has."""
        orphans, self._instances.orphans = self._instances.orphans, []
        self._leases.lost([job for job in orphans if isinstance(job, Lease)], now)
        for job in list(self._dispatcher.line):
            if isinstance(job, Lease):
                self._leases.release(job, now)
        return self._told()

    def _told(self) -> list[Effect]:
        """End the waits for tasks that have ended."""
        ended, self.ledger.awaited = self.ledger.awaited, []
        waits, self._outcomes = self._outcomes, []
        for task in ended:
            waits += [(waiter, task.value, task.error) for waiter in task.waiters or ()]
            task.waiters = None
        return [Settle(waits)] if waits else []
