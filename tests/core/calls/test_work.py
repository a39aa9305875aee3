"""What a service's core does with the requests that it holds."""

from __future__ import annotations

import pytest

from tests import packets
from tests.core.calls.serving import (
    CLIENT,
    SERVICE,
    answer,
    codes,
    handled,
    receive,
    request,
)
from tests.packets import read, sent
from zmqkit.core.calls.service import ServiceCore
from zmqkit.core.effects import Abort
from zmqkit.wire.packet import BYE, REPLY


@pytest.fixture
def service() -> ServiceCore:
    return ServiceCore(SERVICE, {"add": False, "price": True}, 1)


def test_no_more_run_than_may_and_the_urgent_first(service: ServiceCore) -> None:
    first = handled(receive(service, request(5)))
    assert handled(receive(service, request(6, priority=0))) == []
    assert handled(receive(service, request(7, priority=9))) == []
    assert [r.sequence for r in handled(answer(service, first))] == [7]


def test_what_expired_in_line_does_not_run_and_is_told(service: ServiceCore) -> None:
    first = handled(receive(service, request(5)))
    receive(service, request(6, left_ms=1000))
    effects = answer(service, first, now=1.0)
    assert handled(effects) == [] and codes(effects) == [(6, "expired")]
    assert service.stats()["expired"] == 1


def test_what_is_cancelled_in_line_does_not_run(service: ServiceCore) -> None:
    first = handled(receive(service, request(5)))
    receive(service, request(6))
    assert receive(service, packets.cancel(CLIENT, SERVICE, 6)) == []
    assert handled(answer(service, first)) == []
    assert service.stats()["dropped"] == {"cancelled": 1}


def test_what_is_cancelled_while_it_runs_is_told(service: ServiceCore) -> None:
    [ran] = handled(receive(service, request(5)))
    assert receive(service, packets.cancel(CLIENT, SERVICE, 5, 5, 99)) == [Abort([ran])]
    assert answer(service, [ran]) == []


def test_a_late_copy_of_what_was_cancelled_does_not_run(service: ServiceCore) -> None:
    [ran] = handled(receive(service, request(5)))
    receive(service, packets.cancel(CLIENT, SERVICE, 5))
    answer(service, [ran])
    assert codes(receive(service, request(5))) == [(5, "forgotten")]


def test_what_never_ran_may_run_elsewhere_after_close(service: ServiceCore) -> None:
    [ran] = handled(receive(service, request(5)))
    receive(service, request(6))
    farewell, abort = service.close()
    assert read(farewell) == (BYE, [0, [5]]) and abort == Abort([ran])
    assert service.stats()["dropped"] == {"closed": 2} and service.in_flight == 0
    service.check()


def test_what_expired_is_never_run(service: ServiceCore) -> None:
    first = handled(receive(service, request(5)))
    receive(service, request(6, left_ms=1))
    answer(service, first, now=1.0)
    assert codes(receive(service, request(6, left_ms=1000), 1.0)) == [(6, "expired")]


def test_a_ping_gives_up_what_runs_for_nobody(service: ServiceCore) -> None:
    [ran] = handled(receive(service, request(5)))
    _, abort = receive(service, packets.ping(CLIENT, SERVICE, 1, 6))
    assert abort == Abort([ran], is_asked=False) and ran.cancelled


def test_one_that_leaves_finishes_what_it_has_and_takes_no_more(service: ServiceCore) -> None:
    requests = handled(receive(service, request(5)))
    service.leave()
    assert codes(receive(service, request(6))) == [(6, "leaving")]
    assert sent(answer(service, requests)) == [(REPLY, [5])]
