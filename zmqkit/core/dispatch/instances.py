"""The instances that jobs are given to, and the packets that go to them.

"Client" means whoever gives jobs out: a client its calls, a pusher its leases. When an instance
is lost, the client closes the connection. The instance keeps its calls in case
it returns, except those that may move.

When an instance closes, membership tells the client so. This news may overtake the instance's
last answers, which come by another connection. So the client goes on listening to an instance
that left, for LINGER_S_MAX at most, until its last word (BYE) says which calls it had taken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from math import inf
from typing import Protocol

from zmqkit.core.dispatch.connections import Connections, Event, State
from zmqkit.core.dispatch.dispatcher import Dispatcher
from zmqkit.core.dispatch.job import Instance, Job
from zmqkit.core.dispatch.window import IsGone
from zmqkit.core.effects import Connect, Disconnect, Effect, News, Note, Send, Tell
from zmqkit.limits import EVASIVE_S, HELLO_S, LINGER_S, LINGER_S_MAX, TELL_BYTES
from zmqkit.model import Frames, PeerId, Reach, reach_of_endpoint
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Buffer, Malformed, encode
from zmqkit.wire.packet import Packet
from zmqkit.wire.rows import GrantRow, Origin, request_columns

Receiver = Callable[[Instance, Packet, float], list[Effect]]
"""Takes one kind of packet from an instance. Raises Malformed for one that makes no sense."""


class InstanceLimits(Protocol):
    """The limits that whoever gives out jobs has in common."""

    @property
    def instances_max(self) -> int:
        """Instances that are connected at most."""

    @property
    def known_max(self) -> int:
        """Instances that are remembered at most."""

    @property
    def jobs_max(self) -> int:
        """Jobs at most, in line and at all instances together."""


class Instances:
    """A client's connections, and the packets that leave by them."""

    def __init__(
        self,
        name: str,
        incarnation: int,
        limits: InstanceLimits,
        go_on: Callable[[float], list[Effect]],
        window: tuple[int, int] | None = None,
    ) -> None:
        """Begin without instances.

        go_on: the owner's function that ends orphans and gives jobs to whoever has room.
        window: what streams are granted, in values and in bytes, where there are streams.
        """
        # The owner's receivers, by the kind of packet; and why packets were not understood.
        self.receivers: dict[int, Receiver] = {}
        self.malformed: Counter[str] = Counter()
        self.connections: Connections[Instance] = Connections(
            incarnation,
            _instance,
            connections_max=limits.instances_max,
            known_max=limits.known_max,
        )
        self.dispatcher = Dispatcher(self.connections, limits.jobs_max)
        # Calls that must not move, and whose instance will not return. The client core ends
        # them before its command returns.
        self.orphans: list[Job] = []
        # Returns where a job comes from, if all jobs are requests that are passed on.
        self.origin_of: Callable[[Job], Origin] | None = None
        self._name = name
        self._incarnation = incarnation
        self._go_on = go_on
        self._window = window
        # The number of this process, which each HELLO tells; 0 if it has none.
        self._process = 0

    def at_home(self, process: int, is_gone: IsGone) -> None:
        """Learn the number of this process."""
        self._process = process

    # Packets in

    def receive(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Have the owner's receiver take a packet. Never raises for what a peer sent."""
        instance = self.connections.by_peer.get(peer)
        if instance is None:
            return []
        try:
            packet = wire.unpack(frames)
            receiver = self.receivers.get(packet.kind)
            if receiver is None or packet.target not in (0, self._incarnation):
                raise Malformed("unexpected")
            if packet.source != instance.incarnation:
                if packet.kind != wire.WELCOME:
                    raise Malformed("source")
                return self._replaced(instance, now) + self._go_on(now)
            effects = receiver(instance, packet, now)
            if instance.state is State.LEFT and (parted := self._part(instance, now)):
                return effects + parted + self._go_on(now)
            return effects
        except Malformed as error:
            self.malformed[str(error)] += 1
            return []

    # News

    def hear(self, tell: Tell, now: float) -> list[Effect]:
        """Take membership's news of one instance and decide what follows."""
        if tell.news is News.FOUND:
            return self._found(tell, now)
        instance = self.connections.by_incarnation.get(tell.incarnation)
        if instance is not None and instance.state is State.LEFT:
            return []
        if tell.news in (News.SILENT, News.ANSWERING):
            return self._hush(tell.incarnation, now, silent=tell.news is News.SILENT)
        if tell.news is News.LOST:
            if instance is None or instance.state is State.LOST:
                return []
            return self._lose(instance, now)
        self._forget(tell.incarnation, now)
        return self._ended(instance, now) if instance is not None else []

    def used(self) -> list[Instance]:
        """Return the instances that are used, though they may be out of reach for now."""
        known = self.connections.by_incarnation.values()
        return [each for each in known if not (each.passed_over or each.is_going)]

    def expect(self, incarnation: int) -> Instance:
        """Have an instance that is out of reach, and of which an earlier process knew."""
        instance = _instance(incarnation, "")
        self.connections.add(instance)
        self.connections.shift(instance, Event.LOST)
        return instance

    def _replaced(self, instance: Instance, now: float) -> list[Effect]:
        """Give an instance up, for another incarnation listens at its endpoint."""
        self._forget(instance.incarnation, now)
        return [
            Note("replaced", {"name": self._name, "endpoint": instance.endpoint}),
            self.note("gone", instance),
            *self._give_up(instance),
            *self._connect(now),
        ]

    def _part(self, instance: Instance, now: float) -> list[Effect]:
        """Forget an instance that left, if it has no calls or its time to answer is over."""
        if instance.state is not State.LEFT or (instance.jobs and now < instance.left_until):
            return []
        return self._give_up(instance) + self._connect(now)

    def tick(self, now: float) -> list[Effect]:
        """Greet again, ask instances what they hold, and forget those that left."""
        effects: list[Effect] = []
        for instance in list(self.connections.by_incarnation.values()):
            effects += self._part(instance, now)
        effects += [self._hello(instance) for instance in self.connections.unanswered(now)]
        effects += [self._ping(instance) for instance in self.dispatcher.to_ping(now)]
        return effects + self._connect(now)

    def close(self, linger_s: float) -> list[Effect]:
        """Say BYE where somebody listens, close every connection and forget every instance."""
        effects: list[Effect] = []
        for peer, instance in self.connections.by_peer.items():
            listens = instance.state in (State.UP, State.LEAVING) and not instance.silent
            if listens:
                effects.append(self.say(instance, wire.BYE, None))
            effects.append(Disconnect(peer, max(linger_s, LINGER_S) if listens else linger_s))
        self.connections.clear()
        return effects

    def check(self) -> None:
        """Assert that each call is in one place, and only lost instances are not connected."""
        self.connections.check()
        self.dispatcher.check()
        assert not self.orphans
        for instance in self.connections.by_incarnation.values():
            is_open = self.connections.by_peer.get(instance.peer) is instance
            assert is_open == (instance.state is not State.LOST)

    def _found(self, tell: Tell, now: float) -> list[Effect]:
        """Use an instance that can be reached, for the first time or again."""
        learnt = self.connections.learn(
            tell.incarnation, tell.endpoint, is_device=tell.is_device
        )
        if not learnt:
            return [Note("instances-full", {"name": self._name})]
        instance = self.connections.by_incarnation.get(tell.incarnation)
        if instance is None:
            return self._connect(now)
        here = instance.state not in (State.LOST, State.LEFT)
        if here and instance.endpoint == tell.endpoint:
            return []
        effects = self._disconnect(instance)
        instance.endpoint = tell.endpoint
        return [*effects, *self._open(instance, now)]

    def _hush(self, incarnation: int, now: float, *, silent: bool) -> list[Effect]:
        """Note that a process fell silent, and gets no new calls, or that it answers again."""
        known = self.connections.by_incarnation.get(incarnation)
        changed = known is not None and known.silent is not silent
        instance = self.connections.hush(incarnation, silent=silent)
        if instance is None or not changed:
            return self._connect(now)
        instance.away_at = min(instance.away_at, now - EVASIVE_S) if silent else inf
        if silent:
            self.dispatcher.move(instance.unsent())
        note = self.note("silent" if silent else "answering", instance)
        return [note, *self._connect(now)]

    def _lose(self, instance: Instance, now: float) -> list[Effect]:
        """Disconnect an instance whose process is out of reach; it may return."""
        instance.away_at = min(instance.away_at, now)
        effects = self._disconnect(instance)
        self.connections.shift(instance, Event.LOST)
        self.dispatcher.move(_movable(instance))
        return [self.note("lost", instance), *effects]

    def _ended(self, instance: Instance, now: float) -> list[Effect]:
        """Note that an instance has closed; its last answers may follow if it was not lost."""
        note = self.note("gone", instance)
        if self.connections.shift(instance, Event.GONE) is State.OVER:
            return [note, *self._give_up(instance), *self._connect(now)]
        instance.silent = False
        instance.left_until = now + LINGER_S_MAX
        self.dispatcher.care(instance.left_until)
        self.dispatcher.move(_movable(instance))
        return [note, *self._part(instance, now), *self._connect(now)]

    def _forget(self, incarnation: int, now: float) -> None:
        self.connections.forget(incarnation)
        self.dispatcher.look(now)  # perhaps nobody is left

    # Connections

    def _connect(self, now: float) -> list[Effect]:
        """Connect to more instances, and to others in place of those that left or are deaf."""
        begun, spare = self.connections.best(lambda instance: not instance.jobs)
        effects: list[Effect] = []
        for instance in spare:
            effects += self._give_up(instance)
        for instance in begun:
            self.connections.add(instance)
            effects += self._open(instance, now)
        return effects

    def _open(self, instance: Instance, now: float) -> list[Effect]:
        """Connect to an instance and greet it; its WELCOME will make it ready."""
        self.connections.shift(instance, Event.FOUND)
        instance.hello_s = HELLO_S
        self.connections.open(instance, now)
        instance.reach = reach_of_endpoint(instance.endpoint)
        instance.outbox.clear()
        instance.pong_token = instance.untold_bytes = 0
        return [Connect(instance.peer, instance.endpoint), self._hello(instance)]

    def _disconnect(self, instance: Instance) -> list[Effect]:
        """Close the connection of an instance, which keeps its calls."""
        instance.ping_at = inf
        return [Disconnect(instance.peer)] if self.connections.close(instance) else []

    def _give_up(self, instance: Instance) -> list[Effect]:
        """Give up an instance that will not return: its calls move, or become orphans."""
        effects = self._disconnect(instance)
        self.connections.remove(instance)
        self.dispatcher.move(_movable(instance))
        self.orphans += instance.jobs.values()
        return effects

    def note(self, what: str, instance: Instance) -> Note:
        """Return a line for the log that says what became of an instance."""
        label = f"{instance.incarnation >> 32:08x}"
        fields = {"name": self._name, "instance": label, "endpoint": instance.endpoint}
        return Note(f"instance-{what}", fields)

    # Packets out

    def say(self, instance: Instance, kind: int, meta: object) -> Send:
        """Return a packet to an instance."""
        return self._packet(instance, kind, encode(meta))

    def flush(self, now: float) -> list[Effect]:
        """Return packets with the calls that may leave the instances' outboxes now."""
        parcels = self.dispatcher.flush(now)
        return [self._calls(*parcel, now) for parcel in parcels] if parcels else []

    def have_read(
        self, instance: Instance, sequence: int, size: int, now: float
    ) -> list[Effect]:
        """Count `size` bytes of answers read from an instance; tell it if they are many.

        sequence: the highest id that they answer. The instance may hold back its next answers
        until it is told. If no lower id is open, any packet tells it, and costs less than a
        ping; otherwise a ping tells it.
        """
        instance.untold_bytes += size
        instance.read_below = max(instance.read_below, sequence + 1)
        if instance.untold_bytes < TELL_BYTES or not instance.sends:
            return []
        if self.dispatcher.settled_below() >= instance.read_below:
            return [self.say(instance, wire.CANCEL, [])]
        self.dispatcher.ask(instance, now)
        return [self._ping(instance)]

    def cancel(self, calls: Sequence[Job]) -> list[Effect]:
        """Return packets that cancel these calls at the instances that may have them."""
        sequences: dict[Instance, list[int]] = {}
        for call in calls:
            instance = call.instance
            if instance and call.copies and instance.peer in self.connections.by_peer:
                sequences.setdefault(instance, []).append(call.sequence)
        return [
            self.say(instance, wire.CANCEL, theirs) for instance, theirs in sequences.items()
        ]

    def grant(self, grants: dict[Instance, list[GrantRow]]) -> list[Effect]:
        """Return packets that tell instances how many values of their streams were taken."""
        return [
            self.say(instance, wire.GRANT, [list(column) for column in zip(*rows, strict=True)])
            for instance, rows in grants.items()
        ]

    def _packet(
        self,
        instance: Instance,
        kind: int,
        meta: bytes,
        rows: bytes = b"",
        raw: Buffer | None = None,
        *,
        is_mixed: bool = False,
    ) -> Send:
        """Return a packet, which also says below which number all ids are settled."""
        settled = self.dispatcher.settled_below()
        if settled >= instance.read_below:
            instance.untold_bytes = 0
        frames = wire.pack(
            kind,
            self._incarnation,
            instance.incarnation,
            settled,
            meta,
            rows,
            raw,
            far=instance.reach > Reach.LOCAL,
            is_mixed=is_mixed,
        )
        return Send(instance.peer, frames)

    def _hello(self, instance: Instance) -> Send:
        fields: dict[str, object] = {"name": self._name}
        if instance.reach > Reach.LOCAL:
            fields["lz4"] = True
        if self._process:
            fields["process"] = self._process
        return self.say(instance, wire.HELLO, fields)

    def _ping(self, instance: Instance) -> Send:
        """Return a ping, which asks an instance what it holds.

        It says which ids are open, so that the service may forget its answers to the others. It
        names the last pong that was read, so that the service knows what was read before it.
        """
        dispatcher = self.dispatcher
        told: list[object] = [instance.ping_token, dispatcher.next, dispatcher.needed()]
        if instance.pong_token:
            told.append(instance.pong_token)
        return self.say(instance, wire.PING, told)

    def _calls(self, instance: Instance, kind: int, calls: list[Job], now: float) -> Send:
        origins: list[Origin] | None = None
        if self.origin_of is not None and instance.takes_origins:
            origins = list(map(self.origin_of, calls))
        if len(calls) == 1 and kind != wire.STREAM:  # a single call pays for no list
            [call] = calls
            left_ms, row = max(1, int((call.deadline_at - now) * 1000)), call.row
            columns = request_columns(
                (call.sequence,), (left_ms,), (call.method,), (call.priority,), (row,), None,
                origins,
            )  # fmt: skip
            return self._packet(
                instance, kind, columns, row, call.raw, is_mixed=origins is not None
            )
        lefts = [int((call.deadline_at - now) * 1000) for call in calls]
        if min(lefts) < 1:
            lefts = [max(1, left_ms) for left_ms in lefts]
        rows = [call.row for call in calls]
        columns = request_columns(
            [call.sequence for call in calls],
            lefts,
            [call.method for call in calls],
            [call.priority for call in calls],
            rows,
            self._window if kind == wire.STREAM else None,
            origins,
        )
        return self._packet(
            instance, kind, columns, b"".join(rows), calls[0].raw, is_mixed=origins is not None
        )


def credit_of(value: object, most: int) -> int:
    """Return the credit that an instance gives, at most `most`. Else raise Malformed."""
    if type(value) is not int or value < 1:
        raise Malformed("credit")
    return min(value, most)


def journal_of(value: object) -> int:
    """Return the number of an instance's journal; 0 if it has none."""
    return value if type(value) is int and 0 < value < 1 << 64 else 0


def _instance(incarnation: int, endpoint: str) -> Instance:
    return Instance(incarnation, incarnation.to_bytes(8, "big"), endpoint)


def _movable(instance: Instance) -> list[Job]:
    """Return the calls of an instance that may move to another instance."""
    return [call for call in instance.jobs.values() if call.may_move]
