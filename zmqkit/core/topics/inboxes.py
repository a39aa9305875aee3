"""The inboxes of a subscriber: a shared one, and one for each publisher that waits for it.

A publisher that waits for its subscribers does not overfill an inbox of its own, and no other
publisher makes its messages drop there. The inboxes are read in turn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container

from zmqkit.core.topics.inbox import Delivery, Inbox, Latest, Queue
from zmqkit.core.topics.positions import Position
from zmqkit.core.topics.source import Source
from zmqkit.limits import SubscriberLimits
from zmqkit.model import PeerId


class Inboxes:
    """Where all messages of a subscriber wait to be read."""

    def __init__(
        self, limits: SubscriberLimits, dropped: Counter[str], *, latest: bool
    ) -> None:
        """dropped: counts the messages that made room for others."""
        self.own: dict[PeerId, Inbox] = {}  # by the connection of its publisher
        self._limits = limits
        self._dropped = dropped
        self._latest = latest
        self._shared: Inbox = self._new(1)
        self._filled: dict[Inbox, None] = {}

    def __bool__(self) -> bool:
        return bool(self._filled)

    @property
    def messages(self) -> int:
        """How many messages wait."""
        return sum(inbox.messages for inbox in self._all())

    @property
    def size(self) -> int:
        """How many bytes they take."""
        return sum(inbox.size for inbox in self._all())

    def of(self, source: Source) -> Inbox:
        """Return the inbox of a publisher."""
        if not source.waits or self._latest:
            return self._shared
        own = self.own.get(source.peer)
        if own is None:
            own = self.own[source.peer] = self._new(3)
        return own

    def at(self, position: Position, source: Source) -> Inbox:
        """Return where a topic's next messages wait, which a source brings.

        Messages that came another way before must be read first, where they wait.
        """
        inbox = position.inbox
        if inbox is None or inbox.is_empty:
            inbox = position.inbox = self.of(source)
        return inbox

    def put(self, inbox: Inbox, delivery: Delivery) -> None:
        """Put a delivery where it waits to be read; the oldest ones make room for it."""
        if inbox.join(delivery):
            return
        self._filled[inbox] = None
        if dropped := inbox.put(delivery):
            self._dropped["replaced" if self._latest else "full"] += dropped

    def take(self, in_use: Container[PeerId]) -> tuple[Inbox, Delivery] | None:
        """Return the delivery to be read next and the inbox that it was in, or None.

        in_use: the connections of publishers; the inboxes of others go once they are empty.
        """
        while self._filled:
            inbox = next(iter(self._filled))
            delivery = inbox.take()
            del self._filled[inbox]
            if delivery is not None:
                self._filled[inbox] = None  # the next turn is another inbox's
                return inbox, delivery
            for peer in [p for p, own in self.own.items() if p not in in_use]:
                if self.own[peer] not in self._filled:
                    del self.own[peer]
        return None

    def clear(self) -> None:
        """Drop everything."""
        self._filled.clear()
        self.own.clear()
        self._shared = self._new(1)

    def check(self) -> None:
        """Assert that all that waits can be taken."""
        for inbox in self._all():
            assert inbox in self._filled or not inbox.messages

    def _all(self) -> list[Inbox]:
        return [self._shared, *self.own.values()]

    def _new(self, windows: int) -> Inbox:
        """Return an inbox with room for `windows` times the limit."""
        kind = Latest if self._latest else Queue
        limits = self._limits
        return kind(windows * limits.queue_messages_max, windows * limits.queue_bytes_max)
