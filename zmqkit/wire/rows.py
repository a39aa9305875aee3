"""Packets of many messages: columns that every process on the way reads, and rows of bytes.

The msgpack part of such a packet is an array of columns, with one item for each message. The
last column has the size of each row. The rows follow, one behind the other. Each row is a
msgpack value of its own. A process that passes messages on reads the columns and cuts the rows.
Only the final receiver decodes the values, all in one go, which takes a tenth of the time.

A packet of requests from a router mixes those of several origins. It has three columns in
front. The first has the incarnation of each request's client. The second has a number below
which all requests of that client are settled. The third has the number that the client gave the
request. Its rows are decoded one by one. If they were decoded in one go, a row of two values
beside an empty row would have one client's arguments run as another client's call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple, cast

from zmqkit.errors import UsageError
from zmqkit.limits import BODY_BYTES_MAX, PRIORITY_MAX
from zmqkit.wire.encoding import (
    SCALARS,
    Buffer,
    Malformed,
    array_head,
    check,
    decode,
    encode_checked,
    pack_plain,
)
from zmqkit.wire.packet import SEQUENCE_MAX, STREAM, Packet

Head = tuple[int, int, str, int]
"""The part of a request that all may read: sequence, time left in ms, method, priority."""

Origin = tuple[int, int, int]
"""Where a request that is passed on comes from: its client, below which number all requests of
this client are settled, and the number that the client gave it."""

Arguments = tuple["dict[str, object] | None", list[object], dict[str, object]]
"""A request's row: headers, positional and keyword arguments. It arrives as a list."""


Window = tuple[int, int]
"""What the caller of a stream grants: a number of values, and a number of their bytes."""

ErrorRow = tuple[int, str, str, str, str, bool]
"""sequence, code, type, message, traceback, may_have_run."""

ItemRow = tuple[int, int, int, object]
"""sequence, the value's number in its stream, the bytes charged for it, the value."""

EndRow = tuple[int, int, "ErrorRow | None"]
"""sequence, how many values the stream had, the error that ended it (None at its own end)."""

GrantRow = tuple[int, int, "int | None"]
"""sequence, how many values the caller took, the number to send again from (or None)."""

CHARGE_BYTES = 128
"""The charge for an answer or a value of a stream, added to the bytes of its row."""


_NONE = (None,)
_INT = frozenset({int})
_STR = frozenset({str})
_PRIORITIES = frozenset(range(PRIORITY_MAX + 1))


class Rows:
    """The rows of a packet, as bytes until somebody wants their values."""

    __slots__ = ("data", "origins", "raw", "sizes")

    def __init__(self, packet: Packet, sizes: list[int], origins: list[Origin] | None) -> None:
        self.data = data = packet.rows  # all rows, one behind the other
        self.raw = raw = packet.raw  # only a packet of a single row has a raw body
        self.sizes = sizes  # the bytes of each row, its raw body included
        # The origin of each request; None if all are of the packet's source.
        self.origins = origins
        if sum(sizes) != len(data):
            raise Malformed("rows")
        if raw is not None:
            if len(sizes) != 1 or len(raw) > BODY_BYTES_MAX:
                raise Malformed("raw")
            self.sizes = [sizes[0] + len(raw)]

    def __len__(self) -> int:
        return len(self.sizes)

    def pieces(self) -> list[Buffer]:
        """Return each row as the bytes that came, to be passed on."""
        if len(self.sizes) == 1:
            return [self.data]
        ends = list(accumulate(self.sizes))
        return [self.data[end - size : end] for end, size in zip(ends, self.sizes, strict=True)]

    def values(self) -> list[object]:
        """Return each row decoded. Raise Malformed unless each row is one msgpack value."""
        if len(self.sizes) == 1:
            return [decode(self.data)]
        if self.origins is not None:
            return [decode(piece) for piece in self.pieces()]
        values = decode(array_head(len(self.sizes)) + bytes(self.data))
        assert type(values) is list
        return values


