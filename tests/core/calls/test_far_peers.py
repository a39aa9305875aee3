"""What travels between machines is compressed, what stays on one is not."""

from __future__ import annotations

import pytest

from tests import packets
from tests.core.bench import CLIENT, HERE, call, peer, tell
from tests.packets import read
from zmqkit.core.calls.client import ClientCore
from zmqkit.core.calls.service import ServiceCore
from zmqkit.core.dispatch.window import Answer
from zmqkit.core.effects import Effect, Handle, News, Send
from zmqkit.core.topics.subscriber import SubscriberCore
from zmqkit.limits import COMPRESS_BYTES_MIN, QUEUE_BYTES
from zmqkit.model import Frames, Reach, reach_of_endpoint
from zmqkit.wire import packet as wire
from zmqkit.wire import publication
from zmqkit.wire.encoding import encode

SERVICE = 0xA
AWAY = "tcp://10.0.0.5:5000"
LONG = "x" * COMPRESS_BYTES_MIN


def is_compressed(effect: Effect) -> bool:
    """Whether the packet says so in its header."""
    assert isinstance(effect, Send)
    return bool(effect.frames[0][5] & wire.LZ4)


def greeting(**fields: object) -> Frames:
    """A client's HELLO with these fields."""
    return wire.pack(wire.HELLO, CLIENT, SERVICE, 0, encode({"name": "orders"} | fields))


def reply_after(hello: Frames) -> Send:
    """What a service answers to the first call of a client that said this."""
    service = ServiceCore(SERVICE, {"add": False}, 1)
    service.receive(b"p", hello, 0.0)
    [handle] = service.receive(b"p", packets.request(CLIENT, SERVICE, 1), 0.0)
    assert isinstance(handle, Handle)
    service.handled([(handle.requests[0], Answer(wire.REPLY, encode(LONG)))], 0.0)
    [reply] = service.flush(0.0)
    assert isinstance(reply, Send)
    return reply


@pytest.mark.parametrize(
    ("endpoint", "reach"),
    [
        (HERE, Reach.LOCAL), ("tcp://[::1]:5000", Reach.LOCAL), (AWAY, Reach.PLAIN),
        ("tcp://localhost:5000", Reach.LOCAL), ("tcp://127.8.0.1:5000", Reach.LOCAL),
        ("memory://orders", Reach.LOCAL), ("orders", Reach.LOCAL),
        ("tcp://orders.example:5000", Reach.PLAIN), ("tcp://[fe80::1%eth0]:5000", Reach.PLAIN),
    ],
)  # fmt: skip
def test_an_address_tells_whether_it_is_on_another_machine(endpoint: str, reach: Reach) -> None:
    assert reach_of_endpoint(endpoint) is reach


@pytest.mark.parametrize("endpoint", [HERE, AWAY])
def test_requests_are_compressed_on_their_way_to_another_machine(endpoint: str) -> None:
    client = ClientCore("orders", CLIENT)
    _, hello = client.hear(tell(News.FOUND, SERVICE, endpoint), 0.0)
    client.receive(peer(SERVICE), packets.welcome(SERVICE, CLIENT), 0.0)
    [request] = call(client, LONG)
    assert is_compressed(request) == (endpoint == AWAY)
    assert read(request)[1] == [[1], [5000], [LONG], [4], [[None, [], {}]]]
    fields = {"name": "orders", "lz4": True} if endpoint == AWAY else {"name": "orders"}
    assert read(hello) == (wire.HELLO, fields)


def test_an_instance_that_moves_to_this_machine_gets_requests_as_they_are() -> None:
    client = ClientCore("orders", CLIENT)
    client.hear(tell(News.FOUND, SERVICE, AWAY), 0.0)
    client.hear(tell(News.FOUND, SERVICE, HERE), 0.0)
    client.receive(peer(SERVICE), packets.welcome(SERVICE, CLIENT), 0.0)
    [request] = call(client, LONG)
    assert not is_compressed(request)


def test_a_compressed_request_that_did_not_leave_is_sent_again() -> None:
    client = ClientCore("orders", CLIENT)
    client.hear(tell(News.FOUND, SERVICE, AWAY), 0.0)
    client.receive(peer(SERVICE), packets.welcome(SERVICE, CLIENT), 0.0)
    [request] = call(client, LONG)
    assert isinstance(request, Send)
    client.unsent(peer(SERVICE), request.frames, 0.0)
    [again] = client.flush(0.5)
    assert is_compressed(again) and read(again)[1] == [
        [1],
        [4500],
        [LONG],
        [4],
        [[None, [], {}]],
    ]


@pytest.mark.parametrize("asked", [True, False, None, 1])
def test_answers_are_compressed_for_a_client_that_asks_for_it(asked: object) -> None:
    reply = reply_after(greeting(lz4=asked))
    assert is_compressed(reply) == (asked is True)
    assert read(reply) == (wire.REPLY, [[1], [LONG]])


def test_a_client_that_says_hello_from_this_machine_later_gets_answers_as_they_are() -> None:
    service = ServiceCore(SERVICE, {LONG: True}, 1)
    service.receive(b"p", greeting(lz4=True), 0.0)
    service.receive(b"p", greeting(), 0.0)
    [pong] = service.receive(b"p", packets.ping(CLIENT, SERVICE, 1, 1), 0.0)
    assert not is_compressed(pong)


def test_a_bomb_is_counted_and_dropped() -> None:
    service = ServiceCore(SERVICE, {"add": False}, 1)
    meta = b"\xff\xff\xff\xff" + b"\xff" * 50
    head = wire.HEADER.pack(wire.FIRST + wire.HELLO, wire.LZ4, len(meta), CLIENT, 0, 0)
    assert service.receive(b"p", (head + meta,), 0.0) == []
    assert service.stats()["malformed"] == {"lz4: size": 1}


def test_a_subscribers_queue_counts_what_a_message_has_when_it_is_uncompressed() -> None:
    subscriber = SubscriberCore("weather", CLIENT, [""])
    subscriber.hear(tell(News.FOUND, SERVICE, AWAY), 0.0)
    [source] = subscriber.sources.by_peer
    fields = {"token": 1, "waits": False}
    subscriber.receive(
        source, publication.to_subscriber(wire.WELCOME, SERVICE, CLIENT, fields), 0.0
    )
    body = "x" * (QUEUE_BYTES // 2)
    for number in (1, 2, 3):
        frames = publication.publication(b"t", SERVICE, number, [encode(body)], 1, far=True)
        assert len(frames[0]) < len(body) / 100
        subscriber.receive(source, frames, 0.0)
        subscriber.check()
    stats = subscriber.stats()
    assert (stats["queued"], stats["dropped"]) == (1, {"full": 2})
