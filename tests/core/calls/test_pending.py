"""A client's unsettled calls and their counts."""

from __future__ import annotations

from math import inf

import pytest

from zmqkit.core.calls.call import Call, CallOptions
from zmqkit.core.calls.instance import Instance
from zmqkit.core.calls.pending import Pending
from zmqkit.errors import CallCancelled


@pytest.fixture
def pending() -> Pending:
    return Pending()


def add(pending: Pending, waiter: object = None) -> Call:
    """A call that was accepted."""
    return pending.add("add", b"", None, CallOptions(wait_s=1.0), waiter, 0.0)


def test_everything_below_the_oldest_open_call_is_settled(pending: Pending) -> None:
    first, second = add(pending), add(pending)
    pending.end(second, "delivered", None)
    assert pending.settled_below() == 1
    pending.end(first, "delivered", None)
    assert pending.settled_below() == 3


def test_an_end_gives_what_the_waiter_is_told(pending: Pending) -> None:
    call = add(pending, "me")
    assert pending.end(call, "delivered", None, 42) == ("me", 42, None)
    pending.check()


def test_a_call_is_due_at_its_deadline_and_its_patience_does_not_matter(
    pending: Pending,
) -> None:
    call = add(pending)
    assert pending.look_at == 5.0
    assert pending.due(4.9, alone=False) == []
    assert pending.due(5.0, alone=False) == [call]


def test_what_may_have_run_is_not_given_up_before_its_deadline(pending: Pending) -> None:
    add(pending).copies = 1
    pending.look(1.0)
    assert pending.due(2.0, alone=True) == []
    assert pending.look_at == 5.0


def test_a_call_that_was_settled_wakes_nobody_twice(pending: Pending) -> None:
    pending.end(add(pending), "delivered", None)
    assert pending.due(5.0, alone=False) == []
    assert pending.look_at == inf


def test_deadlines_close_together_are_one_look(pending: Pending) -> None:
    first, second = add(pending), add(pending)
    second.deadline_at += 0.001
    pending.look(5.0)
    assert pending.due(5.0, alone=False) == [first]
    assert 5.001 < pending.look_at <= 5.0 + 1 / 64


def test_what_is_given_up_is_counted_by_its_reason(pending: Pending) -> None:
    error = CallCancelled("so")
    assert pending.drop(add(pending, "me"), "cancelled", error) == ("me", None, error)
    assert pending.stats()["dropped"] == {"cancelled": 1}
    pending.check()


def test_answers_settle_the_calls_of_their_instance(pending: Pending) -> None:
    call, instance = add(pending, "me"), Instance(7, b"p", "")
    call.instance, instance.calls[1] = instance, call
    assert pending.deliver([(1, 42), (1, 42), (9, 0)], instance) == ([("me", 42, None)], [])
    assert pending.stats()["duplicates"] == 2
    assert not instance.calls
    pending.check()


def test_an_answer_from_elsewhere_counts_if_the_call_was_there(pending: Pending) -> None:
    call = add(pending)
    assert pending.deliver([(1, 42)], Instance(7, b"p", "")) == ([], [])
    call.exposed = True
    assert pending.deliver([(1, 42)], Instance(7, b"p", "")) == ([], [(call, 42)])
