"""One stream as its service has it."""

from __future__ import annotations

from zmqkit.core.calls.request import Ended, StreamRequest
from zmqkit.core.dispatch.window import Answer
from zmqkit.wire.packet import ERROR, REPLY


def stream(items: int = 2, size: int = 1000) -> StreamRequest:
    """A stream with that window."""
    return StreamRequest(
        1, 2, 3, "count", [], {}, None, 4, 9.0, oneway=False, items_max=items, bytes_max=size
    )


def value(size: int = 1) -> Answer:
    """A value of so many bytes."""
    return Answer(REPLY, b"x" * size)


def test_there_is_room_for_so_many_values_as_were_not_taken() -> None:
    request = stream(2)
    request.keep(value())
    assert request.has_room
    request.keep(value())
    assert not request.has_room
    request.trim(1)
    assert request.has_room and (request.taken, request.sent) == (1, 2)
    request.check()


def test_one_value_may_exceed_the_bytes() -> None:
    request = stream(9, 200)
    request.keep(value(5000))
    assert not request.has_room
    request.check()
    request.trim(1)
    assert request.has_room and request.kept_bytes == 0


def test_a_cancelled_one_goes_on_no_more() -> None:
    request = stream()
    request.cancelled = True
    assert request.has_room and not request.goes_on


def test_credit_for_the_past_changes_nothing() -> None:
    request = stream()
    request.keep(value())
    request.trim(1)
    request.trim(0)
    assert request.taken == 1


def test_an_end_keeps_what_was_not_taken_and_weighs_it() -> None:
    end = Ended(5, [value(), value()], Answer(ERROR, b"row"))
    assert (end.first, end.count, end.row) == (3, 5, b"row")
    assert end.size > 2 * value().size
