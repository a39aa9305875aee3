"""One publisher as a subscriber knows it, and how far it is in each topic."""

from __future__ import annotations

from dataclasses import dataclass, field

from zmqkit.core.dispatch.connections import Connection
from zmqkit.limits import TOPICS_MAX
from zmqkit.wire.encoding import Malformed


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