# Requests


def request_row(
    method: str,
    headers: Mapping[str, object] | None,
    args: Sequence[object],
    kwargs: dict[str, object],
) -> bytes:
    """Return the row of one request: its headers and its arguments.

    headers: the caller has checked them already.
    Raises UsageError for arguments, or a method, that cannot travel.
    """
    if not method.isascii():
        encode_checked(method, "the method")
    for value in args:
        if type(value) not in SCALARS:
            check(args, "args")
            break
    if kwargs:
        check(kwargs, "kwargs")
    row = (headers, args, kwargs)
    try:
        return pack_plain(row)
    except (TypeError, ValueError, OverflowError):
        try:
            return encode_checked(row)  # it encodes more types
        except UsageError:
            for value, where in ((args, "args"), (kwargs, "kwargs")):
                encode_checked(value, where)  # its error names the place
            raise


def request_columns(
    sequences: Sequence[int],
    lefts_ms: Sequence[int],
    methods: Sequence[str],
    priorities: Sequence[int],
    rows: Sequence[bytes],
    window: Window | None = None,
    origins: Sequence[Origin] | None = None,
) -> bytes:
    """Return the columns of a REQUEST or NOTIFY packet, or of a STREAM packet.

    window: what the caller of the streams grants, for all of a STREAM packet alike; else None.
    origins: of requests that are passed on, one for each; else None.
    """
    first = () if origins is None else tuple(zip(*origins, strict=True))
    windows = () if window is None else ([window] * len(rows),)
    sizes = tuple(map(len, rows))
    return pack_plain((*first, sequences, lefts_ms, methods, priorities, *windows, sizes))


def read_requests(packet: Packet) -> tuple[list[Head], Rows]:
    """Return the messages of a REQUEST or NOTIFY packet. Raise Malformed for anything else."""
    columns, rows = _read(packet, 5)
    sequences, lefts, methods, priorities, _ = columns
    if len(sequences) == 1:  # a single call need not pay for loops over columns
        left_ms, method, priority = lefts[0], methods[0], priorities[0]
        if type(left_ms) is not int or type(method) is not str:
            raise Malformed("request")
        if type(priority) is not int or not 0 <= priority <= PRIORITY_MAX:
            raise Malformed("priority")
        return [(cast(int, sequences[0]), left_ms, method, priority)], rows
    return _heads(columns), rows


def sequences_in(packet: Packet) -> list[int]:
    """Return the sequence numbers in a packet of requests that this process packed itself."""
    (sequences, *_), _ = _read(packet, 6 if packet.kind == STREAM else 5)
    return cast("list[int]", sequences)


def read_streams(packet: Packet) -> tuple[list[Head], list[Window], Rows]:
    """Return the messages of a STREAM packet. Raise Malformed for anything else."""
    columns, rows = _read(packet, 6)
    for window in columns[4]:
        if type(window) is not list or [type(limit) for limit in window] != [int, int]:
            raise Malformed("window")
        if window[0] < 1 or window[1] < 1:
            raise Malformed("window")
    return _heads(columns), cast("list[Window]", columns[4]), rows


ReadArguments = Callable[[Rows], "list[Arguments | None]"]
"""Reads the rows of requests; None for one that cannot be read."""


def arguments_of(rows: Rows) -> list[Arguments | None]:
    """Return the arguments in each row of requests, or None for a row that cannot be read.

    A raw body is the last positional argument, as a view of the frame that arrived.
    """
    try:
        found = rows.values()
        _check_arguments(found)
    except Malformed:
        found = [_readable_arguments(piece) for piece in rows.pieces()]
    if rows.raw is not None and type(found[0]) is list:
        found[0][1].append(rows.raw)
    return found  # type: ignore[return-value]  # as was seen


def _readable_arguments(piece: Buffer) -> object:
    try:
        value = decode(piece)
        _check_arguments([value])
    except Malformed:
        return None
    return value


