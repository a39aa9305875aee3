"""Whether jobs go to devices or past them: calls, to routers and brokers or to services."""

from __future__ import annotations

import pytest

from tests.core.bench import CLIENT, call, peer, tell, up
from tests.packets import bye, reply, sent
from zmqkit.core.calls.client import ClientCore
from zmqkit.core.effects import Effect, News, Send
from zmqkit.limits import INSTANCES_MAX, TURN_S
from zmqkit.wire.packet import REQUEST

SERVICE, OTHER, ROUTER, SECOND = 0xA, 0xB, 0xD, 0xE
LATE = 10.0


@pytest.fixture
def client() -> ClientCore:
    """A client that has used a service for a while."""
    client = ClientCore("orders", CLIENT)
    up(client, SERVICE)
    client.tick(TURN_S)
    return client


def to(effects: list[Effect]) -> list[bytes]:
    """To whom requests leave."""
    sends = [effect for effect in effects if isinstance(effect, Send)]
    return [each.peer for each in sends if sent([each])[0][0] == REQUEST]


def test_calls_turn_to_a_device_that_came_after_a_while(client: ClientCore) -> None:
    up(client, ROUTER, is_device=True, now=LATE)
    assert to(call(client, now=LATE)) == [peer(SERVICE)]
    assert client.deadline() <= LATE + TURN_S
    client.tick(LATE + TURN_S)
    assert to(call(client, now=LATE + TURN_S)) == [peer(ROUTER)]
    client.check()


def test_a_client_that_is_new_turns_at_once() -> None:
    client = ClientCore("orders", CLIENT)
    up(client, SERVICE)
    up(client, ROUTER, is_device=True)
    assert to(call(client)) == [peer(ROUTER)]
    assert client.ready_count == 1


def test_a_device_that_does_not_stay_turns_nobody(client: ClientCore) -> None:
    up(client, ROUTER, is_device=True, now=LATE)
    client.hear(tell(News.LOST, ROUTER), LATE + TURN_S / 2)
    client.tick(LATE + TURN_S)
    assert to(call(client, now=LATE + TURN_S)) == [peer(SERVICE)]


def test_what_a_service_has_stays_with_it(client: ClientCore) -> None:
    call(client, now=LATE)
    up(client, ROUTER, is_device=True, now=LATE)
    client.tick(LATE + TURN_S)
    client.receive(peer(SERVICE), reply(SERVICE, CLIENT, _1=3), LATE + TURN_S)
    assert client.stats()["delivered"] == 1


def test_calls_turn_back_at_once_when_the_last_device_is_gone(client: ClientCore) -> None:
    up(client, ROUTER, is_device=True, now=LATE)
    client.tick(LATE + TURN_S)
    gone_at = 2 * LATE
    client.receive(peer(ROUTER), bye(ROUTER, CLIENT), gone_at)
    assert to(call(client, now=gone_at)) == [peer(SERVICE)]
    client.hear(tell(News.GONE, ROUTER), gone_at)
    assert to(call(client, now=gone_at)) == [peer(SERVICE)]
    up(client, SECOND, is_device=True, now=gone_at + 0.1)
    assert to(call(client, now=gone_at + 0.1)) == [peer(SERVICE)]
    client.tick(gone_at + 0.1 + TURN_S)
    assert to(call(client, now=gone_at + 0.1 + TURN_S)) == [peer(SECOND)]


def test_one_device_takes_over_from_another_at_once(client: ClientCore) -> None:
    for device in (ROUTER, SECOND):
        up(client, device, is_device=True, now=LATE)
    client.tick(LATE + TURN_S)
    client.hear(tell(News.GONE, ROUTER), LATE + TURN_S)
    assert to(call(client, now=LATE + TURN_S)) == [peer(SECOND)]


def test_a_device_is_connected_though_there_are_many_services() -> None:
    client = ClientCore("orders", CLIENT)
    for incarnation in range(100, 100 + 2 * INSTANCES_MAX):
        up(client, incarnation)
    client.tick(TURN_S)
    up(client, ROUTER, is_device=True, now=LATE)
    client.tick(LATE + TURN_S)
    assert to(call(client, now=LATE + TURN_S)) == [peer(ROUTER)]
    client.check()
