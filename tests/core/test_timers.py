"""The shared wheel of deadlines."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from zmqkit.core.timers import Wheel


def test_nothing_is_due_before_its_time() -> None:
    wheel = Wheel()
    wheel.add(1, 10.0)
    assert wheel.due(10.0) == []


def test_what_is_due_is_given_once_and_at_most_a_slot_late() -> None:
    wheel = Wheel()
    wheel.add(1, 10.0)
    assert wheel.due(10.0 + 1 / 64) == [1]
    assert wheel.due(20.0) == []


def test_an_idle_wheel_never_wakes_anybody() -> None:
    wheel = Wheel()
    wheel.add(1, 10.0)
    wheel.due(11.0)
    assert wheel.deadline() == math.inf


def test_the_earliest_deadline_is_known() -> None:
    wheel = Wheel()
    wheel.add(1, 10.0)
    wheel.add(2, 5.0)
    assert 5.0 <= wheel.deadline() <= 5.0 + 1 / 64


@given(st.lists(st.floats(0.0, 100.0)), st.floats(0.0, 100.0))
def test_each_key_is_due_exactly_when_its_slot_is_over(ats: list[float], now: float) -> None:
    wheel = Wheel()
    for key, at in enumerate(ats):
        wheel.add(key, at)
    due = wheel.due(now)
    assert all(ats[key] <= now for key in due)
    assert all(ats[key] > now - 1 / 64 for key in set(range(len(ats))) - set(due))
    assert wheel.deadline() > now
