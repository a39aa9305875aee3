"""A request that a worker of an RFC has, and what is to be told of it to the back.

The back asks for one value (REQUEST, NOTIFY) or for a stream of values (STREAM). A worker of
RFC 18 may send its reply in parts, whatever was asked for:

    asked for       PARTIAL                             FINAL
    one value       is kept                             what was kept and this are the REPLY
    a stream        is an ITEM                          is an ITEM, and END follows

A worker cannot be slowed down. So items for which the back has granted no credit are kept here,
and a worker that sends too much loses its request.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from zmqkit.core.majordomo.bodies import answer_part, size_of
from zmqkit.model import Frames
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Buffer, Malformed
from zmqkit.wire.rows import CHARGE_BYTES, Window, answer_columns, end_columns, item_columns

Parcel = tuple[int, bytes, bytes, "Buffer | None"]
"""Kind, columns, row and raw body of a packet."""

_NIL = b"\xc0"


@dataclass(slots=True, eq=False)
class RfcJob:
    """One request at one worker."""

    sequence: int
    # The kind of packet that asked for it, and what a stream's caller granted.
    kind: int
    window: Window | None = None
    # Its caller gave it up; the worker goes on with it.
    cancelled: bool = False
    # The FINAL came.
    ended: bool = False
    # The parts of the reply that were not told yet, and the bytes that they are charged for: an
    # empty one takes memory, too.
    kept: deque[Frames] = field(default_factory=deque)
    kept_bytes: int = 0
    # Of a stream: how many items were told, and how many of them were taken; the bytes that
    # each of the others is charged for, and their sum.
    sent: int = 0
    taken: int = 0
    charges: deque[int] = field(default_factory=deque)
    charged: int = 0

    @property
    def address(self) -> bytes:
        """The frame by which the worker's replies name the request."""
        return self.sequence.to_bytes(8, "big")

    @property
    def is_over(self) -> bool:
        """Whether the worker is done with it, and nothing of it is kept."""
        return self.ended and not self.kept

    def part(self, body: Frames) -> list[Parcel]:
        """Take a PARTIAL; return what is to be told now."""
        self._keep(body)
        return self._items()

    def final(self, body: Frames) -> list[Parcel]:
        """Take the FINAL; return what is to be told now."""
        self.ended = True
        self._keep(body)
        if self.cancelled or self.window is not None:
            return self._items()
        whole = tuple(frame for kept in self.kept for frame in kept)
        self.give_up()
        row, raw = (_NIL, None) if self.kind == wire.NOTIFY else answer_part(whole)
        return [(wire.REPLY, answer_columns((self.sequence,), (row,)), row, raw)]

    def granted(self, taken: int) -> list[Parcel]:
        """Learn how many items were taken; return what is to be told now."""
        if taken > self.sent:
            raise Malformed("grant")
        while self.taken < taken:
            self.charged -= self.charges.popleft()
            self.taken += 1
        return self._items()

    def give_up(self) -> None:
        """Keep nothing more."""
        self.kept.clear()
        self.kept_bytes = 0

    def check(self) -> None:
        """Assert that items are kept only while the window is full, and that bytes add up."""
        assert self.kept_bytes == sum(map(_charge, self.kept))
        assert self.charged == sum(self.charges)
        assert self.sent - self.taken == len(self.charges)
        assert not (self.cancelled and self.kept)
        assert self.window is None or not self.kept or not self._has_room

    def _keep(self, body: Frames) -> None:
        if not self.cancelled:
            self.kept.append(body)
            self.kept_bytes += _charge(body)

    @property
    def _has_room(self) -> bool:
        assert self.window is not None
        items_max, bytes_max = self.window
        return len(self.charges) < items_max and self.charged < bytes_max

    def _items(self) -> list[Parcel]:
        """Return as many of the kept items as there is credit for, and the end behind them."""
        if self.cancelled or self.window is None:
            return []
        told: list[Parcel] = []
        while self.kept and self._has_room:
            body = self.kept.popleft()
            self.kept_bytes -= _charge(body)
            row, raw = answer_part(body)
            columns = item_columns((self.sequence,), (self.sent,), (row,))
            told.append((wire.ITEM, columns, row, raw))
            charge = CHARGE_BYTES + len(row) + len(raw or b"")
            self.charges.append(charge)
            self.charged += charge
            self.sent += 1
        if self.is_over:
            columns = end_columns((self.sequence,), (self.sent,), (_NIL,))
            told.append((wire.END, columns, _NIL, None))
        return told


def _charge(body: Frames) -> int:
    return CHARGE_BYTES + size_of(body)
