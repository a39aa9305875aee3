"""Processes that fall silent and return: stopped, busy, or holding the interpreter."""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import zmqkit
from tests.crash.stage import BOUND_S, Actor, Start, balance, until

pytestmark = pytest.mark.slow

PAUSE_S = 10.0
KINDS = pytest.mark.parametrize("kind", ["blocking", "asyncio"])


def pause(actor: Actor) -> None:
    """Stop the process with all its threads, as a laptop's lid or a full machine does."""
    actor.send(signal.SIGSTOP)
    time.sleep(PAUSE_S)
    actor.send(signal.SIGCONT)


def judge(service: Actor, load: Actor) -> None:
    """Both still live and work, and every call is accounted for on both sides."""
    assert service.alive()
    assert load.alive()
    # Work goes on after the pause.
    before = service.ask("stats")["delivered"]
    until(lambda: service.ask("stats")["delivered"] > before + 500)
    load.order("end")
    ended = load.event("ended")
    stats = ended["stats"]
    assert (ended["wrong"], ended["unsettled"]) == (0, 0)
    assert balance(stats) == 0
    assert stats["in_flight"] == 0
    # What callers saw is what the client counted; one-way messages have no caller.
    ends = ended["ends"]
    assert sum(ends.values()) <= stats["accepted"]
    assert ends.get("CallTimeout", 0) <= stats["expired"]
    assert set(ends) <= {"delivered", "CallTimeout", "PeerLost", "Busy", "NoService"}
    until(lambda: service.ask("stats")["in_flight"] == 0)
    assert balance(service.ask("stats")) == 0
    runs = service.ask("runs")
    assert len(runs) == len(set(runs))


@pytest.mark.parametrize(("kind", "idempotent"), [("blocking", False), ("asyncio", True)])
def test_service_that_is_stopped_under_full_load_neither_aborts_nor_loses_anything_uncounted(
    start: Start, kind: str, idempotent: bool
) -> None:
    service = start("service", kind, idempotent=idempotent)
    load = start("client", "asyncio", width=1500, body_bytes=1000, timeout_s=4)
    until(lambda: service.ask("stats")["delivered"] > 3000)
    pause(service)
    judge(service, load)


@KINDS
def test_client_that_is_stopped_under_full_load_neither_aborts_nor_loses_anything_uncounted(
    start: Start, kind: str
) -> None:
    service = start("service", kind)
    load = start("client", "asyncio", width=1500, body_bytes=1000, timeout_s=4)
    until(lambda: service.ask("stats")["delivered"] > 3000)
    pause(load)
    judge(service, load)


def states(client: zmqkit.Client) -> list[object]:
    return sorted(row["state"] for row in client.instances())


@KINDS
def test_service_that_holds_the_interpreter_is_passed_over_and_returns(
    start: Start, client: zmqkit.Client, under_way: ThreadPoolExecutor, kind: str
) -> None:
    services = [start("service", kind) for _ in range(2)]
    assert client.ready(2, timeout_s=BOUND_S) == 2
    burning = under_way.submit(client.options(timeout_s=5).call, "burn", 7)
    until(lambda: any(each.has("came") for each in services))
    [busy] = [each for each in services if each.has("came")]
    idle = next(each for each in services if each is not busy)
    until(lambda: states(client) == ["evasive", "up"])
    assert {client.call("who") for _ in range(20)} == {idle.pid}
    with pytest.raises(zmqkit.CallTimeout) as caught:
        burning.result(BOUND_S)
    assert caught.value.may_have_run is True
    until(lambda: states(client) == ["up", "up"])
    assert {client.call("who") for _ in range(20)} == {each.pid for each in services}


def test_calls_to_the_only_service_end_by_their_deadline_while_it_holds_the_interpreter(
    start: Start, client: zmqkit.Client, under_way: ThreadPoolExecutor
) -> None:
    service = start("service")
    assert client.ready(timeout_s=BOUND_S) == 1
    burning = under_way.submit(client.call, "burn", 6)
    service.event("came")
    with pytest.raises(zmqkit.CallTimeout):
        client.options(timeout_s=0.5).call("who")
    until(lambda: states(client) == ["evasive"])
    with pytest.raises(zmqkit.CallTimeout) as caught:
        client.options(timeout_s=0.5).call("who")
    assert caught.value.may_have_run is False
    assert burning.result(BOUND_S) > 0
    assert client.call("who") == service.pid


def test_blocking_service_that_sleeps_in_a_handler_stays_alive_to_its_clients(
    start: Start, client: zmqkit.Client, name: str, under_way: ThreadPoolExecutor
) -> None:
    service = start("service")
    sleeping = under_way.submit(client.call, "snooze", 12)
    service.event("came")
    seen: set[object] = set()
    while not sleeping.done():
        seen.update(states(client))
        time.sleep(0.25)
        if len(seen) == 1 and not sleeping.done():
            with zmqkit.Client(name) as newcomer:
                assert newcomer.ready(timeout_s=BOUND_S) == 1
    assert seen == {"up"}
    assert sleeping.result() == 12
    assert client.stats()["retries"] == 0
    assert client.call("who") == service.pid
