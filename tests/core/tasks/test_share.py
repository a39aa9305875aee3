"""How many leases a worker takes, and what it tells its pushers."""

from __future__ import annotations

import pytest

from zmqkit.core.calls.request import Request, RequestWindow, RequestWindows
from zmqkit.core.tasks.share import Share
from zmqkit.limits import CREDIT, PREFETCH_S, PREFETCH_TASK_S, ServiceLimits

ONE, TWO, THREE = 1, 2, 3


@pytest.fixture
def windows() -> RequestWindows:
    windows = RequestWindows(ServiceLimits())
    for client in (ONE, TWO, THREE):
        windows.hear(client, b"p%d" % client, 0.0)
    return windows


def held(windows: RequestWindows, client: int, count: int = 1) -> None:
    window: RequestWindow = windows.by_client[client]
    for number in range(count):
        window.held[number] = request(client)


def request(client: int = ONE, begun_at: float = 0.0) -> Request:
    made = Request(1, client, 1, "task", [], {}, None, 4, 0.0, False)
    made.begun_at = begun_at
    return made


def test_a_worker_takes_what_it_can_run(windows: RequestWindows) -> None:
    share = Share(4, windows)
    assert share.places == 4 and share.of(ONE) == 4


def test_pushers_with_tasks_here_share_the_places(windows: RequestWindows) -> None:
    share = Share(4, windows)
    held(windows, ONE)
    assert share.of(ONE) == 4 and share.of(TWO) == 2
    share.refused(TWO)
    assert share.of(ONE) == 2
    assert share.of(THREE) == 1
    assert Share(1, windows).of(THREE) == 1


def test_a_refused_pusher_is_told_when_there_is_room_again(windows: RequestWindows) -> None:
    share = Share(1, windows)
    held(windows, ONE)
    share.refused(TWO)
    share.handled([request()], 1, 1.0)
    assert share.told() == []
    windows.by_client[ONE].held.clear()
    share.handled([request(begun_at=1.0)], 0, 2.0)
    assert share.told() == [(TWO, 1)] and share.told() == []


def test_a_pusher_that_is_forgotten_is_told_nothing(windows: RequestWindows) -> None:
    share = Share(1, windows)
    share.refused(99)
    share.handled([request()], 0, 1.0)
    assert share.told() == []


def test_short_tasks_are_taken_ahead_and_all_pushers_learn_of_it(
    windows: RequestWindows,
) -> None:
    share = Share(1, windows)
    share.handled([request(begun_at=1.0)], 0, 1.0001)
    assert share.places == pytest.approx(1 + PREFETCH_S / 0.0001, abs=2)
    assert {client for client, _ in share.told()} == {ONE, TWO, THREE}


def test_no_more_than_the_credit_is_taken_ahead(windows: RequestWindows) -> None:
    share = Share(1, windows)
    share.handled([request(begun_at=1.0)], 0, 1.0)
    assert share.places == 1 + CREDIT


def test_long_tasks_are_not(windows: RequestWindows) -> None:
    share = Share(3, windows)
    share.handled([request()], 0, 2 * PREFETCH_TASK_S)
    assert share.places == 3 and not share.news


def test_tasks_that_become_long_are_taken_ahead_no_more(windows: RequestWindows) -> None:
    share = Share(1, windows)
    share.handled([request(begun_at=1.0)], 0, 1.0001)
    share.told()
    now = 2.0
    for _ in range(3):
        share.handled([request(begun_at=now)], 0, now + 1.0)
        now += 1.0
    assert share.places == 1
    assert {credit for _, credit in share.told()} == {1}


def test_many_that_ran_one_after_the_other_are_as_short_as_each(
    windows: RequestWindows,
) -> None:
    share = Share(1, windows)
    share.handled([request(begun_at=1.0) for _ in range(100)], 0, 1.01)
    assert share.places == pytest.approx(1 + PREFETCH_S / 0.0001, abs=2)


def test_a_little_more_or_less_is_not_worth_a_word(windows: RequestWindows) -> None:
    share = Share(1, windows)
    share.handled([request(begun_at=1.0)], 0, 1.0001)
    share.told()
    places = share.places
    share.handled([request(begun_at=2.0)], 0, 2.00012)
    share.handled([request(begun_at=3.0)], 0, 3.00008)
    assert share.places == places and not share.news
