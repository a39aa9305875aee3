"""Publishers and subscribers find each other by name; each topic arrives whole and in order."""

from __future__ import annotations

import pytest

from tests.ports import quiet_endpoint
from tests.roles.kit import BOUND_S, Kit, received

pytestmark = pytest.mark.usefixtures("node")


def test_what_is_published_after_ready_arrives(kit: Kit) -> None:
    publisher = kit.publisher()
    subscriber = kit.subscriber()
    assert publisher.ready(1, timeout_s=BOUND_S) == 1
    for number in range(3):
        publisher.publish("kitchen", {"number": number})
    messages = [subscriber.receive(BOUND_S) for _ in range(3)]
    assert [(m.topic, m.body["number"], m.sequence) for m in messages] == [
        ("kitchen", 0, 1), ("kitchen", 1, 2), ("kitchen", 2, 3),
    ]  # fmt: skip
    assert {m.publisher for m in messages} == {subscriber.publishers()[0]["label"]}


def test_topics_are_prefixes(kit: Kit) -> None:
    publisher = kit.publisher()
    subscriber = kit.subscriber("", "kitchen.", "hall")
    publisher.ready(1, timeout_s=BOUND_S)
    for topic in ("kitchen.celsius", "kitchen", "cellar", "hallway", "kitchen.lux"):
        publisher.publish(topic, topic)
    bodies = [subscriber.receive(BOUND_S).body for _ in range(3)]
    assert bodies == ["kitchen.celsius", "hallway", "kitchen.lux"]


def test_a_batch_arrives_in_order_by_topic(kit: Kit) -> None:
    publisher = kit.publisher(policy="block")
    subscriber = kit.subscriber()
    publisher.ready(1, timeout_s=BOUND_S)
    kit.publish(publisher, *((f"t{n % 3}", n) for n in range(3000)))
    came: dict[str, list[int]] = {}
    for _ in range(3000):
        message = subscriber.receive(BOUND_S)
        came.setdefault(message.topic, []).append(message.body)
    assert came == {f"t{k}": list(range(k, 3000, 3)) for k in range(3)}
    assert subscriber.stats()["missing"] == 0


def test_nothing_comes_in_time(kit: Kit) -> None:
    kit.publisher()
    assert kit.subscriber().receive(0.01) is None


def test_each_subscriber_gets_each_message_from_each_publisher(kit: Kit) -> None:
    publishers = [kit.publisher() for _ in range(2)]
    subscribers = [kit.subscriber(count=2) for _ in range(2)]
    for publisher in publishers:
        assert publisher.ready(2, timeout_s=BOUND_S) == 2
        publisher.publish("t", publisher.incarnation)
    for subscriber in subscribers:
        bodies = {subscriber.receive(BOUND_S).body for _ in publishers}
        assert bodies == {publisher.incarnation for publisher in publishers}


def test_within_one_process_no_network_is_needed(kit: Kit) -> None:
    address = f"memory://{kit.name}"
    publisher = kit.publisher(bind=address)
    subscriber = kit.subscriber(address, "kitchen")
    publisher.ready(1, timeout_s=BOUND_S)
    publisher.publish("hall", 1)
    publisher.publish("kitchen", 2)
    assert subscriber.receive(BOUND_S).body == 2


def test_a_url_names_the_publisher_that_listens_there(kit: Kit) -> None:
    publisher = kit.publisher(bind="tcp://127.0.0.1:0")
    subscriber = kit.subscriber(publisher.endpoint)
    publisher.ready(1, timeout_s=BOUND_S)
    publisher.publish("t", b"x" * 100_000)
    message = subscriber.receive(BOUND_S)
    assert message.body == b"x" * 100_000


def test_a_publisher_at_a_url_that_starts_anew_is_found_there(kit: Kit) -> None:
    address = quiet_endpoint()
    first = kit.publisher(bind=address)
    subscriber = kit.subscriber(address)
    first.ready(1, timeout_s=BOUND_S)
    first.close()
    second = kit.publisher(bind=address)
    assert second.ready(1, timeout_s=BOUND_S) == 1
    second.publish("t", "anew")
    assert subscriber.receive(BOUND_S).body == "anew"


def test_within_one_process_what_waits_for_its_reader_is_not_lost(kit: Kit) -> None:
    address = f"memory://{kit.name}"
    publisher = kit.publisher(bind=address, policy="block")
    subscriber = kit.subscriber(address)
    publisher.ready(1, timeout_s=BOUND_S)
    kit.publish_each(publisher, 5000)
    assert [message.body for message in received(subscriber, 5000)] == list(range(5000))
