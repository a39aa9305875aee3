"""What a subscriber still lacks of what publishers have published, as far as it knows."""

from __future__ import annotations

from dataclasses import dataclass

from zmqkit.core.topics.positions import Position
from zmqkit.core.topics.sources import Sources


@dataclass(slots=True)
class Lack:
    """Messages of one topic of a publisher that have not come.

    sequence: the number of the first of them.
    """

    publisher: int
    topic: str
    messages: int
    sequence: int


def lacking(sources: Sources) -> list[Lack]:
    """Return what is to be recovered, by publisher and topic."""
    found = [
        _of(position)
        for positions in sources.origins.by_publisher.values()
        for position in positions.values()
    ]
    return [lack for lack in found if lack is not None]


def unheard(sources: Sources) -> list[int]:
    """Return the publishers that have not said yet what they keep."""
    waiting = [
        each for each in sources.all if each.recovery is not None and each.recovery.joining
    ]
    return [source.publisher for source in waiting]


def _of(position: Position) -> Lack | None:
    hole = position.hole
    if hole is None:
        return None
    held = sum(len(each.bodies) for each in hole.held)
    messages = max(0, hole.tail - position.next) - held
    if not messages:
        return None
    first = position.next if hole.lacks else hole.known
    return Lack(position.publisher, position.name, messages, first)
