"""One ZeroMQ frame per packet, a fixed header and a msgpack part; a long raw body is a second.

    offset  bytes  field
    0       1      00: end of the topic (publish-subscribe puts its topic in front)
    1       1      5A: ours
    2       1      version, 1
    3       1      kind
    4       1      encoding: 0 msgpack, 1 msgpack and a raw body in a second frame
    5       1      flags: bit 0: the msgpack part is compressed; the others are 0
    6       4      bytes of the msgpack part as it stands here
    10      8      source: incarnation of the sender
    18      8      target: incarnation of the receiver, 0 for whoever listens
    26      8      settled: every sequence number of the source below this is settled

A packet holds one message or many: the msgpack part is then an array of columns, one row a
message. docs/wire.md is normative.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from struct import Struct
from typing import cast

from zmqkit.errors import UsageError
from zmqkit.limits import BODY_BYTES_MAX, PACKET_BYTES_MAX, PRIORITY_MAX
from zmqkit.model import Frames
from zmqkit.wire.compression import compress, decompress
from zmqkit.wire.encoding import (
    SCALARS,
    Buffer,
    Malformed,
    array,
    check,
    decode,
    encode_checked,
    pack_plain,
)

HEADER = Struct(">IHIQQQ")
"""The first four bytes, encoding and flags, and the numbers."""
FIRST = 0x00_5A_01_00
"""The first four bytes of a packet, but for its kind."""

SEQUENCE_MAX = (1 << 64) - 2
"""The highest sequence number: "below which number" can be said of it, in 64 bits."""

MSGPACK, WITH_RAW, LZ4 = 0x00_00, 0x01_00, 0x00_01
"""Encoding and flags as one number; LZ4 may be added to either."""

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

RequestRow = tuple[
    int, int, str, int, "dict[str, object] | None", list[object], dict[str, object]
]
"""sequence, time left in ms, method, priority, headers, positional and keyword arguments."""

ErrorRow = tuple[int, str, str, str, str, bool]
"""sequence, code, type, message, traceback, may_have_run."""

_INT = frozenset({int})
_STR = frozenset({str})


@dataclass(slots=True)
class Packet:
    """A decoded packet: the header's fields, its msgpack part as values, its raw body.

    raw: a view of what arrived, not a copy. size: the bytes of both, uncompressed.
    """

    kind: int
    source: int
    target: int
    settled: int
    meta: object
    raw: memoryview | None
    size: int = field(default=0, compare=False)


def pack(
    kind: int,
    source: int,
    target: int,
    settled: int,
    meta: bytes,
    raw: Buffer | None = None,
    *,
    far: bool = False,
) -> Frames:
    """The frames for these fields; `meta` is msgpack already, `raw` travels as it is.

    far: the receiver is on another machine, so that a shorter packet is worth some time.
    """
    encoding = MSGPACK if raw is None else WITH_RAW
    if far and (shorter := compress(meta)) is not None:
        meta, encoding = shorter, encoding | LZ4
    head = HEADER.pack(FIRST + kind, encoding, len(meta), source, target, settled)
    return (head + meta,) if raw is None else (head + meta, raw)


def unpack(frames: Frames, at: int = 0) -> Packet:
    """Read a packet that begins at a byte of the first frame, behind its topic if it has one.

    Malformed, with the reason, for whatever is not one of ours.
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
    if size != _HEADER_BYTES + meta_bytes:
        raise Malformed("length")
    meta, raw = frame[at + _HEADER_BYTES :], None
    if len(frames) != 1 or encoding:
        raw = _second_frame(frames, encoding)
        if encoding & LZ4:
            meta = decompress(meta)
    size = len(meta) if raw is None else len(meta) + len(raw)
    return Packet(kind, source, target, settled, decode(meta), raw, size)


def _first_fault(first: int) -> str:
    if first >> 16 != FIRST >> 16:
        return "magic"
    return "version" if first >> 8 != FIRST >> 8 else "kind"


def _second_frame(frames: Frames, encoding: int) -> memoryview | None:
    """The raw body, which is there if the header says so."""
    if encoding & ~(WITH_RAW | LZ4):
        raise Malformed("encoding")
    with_raw = bool(encoding & WITH_RAW)
    if len(frames) != 1 + with_raw:
        raise Malformed("frames")
    return memoryview(frames[1]).toreadonly() if with_raw else None


