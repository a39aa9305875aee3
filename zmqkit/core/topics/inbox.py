"""What a subscriber has received and nobody has read: bounded, the oldest makes room."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Protocol

from zmqkit.model import PeerId

_JOINED_MAX = 256


@dataclass(slots=True, eq=False)
class Delivery:
    """Messages of one packet, of one topic and publisher, in order.

    peer, publisher: the connection and the incarnation that they came from. sequence: of the
    first. size: bytes, those of the packet. mark: no message, but a number to be answered once
    everything before it is read.
    """

    topic: str
    peer: PeerId
    publisher: int
    sequence: int
    bodies: list[object]
    size: int
    mark: int = 0


class Inbox(Protocol):
    """What waits to be read. `put` gives how many messages it dropped for it."""

    messages: int
    size: int

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing, not even a mark."""

    def put(self, delivery: Delivery) -> int:
        """Add what arrived; the oldest makes room."""

    def join(
        self, topic: str, publisher: int, sequence: int, bodies: list[object], size: int
    ) -> bool:
        """Add what arrived to the newest if it goes on from there; false when it does not."""

    def take(self) -> Delivery | None:
        """The oldest; None when there is none."""

    def take_mark(self) -> Delivery | None:
        """The oldest if it is a mark; else None."""


class Queue:
    """All of it, up to a number of messages and bytes."""

    def __init__(self, messages_max: int, bytes_max: int) -> None:
        self.messages = 0
        self.size = 0
        self._messages_max = messages_max
        self._bytes_max = bytes_max
        self._waiting: deque[Delivery] = deque()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing, not even a mark."""
        return not self._waiting

    def put(self, delivery: Delivery) -> int:
        """Add what arrived; the oldest makes room, and counts as dropped."""
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

    def join(
        self, topic: str, publisher: int, sequence: int, bodies: list[object], size: int
    ) -> bool:
        """Add what arrived to the newest if it goes on from there; false when it does not.

        So messages that came one by one are read as if they had come together. A raw body
        stays apart: it is to be copied as it is read.
        """
        if not self._waiting:
            return False
        newest, count = self._waiting[-1], len(bodies)
        if (
            newest.publisher != publisher
            or newest.topic != topic
            or newest.sequence + len(newest.bodies) != sequence
            or len(newest.bodies) >= _JOINED_MAX
            or type(newest.bodies[0]) is memoryview
            or type(bodies[0]) is memoryview
            or self.messages + count > self._messages_max
            or self.size + size > self._bytes_max
        ):
            return False
        newest.bodies += bodies
        newest.size += size
        self.messages += count
        self.size += size
        return True

    def take(self) -> Delivery | None:
        """The oldest; None when there is none."""
        if not self._waiting:
            return None
        delivery = self._waiting.popleft()
        self.messages -= len(delivery.bodies)
        self.size -= delivery.size
        return delivery

    def take_mark(self) -> Delivery | None:
        """The oldest if it is a mark; else None."""
        return self.take() if self._waiting and self._waiting[0].mark else None

    def _trim(self, excess: int) -> int:
        """Drop up to so many messages of the oldest delivery."""
        oldest = self._waiting[0]
        if len(oldest.bodies) <= excess:
            self.take()
            return len(oldest.bodies)
        del oldest.bodies[:excess]
        oldest.sequence += excess
        self.messages -= excess
        return excess


class Latest:
    """The latest message of each topic, in the order in which topics were first heard."""

    def __init__(self, messages_max: int, bytes_max: int) -> None:
        self.messages = 0
        self.size = 0
        self._messages_max = messages_max
        self._bytes_max = bytes_max
        self._waiting: dict[str, Delivery] = {}

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing; marks never wait here."""
        return not self._waiting

    def put(self, delivery: Delivery) -> int:
        """Have a message replace the one before it; the topic that waits longest makes room."""
        dropped = len(delivery.bodies) - 1
        if dropped:
            delivery.size //= dropped + 1
            delivery.sequence += dropped
            del delivery.bodies[:-1]
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

    def join(
        self, topic: str, publisher: int, sequence: int, bodies: list[object], size: int
    ) -> bool:
        """Never: there is one message of each topic."""
        return False

    def take(self) -> Delivery | None:
        """The one that waits longest; None when there is none."""
        topic = next(iter(self._waiting), None)
        if topic is None:
            return None
        delivery = self._waiting.pop(topic)
        self.messages -= 1
        self.size -= delivery.size
        return delivery

    def take_mark(self) -> Delivery | None:
        """Never: marks are answered as they come."""
        return None