def _check_arguments(values: list[object]) -> None:
    """Raise Malformed unless each value is headers, positional and keyword arguments.

    Every request passes through here, so the loop calls no function for a single request.
    """
    for value in values:
        if type(value) is not list or len(value) != 3:
            raise Malformed("request")
        headers, args, kwargs = value
        if type(args) is not list or type(kwargs) is not dict:
            raise Malformed("request")
        if kwargs and not _STR.issuperset(map(type, kwargs)):
            raise Malformed("keyword")
        if headers is not None and (
            type(headers) is not dict or not _STR.issuperset(map(type, headers))
        ):
            raise Malformed("header")


def _heads(columns: list[list[object]]) -> list[Head]:
    sequences, lefts, methods, priorities = columns[:4]
    if not (_INT.issuperset(map(type, lefts)) and _STR.issuperset(map(type, methods))):
        raise Malformed("request")
    if not (_INT.issuperset(map(type, priorities)) and _PRIORITIES.issuperset(priorities)):
        raise Malformed("priority")
    return cast("list[Head]", list(zip(sequences, lefts, methods, priorities, strict=True)))


# Answers


def answer_columns(sequences: Sequence[int], rows: Sequence[bytes]) -> bytes:
    """Return the columns of a REPLY or ERROR packet."""
    return pack_plain((sequences, tuple(map(len, rows))))


def read_replies(packet: Packet) -> tuple[list[int], list[object], list[int]]:
    """Return the sequence numbers and values of a REPLY packet, and the numbers it cannot read.

    The last list has the sequence numbers of the values that cannot be read. A raw value is a
    view of the frame that arrived. Raises Malformed for anything but a REPLY packet.
    """
    (sequences, _), rows = _read(packet, 2)
    if rows.raw is not None:
        return sequences, [rows.raw], []  # type: ignore[return-value]  # numbers, as was seen
    try:
        return sequences, rows.values(), []  # type: ignore[return-value]  # numbers
    except Malformed:
        return _readable(cast("list[int]", sequences), rows)


def _readable(sequences: list[int], rows: Rows) -> tuple[list[int], list[object], list[int]]:
    readable: list[int] = []
    values: list[object] = []
    others: list[int] = []
    for sequence, piece in zip(sequences, rows.pieces(), strict=True):
        try:
            values.append(decode(piece))
            readable.append(sequence)
        except Malformed:
            others.append(sequence)
    return readable, values, others


def read_rows(packet: Packet) -> tuple[list[int], Rows]:
    """Return the sequence numbers and rows of a REPLY packet. Raise Malformed otherwise."""
    (sequences, _), rows = _read(packet, 2)
    return cast("list[int]", sequences), rows


def read_errors(packet: Packet) -> list[ErrorRow]:
    """Return the messages of an ERROR packet. Raise Malformed for anything else."""
    (sequences, _), rows = _read(packet, 2)
    errors = zip(cast("list[int]", sequences), rows.values(), strict=True)
    return [_error(sequence, value) for sequence, value in errors]


# Streams


def item_columns(
    sequences: Sequence[int], numbers: Sequence[int], rows: Sequence[bytes]
) -> bytes:
    """Return the columns of an ITEM packet."""
    return pack_plain((sequences, numbers, [*map(len, rows)]))


def read_items(
    packet: Packet, values_of: Callable[[Rows], list[object]] = Rows.values
) -> list[ItemRow]:
    """Return the values of an ITEM packet. Raise Malformed for anything else.

    A raw value is a view of the frame that arrived. values_of: reads the other rows.
    """
    (sequences, numbers, _), rows = _read(packet, 3)
    _check_numbers(numbers)
    values = values_of(rows) if rows.raw is None else [rows.raw]
    charges = [size + CHARGE_BYTES for size in rows.sizes]
    found = list(zip(sequences, numbers, charges, values, strict=True))
    return cast("list[ItemRow]", found)


