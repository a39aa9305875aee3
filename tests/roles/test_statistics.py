"""What roles tell of themselves to whoever asks their process."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from tests.roles.kit import BOUND_S, Gate, Kit, received, until
from tests.roles.watched import count
from zmqkit.core.calls.service import ServiceCore
from zmqkit.core.membership.observed import Observed
from zmqkit.errors import UsageError
from zmqkit.model import Reach
from zmqkit.node.node import Node
from zmqkit.node.statistics import Reader
from zmqkit.roles.role import Plan
from zmqkit.wire.statistics import Figures


def double(number: int) -> int:
    return 2 * number


def fail() -> None:
    raise ValueError("no")


def rows(node: Node, name: str) -> dict[tuple[str, str], Figures]:
    """What this process tells of a name, by role and part."""
    return {(row.role, row.of): row for row in node.figures() if row.name == name}


class Open:
    """The place of a role that is open to the network, and the node that observes it."""

    name = "orders"
    reach = Reach.PLAIN

    def __init__(self) -> None:
        self.node = self
        self.seen: list[Reach] = []

    def appear(self, on_news: object) -> None: ...

    def observe(self, observed: Observed) -> None:
        self.seen.append(observed.reach)


def test_a_client_that_closes_is_no_peer_any_more(kit: Kit, node: Node) -> None:
    service = kit.serving(double)
    first, second = kit.client(service.name), kit.client(service.name)
    assert first.call("double", 1) == second.call("double", 1) == 2
    assert rows(node, service.name)["service", ""].peers == {"up": 2}
    first.close()
    until(lambda: rows(node, service.name)["service", ""].peers == {"up": 1})
    assert rows(node, service.name)["service", ""].accepted == 2


def test_calls_are_told_by_method_on_both_sides(kit: Kit, node: Node) -> None:
    service = kit.serving(double, fail)
    client = kit.client(service.name)
    for number in range(3):
        assert client.call("double", number) == 2 * number
    with pytest.raises(Exception, match="no"):
        client.call("fail")
    told = rows(node, service.name)
    for role in ("service", "client"):
        method, failing = told[role, "double"], told[role, "fail"]
        assert (method.delivered, failing.failed) == (3, 1)
        assert method.took is not None and method.took.count == 3
        assert 0 < method.took.sum_s < BOUND_S
    assert told["service", ""].incarnation == service.incarnation
    assert told["client", ""].talks_to == [service.incarnation]
    assert told["service", ""].talks_to == [told["client", ""].incarnation]


def test_streams_are_counted_by_method_and_not_timed(kit: Kit, node: Node) -> None:
    service = kit.serving(count)
    client = kit.client(service.name)
    assert kit.values(client.stream("count", 3)) == [0, 1, 2]
    for role in ("client", "service"):
        until(lambda role=role: rows(node, service.name)[role, "count"].delivered == 1)
        took = rows(node, service.name)[role, "count"].took
        assert took is not None and took.count == 0


def test_messages_are_told_by_topic_on_both_sides(kit: Kit, node: Node) -> None:
    publisher = kit.publisher()
    subscriber = kit.subscriber(publisher.name)
    kit.publish(publisher, ("a", 1), ("b", 2), ("a", 3))
    received(subscriber, 3)
    told = rows(node, publisher.name)
    for role in ("publisher", "subscriber"):
        assert (told[role, "a"].delivered, told[role, "b"].delivered) == (2, 1)
        assert told[role, ""].delivered == 3 and told[role, ""].peers == {"up": 1}


def test_devices_tell_by_topic_what_passes_once_somebody_looks(kit: Kit, node: Node) -> None:
    far = f"{kit.name}-2"
    here = kit.bridge(listen="tcp://127.0.0.1:0")
    kit.bridge(far, connect=here.endpoint)
    forwarder = kit.forwarder(far)
    publisher, subscriber = kit.publisher(), kit.subscriber(far)
    until(lambda: forwarder.stats()["subscribers"] == 1)
    assert publisher.ready(timeout_s=BOUND_S) == 1
    with Reader(node) as reader:

        def topics() -> dict[str, dict[str, int]]:
            told: dict[str, dict[str, int]] = {"bridge": {}, "forwarder": {}}
            for row in reader.read(far, timeout_s=0.1):
                if row.role in told:
                    told[row.role][row.of] = row.delivered
            return told

        until(lambda: all(topics().values()))
        for topic in ("a", "b", "a"):
            kit.publish(publisher, (topic, 1))
            received(subscriber, 1)
        until(lambda: all(each.get("a") == 2 and each["b"] == 1 for each in topics().values()))


def test_tasks_are_told_by_queue_and_method(kit: Kit, node: Node) -> None:
    worker = kit.working(double)
    pusher = kit.pusher()
    assert kit.mapped(pusher, [1, 2, 3]) == [2, 4, 6]
    told = rows(node, worker.name)
    queue = told["pusher", pusher.name]
    assert (queue.part, queue.delivered) == ("queue", 3)
    for histogram in (queue.took, queue.waited):
        assert histogram is not None and histogram.count == 3
    assert sum(row.delivered for row in told.values() if row.role == "worker") == 6


def test_no_handler_delays_the_answer(kit: Kit, node: Node) -> None:
    gate = Gate()  # which holds the thread, or the loop
    service = kit.serving(gate.hold)
    client = kit.client(service.name)
    call = kit.start(client.call, "hold", 1)
    gate.came()
    try:
        told = rows(node, service.name)
        assert told["service", "hold"].running == told["service", ""].running == 1
    finally:
        gate.open()
    assert call.result() == 1


def test_a_role_is_told_of_while_it_is_open(kit: Kit, node: Node) -> None:
    service = kit.serving(double)
    assert rows(node, service.name)
    service.close()
    until(lambda: not rows(node, service.name))


@pytest.mark.parametrize("statistics", [True, False])
def test_other_machines_are_told_of_open_roles_alone_that_want_it(statistics: bool) -> None:
    place: Any = Open()
    plan = Plan("service 'orders'", place, ServiceCore(1, {}, 1), statistics=statistics)
    plan.appear(lambda tell: None, lambda question: question())
    assert place.seen == [Reach.PLAIN if statistics else Reach.LOCAL]


def test_statistics_are_wanted_or_not(kit: Kit) -> None:
    with pytest.raises(UsageError, match="statistics is 1; use True or False"):
        kit.client(statistics=1)
    with pytest.raises(UsageError, match="statistics is 'yes'"):
        kit.serving(double, statistics="yes")


@pytest.mark.slow
@pytest.mark.parametrize("role", ["Client", "Pusher"])
def test_who_is_killed_is_no_peer_any_more(blocking: Kit, node: Node, role: str) -> None:
    here = blocking.serving(double) if role == "Client" else blocking.working(double)
    made = f"import zmqkit; role = zmqkit.{role}({here.name!r})"
    program = f"{made}; role.ready(); print('up', flush=True); input()"
    kind, pipe = "service" if role == "Client" else "worker", subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", program], stdin=pipe, stdout=pipe) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == b"up\n"
            until(lambda: rows(node, here.name)[kind, ""].peers == {"up": 1})
        finally:
            other.kill()
    until(lambda: rows(node, here.name)[kind, ""].peers == {"up": 0})
