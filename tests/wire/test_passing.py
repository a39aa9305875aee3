"""Rows that a device passes on: each is one value of the right shape, or none at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Malformed, decode, encode
from zmqkit.wire.packet import Packet
from zmqkit.wire.passing import (
    PUSH,
    Handover,
    handover,
    read_handover,
    unread_arguments,
    unread_replies,
)
from zmqkit.wire.rows import Rows, arguments_of, read_replies, read_requests

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 1 << 40) | st.text(max_size=5) | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
HEADERS = st.dictionaries(st.text(max_size=5), VALUES, max_size=3)
TEXTS = st.text(min_size=1, max_size=9)
# The right shape, another, more values than one, and what is cut short.
PIECES = st.one_of(
    st.tuples(HEADERS, st.lists(VALUES, max_size=2), st.just({})).map(encode),
    VALUES.map(encode),
    st.tuples(VALUES, VALUES).map(lambda pair: encode(pair[0]) + encode(pair[1])),
    st.tuples(HEADERS, VALUES, VALUES, VALUES).map(encode),
    st.binary(min_size=1, max_size=9),
    VALUES.map(lambda value: encode([{}, value, {}])[:-1] or b"\xc1"),
)


def requests(*pieces: bytes, raw: bytes | None = None) -> Rows:
    """The rows of a packet of tasks."""
    count = len(pieces)
    columns = [[*range(count)], [9] * count, ["task"] * count, [4] * count]
    meta = encode([*columns, [*map(len, pieces)]])
    packet = wire.unpack(wire.pack(wire.REQUEST, 1, 2, 0, meta, b"".join(pieces), raw))
    return read_requests(packet)[1]


def replies(*pieces: bytes, raw: bytes | None = None) -> Packet:
    meta = encode([[*range(len(pieces))], [*map(len, pieces)]])
    return wire.unpack(wire.pack(wire.REPLY, 1, 2, 0, meta, b"".join(pieces), raw))


# Requests


@pytest.mark.slow
@given(HEADERS, st.lists(VALUES, max_size=3), st.dictionaries(st.text(max_size=3), VALUES))
def test_headers_are_read_and_arguments_stay_the_bytes_that_came(
    headers: dict[str, object], args: list[object], kwargs: dict[str, object]
) -> None:
    [found] = unread_arguments(requests(encode([headers, args, kwargs])))
    assert found is not None
    assert found[0] == headers
    assert found[1] == [encode(args) + encode(kwargs), None] and found[2] == {}


def test_a_raw_body_stands_beside_its_row() -> None:
    [found] = unread_arguments(requests(encode([{}, ["tea"], {}]), raw=b"camellia"))
    assert found is not None
    row, raw = found[1]
    assert row == encode(["tea"]) + encode({})
    assert isinstance(raw, memoryview) and raw == b"camellia"


@pytest.mark.slow
@given(st.lists(PIECES, min_size=1, max_size=4))
def test_a_row_that_is_passed_on_is_read_as_it_would_be_without_a_device(
    pieces: list[bytes],
) -> None:
    """What a worker reads of a row that was passed on is what it would read of the original."""
    for piece, found in zip(pieces, unread_arguments(requests(*pieces)), strict=True):
        if found is None:
            continue
        headers, [row, _], _ = found
        again = b"\x93" + encode(headers) + row  # type: ignore[operator]  # it is bytes
        [passed], [direct] = arguments_of(requests(again)), arguments_of(requests(piece))
        assert passed == direct


@pytest.mark.slow
@given(st.lists(PIECES, min_size=2, max_size=4), st.integers(0, 3))
def test_no_row_takes_part_of_another_ones(pieces: list[bytes], at: int) -> None:
    """A row among others, also among malformed ones, is read as if it were alone."""
    at %= len(pieces)
    [alone] = unread_arguments(requests(pieces[at]))
    assert unread_arguments(requests(*pieces))[at] == alone


GOOD = encode([{"push": 1}, ["a"], {}])


@pytest.mark.parametrize(
    "piece",
    [
        b"\xc0", b"\x90", b"\x92\x80\x90", b"\x93\x80\x90", b"\x94\x80\x90\x80\xc0",
        b"\x80\x90\x80", b"\xc1", b"\xc4\x05a", b"\x93\x80\xc1\x80", b"\x93\x80\x90\x80\xc0",
        b"\xdd\xff\xff\xff\xff\x80", b"\x93\xc1\x90\x80", b"\x93\x90\x90\x80",
        b"\x93\x81\x01\x02\x90\x80", b"\x93\x81\xa1\xff\x02\x90\x80",
        b"\x93\xd4\x05\x00\x90\x80", b"\x93\x80\xdc\x40\x00\x80", b"\x93\x80" + b"\x91" * 2000,
        b"\x91" * 100_000,
    ],
    ids=lambda piece: piece[:9].hex(),
)  # fmt: skip
def test_a_row_of_another_shape_is_none_and_touches_no_other(piece: bytes) -> None:
    first, odd, last = unread_arguments(requests(GOOD, piece, GOOD))
    assert odd is None
    assert first == last == ({"push": 1}, [encode(["a"]) + encode({}), None], {})
    assert unread_arguments(requests(piece)) == [None]


def test_two_values_beside_none_are_nobodys_arguments() -> None:
    """Read in one go, the three rows would be well-formed, and the second the third one's."""
    assert unread_arguments(requests(GOOD + GOOD, b"\x93", b"\x80\x90\x80")) == [None] * 3


