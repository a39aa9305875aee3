"""The instances a client uses: which are connected, which may be chosen, when to look after them."""

from __future__ import annotations

from hashlib import blake2b
from math import inf

from zmqkit.core.effects import Connect, Disconnect, Effect, Send
from zmqkit.core.instance import Call, Instance, State
from zmqkit.core.outcome import Outcome
from zmqkit.core.timers import Wheel
from zmqkit.model import PeerId
from zmqkit.options import HELLO_S, INSTANCES_MAX, PING_S
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import encode


class Pending:
    """A client's unsettled calls by sequence number, and the wheel of their deadlines."""

    def __init__(self) -> None:
        self.calls: dict[int, Call] = {}
        self.wheel = Wheel()
        self.next = 1
        self._lowest = 1

    def settled_below(self) -> int:
        """The lowest sequence number that is not settled."""
        lowest = self._lowest
        while lowest < self.next and lowest not in self.calls:
            lowest += 1
        self._lowest = lowest
        return lowest


class Roster:
    """Connections to at most INSTANCES_MAX of the known instances, and the choice among them."""

    def __init__(self, name: str, incarnation: int, pending: Pending) -> None:
        self.name = name
        self.incarnation = incarnation
        self.known: dict[int, str] = {}
        self.instances: dict[int, Instance] = {}
        self.by_peer: dict[PeerId, Instance] = {}
        self.ready: list[Instance] = []
        self.awaited: list[tuple[int, float, object]] = []
        self.check_at = inf
        self._pending = pending

    def choose(self) -> Instance | None:
        """Least outstanding first, least recently used on ties, none without credit."""
        ready = self.ready
        if len(ready) == 1:
            only = ready[0]
            return only if len(only.calls) < only.credit else None
        best = min(ready, key=lambda i: len(i.calls), default=None)
        if best is None or len(best.calls) >= best.credit:
            return None
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

    def flush(self, now: float) -> list[Effect]:
        """One packet for each chosen instance with an outbox, more where a batch is full."""
        effects: list[Effect] = []
        for instance in self.ready:
            if instance.outbox and now >= instance.blocked_until:
                for kind, calls in instance.take_outbox():
                    effects.append(self._calls_packet(instance, kind, calls, now))
        return effects

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
        self.shift(instance, State.OPENING)
        instance.hello_at = now + HELLO_S
        self.wake(instance.hello_at)
        return [Connect(instance.peer, instance.endpoint), self._hello(instance)]

    def close(self, instance: Instance) -> list[Effect]:
        """Close the connection; the instance keeps its calls."""
        instance.ping_at = inf
        if self.by_peer.pop(instance.peer, None) is None:
            return []
        return [Disconnect(instance.peer)]

    def shift(self, instance: Instance, state: State) -> None:
        """Change the state, and with it whether the instance is chosen."""
        instance.state = state
        if (instance in self.ready) != (state is State.UP):
            if state is State.UP:
                self.ready.append(instance)
            else:
                self.ready.remove(instance)

    def awaited_over(self, now: float) -> list[Outcome]:
        """The waits for a number of chosen instances that are over; the value is the number."""
        count = len(self.ready)
        over = [wait for wait in self.awaited if count >= wait[0] or now >= wait[1]]
        if over:
            self.awaited = [wait for wait in self.awaited if wait not in over]
        for _, until, _ in self.awaited:
            self.wake(until)
        return [(waiter, count, None) for _, _, waiter in over]

    def look_after(self, instance: Instance, now: float) -> list[Effect]:
        """Do what is due for one instance: hello again, ping, and remember when next."""
        effects: list[Effect] = []
        if instance.state is State.OPENING:
            if now >= instance.hello_at:
                instance.hello_at = now + HELLO_S
                effects.append(self._hello(instance))
            self.wake(instance.hello_at)
        elif instance.state is not State.LOST:
            if now >= instance.ping_at:
                instance.ping_at = now + PING_S if instance.calls else inf
                effects.append(self._ping(instance))
            self.wake(instance.ping_at)
            if instance.blocked_until > now:
                self.wake(instance.blocked_until)
        return effects

    def wake(self, at: float) -> None:
        """Have `look_after` called at `at` at the latest."""
        self.check_at = min(self.check_at, at)

    def packet(
        self, instance: Instance, kind: int, meta: bytes, raw: bytes | None = None
    ) -> Send:
        """A packet to the instance that also says below which number all is settled."""
        settled = self._pending.settled_below()
        frame = wire.pack(kind, self.incarnation, instance.incarnation, settled, meta, raw)
        return Send(instance.peer, (frame,))

    def _hello(self, instance: Instance) -> Send:
        return self.packet(instance, wire.HELLO, encode({"name": self.name}))

    def _ping(self, instance: Instance) -> Send:
        """Ask which ids are held; say which are open, so that the others may be forgotten."""
        instance.ping_token += 1
        meta = encode([instance.ping_token, self._pending.next, list(self._pending.calls)])
        return self.packet(instance, wire.PING, meta)

    def _calls_packet(
        self, instance: Instance, kind: int, calls: list[Call], now: float
    ) -> Send:
        sequences: list[int] = []
        lefts: list[int] = []
        bodies: list[bytes] = []
        for call in calls:
            call.sent = True
            call.epoch = instance.ping_token
            sequences.append(call.sequence)
            lefts.append(max(1, int((call.deadline_at - now) * 1000)))
            bodies.append(call.body)
        meta = wire.request_columns(sequences, lefts, bodies)
        return self.packet(instance, kind, meta, calls[0].raw)
