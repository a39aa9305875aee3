"""Calls that are for one instance alone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import zmqkit
from tests.roles.kit import BOUND_S, AsyncKit, Kit, until

pytestmark = pytest.mark.usefixtures("node")

SHORT_S = 0.05


def labels(client: Any) -> list[str]:
    return [row["label"] for row in client.instances()]


def echoing(kit: Kit, number: int, **options: Any) -> Any:
    """An instance that answers with its number."""

    def which() -> int:
        return number

    return kit.serving(which, **options)


def test_each_instance_can_be_called_by_its_label(kit: Kit) -> None:
    for number in range(2):
        echoing(kit, number)
    client = kit.client(count=2)
    first, second = (client.options(instance=each) for each in labels(client))
    answers = [first.call("which") for _ in range(3)]
    assert len(set(answers)) == 1
    assert second.call("which") == 1 - answers[0]


def test_streams_and_one_way_messages_go_to_the_one_instance(kit: Kit) -> None:
    heard: list[int] = []

    def serving(number: int) -> None:
        def values() -> Any:
            yield number

        def hear() -> None:
            heard.append(number)

        kit.serving(values, hear)

    for number in range(2):
        serving(number)
    client = kit.client(count=2)
    for label in labels(client):
        view = client.options(instance=label)
        [number] = kit.values(view.stream("values"))
        for _ in range(2):
            view.notify("hear")
        until(lambda number=number: heard == [number] * 2)
        heard.clear()


def test_a_call_ends_when_its_one_instance_closes_and_moves_nowhere(kit: Kit) -> None:
    services = [echoing(kit, number, idempotent=True) for number in range(2)]
    client = kit.client(count=2)
    views = [client.options(instance=each) for each in labels(client)]
    services[views[0].call("which")].close()
    until(lambda: [row["state"] for row in client.instances()].count("up") == 1)
    with pytest.raises(zmqkit.PeerError, match=r"is gone|has no instance") as caught:
        views[0].options(wait_s=SHORT_S).call("which")
    assert type(caught.value) in (zmqkit.PeerLost, zmqkit.NoService)
    assert not caught.value.may_have_run
    assert client.call("which") == views[1].call("which")


def test_an_unknown_instance_is_an_error_that_names_the_others(kit: Kit) -> None:
    echoing(kit, 1)
    client = kit.client()
    with pytest.raises(zmqkit.UsageError, match=r"client\.instances"):
        client.options(instance="first")
    lacked = client.options(instance=f"{kit.name}-0000000a", wait_s=SHORT_S)
    with pytest.raises(zmqkit.NoService, match=f"there are {labels(client)[0]}"):
        lacked.call("which")


@pytest.mark.slow
def test_a_plain_gather_of_50_000_is_not_refused(aio: AsyncKit) -> None:
    for number in range(2):
        echoing(aio, number)
    client = aio.client(count=2)

    async def scene() -> list[Any]:
        return await asyncio.gather(*(client.inner.call("which") for _ in range(50_000)))

    answers = aio.submit(scene()).result(3 * BOUND_S)
    assert len(answers) == 50_000 and set(answers) == {0, 1}
