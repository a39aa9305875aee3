"""One packet: a frame with a fixed header and a msgpack part, and a second for a long raw body.

    offset  bytes  field
    0       1      00: end of the topic (publish-subscribe puts its topic in front)
    1       1      5A: the mark of this protocol
    2       1      version, 1
    3       1      kind
    4       1      encoding: 0 msgpack, 1 msgpack and a raw body in a second frame
    5       1      flags: bit 0: the msgpack part is compressed; bit 1: its messages are
                   passed on and have origins; the others are 0
    6       4      bytes of the first value of the msgpack part, before it was compressed
    10      8      source: incarnation of the sender
    18      8      target: incarnation of the receiver, 0 for every receiver
    26      8      settled: every sequence number of the source below this is settled

A packet is read in three steps. First comes the header. Next comes the first value, which every
process on the way may read. What follows stays bytes until somebody wants its values (see
`rows`). docs/wire.md is normative.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from struct import Struct
from typing import NamedTuple, cast

from zmqkit.limits import PACKET_BYTES_MAX, PROGRESS_BYTES_MAX
from zmqkit.model import Frames, is_space
from zmqkit.wire.compression import compress, decompress
from zmqkit.wire.encoding import Buffer, Malformed, decode

HEADER = Struct(">IHIQQQ")
"""The first four bytes; encoding and flags; meta bytes, source, target and settled."""
FIRST = 0x00_5A_01_00
"""The first four bytes of a packet, as a number to which the kind is added."""

SEQUENCE_MAX = (1 << 64) - 2
"""The highest sequence number. `settled` is one more at most and still fits in 64 bits."""

MSGPACK, WITH_RAW, LZ4, MIXED = 0x00_00, 0x01_00, 0x00_01, 0x00_02
"""Encoding and flags as one number. LZ4 and MIXED may be added to either of the first two."""

_HEADER_BYTES = HEADER.size
_read_header = HEADER.unpack_from
_SOURCE_AT, _TARGET_AT = 10, 18
_number_at = Struct(">Q").unpack_from
_MARK = b"\x00\x5a"

HELLO, WELCOME, PING, PONG, BYE, STATISTICS, FIGURES = 1, 2, 3, 4, 5, 6, 7
REQUEST, REPLY, ERROR, NOTIFY, CANCEL, RECALL = 8, 9, 10, 11, 12, 13
TAP, TAPPED = 14, 15
PUBLISH, MARK, CREDIT = 16, 17, 18
RECOVER, HEADS, HISTORY, CLEAR = 19, 20, 21, 22
ACCEPT, PROGRESS, READY = 32, 33, 34
STREAM, ITEM, END, GRANT = 48, 49, 50, 51
KIND_NAMES = {
    HELLO: "HELLO", WELCOME: "WELCOME", PING: "PING", PONG: "PONG", BYE: "BYE",
    STATISTICS: "STATISTICS", FIGURES: "FIGURES", REQUEST: "REQUEST", REPLY: "REPLY",
    ERROR: "ERROR", NOTIFY: "NOTIFY", CANCEL: "CANCEL", RECALL: "RECALL", TAP: "TAP",
    TAPPED: "TAPPED", PUBLISH: "PUBLISH", MARK: "MARK", CREDIT: "CREDIT", RECOVER: "RECOVER",
    HEADS: "HEADS", HISTORY: "HISTORY", CLEAR: "CLEAR", ACCEPT: "ACCEPT",
    PROGRESS: "PROGRESS", READY: "READY", STREAM: "STREAM", ITEM: "ITEM", END: "END",
    GRANT: "GRANT",
}  # fmt: skip
KINDS = frozenset(KIND_NAMES)
_WITH_COLUMNS = frozenset({REQUEST, NOTIFY, STREAM, REPLY, ERROR, ITEM, END})
WITH_ROWS = _WITH_COLUMNS | {PUBLISH, HISTORY}
_MAY_MIX = frozenset({REQUEST, NOTIFY, STREAM})

_PROGRESS_HEAD_BYTES = 10
"""The head of an array of two, and a number of 64 bits."""
_INT = frozenset({int})


@dataclass(slots=True)
class Packet:
    """A packet as it is read: the header's fields, its first value, and the rest as bytes."""

    kind: int
    source: int
    target: int
    settled: int
    meta: object  # the first value; None if there is none
    rows: Buffer = b""  # what follows the first value
    raw: memoryview | None = None  # a view of the frame that arrived, not a copy
    size: int = field(default=0, compare=False)  # bytes of these three, uncompressed
    is_mixed: bool = False  # whether its messages are passed on, of several origins


