"""Whatever arrives at a publisher or a subscriber, it stays alive and counts what it drops."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import zmq

from tests.core.topics import publications
from tests.roles.kit import BOUND_S, Kit, until
from tests.roles.test_garbage import BATCH, COUNT, SEED, Memory, malformed, messages
from zmqkit.wire import publication

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("node")]

STRANGER, FAKE = 0x8765432100000001, 0x1234567800000001

Socket = zmq.Socket[bytes]
Open = Callable[[int], Socket]


@pytest.fixture
def memory(
    capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> Iterator[Memory]:
    memory = Memory(request.node.name)
    yield memory
    memory.judge(capsys)


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """A million lines of log would be a flood of their own."""
    caplog.set_level(logging.WARNING)


@pytest.fixture
def open_socket() -> Iterator[Open]:
    """Opens sockets of somebody else's program."""
    context: zmq.Context[Socket] = zmq.Context()
    sockets: list[Socket] = []

    def open_socket(kind: int) -> Socket:
        sockets.append(context.socket(kind))
        return sockets[-1]

    yield open_socket
    for socket in sockets:
        socket.close(linger=0)
    context.term()


def dressed(chance: random.Random, frames: tuple[bytes, ...], before: bytes) -> list[bytes]:
    """Garbage, mostly behind what stands before a packet."""
    if chance.random() < 0.8:
        frames = (before + frames[0], *frames[1:])
    return [*frames]


def test_garbage_at_a_publisher_harms_nobody(
    kit: Kit, open_socket: Open, memory: Memory
) -> None:
    publisher, subscriber = kit.publisher(), kit.subscriber()
    publisher.ready(timeout_s=BOUND_S)
    stranger = open_socket(zmq.XSUB)
    stranger.connect(publisher.endpoint)
    chance = random.Random(SEED)
    source = messages(chance, publisher.incarnation)
    for _ in range(0, COUNT, BATCH):
        for _ in range(BATCH):
            stranger.send_multipart(dressed(chance, next(source), publication.TALK))
        publisher.publish("t", 1)
        assert subscriber.receive(BOUND_S).body == 1
        memory.look()

    # Messages of a connection keep their order, so once this has joined all was seen. What its
    # queue has no room for is dropped, so it says so again.
    def joins() -> bool:
        for frames in publications.enters(STRANGER), hello(publisher):
            stranger.send_multipart(frames)
        return publisher.stats()["subscribers"] == 2

    until(joins)
    assert malformed(publisher) > BATCH
    kit.core(publisher).check()
    stranger.close(linger=0)
    until(lambda: publisher.stats()["subscribers"] == 1)
    assert subscriber.stats()["malformed"] == {}


def hello(publisher: Any) -> tuple[bytes, ...]:
    frames = publications.hello(source=STRANGER, target=publisher.incarnation)
    return tuple(map(bytes, frames))


def test_garbage_at_a_publisher_that_waits_holds_nobody_up(kit: Kit, open_socket: Open) -> None:
    publisher, subscriber = kit.publisher(policy="block", stall_s=60.0), kit.subscriber()
    publisher.ready(timeout_s=BOUND_S)
    stranger = open_socket(zmq.XSUB)
    stranger.connect(publisher.endpoint)
    chance = random.Random(SEED)
    source = messages(chance, publisher.incarnation)
    for number in range(30):
        for _ in range(BATCH // 10):
            stranger.send_multipart(dressed(chance, next(source), publication.TALK))
        kit.publish(publisher, *(("t", n) for n in range(1000)))
        for n in range(1000):
            assert subscriber.receive(BOUND_S).body == n, number
    assert publisher.stats()["exclusions"] == 0 and subscriber.stats()["missing"] == 0


def test_sockets_of_all_kinds_at_a_publisher_harm_nobody(kit: Kit, open_socket: Open) -> None:
    publisher, subscriber = kit.publisher(), kit.subscriber()
    publisher.ready(timeout_s=BOUND_S)
    for kind in (zmq.SUB, zmq.XSUB, zmq.PUB, zmq.DEALER, zmq.PUSH, zmq.PULL, zmq.PAIR, zmq.REQ):
        stranger = open_socket(kind)
        if kind == zmq.SUB:
            stranger.setsockopt(zmq.SUBSCRIBE, b"")
        stranger.connect(publisher.endpoint)
        if kind not in (zmq.SUB, zmq.PULL):
            try:
                stranger.send_multipart([b"\x01", b"\x02"], zmq.NOBLOCK)
            except zmq.Again:
                continue  # it has found out that the two do not go together
        for _ in range(10):
            publisher.publish("t", int(kind))
            assert subscriber.receive(BOUND_S).body == int(kind)


class FakePublisher:
    """Somebody at an address who says what the test wants to whoever subscribes there."""

    def __init__(self, open_socket: Open) -> None:
        self._socket = open_socket(zmq.XPUB)
        port = self._socket.bind_to_random_port("tcp://127.0.0.1")
        self.url = f"tcp://127.0.0.1:{port}"

    def meet(self) -> int:
        """Wait for a subscriber's subscriptions; gives its incarnation."""
        while True:
            assert self._socket.poll(BOUND_S * 1000), "nobody subscribed"
            frame = self._socket.recv()
            if frame[:2] == b"\x01\0" and any(frame[2:]):
                return int.from_bytes(frame[2:], "big")

    def say(self, *frames: bytes) -> None:
        self._socket.send_multipart([*frames])


@pytest.mark.parametrize("options", [{}, {"latest": True}, {"topics": ["t"]}])
def test_garbage_at_a_subscriber_harms_nobody(
    kit: Kit, open_socket: Open, memory: Memory, options: dict[str, Any]
) -> None:
    fake = FakePublisher(open_socket)
    subscriber = kit.subscriber(fake.url, count=0, **options)
    us = fake.meet()
    chance = random.Random(SEED)
    source = messages(chance, us)
    for number in range(1, COUNT // BATCH + 1):
        for _ in range(BATCH):
            fake.say(*dressed(chance, next(source), b"t"))
        fake.say(*publications.welcome(0, source=FAKE, target=us))
        fake.say(*publications.publish("t", number, f"honest {number}", source=FAKE))
        while subscriber.receive(BOUND_S).body != f"honest {number}":
            continue
        kit.balanced(subscriber)
        memory.look()
    assert malformed(subscriber) > COUNT // 10
    kit.core(subscriber).check()


def test_a_publisher_that_is_not_the_one_announced_is_left(kit: Kit, open_socket: Open) -> None:
    publisher, subscriber = kit.publisher(), kit.subscriber()
    publisher.ready(timeout_s=BOUND_S)
    core, us = kit.core(subscriber), kit.core(subscriber).incarnation
    [peer] = core.sources.by_peer
    before = core.stats()["malformed"]
    for frames in (
        publications.publish("t", 9, "forged", source=FAKE),
        publications.mark(5, source=FAKE),
        publications.publish("t", 9, "forged", source=0, wall_us=us),
    ):
        assert core.receive(peer, frames, 0.0) == []
    assert core.stats()["malformed"] == {**before, "source": 3}
    publisher.publish("t", 1)
    assert subscriber.receive(BOUND_S).body == 1
