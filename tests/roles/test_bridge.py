"""Bridges between the names of two networks, as people use them."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.roles.kit import BOUND_S, Kit, until
from zmqkit.device.bridge import Bridge, Rule
from zmqkit.errors import AddressTaken
from zmqkit.limits import BATCH_BYTES, DRAIN_S_MAX

MIB = 1 << 20
LOCAL = "tcp://127.0.0.1:0"


def pair(kit: Kit, far: str, **options: Any) -> tuple[Bridge, Bridge]:
    """A bridge from the kit's name, on which this end listens, to another name."""
    here = kit.bridge(listen=LOCAL, **options)
    there = kit.bridge(far, connect=here.endpoint)
    until(lambda: here.stats()["connected"] and there.stats()["connected"])
    return here, there


def read(subscriber: Any, count: int) -> list[object]:
    return [subscriber.receive(BOUND_S).body for _ in range(count)]


@pytest.mark.parametrize("policy", ["drop", "block"])
def test_messages_pass_as_they_were_published(kit: Kit, policy: str) -> None:
    far = f"{kit.name}-2"
    pair(kit, far)
    publisher, subscriber = kit.publisher(policy=policy), kit.subscriber(far)
    witness = kit.subscriber(count=2)
    assert publisher.ready(2, timeout_s=BOUND_S) == 2
    bodies: list[object] = [1, "two", [3, {"four": 5}], b"x" * 100, bytes(2 * MIB), None]
    for body in bodies:
        publisher.publish("kitchen", body)
    messages = [subscriber.receive(BOUND_S) for _ in bodies]
    assert [each.body for each in messages] == bodies
    assert [each.sequence for each in messages] == [1, 2, 3, 4, 5, 6]
    direct = [witness.receive(BOUND_S).published_at for _ in bodies]
    assert [each.published_at for each in messages] == direct
    label = f"{publisher.incarnation:016x}"[:8]
    assert {each.publisher for each in messages} == {f"{far}-{label}"}


@pytest.mark.slow
def test_two_bridges_under_load_bring_each_message_once(blocking: Kit) -> None:
    kit, far, count = blocking, f"{blocking.name}-2", 5000
    ends = [*pair(kit, far), *pair(kit, far)]
    sides = [
        (kit.publisher(name, policy="block"), kit.subscriber(name, count=3))
        for name in (kit.name, far)
    ]
    for publisher, _ in sides:
        assert publisher.ready(3, timeout_s=BOUND_S) == 3

    def publish(publisher: Any) -> None:
        for number in range(count):
            publisher.publish(f"t{number % 7}", number)

    begun = [kit.start(publish, publisher) for publisher, _ in sides]
    reading = [kit.start(read, subscriber, 2 * count) for _, subscriber in sides]
    for each in begun:
        each.result()
    for each, (_, subscriber) in zip(reading, sides, strict=True):
        assert sorted(each.result()) == sorted([*range(count)] * 2)
        assert (subscriber.stats()["missing"], subscriber.stats()["dropped"]) == (0, {})
    until(lambda: not any(end.stats()["waiting"] for end in ends))
    for end in ends:
        dropped = end.stats()["dropped"]
        assert isinstance(dropped, dict) and "echo" not in dropped


def test_rules_say_what_is_carried(kit: Kit) -> None:
    far = f"{kit.name}-2"
    pair(kit, far, rules=[Rule(("kitchen.",), "out")])
    here, there = kit.publisher(), kit.publisher(far)
    subscribers = [kit.subscriber(kit.name, count=2), kit.subscriber(far, count=2)]
    for publisher in (here, there):
        assert publisher.ready(2, timeout_s=BOUND_S) == 2
    for publisher in (here, there):
        publisher.publish("cellar.celsius", 8)
        publisher.publish("kitchen.celsius", 21)
    assert sorted(read(subscribers[0], 2)) == [8, 21]
    assert sorted(read(subscribers[1], 3)) == [8, 21, 21]


def test_an_end_that_closes_has_carried_what_it_heard(kit: Kit) -> None:
    far = f"{kit.name}-2"
    here, _ = pair(kit, far)
    publisher, subscriber = kit.publisher(policy="block"), kit.subscriber(far)
    assert publisher.ready(timeout_s=BOUND_S) == 1
    bodies = [bytes([number]) * BATCH_BYTES for number in range(50)]  # each a packet of its own
    for body in bodies:
        publisher.publish("t", body)
    until(lambda: here.stats()["heard"] == len(bodies))
    assert here.close(BOUND_S) == 0
    assert read(subscriber, len(bodies)) == bodies


@pytest.mark.slow
def test_ends_that_close_at_the_same_time_do_not_wait_for_each_other(blocking: Kit) -> None:
    kit, far = blocking, f"{blocking.name}-2"
    ends = pair(kit, far)
    publishers = [kit.publisher(), kit.publisher(far)]
    stopped = threading.Event()

    def publish(publisher: Any) -> None:
        while not stopped.is_set():
            publisher.publish("t", bytes(1000))

    publishing = [kit.start(publish, each) for each in publishers]
    until(lambda: all(end.stats()["carried"] for end in ends))
    closing = [kit.start(end.close, DRAIN_S_MAX) for end in ends]
    assert all(each.result() >= 0 for each in closing)
    stopped.set()
    for each in publishing:
        each.result()


def test_an_end_that_nobody_dials_says_what_it_could_not_carry(kit: Kit) -> None:
    here = kit.bridge(listen=LOCAL)
    publisher = kit.publisher()
    assert publisher.ready(timeout_s=BOUND_S) == 1
    publisher.publish("t", 1)
    until(lambda: here.stats()["waiting"] == 1)
    assert here.close(0) == 1


def test_a_taken_address_is_named(kit: Kit) -> None:
    here = kit.bridge(listen=LOCAL)
    other = Bridge(kit.name, listen=here.endpoint)
    with pytest.raises(AddressTaken, match="choose another port"):
        other.start()
    other.close()
    assert repr(other).startswith("<zmqkit.device.Bridge")


def test_a_forwarder_of_the_other_network_passes_on_what_a_bridge_brings(kit: Kit) -> None:
    far = f"{kit.name}-2"
    pair(kit, far)
    forwarder = kit.forwarder(far)
    publisher = kit.publisher(policy="block")
    subscriber = kit.subscriber(far)
    until(lambda: forwarder.stats()["subscribers"] == 1)
    assert publisher.ready(timeout_s=BOUND_S) == 1
    for number in range(300):
        publisher.publish("t", number)
    assert read(subscriber, 300) == list(range(300))
    assert subscriber.stats()["missing"] == 0