def request_body(
    method: str,
    priority: int,
    headers: Mapping[str, object] | None,
    args: Sequence[object],
    kwargs: dict[str, object],
) -> bytes:
    """One request's row as msgpack: method, priority, headers, arguments.

    headers: checked before. Raises UsageError for arguments that cannot travel.
    """
    for value in args:
        if type(value) not in SCALARS:
            check(args, "args")
            break
    if kwargs:
        check(kwargs, "kwargs")
    row = (method, priority, headers, args, kwargs)
    try:
        return pack_plain(row)
    except (TypeError, ValueError, OverflowError):
        try:
            return encode_checked(row)  # knows more types
        except UsageError:
            for value, where in ((method, "the method"), (args, "args"), (kwargs, "kwargs")):
                encode_checked(value, where)  # knows what to say
            raise


def request_columns(sequences: list[int], left_ms: list[int], bodies: Sequence[bytes]) -> bytes:
    """The msgpack part of a REQUEST or NOTIFY packet."""
    return b"\x93" + pack_plain((sequences, left_ms))[1:] + array(bodies)


def reply_columns(sequences: list[int], bodies: Sequence[bytes]) -> bytes:
    """The msgpack part of a REPLY or ERROR packet."""
    return b"\x92" + pack_plain(sequences) + array(bodies)


def request_rows(packet: Packet) -> list[RequestRow]:
    """The messages of a REQUEST or NOTIFY packet, each of the right shape, else Malformed.

    A raw body is the last positional argument, as a view of what arrived.
    """
    sequences, (lefts, bodies) = columns_of(packet, 3)
    rows: list[RequestRow] = []
    for sequence, left, body in zip(sequences, lefts, bodies, strict=True):
        if type(left) is not int or type(body) is not list or len(body) != 5:
            raise Malformed("request")
        method, priority, headers, args, kwargs = body
        if type(method) is not str or type(args) is not list or type(kwargs) is not dict:
            raise Malformed("request")
        if type(priority) is not int or not 0 <= priority <= PRIORITY_MAX:
            raise Malformed("priority")
        if kwargs and not _STR.issuperset(map(type, kwargs)):
            raise Malformed("keyword")
        if headers is not None and (
            type(headers) is not dict or not _STR.issuperset(map(type, headers))
        ):
            raise Malformed("header")
        rows.append((sequence, left, method, priority, headers, args, kwargs))
    if packet.raw is not None:
        check_single(rows, packet.raw)
        rows[0][5].append(packet.raw)
    return rows


def reply_rows(packet: Packet) -> list[tuple[int, object]]:
    """Sequence and value of each message of a REPLY packet, else Malformed.

    A raw body is given as a view of what arrived.
    """
    sequences, (values,) = columns_of(packet, 2)
    if packet.raw is not None:
        check_single(sequences, packet.raw)
        return [(sequences[0], packet.raw)]
    return list(zip(sequences, values, strict=True))


def error_rows(packet: Packet) -> list[ErrorRow]:
    """The messages of an ERROR packet, else Malformed."""
    sequences, (bodies,) = columns_of(packet, 2)
    return [error_row_of(n, body) for n, body in zip(sequences, bodies, strict=True)]


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


def error_row_of(sequence: int, body: object) -> ErrorRow:
    """One message of an ERROR packet, else Malformed."""
    if type(body) is not list or [type(x) for x in body] != [str, str, str, str, bool]:
        raise Malformed("error")
    code, kind, message, trace, may_have_run = body
    return (sequence, code, kind, message, trace, may_have_run)


def check_single(rows: Sequence[object], raw: Buffer) -> None:
    """Malformed unless the raw body belongs to the only row, and is not too long."""
    if len(rows) != 1 or len(raw) > BODY_BYTES_MAX:
        raise Malformed("raw")


def columns_of(packet: Packet, count: int) -> tuple[list[int], list[list[object]]]:
    """The sequence numbers, at least one, and the other columns, of equal length."""
    meta = packet.meta
    if type(meta) is not list or len(meta) != count or type(meta[0]) is not list:
        raise Malformed("columns")
    sequences, *columns = meta
    rows = len(sequences)
    for column in columns:
        if type(column) is not list or len(column) != rows:
            raise Malformed("columns")
    for sequence in sequences or "-":
        if type(sequence) is not int or not 0 <= sequence <= SEQUENCE_MAX:
            raise Malformed("sequences")
    return sequences, columns
