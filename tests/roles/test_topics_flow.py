"""What happens to messages when somebody is slow, stuck, or gone for a while."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any

import pytest
import zmq

from tests.roles.kit import BOUND_S, AsyncKit, Kit, received, until
from zmqkit.core.effects import News, Tell
from zmqkit.limits import BATCH_BYTES, QUEUE_BYTES, QUEUE_MESSAGES, PublisherLimits

pytestmark = pytest.mark.usefixtures("node")

SHORT_S = 0.1


def lose(kit: Kit, publisher: Any, topic: str, count: int) -> None:
    """Publish so many messages that the link does not carry."""
    core = kit.core(publisher)

    def publish() -> None:
        for number in range(count):
            core.publish(topic, number, 0.0)

    if isinstance(kit, AsyncKit):
        kit.on_loop(publish)
    else:
        with publisher._life.driver.lock:
            publish()


def in_order(messages: list[Any]) -> bool:
    last: dict[tuple[str, str], int] = {}
    for message in messages:
        key = (message.publisher, message.topic)
        if message.sequence <= last.get(key, 0):
            return False
        last[key] = message.sequence
    return True


def test_a_gap_is_told_before_the_next_message(kit: Kit) -> None:
    seen: list[object] = []
    publisher = kit.publisher()
    subscriber = kit.subscriber(on_gap=seen.append)
    publisher.ready(timeout_s=BOUND_S)
    publisher.publish("t", 1)
    seen.append(subscriber.receive(BOUND_S).sequence)
    lose(kit, publisher, "t", 3)
    publisher.publish("t", 2)
    seen.append(subscriber.receive(BOUND_S).sequence)
    assert [type(each).__name__ for each in seen] == ["int", "Gap", "int"]
    gap = seen[1]
    assert gap == ("t", subscriber.publishers()[0]["label"], 3)
    stats = subscriber.stats()
    assert (stats["gaps"], stats["missing"], stats["received"]) == (1, 3, 2)


def test_a_gap_that_nobody_asks_for_is_counted(kit: Kit) -> None:
    publisher, subscriber = kit.publisher(), kit.subscriber()
    publisher.ready(timeout_s=BOUND_S)
    publisher.publish("t", 1)
    lose(kit, publisher, "t", 2)
    publisher.publish("t", 2)
    assert [message.sequence for message in received(subscriber, 2)] == [1, 4]
    assert subscriber.stats()["missing"] == 2


@pytest.mark.slow
def test_a_slow_subscriber_drops_the_oldest_and_slows_nobody(kit: Kit) -> None:
    publisher = kit.publisher()
    slow, quick = kit.subscriber(), kit.subscriber()
    publisher.ready(2, timeout_s=BOUND_S)
    count = 2 * QUEUE_MESSAGES
    for first in range(0, count, 1000):
        kit.publish(publisher, *(("t", n) for n in range(first, first + 1000)))
        assert [message.body for message in received(quick, 1000)] == [
            *range(first, first + 1000)
        ]
    until(lambda: slow.stats()["received"] == count)
    assert slow.stats()["queued"] == QUEUE_MESSAGES
    assert slow.stats()["dropped"] == {"full": count - QUEUE_MESSAGES}
    assert received(slow, 1)[0].body == count - QUEUE_MESSAGES
    assert slow.stats()["missing"] == quick.stats()["missing"] == 0


@pytest.mark.slow
def test_the_latest_message_of_each_topic_is_read(kit: Kit) -> None:
    publisher = kit.publisher()
    subscriber = kit.subscriber(latest=True)
    publisher.ready(timeout_s=BOUND_S)
    kit.publish(publisher, *((f"t{n % 3}", n) for n in range(3000)))
    until(lambda: subscriber.stats()["received"] == 3000)
    assert [message.body for message in received(subscriber, 3)] == [2997, 2998, 2999]
    assert subscriber.receive(0) is None
    stats = kit.balanced(subscriber)
    assert stats["dropped"] == {"replaced": 2997}


@pytest.mark.slow
@pytest.mark.parametrize("address", ["", "memory://{}"])
def test_a_publisher_that_waits_loses_nothing(kit: Kit, address: str) -> None:
    where = address.format(kit.name)
    publisher = kit.publisher(policy="block", bind=where or None)
    subscriber = kit.subscriber(where)
    publisher.ready(timeout_s=BOUND_S)
    count = 2 * QUEUE_MESSAGES
    publishing = kit.start(kit.publish_each, publisher, count)
    until(lambda: kit.core(publisher).blocked)
    assert publisher.stats()["accepted"] <= QUEUE_MESSAGES + PublisherLimits().gather_messages
    assert [message.body for message in received(subscriber, count)] == [*range(count)]
    publishing.result()
    stats = subscriber.stats()
    assert (stats["missing"], stats["dropped"]) == (0, {})


@pytest.mark.slow
def test_many_topics_of_a_publisher_that_waits_lose_nothing(kit: Kit) -> None:
    publisher = kit.publisher(policy="block")
    subscriber = kit.subscriber()
    publisher.ready(timeout_s=BOUND_S)
    count = 2 * QUEUE_MESSAGES

    async def publish() -> None:
        for number in range(count):
            await publisher.inner.publish(f"t{number % 100}", number)

    if isinstance(kit, AsyncKit):
        publishing = kit.start(kit.submit(publish()).result, BOUND_S)
    else:
        messages = [(f"t{n % 100}", n) for n in range(count)]
        publishing = kit.start(kit.publish, publisher, *messages)
    until(lambda: kit.core(publisher).blocked)
    bodies = [message.body for message in received(subscriber, count)]
    publishing.result()
    assert sorted(bodies) == [*range(count)]
    assert subscriber.stats()["dropped"] == {}


@pytest.mark.slow
def test_many_who_publish_at_once_keep_within_the_window(kit: Kit) -> None:
    publisher = kit.publisher(policy="block")
    subscriber = kit.subscriber()
    publisher.ready(timeout_s=BOUND_S)
    kit.publish(publisher, *(("t", n) for n in range(QUEUE_MESSAGES + 10)))
    assert kit.core(publisher).blocked
    each = 6000
    publishing = [
        kit.start(kit.publish, publisher, *((f"t{k}", n) for n in range(each)))
        for k in range(10)
    ]
    count = QUEUE_MESSAGES + 10 + 10 * each
    messages = received(subscriber, count)
    for started in publishing:
        started.result()
    assert in_order(messages)
    assert subscriber.stats()["dropped"] == {} and subscriber.stats()["missing"] == 0


@pytest.mark.slow
def test_one_that_is_stuck_is_excluded_with_a_warning_and_taken_in_again(
    kit: Kit, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "zmqkit")
    publisher = kit.publisher(policy="block", stall_s=1.0)
    stuck, quick = kit.subscriber(), kit.subscriber()
    publisher.ready(2, timeout_s=BOUND_S)
    # Long ones, of which a window has so few that to read them takes no time.
    body = bytes(BATCH_BYTES - 1)
    count = 2 * QUEUE_BYTES // BATCH_BYTES
    publishing = kit.start(kit.publish_each, publisher, count, body)
    assert [message.sequence for message in received(quick, count)] == [*range(1, count + 1)]
    publishing.result()
    stats = publisher.stats()
    assert (stats["excluded"], stats["exclusions"]) == (1, 1)
    warnings = [each.getMessage() for each in caplog.records if each.name == "zmqkit"]
    assert len(warnings) == 1 and warnings[0].startswith("subscriber-excluded")
    while stuck.receive(SHORT_S) is not None:
        continue
    for number in range(count // 8):
        kit.publish(publisher, ("t", body))
        if number % 100 == 0:
            while stuck.receive(0.01) is not None:
                continue
    until(lambda: stuck.receive(0.01) is None and not publisher.stats()["excluded"])
    assert stuck.stats()["missing"] == 0


@pytest.mark.slow
def test_one_that_is_stuck_is_excluded_while_another_thread_waits_for_subscribers(
    blocking: Kit,
) -> None:
    publisher = blocking.publisher(policy="block", stall_s=SHORT_S)
    blocking.subscriber()
    publisher.ready(timeout_s=BOUND_S)
    waiting = blocking.start(publisher.ready, 5)
    until(lambda: publisher._life.driver.led)
    publishing = blocking.start(blocking.publish_each, publisher, QUEUE_MESSAGES + 100)
    until(lambda: publisher.stats()["exclusions"] == 1)
    publishing.result()
    publisher.close()
    waiting.result()


def test_a_subscriber_that_leaves_frees_the_publisher_that_waits_for_it(kit: Kit) -> None:
    publisher = kit.publisher(policy="block", stall_s=BOUND_S)
    subscriber = kit.subscriber()
    publisher.ready(timeout_s=BOUND_S)
    publishing = kit.start(kit.publish_each, publisher, QUEUE_MESSAGES + 100)
    until(lambda: kit.core(publisher).blocked)
    subscriber.close()
    publishing.result()
    until(lambda: publisher.stats()["subscribers"] == 0)


def test_leaving_the_loop_and_going_on_later_loses_nothing(blocking: Kit) -> None:
    publisher, subscriber = blocking.publisher(), blocking.subscriber()
    publisher.ready(timeout_s=BOUND_S)
    blocking.publish(publisher, *(("t", n) for n in range(100)))
    bodies = []
    while len(bodies) < 100:
        for message in subscriber:
            bodies.append(message.body)
            if len(bodies) % 7 == 0 or len(bodies) == 100:
                break
        bodies += [subscriber.receive(BOUND_S).body] if len(bodies) < 100 else []
        blocking.balanced(subscriber)
    assert bodies == [*range(100)]


def test_leaving_the_async_loop_and_going_on_later_loses_nothing(aio: AsyncKit) -> None:
    publisher, subscriber = aio.publisher(), aio.subscriber()
    publisher.ready(timeout_s=BOUND_S)
    aio.publish(publisher, *(("t", n) for n in range(100)))

    async def read_some() -> list[Any]:
        bodies: list[Any] = []
        while len(bodies) < 100:
            async for message in subscriber.inner:
                bodies.append(message.body)
                if len(bodies) % 7 == 0 or len(bodies) == 100:
                    break
        return bodies

    assert aio.submit(read_some()).result(BOUND_S) == [*range(100)]


def test_several_readers_share_what_comes(kit: Kit) -> None:
    publisher, subscriber = kit.publisher(), kit.subscriber()
    publisher.ready(timeout_s=BOUND_S)
    came: list[Any] = []
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            if (message := subscriber.receive(0.05)) is not None:
                came.append(message.body)

    working = [kit.start(work) for _ in range(4)]
    for first in range(0, 1000, 100):
        kit.publish(publisher, *(("t", n) for n in range(first, first + 100)))
    until(lambda: len(came) == 1000)
    over.set()
    for started in working:
        started.result()
    assert sorted(came) == [*range(1000)]
    assert subscriber.stats()["delivered"] == 1000


def test_several_readers_wait_without_end(kit: Kit) -> None:
    publisher, subscriber = kit.publisher(), kit.subscriber()
    publisher.ready(timeout_s=BOUND_S)
    waiting = [kit.start(subscriber.receive) for _ in range(3)]
    for number in range(3):
        publisher.publish("t", number)
    assert sorted(each.result().body for each in waiting) == [0, 1, 2]


def test_counters_balance_while_messages_are_in_hand(kit: Kit) -> None:
    publisher, subscriber = kit.publisher(), kit.subscriber()
    publisher.ready(timeout_s=BOUND_S)
    kit.publish(publisher, *(("t", n) for n in range(10)))
    for number in range(10):
        assert subscriber.receive(BOUND_S).body == number
        stats = kit.balanced(subscriber)
        assert (stats["delivered"], stats["queued"]) == (number + 1, 9 - number)
    assert kit.balanced(publisher)["handed_over"] == 10


@pytest.mark.parametrize("policy", ["drop", "block"])
def test_a_loop_that_publishes_leaves_others_their_turns(aio: AsyncKit, policy: str) -> None:
    publisher = aio.publisher(policy=policy)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async def publish() -> None:
        counting = asyncio.create_task(count())
        while turns < 10:
            await publisher.inner.publish("t", turns)
        async with publisher.inner.batch() as batch:
            while turns < 20:
                await batch.publish("t", turns)
        counting.cancel()

    aio.submit(publish()).result(BOUND_S)


ONE_PACKET = 200


def arrived(subscriber: Any) -> None:
    """Wait until a packet waits in a socket of the subscriber, which nobody reads meanwhile."""
    ports = subscriber._life.driver.driver.link._peers.values()
    until(lambda: any(port.socket.get(zmq.EVENTS) & zmq.POLLIN for port in ports))


def restated(subscriber: Any, news: News) -> list[Tell]:
    """The news that the node tells of a publisher that was out of reach for a moment."""
    [source] = subscriber._core.publishers
    return [
        Tell(each, f"publisher/{subscriber.name}", source.incarnation, source.endpoint)
        for each in (News.LOST, news)
    ]


@pytest.mark.parametrize("news", [News.FOUND, News.GONE])
def test_what_had_arrived_is_read_though_its_publisher_is_lost(
    blocking: Kit, news: News
) -> None:
    publisher = blocking.publisher(policy="block")
    subscriber = blocking.subscriber()
    publisher.ready(timeout_s=BOUND_S)
    with subscriber._life.lock:  # so that the keeper reads nothing
        blocking.publish(publisher, *(("t", number) for number in range(ONE_PACKET)))
        arrived(subscriber)
    for tell in restated(subscriber, news):
        subscriber._life.hear(tell)
    assert [each.body for each in received(subscriber, ONE_PACKET)] == list(range(ONE_PACKET))


@pytest.mark.parametrize("news", [News.FOUND, News.GONE])
def test_what_had_arrived_for_a_loop_is_read_though_its_publisher_is_lost(
    blocking: Kit, aio: AsyncKit, news: News
) -> None:
    publisher = blocking.publisher(policy="block")
    subscriber = aio.subscriber(publisher.name)
    publisher.ready(timeout_s=BOUND_S)

    def stand_still() -> None:
        blocking.publish(publisher, *(("t", number) for number in range(ONE_PACKET)))
        arrived(subscriber.inner)
        for tell in restated(subscriber.inner, news):
            subscriber.inner._life.take(tell)

    aio.on_loop(stand_still)
    assert [each.body for each in received(subscriber, ONE_PACKET)] == list(range(ONE_PACKET))
