"""The publishers that a forwarder hears: those of its name, or those at its URLs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from zmqkit.core.effects import Effect, News, Send, Tell
from zmqkit.core.membership.interests import key_of, url_key
from zmqkit.core.topics.histories import Shared
from zmqkit.core.topics.origins import Origins
from zmqkit.core.topics.positions import Position
from zmqkit.core.topics.recovery import Holding
from zmqkit.core.topics.source import Source
from zmqkit.core.topics.sources import Sources
from zmqkit.limits import SubscriberLimits
from zmqkit.model import PeerId


class Backs:
    """All publishers behind one forwarder; some `Sources` for its name, or for each URL."""

    def __init__(
        self,
        name: str,
        incarnation: int,
        limits: SubscriberLimits,
        connect: Sequence[str],
        *,
        about: dict[str, object],
        history: int = 0,
        origins: Origins | None = None,
    ) -> None:
        """connect: URLs of publishers and forwarders, instead of those found by the name.

        about: what the forwarder says of its place. history: of a forwarder that keeps all
        topics, how many messages of each to get from publishers that have them. origins: where
        it is noted how far it is in each.
        """
        self.by_url = bool(connect)
        self.holding = Holding(limits)
        self.origins = origins or Origins(limits.topics_max, limits.origins_max, self.forgot)
        shared = Shared(self.origins, self.holding)
        prefixes = [""] if history else []
        make_key = url_key if connect else key_of
        self.by_key: dict[str, Sources] = {
            make_key("publisher", target): Sources(
                target,
                incarnation,
                prefixes,
                limits,
                tag=b"p%d/" % number,
                history=history,
                recovers=bool(history),
                shared=shared,
            )
            for number, target in enumerate(connect or [name])
        }
        self._each = list(self.by_key.values())
        for each in self._each:
            each.about = about
        alone = len(self._each) == 1
        # Returns the publisher at a connection, or None.
        self.find = self._each[0].by_peer.get if alone else self._find_any

    @property
    def all(self) -> list[Source]:
        """The publishers in use, reachable or not."""
        return [source for back in self._each for source in back.all]

    @property
    def up_count(self) -> int:
        """How many publishers have all subscriptions in place."""
        return sum(back.up_count for back in self._each)

    @property
    def has_answered(self) -> bool:
        """Whether any publisher that is in reach has answered."""
        return any(source.is_open and source.answered for source in self.all)

    @property
    def due_at(self) -> float:
        """When `tick` is due next."""
        return min(back.due_at for back in self._each)

    def of(self, source: Source) -> Sources:
        """Return the publishers that a source is one of."""
        return next(back for back in self._each if source.peer in back.by_peer)

    def hear(self, tell: Tell, now: float) -> list[Effect]:
        """Take membership's news of a publisher."""
        back = self.by_key.get(tell.key)
        if back is None:
            return []
        if tell.news is News.FOUND:
            if tell.is_device and not self.by_url:
                return []
            return back.found(tell.incarnation, tell.endpoint, now)
        if tell.news is News.LOST:
            return back.lost(tell.incarnation, now)
        return back.gone(tell.incarnation, now) if tell.news is News.GONE else []

    def place(self, prefix: bytes) -> list[Effect]:
        """Subscribe to one more prefix everywhere; `ask` says when it is in place."""
        return [effect for back in self._each for effect in back.place(prefix)]

    def displace(self, prefix: bytes) -> list[Effect]:
        """End the subscription to a prefix everywhere."""
        return [effect for back in self._each for effect in back.displace(prefix)]

    def stands_for(self, count: int) -> bool:
        """Whether publishers are to hear that so many subscribers are behind them."""
        return any(back.stands_for != count for back in self._each)

    def ask(self, count: int, now: float) -> list[Effect]:
        """Ask all publishers to say that what was sent to them before is in place.

        count: for how many subscribers the forwarder stands.
        """
        effects: list[Effect] = []
        for back in self._each:
            back.stands_for = count
            effects += back.ask(now)
        return effects

    def reach(self, source: Source) -> bool:
        """Whether a publisher is in reach."""
        return self.find(source.peer) is source and source.is_open

    def say(self, source: Source, kind: int, meta: object) -> Send:
        """Return the sending of a packet to a publisher."""
        return self._each[0].say(source, kind, meta)

    # What is recovered

    def wants(self, topic: bytes) -> bool:
        """Return true: whoever recovers subscribes to everything."""
        return True

    def recoverer(self, source: Source, position: Position) -> Source | None:
        """Return who is asked for what a topic lacks, or None if nobody keeps it."""
        found = (back.recoverer(source, position) for back in self._each)
        return next((each for each in found if each is not None), None)

    def keeper(self, source: Source, position: Position) -> Source | None:
        """Return who is to be asked from now on for what a topic lacks, or None."""
        found = (back.keeper(source, position) for back in self._each)
        return next((each for each in found if each is not None), None)

    def forgot(self, publisher: int, positions: Iterable[Position] = ()) -> None:
        """Note that topics of a publisher were forgotten for lack of room."""
        for back in self._each:
            back.forgot(publisher)

    def tick(self, now: float) -> list[Effect]:
        """Repeat each HELLO that was not answered, and connect to more publishers."""
        return [effect for back in self._each for effect in back.tick(now)]

    def abandon(self, back: Sources) -> list[Effect]:
        """Leave some publishers, and hear no news of them any more."""
        self.by_key = {key: each for key, each in self.by_key.items() if each is not back}
        return back.close()

    def close(self) -> list[Effect]:
        """Leave every publisher."""
        return [effect for back in self._each for effect in back.close()]

    def check(self) -> None:
        """Assert that the tables agree and are not too large."""
        for back in self._each:
            back.check()

    def _find_any(self, peer: PeerId) -> Source | None:
        """Return the publisher at a connection, of those at several URLs."""
        for back in self._each:
            source = back.by_peer.get(peer)
            if source is not None:
                return source
        return None
