"""One frame per packet, and a second for a raw body."""

from __future__ import annotations

import os
import struct
from datetime import UTC, datetime
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zmqkit.errors import UsageError
from zmqkit.limits import BODY_BYTES_MAX, COMPRESS_BYTES_MIN, PACKET_BYTES_MAX
from zmqkit.model import Frames
from zmqkit.simulation.garbage import lie, noise, spoil
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Malformed, encode
from zmqkit.wire.packet import (
    ERROR,
    HEADER,
    HELLO,
    KINDS,
    NOTIFY,
    PING,
    REPLY,
    REQUEST,
    SEQUENCE_MAX,
    Packet,
    error_rows,
    fields_of,
    pack,
    reply_columns,
    reply_rows,
    request_body,
    request_columns,
    request_rows,
    sequences_of,
    unpack,
)

NUMBERS = st.integers(0, (1 << 64) - 1)
SEQUENCES = st.integers(0, SEQUENCE_MAX)
METHODS = st.text(max_size=10)
ARGUMENTS = st.lists(st.integers(0, 9) | st.text(max_size=5), max_size=3)
HEADERS = st.none() | st.dictionaries(st.text(max_size=5), st.integers(0, 9), max_size=3)


def rows_of(meta: object, kind: int = REQUEST, raw: bytes | None = None) -> list[object]:
    """The rows of a packet with this content."""
    packet = unpack(pack(kind, 1, 2, 0, encode(meta), raw))
    read = {REQUEST: request_rows, REPLY: reply_rows, ERROR: error_rows}[kind]
    return list(read(packet))


@pytest.mark.slow
@given(st.sampled_from(sorted(KINDS)), NUMBERS, NUMBERS, NUMBERS, st.none() | st.binary())
def test_a_packet_arrives_as_it_was(
    kind: int, source: int, target: int, settled: int, raw: bytes | None
) -> None:
    frames = pack(kind, source, target, settled, encode([1]), raw)
    packet = unpack(frames)
    assert packet == Packet(kind, source, target, settled, [1], packet.raw)
    assert packet.raw == raw
    assert unpack(tuple(map(memoryview, frames))) == packet


@pytest.mark.parametrize("raw", [None, b"", b"raw"])
@pytest.mark.parametrize("size", [0, COMPRESS_BYTES_MIN, 1 << 20])
def test_a_packet_arrives_from_far_away_as_it_was(size: int, raw: bytes | None) -> None:
    meta = encode("x" * size)
    frames = pack(PING, 1, 2, 3, meta, raw, far=True)
    assert unpack(tuple(map(memoryview, frames))) == unpack(pack(PING, 1, 2, 3, meta, raw))
    assert (len(frames[0]) < HEADER.size + len(meta)) == bool(size)


def test_what_does_not_shrink_travels_as_it_is() -> None:
    meta = encode(Random(1).randbytes(1 << 16))
    assert pack(PING, 1, 2, 3, meta, far=True) == pack(PING, 1, 2, 3, meta)


def test_a_compressed_bomb_is_malformed() -> None:
    with pytest.raises(Malformed, match="msgpack"):
        unpack(pack(PING, 1, 2, 3, b"\x91" * 60_000, far=True))
    with pytest.raises(Malformed, match="msgpack"):
        unpack(pack(PING, 1, 2, 3, b"\xdd\x00\xff\xff\xff" * 200_000, far=True))


@pytest.mark.slow
@given(st.lists(st.tuples(SEQUENCES, NUMBERS, METHODS, HEADERS, ARGUMENTS), min_size=1))
def test_requests_arrive_as_they_were(
    calls: list[tuple[int, int, str, dict[str, object] | None, list[object]]],
) -> None:
    bodies = [request_body(m, 4, headers, args, {"k": 1}) for _, _, m, headers, args in calls]
    meta = request_columns([c[0] for c in calls], [c[1] for c in calls], bodies)
    rows = request_rows(unpack(pack(NOTIFY, 1, 2, 0, meta)))
    assert rows == [(s, left, m, 4, h, a, {"k": 1}) for s, left, m, h, a in calls]


@pytest.mark.slow
@given(st.dictionaries(SEQUENCES, ARGUMENTS, min_size=1))
def test_replies_arrive_as_they_were(values: dict[int, list[object]]) -> None:
    meta = reply_columns(list(values), [encode(value) for value in values.values()])
    assert reply_rows(unpack(pack(REPLY, 1, 2, 0, meta))) == list(values.items())


