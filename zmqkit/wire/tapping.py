"""Taps on the wire: what a tapper wants to see, and the rows of each answer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import cast

from zmqkit.model import Frames
from zmqkit.tap_limits import TAP_BODY_BYTES, TAP_RATE_MAX, TAP_TEXT_CHARS
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Malformed, array, encode
from zmqkit.wire.packet import Packet

_NUMBER_MAX = (1 << 63) - 1
_TEXT_CHARS_MAX = 255


@dataclass(slots=True, frozen=True)
class Wanted:
    """What a tapper wants to see."""

    # The name of the roles, or of a service of a broker or router.
    name: str
    # Of calls, the method alone; of messages, topics that begin so. Empty for all.
    only: str = ""
    # One of so many, and so many each second of each role at most.
    every: int = 1
    rate: float = TAP_RATE_MAX


@dataclass(slots=True)
class Passed:
    """One row: a call that was answered, or a message that was published."""

    # When, by the process's monotonic clock, in microseconds.
    at_us: int
    # The method, or the topic.
    what: str
    # `done`, or the code of the error; of a message `published` or `cleared`.
    outcome: str
    # From its arrival to its answer; 0 of a message.
    took_us: int
    # The client's number, or the publisher's.
    source: int
    # How many bytes the request or the message has, and the beginning of its msgpack.
    size: int
    body: bytes = b""
    # The same of the reply or error.
    reply_size: int = 0
    reply: bytes = b""
    # Of which role: what it is, and its name.
    role: str = ""
    name: str = ""


@dataclass(slots=True)
class Tapped:
    """One answer: what was seen since the tap began, and the rows that are new."""

    token: int
    process: int = 0
    # The time of the answer, as that of the rows and as a time of day.
    at_us: int = 0
    wall_us: int = 0
    # How many roles are tapped; 0 with `is_full` if too many tap the process.
    roles: int = 0
    is_full: bool = False
    # How many passed; how many of them were not sampled; how many rows made room unread.
    seen: int = 0
    skipped: int = 0
    dropped: int = 0
    rows: list[Passed] = field(default_factory=list)


def question(process: int, token: int, tap: int, wanted: Wanted) -> Frames:
    """Return the packet that asks for what passed. tap: the number of the tap."""
    meta = [token, tap, wanted.name, wanted.only, wanted.every, wanted.rate]
    return wire.pack(wire.TAP, process, 0, 0, encode(meta))


def read_question(packet: Packet) -> tuple[int, int, Wanted]:
    """Return the token, the number of the tap and what it wants. Raises Malformed."""
    meta = packet.meta
    if type(meta) is not list or [*map(type, meta)] != [int, int, str, str, int, float]:
        raise Malformed("tap")
    token, tap, name, only, every, rate = meta
    if not (_is_number(token) and _is_number(tap) and 0 < every <= _NUMBER_MAX and rate > 0):
        raise Malformed("tap")
    if max(len(name), len(only)) > _TEXT_CHARS_MAX:
        raise Malformed("tap")
    return token, tap, Wanted(name, only, every, min(rate, TAP_RATE_MAX))


def row_of(row: Passed, role: str, name: str) -> bytes:
    """Return a row as it travels."""
    return encode([
        row.at_us, row.what[:TAP_TEXT_CHARS], row.outcome[:TAP_TEXT_CHARS], row.took_us,
        row.source, row.size, row.body[:TAP_BODY_BYTES], row.reply_size,
        row.reply[:TAP_BODY_BYTES], role, name[:_TEXT_CHARS_MAX],
    ])  # fmt: skip


def answer(told: Tapped, rows: Iterable[bytes]) -> Frames:
    """Return an answer with these rows, which are encoded."""
    head = [
        told.token, told.at_us, told.wall_us, told.roles, told.is_full, told.seen,
        told.skipped, told.dropped,
    ]  # fmt: skip
    return wire.pack(wire.TAPPED, told.process, 0, 0, array([encode(head), array([*rows])]))


def read_answer(packet: Packet) -> Tapped:
    """Return what an answer says. Raises Malformed for anything else."""
    meta = packet.meta
    if type(meta) is not list or len(meta) != 2 or type(meta[1]) is not list:
        raise Malformed("tapped")
    head, rows = meta
    if type(head) is not list or len(head) != 8 or type(head[4]) is not bool:
        raise Malformed("tapped")
    token, at_us, wall_us, roles, is_full, seen, skipped, dropped = head
    numbers = [token, at_us, wall_us, roles, seen, skipped, dropped]
    if not all(map(_is_number, numbers)):
        raise Malformed("tapped")
    return Tapped(
        token, packet.source, at_us, wall_us, roles, is_full, seen, skipped, dropped,
        [_row(row) for row in rows],
    )  # fmt: skip


_SHAPE = [int, str, str, int, int, int, bytes, int, bytes, str, str]


def _row(row: object) -> Passed:
    if type(row) is not list or [*map(type, row)] != _SHAPE:
        raise Malformed("tapped")
    if not all(each >= 0 for each in row if type(each) is int):
        raise Malformed("tapped")
    return Passed(*cast("tuple[int, str, str, int, int, int, bytes, int, bytes, str, str]",
                        tuple(row)))  # fmt: skip


def _is_number(value: object) -> bool:
    return type(value) is int and 0 <= value <= _NUMBER_MAX
