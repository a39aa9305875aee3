"""What a service tells of its methods."""

from __future__ import annotations

import pytest

from tests import packets
from tests.core.calls.serving import CLIENT, SERVICE, answer, handled, receive, request
from zmqkit.core.calls.service import ServiceCore
from zmqkit.core.dispatch.window import Answer
from zmqkit.wire.packet import ERROR
from zmqkit.wire.statistics import Figures


@pytest.fixture
def service() -> ServiceCore:
    return ServiceCore(SERVICE, {"add": False, "price": True}, 1)


def rows(service: ServiceCore, now: float = 0.0) -> dict[str, Figures]:
    """The rows by the name of the method; that of the service has none."""
    return {each.of: each for each in service.statistics(now)}


def test_a_method_takes_from_arrival_to_answer(service: ServiceCore) -> None:
    first = handled(receive(service, request(1, 2), now=1.0))
    answer(service, first, now=1.5)
    [second] = service.running()
    answer(service, [second], now=3.0)
    took = rows(service)["add"].took
    assert took is not None and took.count == 2
    assert took.sum_s == pytest.approx(0.5 + 2.0)


def test_what_came_together_and_ends_together_is_counted_each(service: ServiceCore) -> None:
    service.concurrency = 10
    requests = handled(receive(service, request(1, 2, 3), now=1.0))
    requests += handled(receive(service, request(4), now=1.25))
    answer(service, requests, now=1.5)
    took = rows(service)["add"].took
    assert took is not None and took.count == 4
    assert took.sum_s == pytest.approx(3 * 0.5 + 0.25)


def test_what_fails_is_counted_by_method_and_takes_no_time(service: ServiceCore) -> None:
    [failed] = handled(receive(service, request(1), now=1.0))
    service.handled([(failed, Answer(ERROR, b"\x90"))], 2.0)
    add = rows(service)["add"]
    assert (add.failed, add.delivered) == (1, 0)
    assert add.took is not None and add.took.count == 0


def test_what_runs_and_waits_is_told_by_method_with_the_age_of_the_oldest(
    service: ServiceCore,
) -> None:
    receive(service, request(1, 2), now=1.0)
    told = rows(service, now=3.5)
    assert (told[""].running, told[""].waiting, told[""].oldest_ms) == (1, 1, 2500)
    assert (told["add"].running, told["add"].waiting) == (1, 1)


def test_clients_are_peers(service: ServiceCore) -> None:
    receive(service, packets.hello(CLIENT))
    whole = rows(service)[""]
    assert (whole.peers, whole.talks_to) == ({"up": 1}, [CLIENT])


def test_counters_are_those_of_stats(service: ServiceCore) -> None:
    answer(service, handled(receive(service, request(1))))
    whole, stats = rows(service)[""], service.stats()
    assert (
        (whole.accepted, whole.delivered) == (stats["accepted"], stats["delivered"]) == (1, 1)
    )


def test_without_a_meter_nothing_is_timed(service: ServiceCore) -> None:
    service._work.meter = None
    answer(service, handled(receive(service, request(1))))
    assert [*rows(service)] == [""]


@pytest.mark.parametrize("process", [7, None, "7", -1])
def test_a_client_whose_process_is_gone_is_no_peer(
    service: ServiceCore, process: object
) -> None:
    gone: set[int] = set()
    service.at_home(1, gone.__contains__)
    receive(service, packets.hello(CLIENT, SERVICE, process=process))
    assert rows(service)[""].peers == {"up": 1}
    gone.add(7)
    is_known = process == 7
    assert rows(service)[""].peers == {"up": 1 - is_known}
    assert len(rows(service)[""].talks_to) == service.stats()["clients"] == 1 - is_known
