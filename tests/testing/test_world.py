"""Services in virtual time: what a test of failover needs, in no time at all."""

from __future__ import annotations

import pytest

import zmqkit
from zmqkit.testing import World


class Till:
    """Charges, and remembers what it charged."""

    def __init__(self) -> None:
        self.charged: list[int] = []

    def charge(self, amount: int) -> int:
        self.charged.append(amount)
        return amount


def test_a_call_is_answered() -> None:
    world, till = World(), Till()
    world.service("billing", till.charge)
    assert world.client("billing").call("charge", 5) == 5
    assert till.charged == [5]
    assert 0 < world.elapsed_s < 1


def test_a_lost_request_is_sent_again_and_runs_once() -> None:
    world, till = World(), Till()
    instance = world.service("billing", till.charge)
    client = world.client("billing")
    client.call("charge", 1)
    instance.lose(1)
    assert client.call("charge", 5) == 5
    assert till.charged == [1, 5]


def test_a_lost_reply_is_sent_again_and_the_handler_runs_once() -> None:
    world, till = World(), Till()
    instance = world.service("billing", till.charge, takes_s=0.1)
    client = world.client("billing")
    client.call("charge", 1)
    call = client.start("charge", 5)
    world.run_until(lambda: till.charged == [1, 5], 1.0)
    instance.lose(1)
    assert call.result() == 5
    assert till.charged == [1, 5]


def test_a_delay_beyond_the_deadline_times_out() -> None:
    world, till = World(), Till()
    instance = world.service("billing", till.charge)
    client = world.client("billing", timeout_s=2)
    client.call("charge", 1)
    instance.delay(10)
    began_s = world.elapsed_s
    with pytest.raises(zmqkit.CallTimeout) as raised:
        client.call("charge", 5)
    assert raised.value.may_have_run
    assert 1.9 < world.elapsed_s - began_s < 2.5


def test_what_may_run_twice_moves_to_another_instance_when_one_is_killed() -> None:
    world, tills = World(), [Till(), Till()]
    instances = [
        world.service("billing", each.charge, idempotent=True, takes_s=1.0) for each in tills
    ]
    call = world.client("billing").start("charge", 5)
    assert world.run_until(lambda: any(each.charged for each in tills), 1.0)
    [busy] = [number for number, each in enumerate(tills) if each.charged]
    instances[busy].kill()
    assert call.result() == 5
    assert [each.charged for each in tills] == [[5], [5]]


def test_what_must_not_run_twice_ends_when_its_instance_is_killed() -> None:
    world, till = World(), Till()
    instance = world.service("billing", till.charge, takes_s=1.0)
    call = world.client("billing").start("charge", 5)
    assert world.run_until(lambda: bool(till.charged), 1.0)
    instance.kill()
    world.service("billing", Till().charge)
    with pytest.raises(zmqkit.PeerLost) as raised:
        call.result()
    assert raised.value.may_have_run


def test_nobody_of_the_name_is_said_after_the_wait() -> None:
    world = World()
    with pytest.raises(zmqkit.NoService):
        world.client("billing", wait_s=3).call("charge", 5)
    assert 3 <= world.elapsed_s < 3.1


def test_an_hour_passes_at_once_and_a_seed_repeats_its_run() -> None:
    def ended(seed: int) -> float:
        world = World(seed)
        world.service("billing", Till().charge)
        world.run(3600)
        world.client("billing").call("charge", 5)
        return world.elapsed_s

    assert ended(1) == ended(1) > 3600
    assert ended(1) != ended(2)


def test_what_a_handler_raises_comes_back_as_from_any_service() -> None:
    def refuse(amount: int) -> None:
        raise ValueError(f"no {amount}")

    world = World()
    world.service("billing", refuse)
    with pytest.raises(zmqkit.RemoteError, match="no 5"):
        world.client("billing").call("refuse", 5)


def test_generators_are_refused() -> None:
    def values() -> object:
        yield 1

    with pytest.raises(zmqkit.UsageError, match="'values' is a generator"):
        World().service("billing", values)