def test_errors_arrive_as_they_were() -> None:
    row = ["raised", "ValueError", "no", "Traceback …", True]
    assert rows_of([[5], [row]], ERROR) == [(5, *row)]


def test_a_raw_body_is_the_last_argument() -> None:
    assert rows_of([[5], [9], [["add", 4, None, [1], {}]]], REQUEST, b"raw") == [
        (5, 9, "add", 4, None, [1, b"raw"], {})
    ]


def test_a_raw_body_is_the_value_of_a_reply() -> None:
    assert rows_of([[5], [None]], REPLY, b"") == [(5, b"")]


@pytest.mark.parametrize("kind", [REQUEST, REPLY])
def test_a_raw_body_belongs_to_one_message(kind: int) -> None:
    columns = {
        REQUEST: [[5, 6], [9, 9], [["add", 4, None, [], {}]] * 2],
        REPLY: [[5, 6], [None, None]],
    }
    with pytest.raises(Malformed, match="raw"):
        rows_of(columns[kind], kind, b"raw")


def test_a_raw_body_has_a_limit() -> None:
    raw = memoryview(bytes(BODY_BYTES_MAX + 1))
    with pytest.raises(Malformed, match="raw"):
        reply_rows(Packet(REPLY, 1, 2, 0, [[5], [None]], raw))


