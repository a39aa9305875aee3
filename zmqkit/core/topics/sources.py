"""The publishers of one subscriber: what is subscribed to on each, and how far each one is.

Each has a connection of its own. On a new one the subscriptions go first, the last of them to
this subscriber's own incarnation, and HELLO behind them: a publisher that answers it with
WELCOME has them all in place. A WELCOME that answers no HELLO means that the connection was
opened anew underneath, so HELLO is said again.
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
    """A topic, its name, and the number that its next message is to have; 0 for any.

    fresh: its subscription was not known to be in place, so that nothing is missing yet.
    """

    topic: bytes
    name: str
    fresh: bool = False
    next: int = 0


@dataclass(slots=True, eq=False)
class Source(Connection):
    """A publisher: the connection to it, what it is like, and how far it is.

    incarnation: 0 stands for whoever is at an address. publisher: the incarnation of who is
    there; 0 while nobody knows. waits: it waits for this subscriber, whose credit it needs;
    None before its first WELCOME, up to which its messages are passed over. token: of the last
    HELLO. credited: the last of its marks that was answered. placed: the prefixes that were in
    place at a WELCOME and were kept since, over whatever connection. broken: a subscription did
    not leave, so the connection is to be made anew. watched: membership was asked to watch its
    process. ended: it said BYE. topics_max: how many positions are kept. last: where its newest
    message is, for who looks for the next one there.
    """

    publisher: int = 0
    topics_max: int = TOPICS_MAX
    waits: bool | None = None
    token: int = 0
    credited: int = 0
    placed: tuple[bytes, ...] = ()
    broken: bool = False
    watched: bool = False
    ended: bool = False
    positions: dict[bytes, Position] = field(default_factory=dict)
    last: Position | None = None

    @property
    def fixed(self) -> bool:
        """Whether it is whoever is at its address."""
        return not self.incarnation

    def position(self, topic: bytes) -> Position:
        """How far it is in a topic. Malformed for one that is not text."""
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
        """Another publisher is there now, of which nothing is known."""
        self.publisher = publisher
        self.waits, self.credited = None, 0
        self.watched = False
        self.placed = ()
        self.positions.clear()

    def settle(self, prefixes: tuple[bytes, ...]) -> None:
        """All subscriptions are in place: topics that were heard too early begin anew."""
        self.placed = prefixes
        self.positions = {t: each for t, each in self.positions.items() if not each.fresh}

    def keep(self, prefixes: tuple[bytes, ...]) -> None:
        """Nothing but these is subscribed to any more.

        Should a topic come back, what was published meanwhile is not missing.
        """
        kept = frozenset(prefixes)
        self.placed = tuple(prefix for prefix in self.placed if prefix in kept)
        self.positions = {
            topic: each for topic, each in self.positions.items() if topic.startswith(prefixes)
        }


class Sources:
    """Every publisher in use, and those that were, by incarnation and by connection.

    The socket of one that was lost is kept: what it had sent is still read.
    """

    def __init__(
        self, name: str, incarnation: int, prefixes: Iterable[str], limits: SubscriberLimits
    ) -> None:
        """`incarnation` is the subscriber's own. UsageError for a wrong prefix."""
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
        """How many have all subscriptions."""
        return len(self.connections.ready)

    @property
    def all(self) -> list[Source]:
        """Those in use, reachable or not."""
        return list(self.connections.by_incarnation.values())

    def wanted(self, topic: bytes) -> bool:
        """Whether a topic begins as it should."""
        return topic.startswith(self._starts)

    def subscribe(self, prefixes: Iterable[str], now: float) -> list[Effect]:
        """Have every publisher send topics with these beginnings too."""
        added = self._add(prefixes)
        effects: list[Effect] = []
        for source in self.all:
            if source.state is not State.LOST and added:
                effects += [_send(source, publication.SUBSCRIBE + prefix) for prefix in added]
                effects += self._renew(source, now)
        return effects

    def unsubscribe(self, prefixes: Iterable[str]) -> list[Effect]:
        """Have nobody send topics with these beginnings any more."""
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
        """A publisher can be reached at `endpoint`; 0 stands for whoever is there."""
        connections = self.connections
        source = self._source(incarnation)
        if source is None:
            if 0 in connections.by_incarnation:
                return []  # not the one at the address
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
        """A publisher is out of reach; it may return, and what it had sent is still read."""
        source = self._source(incarnation)
        if source is not None:
            self.connections.shift(source, Event.LOST)
        return []

    def left(self, source: Source, now: float) -> list[Effect]:
        """A publisher said BYE behind all that it published."""
        if source.fixed:
            self._again(source, now)  # whoever comes to that address is as good
        else:
            self.connections.shift(source, Event.LOST)
            source.ended = True
        return [Disconnect(source.peer)]

    def gone(self, incarnation: int, now: float) -> list[Effect]:
        """A publisher is not expected back; how far it was is remembered for a while."""
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
        """Whoever is at a fixed address is another one now."""
        if source.publisher:
            source.token += 1  # the last HELLO was for the one before, which alone it joined
            self.connections.shift(source, Event.FOUND)
            self.connections.greet_at(source, now)
        source.adopt(incarnation)

    def welcomed(self, source: Source, packet: Packet, now: float) -> list[Effect]:
        """A publisher answered, or its connection was opened anew."""
        fields = wire.fields_of(packet)
        if source.fixed and (named := self._misnamed(source, fields)):
            return [Note("misnamed", {"wanted": self.name, "there": named})]
        source.waits = fields.get("waits") is True
        if fields.get("token") == source.token and not source.broken:
            self.connections.shift(source, Event.WELCOME)
            source.settle(self._starts)
            return self._watch(source, fields)
        return self._renew(source, now) if source.state is State.UP else []

    def tick(self, now: float) -> list[Effect]:
        """Say HELLO again where it was not answered."""
        effects: list[Effect] = []
        for source in self.connections.unanswered(now):
            effects += self._open(source, now) if source.broken else [self._hello(source)]
        return effects + self._connect(now)

    def check(self) -> None:
        """Both ways to look agree."""
        self.connections.check()
        assert len(self._gone) <= self.limits.publishers_max
        assert not self._gone.keys() & self.connections.by_incarnation.keys()

    # Inside

    def _make(self, incarnation: int, endpoint: str) -> Source:
        """A publisher that is new, or that is remembered."""
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
        """The publisher of that number, at a fixed address perhaps."""
        by_incarnation = self.connections.by_incarnation
        fixed = by_incarnation.get(0)
        if fixed is not None and incarnation == fixed.publisher:
            return fixed
        return by_incarnation.get(incarnation)

    def _connect(self, now: float) -> list[Effect]:
        """Connect to more publishers, and to others in place of those that never answer."""
        begun, spare = self.connections.best(lambda source: True)
        effects: list[Effect] = []
        for source in spare:
            effects += self._give_up(source)
        for source in begun:
            self.connections.add(source)
            effects += self._open(source, now)
        return effects

    def _give_up(self, source: Source) -> list[Effect]:
        """Have a publisher among those that were in use."""
        self.connections.close(source)
        self.connections.remove(source)
        self._gone[source.publisher] = source
        if len(self._gone) > self.limits.publishers_max:
            del self._gone[next(iter(self._gone))]
        return [] if source.ended else [Disconnect(source.peer)]

    def _again(self, source: Source, now: float) -> None:
        """Have the connection to an address made anew."""
        self.connections.shift(source, Event.FOUND)
        source.broken = True
        self.connections.greet_at(source, now + source.hello_s)

    def _misnamed(self, source: Source, fields: dict[str, object]) -> str:
        """The name of a publisher that is not the one whose name stands behind the address."""
        wanted = self.name.partition("://")[2].partition("/")[2]
        if not wanted or "process" not in fields:
            return ""
        names = [row[0] for row in directory_of(fields).roles if row[2] == source.publisher]
        return "" if wanted in names else ", ".join(names)

    def _watch(self, source: Source, fields: dict[str, object]) -> list[Effect]:
        """Have membership watch the process at a fixed address, once it told where to ask."""
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
        """Have a publisher say once more that all subscriptions are in place."""
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
        """A packet to a publisher."""
        target = source.publisher
        frames = publication.to_publisher(kind, self.incarnation, target, meta)
        return Send(source.peer, frames)


def _checked(prefixes: Iterable[str]) -> dict[bytes, None]:
    """Each prefix once, as it travels; UsageError for a wrong one."""
    if isinstance(prefixes, (str, bytes)) or not isinstance(prefixes, Iterable):
        raise UsageError(f"topics are a list of text, not {prefixes!r}; use [{prefixes!r}]")
    return dict.fromkeys(publication.check_prefix(prefix) for prefix in prefixes)


def _send(source: Source, frame: bytes) -> Send:
    frames: Frames = (frame,)
    return Send(source.peer, frames)
