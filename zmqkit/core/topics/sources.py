"""The publishers of one subscriber: their connections and what is subscribed to on each.

Each has a connection of its own. On a new one the subscriptions go first, the last of them to
this subscriber's own incarnation, and HELLO behind them: a publisher that answers it with
WELCOME has them all in place. A WELCOME that answers no HELLO means that the connection was
opened anew underneath, so HELLO is said again.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from zmqkit.core.effects import Connect, Disconnect, Effect, Note, Send, Watch
from zmqkit.core.membership.directory import directory_of
from zmqkit.core.topics.source import Source, State
from zmqkit.errors import UsageError
from zmqkit.model import Frames, PeerId, leads_away
from zmqkit.options import HELLO_S, HELLO_S_MAX, PREFIXES_MAX, PUBLISHERS_MAX
from zmqkit.wire import packet as wire
from zmqkit.wire import publication
from zmqkit.wire.packet import Packet

_REMEMBERED_MAX = PUBLISHERS_MAX


class Sources:
    """Every publisher in use, by incarnation and by connection."""

    def __init__(self, name: str, incarnation: int, prefixes: Iterable[str]) -> None:
        """`incarnation` is the subscriber's own. UsageError for a wrong prefix."""
        self.name = name
        self.incarnation = incarnation
        self.by_incarnation: dict[int, Source] = {}
        self.by_peer: dict[PeerId, Source] = {}
        self._gone: dict[int, Source] = {}
        self._prefixes: dict[bytes, None] = {}
        self._starts: tuple[bytes, ...] = ()
        self._add(prefixes)

    @property
    def up_count(self) -> int:
        """How many have all subscriptions."""
        # Any thread may ask, so of a copy: nobody changes a table while it is copied.
        return sum(source.state is State.UP for source in list(self.by_peer.values()))

    def wanted(self, topic: bytes) -> bool:
        """Whether a topic begins as it should."""
        return topic.startswith(self._starts)

    def subscribe(self, prefixes: Iterable[str], now: float) -> list[Effect]:
        """Have every publisher send topics with these beginnings too."""
        added = self._add(prefixes)
        effects: list[Effect] = []
        for source in self.by_peer.values():
            if source.state is not State.LOST and added:
                effects += [_send(source, publication.SUBSCRIBE + prefix) for prefix in added]
                source.state = State.OPENING
                effects += self._hello(source, now)
        return effects

    def unsubscribe(self, prefixes: Iterable[str]) -> list[Effect]:
        """Have nobody send topics with these beginnings any more."""
        removed = [prefix for prefix in _checked(prefixes) if prefix in self._prefixes]
        for prefix in removed:
            self._prefixes.pop(prefix, None)
        self._starts = tuple(self._prefixes)
        effects: list[Effect] = []
        for source in [*self.by_peer.values(), *self._gone.values()]:
            source.keep(self._starts)
            if source.state is not State.LOST:
                effects += [_send(source, publication.UNSUBSCRIBE + p) for p in removed]
        return effects

    # News

    def found(self, incarnation: int, endpoint: str, now: float) -> list[Effect]:
        """A publisher can be reached at `endpoint`; 0 stands for whoever is there."""
        source = self._source(incarnation)
        if source is None and 0 in self.by_incarnation:
            return []  # not the one at the address
        if source is None:
            if len(self.by_peer) >= PUBLISHERS_MAX:
                return [Note("publishers-full", {"name": self.name})]
            peer = b"p" + incarnation.to_bytes(8, "big")
            source = self._gone.pop(incarnation, None) or Source(
                incarnation, peer, endpoint, fixed=not incarnation
            )
            self.by_incarnation[incarnation] = self.by_peer[peer] = source
        elif source.ended or (
            source.state is not State.LOST and (source.fixed or source.endpoint == endpoint)
        ):
            return []
        source.endpoint = source.endpoint if source.fixed else endpoint
        return self._open(source, now)

    def lost(self, incarnation: int) -> list[Effect]:
        """A publisher is out of reach; it may return, and what it had sent is still read."""
        source = self._source(incarnation)
        if source is not None:
            source.state = State.LOST
        return []

    def left(self, source: Source, now: float) -> list[Effect]:
        """A publisher said BYE behind all that it published."""
        if source.fixed:
            # Whoever comes to that address is as good.
            source.state, source.broken = State.OPENING, True
            source.hello_at = now + source.back_off_s
        else:
            source.state, source.ended = State.LOST, True
        return [Disconnect(source.peer)]

    def gone(self, incarnation: int) -> list[Effect]:
        """A publisher is not expected back; how far it was is remembered for a while."""
        source = self._source(incarnation)
        if source is None:
            return []
        if source.fixed:
            source.state, source.broken, source.hello_at = State.OPENING, True, 0.0
            return []
        source.state = State.LOST
        del self.by_incarnation[incarnation]
        del self.by_peer[source.peer]
        self._gone[incarnation] = source
        if len(self._gone) > _REMEMBERED_MAX:
            del self._gone[next(iter(self._gone))]
        return [] if source.ended else [Disconnect(source.peer)]

    def close(self) -> list[Effect]:
        """Leave every publisher."""
        left = [source for source in self.by_peer.values() if not source.ended]
        self.by_incarnation.clear()
        self.by_peer.clear()
        return [Disconnect(source.peer) for source in left]

    def adopt(self, source: Source, incarnation: int) -> None:
        """Whoever is at a fixed address is another one now."""
        if source.incarnation:
            source.token += 1  # the last HELLO was for the one before, which alone it joined
            source.state, source.hello_at = State.OPENING, 0.0
        source.incarnation = incarnation
        source.waits, source.credited = None, 0
        source.watched = False
        source.placed = ()
        source.positions.clear()

    def welcomed(self, source: Source, packet: Packet, now: float) -> list[Effect]:
        """A publisher answered, or its connection was opened anew."""
        fields = wire.fields_of(packet)
        if source.fixed and (named := self._misnamed(source, fields)):
            return [Note("misnamed", {"wanted": self.name, "there": named})]
        source.waits = fields.get("waits") is True
        if fields.get("token") == source.token and not source.broken:
            source.settle(self._starts)
            source.back_off_s = HELLO_S
            return self._watch(source, fields)
        if source.state is State.UP:
            source.state = State.OPENING
            return self._hello(source, now)
        return []

    def tick(self, now: float) -> list[Effect]:
        """Say HELLO again where it was not answered."""
        effects: list[Effect] = []
        for source in self.by_peer.values():
            if source.state is State.OPENING and source.hello_at <= now:
                effects += (
                    self._open(source, now) if source.broken else self._hello(source, now)
                )
                source.back_off_s = min(2 * source.back_off_s, HELLO_S_MAX)
        return effects

    def deadline(self) -> float:
        """When `tick` is due next."""
        opening = (s.hello_at for s in self.by_peer.values() if s.state is State.OPENING)
        return min(opening, default=inf)

    def check(self) -> None:
        """Both ways to look agree."""
        assert list(self.by_incarnation.values()) == list(self.by_peer.values())
        assert len(self.by_peer) <= PUBLISHERS_MAX and len(self._gone) <= _REMEMBERED_MAX
        assert not self._gone.keys() & self.by_incarnation.keys()

    # Inside

    def _source(self, incarnation: int) -> Source | None:
        """The publisher of that number, at a fixed address perhaps."""
        fixed = self.by_incarnation.get(0)
        if fixed is not None and incarnation == fixed.incarnation:
            return fixed
        return self.by_incarnation.get(incarnation)

    def _misnamed(self, source: Source, fields: dict[str, object]) -> str:
        """The name of a publisher that is not the one whose name stands behind the address."""
        wanted = self.name.partition("://")[2].partition("/")[2]
        if not wanted or "process" not in fields:
            return ""
        names = [row[0] for row in directory_of(fields).roles if row[2] == source.incarnation]
        return "" if wanted in names else ", ".join(names)

    def _watch(self, source: Source, fields: dict[str, object]) -> list[Effect]:
        """Have membership watch the process at a fixed address, once it told where to ask."""
        if not source.fixed or source.watched or "process" not in fields:
            return []
        directory = directory_of(fields)
        source.watched = True
        host = source.endpoint.rpartition(":")[0]
        names = [row[0] for row in directory.roles if row[2] == source.incarnation]
        return [Watch(f"{host}:{directory.control_port}/{name}") for name in names[:1]]

    def _add(self, prefixes: Iterable[str]) -> list[bytes]:
        added = [prefix for prefix in _checked(prefixes) if prefix not in self._prefixes]
        if len(self._prefixes) + len(added) > PREFIXES_MAX:
            raise UsageError(f"a subscriber has at most {PREFIXES_MAX} topics; use prefixes")
        self._prefixes |= dict.fromkeys(added)
        self._starts = tuple(self._prefixes)
        return added

    def _open(self, source: Source, now: float) -> list[Effect]:
        source.state = State.OPENING
        source.broken = source.ended = False
        topics = [*self._prefixes, publication.private(publication.EVERYBODY)]
        topics.append(publication.private(self.incarnation))
        return [
            Connect(source.peer, source.endpoint),
            *(_send(source, publication.SUBSCRIBE + topic) for topic in topics),
            *self._hello(source, now),
        ]

    def _hello(self, source: Source, now: float) -> list[Effect]:
        source.token += 1
        source.hello_at = now + source.back_off_s
        fields: dict[str, object] = {"token": source.token, "name": self.name}
        if leads_away(source.endpoint):
            fields["lz4"] = True
        return [self.say(source, wire.HELLO, fields)]

    def say(self, source: Source, kind: int, meta: object) -> Send:
        """A packet to a publisher."""
        target = source.incarnation
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
