"""How far each publisher is in each of its topics, whichever way its messages come.

A publisher's messages may come from itself, or through a forwarder, or both ways. Each of them
names its publisher, its topic and its number, so a subscriber takes each once. A new way may
begin ahead of the one before it; for WAY_S it does not count what seems to be missing, since
the way before is about to bring that.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import replace

from zmqkit.core.topics.positions import Position, Way
from zmqkit.wire.encoding import Malformed


class Origins:
    """The publishers whose messages have come, and how far each of them is."""

    def __init__(
        self,
        topics_max: int,
        publishers_max: int,
        forgot: Callable[[int, Iterable[Position]], None] = lambda publisher, positions: None,
        *,
        keeps: bool = False,
    ) -> None:
        """topics_max: how many topics of each publisher are remembered.

        forgot: called with a publisher and its topics that were forgotten for lack of room.
        keeps: whether publishers are remembered that are not expected back.
        """
        self.by_publisher: dict[int, OrderedDict[bytes, Position]] = {}
        self._ended: dict[int, None] = {}
        self._topics_max = topics_max
        self._publishers_max = publishers_max
        self._forgot = forgot
        self._keeps = keeps

    def position(self, publisher: int, topic: bytes, way: Way) -> Position:
        """Return how far a publisher is in a topic.

        Raises Malformed for a topic that is not text.
        """
        positions = self.by_publisher.get(publisher)
        position = positions.get(topic) if positions is not None else None
        if position is None:
            try:
                name = topic.decode()
            except UnicodeDecodeError as error:
                raise Malformed("topic") from error
            if positions is None:
                positions = self._enter(publisher)
            if len(positions) >= self._topics_max:
                self._forget_one(publisher, positions)
            fresh = not topic.startswith(way.placed)
            position = positions[topic] = Position(topic, name, publisher, way, fresh)
        return position

    def find(self, publisher: int, topic: bytes) -> Position | None:
        """Return how far a publisher is in a topic, or None if nothing came."""
        positions = self.by_publisher.get(publisher)
        return positions.get(topic) if positions is not None else None

    def end(self, publisher: int) -> None:
        """Note that a publisher said BYE. It is forgotten before those that did not."""
        if publisher in self.by_publisher:
            self._ended[publisher] = None

    def leave(self, publisher: int) -> None:
        """Forget a publisher that is not expected back, unless such are kept as well."""
        if self._keeps:
            self.end(publisher)
        else:
            self._forget(publisher)

    def settle(self, way: Way) -> None:
        """Begin anew with topics that came this way before all its subscriptions were in place.

        What comes again of them is still known.
        """
        for positions in self.by_publisher.values():
            for position in positions.values():
                if position.fresh and position.way is way:
                    position.fresh, position.anew = False, True

    def keep(self, prefixes: tuple[bytes, ...]) -> None:
        """Begin anew with all topics but those that begin with one of these prefixes."""
        for positions in self.by_publisher.values():
            for position in positions.values():
                if not position.topic.startswith(prefixes):
                    position.anew = True

    def retain(self, publisher: int | None, prefixes: tuple[bytes, ...]) -> None:
        """Have all topics but those that begin with one of these prefixes begin anew.

        publisher: whose topics; None for those of all. What was read of them is remembered, and
        where their messages wait: those that come when they begin again are read behind them.
        """
        chosen = [*self.by_publisher] if publisher is None else [publisher]
        for positions in [self.by_publisher[p] for p in chosen if p in self.by_publisher]:
            for topic in [topic for topic in positions if not topic.startswith(prefixes)]:
                before = positions[topic]
                if before.fresh and not before.next:
                    continue  # it begins anew already
                inbox = before.inbox if before.inbox and not before.inbox.is_empty else None
                floor = max(before.floor, before.next)
                positions[topic] = replace(
                    before, fresh=True, anew=False, next=0, floor=floor, hole=None, inbox=inbox
                )
                positions.move_to_end(topic, last=False)  # the first to be forgotten

    def check(self) -> None:
        """Assert that no table is too large."""
        assert len(self.by_publisher) <= self._publishers_max
        assert self._ended.keys() <= self.by_publisher.keys()
        assert all(len(each) <= self._topics_max for each in self.by_publisher.values())

    def _enter(self, publisher: int) -> OrderedDict[bytes, Position]:
        if len(self.by_publisher) >= self._publishers_max:
            oldest = next(iter(self._ended or self.by_publisher))
            self._forgot(oldest, self._forget(oldest))
        positions = self.by_publisher[publisher] = OrderedDict()
        return positions

    def _forget_one(self, publisher: int, positions: OrderedDict[bytes, Position]) -> None:
        """Forget the topic known for longest of which nothing is lacking."""
        whole = (topic for topic, each in positions.items() if each.hole is None)
        forgotten = positions.pop(next(whole, next(iter(positions))))
        if forgotten.next:
            self._forgot(publisher, [forgotten])

    def _forget(self, publisher: int) -> Iterable[Position]:
        """Forget how far a publisher was, and return its topics."""
        self._ended.pop(publisher, None)
        positions = self.by_publisher.pop(publisher, None)
        return positions.values() if positions is not None else ()
