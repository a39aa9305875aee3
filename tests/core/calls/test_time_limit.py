"""What a service's core does with handlers that take longer than they may."""

from __future__ import annotations

from math import inf

import pytest

from tests import packets
from tests.core.calls.serving import CLIENT, SERVICE, answer, codes, handled, receive, request
from zmqkit.core.calls.service import ServiceCore
from zmqkit.core.effects import Abort, Note
from zmqkit.core.tasks.share import Share

LIMIT_S = 5.0


@pytest.fixture
def service() -> ServiceCore:
    core = ServiceCore(SERVICE, {"add": False}, 1)
    core.limit_time(LIMIT_S)
    return core


def tick(service: ServiceCore, now: float) -> list[object]:
    effects = service.tick(now)
    service.check()
    return [*effects]


def test_a_handler_that_takes_too_long_is_told_and_so_is_its_client(
    service: ServiceCore,
) -> None:
    [ran] = handled(receive(service, request(5), now=1.0))
    assert service.deadline() == 1.0 + LIMIT_S
    assert tick(service, 5.9) == [] and not ran.cancelled
    effects = service.tick(6.0)
    service.check()
    assert codes(effects) == [(5, "raised")] and Abort([ran]) in effects
    assert Note("handler-overdue", {"id": ran.id, "limit_s": LIMIT_S}) in effects
    assert ran.cancelled and ran.overdue
    assert service.stats()["failed"] == 1 and service.stats()["overdue"] == 1
    assert service.in_flight == 0


def test_it_keeps_its_place_until_it_returns(service: ServiceCore) -> None:
    [ran] = handled(receive(service, request(5)))
    receive(service, request(6, left_ms=60_000))
    assert handled(service.tick(LIMIT_S)) == []
    assert handled(receive(service, request(7), now=LIMIT_S)) == []
    effects = answer(service, [ran], now=LIMIT_S + 1)
    assert [each.sequence for each in handled(effects)] == [6]
    assert service.stats()["overdue"] == 0


def test_its_late_answer_changes_nothing(service: ServiceCore) -> None:
    [ran] = handled(receive(service, request(5)))
    service.tick(LIMIT_S)
    assert answer(service, [ran], now=LIMIT_S + 1) == []
    assert service.stats()["delivered"] == 0 and service.stats()["failed"] == 1
    assert codes(receive(service, request(5), now=LIMIT_S + 1)) == [(5, "raised")]


def test_one_that_was_given_up_before_is_counted_once(service: ServiceCore) -> None:
    [ran] = handled(receive(service, request(5)))
    receive(service, packets.cancel(CLIENT, SERVICE, 5))
    assert codes(service.tick(LIMIT_S)) == []
    assert answer(service, [ran], now=LIMIT_S + 1) == []
    assert service.stats()["dropped"] == {"cancelled": 1}


def test_each_has_its_own_time(service: ServiceCore) -> None:
    service.concurrency = 2
    receive(service, request(5), now=0.0)
    receive(service, request(6), now=3.0)
    assert codes(service.tick(LIMIT_S)) == [(5, "raised")]
    assert service.deadline() == 3.0 + LIMIT_S


def test_a_worker_whose_places_hang_refuses_what_comes() -> None:
    worker = ServiceCore(SERVICE, {"task": False}, 1, shares=Share)
    worker.limit_time(LIMIT_S)
    [ran] = handled(receive(worker, request(5, method="task")))
    worker.tick(LIMIT_S)
    assert codes(receive(worker, request(6, method="task"), now=LIMIT_S)) == [(6, "busy")]
    answer(worker, [ran], now=LIMIT_S + 1)
    assert len(handled(receive(worker, request(7, method="task"), now=LIMIT_S + 1))) == 1


def test_without_a_limit_nothing_is_ended(service: ServiceCore) -> None:
    service.limit_time(inf)
    [ran] = handled(receive(service, request(5, left_ms=10**10)))
    service.tick(1e6)
    assert not ran.cancelled and service.in_flight == 1


def test_closing_leaves_what_hangs(service: ServiceCore) -> None:
    handled(receive(service, request(5)))
    service.tick(LIMIT_S)
    effects = service.close()
    assert not [each for each in effects if isinstance(each, Abort)]
    assert service.overdue == 1
