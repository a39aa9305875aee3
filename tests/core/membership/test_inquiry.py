"""Asking processes for their statistics."""

from __future__ import annotations

from tests.packets import read
from zmqkit.core.membership.inquiry import Inquiry
from zmqkit.model import Frames
from zmqkit.statistics_limits import PAGES_MAX
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import encode
from zmqkit.wire.packet import PONG, STATISTICS
from zmqkit.wire.statistics import About, Figures, Place, answer, row_of

A, B = b"a", b"b"


def page(token: int, name: str, next: Place | None = None) -> Frames:
    """An answer with one row."""
    return answer(About(9, 1, "host"), token, 5, 6, [row_of(Figures(name=name))], next)


def test_each_process_is_asked_until_it_has_told_all() -> None:
    inquiry = Inquiry(1, 7)
    assert [read(inquiry.begin(peer)) for peer in (A, B)] == [(STATISTICS, [7, 0, 0])] * 2
    assert inquiry.receive(B, page(7, "only")) == []
    [further] = inquiry.receive(A, page(7, "first", (1, 2)))
    assert (further.peer, read(further)) == (A, (STATISTICS, [7, 1, 2]))
    assert not inquiry.is_over(A)
    assert inquiry.receive(A, page(7, "second")) == []
    assert inquiry.is_over(A)
    names = {peer: [row.name for row in told.rows] for peer, told in inquiry.told.items()}
    assert names == {A: ["first", "second"], B: ["only"]}


def test_answers_to_earlier_rounds_and_of_strangers_are_passed_over() -> None:
    inquiry = Inquiry(1, 7)
    inquiry.begin(A)
    assert inquiry.receive(A, page(6, "late")) == [] == inquiry.receive(B, page(7, "stranger"))
    assert inquiry.receive(A, wire.pack(PONG, 9, 0, 0, encode([1, 1]))) == []
    assert not inquiry.told and not inquiry.malformed


def test_what_is_malformed_is_counted() -> None:
    inquiry = Inquiry(1, 7)
    inquiry.begin(A)
    for frames in ((b"",), wire.pack(wire.FIGURES, 9, 0, 0, encode([]))):
        assert inquiry.receive(A, frames) == []
    assert inquiry.malformed == {"size": 1, "statistics": 1}


def test_whoever_never_ends_is_asked_no_more() -> None:
    inquiry = Inquiry(1, 7)
    inquiry.begin(A)
    for _ in range(PAGES_MAX - 1):
        assert inquiry.receive(A, page(7, "x", (1, 1)))
    assert inquiry.receive(A, page(7, "x", (1, 1))) == []
    assert inquiry.is_over(A)