def end_columns(
    sequences: Sequence[int], counts: Sequence[int], rows: Sequence[bytes]
) -> bytes:
    """Return the columns of an END packet."""
    return pack_plain((sequences, counts, [*map(len, rows)]))


def read_ends(packet: Packet) -> list[EndRow]:
    """Return the streams that an END packet ends. Raise Malformed for anything else."""
    (sequences, counts, _), rows = _read(packet, 3)
    _check_numbers(counts)
    ends = zip(cast("list[int]", sequences), counts, rows.values(), strict=True)
    return [
        (sequence, cast(int, count), None if error is None else _error(sequence, error))
        for sequence, count, error in ends
    ]


def read_grants(packet: Packet) -> list[GrantRow]:
    """Return the rows of a GRANT packet, which has only columns. Raise Malformed otherwise."""
    sequences, taken, missing = _columns(packet.meta, 3)
    _check_numbers(taken)
    _check_numbers([number for number in missing if number is not None])
    return cast("list[GrantRow]", list(zip(sequences, taken, missing, strict=True)))


def read_progress(value: object, count_max: int) -> list[tuple[int, int, int]]:
    """Return what a PONG says of streams: for each the sequence, values sent and values taken.

    Raises Malformed for anything else.
    """
    if type(value) is not list or len(value) > count_max:
        raise Malformed("progress")
    for row in value:
        if type(row) is not list or len(row) != 3:
            raise Malformed("progress")
        _check_numbers(row)
    return [(row[0], row[1], row[2]) for row in value]


class ReadAnswers(NamedTuple):
    """How a client reads what its instances answer; whoever passes it on leaves it bytes."""

    # Returns numbers and values of a REPLY packet, and the numbers that it cannot read.
    replies: Callable[[Packet], tuple[list[int], Sequence[object], list[int]]]
    items: Callable[[Packet], list[ItemRow]]


READ_ANSWERS = ReadAnswers(read_replies, read_items)
"""Decodes all values."""


# All of them


def _read(packet: Packet, count: int) -> tuple[list[list[object]], Rows]:
    """Return the columns of a packet, and its rows, cut by the sizes in the last column."""
    origins = None
    if packet.is_mixed:
        clients, settled, numbers, *columns = _columns(packet.meta, count + 3, sequences_at=3)
        for each in (clients, settled, numbers):
            _check_numbers(each)
        origins = cast("list[Origin]", list(zip(clients, settled, numbers, strict=True)))
    else:
        columns = _columns(packet.meta, count)
    sizes = columns[-1]
    for size in sizes:
        if type(size) is not int or size < 1:
            raise Malformed("rows")
    return columns, Rows(packet, sizes, origins)  # type: ignore[arg-type]  # just seen


def _columns(meta: object, count: int, sequences_at: int = 0) -> list[list[object]]:
    """Return `count` columns of equal length, with at least one row. Raise Malformed otherwise.

    sequences_at: which of the columns has the sequence numbers.
    """
    if type(meta) is not list or len(meta) != count or type(meta[0]) is not list:
        raise Malformed("columns")
    rows = len(meta[0])
    for column in meta:
        if type(column) is not list or len(column) != rows:
            raise Malformed("columns")
    for sequence in meta[sequences_at] or _NONE:
        if type(sequence) is not int or not 0 <= sequence <= SEQUENCE_MAX:
            raise Malformed("sequences")
    return meta


def _error(sequence: int, value: object) -> ErrorRow:
    if type(value) is not list or [type(x) for x in value] != [str, str, str, str, bool]:
        raise Malformed("error")
    code, kind, message, trace, may_have_run = value
    return (sequence, code, kind, message, trace, may_have_run)


def _check_numbers(values: Sequence[object]) -> None:
    for value in values:
        if type(value) is not int or value < 0:
            raise Malformed("numbers")
