"""Messages that a loop sends one by one, and nobody waits for: they gather, unnoticed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from threading import Barrier

import pytest

import zmqkit
import zmqkit.asyncio
from tests.roles.kit import BOUND_S, AsyncKit, Kit, received, until
from zmqkit.limits import BATCH_BYTES, FOLLOW_STREAK, QUEUE_MESSAGES, PublisherLimits

pytestmark = pytest.mark.usefixtures("node")

GATHER_MESSAGES = PublisherLimits().gather_messages
COUNT = 5 * FOLLOW_STREAK


@pytest.fixture(autouse=True)
def all_follow_closely(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is."""
    monkeypatch.setattr(Kit, "follow_s", BOUND_S)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> None:
    """What gathers is not due during the test."""
    monkeypatch.setattr(Kit, "hold_s", BOUND_S)


def publish(publisher: zmqkit.Publisher, count: int = COUNT) -> None:
    for number in range(count):
        publisher.publish("t", number)


def bodies(subscriber: zmqkit.Subscriber, count: int = COUNT) -> list[object]:
    return [message.body for message in received(subscriber, count)]


@pytest.mark.parametrize("address", ["", "memory://{}"])
def test_they_leave_though_nobody_comes_to_send_them(blocking: Kit, address: str) -> None:
    where = address.format(blocking.name)
    publisher = blocking.publisher(bind=where or None)
    subscriber = blocking.subscriber(where)
    publisher.ready(timeout_s=BOUND_S)
    for _ in range(3):
        publish(publisher)
        assert bodies(subscriber) == [*range(COUNT)]
    until(lambda: not publisher._life.driver._flusher.awake)


@pytest.mark.usefixtures("held")
def test_until_then_they_are_queued(blocking: Kit) -> None:
    publisher = blocking.publisher()

    def gathers() -> bool:
        publish(publisher)
        stats = blocking.balanced(publisher)
        assert stats["accepted"] % COUNT == 0 and stats["handed_over"] >= FOLLOW_STREAK
        return bool(stats["queued"])

    until(gathers)  # the keeper may have just looked


def _batch(publisher: zmqkit.Publisher) -> None:
    with publisher.batch() as batch:
        batch.publish("t", COUNT)


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize(
    "verb",
    [
        lambda publisher: publisher.publish("t", bytes(BATCH_BYTES)),
        lambda publisher: publisher.publish("t", memoryview(b"raw")),
        lambda publisher: publisher.ready(2, timeout_s=0.01),
        lambda publisher: publisher.close(),
        _batch,
    ],
    ids=["large", "raw", "ready", "close", "batch"],
)
def test_they_leave_before(verb: Callable[[zmqkit.Publisher], object], blocking: Kit) -> None:
    publisher, subscriber = blocking.publisher(), blocking.subscriber()
    publisher.ready(timeout_s=BOUND_S)
    publish(publisher)
    verb(publisher)
    assert bodies(subscriber) == [*range(COUNT)]
    assert subscriber.stats()["missing"] == 0


@pytest.mark.usefixtures("held")
def test_a_value_that_cannot_travel_is_named_at_once(blocking: Kit) -> None:
    publisher = blocking.publisher()
    publish(publisher)
    with pytest.raises(zmqkit.UsageError, match="body"):
        publisher.publish("t", {1, 2})
    with pytest.raises(zmqkit.UsageError, match="topic"):
        publisher.publish("", 1)
    assert blocking.balanced(publisher)["accepted"] == COUNT


def test_later_changes_do_no_harm(blocking: Kit) -> None:
    publisher, subscriber = blocking.publisher(), blocking.subscriber()
    publisher.ready(timeout_s=BOUND_S)
    body: list[object] = []
    for number in range(COUNT):
        body.append(number)
        publisher.publish("t", body)
    body.clear()
    assert bodies(subscriber) == [[*range(number + 1)] for number in range(COUNT)]


def test_threads_share_a_publisher(blocking: Kit) -> None:
    publisher, subscriber = blocking.publisher(policy="block"), blocking.subscriber()
    publisher.ready(timeout_s=BOUND_S)
    begin = Barrier(3)

    def run(topic: str) -> None:
        begin.wait(BOUND_S)
        for number in range(2000):
            publisher.publish(topic, number)

    running = [blocking.start(run, topic) for topic in "abc"]
    found: dict[str, list[object]] = {}
    for _ in range(6000):
        message = subscriber.receive(BOUND_S)
        assert message is not None
        found.setdefault(message.topic, []).append(message.body)
    assert found == {topic: [*range(2000)] for topic in "abc"}
    for each in running:
        each.result()


