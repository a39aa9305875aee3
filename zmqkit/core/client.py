"""The client's side of request-reply: places calls, survives instances, settles each call once.

A call waits in line until an instance is up and has credit, belongs to exactly one instance from
then on, and ends once: delivered, failed, expired or dropped. Its id (this incarnation, sequence)
stays the same on each attempt, so one instance runs it at most once. It is sent again

- when its instance's connection is opened anew and the same incarnation welcomes us, or
- when a PONG that was asked for after the call was sent does not name it;

never by a bare timer. It moves to another instance if it was never sent, was refused unrun, or
if its method is idempotent there. Requests, pings and replies share one connection in order, so a
call that a pong does not name, and whose reply did not come before it, did not arrive.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from math import inf

from zmqkit.core.effects import Effect, Note, Settle, Tell
from zmqkit.core.instance import Call, Instance, State
from zmqkit.core.line import Line
from zmqkit.core.outcome import EXPIRED, UNRUN, Outcome, from_row, lost, nobody, timed_out
from zmqkit.core.roster import Pending, Roster
from zmqkit.errors import CallCancelled, QueueFull, ZmqkitError
from zmqkit.model import Frames, PeerId
from zmqkit.options import CREDIT, INSTANCES_MAX, PING_S, RECORDS_MAX, WAITING_CALLS_MAX
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Malformed, encode
from zmqkit.wire.packet import Packet

_RETRY_S = 0.01


class ClientCore:
    """Calls to one name, over the instances that membership tells of."""

    def __init__(self, name: str, incarnation: int) -> None:
        self.name = name
        self.incarnation = incarnation
        self.counts: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.malformed: Counter[str] = Counter()
        self._pending = Pending()
        self._waiting: Line[Call] = Line()
        self.roster = Roster(name, incarnation, self._pending)
        self._hint = ""
        self._receivers: dict[int, Callable[[Instance, Packet, float], list[Effect]]] = {
            wire.REPLY: self._reply,
            wire.ERROR: self._error,
            wire.PONG: self._pong,
            wire.WELCOME: self._welcome,
            wire.BYE: self._bye,
        }

    # Commands

    def submit(
        self,
        method: str,
        body: bytes,
        raw: bytes | None,
        *,
        timeout_s: float,
        wait_s: float,
        priority: int,
        attempts: int,
        oneway: bool,
        waiter: object,
        now: float,
    ) -> int:
        """Accept a call; gives its sequence number. `flush` sends what a turn submitted.

        Raises QueueFull when too many calls wait for an instance or for its credit.
        """
        if len(self._waiting) >= WAITING_CALLS_MAX:
            raise QueueFull(
                f"{WAITING_CALLS_MAX} calls to {self.name!r} wait already; slow down or add "
                "instances"
            )
        sequence = self._pending.next
        self._pending.next = sequence + 1
        call = Call(
            sequence, method, body, raw, now + timeout_s, now + min(wait_s, timeout_s),
            priority, attempts - 1, oneway, waiter,
        )  # fmt: skip
        self.counts["accepted"] += 1
        self._pending.calls[sequence] = call
        self._pending.wheel.add(sequence, call.deadline_at)
        instance = None if len(self._waiting) else self.roster.choose()
        if instance is not None:
            self.roster.assign(call, instance, now)
        else:
            self._waiting.join(sequence, priority, call)
            if not self.roster.known:
                self._pending.wheel.add(sequence, call.give_up_at)
        return sequence

    def cancel(self, sequence: int, now: float) -> list[Effect]:
        """Give a call up: its waiter ends with CallCancelled and the service is told."""
        call = self._pending.calls.get(sequence)
        if call is None:
            return []
        instance = call.instance
        self.dropped["cancelled"] += 1
        error = CallCancelled(f"{call.method!r} was cancelled", may_have_run=call.may_have_run)
        effects = self._settle([self._end(call, "", error)])
        if instance is not None and call.sent and instance.peer in self.roster.by_peer:
            effects.append(self.roster.packet(instance, wire.CANCEL, encode([sequence])))
        return effects + self._fill(now)

    def found(self, incarnation: int, endpoint: str, now: float) -> list[Effect]:
        """An instance can be reached at `endpoint`, for the first time or anew."""
        instance = self.roster.instances.get(incarnation)
        if instance is None:
            if len(self.roster.known) >= RECORDS_MAX:
                return [Note("instances-full", {"name": self.name})]
            self.roster.known[incarnation] = endpoint
            return self.roster.connect_best(now)
        self.roster.known[incarnation] = endpoint
        if instance.state is not State.LOST and instance.endpoint == endpoint:
            return []
        effects = self.roster.close(instance)
        instance.endpoint = endpoint
        return effects + self.roster.open(instance, now)

    def lost(self, incarnation: int, now: float) -> list[Effect]:
        """The instance's process is out of reach; it may return."""
        instance = self.roster.instances.get(incarnation)
        if instance is None or instance.state is State.LOST:
            return []
        effects = self.roster.close(instance)
        self.roster.shift(instance, State.LOST)
        movable = [call for call in instance.calls.values() if instance.may_move(call)]
        return effects + self._move(movable, now)

    def gone(self, incarnation: int, now: float) -> list[Effect]:
        """The instance will not return: its calls move, or end with PeerLost."""
        self.roster.known.pop(incarnation, None)
        effects = self.lost(incarnation, now)
        instance = self.roster.instances.pop(incarnation, None)
        if instance is None:
            return effects
        stuck = list(instance.calls.values())
        effects += self._settle([self._end(call, "failed", lost(call)) for call in stuck])
        return effects + self.roster.connect_best(now)

    def await_ready(
        self, count: int, waiter: object, timeout_s: float, now: float
    ) -> list[Effect]:
        """End the wait once `count` instances may be chosen, or when time is over.

        The wait's value is how many there are then.
        """
        self.roster.awaited.append((count, now + timeout_s, waiter))
        self.roster.wake(now + timeout_s)
        return self._fill(now)

    def hear(self, tell: Tell, now: float) -> list[Effect]:
        """Take membership's news of an instance."""
        if tell.news == "found":
            return self.found(tell.incarnation, tell.endpoint, now)
        if tell.news == "lost":
            return self.lost(tell.incarnation, now)
        if tell.news == "gone":
            return self.gone(tell.incarnation, now)
        if tell.news == "hint":
            self._hint = tell.text
            return []
        return self._silence(tell.incarnation, tell.news == "silent", now)

    def close(self) -> list[Effect]:
        """End every call that is not settled and close every connection."""
        outcomes: list[Outcome] = []
        for call in list(self._pending.calls.values()):
            self.dropped["closed"] += 1
            error = CallCancelled("the client was closed", may_have_run=call.may_have_run)
            outcomes.append(self._end(call, "", error))
        outcomes += self.roster.awaited_over(inf)
        effects = self._settle(outcomes)
        for instance in self.roster.instances.values():
            effects += self.roster.close(instance)
        self.roster.instances.clear()
        self.roster.ready.clear()
        self.roster.known.clear()
        self.roster.check_at = inf
        return effects

    def stats(self) -> dict[str, object]:
        """Counters; accepted = delivered + failed + expired + dropped + in flight, always."""
        names = ("accepted", "delivered", "failed", "expired", "retries", "duplicates")
        return {
            **{name: self.counts[name] for name in names},
            "dropped": dict(self.dropped),
            "in_flight": len(self._pending.calls),
            "waiting": len(self._waiting),
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
            if len(frames) != 1:
                raise Malformed("frames")
            packet = wire.unpack(frames[0])
            receiver = self._receivers.get(packet.kind)
            if receiver is None or packet.target not in (0, self.incarnation):
                raise Malformed("unexpected")
            if packet.source != instance.incarnation:
                replaced = Note("replaced", {"name": self.name, "endpoint": instance.endpoint})
                return [replaced, *self.gone(instance.incarnation, now)]
            return receiver(instance, packet, now)
        except Malformed as error:
            self.malformed[str(error)] += 1
            return []

    def unsent(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """A packet did not leave: its calls go back into the outbox, to be sent shortly."""
        instance = self.roster.by_peer.get(peer)
        packet = wire.unpack(frames[0])
        if instance is None or packet.kind not in (wire.REQUEST, wire.NOTIFY):
            return []
        calls = [instance.calls.get(row[0]) for row in wire.request_rows(packet)]
        instance.outbox.extend(c for c in calls if c is not None and c not in instance.outbox)
        instance.blocked_until = now + _RETRY_S
        self.roster.wake(instance.blocked_until)
        return []

    def tick(self, now: float) -> list[Effect]:
        """Expire calls, say hello again, ask which ids are held."""
        outcomes = [self._expire(s, now) for s in self._pending.wheel.due(now)]
        effects = self._settle([o for o in outcomes if o is not None])
        if now >= self.roster.check_at:
            self.roster.check_at = inf
            for instance in self.roster.instances.values():
                effects += self.roster.look_after(instance, now)
        return effects + self._fill(now)

    def deadline(self) -> float:
        """When `tick` is due next."""
        return min(self._pending.wheel.deadline(), self.roster.check_at)

    def check(self) -> None:
        """Each call is in one place, the counters balance, and only what is up is chosen."""
        counts = self.counts
        ended = counts["delivered"] + counts["failed"] + counts["expired"]
        ended += sum(self.dropped.values())
        assert counts["accepted"] == ended + len(self._pending.calls), "stats do not balance"
        places = [c.sequence for c in self._waiting]
        for instance in self.roster.instances.values():
            places.extend(instance.calls)
            assert (instance in self.roster.ready) == (instance.state is State.UP)
            assert all(c.sequence in instance.calls for c in instance.outbox)
            assert all(c.instance is instance for c in instance.calls.values())
            assert len(instance.outbox) == len({c.sequence for c in instance.outbox})
        assert sorted(places) == sorted(self._pending.calls), "a call in no place, or in two"
        assert len(self.roster.ready) == len({i.incarnation for i in self.roster.ready})
        assert len(self.roster.instances) <= INSTANCES_MAX

    def flush(self, now: float) -> list[Effect]:
        """One packet for each instance that was given calls since the last flush."""
        return self.roster.flush(now)

    # Placing calls

    def _fill(self, now: float) -> list[Effect]:
        """Give waiting calls, highest priority first, to instances with credit; send them."""
        while len(self._waiting) and (instance := self.roster.choose()) is not None:
            call = self._waiting.serve()
            assert call is not None
            self.roster.assign(call, instance, now)
        return self._settle(self.roster.awaited_over(now)) + self.flush(now)

    def _silence(self, incarnation: int, silent: bool, now: float) -> list[Effect]:
        """A process fell silent, so its instance is not chosen, or it answers again."""
        instance = self.roster.instances.get(incarnation)
        if instance is not None:
            instance.silent = silent
            if instance.state in (State.UP, State.EVASIVE):
                self.roster.shift(instance, State.EVASIVE if silent else State.UP)
        return self._fill(now)

    def _move(self, calls: list[Call], now: float) -> list[Effect]:
        """Take calls from their instances and put them in line again."""
        for call in calls:
            self._leave_instance(call)
            if call.sent:
                call.sent = False
                call.exposed = True
                call.attempts -= 1
                self.counts["retries"] += 1
            self._waiting.join(call.sequence, call.priority, call)
        return self._fill(now)

    def _leave_instance(self, call: Call) -> None:
        instance, call.instance = call.instance, None
        if instance is not None:
            del instance.calls[call.sequence]
            if instance.outbox and call in instance.outbox:
                instance.outbox.remove(call)

    # Packets in

    def _welcome(self, instance: Instance, packet: Packet, now: float) -> list[Effect]:
        fields = wire.fields_of(packet)
        instance.credit = _credit(fields.get("credit"))
        names = fields.get("idempotent")
        if type(names) is list:
            instance.idempotent = frozenset(n for n in names if type(n) is str)
        if instance.state is State.OPENING:
            instance.outbox = list(instance.calls.values())
            self.counts["retries"] += sum(call.sent for call in instance.outbox)
            self.roster.shift(instance, State.EVASIVE if instance.silent else State.UP)
            if instance.calls:
                instance.ping_at = now + PING_S
                self.roster.wake(instance.ping_at)
        return self._fill(now)

    def _bye(self, instance: Instance, packet: Packet, now: float) -> list[Effect]:
        if instance.state in (State.UP, State.EVASIVE, State.OPENING):
            self.roster.shift(instance, State.LEAVING)
        return self._move([c for c in instance.calls.values() if not c.sent], now)

    def _pong(self, instance: Instance, packet: Packet, now: float) -> list[Effect]:
        meta = packet.meta
        if type(meta) is not list or len(meta) != 3 or type(meta[0]) is not int:
            raise Malformed("pong")
        instance.credit = _credit(meta[1])
        held = set(wire.sequences_of(meta[2], CREDIT + WAITING_CALLS_MAX))
        unnamed = instance.unnamed(meta[0], held)
        self.counts["retries"] += len(unnamed)
        instance.outbox.extend(unnamed)
        return self._fill(now)

    def _reply(self, instance: Instance, packet: Packet, now: float) -> list[Effect]:
        outcomes: list[Outcome] = []
        for sequence, value in wire.reply_rows(packet):
            call = self._pending.calls.get(sequence)
            if call is None:
                self.counts["duplicates"] += 1
            else:
                outcomes.append(self._end(call, "delivered", None, value))
        effects = self._settle(outcomes)
        return effects + self._fill(now) if len(self._waiting) else effects

    def _error(self, instance: Instance, packet: Packet, now: float) -> list[Effect]:
        outcomes: list[Outcome] = []
        refused: list[Call] = []
        for row in wire.error_rows(packet):
            call = self._pending.calls.get(row[0])
            if call is None:
                self.counts["duplicates"] += 1
            elif row[1] in UNRUN and call.attempts > 0 and call.instance is instance:
                call.sent = False
                call.attempts -= 1
                refused.append(call)
            else:
                count = "expired" if row[1] == EXPIRED else "failed"
                outcomes.append(self._end(call, count, from_row(call, row)))
        return self._settle(outcomes) + self._move(refused, now)

    # Ends

    def _expire(self, sequence: int, now: float) -> Outcome | None:
        """What the wheel's key means now: a deadline, the end of waiting for anyone, nothing."""
        call = self._pending.calls.get(sequence)
        if call is None:
            return None
        if not (call.may_have_run or self.roster.known):
            return self._end(call, "failed", nobody(self.name, self._hint))
        if now < call.deadline_at:
            return None
        return self._end(call, "expired", timed_out(call))

    def _end(
        self, call: Call, count: str, error: ZmqkitError | None, value: object = None
    ) -> Outcome:
        sequence = call.sequence
        del self._pending.calls[sequence]
        self._pending.wheel.remove(sequence, call.deadline_at)
        if call.instance is not None:
            self._leave_instance(call)
        else:
            self._waiting.leave(sequence, call.priority)
        if count:
            self.counts[count] += 1
        return (call.waiter, value, error)

    def _settle(self, outcomes: list[Outcome]) -> list[Effect]:
        """Ends for those that wait; a failed one-way message has nobody but the log."""
        waited = [outcome for outcome in outcomes if outcome[0] is not None]
        effects: list[Effect] = [Settle(waited)] if waited else []
        if len(waited) < len(outcomes):
            failed = [str(e) for waiter, _, e in outcomes if waiter is None and e is not None]
            effects.extend(Note("notify-failed", {"error": text}) for text in failed)
        return effects


def _credit(value: object) -> int:
    if type(value) is not int or value < 1:
        raise Malformed("credit")
    return min(value, CREDIT)
