"""The client's side of request-reply: gives calls to instances and settles each call once.

A call is a job with a waiter. `Dispatcher` keeps the call in line or at an instance, and
`Connections` keeps the instances. A call ends once: delivered, failed, expired or dropped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from math import inf
from typing import cast

from zmqkit.core.calls.call import Call, CallOptions
from zmqkit.core.calls.client_figures import client_rows
from zmqkit.core.calls.client_streams import Arrivals, ClientStreams, StreamCall
from zmqkit.core.calls.ends import Ends
from zmqkit.core.calls.lobby import Lobby
from zmqkit.core.calls.outcome import (
    EXPIRED,
    LEAVING,
    Outcome,
    concerns,
    from_row,
    lost,
    nobody,
    settled,
    unreadable_reply,
)
from zmqkit.core.calls.refusals import moves
from zmqkit.core.dispatch.connections import Event, State
from zmqkit.core.dispatch.instances import Instances, credit_of, journal_of
from zmqkit.core.dispatch.job import Instance, Job
from zmqkit.core.dispatch.turn import Turn
from zmqkit.core.effects import Effect, News, Settle, Tell
from zmqkit.core.meter import Meter
from zmqkit.core.pace import Pace
from zmqkit.limits import BATCH_BYTES, CHOICE_S, COUNTED_BYTES_MIN, LINGER_S, ClientLimits
from zmqkit.model import Frames, PeerId
from zmqkit.types import ClientStats
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Buffer
from zmqkit.wire.packet import Packet
from zmqkit.wire.rows import (
    READ_ANSWERS,
    ReadAnswers,
    read_ends,
    read_errors,
    read_progress,
    sequences_in,
)
from zmqkit.wire.statistics import Figures

_DEFAULTS = ClientLimits()


class ClientCore:
    """Makes calls to one name, over the instances that membership tells of.

    Only `abandon` may be called by any thread at any time, without a lock.
    """

    def __init__(
        self,
        name: str,
        incarnation: int,
        limits: ClientLimits = _DEFAULTS,
        *,
        read: ReadAnswers = READ_ANSWERS,
    ) -> None:
        """Begin without instances. read: reads what instances answer."""
        self._read = read
        self.name = name
        self.incarnation = incarnation
        self.limits = limits
        self._abandoned: deque[Call] = deque()
        self.pace = Pace(limits.follow_s, limits.hold_s)
        self._flushed = 0
        self._instances = Instances(
            name, incarnation, limits, self._go_on, limits.stream_window
        )
        self.malformed, self.at_home = self._instances.malformed, self._instances.at_home
        self._connections = self._instances.connections
        self._dispatcher = self._instances.dispatcher
        self._dispatcher.meter = Meter()
        self._turn = Turn(self._connections, returns_at_once=True)
        self._streams = ClientStreams(self._dispatcher, self.malformed)
        self._lobby = Lobby(name, self._instances, lambda: self.limits.waiting_calls_max)
        self._ends = Ends(name, self._dispatcher)
        self._closed = False
        self._instances.receivers = {
            wire.REPLY: self._reply,
            wire.ERROR: self._error,
            wire.PONG: self._pong,
            wire.WELCOME: self._welcome,
            wire.BYE: self._bye,
            wire.ITEM: self._item,
            wire.END: self._stream_end,
        }

    # Commands

    def call(
        self,
        method: str,
        body: bytes,
        raw: Buffer | None,
        options: CallOptions,
        waiter: object,
        now: float,
    ) -> Call:
        """Accept a call that somebody waits for, at once or as soon as there is room for it.

        Its time runs from now on; `withdraw` gives it up. `flush` sends the calls of a turn.
        """
        dispatcher, only = self._dispatcher, options.only
        if only or dispatcher.line.count >= self.limits.waiting_calls_max:
            return self._lobby.join(Call(0, method, body, raw, options, waiter, now), now)
        call = Call(dispatcher.next, method, body, raw, options, waiter, now)
        dispatcher.add(call, now)
        return call

    def call_each(self, make: Callable[[], Call], now: float) -> list[Call]:
        """Accept a call for each instance in use, and for that alone.

        make: returns a new call, of number 0. Raises NoService if there is no instance.
        """
        used = self._instances.used()
        if not used:
            raise nobody(self.name, self._ends.hint)
        return [self._lobby.join_at(make(), instance, now) for instance in used]

    def submit(
        self,
        method: str,
        body: bytes,
        raw: Buffer | None,
        options: CallOptions,
        waiter: object,
        now: float,
        *,
        oneway: bool = False,
    ) -> int:
        """Accept a call and return its sequence number; `flush` sends the calls of a turn.

        Raises QueueFull when too many calls wait for an instance or for its credit.
        """
        call = Call(self._dispatcher.next, method, body, raw, options, waiter, now)
        if oneway:
            call.kind = wire.NOTIFY
        self._lobby.accept(call, now)
        return call.sequence

    def notify(
        self, method: str, body: bytes, raw: Buffer | None, options: CallOptions, now: float
    ) -> list[Effect]:
        """Accept a one-way message; it gathers with others if it follows them closely.

        Then `pace` says when `flush` is due. Raises QueueFull as `submit` does.
        """
        self.submit(method, body, raw, options, None, now, oneway=True)
        if self.pace.gathers(now) and len(body) + len(raw or b"") >= BATCH_BYTES:
            self.pace.fill()
        return []

    def stream(
        self,
        method: str,
        body: bytes,
        raw: Buffer | None,
        options: CallOptions,
        now: float,
    ) -> StreamCall:
        """Accept a call for a stream; its values gather in the call that this returns.

        The deadline is that of the first value. Raises QueueFull as `submit` does.
        """
        number = 0 if options.only else self._dispatcher.next
        call = StreamCall(number, method, body, raw, options, None, now)
        call.window = self.limits.stream_window
        self._lobby.accept(call, now)
        return call

    def take(self, call: StreamCall) -> object:
        """Return the next value of a stream, which must have one; `flush` grants its credit."""
        value = call.take()
        self._streams.taken(call)
        return value

    @property
    def owes_credit(self) -> bool:
        """Whether streams are due credit, which `flush` grants to their services."""
        return self._streams.owes_credit

    def listen(self, call: StreamCall, listener: object, now: float) -> None:
        """End the listener's wait once a value comes, the stream is over, or time runs out.

        The stream must have no value now, and must not be over.
        """
        call.listener = listener
        if call.begun:
            call.deadline_at = now + call.options.timeout_s
            self._dispatcher.look(call.deadline_at)

    def cancel(self, sequence: int, now: float) -> list[Effect]:
        """Give a call up: its wait ends with CallCancelled, and the service is told."""
        call = self._dispatcher.jobs.get(sequence)
        return self.withdraw([call], now) if isinstance(call, Call) else []

    def withdraw(self, calls: Iterable[Call], now: float) -> list[Effect]:
        """Give up those of these calls that have not ended, as `cancel` does."""
        here = [each for each in calls if self._dispatcher.jobs.get(each.sequence) is each]
        over = [end for each in calls if (end := self._lobby.cancel(each)) is not None]
        told = self._instances.cancel(here)
        for call in here:
            self._dispatcher.abandon(call, now)
            over.append(self._ends.drop(call, "cancelled", f"{call.method!r} was cancelled"))
        return settled(self.name, over) + told + self._go_on(now)

    def give_up(self, waiter: object, now: float) -> list[Effect]:
        """Cancel whatever this waiter waits for, if anything."""
        self._connections.await_no_more(waiter)
        calls = (*self._lobby, *self._dispatcher.jobs.values())
        theirs = [c for c in calls if isinstance(c, Call) and c.waiter is waiter]
        return self.withdraw(theirs, now)

    def abandon(self, call: Call) -> None:
        """Give a call up at the next `tick`."""
        self._abandoned.append(call)

    def await_ready(
        self, count: int, waiter: object, timeout_s: float, now: float
    ) -> list[Effect]:
        """End the wait once `count` instances are ready, or after `timeout_s`.

        The value of the wait is how many instances are ready then.
        """
        self._connections.await_ready(count, waiter, now + timeout_s)
        return self._go_on(now)

    def hear(self, tell: Tell, now: float) -> list[Effect]:
        """Take membership's news of an instance and decide what follows."""
        if self._closed:
            return []
        if tell.news is News.HINT:
            self._ends.hint = tell.text
            return []
        effects = self._instances.hear(tell, now)
        if tell.news is News.FOUND and effects and "://" not in self.name:
            self._dispatcher.kept_at = now + CHOICE_S
        self._turn.look(now)
        return effects + self._go_on(now)

    def close(self) -> list[Effect]:
        """End every call that is not settled, and close every connection."""
        self._closed = True
        calls = list(self._dispatcher.jobs.values())
        told = self._instances.cancel([call for call in calls if call.streams])
        outcomes = [self._ends.drop(call, "closed", "the client was closed") for call in calls]
        outcomes += self._lobby.close()
        self._dispatcher.look_at = self._dispatcher.care_at = inf
        outcomes += self._awaited_over(inf)
        self._streams.clear()
        disconnects = self._instances.close(LINGER_S if told else 0.0)
        return [*settled(self.name, outcomes), *told, *disconnects]

    def stats(self) -> ClientStats:
        """Return counters; accepted = delivered + failed + expired + dropped + in flight."""
        stats = {**self._dispatcher.stats(), "malformed": dict(self.malformed)}
        return cast(ClientStats, stats)  # what else it may have belongs to other clients

    def statistics(self, now: float) -> list[Figures]:
        """Return a row of the client and one of each method; any thread may ask."""
        return client_rows(self.stats(), self._dispatcher, now)

    @property
    def in_flight(self) -> int:
        """How many calls are not settled."""
        return len(self._dispatcher.jobs) + self._lobby.count

    @property
    def choice_at(self) -> float:
        """Until when further instances of a name that was just found are waited for."""
        return self._dispatcher.kept_at

    @property
    def ready_count(self) -> int:
        """How many instances may get calls now."""
        return len(self._connections.ready)

    @property
    def instances(self) -> list[Instance]:
        """The instances that are connected, or were connected and may return."""
        return list(self._connections.by_incarnation.values())

    # What the driver asks for

    def receive(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Take one packet from an instance. Never raises for what it sent."""
        return self._instances.receive(peer, frames, now)

    def unsent(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Learn that a packet did not leave; its calls return to the outbox to be sent soon.

        What a packet without calls says is said again with the next ping.
        """
        instance = self._connections.by_peer.get(peer)
        packet = wire.unpack(frames, may_mix=True)
        if instance is not None and packet.kind in (wire.REQUEST, wire.NOTIFY, wire.STREAM):
            self._dispatcher.take_back(instance, sequences_in(packet), now)
        return []

    def tick(self, now: float) -> list[Effect]:
        """Expire calls, greet again, ping instances, and give up instances that left."""
        abandoned = [self._abandoned.popleft() for _ in range(len(self._abandoned))]
        given_up = self.withdraw(abandoned, now) if abandoned else []
        due = self._dispatcher.due(now, alone=not self._connections.known)
        told = self._instances.cancel([call for call in due if call.streams])
        for call in due:
            self._dispatcher.abandon(call, now)
        over = [self._ends.expire(call, now) for call in due] + self._lobby.due(now)
        effects = settled(self.name, over) + told
        effects += self._instances.tick(now)
        self._turn.tick(now)
        self._turn.look(now)
        return given_up + effects + self._go_on(now)

    def flush(self, now: float) -> list[Effect]:
        """Return packets with the calls of this turn, and with the grants of streams."""
        if self.pace.due_at < inf:
            self.pace.left(self._dispatcher.next - self._flushed, now)
        self._flushed = self._dispatcher.next
        effects = self._instances.flush(now)
        if self._streams.owes_credit:
            effects += self._instances.grant(self._streams.grants(now))
        return effects

    # The core's own, in the middle of its work, whatever a subclass makes of its effects.
    _flush = flush

    def deadline(self) -> float:
        """Return when `tick`, and `flush` after it, are due next."""
        dispatcher, due_at = self._dispatcher, self._connections.due_at
        turn_at = self._turn.due_at
        look_at = min(dispatcher.look_at, self._lobby.look_at)
        return min(look_at, dispatcher.care_at, due_at, turn_at, self.pace.due_at)

    def check(self) -> None:
        """Assert that the instances, the calls and the streams are consistent."""
        self._instances.check()
        self._streams.check()
        self._lobby.check()

    # Packets in

    def _welcome(self, instance: Instance, packet: Packet, now: float) -> list[Effect]:
        fields = wire.fields_of(packet)
        instance.credit = credit_of(fields.get("credit"), self.limits.credit_max)
        instance.lacks_workers = fields.get("served") is False
        instance.journal = journal_of(fields.get("journal"))
        instance.takes_origins = fields.get("origins") is True
        names = fields.get("idempotent")
        if type(names) is list:
            instance.idempotent = frozenset(n for n in names if type(n) is str)
        opening = instance.state is State.OPENING
        self._turn.choose(instance)
        self._connections.shift(instance, Event.WELCOME)
        self._turn.look(now)
        if not opening:
            return self._go_on(now)
        self._streams.ask_again(self._dispatcher.resume(instance, now))
        return [self._instances.note("up", instance), *self._go_on(now)]

    def _bye(self, instance: Instance, packet: Packet, now: float) -> list[Effect]:
        was_up = instance.state is State.UP
        # An instance that has not said WELCOME yet says BYE again after it.
        self._connections.shift(instance, Event.BYE)
        self._turn.look(now)
        if packet.meta is not None:
            below, taken = wire.last_word(packet.meta, self.limits.jobs_max)
            return self._last_word(instance, below, taken, now)
        if was_up:
            self._dispatcher.move(instance.unsent())
        return self._go_on(now)

    def _last_word(
        self, instance: Instance, below: int, taken: frozenset[int], now: float
    ) -> list[Effect]:
        """Take an instance's last word, which follows its answers: the ids that it had taken.

        Other ids did not run there and never will, so their calls may move.
        """
        movable: list[Job] = []
        outcomes: list[Outcome] = []
        for call in list(instance.jobs.values()):
            known = call.begun or call.sequence < below or call.sequence in taken
            if call.copies and not known:
                if not self._dispatcher.refused(call, instance, now, free=False, waits=True):
                    row = (call.sequence, LEAVING, "", "the service has closed", "", False)
                    outcomes.append(self._ends.end(call, "failed", from_row(call, row)))
            elif call.may_move:
                movable.append(call)
            else:
                outcomes.append(self._ends.end(call, "failed", lost(call)))
        self._dispatcher.move(movable)
        return settled(self.name, outcomes) + self._go_on(now)

    def _pong(self, instance: Instance, packet: Packet, now: float) -> list[Effect]:
        held_max = self.limits.jobs_max
        pong = wire.read_pong(packet, instance.ping_token, held_max)
        progress = read_progress(pong.progress, held_max) if pong.progress is not None else []
        instance.credit = credit_of(pong.credit, self.limits.credit_max)
        instance.pong_token = pong.token
        lost_calls, surplus = self._dispatcher.held(
            instance, pong.token, pong.held, pong.running
        )
        instance.outbox.extend(self._streams.ask_again(lost_calls))
        self._streams.progress(instance, progress)
        recall = [self._instances.say(instance, wire.RECALL, surplus)] if surplus else []
        return [*recall, *self._go_on(now)]

    def _reply(self, instance: Instance, packet: Packet, now: float) -> list[Effect]:
        sequences, values, unreadable = self._read.replies(packet)
        calls = self._dispatcher.take(instance, sequences, now)
        outcomes: list[Outcome] = []
        for call, value in zip(calls, values, strict=True):
            if isinstance(call, StreamCall):
                outcomes += call.answer(value)
            elif call is not None and call.waiter is not None:
                outcomes.append((call.waiter, value, None))
        for sequence in unreadable:
            self.malformed["reply"] += 1
            unread = self._dispatcher.jobs.get(sequence)
            if unread is not None and unread.instance is instance:
                outcomes.append(self._ends.end(unread, "failed", unreadable_reply(unread)))
        effects: list[Effect] = [Settle(outcomes)] if outcomes else []
        if packet.size >= COUNTED_BYTES_MIN:
            effects += self._instances.have_read(
                instance, max(*sequences, *unreadable, 0), packet.size, now
            )
        if self._dispatcher.line.count or self._lobby.count:
            effects += self._go_on(now)
        return effects

    def _error(self, instance: Instance, packet: Packet, now: float) -> list[Effect]:
        outcomes: list[Outcome] = []
        for row in read_errors(packet):
            call, code = self._dispatcher.jobs.get(row[0]), row[1]
            if call is None or not concerns(call, instance, code):
                self._dispatcher.counts["duplicates"] += 1
                continue
            call.exposed |= row[5]
            if code == LEAVING:
                self._connections.shift(instance, Event.BYE)
                self._turn.look(now)
            if call.begun or not moves(self._dispatcher, call, instance, code, now):
                if call.instance is not instance:
                    self._dispatcher.abandon(call, now)
                count = "expired" if code == EXPIRED else "failed"
                outcomes.append(self._ends.end(call, count, from_row(call, row)))
        return settled(self.name, outcomes) + self._go_on(now)

    def _item(self, instance: Instance, packet: Packet, now: float) -> list[Effect]:
        arrivals = self._streams.take_in(instance, self._read.items(packet))
        return self._streamed(instance, arrivals, now)

    def _stream_end(self, instance: Instance, packet: Packet, now: float) -> list[Effect]:
        return self._streamed(instance, self._streams.end(instance, read_ends(packet)), now)

    def _streamed(self, instance: Instance, arrivals: Arrivals, now: float) -> list[Effect]:
        """End the complete streams, and tell the instance which streams nobody reads."""
        for call in arrivals.done:
            assert call.end is not None
            row = call.end[1]
            error = None if row is None else from_row(call, row)
            count = "failed" if error else "delivered"
            arrivals.waits.append(self._ends.end(call, count, error))
        effects = settled(self.name, arrivals.waits)
        if arrivals.strangers:
            effects.append(self._instances.say(instance, wire.CANCEL, arrivals.strangers))
        return effects + self._go_on(now)

    def _awaited_over(self, now: float) -> list[Outcome]:
        """Return the outcomes of `await_ready` that are over; each value is a count."""
        count = self.ready_count
        return [(waiter, count, None) for waiter in self._connections.awaited_over(now)]

    def _go_on(self, now: float) -> list[Effect]:
        """End orphans, give waiting calls to instances with credit, and send."""
        orphans, self._instances.orphans = self._instances.orphans, []
        over = [self._ends.end(call, "failed", lost(call)) for call in orphans]
        if self._dispatcher.line.count:
            self._dispatcher.fill(now)
        if self._lobby.count:
            over += self._lobby.admit(now)
        over += self._awaited_over(now)
        sends = self._flush(now)
        return [*settled(self.name, over), *sends] if over else sends
