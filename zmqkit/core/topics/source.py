"""A publisher or forwarder, as a subscriber knows it: its connection, and what it is like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf

from zmqkit.core.dispatch.connections import Connection, State
from zmqkit.core.effects import Effect, Note, Watch
from zmqkit.core.membership.directory import directory_of
from zmqkit.core.membership.elsewhere import refusal
from zmqkit.core.topics.origins import Origins
from zmqkit.core.topics.positions import Position
from zmqkit.core.topics.recovery import Recovery
from zmqkit.limits import PUBLISHERS_MAX, TOPICS_MAX
from zmqkit.model import Frames, Reach, reach_of_endpoint
from zmqkit.wire import packet as wire
from zmqkit.wire import publication
from zmqkit.wire.packet import Packet

_MESSAGES = (wire.PUBLISH, wire.CLEAR)


@dataclass(slots=True, eq=False)
class Source(Connection):
    """A publisher: the connection to it, what it is like, and how far it is.

    The connection's `incarnation` is 0 if it is to any publisher that is at its address.
    """

    publisher: int = 0  # the incarnation of the publisher there; 0 while it is unknown
    # How far publishers are, in whatever way; of all sources together.
    origins: Origins = field(default_factory=lambda: Origins(TOPICS_MAX, PUBLISHERS_MAX))
    is_device: bool = False  # it was found as a forwarder
    # It is a forwarder, which passes on what others publish: its incarnation, and those of
    # forwarders behind it.
    path: tuple[int, ...] = ()
    # How far the forwarder there looks for publishers of the name; None if it does not.
    seeks: Reach | None = None
    # Whether the publisher waits for this subscriber, and so needs its credit. None before the
    # first WELCOME; until then its messages are passed over.
    waits: bool | None = None
    # It is passed over for now, for publishers are about to tell what was before.
    is_early: bool = False
    token: int = 0  # of the last HELLO
    answered: int = 0  # the last token that a WELCOME named
    # When it was met, and then when its subscriptions came to be in place.
    new_at: float = -inf
    credited: int = 0  # the last of its marks that was answered
    # The prefixes that were in place at a WELCOME and were kept since, over any connection.
    placed: tuple[bytes, ...] = ()
    # The connection is to be made anew: a subscription did not leave, or the publisher at a
    # fixed address left.
    broken: bool = False
    watched: bool = False  # membership was asked to watch its process
    ended: bool = False  # it said BYE
    # Messages may have been lost before the next WELCOME; else it is told something.
    rejoins: bool = True
    # The name of the publisher there, if another one stands behind the address.
    misnamed: str = ""
    # Why the publisher there is not used, if it is in another space.
    apart: str = ""
    last: Position | None = None  # of its newest message; the next one is likely there, too
    recovery: Recovery | None = None  # what it is asked for, if its history is made use of

    @property
    def fixed(self) -> bool:
        """Whether any publisher at its address is meant."""
        return not self.incarnation

    @property
    def positions(self) -> dict[bytes, Position]:
        """How far the publisher there is in each topic."""
        return self.origins.by_publisher.get(self.publisher, {})

    def position(self, topic: bytes) -> Position:
        """Return how far it is in a topic. Raises Malformed for a topic that is not text."""
        return self.origins.position(self.publisher, topic, self)

    def passes(self, packet: Packet) -> bool:
        """Return whether the packet is of a publisher behind this source, a forwarder.

        Before the WELCOME it may be one; its messages are passed over until then.
        """
        passed_on = packet.kind in _MESSAGES or (packet.kind == wire.BYE and self.forwards)
        return passed_on and (self.forwards or self.waits is None) and bool(packet.source)

    @property
    def expects(self) -> bool:
        """Whether it is asked for anything that is to be expected, as far as is known."""
        return self.recovery is not None and self.recovery.expects

    @property
    def lacks_nothing(self) -> bool:
        """Whether nothing is to be expected of its history, as far as is known."""
        return self.recovery is None or self.recovery.is_idle

    @property
    def forwards(self) -> bool:
        """Whether it said that it passes on what others publish."""
        return bool(self.path)

    def covers(self, endpoint: str) -> bool:
        """Whether a forwarder hears whatever publisher is found at an endpoint.

        One elsewhere may not see publishers that are open to this machine alone.
        """
        reach = reach_of_endpoint(endpoint)
        return (
            self.seeks is not None and reach_of_endpoint(self.endpoint) <= reach <= self.seeks
        )

    def unsent(self, frames: Frames) -> None:
        """Note that a packet did not leave.

        If it was a subscription, the connection is incomplete and has to be made anew.
        """
        if frames[0][:1] != publication.TALK:
            self.broken = True

    @property
    def is_open(self) -> bool:
        """Whether there is a connection over which it may answer."""
        return self.state in (State.OPENING, State.UP)

    def names_in(self, fields: dict[str, object]) -> list[str]:
        """Return the names of the publisher there, as its WELCOME says."""
        return [row[0] for row in directory_of(fields).roles if row[2] == self.publisher]

    def names_but(self, url: str, fields: dict[str, object]) -> str:
        """Return its names if the one behind the address in a URL is not among them."""
        wanted = url.partition("://")[2].partition("/")[2]
        if not wanted or "process" not in fields:
            return ""
        names = self.names_in(fields)
        return "" if wanted in names else ", ".join(names)

    def refuse(
        self, target: str, fields: dict[str, object], about: Mapping[str, object]
    ) -> Note | None:
        """Return why the publisher at a fixed address is not the one that is meant, or None.

        target: what the subscriber was told to look for. fields: of its WELCOME. about: what
        publishers are told of the subscriber.
        """
        theirs, ours = wire.space_of(fields), wire.space_of(about)
        self.apart = refusal(self.endpoint, theirs, ours) if theirs != ours else ""
        self.misnamed = "" if self.apart else self.names_but(target, fields)
        if self.apart:
            return Note("other-space", {"wanted": target, "text": self.apart})
        if self.misnamed:
            return Note("misnamed", {"wanted": target, "there": self.misnamed})
        return None

    def watch(self, fields: dict[str, object], target: str) -> list[Effect]:
        """Have membership watch the process at a fixed address, once its WELCOME says where.

        target: what the subscriber was told to look for.
        """
        if not self.fixed or self.watched or "process" not in fields:
            return []
        self.watched = True
        host, port = self.endpoint.rpartition(":")[0], directory_of(fields).control_port
        return [Watch(f"{host}:{port}/{name}", target) for name in self.names_in(fields)[:1]]

    def adopt(self, publisher: int) -> None:
        """Note that another publisher is there now, and forget what was known of the last."""
        self.origins.leave(self.publisher)
        self.publisher = publisher
        self.waits, self.credited = None, 0
        self.watched = False
        self.misnamed = self.apart = ""
        self.path = self.placed = ()
        self.seeks = None
        self.recovery, self.last = None, None

    def settle(self, prefixes: tuple[bytes, ...]) -> None:
        """Note that all subscriptions are in place; topics heard before that begin anew.

        They go on if what was missed between can be recovered.
        """
        self.placed = prefixes
        if self.recovery is not None:
            self.recovery.join(prefixes)
        else:
            self.origins.settle(self)

    def keep(self, prefixes: tuple[bytes, ...]) -> None:
        """Forget all but these prefixes, which alone are still subscribed to."""
        kept = frozenset(prefixes)
        self.placed = tuple(prefix for prefix in self.placed if prefix in kept)
        if self.recovery is not None:
            self.recovery.keep(kept)

    def retain(self, prefixes: tuple[bytes, ...]) -> None:
        """Have topics that are subscribed to again begin with their history, and nothing older.

        prefixes: those of the others.
        """
        if self.recovery is not None:
            self.origins.retain(None if self.forwards else self.publisher, prefixes)
