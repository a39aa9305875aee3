"""A request whose id the service has forgotten: it may have run before."""

from __future__ import annotations

import pytest

from tests import packets
from tests.core.calls.serving import CLIENT, OTHER, SERVICE, answer, handled, receive, request
from tests.packets import read
from zmqkit.core.calls.answers import refuse
from zmqkit.core.calls.outcome import EXPIRED, RECALLED
from zmqkit.core.calls.service import ServiceCore
from zmqkit.core.effects import Send
from zmqkit.limits import FORGET_CLIENT_S, ServiceLimits
from zmqkit.wire.packet import ERROR


def limited(**limits: int) -> ServiceCore:
    """A service with these limits, one of whose methods may run twice."""
    methods = {"add": False, "price": True}
    return ServiceCore(SERVICE, methods, 1, limits=ServiceLimits(**limits))


@pytest.mark.parametrize("leaves", [True, False])
def test_a_refusal_of_what_was_forgotten_says_that_it_may_have_run(leaves: bool) -> None:
    service = limited(requests_max=1)
    again = request(5, method="price")
    answer(service, handled(receive(service, again)))
    service.tick(FORGET_CLIENT_S)
    receive(service, packets.request(OTHER, SERVICE, 1), FORGET_CLIENT_S)
    if leaves:
        service.leave()
    [refusal] = receive(service, again, FORGET_CLIENT_S)
    _, (_, [row]) = read(refusal)  # type: ignore[misc]  # columns
    assert row[0] == ("leaving" if leaves else "busy") and row[4] is True


@pytest.mark.parametrize("way", ["recalled", "expired"])
def test_a_copy_of_what_was_forgotten_that_leaves_the_line_may_have_run(way: str) -> None:
    """Seed 8206101: its client took it for one that had not run."""
    service = limited(requests_max=2)
    again = request(5, method="price")
    answer(service, handled(receive(service, again)))
    service.tick(now := FORGET_CLIENT_S)
    running = handled(receive(service, packets.request(OTHER, SERVICE, 1), now))
    assert not receive(service, again, now)  # it waits for the only place
    if way == "recalled":
        effects = receive(service, packets.recall(CLIENT, SERVICE, 5), now)
    else:
        effects = answer(service, running, now=now + 1000.0)
    packets_out = [read(each) for each in effects if isinstance(each, Send)]
    [[_, [row]]] = [meta for kind, meta in packets_out if kind == ERROR]
    assert row[0] == way and row[4] is True


def test_a_copy_of_what_was_forgotten_that_ends_elsewhere_may_have_run() -> None:
    """Seed 8207749: a broker passed it on, and no worker took it until its time was over."""
    service = limited(requests_max=2)
    again = request(5, method="price")
    answer(service, handled(receive(service, again)))
    service.tick(FORGET_CLIENT_S)
    first, second = (
        service.handled([(each, refuse(EXPIRED))], FORGET_CLIENT_S) + service.flush(0.0)
        for frames in (again, request(6, method="price"))
        for each in handled(receive(service, frames, FORGET_CLIENT_S))
    )
    doubts = [row[4] for effect in (*first, *second) for row in read(effect)[1][1]]  # type: ignore[index]  # columns
    assert doubts == [True, False]


def test_a_request_in_line_has_not_run_though_later_answers_are_forgotten() -> None:
    service = limited(retained_bytes_max=0)
    running = handled(receive(service, request(9)))
    receive(service, request(5, 6))
    answer(service, running)
    assert service.stats()["evicted"] == 1 and service.stats()["waiting"] == 1
    [refusal] = receive(service, packets.recall(CLIENT, SERVICE, 6))
    _, (_, [row]) = read(refusal)  # type: ignore[misc]  # columns
    assert row[0] == RECALLED and row[4] is False
