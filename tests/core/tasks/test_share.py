"""How many leases a worker takes, and what it tells its pushers."""

from __future__ import annotations

import pytest

from tests.core.calls.serving import SERVICE, answer, codes, handled, receive
from tests.core.calls.serving import request as requests
from tests.packets import read
from zmqkit.core.calls.outcome import BUSY
from zmqkit.core.calls.request import Request, RequestWindow, RequestWindows
from zmqkit.core.calls.service import ServiceCore
from zmqkit.core.tasks.share import Share
from zmqkit.limits import CREDIT, PREFETCH_S, PREFETCH_TASK_S, ServiceLimits
from zmqkit.wire import packet as wire

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


# What waits behind a task that takes longer than those before it


@pytest.fixture
def ahead() -> ServiceCore:
    """A worker of one place that takes tasks ahead, as its first one was short."""
    core = ServiceCore(SERVICE, {"add": False}, 1, shares=Share)
    answer(core, handled(receive(core, requests(1), 1.0)), now=1.0001)
    return core


def test_what_was_taken_ahead_goes_back_once_a_task_takes_long(ahead: ServiceCore) -> None:
    assert len(handled(receive(ahead, requests(2, 3, 4), 2.0))) == 1
    due_at = ahead.deadline()
    assert due_at == 2.0 + PREFETCH_TASK_S and not ahead.tick(due_at - 0.001)
    effects = ahead.tick(due_at)
    # The pusher hears of its credit first, and then that the worker has no room now.
    assert [read(each)[0] for each in effects] == [wire.CREDIT, wire.ERROR]
    assert read(effects[0])[1] == 1 and codes(effects) == [(3, BUSY), (4, BUSY)]
    ahead.check()
    assert ahead.in_flight == 1 and ahead.deadline() > due_at


def test_its_pusher_is_told_when_the_long_task_has_ended(ahead: ServiceCore) -> None:
    [long] = handled(receive(ahead, requests(2, 3), 2.0))
    ahead.tick(ahead.deadline())
    kinds = [read(each)[0] for each in answer(ahead, [long], now=3.0)]
    assert kinds == [wire.CREDIT, wire.REPLY]


def test_what_waits_behind_short_tasks_stays(ahead: ServiceCore) -> None:
    [first] = handled(receive(ahead, requests(2, 3, 4), 2.0))
    now = 2.0 + PREFETCH_TASK_S / 2
    effects = answer(ahead, [first], now=now)
    assert not codes(effects) and not ahead.tick(2.0 + PREFETCH_TASK_S)
    assert ahead.deadline() == now + PREFETCH_TASK_S and ahead.in_flight == 2


def test_a_worker_with_a_long_task_takes_none_ahead_though_none_waits(
    ahead: ServiceCore,
) -> None:
    receive(ahead, requests(2), 2.0)
    [credit] = ahead.tick(ahead.deadline())
    assert read(credit) == (wire.CREDIT, 1)
    assert codes(receive(ahead, requests(3), 2.1)) == [(3, BUSY)]


def test_nothing_is_given_back_while_there_is_a_free_place() -> None:
    core = ServiceCore(SERVICE, {"add": False}, 2, shares=Share)
    answer(core, handled(receive(core, requests(1), 1.0)), now=1.0001)
    receive(core, requests(2), 2.0)
    assert not core.tick(2.0 + 2 * PREFETCH_TASK_S) and core.in_flight == 1
