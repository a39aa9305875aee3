"""When what nobody waits for gathers."""

from __future__ import annotations

from math import inf

import pytest

from zmqkit.core.pace import Pace
from zmqkit.limits import FOLLOW_S, FOLLOW_STREAK, HOLD_S

CLOSELY_S = FOLLOW_S / 2


@pytest.fixture
def pace() -> Pace:
    return Pace()


def gathering() -> Pace:
    """After just as many as it takes, the last at 0.0."""
    pace = Pace()
    assert not any(pace.gathers(-CLOSELY_S * left) for left in range(FOLLOW_STREAK, 0, -1))
    assert pace.due_at == inf and pace.gathers(0.0)
    return pace


def test_few_that_follow_closely_leave_at_once(pace: Pace) -> None:
    for burst in range(20):
        assert not any(pace.gathers(burst + n * CLOSELY_S) for n in range(FOLLOW_STREAK))
    assert pace.due_at == inf


def test_many_that_do_not_follow_closely_leave_at_once(pace: Pace) -> None:
    assert not any(pace.gathers(n * 2 * FOLLOW_S) for n in range(10 * FOLLOW_STREAK))


def test_what_gathers_is_due_in_time_however_many_come() -> None:
    pace = gathering()
    assert pace.due_at == HOLD_S
    assert pace.gathers(HOLD_S - CLOSELY_S) and pace.gathers(2 * HOLD_S)
    assert pace.due_at == HOLD_S


def test_what_is_full_is_due_at_once() -> None:
    pace = gathering()
    pace.fill()
    assert pace.due_at == -inf
    pace.left(1, 0.0)
    assert pace.due_at == inf and pace.gathers(CLOSELY_S)


def test_enough_in_a_packet_are_followed_by_the_next() -> None:
    pace = gathering()
    pace.left(round(HOLD_S / FOLLOW_S), HOLD_S)
    assert pace.due_at == inf
    assert pace.gathers(1.5 * HOLD_S)  # it took the sender a moment
    assert pace.due_at == 2.5 * HOLD_S


def test_whoever_comes_late_after_a_packet_leaves_alone() -> None:
    pace = gathering()
    pace.left(round(HOLD_S / FOLLOW_S), HOLD_S)
    assert not pace.gathers(2 * HOLD_S + 2 * FOLLOW_S)


@pytest.mark.parametrize("count", [0, round(HOLD_S / FOLLOW_S) - 1])
def test_after_few_in_a_packet_the_next_leaves_alone(count: int) -> None:
    pace = gathering()
    pace.left(count, HOLD_S)
    assert not pace.gathers(HOLD_S)


def test_the_time_that_sending_takes_is_not_counted(pace: Pace) -> None:
    for number in range(FOLLOW_STREAK + 1):
        assert pace.gathers(float(number)) == (number == FOLLOW_STREAK)
        pace.sent(number + 1 - CLOSELY_S)


def test_what_leaves_otherwise_changes_nothing(pace: Pace) -> None:
    pace.gathers(0.0)
    pace.left(5, 0.0)
    assert not any(pace.gathers(n * CLOSELY_S) for n in range(1, FOLLOW_STREAK))
    assert pace.gathers(FOLLOW_STREAK * CLOSELY_S)
