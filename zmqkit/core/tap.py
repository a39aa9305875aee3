"""A tap: a bounded sample of what passes one role, for one tapper.

The role's own thread looks and samples, once for all that passes together, and never waits. The
node's thread takes the rows. So nothing that a tapper does, or leaves undone, slows the role:
rows that nobody takes make room for new ones, and are counted. A role that is not tapped has an
empty tuple of taps, and does no more than to see that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

import msgpack

from zmqkit.core.calls.request import Request
from zmqkit.core.dispatch.window import Answer
from zmqkit.core.effects import Effect, Send
from zmqkit.errors import ZmqkitError
from zmqkit.model import EVERY_PEER, Frames
from zmqkit.tap_limits import TAP_BODY_BYTES, TAP_ROWS_MAX
from zmqkit.wire import packet as wire
from zmqkit.wire import publication
from zmqkit.wire.encoding import Buffer, Malformed, array_head, decode, encode, values_at
from zmqkit.wire.tapping import Passed, Wanted

_ENCODED_BYTES_MAX = 4096
"""The arguments of longer requests are not shown: they would have to be encoded for it."""
_WITH_HEADERS, _PAIR = b"\x93", array_head(2)
"""How a request begins that was passed on whole; and arguments, as they are shown."""
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


def see_results(
    taps: Taps, results: Sequence[tuple[Request, Answer]], now: float, *, is_read: bool
) -> None:
    """Sample calls that end now with these answers. is_read: whether arguments were read."""
    for tap in taps:
        only = tap.wanted.only
        for request, answer in results:
            if (not only or request.method == only) and tap.takes(1, now):
                tap.put(_of_call(request, answer, now, is_read=is_read))


def _of_call(request: Request, answer: Answer, now: float, *, is_read: bool) -> Passed:
    raw = answer.raw
    outcome, reply = "done", answer.row if raw is None else _of_raw(raw)
    if answer.kind != wire.REPLY:
        outcome, reply = _error_of(answer)
    if request.cancelled:
        outcome = "cancelled"
    return Passed(
        at_us=int(now * 1e6),
        what=request.method,
        outcome=outcome,
        took_us=max(0, int((now - request.arrived_at) * 1e6)),
        source=request.client,
        size=request.size,
        body=_arguments_of(request, is_read=is_read),
        reply_size=len(answer.row if raw is None else raw),
        reply=reply[:TAP_BODY_BYTES],
    )


def _of_raw(body: Buffer) -> bytes:
    """Return the beginning of a body that travels as it is, as msgpack."""
    return encode(bytes(body[: TAP_BODY_BYTES - _HEAD_BYTES]))


def _error_of(answer: Answer) -> tuple[str, bytes]:
    """Return the code of an error, and its type and text as msgpack."""
    try:
        row = decode(answer.row)
    except Malformed:  # of a worker's answer, a device knows only that it is one value
        row = None
    if type(row) is not list or len(row) < 3:
        return "failed", answer.row
    code, kind, text = map(str, row[:3])
    return code, encode(f"{kind}: {text}" if kind else text)


def _arguments_of(request: Request, *, is_read: bool) -> bytes:
    """Return the beginning of the arguments: a list of positional ones and a map.

    is_read: whether they were read; whoever passes requests on has the bytes that came.
    """
    if request.size > _ENCODED_BYTES_MAX:
        return b""
    try:
        if is_read:
            return encode([request.args, request.kwargs])[:TAP_BODY_BYTES]
        piece = request.args[0]
        assert isinstance(piece, bytes)
        if piece[:1] == _WITH_HEADERS:
            piece = bytes(values_at(piece[1:], 1, 2))
        return (_PAIR + piece)[:TAP_BODY_BYTES]
    except (ZmqkitError, ValueError, msgpack.UnpackException):
        return b""


def see_sent(taps: Taps, effects: Iterable[Effect], now: float) -> None:
    """Sample the messages in packets that leave now for all subscribers."""
    for effect in effects:
        if type(effect) is not Send or effect.peer != EVERY_PEER:
            continue
        head = publication.head_of(effect.frames)
        if head is None:
            continue  # it is no message
        end, source, _, count = head
        topic = bytes(effect.frames[0][:end])
        for tap in taps:
            if topic.startswith(tap.wanted.only.encode()) and tap.takes(count, now):
                tap.put(_of_message(topic, source, count, effect.frames, now))


def _of_message(topic: bytes, source: int, count: int, frames: Frames, now: float) -> Passed:
    """Return the row of the first message in a packet; its size is that of the average one."""
    outcome, body, size = "published", b"", 0
    what = topic.decode("utf-8", "replace")
    try:
        packet = wire.unpack(frames, len(topic))
    except Malformed:
        return Passed(int(now * 1e6), what, "malformed", 0, source, 0)
    if packet.kind == wire.CLEAR:
        outcome = "cleared"
    elif packet.raw is not None:
        size, body = len(packet.raw), _of_raw(packet.raw)
    else:
        rows = memoryview(packet.rows)[len(array_head(count)) :]
        size, body = len(rows) // count, bytes(rows[:TAP_BODY_BYTES])
    return Passed(int(now * 1e6), what, outcome, 0, source, size, body)
