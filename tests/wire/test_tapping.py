"""Taps on the wire: rows arrive as they were, and nothing else is taken for them."""

from __future__ import annotations

import pytest

from zmqkit.tap_limits import TAP_BODY_BYTES, TAP_RATE_MAX, TAP_TEXT_CHARS
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Malformed, encode
from zmqkit.wire.tapping import (
    Passed,
    Tapped,
    Wanted,
    answer,
    question,
    read_answer,
    read_question,
    row_of,
)

HEAD = [7, 5, 6, 1, False, 10, 8, 1]
ROW = [1, "price", "done", 2, 3, 4, b"a", 5, b"b", "service", "orders"]


def packet(meta: object) -> wire.Packet:
    """An answer with this content."""
    return wire.unpack(wire.pack(wire.TAPPED, 9, 0, 0, encode(meta)))


def test_a_question_arrives_as_it_was() -> None:
    wanted = Wanted("orders", "price", 3, 2.5)
    assert read_question(wire.unpack(question(1, 7, 2, wanted))) == (7, 2, wanted)
    fast = Wanted("orders", rate=10 * TAP_RATE_MAX)
    assert read_question(wire.unpack(question(1, 7, 2, fast)))[2].rate == TAP_RATE_MAX


def test_an_answer_arrives_as_it_was() -> None:
    row = Passed(1, "price", "done", 2, 3, 4, b"a", 5, b"b", "service", "orders")
    told = Tapped(7, 9, 5, 6, 1, is_full=False, seen=10, skipped=8, dropped=1, rows=[row])
    frames = answer(told, [row_of(row, "service", "orders")])
    assert read_answer(wire.unpack(frames)) == told == read_answer(packet([HEAD, [ROW]]))


def test_what_a_row_tells_is_bounded() -> None:
    long = Passed(1, "x" * 1000, "y" * 1000, 2, 3, 4, bytes(1000), 5, bytes(1000))
    [row] = read_answer(wire.unpack(answer(Tapped(7, 9), [row_of(long, "service", "n")]))).rows
    assert len(row.what) == len(row.outcome) == TAP_TEXT_CHARS
    assert len(row.body) == len(row.reply) == TAP_BODY_BYTES


@pytest.mark.parametrize(
    "meta",
    [
        None, [], [HEAD], [HEAD, None], [HEAD[:7], []], [[*HEAD[:4], 0, *HEAD[5:]], []],
        [["7", *HEAD[1:]], []], [[-1, *HEAD[1:]], []], [HEAD, [None]], [HEAD, [ROW[:10]]],
        [HEAD, [[-1, *ROW[1:]]]], [HEAD, [["1", *ROW[1:]]]], [HEAD, [[True, *ROW[1:]]]],
    ],
)  # fmt: skip
def test_another_answer_is_malformed(meta: object) -> None:
    with pytest.raises(Malformed, match="tapped"):
        read_answer(packet(meta))
