"""Frames as arguments and values, and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zmqkit.core.majordomo.bodies import (
    answer_body,
    answer_part,
    request_body,
    request_part,
    size_of,
    travels,
)
from zmqkit.limits import BODY_BYTES_MAX, PACKET_BYTES_MAX, RAW_BYTES_MIN
from zmqkit.model import Frames
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import decode
from zmqkit.wire.rows import (
    Arguments,
    answer_columns,
    arguments_of,
    read_replies,
    read_requests,
    request_columns,
)

FRAME = st.binary(max_size=9) | st.sampled_from([bytes(RAW_BYTES_MIN), b"x" * 9000])
BODIES = st.lists(FRAME, min_size=1, max_size=4).map(tuple)


def arguments(body: Frames) -> Arguments | None:
    """What a service reads of a request with this body."""
    row, raw = request_part(body, {})
    columns = request_columns((1,), (9,), ("mdp",), (4,), (row,))
    _, rows = read_requests(wire.unpack(wire.pack(wire.REQUEST, 1, 2, 0, columns, row, raw)))
    [read] = arguments_of(rows)
    return read


@given(BODIES)
def test_a_request_has_the_same_frames_at_the_other_end(body: tuple[bytes, ...]) -> None:
    views: Frames = tuple(memoryview(frame) for frame in body)
    for frames in (body, views):
        read = request_body(arguments(frames))
        assert read is not None and tuple(map(bytes, read)) == body


@given(BODIES)
def test_a_reply_has_the_same_frames_at_the_other_end(body: tuple[bytes, ...]) -> None:
    views: Frames = tuple(memoryview(frame) for frame in body)
    for frames in (body, views):
        row, raw = answer_part(frames)
        columns = answer_columns((1,), (row,))
        packet = wire.unpack(wire.pack(wire.REPLY, 1, 2, 0, columns, row, raw))
        _, [value], _ = read_replies(packet)
        assert tuple(map(bytes, answer_body(value, row))) == body


def test_a_long_last_frame_is_not_copied() -> None:
    long = memoryview(bytes(RAW_BYTES_MIN))
    assert request_part((b"x", long), {})[1] is long
    assert answer_part((long,)) == (b"\xc0", long)
    assert request_part((long, b"x"), {})[1] is None


@pytest.mark.parametrize(
    "unfit", [None, [{}, [1], {}], [{}, [b"x"], {"a": 1}], [{}, [None], {}]]
)
def test_what_is_no_frames_has_no_body(unfit: Arguments | None) -> None:
    assert request_body(unfit) is None


def test_a_value_that_is_no_body_is_sent_as_it_came() -> None:
    row = b"\x82\x01\x02\x03\x04"
    assert answer_body(decode(row), row) == (row,)


def test_what_travels_fits_a_packet_whatever_its_frames() -> None:
    many: Frames = (bytes(BODY_BYTES_MAX - 5000), *[b""] * 999)
    assert travels(many) and not travels((*many, b""))
    for body in (many, (*many[1:], many[0]), (b"x" * 4000,) * 1000):
        assert travels(body)
        row, raw = request_part(body, {})
        assert len(row) + len(raw or b"") <= size_of(body) + 16 < PACKET_BYTES_MAX