def pack(
    kind: int,
    source: int,
    target: int,
    settled: int,
    meta: bytes,
    rows: bytes = b"",
    raw: Buffer | None = None,
    *,
    far: bool = False,
    is_mixed: bool = False,
) -> Frames:
    """Return the frames of a packet with these fields.

    meta, rows: encoded as msgpack already.
    raw: sent as it is.
    far: the receiver is on another machine, so a shorter packet is worth some time.
    is_mixed: the messages are of several origins.
    """
    encoding = MSGPACK if raw is None else WITH_RAW
    if is_mixed:
        encoding |= MIXED
    content = meta + rows
    if far and (shorter := compress(content)) is not None:
        content, encoding = shorter, encoding | LZ4
    head = HEADER.pack(FIRST + kind, encoding, len(meta), source, target, settled)
    return (head + content,) if raw is None else (head + content, raw)


def unpack(frames: Frames, at: int = 0, *, may_mix: bool = False) -> Packet:
    """Read a packet that begins at the byte `at` of the first frame.

    at: the length of the topic, if one stands in front of the packet.
    may_mix: whether the messages of the packet may be of several origins.
    Raises Malformed, with the reason, for anything that is not a packet of this protocol.
    """
    if not frames:
        raise Malformed("frames")
    frame = frames[0]
    size = len(frame) - at
    if not _HEADER_BYTES <= size <= PACKET_BYTES_MAX:
        raise Malformed("size")
    first, encoding, meta_bytes, source, target, settled = _read_header(frame, at)
    kind = first - FIRST
    if kind not in KINDS:
        raise Malformed(_first_fault(first))
    at += _HEADER_BYTES
    raw = None
    if len(frames) != 1 or encoding:
        raw = _second_frame(frames, encoding)
        if encoding & MIXED and not (may_mix and kind in _MAY_MIX):
            raise Malformed("origins")
        if encoding & LZ4:
            frame, at = decompress(frame[at:]), 0
    size, end = len(frame) - at, at + meta_bytes
    if meta_bytes > size or (meta_bytes < size and kind not in WITH_ROWS):
        raise Malformed("length")
    meta = decode(frame[at:end]) if meta_bytes else None
    if raw is not None:
        size += len(raw)
    mixed = bool(encoding & MIXED)
    return Packet(kind, source, target, settled, meta, frame[end:], raw, size, mixed)


def _first_fault(first: int) -> str:
    if first >> 16 != FIRST >> 16:
        return "magic"
    return "version" if first >> 8 != FIRST >> 8 else "kind"


def _second_frame(frames: Frames, encoding: int) -> memoryview | None:
    """Return the raw body if the header says that there is one, else None."""
    if encoding & ~(WITH_RAW | LZ4 | MIXED):
        raise Malformed("encoding")
    with_raw = bool(encoding & WITH_RAW)
    if len(frames) != 1 + with_raw:
        raise Malformed("frames")
    return memoryview(frames[1]).toreadonly() if with_raw else None


def sequences_of(value: object, count_max: int) -> list[int]:
    """Return a list of at most `count_max` sequence numbers. Else raise Malformed."""
    if (
        type(value) is not list
        or len(value) > count_max
        or not _INT.issuperset(map(type, value))
        or (value and not 0 <= min(value) <= max(value) <= SEQUENCE_MAX)
    ):
        raise Malformed("sequences")
    return value


class Ping(NamedTuple):
    """A question for what an instance holds, and what it may forget."""

    token: int
    next: int  # the next number that its sender gives
    open: frozenset[int]  # the lower numbers that are not settled
    read: int | None  # the token of the last answer that was read


