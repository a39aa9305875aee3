"""How far a publisher is in one topic, and what is lacking there until it is recovered."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

from zmqkit.core.topics.inbox import Inbox


class Way(Protocol):
    """A connection by which messages come."""

    # The prefixes that are in place there.
    placed: tuple[bytes, ...]


@dataclass(slots=True, eq=False)
class Position:
    """How far a publisher is in one topic, whichever way its messages come."""

    topic: bytes
    name: str
    publisher: int
    # By which its messages come. One whose subscriptions are not all in place takes over only
    # from another such.
    way: Way
    fresh: bool = False  # its subscription may not have been in place, so no gap counts yet
    anew: bool = False  # the same of its newest message: a gap behind that does not count
    count: int = 0  # how many of its messages were queued to be read
    next: int = 0  # the number that its next message is to have; 0 for any
    # Messages below this number were read before its subscription ended and began again.
    floor: int = 0
    hole: Hole | None = None  # what is to be recovered before other messages
    inbox: Inbox | None = None  # where its newest messages were put

    @property
    def begins(self) -> bool:
        """Whether what is missing before the next message does not count."""
        return self.fresh or self.anew

    def expect(self, way: Way) -> None:
        """Note by which way all that follows is to come, if its subscription is in place."""
        if self.topic.startswith(way.placed):
            self.fresh, self.way = False, way

    def turn(self, way: Way) -> None:
        """Note that a message came another way than before."""
        if self.fresh or self.topic.startswith(way.placed):
            self.way = way

    def confirm(self, way: Way) -> None:
        """Note that a message which had come comes this way, too.

        If its subscription is in place here, so does all that follows, and a gap counts.
        """
        if self.begins and self.topic.startswith(way.placed):
            self.fresh = self.anew = False
            self.way = way


@dataclass(slots=True, eq=False)
class Held:
    """Messages that wait behind others which are to be recovered."""

    sequence: int  # the number of the first message
    bodies: list[object]
    times: list[float]  # when each was published, in seconds since 1970
    size: int
    cleared: bool = False


@dataclass(slots=True, eq=False)
class Hole:
    """Messages of one topic that are lacking, from the position's next number on.

    They are lacking up to the first message that is held, or if none is, up to the tail.
    """

    position: Position
    keeper: Way  # who is asked for them
    tail: int  # all messages below this number are known to be published
    free: int = 0  # messages below this number are not missing if they are not kept
    held: deque[Held] = field(default_factory=deque)

    @property
    def end(self) -> int:
        """The number up to which messages are lacking."""
        return self.held[0].sequence if self.held else self.tail

    @property
    def lacks(self) -> bool:
        """Whether messages are lacking before those held."""
        return self.position.next < self.end

    @property
    def known(self) -> int:
        """The number behind the last message that came."""
        if not self.held:
            return self.position.next
        last = self.held[-1]
        return last.sequence + len(last.bodies)
