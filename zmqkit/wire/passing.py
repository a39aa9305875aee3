"""Rows as a device passes them on: it reads the headers, and all else stays bytes.

Whoever reads rows in one go relies on each row being one value. So a device checks the shape of
each row that it passes on, or one sender's row could run as another sender's call.
"""

from __future__ import annotations

from typing import TypedDict, Unpack, cast

import msgpack

from zmqkit.wire.encoding import Buffer, Malformed, decode, scanner_of
from zmqkit.wire.packet import Packet
from zmqkit.wire.rows import Arguments, ItemRow, ReadAnswers, Rows, read_items, read_rows

PUSH = "push"
"""The header of a task that a pusher hands to a streamer."""

_ID_CHARS_MAX = 232
_MS_MAX = 1 << 50
_STR = frozenset({str})
_SHORT_BYTES = 512


class Handover(TypedDict):
    """How a task is to be done, as its pusher tells a streamer."""

    id: str
    unique: str | None
    order_by: str | None
    # How long it waits until it may begin.
    delay_ms: int
    # The streamer has accepted it before and has it on its disk, so the body is left out.
    is_known: bool
    # Its result goes to a sink.
    to_sink: bool


def handover(**fields: Unpack[Handover]) -> list[object]:
    """Return the header that says how a task is to be done."""
    return [
        fields["id"], fields["unique"], fields["order_by"], fields["delay_ms"],
        fields["is_known"], fields["to_sink"],
    ]  # fmt: skip


def read_handover(headers: dict[str, object] | None) -> Handover:
    """Return what a pusher says of a task. Raise Malformed for anything else."""
    value = (headers or {}).get(PUSH)
    if type(value) is not list or len(value) != 6:
        raise Malformed("push")
    id_, unique, order_by, delay_ms, is_known, to_sink = value
    for text in (id_, unique, order_by):
        if text is not None and not (type(text) is str and 0 < len(text) <= _ID_CHARS_MAX):
            raise Malformed("push")
    if id_ is None:
        raise Malformed("push")
    if (
        type(delay_ms) is not int
        or not 0 <= delay_ms <= _MS_MAX
        or {type(is_known), type(to_sink)} != {bool}
    ):
        raise Malformed("push")
    return Handover(
        id=cast(str, id_),
        unique=cast("str | None", unique),
        order_by=cast("str | None", order_by),
        delay_ms=delay_ms,
        is_known=is_known,
        to_sink=to_sink,
    )


def unread_arguments(rows: Rows) -> list[Arguments | None]:
    """Return the headers of each request; its arguments stay the bytes that came.

    They stand in the place of the positional arguments, followed by the raw body or None. A
    row of another shape is None.
    """
    return [_request(piece, rows.raw) for piece in rows.pieces()]


def whole_requests(rows: Rows) -> list[Arguments | None]:
    """Return each request as the bytes that came, its headers included, and its raw body.

    They stand in the place of the positional arguments. A row that is not one value is None.
    """
    return [
        (None, [bytes(piece), rows.raw], {}) if _is_one_value(piece) else None
        for piece in rows.pieces()
    ]


def unread_replies(packet: Packet) -> tuple[list[int], list[Buffer], list[int]]:
    """Return the numbers and values of a REPLY packet, and the numbers it cannot read.

    Each value is the bytes that came, or the view of a raw body. Raises Malformed for anything
    but a REPLY packet.
    """
    sequences, rows = read_rows(packet)
    if rows.raw is not None:
        return sequences, [rows.raw], []
    readable: list[int] = []
    values: list[Buffer] = []
    others: list[int] = []
    for sequence, piece in zip(sequences, rows.pieces(), strict=True):
        if _is_one_value(piece):
            readable.append(sequence)
            values.append(bytes(piece))
        else:
            others.append(sequence)
    return readable, values, others


def unread_items(packet: Packet) -> list[ItemRow]:
    """Return the values of an ITEM packet, each as `unread_replies` returns one.

    Raises Malformed for anything but an ITEM packet.
    """
    return read_items(packet, _unread_values)


UNREAD_ANSWERS = ReadAnswers(unread_replies, unread_items)
"""Leaves all values bytes."""


def _unread_values(rows: Rows) -> list[object]:
    pieces = rows.pieces()
    if not all(map(_is_one_value, pieces)):
        raise Malformed("value")
    return [bytes(piece) for piece in pieces]


def _request(piece: Buffer, raw: Buffer | None) -> Arguments | None:
    """Return the headers of a row, and the bytes of its arguments; None for another shape."""
    try:
        scanner = scanner_of(piece)
        if scanner.read_array_header() != 3:
            return None
        begin = scanner.tell()
        scanner.skip()
        end = scanner.tell()
        scanner.skip()
        scanner.skip()
        if scanner.tell() != len(piece):
            return None
        headers = decode(piece[begin:end])
    except (ValueError, msgpack.UnpackException):
        return None
    if headers is not None and (
        type(headers) is not dict or not _STR.issuperset(map(type, headers))
    ):
        return None
    return cast("dict[str, object] | None", headers), [bytes(piece[end:]), raw], {}


def _is_one_value(piece: Buffer) -> bool:
    if len(piece) <= _SHORT_BYTES:  # to decode it takes a third of the time
        try:
            decode(piece)
        except Malformed:
            return False
        return True
    scanner = scanner_of(piece)
    try:
        scanner.skip()
    except (ValueError, msgpack.UnpackException):
        return False
    return bool(scanner.tell() == len(piece))
