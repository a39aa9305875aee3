"""Who listens to a publisher, and how far each of them is."""

from __future__ import annotations

from math import inf
from random import Random

import pytest

from zmqkit.core.topics.audience import Audience
from zmqkit.limits import MARKS_PER_WINDOW, STALL_S, PublisherLimits

LIMITS = PublisherLimits()
WINDOW, MESSAGE_LOAD, PACKET_LOAD = (
    LIMITS.window_bytes,
    LIMITS.message_load,
    LIMITS.packet_load,
)

FULL = -(-WINDOW // (1 + MESSAGE_LOAD + PACKET_LOAD))
"""Messages of a byte, in a packet each, that fill a window."""

STRIDE = FULL // MARKS_PER_WINDOW


@pytest.fixture
def audience() -> Audience:
    """A publisher that waits, with two subscribers that have joined."""
    audience = Audience(waits=True)
    for subscriber in (1, 2):
        assert audience.enter(subscriber) and audience.join(subscriber, 0.0)
    return audience


def send(audience: Audience, count: int, now: float = 0.0) -> list[int]:
    """Send so many messages of a byte each; the marks that were due."""
    marks = []
    for _ in range(count):
        if audience.sent(1, 1, now):
            marks.append(audience.mark)
        audience.check()
    return marks


def test_who_does_not_wait_is_never_blocked() -> None:
    audience = Audience(waits=False)
    audience.enter(1)
    audience.join(1, 0.0)
    assert send(audience, 3 * FULL) == [] and not audience.blocked


def test_who_waits_for_nobody_is_not_blocked() -> None:
    audience = Audience(waits=True)
    audience.enter(1)
    assert send(audience, 3 * FULL) == [] and not audience.blocked


def test_a_window_of_messages_has_four_marks_and_an_end(audience: Audience) -> None:
    marks = send(audience, FULL + 5)
    assert marks == [1, 2, 3, 4] and audience.blocked
    assert audience.stalled_at == 0.0


def test_a_window_of_bytes_has_an_end_too(audience: Audience) -> None:
    assert audience.sent(1, WINDOW, 3.0)
    assert audience.blocked and audience.stalled_at == 3.0
    audience.check()


def test_the_slowest_opens_the_window(audience: Audience) -> None:
    send(audience, FULL + 1)
    audience.credit(1, 4, 1.0)
    assert audience.blocked
    audience.credit(2, 2, 1.0)
    assert not audience.blocked and audience.stalled_at == inf
    audience.check()


def test_credit_does_not_go_back(audience: Audience) -> None:
    send(audience, FULL)
    for subscriber in (1, 2):
        audience.credit(subscriber, 4, 1.0)
    assert audience.credit(1, 1, 1.0) is False
    assert not audience.blocked


@pytest.mark.parametrize(("subscriber", "mark"), [(1, 5), (1, -1), (9, 0), (9, 1)])
def test_credit_of_a_stranger_or_for_no_mark_is_refused(
    audience: Audience, subscriber: int, mark: int
) -> None:
    send(audience, FULL)
    assert audience.credit(subscriber, mark, 1.0) is None
    audience.check()


def test_credit_that_comes_before_hello_is_no_offence(audience: Audience) -> None:
    send(audience, FULL)
    audience.leave(1, 1.0)
    audience.enter(1)
    assert audience.credit(1, 4, 1.0) is False
    assert audience.credit(1, 5, 1.0) is None
    audience.check()


def test_who_leaves_holds_nobody_up(audience: Audience) -> None:
    send(audience, FULL + 1)
    audience.credit(1, 4, 1.0)
    assert audience.leave(2, 1.0) and not audience.leave(2, 1.0)
    assert not audience.blocked and audience.joined_count == 1
    audience.check()


def test_who_is_stuck_is_excluded_and_taken_in_again(audience: Audience) -> None:
    send(audience, FULL + 1)
    audience.credit(1, 4, 1.0)
    assert audience.exclude(5.0) == [2] and not audience.blocked
    audience.check()
    send(audience, STRIDE)
    assert audience.credit(2, 1, 6.0) is False
    assert audience.listeners[2].excluded
    assert audience.credit(2, 4, 6.0) is True
    assert not audience.listeners[2].excluded
    audience.check()


def test_who_reads_slowly_is_waited_for_and_who_does_not_read_is_not(
    audience: Audience,
) -> None:
    send(audience, FULL + 1, 1.0)
    assert audience.exclude_at == 1.0 + STALL_S
    for second in range(2, 30):
        assert audience.credit(1, 0, float(second)) is False
        assert audience.blocked
    assert audience.exclude(30.0) == [2]
    assert audience.blocked and audience.exclude_at == 29.0 + STALL_S
    assert audience.exclude(28.0 + STALL_S) == []
    assert audience.exclude(29.0 + STALL_S) == [1]
    audience.check()


def test_who_is_excluded_may_leave(audience: Audience) -> None:
    send(audience, FULL + 1)
    assert audience.exclude(5.0) == [1, 2]
    audience.leave(1, 5.0)
    send(audience, 3 * FULL)
    assert not audience.blocked
    audience.check()


def test_an_excluded_one_that_joins_again_after_a_break_starts_here(audience: Audience) -> None:
    send(audience, FULL + 1)
    audience.exclude(5.0)
    audience.leave(2, 6.0)
    audience.enter(2)
    audience.join(2, 6.0)
    send(audience, FULL - 1)
    assert not audience.blocked
    send(audience, 1)
    assert audience.blocked


def test_who_says_hello_again_has_read_no_more_than_before(audience: Audience) -> None:
    send(audience, FULL)
    assert audience.blocked
    assert audience.join(1, 1.0) and audience.join(2, 1.0)
    assert audience.blocked and audience.joined_count == 2


def test_an_excluded_one_that_says_hello_again_blocks_nobody(audience: Audience) -> None:
    send(audience, FULL)
    audience.exclude(5.0)
    audience.join(1, 6.0)
    assert not audience.blocked
    audience.check()


def test_only_who_is_present_joins(audience: Audience) -> None:
    assert audience.join(9, 0.0) is False
    assert audience.joined_count == 2


def test_there_are_not_too_many() -> None:
    audience = Audience(PublisherLimits(subscribers_max=2), waits=True)
    assert audience.enter(1) and audience.enter(2)
    assert audience.enter(3) is False and audience.enter(1) is True
    audience.leave(1, 0.0)
    assert audience.enter(3) is True


def test_marks_are_not_remembered_without_end(audience: Audience) -> None:
    for subscriber in (1, 2):
        audience.listeners[subscriber].excluded = True
    audience.exclude(0.0)
    send(audience, 5 * FULL)
    assert len(audience._marks) <= 2 * MARKS_PER_WINDOW
    assert audience.credit(1, 1, 0.0) is False
    assert audience.credit(1, audience.mark, 0.0) is True


def test_a_stall_begins_when_the_window_ends_and_ends_with_credit(audience: Audience) -> None:
    send(audience, FULL, now=2.0)
    send(audience, 1, now=7.0)
    assert audience.stalled_at == 2.0
    for subscriber in (1, 2):
        audience.credit(subscriber, 1, 8.0)
    assert audience.stalled_at == inf
    assert MESSAGE_LOAD * LIMITS.window_messages <= WINDOW
    assert PACKET_LOAD * LIMITS.window_packets <= WINDOW


def test_a_forwarder_stands_for_all_its_subscribers() -> None:
    audience = Audience(waits=True)
    for each in (1, 2):
        audience.enter(each)
    audience.join(1, 0.0)
    audience.join(2, 0.0, stands_for=0)
    assert (audience.joined_count, audience.subscriber_count) == (2, 1)
    audience.join(2, 1.0, stands_for=40)
    audience.check()
    assert (audience.joined_count, audience.subscriber_count) == (2, 41)
    audience.leave(2, 2.0)
    audience.check()
    assert (audience.joined_count, audience.subscriber_count) == (1, 1)


def test_a_mark_may_be_asked_for_at_any_time(audience: Audience) -> None:
    assert send(audience, 3) == []
    assert audience.asks() and (audience.mark, audience.marked) == (1, audience.load)
    assert send(audience, STRIDE) == [2]
    assert audience.credit(1, 1, 0.0) is False and audience.consumed == 0
    audience.credit(2, 1, 0.0)
    audience.check()
    assert audience.consumed == 3 * (1 + MESSAGE_LOAD + PACKET_LOAD)


def test_nobody_is_asked_before_somebody_joins() -> None:
    audience = Audience(waits=True)
    audience.enter(1)
    assert not audience.asks() and audience.mark == 0


@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize("seed", range(10))
def test_it_knows_the_slowest_whoever_comes_and_goes(seed: int, waits: bool) -> None:
    random, now = Random(seed), 0.0
    audience = Audience(PublisherLimits(window_messages=20, window_packets=20), waits=waits)
    for _ in range(500):
        who, now = random.randrange(1, 8), now + random.choice((0.0, 0.1, STALL_S / 2))
        match random.randrange(6):
            case 0:
                audience.enter(who)
                audience.join(who, now, far=random.random() < 0.3)
            case 1:
                audience.leave(who, now)
            case 2 | 3:
                audience.sent(1, random.randrange(1000), now)
            case 4:
                audience.credit(who, random.randint(0, audience.mark), now)
            case _ if now >= audience.exclude_at:
                audience.exclude(now)
        audience.check()