@pytest.mark.slow
def test_a_publisher_that_waits_waits(blocking: Kit) -> None:
    publisher, subscriber = blocking.publisher(policy="block"), blocking.subscriber()
    publisher.ready(timeout_s=BOUND_S)
    count = 3 * QUEUE_MESSAGES
    publishing = blocking.start(publish, publisher, count)
    until(lambda: blocking.core(publisher).blocked)
    assert publisher.stats()["accepted"] <= QUEUE_MESSAGES + GATHER_MESSAGES
    assert bodies(subscriber, count) == [*range(count)]
    publishing.result()
    assert (subscriber.stats()["missing"], subscriber.stats()["dropped"]) == (0, {})


def test_a_closed_publisher_takes_no_more(blocking: Kit) -> None:
    publisher = blocking.publisher()
    publish(publisher)
    publisher.close()
    with pytest.raises(zmqkit.UsageError, match="closed"):
        publisher.publish("t", 1)
    assert blocking.balanced(publisher)["accepted"] == COUNT


def test_one_way_messages_leave_though_nobody_comes_to_send_them(blocking: Kit) -> None:
    came: list[int] = []
    blocking.serving(came.append)
    client = blocking.client()
    for round in range(3):
        for number in range(COUNT):
            client.notify("append", number)
        until(lambda: len(came) == (round + 1) * COUNT)  # noqa: B023 - asked at once
    assert came == [*range(COUNT)] * 3
    until(lambda: not client.stats()["in_flight"])


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize("end", ["call", "close"])
def test_one_way_messages_leave_before(blocking: Kit, end: str) -> None:
    came: list[int] = []
    blocking.serving(came.append)
    client = blocking.client()
    for number in range(COUNT):
        client.notify("append", number)
    if end == "call":
        client.call("append", COUNT)
        assert came == [*range(COUNT + 1)]
    else:
        assert client.close(BOUND_S) == 0
        assert came == [*range(COUNT)]


async def in_turns(publisher: zmqkit.asyncio.Publisher, count: int = COUNT) -> None:
    for number in range(count):
        await publisher.publish("t", number)
        await asyncio.sleep(0)


def test_one_a_turn_they_leave_though_no_turn_comes(aio: AsyncKit) -> None:
    publisher, subscriber = aio.publisher(), aio.subscriber()
    publisher.ready(timeout_s=BOUND_S)
    for _ in range(3):
        aio.submit(in_turns(publisher.inner)).result(BOUND_S)
        assert bodies(subscriber) == [*range(COUNT)]


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize("end", ["large", "batch", "close"])
def test_one_a_turn_they_leave_before(aio: AsyncKit, end: str) -> None:
    publisher, subscriber = aio.publisher(), aio.subscriber()
    publisher.ready(timeout_s=BOUND_S)
    aio.submit(in_turns(publisher.inner)).result(BOUND_S)
    assert aio.balanced(publisher)["accepted"] == COUNT
    if end == "close":
        publisher.close()
    elif end == "batch":
        aio.publish(publisher, ("t", COUNT))
    else:
        publisher.publish("t", bytes(BATCH_BYTES))
    assert bodies(subscriber) == [*range(COUNT)]
    assert subscriber.stats()["missing"] == 0


@pytest.mark.slow
def test_one_a_turn_a_publisher_that_waits_waits(aio: AsyncKit) -> None:
    publisher, subscriber = aio.publisher(policy="block"), aio.subscriber()
    publisher.ready(timeout_s=BOUND_S)
    count = 2 * QUEUE_MESSAGES
    publishing = aio.submit(in_turns(publisher.inner, count))
    until(lambda: aio.core(publisher).blocked)
    assert publisher.stats()["accepted"] <= QUEUE_MESSAGES + GATHER_MESSAGES
    assert bodies(subscriber, count) == [*range(count)]
    publishing.result(BOUND_S)
    assert (subscriber.stats()["missing"], subscriber.stats()["dropped"]) == (0, {})


PROGRAM = """
import sys, zmqkit

publisher = zmqkit.Publisher(sys.argv[1])
publisher.ready()
for number in range(int(sys.argv[2])):
    publisher.publish("t", number)
"""


@pytest.mark.slow
def test_they_leave_before_the_process_ends(blocking: Kit) -> None:
    subscriber = blocking.subscriber(count=0)
    command = [sys.executable, "-c", PROGRAM, blocking.name, str(COUNT)]
    subprocess.run(command, check=True, timeout=BOUND_S)
    assert bodies(subscriber) == [*range(COUNT)]
