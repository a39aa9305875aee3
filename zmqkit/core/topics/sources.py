"""The publishers of one subscriber: what is subscribed to on each, and how far each one is.

Each publisher has a connection of its own. On a new connection the subscriber first sends its
subscriptions, the last of them to its own incarnation, and then HELLO. A publisher that answers
this HELLO with WELCOME has all subscriptions in place. A WELCOME that answers no HELLO means
that ZeroMQ opened the connection anew, so the subscriber says HELLO again.

A forwarder is used as a publisher is, but passes on what others published. Of the forwarders of
a name one is used. When it is lost, leaves, falls silent or never answers, the next is used.
Publishers are left while a forwarder is used, as `Turning` says.
"""

from __future__ import annotations

from collections.abc import Iterable

from zmqkit.core.dispatch.connections import Connections, Event, State
from zmqkit.core.effects import Connect, Disconnect, Effect, Note, Send
from zmqkit.core.topics.histories import Histories, Shared
from zmqkit.core.topics.origins import Origins
from zmqkit.core.topics.positions import Position
from zmqkit.core.topics.prefixes import Prefixes
from zmqkit.core.topics.recovery import Holding
from zmqkit.core.topics.source import Source
from zmqkit.core.topics.standby import Standby
from zmqkit.core.topics.turning import Turning
from zmqkit.forwarder_limits import WAY_S
from zmqkit.limits import DEVICES_MAX, HELLO_S, SubscriberLimits
from zmqkit.model import Frames, Reach, reach_of_endpoint
from zmqkit.wire import packet as wire
from zmqkit.wire import publication
from zmqkit.wire.encoding import Malformed
from zmqkit.wire.packet import Packet


