"""A packet of a publisher on its way between the two ends of a bridge."""

from __future__ import annotations

from dataclasses import dataclass

from zmqkit.model import Frames
from zmqkit.wire import packet as wire
from zmqkit.wire import publication
from zmqkit.wire.encoding import Malformed

_ITEM_BYTES = 512
_LAST = 1
"""The number of the end of a publisher, which has one."""
_EVERYBODY = publication.private(publication.EVERYBODY)


@dataclass(slots=True, eq=False)
class Item:
    """A packet of a publisher, and what its header says."""

    frames: Frames
    waits: bool  # its publisher waits for its subscribers
    topic: bytes = b""  # nothing for the end of a publisher
    publisher: int = 0
    sequence: int = 0
    count: int = 1

    @property
    def size(self) -> int:
        """What it takes in memory."""
        return _ITEM_BYTES + sum(map(len, self.frames))


def item_of(frames: Frames, *, waits: bool) -> Item:
    """Return what a packet of messages, or the end of a publisher, is. Else raise Malformed."""
    head = publication.head_of(frames)
    if head is not None:
        end, publisher, sequence, count = head
        return Item(frames, waits, bytes(frames[0][:end]), publisher, sequence, count)
    topic, packet = publication.read(frames)
    if packet.kind != wire.BYE or topic != _EVERYBODY or not packet.source:
        raise Malformed("unexpected")
    publication.ends_of(packet)
    return Item(frames, waits, publisher=packet.source, sequence=_LAST)
