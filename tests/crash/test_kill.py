"""What is left of the others' work when a process is killed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

import zmqkit
from tests.crash.stage import BOUND_S, Actor, Start, balance, until
from tests.ports import quiet_endpoint

pytestmark = pytest.mark.slow

KINDS = pytest.mark.parametrize("kind", ["blocking", "asyncio"])


def chosen(actors: list[Actor]) -> tuple[Actor, Actor]:
    """The one of two to which a request came, and the other."""
    until(lambda: any(actor.has("came") for actor in actors))
    [first] = [actor for actor in actors if actor.has("came")]
    return first, next(actor for actor in actors if actor is not first)


def test_idempotent_call_survives_its_service(
    start: Start, client: zmqkit.Client, under_way: ThreadPoolExecutor
) -> None:
    services = [start("service", idempotent=True) for _ in range(2)]
    assert client.ready(2, timeout_s=BOUND_S) == 2
    call = under_way.submit(client.call, "hold", "kept")
    first, second = chosen(services)
    first.kill()
    assert second.event("came") == first.event("came")
    second.order("open")
    assert call.result(BOUND_S) == "kept"
    assert client.stats()["retries"] == 1


def test_call_that_is_not_idempotent_ends_and_may_have_run(
    start: Start, client: zmqkit.Client, under_way: ThreadPoolExecutor
) -> None:
    services = [start("service") for _ in range(2)]
    assert client.ready(2, timeout_s=BOUND_S) == 2
    call = under_way.submit(client.call, "hold")
    first, second = chosen(services)
    first.kill()
    with pytest.raises(zmqkit.PeerLost) as caught:
        call.result(BOUND_S)
    assert caught.value.may_have_run is True
    assert not second.has("came")


def test_killed_service_is_not_chosen_any_more(start: Start, client: zmqkit.Client) -> None:
    services = [start("service") for _ in range(3)]
    assert client.ready(3, timeout_s=BOUND_S) == 3
    assert {client.call("who") for _ in range(9)} == {each.pid for each in services}
    services[0].kill()
    until(lambda: [row["state"] for row in client.instances()].count("up") == 2)
    living = {each.pid for each in services[1:]}
    assert {client.call("who") for _ in range(20)} == living


def test_only_service_that_is_killed_is_nobody(start: Start, client: zmqkit.Client) -> None:
    service = start("service")
    assert client.call("who") == service.pid
    service.kill()
    until(lambda: "up" not in [row["state"] for row in client.instances()])
    with pytest.raises(zmqkit.PeerError) as caught:
        client.options(wait_s=2.5, timeout_s=2.5).call("who")
    assert caught.value.may_have_run is False
    after = start("service")
    assert client.call("who") == after.pid


@KINDS
def test_service_survives_its_client(start: Start, client: zmqkit.Client, kind: str) -> None:
    service = start("service", kind, concurrency=2)
    other = start("client", "asyncio", width=50, timeout_s=60)
    until(lambda: service.ask("stats")["accepted"] > 500)
    other.kill()
    assert client.call("double", 2) == 4
    until(lambda: service.ask("stats")["in_flight"] == 0)
    assert balance(service.ask("stats")) == 0
    assert client.call("who") == service.pid


def test_service_survives_its_client_in_the_middle_of_a_call(
    start: Start, client: zmqkit.Client
) -> None:
    service = start("service", concurrency=1)
    other = start("client", method="hold", args=[1])
    service.event("came")
    other.kill()
    service.order("open")
    assert client.call("double", 2) == 4
    stats = service.ask("stats")
    assert (stats["in_flight"], balance(stats)) == (0, 0)


@KINDS
@pytest.mark.parametrize("by_url", [False, True])
def test_calls_go_on_when_a_service_returns_at_its_port_and_none_runs_twice(
    start: Start, name: str, kind: str, by_url: bool
) -> None:
    endpoint = quiet_endpoint()
    first = start("service", kind, bind=endpoint)
    where = f"{endpoint}/{name}" if by_url else name
    with zmqkit.Client(where, timeout_s=BOUND_S, wait_s=BOUND_S) as client:
        before, lost, runs = [], [], []
        for number in range(200):
            client.call("count", number)
            before.append(number)
        runs += first.ask("runs")
        first.kill()
        second = start("service", kind, bind=endpoint)
        for number in range(200, 400):
            try:
                assert client.call("count", number) == number
            except zmqkit.PeerLost:
                lost.append(number)
        runs += second.ask("runs")
        assert sorted(runs) == sorted(set(runs))
        assert set(range(400)) - set(lost) <= set(runs)
        assert client.call("who") == second.pid


def test_held_call_is_not_run_by_the_next_incarnation_at_its_port(
    start: Start, client: zmqkit.Client, under_way: ThreadPoolExecutor
) -> None:
    first = start("service", bind=quiet_endpoint())
    call = under_way.submit(client.call, "hold")
    first.event("came")
    first.kill()
    second = start("service", bind=first.ready)
    with pytest.raises(zmqkit.PeerLost) as caught:
        call.result(BOUND_S)
    assert caught.value.may_have_run is True
    assert client.call("who") == second.pid
    assert not second.has("came")
