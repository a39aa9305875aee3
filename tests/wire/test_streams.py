"""The messages of streams are read as they were written, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.packets import end, grant, items, stream
from zmqkit.wire.encoding import Malformed, encode
from zmqkit.wire.packet import END, GRANT, ITEM, STREAM, pack, unpack
from zmqkit.wire.streams import (
    end_rows,
    grant_rows,
    item_columns,
    item_rows,
    progress_rows,
    stream_rows,
)

READERS: dict[int, Callable[..., list[object]]] = {
    STREAM: stream_rows, ITEM: item_rows, END: end_rows, GRANT: grant_rows,
}  # type: ignore[dict-item]  # each has rows of its own  # fmt: skip


def read(kind: int, meta: object, raw: bytes | None = None) -> list[object]:
    """The rows of a packet with this content."""
    return READERS[kind](unpack(pack(kind, 1, 2, 0, encode(meta), raw)))


def test_a_stream_is_a_request_with_a_window() -> None:
    rows = stream_rows(unpack(stream(1, 2, 5, 6, window=(3, 400))))
    request = (5000, "count", 4, None, [7], {})
    assert rows == [((5, *request), 3, 400), ((6, *request), 3, 400)]


def test_values_have_numbers_and_sizes() -> None:
    assert item_rows(unpack(items(1, 2, 5, 3, "a", None))) == [(5, 3, 2, "a"), (5, 4, 1, None)]


def test_a_long_value_is_a_view_of_what_arrived() -> None:
    columns = item_columns([5], [0], [9], [encode(None)])
    [row] = item_rows(unpack(pack(ITEM, 1, 2, 0, columns, b"x" * 9)))
    assert row == (5, 0, 9, b"x" * 9) and type(row[3]) is memoryview


def test_an_end_has_a_count_and_perhaps_an_error() -> None:
    assert end_rows(unpack(end(1, 2, 5, 3))) == [(5, 3, None)]
    error = (5, "raised", "ValueError", "no", "", True)
    assert end_rows(unpack(end(1, 2, 5, 3, "raised"))) == [(5, 3, error)]


def test_credit_says_what_was_taken_and_what_is_missing() -> None:
    assert grant_rows(unpack(grant(1, 2, 5, 3))) == [(5, 3, None)]
    assert grant_rows(unpack(grant(1, 2, 5, 3, 4))) == [(5, 3, 4)]


BODY = ["count", 4, None, [], {}]


@pytest.mark.parametrize(
    ("kind", "meta", "reason"),
    [
        (STREAM, [[5], [1], [BODY]], "columns"),
        (STREAM, [[5], [1], [7], [BODY]], "window"),
        (STREAM, [[5], [1], [[0, 1]], [BODY]], "window"),
        (STREAM, [[5], [1], [[1, -1]], [BODY]], "window"),
        (STREAM, [[5], [1], [[True, 1]], [BODY]], "window"),
        (STREAM, [[5], [1], [[1, 1]], [7]], "request"),
        (ITEM, [[5], [0], ["x"]], "columns"),
        (ITEM, [[], [], [], []], "sequences"),
        (ITEM, [[5], [-1], [1], ["x"]], "numbers"),
        (ITEM, [[5], [0], [None], ["x"]], "numbers"),
        (ITEM, [[5], [0, 1], [1], ["x"]], "columns"),
        (END, [[5], [True], [None]], "numbers"),
        (END, [[5], [1], [7]], "error"),
        (END, [[5], [1], [["raised", "", "", "", 1]]], "error"),
        (GRANT, [[5], [None], [None]], "numbers"),
        (GRANT, [[5], [1], ["x"]], "numbers"),
        (GRANT, [[-5], [1], [None]], "sequences"),
    ],
)
def test_what_is_not_so_is_malformed(kind: int, meta: object, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        read(kind, meta)


def test_a_raw_body_belongs_to_one_value() -> None:
    with pytest.raises(Malformed, match="raw"):
        read(ITEM, [[5, 5], [0, 1], [1, 1], [None, None]], b"x")


@pytest.mark.parametrize("value", [7, [7], [[1, 2]], [[1, 2, -3]], [[1, 1, 1]] * 3])
def test_progress_is_three_numbers_a_row(value: object) -> None:
    with pytest.raises(Malformed):
        progress_rows(value, 2)
