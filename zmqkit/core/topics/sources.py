"""The publishers of one subscriber: what is subscribed to on each, and how far each one is.

Each publisher has a connection of its own. On a new connection the subscriber first sends its
subscriptions, the last of them to its own incarnation, and then HELLO. A publisher that answers
this HELLO with WELCOME has all subscriptions in place. A WELCOME that answers no HELLO means
that ZeroMQ opened the connection anew, so the subscriber says HELLO again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from zmqkit.core.dispatch.connections import Connection, Connections, Event, State
from zmqkit.core.effects import Connect, Disconnect, Effect, Note, Send, Watch
from zmqkit.core.membership.directory import directory_of
from zmqkit.errors import UsageError
from zmqkit.limits import TOPICS_MAX, SubscriberLimits
from zmqkit.model import Frames, Reach, reach_of_endpoint
from zmqkit.wire import packet as wire
from zmqkit.wire import publication
from zmqkit.wire.encoding import Malformed
from zmqkit.wire.packet import Packet


@dataclass(slots=True, eq=False)
class Position:
    """How far a publisher is in one topic."""

    topic: bytes
    name: str
    fresh: bool = False  # its subscription may not have been in place, so no gap counts yet
    next: int = 0  # the number that its next message is to have; 0 for any


@dataclass(slots=True, eq=False)
class Source(Connection):
    """A publisher: the connection to it, what it is like, and how far it is.

    The connection's `incarnation` is 0 if it is to any publisher that is at its address.
    """

    publisher: int = 0  # the incarnation of the publisher there; 0 while it is unknown
    topics_max: int = TOPICS_MAX  # how many positions are kept
    # Whether the publisher waits for this subscriber, and so needs its credit. None before the
    # first WELCOME; until then its messages are passed over.
    waits: bool | None = None
    token: int = 0  # of the last HELLO
    credited: int = 0  # the last of its marks that was answered
    # The prefixes that were in place at a WELCOME and were kept since, over any connection.
    placed: tuple[bytes, ...] = ()
    # The connection is to be made anew: a subscription did not leave, or the publisher at a
    # fixed address left.
    broken: bool = False
    watched: bool = False  # membership was asked to watch its process
    ended: bool = False  # it said BYE
    # The name of the publisher there, if another one stands behind the address.
    misnamed: str = ""
    positions: dict[bytes, Position] = field(default_factory=dict)
    last: Position | None = None  # of its newest message; the next one is likely there, too

    @property
    def fixed(self) -> bool:
        """Whether any publisher at its address is meant."""
        return not self.incarnation

    def position(self, topic: bytes) -> Position:
        """Return how far it is in a topic. Raises Malformed for a topic that is not text."""
        position = self.positions.get(topic)
        if position is None:
            try:
                name = topic.decode()
            except UnicodeDecodeError as error:
                raise Malformed("topic") from error
            if len(self.positions) >= self.topics_max:
                del self.positions[next(iter(self.positions))]
            fresh = not topic.startswith(self.placed)
            position = self.positions[topic] = Position(topic, name, fresh)
        return position

    def adopt(self, publisher: int) -> None:
        """Note that another publisher is there now, and forget what was known of the last."""
        self.publisher = publisher
        self.waits, self.credited = None, 0
        self.watched = False
        self.misnamed = ""
        self.placed = ()
        self.positions.clear()

    def settle(self, prefixes: tuple[bytes, ...]) -> None:
        """Note that all subscriptions are in place; topics heard before that begin anew."""
        self.placed = prefixes
        self.positions = {t: each for t, each in self.positions.items() if not each.fresh}

    def keep(self, prefixes: tuple[bytes, ...]) -> None:
        """Forget all but these prefixes, which alone are still subscribed to.

        If a topic is subscribed to again, messages published meanwhile do not count as missing.
        """
        kept = frozenset(prefixes)
        self.placed = tuple(prefix for prefix in self.placed if prefix in kept)
        self.positions = {
            topic: each for topic, each in self.positions.items() if topic.startswith(prefixes)
        }


class Sources:
    """The publishers in use, and those used before, by incarnation and by connection.

    The socket of a publisher that was lost is kept: what it had sent is still read.
    """

    def __init__(
        self, name: str, incarnation: int, prefixes: Iterable[str], limits: SubscriberLimits
    ) -> None:
        """incarnation: the subscriber's own. Raises UsageError for a wrong prefix."""
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
        self._gone: dict[int, Source] = {}
        self._prefixes: dict[bytes, None] = {}
        self._starts: tuple[bytes, ...] = ()
        self._add(prefixes)

    @property
    def up_count(self) -> int:
        """How many publishers have all subscriptions in place."""
        return len(self.connections.ready)

    @property
    def all(self) -> list[Source]:
        """The publishers in use, reachable or not."""
        return list(self.connections.by_incarnation.values())

    def wanted(self, topic: bytes) -> bool:
        """Whether a topic begins with one of the prefixes."""
        return topic.startswith(self._starts)

    def subscribe(self, prefixes: Iterable[str], now: float) -> list[Effect]:
        """Have every publisher send topics with these prefixes too."""
        added = self._add(prefixes)
        effects: list[Effect] = []
        for source in self.all:
            if source.state is not State.LOST and added:
                effects += [_send(source, publication.SUBSCRIBE + prefix) for prefix in added]
                effects += self._renew(source, now)
        return effects

    def unsubscribe(self, prefixes: Iterable[str]) -> list[Effect]:
        """Have no publisher send topics with these prefixes any more."""
        removed = [prefix for prefix in _checked(prefixes) if prefix in self._prefixes]
        for prefix in removed:
            self._prefixes.pop(prefix, None)
        self._starts = tuple(self._prefixes)
        effects: list[Effect] = []
        for source in [*self.all, *self._gone.values()]:
            source.keep(self._starts)
            if source.state not in (State.LOST, State.OVER):
                effects += [_send(source, publication.UNSUBSCRIBE + p) for p in removed]
        return effects

    # News

    def found(self, incarnation: int, endpoint: str, now: float) -> list[Effect]:
        """Use a publisher that can be reached at `endpoint`.

        incarnation: 0 for any publisher that is there.
        """
        connections = self.connections
        source = self._source(incarnation)
        if source is None:
            if 0 in connections.by_incarnation:
                return []  # not the publisher at the fixed address
            connections.learn(incarnation, endpoint)
            effects = self._connect(now)
            if incarnation not in connections.by_incarnation:
                effects.append(Note("publishers-full", {"name": self.name}))
            return effects
        here = source.state is not State.LOST
        if source.ended or (here and (source.fixed or source.endpoint == endpoint)):
            return []
        if not source.fixed:
            connections.learn(incarnation, endpoint)
            source.endpoint = endpoint
        return self._open(source, now)

    def lost(self, incarnation: int) -> list[Effect]:
        """Note that a publisher is out of reach. What it sent is read, and it may return."""
        source = self._source(incarnation)
        if source is not None:
            self.connections.shift(source, Event.LOST)
        return []

    def left(self, source: Source, now: float) -> list[Effect]:
        """Leave a publisher that said BYE behind all that it published."""
        if source.fixed:
            self._again(source, now)  # any publisher that comes to that address is as good
        else:
            self.connections.shift(source, Event.LOST)
            source.ended = True
        return [Disconnect(source.peer)]

    def gone(self, incarnation: int, now: float) -> list[Effect]:
        """Give up a publisher that is not expected back, and remember how far it was."""
        source = self._source(incarnation)
        self.connections.forget(incarnation)
        if source is None:
            return []
        if source.fixed:
            self._again(source, now)
            return []
        return self._give_up(source) + self._connect(now)

    def close(self) -> list[Effect]:
        """Leave every publisher."""
        left = [source for source in self.all if not source.ended]
        self.connections.clear()
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
        source.misnamed = self._misnamed(source, fields) if source.fixed else ""
        if source.misnamed:
            return [Note("misnamed", {"wanted": self.name, "there": source.misnamed})]
        source.waits = fields.get("waits") is True
        if fields.get("token") == source.token and not source.broken:
            self.connections.shift(source, Event.WELCOME)
            source.settle(self._starts)
            return self._watch(source, fields)
        return self._renew(source, now) if source.state is State.UP else []

    def tick(self, now: float) -> list[Effect]:
        """Repeat each HELLO that was not answered, and connect to more publishers."""
        effects: list[Effect] = []
        for source in self.connections.unanswered(now):
            effects += self._open(source, now) if source.broken else [self._hello(source)]
        return effects + self._connect(now)

    def check(self) -> None:
        """Assert that the tables agree and are not too large."""
        self.connections.check()
        assert len(self._gone) <= self.limits.publishers_max
        assert not self._gone.keys() & self.connections.by_incarnation.keys()

    # Inside

    def _make(self, incarnation: int, endpoint: str) -> Source:
        """Return a publisher that is new, or that is remembered."""
        source = self._gone.pop(incarnation, None)
        if source is None:
            peer = b"p" + incarnation.to_bytes(8, "big")
            topics_max = self.limits.topics_max
            return Source(
                incarnation, peer, endpoint, publisher=incarnation, topics_max=topics_max
            )
        source.state, source.endpoint = State.OPENING, endpoint
        return source

    def _source(self, incarnation: int) -> Source | None:
        """Return the publisher of that incarnation, which may be at a fixed address."""
        by_incarnation = self.connections.by_incarnation
        fixed = by_incarnation.get(0)
        if fixed is not None and incarnation == fixed.publisher:
            return fixed
        return by_incarnation.get(incarnation)

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
            del self._gone[next(iter(self._gone))]
        return [] if source.ended else [Disconnect(source.peer)]

    def _again(self, source: Source, now: float) -> None:
        """Have the connection to a fixed address made anew, a moment from now."""
        self.connections.shift(source, Event.FOUND)
        source.broken, source.misnamed = True, ""
        self.connections.greet_at(source, now + source.hello_s)

    def _misnamed(self, source: Source, fields: dict[str, object]) -> str:
        """Return the names of a publisher if the wanted one is not among them, else nothing.

        The wanted name stands behind the address in the URL.
        """
        wanted = self.name.partition("://")[2].partition("/")[2]
        if not wanted or "process" not in fields:
            return ""
        names = [row[0] for row in directory_of(fields).roles if row[2] == source.publisher]
        return "" if wanted in names else ", ".join(names)

    def _watch(self, source: Source, fields: dict[str, object]) -> list[Effect]:
        """Have membership watch the process at a fixed address, once its WELCOME says where."""
        if not source.fixed or source.watched or "process" not in fields:
            return []
        directory = directory_of(fields)
        source.watched = True
        host = source.endpoint.rpartition(":")[0]
        names = [row[0] for row in directory.roles if row[2] == source.publisher]
        return [Watch(f"{host}:{directory.control_port}/{name}") for name in names[:1]]

    def _add(self, prefixes: Iterable[str]) -> list[bytes]:
        added = [prefix for prefix in _checked(prefixes) if prefix not in self._prefixes]
        prefixes_max = self.limits.prefixes_max
        if len(self._prefixes) + len(added) > prefixes_max:
            raise UsageError(f"a subscriber has at most {prefixes_max} topics; use prefixes")
        self._prefixes |= dict.fromkeys(added)
        self._starts = tuple(self._prefixes)
        return added

    def _open(self, source: Source, now: float) -> list[Effect]:
        self.connections.shift(source, Event.FOUND)
        self.connections.open(source, now)
        source.broken = source.ended = False
        topics = [*self._prefixes, publication.private(publication.EVERYBODY)]
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
        if reach_of_endpoint(source.endpoint) > Reach.LOCAL:
            fields["lz4"] = True
        return self.say(source, wire.HELLO, fields)

    def say(self, source: Source, kind: int, meta: object) -> Send:
        """Return the sending of a packet to a publisher."""
        target = source.publisher
        frames = publication.to_publisher(kind, self.incarnation, target, meta)
        return Send(source.peer, frames)


def _checked(prefixes: Iterable[str]) -> dict[bytes, None]:
    """Return each prefix once, as it stands in a packet. Raises UsageError for a wrong one."""
    if isinstance(prefixes, (str, bytes)) or not isinstance(prefixes, Iterable):
        raise UsageError(f"topics are a list of text, not {prefixes!r}; use [{prefixes!r}]")
    return dict.fromkeys(publication.check_prefix(prefix) for prefix in prefixes)


def _send(source: Source, frame: bytes) -> Send:
    frames: Frames = (frame,)
    return Send(source.peer, frames)
