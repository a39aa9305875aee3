"""One ZeroMQ frame per packet: a fixed header, a msgpack part, perhaps one raw body.

    offset  bytes  field
    0       1      00: end of the topic (publish-subscribe puts its topic in front)
    1       1      5A: ours
    2       1      version, 1
    3       1      kind
    4       1      encoding: 0 msgpack, 1 msgpack and a raw body behind it
    5       1      flags: bit 0 is kept for lz4; the others are 0
    6       4      bytes of the msgpack part
    10      8      source: incarnation of the sender
    18      8      target: incarnation of the receiver, 0 for whoever listens
    26      8      settled: every sequence number of the source below this is settled

A packet holds one message or many: the msgpack part is then an array of columns, one row a
message. docs/wire.md is normative.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from struct import Struct
from typing import cast

from zmqkit.errors import UsageError
from zmqkit.options import BODY_BYTES_MAX, PACKET_BYTES_MAX, PRIORITY_MAX
from zmqkit.wire.encoding import (
    SCALARS,
    Buffer,
    Malformed,
    array,
    check,
    decode,
    encode_checked,
)

HEADER = Struct(">6BIQQQ")
MAGIC = 0x5A
VERSION = 1

MSGPACK, WITH_RAW = 0, 1

HELLO, WELCOME, PING, PONG, BYE = 1, 2, 3, 4, 5
REQUEST, REPLY, ERROR, NOTIFY, CANCEL = 8, 9, 10, 11, 12
KINDS = frozenset({HELLO, WELCOME, PING, PONG, BYE, REQUEST, REPLY, ERROR, NOTIFY, CANCEL})

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
    """A decoded packet: the header's fields, its msgpack part as values, its raw body."""

    kind: int
    source: int
    target: int
    settled: int
    meta: object
    raw: bytes | None


def pack(
    kind: int, source: int, target: int, settled: int, meta: bytes, raw: bytes | None = None
) -> bytes:
    """The frame for these fields; `meta` is msgpack already, `raw` follows as it is."""
    encoding = MSGPACK if raw is None else WITH_RAW
    head = HEADER.pack(0, MAGIC, VERSION, kind, encoding, 0, len(meta), source, target, settled)
    return head + meta if raw is None else b"".join((head, meta, raw))


def unpack(frame: Buffer) -> Packet:
    """Read a packet. Malformed, with the reason, for whatever is not one of ours."""
    size = len(frame)
    if not HEADER.size <= size <= PACKET_BYTES_MAX:
        raise Malformed("size")
    end, magic, version, kind, encoding, flags, meta_bytes, source, target, settled = (
        HEADER.unpack_from(frame)
    )
    if end or magic != MAGIC or version != VERSION or kind not in KINDS:
        raise Malformed(_first_fault(end, magic, version))
    if encoding > WITH_RAW or flags:
        raise Malformed("encoding")
    raw_at = HEADER.size + meta_bytes
    if raw_at > size or (encoding == MSGPACK and raw_at != size):
        raise Malformed("length")
    meta = decode(memoryview(frame)[HEADER.size : raw_at])
    raw = bytes(memoryview(frame)[raw_at:]) if encoding == WITH_RAW else None
    return Packet(kind, source, target, settled, meta, raw)


def _first_fault(end: int, magic: int, version: int) -> str:
    if end or magic != MAGIC:
        return "magic"
    return "version" if version != VERSION else "kind"


def request_body(
    method: str,
    priority: int,
    headers: Mapping[str, object] | None,
    args: Sequence[object],
    kwargs: dict[str, object],
) -> bytes:
    """One request's row as msgpack: method, priority, headers, arguments."""
    if args and not SCALARS.issuperset(map(type, args)):
        check(args, "args")
    if kwargs:
        check(kwargs, "kwargs")
    if headers:
        check(headers, "headers")
        if not _STR.issuperset(map(type, headers)):
            raise UsageError("headers have a key that is not text")
    return encode_checked([method, priority, headers, args, kwargs])


def request_columns(sequences: list[int], left_ms: list[int], bodies: Sequence[bytes]) -> bytes:
    """The msgpack part of a REQUEST or NOTIFY packet."""
    return b"\x93" + encode_checked(sequences) + encode_checked(left_ms) + array(bodies)


def reply_columns(sequences: list[int], bodies: Sequence[bytes]) -> bytes:
    """The msgpack part of a REPLY or ERROR packet."""
    return b"\x92" + encode_checked(sequences) + array(bodies)


def request_rows(packet: Packet) -> list[RequestRow]:
    """The messages of a REQUEST or NOTIFY packet, each of the right shape, else Malformed."""
    sequences, (lefts, bodies) = _columns(packet, 3)
    if not _INT.issuperset(map(type, lefts)):
        raise Malformed("request")
    rows: list[RequestRow] = []
    for sequence, left, body in zip(sequences, lefts, bodies, strict=True):
        if type(body) is not list or len(body) != 5:
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
        rows.append((sequence, cast(int, left), method, priority, headers, args, kwargs))
    if packet.raw is not None:
        _single(rows, packet.raw)
        rows[0][5].append(packet.raw)
    return rows


def reply_rows(packet: Packet) -> list[tuple[int, object]]:
    """Sequence and value of each message of a REPLY packet, else Malformed."""
    sequences, (values,) = _columns(packet, 2)
    if packet.raw is not None:
        _single(sequences, packet.raw)
        return [(sequences[0], packet.raw)]
    return list(zip(sequences, values, strict=True))


def error_rows(packet: Packet) -> list[ErrorRow]:
    """The messages of an ERROR packet, else Malformed."""
    sequences, (bodies,) = _columns(packet, 2)
    rows: list[ErrorRow] = []
    for sequence, body in zip(sequences, bodies, strict=True):
        if type(body) is not list or [type(x) for x in body] != [str, str, str, str, bool]:
            raise Malformed("error")
        rows.append((sequence, *body))
    return rows


def sequences_of(value: object, count_max: int) -> list[int]:
    """A list of at most `count_max` sequence numbers, else Malformed."""
    if (
        type(value) is not list
        or len(value) > count_max
        or not _INT.issuperset(map(type, value))
    ):
        raise Malformed("sequences")
    return value


def fields_of(packet: Packet) -> dict[str, object]:
    """The map that a HELLO or WELCOME carries, else Malformed."""
    if type(packet.meta) is not dict:
        raise Malformed("fields")
    return cast("dict[str, object]", packet.meta)


def _single(rows: Sequence[object], raw: bytes) -> None:
    if len(rows) != 1 or len(raw) > BODY_BYTES_MAX:
        raise Malformed("raw")


def _columns(packet: Packet, count: int) -> tuple[list[int], list[list[object]]]:
    """The sequence numbers, at least one, and the other columns, of equal length."""
    meta = packet.meta
    if type(meta) is not list or len(meta) != count or type(meta[0]) is not list:
        raise Malformed("columns")
    sequences = meta[0]
    for column in meta:
        if type(column) is not list or len(column) != len(sequences):
            raise Malformed("columns")
    if not sequences or not _INT.issuperset(map(type, sequences)) or min(sequences) < 0:
        raise Malformed("sequences")
    return sequences, meta[1:]
