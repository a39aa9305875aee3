"""What a subscriber has received and the user has not read yet.

An inbox is bounded: the oldest messages make room for new ones.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Protocol

from zmqkit.model import PeerId

_JOINED_MAX = 256


@dataclass(slots=True, eq=False)
class Delivery:
    """Messages of one topic and publisher, in order; or a mark, which has no messages."""

    topic: str
    peer: PeerId  # the connection that they came from
    publisher: int  # the incarnation that they came from
    sequence: int  # the number of the first message
    bodies: list[object]
    times: list[float]  # when each was published, in seconds since 1970
    size: int  # bytes of the packets that they came in
    mark: int = 0  # the number of a mark, answered once everything before it is read
    cleared: bool = False  # the only message clears its topic and has no body
    recovered: bool = False  # they came from the history of the publisher


class Inbox(Protocol):
    """What waits to be read."""

    messages: int
    size: int  # bytes

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits, not even a mark."""

    def fits(self, messages: int, size: int) -> bool:
        """Whether so many messages and bytes more would drop nothing."""

    def spare(self) -> tuple[int, int]:
        """Return how many messages and bytes to ask for; 0 while it is more than half full."""

    def put(self, delivery: Delivery) -> int:
        """Add a delivery, and return how many messages were dropped to make room."""

    def join(self, delivery: Delivery) -> bool:
        """Add messages to the newest delivery if they continue it; return false if not."""

    def take(self) -> Delivery | None:
        """Remove and return the oldest delivery, or None when there is none."""

    def take_mark(self) -> Delivery | None:
        """Remove and return the oldest delivery if it is a mark; else return None."""


class _Bounded:
    """How much waits, and how much may."""

    def __init__(self, messages_max: int, bytes_max: int) -> None:
        self.messages = 0
        self.size = 0
        self._messages_max = messages_max
        self._bytes_max = bytes_max

    def fits(self, messages: int, size: int) -> bool:
        """Whether so many messages and bytes more would drop nothing.

        One packet may have more bytes than all may have.
        """
        if self.messages + messages > self._messages_max:
            return False
        return not self.messages or self.size + size <= self._bytes_max

    def spare(self) -> tuple[int, int]:
        """Return how many messages and bytes to ask for; 0 while it is more than half full."""
        messages, size = self._messages_max - self.messages, self._bytes_max - self.size
        is_low = 2 * messages >= self._messages_max and 2 * size >= self._bytes_max
        return (messages, size) if is_low or not self.messages else (0, 0)


class Queue(_Bounded):
    """An inbox that keeps every message, up to a number of messages and of bytes."""

    def __init__(self, messages_max: int, bytes_max: int) -> None:
        super().__init__(messages_max, bytes_max)
        self._waiting: deque[Delivery] = deque()

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits, not even a mark."""
        return not self._waiting

    def put(self, delivery: Delivery) -> int:
        """Add a delivery, and return how many of the oldest messages were dropped for it."""
        self.messages += len(delivery.bodies)
        self.size += delivery.size
        self._waiting.append(delivery)
        dropped = 0
        while self.size > self._bytes_max and len(self._waiting) > 1:
            oldest = self.take()
            dropped += len(oldest.bodies) if oldest is not None else 0
        while self.messages > self._messages_max:
            dropped += self._trim(self.messages - self._messages_max)
        return dropped

    def join(self, delivery: Delivery) -> bool:
        """Add messages to the newest delivery if they continue it; return false if not.

        So messages that came one by one are read as if they had come together. A raw body
        stays in a delivery of its own, because it is copied when it is read. A mark stands for
        those right before it.
        """
        if not self._waiting:
            return False
        newest, bodies, size = self._waiting[-1], delivery.bodies, delivery.size
        if delivery.mark:
            joins = bool(newest.mark) and newest.publisher == delivery.publisher
            newest.mark = delivery.mark if joins else newest.mark
            return joins
        count = len(bodies)
        if (
            newest.publisher != delivery.publisher
            or newest.topic != delivery.topic
            or newest.sequence + len(newest.bodies) != delivery.sequence
            or len(newest.bodies) >= _JOINED_MAX
            or type(newest.bodies[0]) is memoryview
            or type(bodies[0]) is memoryview
            or self.messages + count > self._messages_max
            or self.size + size > self._bytes_max
            or newest.cleared
            or delivery.cleared
            or newest.recovered != delivery.recovered
        ):
            return False
        newest.bodies += bodies
        newest.times += delivery.times
        newest.size += size
        self.messages += count
        self.size += size
        return True

    def take(self) -> Delivery | None:
        """Remove and return the oldest delivery, or None when there is none."""
        if not self._waiting:
            return None
        delivery = self._waiting.popleft()
        self.messages -= len(delivery.bodies)
        self.size -= delivery.size
        return delivery

    def take_mark(self) -> Delivery | None:
        """Remove and return the oldest delivery if it is a mark; else return None."""
        return self.take() if self._waiting and self._waiting[0].mark else None

    def _trim(self, excess: int) -> int:
        """Drop up to `excess` messages of the oldest delivery, and return how many."""
        oldest = self._waiting[0]
        if len(oldest.bodies) <= excess:
            self.take()
            return len(oldest.bodies)
        del oldest.bodies[:excess], oldest.times[:excess]
        oldest.sequence += excess
        self.messages -= excess
        return excess


class Latest(_Bounded):
    """An inbox that keeps the latest message of each topic.

    A topic keeps its place while a message of it waits: a newer message does not move it back.
    """

    def __init__(self, messages_max: int, bytes_max: int) -> None:
        super().__init__(messages_max, bytes_max)
        self._waiting: OrderedDict[str, Delivery] = OrderedDict()

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits; marks never wait here."""
        return not self._waiting

    def put(self, delivery: Delivery) -> int:
        """Keep the newest message of its topic, and return how many messages were dropped.

        It replaces an earlier message of the topic. Then the topic that waits longest makes
        room.
        """
        dropped = len(delivery.bodies) - 1
        if dropped:
            delivery.size //= dropped + 1
            delivery.sequence += dropped
            del delivery.bodies[:-1], delivery.times[:-1]
        before = self._waiting.get(delivery.topic)
        if before is not None:
            dropped += 1
            self.messages -= 1
            self.size -= before.size
        self._waiting[delivery.topic] = delivery
        self.messages += 1
        self.size += delivery.size
        while self.messages > self._messages_max or (
            self.size > self._bytes_max and self.messages > 1
        ):
            self.take()
            dropped += 1
        return dropped

    def join(self, delivery: Delivery) -> bool:
        """Return false: there is only one message of each topic."""
        return False

    def take(self) -> Delivery | None:
        """Remove and return the topic's message that waits longest, or None."""
        if not self._waiting:
            return None
        _, delivery = self._waiting.popitem(last=False)
        self.messages -= 1
        self.size -= delivery.size
        return delivery

    def take_mark(self) -> Delivery | None:
        """Return None: marks are answered as they come."""
        return None
