"""What a client tells of the methods that it calls."""

from __future__ import annotations

import pytest

from tests import packets
from tests.core.bench import CLIENT, call, peer, up
from zmqkit.core.calls.client import ClientCore
from zmqkit.core.calls.outcome import RAISED
from zmqkit.wire.statistics import Figures

A = 0xA


@pytest.fixture
def client() -> ClientCore:
    return ClientCore("orders", CLIENT)


def rows(client: ClientCore, now: float = 0.0) -> dict[str, Figures]:
    """The rows by the name of the method; that of the client has none."""
    return {each.of: each for each in client.statistics(now)}


def test_a_call_takes_from_its_beginning_to_the_reply(client: ClientCore) -> None:
    up(client, A)
    call(client, now=1.0)
    call(client, now=1.5)
    client.receive(peer(A), packets.reply(A, CLIENT, _1=42, _2=43), 2.0)
    call(client, now=3.0)
    client.receive(peer(A), packets.reply(A, CLIENT, _3=44), 3.25)
    took = rows(client)["add"].took
    assert took is not None and took.count == 3
    assert took.sum_s == pytest.approx(1.0 + 0.5 + 0.25)


def test_a_call_that_fails_or_runs_out_of_time_is_counted(client: ClientCore) -> None:
    up(client, A)
    call(client)
    call(client, timeout_s=1.0)
    client.receive(peer(A), packets.error(A, CLIENT, RAISED, 1), 0.5)
    client.tick(2.0)
    add = rows(client)["add"]
    assert (add.failed, add.delivered) == (2, 0)


def test_what_is_under_way_or_waits_is_told_by_method(client: ClientCore) -> None:
    up(client, A, credit=1)
    call(client, "add", now=1.0)
    call(client, "price", now=2.0)
    told = rows(client, now=4.0)
    assert (told[""].running, told[""].waiting, told[""].oldest_ms) == (1, 1, 3000)
    assert (told["add"].running, told["add"].waiting) == (1, 0)
    assert (told["price"].running, told["price"].waiting) == (0, 1)


def test_instances_are_peers_with_their_credit(client: ClientCore) -> None:
    up(client, A, credit=5)
    call(client)
    whole = rows(client)[""]
    assert (whole.peers, whole.talks_to, whole.credit) == ({"up": 1}, [A], 4)
