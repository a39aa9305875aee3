"""One ZeroMQ frame per packet, a fixed header and a msgpack part; a long raw body is a second.

    offset  bytes  field
    0       1      00: end of the topic (publish-subscribe puts its topic in front)
    1       1      5A: ours
    2       1      version, 1
    3       1      kind
    4       1      encoding: 0 msgpack, 1 msgpack and a raw body in a second frame
    5       1      flags: bit 0: the msgpack part is compressed; bit 1: it mixes messages of
                   several origins; the others are 0
    6       4      bytes of the first value of the msgpack part, before it was compressed
    10      8      source: incarnation of the sender
    18      8      target: incarnation of the receiver, 0 for whoever listens
    26      8      settled: every sequence number of the source below this is settled

A packet is read in three steps: the header; the first value, which says what everybody on the
way may know; what follows it, which stays bytes until somebody wants values (see `rows`).
docs/wire.md is normative.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from struct import Struct
from typing import cast

from zmqkit.limits import PACKET_BYTES_MAX
from zmqkit.model import Frames
from zmqkit.wire.compression import compress, decompress
from zmqkit.wire.encoding import Buffer, Malformed, decode

HEADER = Struct(">IHIQQQ")
"""The first four bytes, encoding and flags, and the numbers."""
FIRST = 0x00_5A_01_00
"""The first four bytes of a packet, but for its kind."""

SEQUENCE_MAX = (1 << 64) - 2
"""The highest sequence number: "below which number" can be said of it, in 64 bits."""

MSGPACK, WITH_RAW, LZ4, MIXED = 0x00_00, 0x01_00, 0x00_01, 0x00_02
"""Encoding and flags as one number; LZ4 and MIXED may be added to either of the first two."""

_HEADER_BYTES = HEADER.size
_read_header = HEADER.unpack_from

HELLO, WELCOME, PING, PONG, BYE = 1, 2, 3, 4, 5
REQUEST, REPLY, ERROR, NOTIFY, CANCEL, RECALL = 8, 9, 10, 11, 12, 13
PUBLISH, MARK, CREDIT = 16, 17, 18
STREAM, ITEM, END, GRANT = 48, 49, 50, 51
KINDS = frozenset({
    HELLO, WELCOME, PING, PONG, BYE, REQUEST, REPLY, ERROR, NOTIFY, CANCEL, RECALL,
    PUBLISH, MARK, CREDIT, STREAM, ITEM, END, GRANT,
})  # fmt: skip
_WITH_COLUMNS = frozenset({REQUEST, NOTIFY, STREAM, REPLY, ERROR, ITEM, END})
WITH_ROWS = _WITH_COLUMNS | {PUBLISH}

_INT = frozenset({int})


@dataclass(slots=True)
class Packet:
    """A packet as it is read: the header's fields, its first value, and what follows as bytes.

    meta: the first value, None where there is none. rows: what follows it. raw: a view of what
    arrived, not a copy. size: the bytes of all three, uncompressed. is_mixed: its messages are
    of several origins.
    """

    kind: int
    source: int
    target: int
    settled: int
    meta: object
    rows: Buffer = b""
    raw: memoryview | None = None
    size: int = field(default=0, compare=False)
    is_mixed: bool = False


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
    """The frames for these fields; `meta` and `rows` are msgpack already, `raw` is not touched.

    far: the receiver is on another machine, so that a shorter packet is worth some time.
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
    """Read a packet that begins at a byte of the first frame, behind its topic if it has one.

    may_mix: whether its messages may be of several origins. Malformed, with the reason, for
    whatever is not one of ours.
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
        if encoding & MIXED and not (may_mix and kind in _WITH_COLUMNS):
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
    """The raw body, which is there if the header says so."""
    if encoding & ~(WITH_RAW | LZ4 | MIXED):
        raise Malformed("encoding")
    with_raw = bool(encoding & WITH_RAW)
    if len(frames) != 1 + with_raw:
        raise Malformed("frames")
    return memoryview(frames[1]).toreadonly() if with_raw else None


def sequences_of(value: object, count_max: int) -> list[int]:
    """A list of at most `count_max` sequence numbers, else Malformed."""
    if (
        type(value) is not list
        or len(value) > count_max
        or not _INT.issuperset(map(type, value))
        or (value and not 0 <= min(value) <= max(value) <= SEQUENCE_MAX)
    ):
        raise Malformed("sequences")
    return value


def last_word(meta: object, count_max: int) -> tuple[int, frozenset[int]]:
    """What the BYE of a service that has closed says was taken, else Malformed.

    All numbers below the first, and those in the set, which has at most `count_max`.
    """
    if type(meta) is not list or len(meta) != 2 or type(meta[0]) is not int:
        raise Malformed("bye")
    return meta[0], frozenset(sequences_of(meta[1], count_max))


def fields_of(packet: Packet) -> dict[str, object]:
    """The map that a HELLO or WELCOME carries, else Malformed."""
    if type(packet.meta) is not dict:
        raise Malformed("fields")
    return cast("dict[str, object]", packet.meta)
