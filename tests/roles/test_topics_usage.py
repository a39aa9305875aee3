"""Wrong use of publishers and subscribers is an error that says what to do instead."""

from __future__ import annotations

from concurrent.futures import TimeoutError as FutureTimeout
from math import inf, nan
from typing import Any

import pytest

import zmqkit
from tests.roles.kit import BOUND_S, AsyncKit, Kit, until

pytestmark = pytest.mark.usefixtures("node")


def joined(kit: Kit) -> tuple[Any, Any]:
    """A publisher and a subscriber that are connected."""
    publisher, subscriber = kit.publisher(), kit.subscriber()
    assert publisher.ready(1, timeout_s=BOUND_S) == 1
    return publisher, subscriber


@pytest.mark.parametrize("count", [0, -1, 1.5, "2", True, None, nan])
def test_one_waits_for_a_whole_number_of_others(kit: Kit, count: Any) -> None:
    for role in joined(kit):
        with pytest.raises(zmqkit.UsageError, match=r"count is .*; use a whole number, 1 or"):
            role.ready(count, timeout_s=0.01)
        assert role.ready(2, timeout_s=0.01) == 1


@pytest.mark.parametrize("count", [0, "2", True, None])
def test_a_client_waits_for_a_whole_number_of_instances(kit: Kit, count: Any) -> None:
    client = kit.client(count=0)
    with pytest.raises(zmqkit.UsageError, match=r"count is .*; use a whole number, 1 or"):
        client.ready(count, timeout_s=0.01)
    assert client.ready(1, timeout_s=0.01) == 0


def test_a_wait_for_instances_that_is_given_up_leaves_nothing(aio: AsyncKit) -> None:
    client = aio.client(count=0).inner
    waiting = aio.submit(client.ready(1))
    until(lambda: client._core._connections._awaited)
    waiting.cancel()
    until(lambda: not client._core._connections._awaited)


@pytest.mark.parametrize("timeout_s", ["x", nan, True, b"1", [1]])
def test_a_timeout_is_a_number_of_seconds(kit: Kit, timeout_s: Any) -> None:
    publisher, subscriber = joined(kit)
    for wait in (
        publisher.ready,
        subscriber.ready,
        subscriber.receive,
        lambda timeout_s: subscriber.listen(print, timeout_s),
    ):
        with pytest.raises(zmqkit.UsageError, match=r"timeout_s is .*; use seconds, or None"):
            wait(timeout_s=timeout_s)
    assert subscriber.receive(0.01) is None


@pytest.mark.parametrize("timeout_s", ["x", nan, True])
def test_those_who_call_and_serve_take_seconds_too(kit: Kit, timeout_s: Any) -> None:
    for wait in (kit.client(count=0).ready, kit.service().serve):
        with pytest.raises(zmqkit.UsageError, match=r"timeout_s is .*; use seconds, or None"):
            wait(timeout_s=timeout_s)


@pytest.mark.parametrize("timeout_s", [0, -1, -inf])
def test_one_whose_time_is_over_does_not_wait(kit: Kit, timeout_s: float) -> None:
    assert kit.subscriber(count=0).receive(timeout_s) is None


@pytest.mark.parametrize("timeout_s", [inf, 1e300, 10**400])
def test_a_wait_of_ages_is_one_without_end(kit: Kit, timeout_s: float) -> None:
    publisher, subscriber = joined(kit)
    assert publisher.ready(1, timeout_s) == 1
    publisher.publish("t", 1)
    assert subscriber.receive(timeout_s).body == 1


@pytest.mark.slow
def test_a_wait_may_be_longer_than_the_system_can_wait_at_once(kit: Kit) -> None:
    publisher, subscriber = joined(kit)
    receiving = kit.start(subscriber.receive, 3e6)
    with pytest.raises(FutureTimeout):
        receiving._future.result(0.2)
    publisher.publish("t", 1)
    assert receiving.result().body == 1


@pytest.mark.parametrize("callback", [5, None, "print"])
def test_a_listener_calls_a_function(kit: Kit, callback: Any) -> None:
    subscriber = kit.subscriber(count=0)
    with pytest.raises(zmqkit.UsageError, match=r"callback is .*; use a function that takes a"):
        subscriber.listen(callback, 0.01)


async def wait(_: object) -> None:
    """What a blocking subscriber cannot wait for."""


class Waits:
    """The same as an object."""

    async def __call__(self, _: object) -> None: ...


@pytest.mark.parametrize("callback", [wait, Waits()])
def test_a_blocking_listener_does_not_wait(blocking: Kit, callback: Any) -> None:
    subscriber = blocking.subscriber(count=0)
    with pytest.raises(zmqkit.UsageError, match=r"is async def; use zmqkit\.asyncio"):
        subscriber.listen(callback, 0.01)


def test_nobody_waits_for_what_is_told_of_a_gap(kit: Kit) -> None:
    with pytest.raises(zmqkit.UsageError, match=r"on_gap is .*; use a plain function"):
        kit.subscriber(count=0, on_gap=wait)
