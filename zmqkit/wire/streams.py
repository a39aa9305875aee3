"""The messages of streams: asked for, their values, their end, and the credit for more.

docs/wire.md, section 5, is normative.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import cast

from zmqkit.wire.encoding import Malformed, array, pack_plain
from zmqkit.wire.packet import (
    ErrorRow,
    Packet,
    RequestRow,
    check_single,
    columns_of,
    error_row_of,
    request_rows,
)

StreamRow = tuple[RequestRow, int, int]
"""A request, and the window that its caller grants: values, and bytes of them."""

ItemRow = tuple[int, int, int, object]
"""sequence, the value's number in its stream, the bytes charged for it, the value."""

EndRow = tuple[int, int, "ErrorRow | None"]
"""sequence, how many values there were, what ended the stream if not its own end."""

GrantRow = tuple[int, int, "int | None"]
"""sequence, how many values were taken, from which number to send again."""


def stream_columns(
    sequences: list[int], left_ms: list[int], window: tuple[int, int], bodies: Sequence[bytes]
) -> bytes:
    """The msgpack part of a STREAM packet; one window for all."""
    windows = [window] * len(sequences)
    return b"\x94" + pack_plain((sequences, left_ms, windows))[1:] + array(bodies)


def stream_rows(packet: Packet) -> list[StreamRow]:
    """The messages of a STREAM packet, else Malformed."""
    sequences, (lefts, windows, bodies) = columns_of(packet, 4)
    plain = replace(packet, meta=[sequences, lefts, bodies])
    rows: list[StreamRow] = []
    for row, window in zip(request_rows(plain), windows, strict=True):
        if type(window) is not list or [type(limit) for limit in window] != [int, int]:
            raise Malformed("window")
        items, size = window
        if items < 1 or size < 1:
            raise Malformed("window")
        rows.append((row, items, size))
    return rows


def item_columns(
    sequences: list[int], numbers: list[int], sizes: list[int], bodies: Sequence[bytes]
) -> bytes:
    """The msgpack part of an ITEM packet."""
    return b"\x94" + pack_plain((sequences, numbers, sizes))[1:] + array(bodies)


def item_rows(packet: Packet) -> list[ItemRow]:
    """The values of an ITEM packet, else Malformed; a raw one as a view of what arrived."""
    sequences, (numbers, sizes, values) = columns_of(packet, 4)
    _check_numbers(numbers)
    _check_numbers(sizes)
    if packet.raw is not None:
        check_single(sequences, packet.raw)
        values = [packet.raw]
    return cast("list[ItemRow]", list(zip(sequences, numbers, sizes, values, strict=True)))


def end_columns(sequences: list[int], counts: list[int], errors: Sequence[bytes]) -> bytes:
    """The msgpack part of an END packet."""
    return b"\x93" + pack_plain((sequences, counts))[1:] + array(errors)


def end_rows(packet: Packet) -> list[EndRow]:
    """The streams that an END packet ends, else Malformed."""
    sequences, (counts, errors) = columns_of(packet, 3)
    _check_numbers(counts)
    rows: list[EndRow] = []
    for sequence, count, error in zip(sequences, counts, errors, strict=True):
        row = None if error is None else error_row_of(sequence, error)
        rows.append((sequence, cast(int, count), row))
    return rows


def grant_rows(packet: Packet) -> list[GrantRow]:
    """The rows of a GRANT packet, else Malformed."""
    sequences, (taken, missing) = columns_of(packet, 3)
    _check_numbers(taken)
    _check_numbers([number for number in missing if number is not None])
    return cast("list[GrantRow]", list(zip(sequences, taken, missing, strict=True)))


def progress_rows(value: object, count_max: int) -> list[tuple[int, int, int]]:
    """What a PONG says of streams: sequence, values sent, values taken; else Malformed."""
    if type(value) is not list or len(value) > count_max:
        raise Malformed("progress")
    for row in value:
        if type(row) is not list or len(row) != 3:
            raise Malformed("progress")
        _check_numbers(row)
    return [(row[0], row[1], row[2]) for row in value]


def _check_numbers(values: Iterable[object]) -> None:
    for value in values:
        if type(value) is not int or value < 0:
            raise Malformed("numbers")
