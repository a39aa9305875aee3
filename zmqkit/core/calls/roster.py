"""The instances that a client uses: which are connected, which may be chosen, what is due."""

from __future__ import annotations

from hashlib import blake2b
from math import inf

from zmqkit.core.calls.call import Call
from zmqkit.core.calls.instance import Instance, State
from zmqkit.core.calls.outcome import Outcome
from zmqkit.core.calls.pending import Pending
from zmqkit.core.calls.stream_call import StreamCall
from zmqkit.core.effects import Connect, Disconnect, Effect, Send
from zmqkit.model import Frames, PeerId, leads_away
from zmqkit.options import HELLO_S, HELLO_S_MAX, INSTANCES_MAX, PING_S, TELL_BYTES
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Buffer, encode
from zmqkit.wire.streams import stream_columns, stream_rows

_RETRY_S = 0.01


class Roster:
    """Connections to at most INSTANCES_MAX of the known instances, and a choice among them."""

    def __init__(self, name: str, incarnation: int, pending: Pending) -> None:
        self.name = name
        self.incarnation = incarnation
        self.known: dict[int, str] = {}
        self.instances: dict[int, Instance] = {}
        self.by_peer: dict[PeerId, Instance] = {}
        self.ready: list[Instance] = []
        self.awaited: list[tuple[int, float, object]] = []
        self.check_at = inf
        self.grants: dict[int, StreamCall] = {}
        self._pending = pending

    # Choice

    def choose(self, but: tuple[int, ...] = ()) -> Instance | None:
        """Least outstanding first, least recently used on ties, none without credit."""
        ready = self.ready
        if len(ready) == 1 and not but:
            only = ready[0]
            return only if len(only.calls) < only.credit else None
        able = [i for i in ready if len(i.calls) < i.credit and i.incarnation not in but]
        if not able:
            return None
        best = min(able, key=lambda i: len(i.calls))
        ready.remove(best)
        ready.append(best)
        return best

    def assign(self, call: Call, instance: Instance, now: float) -> None:
        """Give the call to the instance; `flush` sends it."""
        call.instance = instance
        instance.calls[call.sequence] = call
        instance.outbox.append(call)
        if instance.ping_at == inf:
            instance.ping_at = now + PING_S
            self.wake(instance.ping_at)

    def unassign(self, call: Call) -> None:
        """Take the call from its instance, if it has one."""
        instance, call.instance = call.instance, None
        if instance is not None:
            instance.calls.pop(call.sequence, None)  # an interrupt may have come in between
            if instance.outbox and call in instance.outbox:
                instance.outbox.remove(call)

    def flush(self, now: float) -> list[Effect]:
        """One packet for each instance with an outbox, more where a batch is full."""
        effects: list[Effect] = []
        for instance in self.instances.values():
            if instance.outbox and instance.sends and now >= instance.blocked_until:
                for kind, calls in instance.take_outbox():
                    effects.append(self._calls_packet(instance, kind, calls, now))
        return effects + self._grant(now) if self.grants else effects

    def _grant(self, now: float) -> list[Effect]:
        """One packet of credit for each instance; a pong shows which did not arrive."""
        rows: dict[Instance, list[tuple[int, int, int | None]]] = {}
        later: dict[int, StreamCall] = {}
        for call in self.grants.values():
            instance = call.instance
            if instance is None or call.over:
                continue
            if not instance.sends or now < instance.blocked_until:
                later[call.sequence] = call
            else:
                rows.setdefault(instance, []).append(call.tell())
        self.grants = later
        return [
            self.packet(
                instance, wire.GRANT, encode([list(c) for c in zip(*told, strict=True)])
            )
            for instance, told in rows.items()
        ]

    def take_back(self, peer: PeerId, frames: Frames, now: float) -> None:
        """Have a packet that found no room leave again shortly, if it has calls.

        Whatever else was in one is said again with the next ping.
        """
        instance, packet = self.by_peer.get(peer), wire.unpack(frames)
        if instance is None:
            return
        if packet.kind in (wire.REQUEST, wire.NOTIFY):
            sequences = [row[0] for row in wire.request_rows(packet)]
        elif packet.kind == wire.STREAM:
            sequences = [row[0] for row, _, _ in stream_rows(packet)]
        else:
            return
        instance.give_back(sequences, now + _RETRY_S)
        self.wake(instance.blocked_until)

    def awaited_over(self, now: float) -> list[Outcome]:
        """The waits for a number of chosen instances that are over; the value is the number."""
        if not self.awaited:
            return []
        count = len(self.ready)
        over = [wait for wait in self.awaited if count >= wait[0] or now >= wait[1]]
        if over:
            self.awaited = [wait for wait in self.awaited if wait not in over]
        for _, until, _ in self.awaited:
            self.wake(until)
        return [(waiter, count, None) for _, _, waiter in over]

    def await_no_more(self, waiter: object) -> None:
        """Whoever waited for a number of instances has given up."""
        self.awaited = [wait for wait in self.awaited if wait[2] is not waiter]

    # Connections

    def connect_best(self, now: float) -> list[Effect]:
        """Connect to at most INSTANCES_MAX; which ones of more, a rendezvous hash decides."""
        room = INSTANCES_MAX - len(self.instances)
        others = [i for i in self.known if i not in self.instances] if room else []
        effects: list[Effect] = []
        for incarnation in sorted(others, key=self._rank)[:room]:
            peer = incarnation.to_bytes(8, "big")
            instance = Instance(incarnation, peer, self.known[incarnation])
            self.instances[incarnation] = instance
            effects += self.open(instance, now)
        return effects

    def _rank(self, incarnation: int) -> bytes:
        pair = self.incarnation.to_bytes(8, "big") + incarnation.to_bytes(8, "big")
        return blake2b(pair, digest_size=8).digest()

    def open(self, instance: Instance, now: float) -> list[Effect]:
        """Connect and say hello; WELCOME makes it ready."""
        self.by_peer[instance.peer] = instance
        instance.far = leads_away(instance.endpoint)
        self.shift(instance, State.OPENING)
        instance.outbox.clear()
        instance.pong_token = instance.untold_bytes = 0
        instance.hello_s = HELLO_S
        instance.hello_at = now + HELLO_S
        self.wake(instance.hello_at)
        return [Connect(instance.peer, instance.endpoint), self._hello(instance)]

    def close(self, instance: Instance, linger_s: float = 0.0) -> list[Effect]:
        """Close the connection; the instance keeps its calls."""
        instance.ping_at = inf
        if self.by_peer.pop(instance.peer, None) is None:
            return []
        return [Disconnect(instance.peer, linger_s)]

    def close_all(self, linger_s: float) -> list[Effect]:
        """Close every connection and forget every instance."""
        instances = self.instances.values()
        effects = [e for instance in instances for e in self.close(instance, linger_s)]
        self.grants.clear()
        self.instances.clear()
        self.ready.clear()
        self.known.clear()
        self.check_at = inf
        return effects

    def shift(self, instance: Instance, state: State) -> None:
        """Change the state, and with it whether the instance is chosen and sent to."""
        instance.state = state
        instance.sends = state is State.UP or state is State.LEAVING
        if (instance in self.ready) != (state is State.UP):
            if state is State.UP:
                self.ready.append(instance)
            else:
                self.ready.remove(instance)

    def resume(self, instance: Instance, now: float) -> None:
        """Use an instance that says WELCOME: whatever it may have of ours is sent again.

        Of a stream that has begun, what is missing is asked for: it must not begin anew.
        """
        instance.outbox = [call for call in instance.calls.values() if not call.begun]
        for call in instance.calls.values():
            if isinstance(call, StreamCall) and call.begun:
                call.missing = True
                self.grants[call.sequence] = call
        self._pending.counts["retries"] += sum(call.copies > 0 for call in instance.outbox)
        self.shift(instance, State.EVASIVE if instance.silent else State.UP)
        if instance.calls:
            instance.ping_at = now + PING_S
            self.wake(instance.ping_at)

    # Time

    def tick(self, now: float) -> list[Effect]:
        """Look after every instance that is due: hello again, ping."""
        if now < self.check_at:
            return []
        self.check_at = inf
        effects: list[Effect] = []
        for instance in self.instances.values():
            effects += self._look_after(instance, now)
        return effects

    def _look_after(self, instance: Instance, now: float) -> list[Effect]:
        """Do what is due for one instance, and remember when next."""
        effects: list[Effect] = []
        if instance.state is State.OPENING:
            if now >= instance.hello_at:
                instance.hello_s = min(2 * instance.hello_s, HELLO_S_MAX)
                instance.hello_at = now + instance.hello_s
                effects.append(self._hello(instance))
            self.wake(instance.hello_at)
        elif instance.state is State.LEFT:
            self.wake(instance.left_until)
        elif instance.state is not State.LOST:
            if now >= instance.ping_at:
                instance.ping_at = now + PING_S if instance.calls else inf
                effects.append(self._ping(instance))
            self.wake(instance.ping_at)
            if instance.blocked_until > now:
                self.wake(instance.blocked_until)
        return effects

    def wake(self, at: float) -> None:
        """Have `tick` called at `at` at the latest."""
        self.check_at = min(self.check_at, at)

    # Packets out

    def packet(
        self, instance: Instance, kind: int, meta: bytes, raw: Buffer | None = None
    ) -> Send:
        """A packet to the instance that also says below which number all is settled."""
        settled = self._pending.settled_below()
        frames = wire.pack(
            kind,
            self.incarnation,
            instance.incarnation,
            settled,
            meta,
            raw,
            far=instance.far,
        )
        return Send(instance.peer, frames)

    def _hello(self, instance: Instance) -> Send:
        fields: dict[str, object] = {"name": self.name}
        if instance.far:
            fields["lz4"] = True
        return self.packet(instance, wire.HELLO, encode(fields))

    def _ping(self, instance: Instance) -> Send:
        """Ask which ids are held; say which are open, so that the others may be forgotten, and
        what was read."""
        instance.ping_token += 1
        instance.untold_bytes = 0
        told: list[object] = [
            instance.ping_token, self._pending.next, list(self._pending.calls),
        ]  # fmt: skip
        if instance.pong_token:
            told.append(instance.pong_token)
        return self.packet(instance, wire.PING, encode(told))

    def have_read(self, instance: Instance, size: int) -> list[Effect]:
        """Count what was read of an instance's answers, and say so if that is much: it may wait
        for that with the next."""
        instance.untold_bytes += size
        if instance.untold_bytes < TELL_BYTES or not instance.sends:
            return []
        return [self._ping(instance)]

    def _calls_packet(
        self, instance: Instance, kind: int, calls: list[Call], now: float
    ) -> Send:
        token = instance.ping_token
        for call in calls:
            call.copies += 1
            call.epoch = token
        lefts = [int((call.deadline_at - now) * 1000) for call in calls]
        if min(lefts) < 1:
            lefts = [max(1, left_ms) for left_ms in lefts]
        sequences = [call.sequence for call in calls]
        bodies = [call.body for call in calls]
        if kind == wire.STREAM:
            meta = stream_columns(sequences, lefts, self._pending.window, bodies)
        else:
            meta = wire.request_columns(sequences, lefts, bodies)
        return self.packet(instance, kind, meta, calls[0].raw)

    def check(self) -> None:
        """Only what is up is chosen, and what leaves belongs where it goes."""
        for instance in self.instances.values():
            assert (instance in self.ready) == (instance.state is State.UP)
            assert (self.by_peer.get(instance.peer) is instance) == (
                instance.state is not State.LOST
            )
            due = {call.sequence for call in instance.outbox}
            assert len(instance.outbox) == len(due)
            assert due <= instance.calls.keys()
            assert all(call.instance is instance for call in instance.calls.values())
        assert len(self.ready) == len({instance.incarnation for instance in self.ready})
        assert len(self.instances) <= INSTANCES_MAX
        stays = {i.incarnation for i in self.instances.values() if i.state is not State.LEFT}
        assert stays <= self.known.keys()
