"""A tap: a bounded sample of what passes one role, for one tapper.

The role's own thread looks and samples, once for all that passes together, and never waits. The
node's thread takes the rows. So nothing that a tapper does, or leaves undone, slows the role:
rows that nobody takes make room for new ones, and are counted. A role that is not tapped has an
empty tuple of taps, and does no more than to see that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from zmqkit.core.effects import Effect, Send
from zmqkit.model import EVERY_PEER, Frames
from zmqkit.tap_limits import TAP_BODY_BYTES, TAP_ROWS_MAX
from zmqkit.wire import packet as wire
from zmqkit.wire import publication
from zmqkit.wire.encoding import Buffer, Malformed, array_head, encode
from zmqkit.wire.tapping import Passed, Wanted

ENCODED_BYTES_MAX = 4096
"""Longer arguments and results are not shown where they would have to be encoded for it."""
_HEAD_BYTES = 5
"""How long the head of bytes is in msgpack, at most."""


class Tap:
    """What one tapper gets to see of one role."""

    def __init__(self, wanted: Wanted, *, is_part: bool = False) -> None:
        """is_part: the name is that of a part of the role, such as a broker's service."""
        self.wanted = wanted
        self.is_part = is_part
        # Written by the role's thread alone.
        self.seen = 0
        self.skipped = 0
        self._put = 0
        self._room = wanted.rate
        self._at = 0.0
        self._rows: deque[Passed] = deque(maxlen=TAP_ROWS_MAX)
        # Written by the node's thread alone.
        self._taken = 0

    @property
    def dropped(self) -> int:
        """How many rows made room before they were taken."""
        return max(0, self._put - self._taken - len(self._rows))

    def takes(self, count: int, now: float) -> bool:
        """Count so many that pass now; return whether one of them is to be shown."""
        before = self.seen
        self.seen += count
        every, rate = self.wanted.every, self.wanted.rate
        if before // every == self.seen // every:
            self.skipped += count
            return False
        room = min(max(1.0, rate), self._room + rate * (now - self._at))
        self._at = now
        if room < 1:
            self._room = room
            self.skipped += count
            return False
        self._room = room - 1
        self.skipped += count - 1
        return True

    def put(self, row: Passed) -> None:
        """Show a row."""
        self._rows.append(row)
        self._put += 1

    def take(self) -> Passed | None:
        """Return the next row; None if there is none."""
        try:
            row = self._rows.popleft()
        except IndexError:
            return None
        self._taken += 1
        return row


Taps = tuple[Tap, ...]
"""The taps of one role; it is replaced, never changed."""


def of_raw(body: Buffer) -> bytes:
    """Return the beginning of a body that travels as it is, as msgpack."""
    return encode(bytes(body[: TAP_BODY_BYTES - _HEAD_BYTES]))


def of_text(text: str) -> bytes:
    """Return text as msgpack; what of it is no Unicode is replaced."""
    return encode(text.encode(errors="replace").decode())


def see_sent(taps: Taps, effects: Iterable[Effect], now: float) -> None:
    """Sample the messages in packets that leave now for all subscribers."""
    for effect in effects:
        if type(effect) is Send and effect.peer == EVERY_PEER:
            see_messages(taps, effect.frames, "published", now)


def see_messages(taps: Taps, frames: Frames, outcome: str, now: float) -> None:
    """Sample the messages in one packet, if it has any. outcome: where they go."""
    head = publication.head_of(frames)
    if head is None:
        return
    end, source, _, count = head
    topic = bytes(frames[0][:end])
    for tap in taps:
        if topic.startswith(tap.wanted.only.encode()) and tap.takes(count, now):
            tap.put(_of_message(topic, source, count, frames, outcome, now))


def _of_message(
    topic: bytes, source: int, count: int, frames: Frames, outcome: str, now: float
) -> Passed:
    """Return the row of the first message in a packet; its size is that of the average one."""
    body, size = b"", 0
    what = topic.decode("utf-8", "replace")
    try:
        packet = wire.unpack(frames, len(topic))
    except Malformed:
        return Passed(int(now * 1e6), what, "malformed", 0, source, 0)
    if packet.kind == wire.CLEAR:
        outcome = "cleared"
    elif packet.raw is not None:
        size, body = len(packet.raw), of_raw(packet.raw)
    else:
        rows = memoryview(packet.rows)[len(array_head(count)) :]
        size, body = len(rows) // count, bytes(rows[:TAP_BODY_BYTES])
    return Passed(int(now * 1e6), what, outcome, 0, source, size, body)