def read_ping(packet: Packet, open_max: int) -> Ping:
    """Return what a PING says, with at most `open_max` open numbers. Else raise Malformed."""
    meta = packet.meta
    if type(meta) is not list or len(meta) not in (3, 4):
        raise Malformed("ping")
    if {type(each) for each in (*meta[:2], *meta[3:])} != {int}:
        raise Malformed("ping")
    still_open = frozenset(sequences_of(meta[2], open_max))
    return Ping(meta[0], meta[1], still_open, meta[3] if meta[3:] else None)


class Pong(NamedTuple):
    """An answer to a ping: what the instance holds."""

    token: int
    credit: object  # unchecked
    held: list[int]  # the numbers that it holds
    running: int  # how many of them, the first ones, have begun
    progress: object  # of streams, unchecked; None if it says nothing


def read_pong(packet: Packet, token_max: int, held_max: int) -> Pong:
    """Return what a PONG says. Raise Malformed for a token that was not sent yet, and others.

    held_max: how many numbers it may name.
    """
    meta = packet.meta
    if type(meta) is not list or len(meta) not in (4, 5):
        raise Malformed("pong")
    token, running = meta[0], meta[3]
    if type(token) is not int or not 0 < token <= token_max:
        raise Malformed("token")
    held = sequences_of(meta[2], held_max)
    if type(running) is not int or not 0 <= running <= len(held):
        raise Malformed("pong")
    return Pong(token, meta[1], held, running, meta[4] if meta[4:] else None)


def progress_of(packet: Packet) -> tuple[int, object]:
    """Return the number and the value that a PROGRESS carries. Raise Malformed otherwise."""
    meta = packet.meta
    if type(meta) is not list or len(meta) != 2 or type(meta[0]) is not int:
        raise Malformed("progress")
    if packet.size > PROGRESS_BYTES_MAX + _PROGRESS_HEAD_BYTES:
        raise Malformed("progress")
    return meta[0], meta[1]


def is_ours(frames: Frames) -> bool:
    """Return whether a message begins as a packet does; reading it may show that it is none."""
    return bool(frames) and frames[0][:2] == _MARK


def target_of(frames: Frames) -> int:
    """Return for which incarnation a packet is; 0 for every one, or if it is none."""
    return _number_at(frames[0], _TARGET_AT)[0] if _has_header(frames) else 0


def source_of(frames: Frames) -> int:
    """Return the incarnation of a packet's sender; 0 if it is no packet."""
    return _number_at(frames[0], _SOURCE_AT)[0] if _has_header(frames) else 0


def _has_header(frames: Frames) -> bool:
    return bool(frames) and len(frames[0]) >= _HEADER_BYTES


def last_word(meta: object, count_max: int) -> tuple[int, frozenset[int]]:
    """Return which requests a closed service had taken, as its BYE says. Else raise Malformed.

    The service took all sequence numbers below the first part of the result, and those in the
    set. The set has at most `count_max` numbers.
    """
    if type(meta) is not list or len(meta) != 2 or type(meta[0]) is not int:
        raise Malformed("bye")
    return meta[0], frozenset(sequences_of(meta[1], count_max))


def space_of(fields: Mapping[str, object]) -> str:
    """Return the space that a HELLO, WELCOME or READY names; empty for the default space.

    Raise Malformed for what cannot be one.
    """
    space = fields.get("space", "")
    if type(space) is not str or not is_space(space):
        raise Malformed("space")
    return space


def named(space: str) -> dict[str, object]:
    """Return the field by which a map names a space; none for the default space."""
    return {"space": space} if space else {}


def fields_of(packet: Packet) -> dict[str, object]:
    """Return the map that a HELLO or WELCOME carries. Raise Malformed if it carries none."""
    if type(packet.meta) is not dict:
        raise Malformed("fields")
    return cast("dict[str, object]", packet.meta)


def process_of(fields: object) -> int:
    """Return the number of its process that a HELLO tells; 0 if it tells none."""
    process = fields.get("process") if type(fields) is dict else None
    return process if type(process) is int and 0 < process < 1 << 64 else 0