def frame(**changes: int) -> bytes:
    """A frame whose header is wrong in one way."""
    fields = {
        "end": 0, "magic": 0x5A, "version": 1, "kind": HELLO, "encoding": 0, "flags": 0,
        "size": 1, "source": 1, "target": 0, "settled": 0,
    }  # fmt: skip
    return struct.pack(">6BIQQQ", *(fields | changes).values()) + b"\xc0"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"end": 1}, "magic"), ({"magic": 0}, "magic"), ({"version": 2}, "version"),
        ({"kind": 0}, "kind"), ({"kind": 6}, "kind"), ({"kind": 19}, "kind"),
        ({"encoding": 2}, "encoding"), ({"flags": 1}, "lz4: size"), ({"size": 0}, "length"),
        ({"encoding": 1, "flags": 1}, "frames"), ({"encoding": 1}, "frames"),
        ({"flags": 2}, "encoding"), ({"flags": 3}, "encoding"), ({"flags": 128}, "encoding"),
        ({"size": 2}, "length"), ({"size": 2, "encoding": 1}, "length"),
    ],
)  # fmt: skip
def test_each_field_of_the_header_is_checked(changes: dict[str, int], reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        unpack((frame(**changes),))


def test_a_right_header_is_right() -> None:
    assert unpack((frame(),)) == Packet(HELLO, 1, 0, 0, None, None)


@pytest.mark.parametrize(
    "frames", [(), (frame(), b""), (frame(encoding=1), b"", b"")], ids=["0", "2", "3"]
)
def test_the_number_of_frames_is_checked(frames: Frames) -> None:
    with pytest.raises(Malformed, match="frames"):
        unpack(frames)


@pytest.mark.parametrize("size", [0, HEADER.size - 1, PACKET_BYTES_MAX + 1])
def test_sizes_are_checked_before_anything_else(size: int) -> None:
    with pytest.raises(Malformed, match="size"):
        unpack((bytes(size),))


REQUEST_ROW = ["add", 4, None, [], {}]


@pytest.mark.parametrize(
    ("meta", "reason"),
    [
        (None, "columns"), ([], "columns"), ([[1], [1]], "columns"), ([1, [1], [1]], "columns"),
        ([[1], 1, [1]], "columns"), ([[1], [1], [1, 2]], "columns"),
        ([[], [], []], "sequences"),
        ([["x"], [1], [REQUEST_ROW]], "sequences"), ([[-1], [1], [REQUEST_ROW]], "sequences"),
        ([[True], [1], [REQUEST_ROW]], "sequences"),
        ([[SEQUENCE_MAX + 1], [1], [REQUEST_ROW]], "sequences"),
        ([[1], ["x"], [REQUEST_ROW]], "request"),
        ([[1], [1], [None]], "request"), ([[1], [1], [REQUEST_ROW[:4]]], "request"),
        ([[1], [1], [[1, 4, None, [], {}]]], "request"),
        ([[1], [1], [["add", 4, None, {}, {}]]], "request"),
        ([[1], [1], [["add", 4, None, [], []]]], "request"),
        ([[1], [1], [["add", 10, None, [], {}]]], "priority"),
        ([[1], [1], [["add", -1, None, [], {}]]], "priority"),
        ([[1], [1], [["add", True, None, [], {}]]], "priority"),
        ([[1], [1], [["add", 4, None, [], {1: 2}]]], "keyword"),
        ([[1], [1], [["add", 4, {1: 2}, [], {}]]], "header"),
        ([[1], [1], [["add", 4, "x", [], {}]]], "header"),
    ],
)  # fmt: skip
def test_requests_of_another_shape_are_malformed(meta: object, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        rows_of(meta)


@pytest.mark.parametrize(
    "row", [None, [], ["a"], ["a", "b", "c", "d", 1], ["a", "b", "c", b"d", True]]
)
def test_errors_of_another_shape_are_malformed(row: object) -> None:
    with pytest.raises(Malformed, match="error"):
        rows_of([[1], [row]], ERROR)


@pytest.mark.parametrize(
    "value", [None, {}, ["x"], [1, None], [1, 2, 3], [-1], [1, SEQUENCE_MAX + 1]]
)
def test_a_list_of_ids_has_a_limit_and_nothing_else_in_it(value: object) -> None:
    with pytest.raises(Malformed, match="sequences"):
        sequences_of(value, 2)


def test_a_list_of_ids_may_be_empty() -> None:
    assert sequences_of([], 0) == []


def test_fields_are_a_map() -> None:
    assert fields_of(unpack(pack(HELLO, 1, 2, 0, encode({"name": "x"})))) == {"name": "x"}
    with pytest.raises(Malformed, match="fields"):
        fields_of(unpack(pack(HELLO, 1, 2, 0, encode([]))))


@pytest.mark.parametrize("where", ["args", "kwargs"])
def test_what_cannot_travel_is_named_by_its_place(where: str) -> None:
    args, kwargs = ((1, {1}), {}) if where == "args" else ((), {"x": 1, "y": {1}})
    place = "1" if where == "args" else "'y'"
    with pytest.raises(UsageError, match=rf"{where}\[{place}\] is of type set"):
        request_body("add", 4, None, args, kwargs)


def test_a_number_too_large_is_told() -> None:
    with pytest.raises(UsageError, match=r"an int beyond 64 bits \(-2\*\*63 to 2\*\*64-1\)"):
        request_body("add", 4, None, (1 << 64,), {})


def test_a_point_in_time_travels_as_argument() -> None:
    when = datetime(2026, 1, 1, tzinfo=UTC)
    body = request_body("add", 4, None, (when,), {})
    [row] = request_rows(unpack(pack(REQUEST, 1, 2, 0, request_columns([5], [9], [body]))))
    assert row[5] == [when]


def decode_all(frames: Frames) -> None:
    """Put a message through every decoder; only Malformed may come out."""
    try:
        packet = unpack(frames)
    except Malformed:
        return
    for read in (request_rows, reply_rows, error_rows, fields_of):
        try:
            read(packet)
        except Malformed:
            continue


@given(st.binary(max_size=100))
def test_garbage_is_malformed(data: bytes) -> None:
    decode_all((data,))


@pytest.mark.slow
@given(st.sampled_from(sorted(KINDS)), st.binary(max_size=60), st.none() | st.binary())
def test_garbage_behind_a_header_is_malformed(
    kind: int, meta: bytes, raw: bytes | None
) -> None:
    decode_all(pack(kind, 1, 2, 3, meta, raw))


@pytest.mark.slow
def test_much_garbage_is_malformed() -> None:
    random = Random(5)
    seeds = [
        pack(REQUEST, 1, 2, 3, request_columns([5], [9], [request_body("a", 4, {}, (1,), {})])),
        pack(REPLY, 1, 2, 3, reply_columns([5, 6], [encode(1), encode("x")]), None),
        pack(ERROR, 1, 2, 3, encode([[5], [["raised", "E", "m", "t", True]]])),
        pack(PING, 1, 2, 3, encode([1, 2, [3]])),
        pack(REPLY, 1, 2, 3, encode([[5], [None]]), b"raw"),
        pack(REPLY, 1, 2, 3, encode([[5], ["x" * COMPRESS_BYTES_MIN]]), b"raw", far=True),
        pack(REPLY, 1, 2, 3, encode([[5], ["x" * COMPRESS_BYTES_MIN]]), far=True),
    ]
    for _ in range(int(os.environ.get("ZMQKIT_GARBAGE", "10000"))):
        made = (noise(random),), lie(random), spoil(random, random.choice(seeds))
        decode_all(random.choice(made))


def test_the_header_has_no_holes() -> None:
    assert wire.HEADER.size == 34
