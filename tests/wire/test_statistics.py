"""Statistics on the wire: rows arrive as they were, and nothing else is taken for them."""

from __future__ import annotations

from typing import Any

import pytest

from zmqkit.statistics_limits import PART_CHARS_MAX, TALKS_MAX, WORDS_MAX
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Malformed, encode
from zmqkit.wire.histogram import Histogram
from zmqkit.wire.packet import FIGURES, STATISTICS
from zmqkit.wire.statistics import (
    About,
    Figures,
    Told,
    answer,
    question,
    read_answer,
    read_question,
    row_of,
)

ABOUT = About(9, 4711, "kitchen")
HEAD = {"token": 7, "pid": 4711, "host": "kitchen", "at_ms": 5, "wall_us": 6, "next": None}


def sent(figures: Figures) -> Figures:
    """Return what arrives of a row."""
    [row] = read_answer(wire.unpack(answer(ABOUT, 7, 5, 6, [row_of(figures)], None))).rows
    return row


def packet(kind: int, meta: object, source: int = 9) -> wire.Packet:
    """Return a packet with this content."""
    return wire.unpack(wire.pack(kind, source, 0, 0, encode(meta)))


def test_a_question_arrives_as_it_was() -> None:
    assert read_question(wire.unpack(question(1, 7, (3, 4)))) == (7, (3, 4))


@pytest.mark.parametrize("meta", [None, [], [1, 2], [1, 2, -1], [1, 2, "3"], [1, 2, True], {}])
def test_another_question_is_malformed(meta: object) -> None:
    with pytest.raises(Malformed, match="statistics"):
        read_question(packet(STATISTICS, meta))


def test_a_row_arrives_as_it_was() -> None:
    took = Histogram()
    took.record(0.001, 3)
    figures = Figures(
        "service", "orders", 0xA, "method", "price", 9, 5, 1, 1, {"cancelled": 1, "closed": 1},
        2, 1, 1, 250, 3, {"up": 1}, [0xB, 0xC], [0xD], took, Histogram(),
    )  # fmt: skip
    assert sent(figures) == figures
    assert sent(Figures()) == Figures()


def test_an_answer_says_of_whom_it_is_and_where_it_ends() -> None:
    told = read_answer(wire.unpack(answer(ABOUT, 7, 60_250, 1_700, [], (2, 5))))
    assert told == Told(7, 9, 4711, "kitchen", 60_250, 1_700, [], (2, 5))


def test_what_a_row_tells_is_bounded() -> None:
    many = {f"reason-{number}": number for number in range(2 * WORDS_MAX)}
    row = sent(Figures(of="x" * 10_000, dropped=many, talks_to=[*range(1, 10 * TALKS_MAX)]))
    assert len(row.of) == PART_CHARS_MAX
    assert len(row.dropped) == WORDS_MAX and len(row.talks_to) == TALKS_MAX


@pytest.mark.parametrize(
    "row",
    [
        None, [], {"role": 5}, {"name": "x" * 256}, {"failed": -1}, {"failed": 1.5},
        {"failed": True}, {"failed": "1"}, {"dropped": []}, {"dropped": {"closed": "1"}},
        {"dropped": {1: 1}}, {"peers": {str(n): 1 for n in range(WORDS_MAX + 1)}},
        {"talks_to": ["b"]}, {"known_as": [-1]}, {"talks_to": [1] * (TALKS_MAX + 1)},
        {"took": None}, {"took": [1, 2]},
    ],
)  # fmt: skip
def test_another_row_is_malformed(row: object) -> None:
    with pytest.raises(Malformed):
        read_answer(packet(FIGURES, [HEAD, [row]]))


@pytest.mark.parametrize(
    "changes",
    [{"token": None}, {"pid": -1}, {"host": 5}, {"at_ms": "5"}, {"wall_us": -1},
     {"wall_us": 0.5}, {"next": 5}, {"next": [1]}, {"next": [1, -1]}],
)  # fmt: skip
def test_another_answer_is_malformed(changes: dict[str, Any]) -> None:
    assert read_answer(packet(FIGURES, [HEAD, []]))
    with pytest.raises(Malformed, match="statistics"):
        read_answer(packet(FIGURES, [HEAD | changes, []]))
    for meta in ([HEAD], HEAD, [HEAD, {}], [[], []], None):
        with pytest.raises(Malformed, match="statistics"):
            read_answer(packet(FIGURES, meta))


def test_an_answer_of_no_process_is_malformed() -> None:
    with pytest.raises(Malformed, match="statistics"):
        read_answer(packet(FIGURES, [HEAD, []], source=0))


def test_an_answer_beyond_its_size_is_malformed() -> None:
    with pytest.raises(Malformed, match="statistics"):
        read_answer(packet(FIGURES, [{**HEAD, "more": "x" * (64 << 10)}, []]))


def test_keys_that_are_not_known_are_passed_over() -> None:
    told = read_answer(packet(FIGURES, [{**HEAD, "new": 1}, [{"failed": 1, "new": [1]}]]))
    assert told.rows == [Figures(failed=1)]