class Sources:
    """The publishers in use, and those used before, by incarnation and by connection.

    The socket of a publisher that was lost is kept: what it had sent is still read, at the
    latest before news that closes the socket.
    """

    def __init__(
        self,
        name: str,
        incarnation: int,
        prefixes: Iterable[str],
        limits: SubscriberLimits,
        *,
        tag: bytes = b"p",
        history: int = 0,
        recovers: bool = False,
        shared: Shared | None = None,
    ) -> None:
        """incarnation: the subscriber's own. tag: how its connections' names begin.

        history, recovers: see `Recovery`. shared: of a forwarder that has several of these.
        Raises UsageError for a wrong prefix.
        """
        # Of a forwarder: how many subscribers have joined there.
        self.stands_for: int | None = None
        self.about: dict[str, object] = {}  # the space, if it has a name
        self.holding = shared.holding if shared is not None else Holding(limits)
        self._tag = tag
        self.histories = Histories(self.holding, self.find, history=history, recovers=recovers)
        self.name = name
        self.incarnation = incarnation
        self.limits = limits
        self.connections: Connections[Source] = Connections(
            incarnation,
            self._make,
            connections_max=limits.publishers_max,
            known_max=limits.known_max,
        )
        self.by_peer = self.connections.by_peer
        self.origins = (
            shared.origins
            if shared is not None
            else Origins(limits.topics_max, limits.origins_max, self.forgot)
        )
        self.standby = Standby(DEVICES_MAX)
        self.turning = Turning()
        self._gone: dict[int, Source] = {}
        self.prefixes = Prefixes(limits.prefixes_max)
        self.prefixes.add(prefixes)

    @property
    def up_count(self) -> int:
        """How many publishers have all subscriptions in place."""
        return len(self.connections.ready)

    @property
    def due_at(self) -> float:
        """When `tick` is due next."""
        return min(self.connections.due_at, self.turning.due_at)

    @property
    def all(self) -> list[Source]:
        """The publishers in use, reachable or not."""
        return list(self.connections.by_incarnation.values())

    def subscribe(self, prefixes: Iterable[str], now: float) -> list[Effect]:
        """Have every publisher send topics with these prefixes too."""
        added = self.prefixes.add(prefixes)
        effects: list[Effect] = []
        for source in self.all if added else ():
            if source.state is State.LOST:
                source.token += 1  # an answer to what it was told before this counts no more
                continue
            effects += [_send(source, publication.SUBSCRIBE + prefix) for prefix in added]
            effects += self._renew(source, now)
        return effects

    def place(self, prefix: bytes) -> list[Effect]:
        """Subscribe to one more prefix everywhere; `ask` says when it is in place."""
        self.prefixes.place(prefix)
        return self._to_all(publication.SUBSCRIBE + prefix)

    def displace(self, prefix: bytes) -> list[Effect]:
        """End the subscription to a prefix everywhere."""
        self.prefixes.displace(prefix)
        return self._to_all(publication.UNSUBSCRIBE + prefix)

    def ask(self, now: float) -> list[Effect]:
        """Ask all publishers to say that what was sent to them before is in place."""
        effects: list[Effect] = []
        for source in self.all:
            source.token += source.state is State.LOST  # as in `subscribe`
            if source.is_open:
                source.rejoins &= source.state is not State.UP
                effects += self._renew(source, now)
        return effects

    def unsubscribe(self, prefixes: Iterable[str]) -> list[Effect]:
        """Have no publisher send topics with these prefixes any more."""
        removed = self.prefixes.remove(prefixes)
        # If a topic is subscribed to again, messages published meanwhile are not missing.
        self.origins.keep(self.prefixes.starts)
        effects: list[Effect] = []
        for source in [*self.all, *self._gone.values()]:
            source.keep(self.prefixes.starts)
            if source.state not in (State.LOST, State.OVER):
                effects += [_send(source, publication.UNSUBSCRIBE + p) for p in removed]
        return effects

    def begin_anew(self) -> None:
        """Have topics that are not subscribed to any more begin anew, once nothing is held."""
        for source in [*self.all, *self._gone.values()]:
            source.retain(self.prefixes.starts)

    # News

    def found(
        self, incarnation: int, endpoint: str, now: float, *, forwards: bool = False
    ) -> list[Effect]:
        """Use a publisher that can be reached at `endpoint`.

        incarnation: 0 for any publisher that is there. forwards: it is a forwarder, which
        stands by while another one of the name is in use.
        """
        self.histories.meet(now)
        if forwards:
            used = self.standby.found(incarnation, endpoint)
            self.connections.hush(incarnation, silent=False)
            return self._use(now) if used else []
        if not self._is_left(incarnation, endpoint):
            return self._found(incarnation, endpoint, now)
        left = self.turning.left
        if incarnation in left or len(left) < self.limits.known_max:
            left[incarnation] = endpoint
        return []

    def _found(self, incarnation: int, endpoint: str, now: float) -> list[Effect]:
        connections = self.connections
        source = self.find(incarnation)
        if source is None:
            if 0 in connections.by_incarnation:
                return []  # not the publisher at the fixed address
            connections.learn(incarnation, endpoint)
            effects = self._connect(now)
            if incarnation not in connections.by_incarnation:
                effects.append(Note("publishers-full", {"name": self.name}))
            return effects
        if not self.replaces(incarnation, endpoint):
            return []
        if not source.fixed:
            connections.learn(incarnation, endpoint)
            source.endpoint = endpoint
        return self._open(source, now)

    def find(self, incarnation: int) -> Source | None:
        """Return the publisher in use of that incarnation, which may be at a fixed address."""
        by_incarnation = self.connections.by_incarnation
        fixed = by_incarnation.get(0)
        if fixed is not None and incarnation == fixed.publisher:
            return fixed
        return by_incarnation.get(incarnation)

    def replaces(self, incarnation: int, endpoint: str) -> bool:
        """Return whether `found` makes a connection anew, and so closes the one before."""
        source = self.find(incarnation)
        if source is None or source.ended:
            return False
        moved = not source.fixed and source.endpoint != endpoint
        return moved or source.state is State.LOST

    def turns(self, incarnation: int) -> bool:
        """Return whether another forwarder is used, and this one closed, once it is lost."""
        return bool(self.standby.other(incarnation))

    def lost(self, incarnation: int, now: float) -> list[Effect]:
        """Note that a publisher is out of reach. What it sent is read, and it may return."""
        source = self.find(incarnation)
        if source is not None:
            self.connections.shift(source, Event.LOST)
        return self._use(now) if self.standby.lose(incarnation) else []

    def hush(self, incarnation: int, now: float, *, silent: bool) -> list[Effect]:
        """Note that a process fell silent or answers again; turn from a silent forwarder."""
        if incarnation in self.standby.known:
            self.connections.hush(incarnation, silent=silent)
        return self._use(now) if self.standby.hush(incarnation, silent=silent) else []

    def left(self, source: Source, now: float) -> list[Effect]:
        """Leave a publisher that said BYE behind all that it published."""
        if source.fixed:
            self._again(source, now)  # any publisher that comes to that address is as good
        else:
            self.connections.shift(source, Event.LOST)
            source.ended = True
        other = self.standby.lose(source.incarnation)
        return [Disconnect(source.peer), *(self._use(now) if other else [])]

    def gone(self, incarnation: int, now: float) -> list[Effect]:
        """Give up a publisher that is not expected back, and remember how far it was."""
        source = self.find(incarnation)
        self.connections.forget(incarnation)
        self.turning.left.pop(incarnation, None)
        effects = self._use(now) if self.standby.lose(incarnation) else []
        if source is None or source.state is State.OVER:
            return effects
        if source.fixed:
            self._again(source, now)
            return []
        return effects + self._give_up(source) + self._connect(now)

    def close(self) -> list[Effect]:
        """Leave every publisher."""
        left = [source for source in self.all if not source.ended]
        self.connections.clear()
        self.turning.left.clear()
        return [Disconnect(source.peer) for source in left]

    def adopt(self, source: Source, incarnation: int, now: float) -> None:
        """Note that another publisher is at a fixed address now."""
        if source.publisher:
            source.token += 1  # the last HELLO joined only the publisher before this one
            self.connections.shift(source, Event.FOUND)
            self.connections.greet_at(source, now)
        source.adopt(incarnation)

    def welcomed(self, source: Source, packet: Packet, now: float) -> list[Effect]:
        """Take a WELCOME: the publisher answered, or its connection was opened anew."""
        fields = wire.fields_of(packet)
        if source.fixed and (why := source.refuse(self.name, fields, self.about)) is not None:
            return [why]
        source.waits = fields.get("waits") is True
        source.path, source.seeks = publication.path_of(packet), publication.seeks_of(packet)
        if fields.get("history") is True:
            self.histories.use(source)
        source.is_early = self.histories.are_hidden_by(source, now)
        if source.is_early:
            self.connections.greet_at(source, self.histories.met_at)
            return []
        token = fields.get("token")
        if type(token) is int and source.answered < token <= source.token:
            source.answered = token
        if token == source.token and not source.broken:
            if source.state is not State.UP:
                source.new_at = now
            self.connections.shift(source, Event.WELCOME)
            if source.rejoins or source.recovery is None:
                source.settle(self.prefixes.starts)
            source.rejoins = True
            return source.watch(fields, self.name) + self._return_to_others(now)
        source.rejoins = True
        return self._renew(source, now) if source.state is State.UP else []

    def other(self, source: Source, packet: Packet, now: float) -> list[Effect]:
        """Take a packet from a publisher that is not the expected one at its address.

        Returns no effects at a fixed address: the publisher there is adopted, and the packet is
        then taken as usual.
        """
        if not packet.source:
            raise Malformed("source")
        if source.fixed:
            self.adopt(source, packet.source, now)
            return []
        if packet.kind != wire.WELCOME:
            raise Malformed("source")
        note = Note("replaced", {"name": self.name, "endpoint": source.endpoint})
        return [note, *self.gone(source.publisher, now)]

    def wants(self, topic: bytes) -> bool:
        """Whether a topic is subscribed to."""
        return self.prefixes.want(topic)

    def recoverer(self, source: Source, position: Position) -> Source | None:
        """Return who is asked for what a topic lacks; see `Histories.recoverer`."""
        return self.histories.recoverer(source, position)

    def keeper(self, source: Source, position: Position) -> Source | None:
        """Return who is to be asked from now on; see `Histories.keeper`."""
        return self.histories.keeper(source, position)

    def comes_otherwise(self, position: Position, source: Source, now: float) -> bool:
        """Return whether what is missing on the way by a source is about to come another way.

        That is so while the source is new, and the way before it is open.
        """
        way = position.way
        if way is source or now >= source.new_at + WAY_S:
            return False
        return any(
            each is way and each.is_open and not each.silent for each in self.by_peer.values()
        )

    def turn(self, now: float) -> list[Effect]:
        """Leave the publishers for the forwarder, or return to them, if it is time."""
        connections, left = self.connections, self.turning.left
        used = connections.by_incarnation.get(self.standby.used)
        direct = [each for each in self.all if not each.is_device]
        serves = used is not None and self.standby.serves and used.is_open and not used.is_deaf
        serves = serves and used is not None and self.histories.are_in(used)
        in_place = used in connections.ready and 0 not in connections.known
        hears = any(each.waits is not None for each in direct)
        lacks = not all(each.lacks_nothing for each in direct)
        lacks |= used is not None and used.recovery is not None and used.recovery.joining
        in_place = serves and in_place
        if not self.turning.look(
            now, serves=serves, in_place=in_place, lacks=lacks, hears=hears
        ):
            return []
        if not self.turning.uses_forwarder:
            for incarnation, endpoint in left.items():
                connections.learn(incarnation, endpoint)
            left.clear()
            return self._connect(now)
        for incarnation, endpoint in [*connections.known.items()]:
            if incarnation not in self.standby.known and self._covers(endpoint):
                left[incarnation] = endpoint
                connections.forget(incarnation)
        covered = [each for each in direct if self._covers(each.endpoint)]
        return [effect for each in covered for effect in self._give_up(each)]

    def _return_to_others(self, now: float) -> list[Effect]:
        """Hear publishers again that the forwarder now in use may not hear."""
        left = self.turning.left
        others = {each: where for each, where in left.items() if not self._covers(where)}
        for incarnation, endpoint in others.items():
            del left[incarnation]
            self.connections.learn(incarnation, endpoint)
        return self._connect(now) if others else []

    def _is_left(self, incarnation: int, endpoint: str) -> bool:
        """Whether a publisher that was found is left to the forwarder, as far as is known.

        What the next forwarder covers is unknown until it has answered.
        """
        used = self.connections.by_incarnation.get(self.standby.used)
        if used is None or not self.turning.uses_forwarder or self.find(incarnation):
            return False
        return used.waits is None or used.covers(endpoint)

    def _covers(self, endpoint: str) -> bool:
        """Whether the forwarder in use hears the publisher at an endpoint as well."""
        used = self.connections.by_incarnation.get(self.standby.used)
        return used is not None and used.covers(endpoint)

    def tick(self, now: float) -> list[Effect]:
        """Repeat each HELLO that was not answered, and connect to more publishers."""
        effects: list[Effect] = []
        for source in self.connections.unanswered(now):
            if source.is_deaf and self.standby.fail(source.incarnation):
                effects += self._use(now)
            else:
                effects += self._open(source, now) if source.broken else [self._hello(source)]
        return effects + self._connect(now) + self.turn(now)

    def check(self) -> None:
        """Assert that the tables agree and are not too large."""
        self.connections.check()
        self.origins.check()
        self.standby.check()
        assert sum(source.is_device for source in self.all) <= 1
        assert not self.turning.left.keys() & self.connections.by_incarnation.keys()
        assert self.turning.uses_forwarder or not self.turning.left
        assert len(self._gone) <= self.limits.publishers_max
        assert not self._gone.keys() & self.connections.by_incarnation.keys()

    # Inside

    def _make(self, incarnation: int, endpoint: str) -> Source:
        """Return a publisher that is new, or that is remembered."""
        source = self._gone.pop(incarnation, None)
        if source is None:
            peer = self._tag + incarnation.to_bytes(8, "big")
            return Source(
                incarnation, peer, endpoint, publisher=incarnation, origins=self.origins
            )
        source.state, source.endpoint, source.hello_s = State.OPENING, endpoint, HELLO_S
        return source

    def forgot(self, publisher: int, positions: Iterable[Position] = ()) -> None:
        """Note that topics of a publisher were forgotten for lack of room."""
        self.histories.forgot(self.find(publisher) or self._gone.get(publisher))

    def _connect(self, now: float) -> list[Effect]:
        """Connect to known publishers, in free room or in place of those that never answer."""
        begun, spare = self.connections.best(lambda source: True)
        effects: list[Effect] = []
        for source in spare:
            effects += self._give_up(source)
        for source in begun:
            self.connections.add(source)
            effects += self._open(source, now)
        return effects

    def _give_up(self, source: Source) -> list[Effect]:
        """Close a publisher's connection, and remember it among those that were in use."""
        self.connections.close(source)
        self.connections.remove(source)
        self._gone[source.publisher] = source
        if len(self._gone) > self.limits.publishers_max:
            oldest = next(iter(self._gone))
            del self._gone[oldest]
            self.origins.leave(oldest)
        return [] if source.ended else [Disconnect(source.peer)]

    def _use(self, now: float) -> list[Effect]:
        """Connect to the forwarder that is to be used now, and leave the one before."""
        used, effects = self.standby.used, list[Effect]()
        for source in self.all:
            if source.is_device and source.incarnation != used:
                self.connections.forget(source.incarnation)
                effects += self._give_up(source)
        effects += self._found(used, self.standby.known[used], now)
        if used in self.connections.by_incarnation:
            self.connections.by_incarnation[used].is_device = True
        return effects

    def _to_all(self, frame: bytes) -> list[Effect]:
        return [_send(source, frame) for source in self.all if source.is_open]

    def _again(self, source: Source, now: float) -> None:
        """Have the connection to a fixed address made anew, a moment from now."""
        self.connections.shift(source, Event.FOUND)
        source.broken, source.misnamed, source.apart = True, "", ""
        self.connections.greet_at(source, now + source.hello_s)

    def _open(self, source: Source, now: float) -> list[Effect]:
        self.connections.shift(source, Event.FOUND)
        self.connections.open(source, now)
        source.broken = source.ended = False
        source.new_at, source.rejoins = now, True
        topics = [*self.prefixes, publication.private(publication.EVERYBODY)]
        topics.append(publication.private(self.incarnation))
        return [
            Connect(source.peer, source.endpoint),
            *(_send(source, publication.SUBSCRIBE + topic) for topic in topics),
            self._hello(source),
        ]

    def _renew(self, source: Source, now: float) -> list[Effect]:
        """Ask a publisher to say once more that all subscriptions are in place."""
        self.connections.shift(source, Event.RENEWED)
        self.connections.greet_at(source, now + source.hello_s)
        return [self._hello(source)]

    def _hello(self, source: Source) -> Send:
        source.token += 1
        fields: dict[str, object] = {"token": source.token, "name": self.name}
        fields |= wire.named(wire.space_of(self.about))
        if reach_of_endpoint(source.endpoint) > Reach.LOCAL:
            fields["lz4"] = True
        if self.stands_for is not None:
            fields["subscribers"] = self.stands_for
        return self.say(source, wire.HELLO, fields)

    def say(self, source: Source, kind: int, meta: object) -> Send:
        """Return the sending of a packet to a publisher."""
        frames = publication.to_publisher(kind, self.incarnation, source.publisher, meta)
        return Send(source.peer, frames)


def _send(source: Source, frame: bytes) -> Send:
    frames: Frames = (frame,)
    return Send(source.peer, frames)
