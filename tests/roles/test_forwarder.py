"""A forwarder between publishers and subscribers, as people use it."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.roles.kit import BOUND_S, Kit, until
from zmqkit.device.forwarder import Forwarder
from zmqkit.errors import ConfigError
from zmqkit.forwarder_limits import ForwarderHistory

MIB = 1 << 20


def at(device: Forwarder) -> str:
    """The URL of a forwarder: who uses it hears nothing directly."""
    return f"{device.endpoint}/{device.name}"


def read(subscriber: Any, count: int) -> list[tuple[str, int, object]]:
    messages = [subscriber.receive(BOUND_S) for _ in range(count)]
    return [(each.topic, each.sequence, each.body) for each in messages]


@pytest.mark.parametrize("policy", ["drop", "block"])
def test_messages_pass_as_they_were_published(kit: Kit, policy: str) -> None:
    publisher = kit.publisher(policy=policy)
    subscriber = kit.subscriber(at(kit.forwarder()), "k")
    assert publisher.ready(timeout_s=BOUND_S) == 1
    bodies: list[object] = [1, "two", [3, {"four": 5}], b"x" * 100, bytes(2 * MIB), None]
    for body in bodies:
        publisher.publish("kitchen", body)
        publisher.publish("other", body)
    assert [row["forwards"] for row in subscriber.publishers()] == [True]
    sequences = [("kitchen", number, body) for number, body in enumerate(bodies, 1)]
    assert read(subscriber, len(bodies)) == sequences
    stats = subscriber.stats()
    assert (stats["missing"], stats["duplicates"], stats["received"]) == (0, 0, len(bodies))


def test_who_published_is_told_through_two_in_a_row(kit: Kit) -> None:
    publishers = [kit.publisher(policy="block") for _ in range(2)]
    first = kit.forwarder()
    second = kit.forwarder(f"{kit.name}-2", connect=[at(first)])
    subscriber = kit.subscriber(at(second))
    for publisher in publishers:
        assert publisher.ready(timeout_s=BOUND_S) == 1
        for number in range(200):
            publisher.publish("t", number)
    labels = {f"{each.incarnation:016x}"[:8] for each in publishers}
    came: dict[str, list[object]] = {}
    for _ in range(400):
        message = subscriber.receive(BOUND_S)
        came.setdefault(message.publisher[-8:], []).append(message.body)
    assert came == {label: list(range(200)) for label in labels}


def test_what_comes_directly_too_is_read_once(kit: Kit) -> None:
    publisher = kit.publisher(policy="block", history=1000)
    kit.forwarder()
    subscriber = kit.subscriber(count=2, recover=True)
    assert publisher.ready(2, timeout_s=BOUND_S) == 2
    kit.publish(publisher, *(("t", number) for number in range(400)))
    assert [body for _, _, body in read(subscriber, 400)] == list(range(400))
    until(lambda: subscriber.stats()["duplicates"] == 400)
    assert subscriber.stats()["missing"] == 0


def test_a_forwarder_with_a_history_has_it_when_its_publisher_is_gone(kit: Kit) -> None:
    publisher = kit.publisher()
    device = kit.forwarder(history=ForwarderHistory(messages=10))
    witness = kit.subscriber(at(device))
    assert publisher.ready(timeout_s=BOUND_S) == 1
    for body in ("a", bytes(100_000), {"b": 2}):
        publisher.publish("t", body)
    publisher.clear("u")
    publisher.close()
    assert len(read(witness, 4)) == 4
    late = kit.subscriber(history=2)
    came = sorted(read(late, 3), key=lambda each: each[:2])
    assert came == [("t", 2, bytes(100_000)), ("t", 3, {"b": 2}), ("u", 1, None)]
    assert late.stats()["recovered"] == 3 and device.stats()["kept"] == 4


@pytest.mark.slow
def test_messages_turn_to_a_forwarder_and_back_and_none_is_lost_uncounted(kit: Kit) -> None:
    publisher = kit.publisher(policy="block")
    subscriber = kit.subscriber()
    over = threading.Event()

    def publish() -> int:
        count = 0
        while not over.wait(0.001):
            publisher.publish("t", count)
            count += 1
        publisher.publish("t", "end")
        return count

    def follow() -> list[object]:
        bodies: list[object] = []
        while not bodies or bodies[-1] != "end":
            bodies.append(subscriber.receive(BOUND_S).body)
        return bodies[:-1]

    def goes_on() -> None:
        before = subscriber.stats()["delivered"]
        until(lambda: subscriber.stats()["delivered"] > before + 100)

    reading, publishing = kit.start(follow), kit.start(publish)
    goes_on()
    device = kit.forwarder()
    until(lambda: publisher.stats()["subscribers"] == 2)
    until(lambda: publisher.stats()["subscribers"] == 1)
    assert device.stats()["subscribers"] == 1
    goes_on()
    assert subscriber.stats()["missing"] == 0 and subscriber.stats()["duplicates"] > 0
    assert device.close() == 0
    goes_on()
    assert publisher.stats()["subscribers"] == 1
    over.set()
    bodies, count = reading.result(), publishing.result()
    assert bodies == sorted(bodies) and len(bodies) == len(set(bodies))
    assert len(bodies) + subscriber.stats()["missing"] == count


def test_nothing_is_lost_after_ready(kit: Kit) -> None:
    publisher = kit.publisher()
    device = kit.forwarder()
    for number in range(10):
        subscriber = kit.subscriber(at(device), f"t{number}")
        publisher.publish(f"t{number}", number)
        assert read(subscriber, 1) == [(f"t{number}", 1, number)]


@pytest.mark.slow
def test_a_publisher_waits_for_the_slowest_behind_it(blocking: Kit) -> None:
    kit = blocking
    publisher = kit.publisher(policy="block")
    device = kit.forwarder()
    slow, quick = kit.subscriber(at(device)), kit.subscriber(at(device))
    assert publisher.ready(2, timeout_s=BOUND_S) == 2
    body = b"x" * 100_000
    publishing = kit.start(lambda: [publisher.publish("t", body) for _ in range(1500)])
    assert len(read(quick, 300)) == 300
    assert not publishing.over and publisher.stats()["handed_over"] < 1400
    reading = kit.start(read, quick, 1200)
    assert len(read(slow, 1500)) == 1500
    publishing.result()
    reading.result()
    for each in (slow, quick):
        stats = each.stats()
        assert (stats["missing"], stats["dropped"]) == (0, {})
    assert device.stats()["exclusions"] == publisher.stats()["exclusions"] == 0


def test_joins_and_leaves_are_told_to_publishers(kit: Kit) -> None:
    publisher = kit.publisher()
    device = kit.forwarder()
    subscribers = [kit.subscriber(at(device)) for _ in range(3)]
    until(lambda: publisher.stats()["subscribers"] == 3)
    subscribers[0].close()
    until(lambda: publisher.stats()["subscribers"] == 2)


def test_a_publisher_that_closes_waits_until_all_is_passed_on(kit: Kit) -> None:
    publisher = kit.publisher(policy="block")
    subscriber = kit.subscriber(at(kit.forwarder()))
    assert publisher.ready(timeout_s=BOUND_S) == 1
    for number in range(500):
        publisher.publish("t", number)
    assert publisher.close() == 0
    assert [body for _, _, body in read(subscriber, 500)] == list(range(500))


def test_a_forwarder_that_closes_leaves_its_place_to_another(kit: Kit) -> None:
    publisher = kit.publisher()
    other = f"{kit.name}-2"
    devices = [kit.forwarder(other, connect=[publisher.endpoint]) for _ in range(2)]
    subscriber = kit.subscriber(other)
    until(lambda: sum(device.stats()["subscribers"] for device in devices) == 1)
    [used] = [device for device in devices if device.stats()["subscribers"]]
    publisher.publish("t", 1)
    assert read(subscriber, 1) == [("t", 1, 1)]
    assert used.close() == 0
    until(lambda: publisher.stats()["subscribers"] == 1)
    publisher.publish("t", 2)
    assert read(subscriber, 1) == [("t", 2, 2)]
    assert subscriber.stats()["missing"] == 0


def test_a_forwarder_connects_to_addresses_only(kit: Kit) -> None:
    for url in ("weather", "memory://weather", "tcp://127.0.0.1"):
        with pytest.raises(ConfigError):
            Forwarder("weather", connect=[url])
    with pytest.raises(ConfigError):
        Forwarder("weather", bind="memory://weather")


@pytest.mark.slow
def test_a_forwarder_of_another_network_takes_no_publisher_of_this_one(kit: Kit) -> None:
    there = kit.publisher(f"{kit.name}-2")
    here = kit.publisher()
    subscriber = kit.subscriber()
    kit.forwarder(connect=[f"{there.endpoint}/{kit.name}-2"])
    until(lambda: kit.core(subscriber).sources.turning.uses_forwarder)
    assert there.ready(timeout_s=BOUND_S) == here.ready(timeout_s=BOUND_S) == 1
    for publisher in (here, there):
        publisher.publish("t", publisher is here)
    assert {subscriber.receive(BOUND_S).body for _ in range(2)} == {True, False}
