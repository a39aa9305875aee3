"""The client's side of request-reply: places calls, survives instances, settles each call once.

A call waits in line until an instance is up and has credit, belongs to exactly one instance
from then on, and ends once: delivered, failed, expired or dropped. Its id (this incarnation,
sequence) stays the same on each attempt, so one instance runs it at most once. It is sent again

- when its instance's connection is opened anew and the same incarnation welcomes us, or
- when a PONG that was asked for after the call was sent does not name it;

never by a bare timer. It moves to another instance if it was never sent, was refused unrun, or
if its method is idempotent there. Requests, pings and replies share one connection in order, so
a call that a pong does not name, and whose reply did not come before it, did not arrive.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from math import inf

from zmqkit.core.calls.call import Call, CallOptions
from zmqkit.core.calls.ends import Ends
from zmqkit.core.calls.instance import Instance, State
from zmqkit.core.calls.outcome import (
    EXPIRED,
    RAISED,
    UNRUN,
    Outcome,
    from_row,
)
from zmqkit.core.calls.pending import PENDING_CALLS_MAX, Pending
from zmqkit.core.calls.placement import Placement
from zmqkit.core.calls.roster import Roster
from zmqkit.core.calls.stream_call import StreamCall, answer_stream
from zmqkit.core.calls.stream_calls import News, StreamCalls
from zmqkit.core.calls.turnover import Turnover
from zmqkit.core.effects import Effect, Note, Settle, Tell
from zmqkit.core.pace import Pace
from zmqkit.errors import QueueFull
from zmqkit.model import Frames, PeerId
from zmqkit.options import BATCH_BYTES, CREDIT, LINGER_S, WAITING_CALLS_MAX
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Buffer, Malformed
from zmqkit.wire.packet import Packet
from zmqkit.wire.streams import end_rows, item_rows, progress_rows


class ClientCore:
    """Calls to one name, over the instances that membership tells of.

    abandoned: streams to be given up at the next tick. Whoever drops a stream may put it here,
    in whatever thread; nothing else of a core may be touched so.
    """

    def __init__(
        self, name: str, incarnation: int, window: tuple[int, int] = StreamCall.window
    ) -> None:
        """`window`: how many values of a stream may be under way, and bytes of them."""
        self.name = name
        self.incarnation = incarnation
        self.malformed: Counter[str] = Counter()
        self.abandoned: deque[int] = deque()
        self.pace = Pace()
        self._flushed = 0
        self._pending = Pending(window)
        self.roster = Roster(name, incarnation, self._pending)
        self._placement = Placement(self._pending, self.roster)
        self._streams = StreamCalls(self._pending, self.roster, self.malformed)
        self._ends = Ends(name, self._pending, self._placement, self.roster)
        self._turnover = Turnover(self._pending, self.roster, self._placement, self._ends)
        self._closed = False
        self._receivers: dict[int, Callable[[Instance, Packet, float], list[Effect]]] = {
            wire.REPLY: self._reply,
            wire.ERROR: self._error,
            wire.PONG: self._pong,
            wire.WELCOME: self._welcome,
            wire.BYE: self._bye,
            wire.ITEM: self._item,
            wire.END: self._stream_end,
        }

    # Commands

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
        """Accept a call; gives its sequence number. `flush` sends what a turn submitted.

        Raises QueueFull when too many calls wait for an instance or for its credit.
        """
        if self._placement.line.count >= WAITING_CALLS_MAX:
            raise self._full()
        call = self._pending.add(method, body, raw, options, waiter, now)
        if oneway:
            call.oneway = True
        self._placement.place(call, now)
        return call.sequence

    def notify(
        self, method: str, body: bytes, raw: Buffer | None, options: CallOptions, now: float
    ) -> int:
        """Accept a call that nobody waits for; it gathers if it follows others closely.

        Then `pace` says when `flush` is due. Raises QueueFull as `submit` does.
        """
        sequence = self.submit(method, body, raw, options, None, now, oneway=True)
        if self.pace.gathers(now) and len(body) + len(raw or b"") >= BATCH_BYTES:
            self.pace.fill()
        return sequence

    def _full(self) -> QueueFull:
        return QueueFull(
            f"{WAITING_CALLS_MAX} calls to {self.name!r} wait already; slow down or add "
            "instances"
        )

    @property
    def next_sequence(self) -> int:
        """The number of the next call that is accepted."""
        return self._pending.next

    def stream(
        self, method: str, body: bytes, raw: Buffer | None, options: CallOptions, now: float
    ) -> StreamCall:
        """Accept a call for a stream; the values gather in what it gives.

        Its deadline is that of the first value. Raises QueueFull as `submit` does.
        """
        if self._placement.line.count >= WAITING_CALLS_MAX:
            raise self._full()
        call = self._pending.open(method, body, raw, options, now)
        self._placement.place(call, now)
        return call

    def take(self, call: StreamCall) -> object:
        """The stream's next value, of which there must be one; `flush` grants credit for it."""
        value = call.take()
        if call.owes_credit:
            self._streams.credit(call)
        return value

    def listen(self, call: StreamCall, listener: object, now: float) -> None:
        """End the listener's wait once there is a value, the stream is over or time is.

        There must be no value, and more to come.
        """
        call.listener = listener
        if call.begun:
            call.deadline_at = now + call.options.timeout_s
            self._pending.look(call.deadline_at)

    def cancel(self, sequence: int, now: float) -> list[Effect]:
        """Give a call up: its waiter ends with CallCancelled and the service is told."""
        call = self._pending.calls.get(sequence)
        if call is None:
            return []
        holder = self._ends.holder(call)
        effects = self._ends.settle(
            [self._ends.drop(call, "cancelled", f"{call.method!r} was cancelled")]
        )
        return effects + self._ends.tell(holder, [sequence]) + self._placement.fill(now)

    def await_ready(
        self, count: int, waiter: object, timeout_s: float, now: float
    ) -> list[Effect]:
        """End the wait once `count` instances may be chosen, or when time is over.

        The wait's value is how many there are then.
        """
        self.roster.awaited.append((count, now + timeout_s, waiter))
        self.roster.wake(now + timeout_s)
        return self._placement.fill(now)

    def hear(self, tell: Tell, now: float) -> list[Effect]:
        """Take membership's news of an instance."""
        if self._closed:
            return []
        if tell.news == "hint":
            self._ends.hint = tell.text
            return []
        return self._turnover.hear(tell, now)

    def close(self) -> list[Effect]:
        """End every call that is not settled and close every connection."""
        self._closed = True
        calls = list(self._pending.calls.values())
        told = self._ends.tell_of_streams(calls)
        outcomes = [self._ends.drop(call, "closed", "the client was closed") for call in calls]
        self._pending.look_at = inf
        outcomes += self.roster.awaited_over(inf)
        linger_s = LINGER_S if told else 0.0
        return self._ends.settle(outcomes) + told + self.roster.close_all(linger_s)

    def stats(self) -> dict[str, object]:
        """Counters; accepted = delivered + failed + expired + dropped + in flight, always."""
        return {
            **self._pending.stats(),
            "waiting": len(self._placement.line),
            "malformed": dict(self.malformed),
        }

    @property
    def in_flight(self) -> int:
        """How many calls are not settled."""
        return len(self._pending.calls)

    @property
    def ready_count(self) -> int:
        """How many instances are chosen for calls now."""
        return len(self.roster.ready)

    # What the driver asks for

    def receive(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Take one packet from an instance. Never raises for what it sent."""
        instance = self.roster.by_peer.get(peer)
        if instance is None:
            return []
        try:
            packet = wire.unpack(frames)
            receiver = self._receivers.get(packet.kind)
            if receiver is None or packet.target not in (0, self.incarnation):
                raise Malformed("unexpected")
            if packet.source != instance.incarnation:
                return self._replaced(instance, packet, now)
            effects = receiver(instance, packet, now)
            if instance.state is State.LEFT:
                return effects + self._turnover.part(instance, now)
            return effects
        except Malformed as error:
            self.malformed[str(error)] += 1
            return []

    def unsent(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """A packet did not leave: its calls go back into the outbox, to be sent shortly."""
        self.roster.take_back(peer, frames, now)
        return []

    def tick(self, now: float) -> list[Effect]:
        """Expire calls, say hello again, ask which ids are held."""
        given_up: list[Effect] = []
        while self.abandoned:
            given_up += self.cancel(self.abandoned.popleft(), now)
        due = self._pending.due(now, alone=not self.roster.known)
        told = self._ends.tell_of_streams(due)
        effects = self._ends.settle([self._ends.expire(call) for call in due]) + told
        effects += self._turnover.tick(now) + self.roster.tick(now)
        return given_up + effects + self._placement.fill(now)

    def flush(self, now: float) -> list[Effect]:
        """One packet for each instance that was given calls since the last flush."""
        if self.pace.due_at < inf:
            self.pace.left(self._pending.next - self._flushed, now)
        self._flushed = self._pending.next
        return self.roster.flush(now)

    def deadline(self) -> float:
        """When `tick`, and `flush` after it, are due next."""
        return min(self._pending.look_at, self.roster.check_at, self.pace.due_at)

    def check(self) -> None:
        """Each call is in one place, the counters balance, and only what is up is chosen."""
        self._pending.check()
        self.roster.check()
        self._placement.check()
        self._streams.check()

    # Packets in

    def _replaced(self, instance: Instance, packet: Packet, now: float) -> list[Effect]:
        """Another incarnation listens where this one did: it welcomes what is not for it."""
        if packet.kind != wire.WELCOME:
            raise Malformed("source")
        note = Note("replaced", {"name": self.name, "endpoint": instance.endpoint})
        return [note, *self._turnover.gone(instance.incarnation, now)]

    def _welcome(self, instance: Instance, packet: Packet, now: float) -> list[Effect]:
        fields = wire.fields_of(packet)
        instance.credit = _credit(fields.get("credit"))
        names = fields.get("idempotent")
        if type(names) is list:
            instance.idempotent = frozenset(n for n in names if type(n) is str)
        if instance.state is State.OPENING:
            self.roster.resume(instance, now)
        return self._placement.fill(now)

    def _bye(self, instance: Instance, packet: Packet, now: float) -> list[Effect]:
        if packet.meta is not None:
            below, taken = wire.last_word(packet.meta, PENDING_CALLS_MAX)
            return self._turnover.closed(instance, below, taken, now)
        # One that has not said WELCOME says BYE again after it.
        if instance.state in (State.UP, State.EVASIVE):
            self.roster.shift(instance, State.LEAVING)
            return self._placement.move(instance.unsent(), now)
        return []

    def _pong(self, instance: Instance, packet: Packet, now: float) -> list[Effect]:
        meta = packet.meta
        if type(meta) is not list or len(meta) not in (3, 4) or type(meta[0]) is not int:
            raise Malformed("pong")
        if not 0 < meta[0] <= instance.ping_token:
            raise Malformed("token")
        held = set(wire.sequences_of(meta[2], CREDIT + WAITING_CALLS_MAX))
        progress = progress_rows(meta[3], CREDIT + WAITING_CALLS_MAX) if meta[3:] else []
        instance.credit = _credit(meta[1])
        unnamed = instance.unnamed(meta[0], held)
        self._pending.counts["retries"] += len(unnamed)
        instance.outbox.extend(self._streams.ask_again(unnamed))
        self._streams.progress(instance, progress)
        return self._placement.fill(now)

    def _reply(self, instance: Instance, packet: Packet, now: float) -> list[Effect]:
        outcomes, others = self._pending.deliver(wire.reply_rows(packet), instance)
        for call, value in others:
            if call.sequence in self._pending.calls:  # not when one packet answers it twice
                if call.streams:
                    outcomes += answer_stream(call, value)
                outcome = self._ends.end(call, "delivered", None, value)
                if call.waiter is not None:
                    outcomes.append(outcome)
        effects: list[Effect] = [Settle(outcomes)] if outcomes else []
        return effects + self._placement.fill(now) if self._placement.line.count else effects

    def _error(self, instance: Instance, packet: Packet, now: float) -> list[Effect]:
        outcomes: list[Outcome] = []
        for row in wire.error_rows(packet):
            call, code = self._pending.calls.get(row[0]), row[1]
            if call is None or not self._concerns(call, instance, code):
                self._pending.counts["duplicates"] += 1
                continue
            call.exposed |= row[5]
            if (
                code not in UNRUN
                or call.begun
                or not self._placement.try_another(call, instance, code, now)
            ):
                count = "expired" if code == EXPIRED else "failed"
                outcomes.append(self._ends.end(call, count, from_row(call, row)))
        return self._ends.settle(outcomes) + self._placement.fill(now)

    def _concerns(self, call: Call, instance: Instance, code: str) -> bool:
        """Whether an error is about the call as it stands.

        A refusal by one that has it no more says nothing; that a handler raised is a result.
        """
        late = code == RAISED and call.exposed and not call.begun
        return call.instance is instance or late

    def _item(self, instance: Instance, packet: Packet, now: float) -> list[Effect]:
        return self._streamed(instance, self._streams.take_in(instance, item_rows(packet)), now)

    def _stream_end(self, instance: Instance, packet: Packet, now: float) -> list[Effect]:
        return self._streamed(instance, self._streams.end(instance, end_rows(packet)), now)

    def _streamed(self, instance: Instance, news: News, now: float) -> list[Effect]:
        """End the streams that are complete, and say which ones nobody reads."""
        for call in news.done:
            assert call.end is not None
            row = call.end[1]
            error = None if row is None else from_row(call, row)
            news.waits.append(self._ends.end(call, "failed" if error else "delivered", error))
        effects = self._ends.settle(news.waits) + self._ends.tell(instance, news.strangers)
        return effects + self._placement.fill(now)


def _credit(value: object) -> int:
    if type(value) is not int or value < 1:
        raise Malformed("credit")
    return min(value, CREDIT)
