"""The workers of a name: who has which task, and what follows from what they answer.

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

A streamer takes tasks as a worker does, with a large credit, and says in its WELCOME that it is
one. While one is there, tasks go to it and not to workers, and a new pusher that finds workers
first waits a moment for one (see `dispatch.turn`). It answers when a task has ended for good.
If it has a journal, it says before (ACCEPT) which tasks are on its disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import inf

from zmqkit.core.calls.outcome import (
    BAD_ARGUMENTS,
    BUSY,
    CANCELLED,
    DEAD,
    DISCARD,
    EXPIRED,
    FAILED,
    LEAVING,
    NO_METHOD,
    RAISED,
    RETRY,
    UNRUN,
    from_row,
)
from zmqkit.core.dispatch.connections import Event as Change
from zmqkit.core.dispatch.connections import State as Standing
from zmqkit.core.dispatch.instances import Instances, credit_of
from zmqkit.core.dispatch.job import Instance
from zmqkit.core.dispatch.turn import Turn
from zmqkit.core.effects import Effect, News, Tell
from zmqkit.core.meter import Meter
from zmqkit.core.tasks.lease import TASK, Lease, MakeLease, pause_of, policy_of
from zmqkit.core.tasks.leases import Leases, leases_of
from zmqkit.core.tasks.ledger import Ledger
from zmqkit.core.tasks.task import Encoded, Event, Task
from zmqkit.errors import CallCancelled, PeerLost, RemoteError, ZmqkitError
from zmqkit.limits import COUNTED_BYTES_MIN, INHERITED_COPIES, LINGER_S, PusherLimits
from zmqkit.model import Frames, PeerId
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Buffer, encode
from zmqkit.wire.packet import Packet
from zmqkit.wire.rows import ErrorRow, read_errors, read_replies, sequences_in

ReadReplies = Callable[[Packet], tuple[list[int], Sequence[object], list[int]]]
"""Reads a REPLY packet: the numbers and values, and the numbers that it cannot read."""

_NO_VALUES, _ONE_VALUE, _NO_KEYWORDS = b"\x90", b"\x91", b"\x80"
_ENDS = {DEAD: Event.EXHAUSTED, FAILED: Event.FAILED, CANCELLED: Event.CANCELLED}


class Workers:
    """Gives the tasks of a ledger to the workers that membership tells of."""

    def __init__(
        self,
        name: str,
        incarnation: int,
        ledger: Ledger,
        jitter: Callable[[], float],
        limits: PusherLimits,
        *,
        passes_on: bool = True,
        read: ReadReplies = read_replies,
        are_sinks: bool = False,
        make_lease: MakeLease = Lease,
    ) -> None:
        """Begin without workers; `PusherCore` tells of the arguments.

        passes_on: prefer streamers to workers. read: reads the values of replies. are_sinks:
        they take results, as workers take tasks.
        """
        self._are_sinks = are_sinks
        self.instances = Instances(name, incarnation, limits, self._go_on)
        self._connections = self.instances.connections
        self._dispatcher = self.instances.dispatcher
        self._dispatcher.meter = Meter() if not are_sinks else None
        self.leases = Leases(
            incarnation, ledger, self.instances, jitter, of_results=are_sinks, make=make_lease
        )
        self.turn = Turn(
            self._connections, self._turned, turns=passes_on, waits_s=limits.choice_s
        )
        # By lease: tasks whose handlers said something, for a streamer, which passes that on.
        self.reported: dict[int, Task] | None = None if passes_on or are_sinks else {}
        self._ledger = ledger
        self._read = read
        self._limits = limits
        # Whether an earlier process may have given out leases.
        self._continues = False
        # Since when workers are out of reach that have leases.
        self._lost_at: dict[int, float] = {}
        # Those of them that membership has given up, and its last word.
        self._gone: dict[int, Tell] = {}
        self.instances.receivers = {
            wire.REPLY: self._reply,
            wire.ERROR: self._error,
            wire.PONG: self._pong,
            wire.CREDIT: self._more,
            wire.ACCEPT: self._accepted,
            wire.PROGRESS: self._progress,
            wire.WELCOME: self._welcome,
            wire.BYE: self._bye,
        }

    @property
    def is_used(self) -> bool:
        """Whether any instance is known."""
        return bool(self._connections.by_incarnation)

    @property
    def ready_count(self) -> int:
        """How many instances may be given something now; none while it waits for a streamer."""
        return 0 if self.turn.waits else len(self._connections.ready)

    # Commands

    def begin(self, number: int) -> None:
        """Have the receipts of leases begin with this number, above all given out before."""
        self._dispatcher.begin(number)
        self._continues = True

    def inherit(self, incarnation: int, had: Iterable[tuple[int, Task]], now: float) -> None:
        """Have the leases that an earlier process gave to a worker, as if it was lost now.

        had: their receipts and tasks. If it is not found in time, it is given up.
        """
        instance = self.instances.expect(incarnation)
        for receipt, task in had:
            self.leases.inherit(instance, receipt, task, now)
        self._lost_at[incarnation] = now
        self._gone[incarnation] = Tell(News.GONE, "", incarnation, "")

    def hear(self, tell: Tell, now: float) -> list[Effect]:
        """Take membership's news of a worker and decide what follows."""
        if tell.news is News.LOST:
            self._lost_at.setdefault(tell.incarnation, now)
        elif tell.news is News.GONE and tell.incarnation in self._lost_at:
            # It may return and have finished; its tasks do not wait for that.
            self.leases.lapse(tell.incarnation, now)
            # To be found means to answer.
            self._connections.hush(tell.incarnation, silent=False)
            self._gone[tell.incarnation] = tell
            return self._go_on(now)
        elif tell.news in (News.FOUND, News.GONE):
            self._lost_at.pop(tell.incarnation, None)
            self._gone.pop(tell.incarnation, None)
        return self.instances.hear(tell, now) + self._go_on(now)

    def leave_off(self) -> list[Effect]:
        """Cancel all leases but those of streamers, and those that a journal is to keep.

        What must not run twice, and was sent, its worker ends for the next process.
        """
        kept = self._ledger.changes is not None
        over = [
            each for each in self.leases.of_workers()
            if not (kept and each.once and each.copies)
        ]  # fmt: skip
        told = self.instances.cancel([*over])
        for lease in over:
            self._dispatcher.drop(lease, "closed")
        return told

    def close(self, *, lingers: bool) -> list[Effect]:
        """Close every connection. lingers: something was said by them just now."""
        linger_s = LINGER_S if lingers or self.leases.passed_on else 0.0
        for lease in self.leases.all():
            self._dispatcher.drop(lease, "closed")
        return self.instances.close(linger_s)

    # What the owner asks for

    def receive(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Take one packet from a worker. Never raises for what it sent."""
        return self.instances.receive(peer, frames, now)

    def unsent(self, peer: PeerId, frames: Frames, now: float) -> None:
        """Learn that a packet did not leave; its leases are sent again soon."""
        instance, packet = self._connections.by_peer.get(peer), wire.unpack(frames)
        if instance is not None and packet.kind == wire.REQUEST:
            self._dispatcher.take_back(instance, sequences_in(packet), now)

    def tick(self, now: float) -> list[Effect]:
        """Look after leases that lapse, and after the workers."""
        effects: list[Effect] = []
        for incarnation, lost_at in list(self._lost_at.items()):
            if now >= lost_at + self._limits.lease_s:
                del self._lost_at[incarnation]
                self.leases.lapse(incarnation, now)
                tell = self._gone.pop(incarnation, None)
                effects += self.instances.hear(tell, now) if tell is not None else []
        self.turn.tick(now)
        if now >= self.leases.claim_at:
            self.leases.claim_at = inf
            for instance in self._connections.by_incarnation.values():
                if instance.answers:
                    self.leases.claim(instance, now)
        return effects + self.instances.tick(now) + self._go_on(now)

    def flush(self, now: float) -> list[Effect]:
        """Lease what is ready to workers with credit, and return the packets."""
        waits = self._ledger.results if self._are_sinks else self._ledger.line.count
        if waits and self.ready_count:
            self.leases.fill(now)
        return self.instances.flush(now)

    def deadline(self) -> float:
        """Return when `tick`, and `flush` after it, are due next."""
        lapse_at = min(self._lost_at.values(), default=inf) + self._limits.lease_s
        return min(
            self._dispatcher.care_at, self._connections.due_at, self.turn.due_at, lapse_at,
            self.leases.claim_at,
        )  # fmt: skip

    def check(self) -> None:
        """Assert that the leases are consistent."""
        self.instances.check()
        assert not self._dispatcher.line.count, "tasks wait in the ledger"
        known = [each for each in self.leases.all() if not each.task.has_lapsed]
        assert all(self.leases.of(each.task) == [each] for each in known)

    # Packets in

    def _welcome(self, instance: Instance, packet: Packet, now: float) -> list[Effect]:
        fields = wire.fields_of(packet)
        self.leases.declare(instance, policy_of(fields.get(TASK)))
        instance.credit = self._credit(instance, fields.get("credit"))
        names = fields.get("idempotent")
        if type(names) is list:
            instance.idempotent = frozenset(n for n in names if type(n) is str)
        opening = instance.state is Standing.OPENING
        instance.is_device = self.leases.policy_of(instance).is_streamer
        self.turn.choose(instance)
        self._connections.shift(instance, Change.WELCOME)
        self._lost_at.pop(instance.incarnation, None)
        self._gone.pop(instance.incarnation, None)
        if not opening:
            return self._go_on(now)
        over = [lease for lease in leases_of(instance) if lease.task.is_over]
        told = self.leases.abandon(over, now)
        self._dispatcher.resume(instance, now)
        if self._continues:  # it tells what it has, and learns what is over
            self._dispatcher.ping_at_once(instance, now)
        self.leases.claim(instance, now)
        return [self.instances.note("up", instance), *told, *self._go_on(now)]

    def _bye(self, instance: Instance, packet: Packet, now: float) -> list[Effect]:
        self._connections.shift(instance, Change.BYE)
        below, taken = 0, frozenset[int]()
        if packet.meta is not None:
            below, taken = wire.last_word(packet.meta, self._limits.jobs_max)
        begun: list[Lease] = []
        for lease in leases_of(instance):
            if lease.copies and packet.meta is None:
                continue  # it finishes what it has
            if lease.copies and (lease.sequence < below or lease.sequence in taken):
                begun.append(lease)
            else:
                self.leases.release(lease, now)
        self.leases.lost(begun, now)
        return self._go_on(now)

    def _more(self, instance: Instance, packet: Packet, now: float) -> list[Effect]:
        instance.credit = self._credit(instance, packet.meta)
        return self._go_on(now)

    def _accepted(self, instance: Instance, packet: Packet, now: float) -> list[Effect]:
        """Note which tasks a streamer has on its disk."""
        journal = self.leases.policy_of(instance).journal
        for sequence in wire.sequences_of(packet.meta, self._limits.jobs_max):
            lease = self.leases.at(instance, sequence)
            if lease is not None and journal and not lease.task.journal and not lease.lapsed:
                self._ledger.hand_over(lease.task, journal)
        return []

    def _pong(self, instance: Instance, packet: Packet, now: float) -> list[Effect]:
        pong = wire.read_pong(packet, instance.ping_token, self._limits.jobs_max)
        instance.credit = self._credit(instance, pong.credit)
        instance.pong_token = pong.token
        lost, surplus = self._dispatcher.held(instance, pong.token, pong.held, pong.running)
        for job in lost:
            if isinstance(job, Lease) and job.is_inherited:
                if job.copies > INHERITED_COPIES:
                    self._forgotten(job, now)
                    continue
                self._dispatcher.ping_at_once(instance, now)
            instance.outbox.append(job)
        recall = [self.instances.say(instance, wire.RECALL, surplus)] if surplus else []
        return [*recall, *self._go_on(now)]

    def _forgotten(self, lease: Lease, now: float) -> None:
        """End an attempt whose answer the earlier process has read, and not written."""
        if lease.once:
            text = "the worker had the task, and has it no more"
            self.leases.failed(lease, PeerLost(text, may_have_run=True), now)
        else:
            self.leases.release(lease, now)

    def _progress(self, instance: Instance, packet: Packet, now: float) -> list[Effect]:
        """Note what a handler says of its task, unless the attempt is not the present one."""
        sequence, value = wire.progress_of(packet)
        lease = self.leases.at(instance, sequence)
        if lease is not None and lease.task.receipt == sequence:
            lease.task.progress = value
            if self.reported is not None:
                self.reported[sequence] = lease.task
        return []

    def _reply(self, instance: Instance, packet: Packet, now: float) -> list[Effect]:
        sequences, values, unreadable = self._read(packet)
        ledger, size = self._ledger, packet.size // (len(sequences) or 1)
        done = ledger.done
        # A worker's result may have to go to a sink; nothing follows what others say.
        is_last = self._are_sinks or self.leases.policy_of(instance).is_streamer
        leases = self._dispatcher.take(instance, sequences, now)
        effects: list[Effect] = []
        for lease, value in zip(leases, values, strict=True):
            if isinstance(lease, Lease):
                self.leases.keep(lease)
                if lease.task.to_sink and not is_last:
                    ledger.returned(lease.task, *_result_body(value), now)
                elif lease.task.is_result is self._are_sinks:
                    done(lease.task, None if self._are_sinks else value, size, now)
                if lease.task.has_lapsed:
                    effects += self.leases.abandon(self.leases.of(lease.task), now)
        for sequence in unreadable:
            self.instances.malformed["reply"] += 1
            lease = self.leases.at(instance, sequence)
            if lease is not None:
                error = PeerLost("the result cannot be read", may_have_run=True)
                self.leases.end(lease, Event.FAILED, error, now)
        if packet.size < COUNTED_BYTES_MIN:
            return effects
        highest = max(*sequences, *unreadable, 0)
        return effects + self.instances.have_read(instance, highest, packet.size, now)

    def _error(self, instance: Instance, packet: Packet, now: float) -> list[Effect]:
        for row in read_errors(packet):
            lease = self.leases.at(instance, row[0])
            if lease is None:
                self._dispatcher.counts["duplicates"] += 1
                continue
            self._ended(lease, instance, row, now)
        return self._go_on(now)

    def _ended(self, lease: Lease, instance: Instance, row: ErrorRow, now: float) -> None:
        """Decide what follows from an attempt that did not return."""
        _, code, type_, message, *_ = row
        if code not in UNRUN:
            self.leases.keep(lease)
        if code in UNRUN:
            self.leases.release(lease, now)
            if code == BUSY:  # its own word, CREDIT or a pong, tells when it has room again
                instance.credit = len(instance.jobs)
            elif code == LEAVING:
                self._connections.shift(instance, Change.BYE)
        elif self.leases.policy_of(instance).is_streamer and code in (DEAD, FAILED, CANCELLED):
            lease.task.died_away = code == DEAD
            self.leases.end(lease, _ENDS[code], error_of(row), now)
        elif code == EXPIRED:
            self._dispatcher.settle(lease, "expired")
            if not lease.lapsed:
                self._ledger.expire(lease.task, now)
        elif code == RETRY:
            error = RemoteError("zmqkit.Retry", message, "")
            self.leases.failed(lease, error, now, pause_of(type_))
        elif code in (DISCARD, BAD_ARGUMENTS, NO_METHOD) or (
            code == RAISED and lease.ends_at_errors
        ):
            self.leases.end(lease, Event.FAILED, from_row(lease, row), now)
        else:
            self.leases.failed(lease, from_row(lease, row), now)

    def _credit(self, instance: Instance, value: object) -> int:
        """Return how many tasks an instance takes; a streamer has room for far more."""
        is_streamer = self.leases.policy_of(instance).is_streamer
        limits = self._limits
        return credit_of(value, limits.tasks_max if is_streamer else limits.credit_max)

    def _turned(self, now: float) -> None:
        """Give tasks to streamers, or to workers, from now on."""
        self.leases.passes_on = self.turn.uses_devices
        self._ledger.hold(now, holds=not self.turn.uses_devices)

    def _go_on(self, now: float) -> list[Effect]:
        """End attempts whose workers will not return; take back what no worker has."""
        orphans, self.instances.orphans = self.instances.orphans, []
        self.leases.lost([job for job in orphans if isinstance(job, Lease)], now)
        for job in list(self._dispatcher.line):
            if isinstance(job, Lease):
                self.leases.release(job, now)
        self.turn.look(now)
        return []


def _result_body(value: object) -> tuple[bytes, Buffer | None]:
    """Return the arguments of a sink for a value that a worker returned."""
    if type(value) is memoryview:
        return _NO_VALUES + _NO_KEYWORDS, value
    row = value.data if type(value) is Encoded else encode(value)
    return _ONE_VALUE + row + _NO_KEYWORDS, None


def error_of(row: ErrorRow) -> ZmqkitError:
    """Return the error of a task that a streamer says has ended."""
    _, code, type_, message, traceback, may_have_run = row
    if code == CANCELLED:
        return CallCancelled(message, may_have_run=may_have_run)
    if type_:
        return RemoteError(type_, message, traceback)
    return PeerLost(message, may_have_run=may_have_run)
