"""What a service remembers of one client."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zmqkit.core.dispatch.window import Answer, Budget, Window
from zmqkit.wire.packet import REPLY


def fresh() -> Window:
    """A client that was just heard of."""
    return Window(1, b"p", 0.0, Budget())


@pytest.fixture
def window() -> Window:
    return fresh()


def settle_below(window: Window, sequence: int) -> None:
    """The client says that all below is settled."""
    window.below = max(window.below, sequence)
    window.free()


def answer(size: int = 0) -> Answer:
    """An answer with a row of so many bytes."""
    return Answer(REPLY, bytes(size))


def test_what_is_settled_is_forgotten(window: Window) -> None:
    for number in (1, 2, 3):
        window.retain(number, answer())
    settle_below(window, 3)
    assert list(window.answers) == [3]
    assert [window.is_settled(n) for n in (1, 2, 3)] == [True, True, False]


def test_a_great_leap_settles_as_well(window: Window) -> None:
    window.retain(5, answer())
    settle_below(window, 1 << 60)
    assert not window.answers and window.bytes == window.budget.bytes == 0


def test_only_the_open_ones_stay(window: Window) -> None:
    for number in (1, 2, 3):
        window.retain(number, answer())
    window.settle_except(3, frozenset({2}))
    assert list(window.answers) == [2, 3]


def test_a_ping_that_comes_late_opens_nothing_again(window: Window) -> None:
    window.settle_except(10, frozenset())
    window.settle_except(10, frozenset({5}))
    window.settle_except(12, frozenset({5, 11}))
    assert window.is_settled(5) and not window.is_settled(11)


def test_an_older_list_is_passed_over(window: Window) -> None:
    window.settle_except(10, frozenset({5}))
    window.settle_except(9, frozenset())
    assert not window.is_settled(5)


def test_bytes_are_charged_while_an_answer_is_kept(window: Window) -> None:
    window.retain(1, Answer(REPLY, bytes(10), bytes(100)))
    assert window.bytes == window.budget.bytes == answer().size + 110
    settle_below(window, 2)
    assert window.bytes == window.budget.bytes == 0


def test_the_oldest_answers_are_given_up_first(window: Window) -> None:
    for number in (7, 3, 9):
        window.retain(number, answer(1000))
    assert window.evict(1500) == 2
    assert list(window.answers) == [9] and window.forgotten_below == 8


def test_ids_from_there_on_were_never_seen(window: Window) -> None:
    settle_below(window, 3)
    window.settle_except(5, frozenset())
    assert window.seen_below == 5
    window.retain(8, answer())
    window.evict(1)
    assert window.seen_below == 9


@pytest.mark.slow
@given(
    st.lists(
        st.one_of(
            st.integers(0, 20),
            st.tuples(st.integers(0, 20), st.frozensets(st.integers(0, 20))),
        )
    )
)
def test_what_is_settled_stays_settled(steps: list[int | tuple[int, frozenset[int]]]) -> None:
    window, settled = fresh(), set[int]()
    for step in steps:
        if isinstance(step, int):
            settle_below(window, step)
        else:
            window.settle_except(*step)
        assert all(map(window.is_settled, settled))
        settled |= {n for n in range(21) if window.is_settled(n)}
