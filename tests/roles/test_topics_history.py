"""Publishers keep what they published; subscribers get it late, or where they missed it."""

from __future__ import annotations

import time
from typing import Any

import pytest

import zmqkit
from tests.roles.kit import BOUND_S, Kit
from zmqkit.forwarder_limits import ForwarderHistory

pytestmark = pytest.mark.usefixtures("node")


def read(subscriber: Any, count: int) -> list[Any]:
    return [subscriber.receive(BOUND_S) for _ in range(count)]


def in_order(messages: list[Any]) -> list[Any]:
    return sorted(messages, key=lambda message: (message.topic, message.sequence))


def test_late_subscriber_gets_the_last_value_of_each_topic(kit: Kit) -> None:
    publisher = kit.publisher(history=1)
    for number in range(3):
        publisher.publish("a", number)
        publisher.publish("b", number)
    subscriber = kit.subscriber(history=1)
    came = read(subscriber, 2)
    assert {m.topic: m.body for m in came} == {"a": 2, "b": 2}
    assert all(m.recovered and m.sequence == 3 for m in came)
    publisher.publish("a", 3)
    assert not subscriber.receive(BOUND_S).recovered


def test_a_message_tells_when_it_was_published(kit: Kit) -> None:
    publisher, device = kit.publisher(history=99), kit.forwarder(history=ForwarderHistory())
    url = f"{device.endpoint}/{device.name}"
    here, there = kit.subscriber(count=2), kit.subscriber(url)
    publisher.ready(2, timeout_s=BOUND_S)
    begun = time.time()
    publisher.publish("t", 1)
    publisher.publish("t", bytes(100_000))
    kit.publish(publisher, *(("t", number) for number in range(10)))
    publisher.clear("u")
    came = in_order(read(here, 13))
    ended = time.time()
    times = [message.published_at for message in came]
    assert times == sorted(times) and begun - 1e-6 <= times[0] and times[-1] <= ended
    assert len({*times[2:12]}) == 1  # a batch has one time
    assert in_order(read(there, 13)) == came
    for late in kit.subscriber(history=99), kit.subscriber(url, history=99):
        kept = in_order(read(late, 13))
        assert [message.published_at for message in kept] == times
        assert all(message.recovered for message in kept)


def test_two_publishers_of_a_topic_do_not_hide_each_other(kit: Kit) -> None:
    publishers = [kit.publisher(history=2) for _ in range(2)]
    for number, publisher in enumerate(publishers):
        publisher.publish("a", number)
    came = read(kit.subscriber(count=2, history=1), 2)
    assert sorted(m.body for m in came) == [0, 1]
    assert len({m.publisher for m in came}) == 2


@pytest.mark.parametrize("policy", ["drop", "block"])
def test_what_a_batch_published_is_kept_too(kit: Kit, policy: str) -> None:
    publisher = kit.publisher(history=zmqkit.History(messages=10_000), policy=policy)
    kit.publish(publisher, *((f"t{n % 3}", n) for n in range(6000)))
    publisher.publish("large", bytes(100_000))
    subscriber = kit.subscriber(history=10_000, recover=True)
    came: dict[str, list[Any]] = {}
    for message in read(subscriber, 6001):
        came.setdefault(message.topic, []).append(message.body)
    assert came.pop("large") == [bytes(100_000)]
    assert came == {f"t{k}": list(range(k, 6000, 3)) for k in range(3)}
    stats = subscriber.stats()
    assert (stats["recovered"], stats["missing"], stats["dropped"]) == (6001, 0, {})
    assert publisher.stats()["kept"] == 6001


def test_a_subscriber_says_what_it_lacks(kit: Kit) -> None:
    count = 40_000  # more than its queue takes
    publisher = kit.publisher(history=count)
    kit.publish(publisher, *(("t", number) for number in range(count)))
    subscriber = kit.subscriber(history=count)
    [first] = read(subscriber, 1)
    [row] = subscriber.lacking()
    assert (row["publisher"], row["topic"]) == (first.publisher, "t")
    assert row["messages"] + row["sequence"] == count + 1
    assert kit.subscriber().lacking() == []


def test_a_topic_is_cleared(kit: Kit) -> None:
    publisher = kit.publisher(history=5)
    subscriber = kit.subscriber()
    publisher.ready(1, timeout_s=BOUND_S)
    publisher.publish("a", 1)
    publisher.clear("a")
    came = read(subscriber, 2)
    assert [(m.body, m.cleared, m.sequence) for m in came] == [(1, False, 1), (None, True, 2)]
    [late] = read(kit.subscriber(history=5), 1)
    assert late.cleared and late.recovered
    with pytest.raises(zmqkit.UsageError, match="topic"):
        publisher.clear("")


@pytest.mark.parametrize("history", [0, -1, True, "many", 1.5])
def test_a_publisher_refuses_a_history_that_is_none(kit: Kit, history: object) -> None:
    with pytest.raises(zmqkit.UsageError, match="history is"):
        kit.publisher(history=history)


@pytest.mark.parametrize("option", [{"history": -1}, {"history": None}, {"recover": 1}])
def test_a_subscriber_refuses_what_is_no_option(kit: Kit, option: dict[str, object]) -> None:
    with pytest.raises(zmqkit.UsageError, match=f"{next(iter(option))} is"):
        kit.subscriber(**option)
