"""What was sent to a client that may not have read it."""

from __future__ import annotations

import pytest

from zmqkit.core.dispatch.unread import Budget, Unread


@pytest.fixture
def unread() -> Unread:
    """Two answers were sent."""
    unread = Unread(Budget())
    unread.add(5, 100)
    unread.add(6, 10)
    return unread


def test_what_is_settled_counts_no_more(unread: Unread) -> None:
    unread.settle(5)
    assert unread.bytes == unread.budget.unread == 10
    unread.check()


def test_a_pong_that_was_read_says_the_same_of_all_before_it(unread: Unread) -> None:
    unread.pong(1)
    unread.add(7, 1)
    unread.pong(2)
    unread.read(1)
    assert list(unread.sent) == [7]
    unread.read(2)
    assert not unread.sent and unread.budget.unread == 0
    unread.check()


def test_a_later_pong_will_do_as_well(unread: Unread) -> None:
    unread.pong(1)
    unread.pong(2)
    unread.read(2)
    assert not unread.sent


def test_a_pong_that_was_never_sent_says_nothing(unread: Unread) -> None:
    unread.read(9)
    assert unread.bytes == 110


def test_what_is_sent_again_counts_twice_and_as_the_newest(unread: Unread) -> None:
    unread.pong(1)
    unread.add(5, 100)
    unread.check()
    unread.read(1)
    assert unread.sent.keys() == {5} and unread.bytes == 200


def test_pongs_that_nobody_names_are_not_remembered_without_end(unread: Unread) -> None:
    for token in range(1, 1000):
        unread.pong(token)
    unread.read(999)
    assert not unread.sent


def test_nothing_counts_once_the_connection_is_gone(unread: Unread) -> None:
    unread.pong(1)
    unread.clear()
    assert unread.bytes == unread.budget.unread == 0
    unread.add(7, 1)
    unread.read(1)
    assert list(unread.sent) == [7], "that was the pong of an earlier connection"
