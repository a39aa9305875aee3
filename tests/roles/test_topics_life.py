"""How publishers and subscribers start, stop, close and are misused, and what is left."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

import zmqkit
import zmqkit.asyncio
from tests.naming import shown
from tests.roles.kit import BOUND_S, AsyncKit, Kit, until
from tests.roles.test_lifetime import in_child
from zmqkit.limits import QUEUE_MESSAGES

pytestmark = pytest.mark.usefixtures("node")

SHORT_S = 0.05


def listening(kit: Kit, subscriber: Any) -> tuple[Any, list[Any]]:
    """A thread or task that listens, and what it hears."""
    heard: list[Any] = []
    return kit.start(subscriber.listen, heard.append), heard


def test_listen_calls_back_until_stop(kit: Kit) -> None:
    publisher, subscriber = kit.publisher(), kit.subscriber()
    publisher.ready(timeout_s=BOUND_S)
    listening_, heard = listening(kit, subscriber)
    for number in range(3):
        publisher.publish("t", number)
    until(lambda: len(heard) == 3)
    subscriber.stop()
    assert listening_.result() is None
    publisher.publish("t", 3)
    assert subscriber.receive(BOUND_S).body == 3


def test_listen_returns_when_its_time_is_over(kit: Kit) -> None:
    kit.publisher()
    subscriber = kit.subscriber()
    assert subscriber.listen(print, SHORT_S) is None
    assert subscriber.listen(print, 0) is None


def test_callback_may_stop_its_subscriber_and_the_rest_is_kept(kit: Kit) -> None:
    publisher, subscriber = kit.publisher(), kit.subscriber()
    publisher.ready(timeout_s=BOUND_S)
    kit.publish(publisher, *(("t", n) for n in range(10)))
    heard: list[object] = []

    def hear(message: Any) -> None:
        heard.append(message.body)
        if message.body == 4:
            subscriber.stop()

    subscriber.listen(hear, BOUND_S)
    assert heard == [0, 1, 2, 3, 4]
    assert [subscriber.receive(BOUND_S).body for _ in range(5)] == [5, 6, 7, 8, 9]


def test_callback_that_raises_ends_listen_and_loses_nothing_else(kit: Kit) -> None:
    publisher, subscriber = kit.publisher(), kit.subscriber()
    publisher.ready(timeout_s=BOUND_S)
    kit.publish(publisher, ("t", 0), ("t", 1))
    with pytest.raises(ZeroDivisionError):
        subscriber.listen(lambda message: 1 // message.body)
    assert subscriber.receive(BOUND_S).body == 1


def test_stop_ends_a_wait_for_a_message(kit: Kit) -> None:
    kit.publisher()
    subscriber = kit.subscriber()
    waiting = kit.start(subscriber.receive)
    subscriber.stop()
    assert waiting.result() is None


def test_stop_ends_the_loop(blocking: Kit) -> None:
    blocking.publisher()
    subscriber = blocking.subscriber()
    looping = blocking.start(list, subscriber)
    subscriber.stop()
    assert looping.result() == []


def test_stop_ends_the_async_loop_from_another_thread(aio: AsyncKit) -> None:
    aio.publisher()
    subscriber = aio.subscriber()

    async def loop() -> list[Any]:
        return [message async for message in subscriber.inner]

    looping = aio.submit(loop())
    subscriber.inner.stop()
    assert looping.result(BOUND_S) == []


def test_stop_before_the_loop_lets_it_end_at_once(kit: Kit) -> None:
    subscriber = kit.subscriber(count=0)
    subscriber.stop()
    assert subscriber.receive() is None


def test_a_signal_handler_may_stop_the_loop(blocking: Kit) -> None:
    publisher, subscriber = blocking.publisher(), blocking.subscriber()
    publisher.ready(timeout_s=BOUND_S)
    publisher.publish("t", 1)
    before = signal.signal(signal.SIGUSR1, lambda *_: subscriber.stop())
    try:
        bodies = []
        for message in subscriber:
            bodies.append(message.body)
            threading.Timer(SHORT_S, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        assert bodies == [1]
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_topics_are_subscribed_to_and_unsubscribed_later(kit: Kit) -> None:
    publisher, subscriber = kit.publisher(), kit.subscriber("", "kitchen.")
    publisher.ready(timeout_s=BOUND_S)
    subscriber.subscribe("hall", "cellar")
    assert subscriber.ready(timeout_s=BOUND_S) == 1
    for topic in ("hall", "attic", "kitchen.lux"):
        publisher.publish(topic, 1)
    assert [subscriber.receive(BOUND_S).topic for _ in range(2)] == ["hall", "kitchen.lux"]
    subscriber.unsubscribe("hall")
    subscriber.subscribe("attic")
    assert subscriber.ready(timeout_s=BOUND_S) == 1
    for topic in ("hall", "attic"):
        publisher.publish(topic, 2)
    assert subscriber.receive(BOUND_S).topic == "attic"
    assert subscriber.stats()["missing"] == 0


@pytest.mark.parametrize("size", [100, 1 << 20])
@pytest.mark.parametrize("copy", [False, True])
def test_a_long_body_is_copied_or_not(kit: Kit, size: int, copy: bool) -> None:
    publisher, subscriber = kit.publisher(), kit.subscriber(copy=copy)
    publisher.ready(timeout_s=BOUND_S)
    for number in range(3):
        publisher.publish("t", bytes([number]) * size)
    bodies = [subscriber.receive(BOUND_S).body for _ in range(3)]
    viewed = not copy and size > 100
    assert [type(body) for body in bodies] == [memoryview if viewed else bytes] * 3
    assert bodies == [bytes([number]) * size for number in range(3)]
    assert all(body.readonly for body in bodies if viewed)


@pytest.mark.slow
def test_the_longest_body_arrives(kit: Kit) -> None:
    publisher, subscriber = kit.publisher(), kit.subscriber()
    publisher.ready(timeout_s=BOUND_S)
    for body in (bytes(64 << 20), [bytes((64 << 20) - 10)], "after"):
        publisher.publish("t", body)
        assert subscriber.receive(BOUND_S).body == body
    with pytest.raises(zmqkit.UsageError, match="67108864 at most"):
        publisher.publish("t", bytes((64 << 20) + 1))


@pytest.mark.slow
def test_what_was_published_last_leaves_before_the_publisher_does(kit: Kit) -> None:
    publisher, subscriber = kit.publisher(), kit.subscriber()
    publisher.ready(timeout_s=BOUND_S)
    kit.publish(publisher, *(("t", n) for n in range(1000)))
    publisher.publish("t", b"x" * (1 << 20))
    publisher.close()
    assert [subscriber.receive(BOUND_S).sequence for _ in range(1001)][-1] == 1001


def test_close_says_how_many_nobody_has_read(kit: Kit) -> None:
    publisher, subscriber = kit.publisher(), kit.subscriber()
    publisher.ready(timeout_s=BOUND_S)
    kit.publish(publisher, *(("t", n) for n in range(10)))
    publisher.publish("u", 10)
    until(lambda: subscriber.stats()["received"] == 11)
    assert subscriber.receive(BOUND_S).body == 0
    assert subscriber.close() == 10
    stats = kit.balanced(subscriber)
    assert (stats["delivered"], stats["queued"], stats["dropped"]) == (1, 0, {"closed": 10})
    assert subscriber.close() == publisher.close() == publisher.close() == 0


def test_close_ends_all_waits_of_a_subscriber(kit: Kit) -> None:
    subscriber = kit.subscriber(count=0)
    waiting = [kit.start(subscriber.receive), kit.start(subscriber.ready, 5)]
    listening_, _ = listening(kit, subscriber)
    until(lambda: in_verbs(kit, subscriber) == 3)
    subscriber.close()
    assert [each.result() for each in waiting] == [None, 0]
    assert listening_.result() is None


def in_verbs(kit: Kit, role: Any) -> int:
    """How many wait inside a verb, as far as can be seen."""
    if isinstance(kit, AsyncKit):
        return len(role.inner._life.driver._after)
    driver = role._life.driver
    return int(driver.led) + len(driver._news._waiters)


def test_close_ends_the_async_loop(aio: AsyncKit) -> None:
    publisher, subscriber = aio.publisher(), aio.subscriber()
    publisher.ready(timeout_s=BOUND_S)
    publisher.publish("t", 1)

    async def loop() -> list[Any]:
        bodies = []
        async for message in subscriber.inner:
            bodies.append(message.body)
            await subscriber.inner.close()
        return bodies

    assert aio.submit(loop()).result(BOUND_S) == [1]


def test_close_ends_the_loop(blocking: Kit) -> None:
    publisher, subscriber = blocking.publisher(), blocking.subscriber()
    publisher.ready(timeout_s=BOUND_S)
    blocking.publish(publisher, ("t", 1), ("t", 2))
    bodies = []
    for message in subscriber:
        bodies.append(message.body)
        subscriber.close()
    assert bodies == [1]


def test_close_ends_all_waits_of_a_publisher(kit: Kit) -> None:
    publisher = kit.publisher(policy="block", stall_s=BOUND_S)
    kit.subscriber()
    publisher.ready(timeout_s=BOUND_S)
    waiting = kit.start(publisher.ready, 5)
    kit.publish(publisher, *(("t", n) for n in range(QUEUE_MESSAGES + 10)))
    assert kit.core(publisher).blocked
    publishing = kit.start(publisher.publish, "t", 1)
    until(lambda: in_verbs(kit, publisher) == 2)
    publisher.close()
    assert waiting.result() == 1
    with pytest.raises(zmqkit.UsageError, match=r"closed.*make a new one"):
        publishing.result()


def test_closed_roles_say_so(kit: Kit) -> None:
    publisher, subscriber = kit.publisher(), kit.subscriber()
    publisher.close()
    subscriber.close()
    for use in (
        lambda: publisher.publish("t", 1),
        lambda: publisher.ready(),
        lambda: kit.publish(publisher, ("t", 1)),
        lambda: subscriber.receive(SHORT_S),
        lambda: subscriber.listen(print, SHORT_S),
        lambda: subscriber.subscribe("t"),
        lambda: subscriber.unsubscribe("t"),
        lambda: subscriber.ready(),
    ):
        with pytest.raises(zmqkit.UsageError, match=r"closed.*make a new one"):
            use()
    subscriber.stop()
    assert subscriber.publishers() == []
    assert publisher.stats()["accepted"] == subscriber.stats()["received"] == 0


def test_the_loop_over_a_closed_subscriber_says_so(blocking: Kit) -> None:
    subscriber = blocking.subscriber(count=0)
    subscriber.close()
    with pytest.raises(zmqkit.UsageError, match=r"closed.*make a new one"):
        list(subscriber)


@pytest.mark.parametrize("url", ["tcp://127.0.0.1:9", "memory://nobody"])
def test_a_subscriber_to_a_url_leaves_nothing_behind(
    kit: Kit, url: str, caplog: pytest.LogCaptureFixture, node: Any
) -> None:
    subscriber = kit.subscriber(url, count=0)
    assert subscriber.receive(SHORT_S) is None
    subscriber.close()
    node.ask(lambda: None)
    assert not [each for each in caplog.records if each.name == "asyncio"]


def test_roles_that_were_never_used_close(kit: Kit) -> None:
    assert kit._kept(kit.publisher_class, kit.name).close() == 0
    assert kit._kept(kit.subscriber_class, kit.name).close() == 0


def test_a_publisher_of_another_name_than_the_url_says_is_shown_with_its_own(kit: Kit) -> None:
    publisher = kit.publisher()
    subscriber = kit.subscriber(f"{publisher.endpoint}/other", count=0)
    until(lambda: [row["state"] for row in subscriber.publishers()] == ["misnamed"])
    [row] = subscriber.publishers()
    assert row["label"] == f"{kit.name}-{publisher.incarnation >> 32:08x}"
    assert subscriber.ready(timeout_s=0) == 0


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"policy": "wait"}, "policy is 'wait'; use 'drop' or 'block'"),
    ({"policy": None}, "policy is None"), ({"stall_s": 0}, "stall_s is 0"),
    ({"stall_s": "5"}, "stall_s is '5'"), ({"stall_s": float("nan")}, "stall_s is nan"),
    ({"bind": "tcp://1.2.3.4:5000/name"}, "leave it out"), ({"bind": "nonsense"}, "not a URL"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "reason"), WRONG)
def test_wrong_options_of_a_publisher_are_named(
    kit: Kit, options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(zmqkit.UsageError, match=reason):
        kit._kept(kit.publisher_class, kit.name, **options)


@pytest.mark.parametrize("topics", ["kitchen", b"k", [b"k"], [5], ["a\0b"], ["x" * 257], None])
def test_wrong_topics_of_a_subscriber_are_named(kit: Kit, topics: object) -> None:
    with pytest.raises(zmqkit.UsageError, match="topic"):
        kit._kept(kit.subscriber_class, kit.name, topics)


@pytest.mark.parametrize("name", ["", 5, "a/b", "host:5000", "tcp://127.0.0.1", "x" * 55])
def test_wrong_names_are_named(kit: Kit, name: object) -> None:
    for kind in (kit.publisher_class, kit.subscriber_class):
        with pytest.raises(zmqkit.UsageError):
            kit._kept(kind, name)


@pytest.mark.parametrize("topic", ["", b"t", None, ["t"], "a\0b", "x" * 257])
def test_a_wrong_topic_is_named(kit: Kit, topic: object) -> None:
    publisher = kit.publisher()
    for use in (
        lambda: publisher.publish(topic, 1),
        lambda: kit.publish(publisher, (topic, 1)),  # type: ignore[arg-type]
    ):
        with pytest.raises(zmqkit.UsageError, match="topic"):
            use()
    assert kit.balanced(publisher)["accepted"] == 0


@pytest.mark.parametrize(
    "body", [{1}, object(), 1 << 64, {(1,): 1}, bytearray(b"x")], ids=shown
)
def test_a_body_that_cannot_travel_is_named_and_the_next_one_leaves(
    kit: Kit, body: object
) -> None:
    publisher, subscriber = kit.publisher(), kit.subscriber()
    publisher.ready(timeout_s=BOUND_S)
    publisher.publish("t", 1)
    for use in (
        lambda: publisher.publish("t", body),
        lambda: kit.publish(publisher, ("t", body)),
    ):
        with pytest.raises(zmqkit.UsageError):
            use()
    publisher.publish("t", 2)
    assert [subscriber.receive(BOUND_S).sequence for _ in range(2)] == [1, 2]


def test_roles_of_another_loop_say_so(aio: AsyncKit) -> None:
    publisher, subscriber = aio.publisher(), aio.subscriber()
    for use in (
        lambda: publisher.inner.publish("t", 1),
        lambda: publisher.inner.ready(),
        lambda: subscriber.inner.receive(SHORT_S),
        lambda: subscriber.inner.subscribe("t"),
        lambda: anext(aiter(subscriber.inner)),
    ):
        with pytest.raises(zmqkit.UsageError, match="another event loop"):
            asyncio.run(call(use))


async def call(use: Callable[[], Any]) -> Any:
    return await use()


def test_forked_child_is_told_to_make_new_roles(blocking: Kit) -> None:
    publisher, subscriber = blocking.publisher(), blocking.subscriber()
    publisher.ready(timeout_s=BOUND_S)
    for use in (
        lambda: publisher.publish("t", 1),
        lambda: blocking.publish(publisher, ("t", 1)),
        lambda: publisher.ready(),
        lambda: subscriber.receive(SHORT_S),
        lambda: next(iter(subscriber)),
        lambda: subscriber.subscribe("t"),
    ):
        told = in_child(use)
        assert str(told).startswith("UsageError: "), told
        assert "before fork(); make a new one in the child" in str(told)
    publisher.publish("t", 5)
    assert subscriber.receive(BOUND_S).body == 5


def test_threads_and_descriptors_are_gone_when_close_returns(kit: Kit) -> None:
    publisher, subscriber = kit.publisher(), kit.subscriber()
    publisher.ready(timeout_s=BOUND_S)
    publisher.publish("t", 1)
    assert subscriber.receive(BOUND_S).body == 1
    subscriber.close()
    publisher.close()
    names = [thread.name for thread in threading.enumerate()]
    assert names.count("zmqkit") <= 1 and "zmqkit-close" not in names
