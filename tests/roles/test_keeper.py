"""What goes on while no thread is inside a blocking role's verbs, or one is in a handler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.roles.fakes import FakeClient, FakeService
from tests.roles.kit import BOUND_S, Kit, until
from zmqkit.limits import TURN_MESSAGES
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import encode

pytestmark = pytest.mark.usefixtures("node")


def double(value: int) -> int:
    return 2 * value


def test_new_clients_are_welcomed_while_the_only_thread_is_in_a_handler(
    blocking: Kit,
) -> None:
    gate = blocking.gate()
    blocking.serving(gate.hold, double)
    first = blocking.client()
    held = blocking.start(first.call, "hold", 1)
    gate.came()
    second = blocking.client()
    assert second.instances()[0]["state"] == "up"
    waiting = blocking.start(second.call, "double", 2)
    until(lambda: second.stats()["in_flight"] == 1)
    gate.open()
    assert (held.result(), waiting.result()) == (1, 4)


def test_requests_are_accepted_while_the_only_thread_is_in_a_handler(blocking: Kit) -> None:
    gate = blocking.gate()
    service = blocking.serving(gate.hold, double)
    client = blocking.client()
    held = blocking.start(client.call, "hold", 1)
    gate.came()
    for n in range(10):
        client.notify("double", n)
    until(lambda: service.stats()["waiting"] == 10)
    gate.open()
    until(lambda: client.stats()["delivered"] == 11)
    held.result()
    until(lambda: service.stats()["delivered"] == 11)


def test_pings_are_answered_while_the_only_thread_is_in_a_handler(
    blocking: Kit, fake_client: FakeClient
) -> None:
    gate = blocking.gate()
    service = blocking.serving(gate.hold)
    fake_client.request(service, 5, "hold", 1)
    gate.came()
    for token in range(3):
        meta = encode([token, 6, [5]])
        fake_client.send(
            *wire.pack(wire.PING, fake_client.incarnation, service.incarnation, 0, meta)
        )
        kind, (named, _, held, running) = fake_client.reply()
        assert (kind, named, held, running) == (wire.PONG, token, [5], 1)


def test_expired_calls_end_though_nobody_waits_for_them(
    blocking: Kit, fakes: Callable[[str], FakeService]
) -> None:
    fake = fakes(blocking.name).start()
    client = blocking.client(fake.url)
    client.options(timeout_s=0.05).notify("add", 1)
    until(lambda: client.stats()["expired"] == 1)


def test_calls_go_on_after_the_keeper_stepped_in(blocking: Kit) -> None:
    service = blocking.serving(double)
    client = blocking.client()
    for n in range(3):
        accepted = service.stats()["accepted"]
        client.notify("double", n)
        # Nobody is in a verb of the client: the keeper takes the acknowledgement.
        until(lambda accepted=accepted: service.stats()["delivered"] > accepted)
        until(lambda: client.stats()["in_flight"] == 0)
        for _ in range(20):
            assert client.call("double", n) == 2 * n
    assert client.stats()["retries"] == 0


def asked(fake_client: FakeClient, service: Any, *requests: tuple[int, str, object]) -> None:
    """One packet with requests of these numbers, methods and arguments."""
    fake_client.connect(service.endpoint)
    numbers, methods, values = (list(column) for column in zip(*requests, strict=True))
    columns = [numbers, [60_000] * len(numbers), methods, [4] * len(numbers)]
    rows = [[None, [value], {}] for value in values]
    fake_client.send_requests(service.incarnation, columns, rows)


def always_quick(service: Any) -> None:
    """Every handler of the service passes for one that is quick."""
    service._runner.quick_s, service._runner.quick_runs_min = BOUND_S, 0


def watched(service: Any) -> None:
    """Have answers gather as if the keeper were always about to look; it does not come."""
    service._life.plan.place.node.let_go(service._life.driver)
    service._life.driver.watched = True


def often_watched(service: Any, fake_client: FakeClient) -> None:
    """Have the service be busy until the keeper looks at it often."""

    def holds() -> bool:
        asked(fake_client, service, (0, "double", 0))
        fake_client.reply()
        return bool(service._life.driver.watched)

    until(holds)


def test_answers_of_quick_handlers_leave_together(
    blocking: Kit, fake_client: FakeClient
) -> None:
    service = blocking.serving(double)
    always_quick(service)
    watched(service)
    asked(fake_client, service, (1, "double", 1), (2, "double", 2), (3, "double", 3))
    assert fake_client.reply() == (wire.REPLY, [[1, 2, 3], [2, 4, 6]])


def test_so_many_answers_wait_and_no_more(blocking: Kit, fake_client: FakeClient) -> None:
    service = blocking.serving(double)
    always_quick(service)
    watched(service)
    asked(fake_client, service, *((n, "double", n) for n in range(1, TURN_MESSAGES + 3)))
    _, (first, _) = fake_client.reply()
    _, (second, _) = fake_client.reply()
    assert (len(first), len(second)) == (TURN_MESSAGES, 2)


def test_an_answer_does_not_wait_for_another_method(
    blocking: Kit, fake_client: FakeClient
) -> None:
    gate = blocking.gate()
    service = blocking.serving(gate.hold, double)
    always_quick(service)
    watched(service)
    asked(fake_client, service, (1, "double", 1), (2, "hold", 2))
    assert fake_client.reply() == (wire.REPLY, [[1], [2]])
    gate.came()


def test_an_answer_does_not_wait_for_a_method_that_was_not_quick_often(
    blocking: Kit, fake_client: FakeClient
) -> None:
    service = blocking.serving(double)
    watched(service)
    service._runner._quick_runs.clear()
    asked(fake_client, service, (1, "double", 1), (2, "double", 2))
    assert fake_client.reply() == (wire.REPLY, [[1], [2]])


def sometimes(gate: Any) -> Callable[[int], object]:
    """A handler that holds for even numbers alone."""

    def sometimes(number: int) -> object:
        return number if number % 2 else gate.hold(number)

    return sometimes


def test_an_answer_that_waits_for_one_that_takes_long_is_sent_by_the_keeper(
    blocking: Kit, fake_client: FakeClient
) -> None:
    gate = blocking.gate()
    service = blocking.serving(sometimes(gate), double)
    always_quick(service)
    often_watched(service, fake_client)
    asked(fake_client, service, (1, "sometimes", 1), (2, "sometimes", 2))
    gate.came()
    assert fake_client.reply() == (wire.REPLY, [[1], [1]])


def test_no_answer_waits_while_the_keeper_drives(
    blocking: Kit, fake_client: FakeClient
) -> None:
    first, second = blocking.gate(), blocking.gate()
    service = blocking.serving(sometimes(second))
    always_quick(service)
    service.handler(first.hold)
    asked(fake_client, service, (1, "hold", 1))
    first.came()
    asked(fake_client, service, (2, "sometimes", 1), (3, "sometimes", 2))
    until(lambda: service.stats()["waiting"] == 2)  # so the keeper has adopted it
    first.open()
    assert fake_client.reply() == (wire.REPLY, [[1], [1]])
    assert fake_client.reply() == (wire.REPLY, [[2], [1]])
    second.came()
