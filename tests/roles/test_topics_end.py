"""What a publisher published before its end is read, or counted."""

from __future__ import annotations

import pytest

import zmqkit
from tests.roles.kit import BOUND_S, AsyncKit, Kit, received, until
from zmqkit.limits import QUEUE_MESSAGES

pytestmark = pytest.mark.usefixtures("node")


def test_what_was_published_before_close_is_read_after_it(kit: Kit) -> None:
    publisher = kit.publisher(policy="block")
    subscriber = kit.subscriber()
    publisher.ready(1, timeout_s=BOUND_S)
    kit.publish(publisher, *(("t", n) for n in range(QUEUE_MESSAGES // 2)))
    assert publisher.close() == 0
    bodies = [message.body for message in received(subscriber, QUEUE_MESSAGES // 2)]
    assert bodies == list(range(QUEUE_MESSAGES // 2))


def test_what_was_lost_before_close_is_missing(kit: Kit) -> None:
    publisher = kit.publisher()
    subscriber = kit.subscriber()
    publisher.ready(1, timeout_s=BOUND_S)
    kit.publish_each(publisher, 20_000)
    assert publisher.close(BOUND_S) == 0

    def accounted() -> int:
        stats = subscriber.stats()
        return int(stats["received"] + stats["missing"])

    until(lambda: accounted() == 20_000)


def test_a_batch_gathers_inside_its_block_alone(blocking: Kit) -> None:
    batch = blocking.publisher().batch()
    with pytest.raises(zmqkit.UsageError, match="with block"):
        batch.publish("t", 1)
    with batch:
        batch.publish("t", 1)
    with pytest.raises(zmqkit.UsageError, match="with block"):
        batch.publish("t", 1)


@pytest.mark.parametrize("option", ["latest", "copy", "on_gap"])
def test_a_wrong_option_of_a_subscriber_is_named(kit: Kit, option: str) -> None:
    with pytest.raises(zmqkit.UsageError, match=f"{option} is 3"):
        kit.subscriber(count=0, **{option: 3})


def test_a_callback_may_wait(aio: Kit) -> None:
    publisher, subscriber = aio.publisher(), aio.subscriber()
    publisher.ready(1, timeout_s=BOUND_S)
    heard: list[object] = []

    async def hear(message: zmqkit.Message) -> None:
        heard.append(message.body)
        subscriber.stop()

    publisher.publish("t", 1)
    subscriber.listen(hear, timeout_s=BOUND_S)
    assert heard == [1]


def test_a_listener_that_waits_leaves_the_rest_to_other_readers(aio: AsyncKit) -> None:
    count = 200
    publisher, subscriber = aio.publisher(), aio.subscriber().inner
    publisher.ready(1, timeout_s=BOUND_S)
    seen: list[object] = []

    async def hear(message: zmqkit.Message) -> None:
        seen.append(message.body)
        other = await subscriber.receive(BOUND_S if len(seen) < count else 0)
        if other is not None:
            seen.append(other.body)
        if len(seen) >= count:
            subscriber.stop()

    for number in range(count // 10):
        aio.publish(publisher, *(("t", 10 * number + n) for n in range(10)))
    aio.submit(subscriber.listen(hear, BOUND_S)).result(2 * BOUND_S)
    assert seen == list(range(count))