# Replies


@pytest.mark.slow
@given(st.lists(VALUES, min_size=1, max_size=4))
def test_values_stay_the_bytes_that_came(values: list[object]) -> None:
    pieces = [encode(value) for value in values]
    sequences = list(range(len(values)))
    found = unread_replies(replies(*pieces))
    assert found == (sequences, pieces, [])


@pytest.mark.slow
@given(st.lists(PIECES, min_size=1, max_size=4))
def test_a_value_that_is_passed_on_is_exactly_one(pieces: list[bytes]) -> None:
    readable, values, others = unread_replies(replies(*pieces))
    assert sorted(readable + others) == list(range(len(pieces)))
    assert values == [pieces[n] for n in readable]
    for row in values:
        assert isinstance(row, bytes)
        # Beside another one it does not change what that is.
        found = read_replies(replies(row, encode("next")))
        assert dict(zip(found[0], found[1], strict=True))[1] == "next"


def test_a_raw_value_stands_for_its_row() -> None:
    [sequence], [raw], others = unread_replies(replies(b"\xc1", raw=b"sinensis"))
    assert (sequence, others) == (0, []) and isinstance(raw, memoryview)
    assert raw == b"sinensis"


@pytest.mark.slow
def test_many_unreadable_values_take_time_in_proportion() -> None:
    count = 100_000
    for read in (unread_replies, read_replies):
        assert read(replies(*[b"\xc1"] * count)) == ([], [], list(range(count)))


# The header of a task that is handed over


@pytest.mark.slow
@given(
    st.fixed_dictionaries(
        {
            "id": TEXTS, "unique": st.none() | TEXTS, "order_by": st.none() | TEXTS,
            "delay_ms": st.integers(0, 1 << 50), "is_known": st.booleans(),
            "to_sink": st.booleans(),
        }
    )
)  # fmt: skip
def test_a_handover_arrives_as_it_was(said: Handover) -> None:
    headers = decode(encode({PUSH: handover(**said)}))
    assert isinstance(headers, dict)
    assert read_handover(headers) == said


@pytest.mark.parametrize(
    "value",
    [
        None, 5, "id", {}, [], ["id"], ["id", None, None, 0, False],
        ["id", None, None, 0, False, False, 1],
        *([*said, False] for said in (
            [None, None, None, 0, False], ["", None, None, 0, False], [5, None, None, 0, False],
            [b"id", None, None, 0, False], ["x" * 233, None, None, 0, False],
            ["id", "", None, 0, False], ["id", 5, None, 0, False], ["id", None, [], 0, False],
            ["id", None, "x" * 233, 0, False], ["id", None, None, -1, False],
            ["id", None, None, 0.5, False], ["id", None, None, True, False],
            ["id", None, None, None, False], ["id", None, None, 2**51, False],
            ["id", None, None, 0, 1], ["id", None, None, 0, None],
        )),
        ["id", None, None, 0, False, 0], ["id", None, None, 0, False, None],
    ],
)  # fmt: skip
def test_any_other_header_is_malformed(value: object) -> None:
    for headers in ({PUSH: value}, {}, None):
        with pytest.raises(Malformed, match="push"):
            read_handover(headers)
