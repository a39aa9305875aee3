"""The instances that a client uses as they come and go, and what it says to them.

A client closes the connection of an instance that was lost, whose calls stay with it in case it
returns. That an instance has closed is told by another connection than its answers come by, and
may overtake them. So the client goes on listening to one that left until its last word (BYE),
which says what it had taken, for LINGER_S_MAX at most.
"""

from __future__ import annotations

from math import inf

from zmqkit.core.dispatch.connections import Connections, Event, State
from zmqkit.core.dispatch.dispatcher import Dispatcher
from zmqkit.core.dispatch.job import Instance, Job
from zmqkit.core.effects import Connect, Disconnect, Effect, News, Note, Send, Tell
from zmqkit.limits import HELLO_S, LINGER_S_MAX, TELL_BYTES, ClientLimits
from zmqkit.model import Reach, reach_of_endpoint
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Buffer, encode
from zmqkit.wire.rows import GrantRow, request_columns


class Instances:
    """A client's connections, and the way of its packets to them.

    orphans: calls whose instance does not return and that must not move. Whoever owns this ends
    them before it is done.
    """

    def __init__(self, name: str, incarnation: int, limits: ClientLimits) -> None:
        self.connections: Connections[Instance] = Connections(
            incarnation,
            _instance,
            connections_max=limits.instances_max,
            known_max=limits.known_max,
        )
        self.dispatcher = Dispatcher(self.connections, limits.calls_max)
        self.orphans: list[Job] = []
        self._name = name
        self._incarnation = incarnation
        self._window = (limits.stream_items_max, limits.stream_bytes_max)

    # News

    def hear(self, tell: Tell, now: float) -> list[Effect]:
        """Take membership's news of one instance."""
        if tell.news is News.FOUND:
            return self._found(tell.incarnation, tell.endpoint, now)
        instance = self.connections.by_incarnation.get(tell.incarnation)
        if instance is not None and instance.state is State.LEFT:
            return []
        if tell.news in (News.SILENT, News.ANSWERING):
            return self._hush(tell.incarnation, now, silent=tell.news is News.SILENT)
        if tell.news is News.LOST:
            if instance is None or instance.state is State.LOST:
                return []
            return self._lose(instance)
        self._forget(tell.incarnation, now)
        return self._ended(instance, now) if instance is not None else []

    def replaced(self, instance: Instance, now: float) -> list[Effect]:
        """Another incarnation listens where this one did."""
        self._forget(instance.incarnation, now)
        return [
            Note("replaced", {"name": self._name, "endpoint": instance.endpoint}),
            self.note("gone", instance),
            *self._give_up(instance),
            *self._connect(now),
        ]

    def part(self, instance: Instance, now: float) -> list[Effect]:
        """Forget an instance that left, if it owes nothing or has had its time."""
        if instance.state is not State.LEFT or (instance.jobs and now < instance.left_until):
            return []
        return self._give_up(instance) + self._connect(now)

    def tick(self, now: float) -> list[Effect]:
        """Greet again, ask what is held, forget those that left."""
        effects: list[Effect] = []
        for instance in list(self.connections.by_incarnation.values()):
            effects += self.part(instance, now)
        effects += [self._hello(instance) for instance in self.connections.unanswered(now)]
        effects += [self._ping(instance) for instance in self.dispatcher.to_ping(now)]
        return effects + self._connect(now)

    def close(self, linger_s: float) -> list[Effect]:
        """Close every connection and forget every instance."""
        peers = list(self.connections.by_peer)
        self.connections.clear()
        return [Disconnect(peer, linger_s) for peer in peers]

    def check(self) -> None:
        """Each call is in one place, and what is not lost is connected."""
        self.connections.check()
        self.dispatcher.check()
        assert not self.orphans
        for instance in self.connections.by_incarnation.values():
            is_open = self.connections.by_peer.get(instance.peer) is instance
            assert is_open == (instance.state is not State.LOST)

    def _found(self, incarnation: int, endpoint: str, now: float) -> list[Effect]:
        """An instance can be reached at `endpoint`, for the first time or anew."""
        if not self.connections.learn(incarnation, endpoint):
            return [Note("instances-full", {"name": self._name})]
        instance = self.connections.by_incarnation.get(incarnation)
        if instance is None:
            return self._connect(now)
        here = instance.state not in (State.LOST, State.LEFT)
        if here and instance.endpoint == endpoint:
            return []
        effects = self._disconnect(instance)
        instance.endpoint = endpoint
        return [*effects, *self._open(instance, now)]

    def _hush(self, incarnation: int, now: float, *, silent: bool) -> list[Effect]:
        """A process fell silent, so its instance is not chosen, or it answers again."""
        known = self.connections.by_incarnation.get(incarnation)
        changed = known is not None and known.silent is not silent
        instance = self.connections.hush(incarnation, silent=silent)
        if instance is None or not changed:
            return self._connect(now)
        if silent:
            self.dispatcher.move(instance.unsent())
        note = self.note("silent" if silent else "answering", instance)
        return [note, *self._connect(now)]

    def _lose(self, instance: Instance) -> list[Effect]:
        """The instance's process is out of reach; it may return."""
        effects = self._disconnect(instance)
        self.connections.shift(instance, Event.LOST)
        self.dispatcher.move(_movable(instance))
        return [self.note("lost", instance), *effects]

    def _ended(self, instance: Instance, now: float) -> list[Effect]:
        """The instance has closed; what it answered last may follow if it was not lost."""
        note = self.note("gone", instance)
        if self.connections.shift(instance, Event.GONE) is State.OVER:
            return [note, *self._give_up(instance), *self._connect(now)]
        instance.silent = False
        instance.left_until = now + LINGER_S_MAX
        self.dispatcher.care(instance.left_until)
        self.dispatcher.move(_movable(instance))
        return [note, *self.part(instance, now), *self._connect(now)]

    def _forget(self, incarnation: int, now: float) -> None:
        self.connections.forget(incarnation)
        self.dispatcher.look(now)  # perhaps nobody is left

    # Connections

    def _connect(self, now: float) -> list[Effect]:
        """Connect to more instances, and to others in place of those that are of no use."""
        begun, spare = self.connections.best(lambda instance: not instance.jobs)
        effects: list[Effect] = []
        for instance in spare:
            effects += self._give_up(instance)
        for instance in begun:
            self.connections.add(instance)
            effects += self._open(instance, now)
        return effects

    def _open(self, instance: Instance, now: float) -> list[Effect]:
        """Connect and say hello; WELCOME makes it ready."""
        self.connections.shift(instance, Event.FOUND)
        instance.hello_s = HELLO_S
        self.connections.open(instance, now)
        instance.reach = reach_of_endpoint(instance.endpoint)
        instance.outbox.clear()
        instance.pong_token = instance.untold_bytes = 0
        return [Connect(instance.peer, instance.endpoint), self._hello(instance)]

    def _disconnect(self, instance: Instance) -> list[Effect]:
        """Close the connection; the instance keeps its calls."""
        instance.ping_at = inf
        return [Disconnect(instance.peer)] if self.connections.close(instance) else []

    def _give_up(self, instance: Instance) -> list[Effect]:
        """The instance will not return: its calls move, or are orphans."""
        effects = self._disconnect(instance)
        self.connections.remove(instance)
        self.dispatcher.move(_movable(instance))
        self.orphans += instance.jobs.values()
        return effects

    def note(self, what: str, instance: Instance) -> Note:
        """A line for the log: what became of an instance."""
        label = f"{instance.incarnation >> 32:08x}"
        fields = {"name": self._name, "instance": label, "endpoint": instance.endpoint}
        return Note(f"instance-{what}", fields)

    # Packets out

    def say(self, instance: Instance, kind: int, meta: object) -> Send:
        """A packet to an instance."""
        return self._packet(instance, kind, encode(meta))

    def flush(self, now: float) -> list[Effect]:
        """One packet for each instance that was given calls since the last flush."""
        parcels = self.dispatcher.flush(now)
        return [self._calls(*parcel, now) for parcel in parcels] if parcels else []

    def have_read(
        self, instance: Instance, sequence: int, size: int, now: float
    ) -> list[Effect]:
        """Count what was read of an instance's answers, the last of them to that id, and say so
        if that is much: it may wait for that with the next.

        Any packet says so if nothing below is open, and is cheaper than a ping.
        """
        instance.untold_bytes += size
        instance.read_below = max(instance.read_below, sequence + 1)
        if instance.untold_bytes < TELL_BYTES or not instance.sends:
            return []
        if self.dispatcher.settled_below() >= instance.read_below:
            return [self.say(instance, wire.CANCEL, [])]
        self.dispatcher.ask(instance, now)
        return [self._ping(instance)]

    def cancel(self, calls: list[Job]) -> list[Effect]:
        """Tell the instances that may have these calls, which are about to end, of that."""
        sequences: dict[Instance, list[int]] = {}
        for call in calls:
            instance = call.instance
            if instance and call.copies and instance.peer in self.connections.by_peer:
                sequences.setdefault(instance, []).append(call.sequence)
        return [
            self.say(instance, wire.CANCEL, theirs) for instance, theirs in sequences.items()
        ]

    def grant(self, grants: dict[Instance, list[GrantRow]]) -> list[Effect]:
        """Tell instances how far their streams are read."""
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
    ) -> Send:
        """A packet that also says below which number all is settled."""
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
        )
        return Send(instance.peer, frames)

    def _hello(self, instance: Instance) -> Send:
        fields: dict[str, object] = {"name": self._name}
        if instance.reach > Reach.LOCAL:
            fields["lz4"] = True
        return self.say(instance, wire.HELLO, fields)

    def _ping(self, instance: Instance) -> Send:
        """Ask what is held; say which ids are open, so that the others may be forgotten, and
        what was read."""
        dispatcher = self.dispatcher
        told: list[object] = [instance.ping_token, dispatcher.next, list(dispatcher.jobs)]
        if instance.pong_token:
            told.append(instance.pong_token)
        return self.say(instance, wire.PING, told)

    def _calls(self, instance: Instance, kind: int, calls: list[Job], now: float) -> Send:
        if len(calls) == 1 and kind != wire.STREAM:  # a call alone pays for no list
            [call] = calls
            left_ms, row = max(1, int((call.deadline_at - now) * 1000)), call.row
            columns = request_columns(
                (call.sequence,), (left_ms,), (call.method,), (call.priority,), (row,)
            )
            return self._packet(instance, kind, columns, row, call.raw)
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
        )
        return self._packet(instance, kind, columns, b"".join(rows), calls[0].raw)


def _instance(incarnation: int, endpoint: str) -> Instance:
    return Instance(incarnation, incarnation.to_bytes(8, "big"), endpoint)


def _movable(instance: Instance) -> list[Job]:
    """The calls of an instance that may go elsewhere."""
    return [call for call in instance.jobs.values() if call.may_move]
