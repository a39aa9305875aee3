"""Columns that everybody reads, and rows that stay bytes until somebody wants values."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.packets import end, grant, items, stream
from zmqkit.errors import UsageError
from zmqkit.limits import BODY_BYTES_MAX
from zmqkit.wire.encoding import Malformed, encode, pack_plain
from zmqkit.wire.packet import (
    END,
    ERROR,
    GRANT,
    ITEM,
    NOTIFY,
    REPLY,
    REQUEST,
    SEQUENCE_MAX,
    STREAM,
    Packet,
    pack,
    unpack,
)
from zmqkit.wire.rows import (
    CHARGE_BYTES,
    Head,
    Origin,
    answer_columns,
    arguments_of,
    item_columns,
    read_ends,
    read_errors,
    read_grants,
    read_items,
    read_progress,
    read_replies,
    read_requests,
    read_streams,
    request_columns,
    request_row,
    sequences_in,
)

NUMBERS = st.integers(0, (1 << 64) - 1)
SEQUENCES = st.integers(0, SEQUENCE_MAX)
METHODS = st.text(max_size=10)
ARGUMENTS = st.lists(st.integers(0, 9) | st.text(max_size=5), max_size=3)
HEADERS = st.none() | st.dictionaries(st.text(max_size=5), st.integers(0, 9), max_size=3)
HEAD: Head = (5, 9, "add", 4)
ROW = encode([None, [1], {}])


def packed(kind: int, columns: list[object], *rows: bytes, raw: bytes | None = None) -> Packet:
    """A packet with these columns, in front of that of the sizes, and these rows."""
    meta = encode([*columns, [len(row) for row in rows]])
    return unpack(pack(kind, 1, 2, 0, meta, b"".join(rows), raw))


def columns_of(
    heads: list[Head], rows: list[bytes], origins: list[Origin] | None = None
) -> bytes:
    """The columns of requests."""
    return request_columns(*zip(*heads, strict=True), rows, None, origins)


# Requests


@pytest.mark.slow
@given(st.dictionaries(SEQUENCES, st.tuples(NUMBERS, METHODS, HEADERS, ARGUMENTS), min_size=1))
def test_requests_arrive_as_they_were(
    calls: dict[int, tuple[int, str, dict[str, object] | None, list[object]]],
) -> None:
    heads = [(n, left, method, 4) for n, (left, method, _, _) in calls.items()]
    values = [(headers, args, {"k": 1}) for _, _, headers, args in calls.values()]
    rows = [request_row("add", *each) for each in values]
    packet = unpack(pack(NOTIFY, 1, 2, 0, columns_of(heads, rows), b"".join(rows)))
    found, found_rows = read_requests(packet)
    assert found == heads and [*map(tuple, arguments_of(found_rows))] == values
    assert found_rows.pieces() == rows and found_rows.sizes == [len(row) for row in rows]
    assert sequences_in(packet) == list(calls)


def test_a_raw_body_is_the_last_argument() -> None:
    packet = unpack(pack(REQUEST, 1, 2, 0, columns_of([HEAD], [ROW]), ROW, b"raw"))
    heads, rows = read_requests(packet)
    assert heads == [HEAD] and arguments_of(rows) == [[None, [1, b"raw"], {}]]
    assert rows.sizes == [len(ROW) + 3]


def test_a_row_that_cannot_be_read_is_missing_beside_the_others() -> None:
    rows = [ROW, b"\xc1", encode([None, [2], {}])]
    heads = [(n, 9, "add", 4) for n in (5, 6, 7)]
    packet = unpack(pack(REQUEST, 1, 2, 0, columns_of(heads, rows), b"".join(rows)))
    found, found_rows = read_requests(packet)
    assert found == heads
    assert arguments_of(found_rows) == [[None, [1], {}], None, [None, [2], {}]]


@pytest.mark.parametrize("value", [
    None, [], [None, []], [None, {}, {}], [None, [], []], [None, [], {1: 2}], [{1: 2}, [], {}],
    ["x", [], {}], ["add", 4, None, [], {}],
])  # fmt: skip
def test_arguments_of_another_shape_cannot_be_read(value: object) -> None:
    row = encode(value)
    packet = unpack(pack(REQUEST, 1, 2, 0, columns_of([HEAD], [row]), row))
    assert arguments_of(read_requests(packet)[1]) == [None]


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ([[1], [1]], "columns"), ([1, [1], ["add"], [4]], "columns"),
        ([[1], 1, ["add"], [4]], "columns"), ([[1], [1, 2], ["add"], [4]], "columns"),
        ([["x"], [1], ["add"], [4]], "sequences"), ([[-1], [1], ["add"], [4]], "sequences"),
        ([[True], [1], ["add"], [4]], "sequences"),
        ([[SEQUENCE_MAX + 1], [1], ["add"], [4]], "sequences"),
        ([[1], ["x"], ["add"], [4]], "request"), ([[1], [1], [1], [4]], "request"),
        ([[1], [1], ["add"], [10]], "priority"), ([[1], [1], ["add"], [-1]], "priority"),
        ([[1], [1], ["add"], [True]], "priority"), ([[1], [1], ["add"], [[]]], "priority"),
    ],
)  # fmt: skip
def test_columns_of_another_shape_are_malformed(columns: list[object], reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        read_requests(packed(REQUEST, columns, ROW))


@pytest.mark.parametrize("meta", [None, [], [[], [], [], [], []]])
def test_a_packet_without_rows_is_malformed(meta: object) -> None:
    with pytest.raises(Malformed):
        read_requests(unpack(pack(REQUEST, 1, 2, 0, encode(meta), b"")))


@pytest.mark.parametrize("sizes", [[1], [len(ROW) + 1], [-1], [0], ["x"], [None], [True]])
def test_sizes_that_do_not_cut_the_rows_are_malformed(sizes: list[object]) -> None:
    meta = encode([[5], [9], ["add"], [4], sizes])
    with pytest.raises(Malformed, match="rows"):
        read_requests(unpack(pack(REQUEST, 1, 2, 0, meta, ROW)))


@pytest.mark.parametrize("where", ["args", "kwargs"])
def test_what_cannot_travel_is_named_by_its_place(where: str) -> None:
    args, kwargs = ((1, {1}), {}) if where == "args" else ((), {"x": 1, "y": {1}})
    place = "1" if where == "args" else "'y'"
    with pytest.raises(UsageError, match=rf"{where}\[{place}\] is of type set"):
        request_row("add", None, args, kwargs)


def test_a_number_too_large_is_told() -> None:
    with pytest.raises(UsageError, match=r"an int beyond 64 bits \(-2\*\*63 to 2\*\*64-1\)"):
        request_row("add", None, (1 << 64,), {})


def test_a_method_that_is_not_unicode_is_told() -> None:
    with pytest.raises(UsageError, match="the method: text that is not Unicode"):
        request_row("\ud800", None, (), {})


def test_a_point_in_time_travels_as_argument() -> None:
    when = datetime(2026, 1, 1, tzinfo=UTC)
    row = request_row("add", None, (when,), {})
    packet = unpack(pack(REQUEST, 1, 2, 0, columns_of([HEAD], [row]), row))
    assert arguments_of(read_requests(packet)[1]) == [[None, [when], {}]]


# Messages of several origins


def test_messages_of_several_origins_say_whose_they_are() -> None:
    rows = [encode([None, [n], {}]) for n in (1, 2)]
    meta = columns_of([HEAD, HEAD], rows, origins=[(0xA, 3, 7), (0xB, 0, 9)])
    packet = unpack(pack(REQUEST, 1, 2, 0, meta, b"".join(rows), is_mixed=True), may_mix=True)
    heads, found = read_requests(packet)
    assert heads == [HEAD, HEAD] and found.origins == [(0xA, 3, 7), (0xB, 0, 9)]
    assert arguments_of(found) == [[None, [1], {}], [None, [2], {}]]


def test_a_row_of_one_origin_is_never_read_as_another_s() -> None:
    """Decoded in one go, two values beside an empty row would be one of each."""
    theirs = 2 * encode([None, ["forged"], {}])
    origins = [(0xA, 0, 1), (0xB, 0, 1)]
    meta = columns_of([HEAD, (6, 9, "add", 4)], [theirs, b"\xc0"], origins=origins)
    rows = theirs + b"\xc0"
    with_two_values = unpack(pack(REQUEST, 1, 2, 0, meta, rows, is_mixed=True), may_mix=True)
    assert arguments_of(read_requests(with_two_values)[1]) == [None, None]


_WRONG: list[list[tuple[object, ...]]] = [
    [("x", 0, 1)], [(1, -1, 1)], [(1, None, 1)], [(1, 0)], [(1, 0, "x")],
    [(1, 0, 1), (2, 0, 1)],
]  # fmt: skip


@pytest.mark.parametrize("origins", _WRONG)
def test_origins_of_another_shape_are_malformed(origins: list[tuple[object, ...]]) -> None:
    meta = pack_plain([*zip(*origins, strict=True), [5], [9], ["add"], [4], [len(ROW)]])
    with pytest.raises(Malformed):
        read_requests(unpack(pack(REQUEST, 1, 2, 0, meta, ROW, is_mixed=True), may_mix=True))


# Answers


@pytest.mark.slow
@given(st.dictionaries(SEQUENCES, ARGUMENTS, min_size=1))
def test_replies_arrive_as_they_were(values: dict[int, list[object]]) -> None:
    rows = [encode(value) for value in values.values()]
    packet = unpack(pack(REPLY, 1, 2, 0, answer_columns(list(values), rows), b"".join(rows)))
    assert read_replies(packet) == (list(values), list(values.values()), [])


def test_a_value_that_cannot_be_read_is_told_beside_the_others() -> None:
    packet = packed(REPLY, [[5, 6, 7]], encode(1), b"\xc1", encode(3))
    assert read_replies(packet) == ([5, 7], [1, 3], [6])
    assert read_replies(packed(REPLY, [[5]], b"\xc1")) == ([], [], [5])


def test_a_raw_body_is_the_value_of_a_reply() -> None:
    assert read_replies(packed(REPLY, [[5]], b"\xc0", raw=b"")) == ([5], [b""], [])


def test_errors_arrive_as_they_were() -> None:
    row = ["raised", "ValueError", "no", "Traceback …", True]
    assert read_errors(packed(ERROR, [[5]], encode(row))) == [(5, *row)]


@pytest.mark.parametrize(
    "row", [None, [], ["a"], ["a", "b", "c", "d", 1], ["a", "b", "c", b"d", True]]
)
def test_errors_of_another_shape_are_malformed(row: object) -> None:
    with pytest.raises(Malformed, match="error"):
        read_errors(packed(ERROR, [[1]], encode(row)))


def test_a_raw_body_belongs_to_one_message() -> None:
    with pytest.raises(Malformed, match="raw"):
        read_replies(packed(REPLY, [[5, 6]], b"\xc0", b"\xc0", raw=b"raw"))


def test_a_raw_body_has_a_limit() -> None:
    raw = memoryview(bytes(BODY_BYTES_MAX + 1))
    with pytest.raises(Malformed, match="raw"):
        read_replies(Packet(REPLY, 1, 2, 0, [[5], [1]], b"\xc0", raw))


# Streams


def test_a_stream_is_a_request_with_a_window() -> None:
    heads, windows, rows = read_streams(unpack(stream(1, 2, 5, 6, window=(3, 400))))
    assert heads == [(5, 5000, "count", 4), (6, 5000, "count", 4)]
    assert windows == [[3, 400], [3, 400]] and arguments_of(rows) == 2 * [[None, [7], {}]]


def test_values_have_numbers_and_a_charge() -> None:
    charge = CHARGE_BYTES + 1
    assert read_items(unpack(items(1, 2, 5, 3, "", None))) == [
        (5, 3, charge, ""), (5, 4, charge, None),
    ]  # fmt: skip


def test_a_long_value_is_a_view_of_what_arrived() -> None:
    columns = item_columns([5], [0], [b"\xc0"])
    [row] = read_items(unpack(pack(ITEM, 1, 2, 0, columns, b"\xc0", b"x" * 9)))
    assert row == (5, 0, CHARGE_BYTES + 10, b"x" * 9) and type(row[3]) is memoryview


def test_an_end_has_a_count_and_perhaps_an_error() -> None:
    assert read_ends(unpack(end(1, 2, 5, 3))) == [(5, 3, None)]
    error = (5, "raised", "ValueError", "no", "", True)
    assert read_ends(unpack(end(1, 2, 5, 3, "raised"))) == [(5, 3, error)]


def test_credit_says_what_was_taken_and_what_is_missing() -> None:
    assert read_grants(unpack(grant(1, 2, 5, 3))) == [(5, 3, None)]
    assert read_grants(unpack(grant(1, 2, 5, 3, 4))) == [(5, 3, 4)]


READERS: dict[int, Callable[[Packet], object]] = {
    STREAM: read_streams, ITEM: read_items, END: read_ends,
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "columns", "row", "reason"),
    [
        (STREAM, [[5], [1], ["a"], [4]], ROW, "columns"),
        (STREAM, [[5], [1], ["a"], [4], [7]], ROW, "window"),
        (STREAM, [[5], [1], ["a"], [4], [[0, 1]]], ROW, "window"),
        (STREAM, [[5], [1], ["a"], [4], [[1, -1]]], ROW, "window"),
        (STREAM, [[5], [1], ["a"], [4], [[True, 1]]], ROW, "window"),
        (ITEM, [[5]], ROW, "columns"), (ITEM, [[5], [0, 1]], ROW, "columns"),
        (ITEM, [[5], [-1]], ROW, "numbers"), (ITEM, [[5], [0]], b"\xc1", "msgpack"),
        (END, [[5], [True]], b"\xc0", "numbers"), (END, [[5], [1]], b"\x07", "error"),
        (END, [[5], [1]], encode(["raised", "", "", "", 1]), "error"),
    ],
)  # fmt: skip
def test_streams_of_another_shape_are_malformed(
    kind: int, columns: list[object], row: bytes, reason: str
) -> None:
    with pytest.raises(Malformed, match=reason):
        READERS[kind](packed(kind, columns, row))


@pytest.mark.parametrize(
    ("meta", "reason"),
    [
        ([[5], [None], [None]], "numbers"), ([[5], [1], ["x"]], "numbers"),
        ([[-5], [1], [None]], "sequences"),
    ],
)  # fmt: skip
def test_credit_of_another_shape_is_malformed(meta: object, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        read_grants(unpack(pack(GRANT, 1, 2, 0, encode(meta))))


@pytest.mark.parametrize("value", [7, [7], [[1, 2]], [[1, 2, -3]], [[1, 1, 1]] * 3])
def test_progress_is_three_numbers_a_row(value: object) -> None:
    with pytest.raises(Malformed):
        read_progress(value, 2)
