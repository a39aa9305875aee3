"""Services in virtual time: what a test of failover needs, in no time at all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import zmqkit
from zmqkit.testing import World


class Till:
    """Charges, and remembers what it charged."""

    def __init__(self) -> None:
        self.charged: list[int] = []

    def charge(self, amount: int) -> int:
        self.charged.append(amount)
        return amount


def test_a_call_is_answered() -> None:
    world, till = World(), Till()
    world.service("billing", till.charge)
    assert world.client("billing").call("charge", 5) == 5
    assert till.charged == [5]
    assert 0 < world.elapsed_s < 1


def test_a_lost_request_is_sent_again_and_runs_once() -> None:
    world, till = World(), Till()
    instance = world.service("billing", till.charge)
    client = world.client("billing")
    client.call("charge", 1)
    instance.lose(1)
    assert client.call("charge", 5) == 5
    assert till.charged == [1, 5]


def test_a_lost_reply_is_sent_again_and_the_handler_runs_once() -> None:
    world, till = World(), Till()
    instance = world.service("billing", till.charge, takes_s=0.1)
    client = world.client("billing")
    client.call("charge", 1)
    call = client.start("charge", 5)
    world.run_until(lambda: till.charged == [1, 5], 1.0)
    instance.lose(1)
    assert call.result() == 5
    assert till.charged == [1, 5]


def test_the_kind_that_is_named_is_lost_and_no_ping_before_it() -> None:
    world, till = World(), Till()
    instance = world.service("billing", till.charge, takes_s=1.0)
    client = world.client("billing")
    call = client.start("charge", 5)
    world.run(0.5)
    instance.lose(1, kind="reply")
    assert call.result() == 5
    assert till.charged == [5]
    assert client.stats()["retries"] == 1
    assert instance.stats()["duplicates"] == 1


def test_a_kind_is_lost_on_its_way_to_the_role_too() -> None:
    world, till = World(), Till()
    instance = world.service("billing", till.charge)
    client = world.client("billing")
    client.call("charge", 1)
    instance.lose(2, kind="request")
    assert client.call("charge", 5) == 5
    assert client.stats()["retries"] == 2
    assert instance.stats()["duplicates"] == 0


def test_a_message_is_lost_and_no_other_packet_of_its_publisher() -> None:
    world = World()
    publisher = world.publisher("weather")
    subscriber = world.subscriber("weather")
    publisher.ready()
    publisher.lose(1, kind="publish")
    world.run(60)
    for celsius in (1, 2):
        publisher.publish("celsius", celsius)
        world.run(1)
    assert [each.body for each in subscriber.received()] == [2]


@pytest.mark.parametrize("kind", ["publication", "REPLY", "tap", ""])
def test_an_unknown_kind_is_an_error_that_lists_those_there_are(kind: str) -> None:
    instance = World().service("billing", Till().charge)
    with pytest.raises(zmqkit.UsageError, match=r"use one of hello, .*request, reply, error"):
        instance.lose(1, kind=kind)


def test_a_delay_beyond_the_deadline_times_out() -> None:
    world, till = World(), Till()
    instance = world.service("billing", till.charge)
    client = world.client("billing", timeout_s=2)
    client.call("charge", 1)
    instance.delay(10)
    began_s = world.elapsed_s
    with pytest.raises(zmqkit.CallTimeout) as raised:
        client.call("charge", 5)
    assert raised.value.may_have_run
    assert 1.9 < world.elapsed_s - began_s < 2.5


def test_what_may_run_twice_moves_to_another_instance_when_one_is_killed() -> None:
    world, tills = World(), [Till(), Till()]
    instances = [
        world.service("billing", each.charge, idempotent=True, takes_s=1.0) for each in tills
    ]
    call = world.client("billing").start("charge", 5)
    assert world.run_until(lambda: any(each.charged for each in tills), 1.0)
    [busy] = [number for number, each in enumerate(tills) if each.charged]
    instances[busy].kill()
    assert call.result() == 5
    assert [each.charged for each in tills] == [[5], [5]]


def test_what_must_not_run_twice_ends_when_its_instance_is_killed() -> None:
    world, till = World(), Till()
    instance = world.service("billing", till.charge, takes_s=1.0)
    call = world.client("billing").start("charge", 5)
    assert world.run_until(lambda: bool(till.charged), 1.0)
    instance.kill()
    world.service("billing", Till().charge)
    with pytest.raises(zmqkit.PeerLost) as raised:
        call.result()
    assert raised.value.may_have_run


def test_nobody_of_the_name_is_said_after_the_wait() -> None:
    world = World()
    with pytest.raises(zmqkit.NoService):
        world.client("billing", wait_s=3).call("charge", 5)
    assert 3 <= world.elapsed_s < 3.1


def test_an_hour_passes_at_once_and_a_seed_repeats_its_run() -> None:
    def ended(seed: int) -> float:
        world = World(seed)
        world.service("billing", Till().charge)
        world.run(3600)
        world.client("billing").call("charge", 5)
        return world.elapsed_s

    assert ended(1) == ended(1) > 3600
    assert ended(1) != ended(2)


def test_what_a_handler_raises_comes_back_as_from_any_service() -> None:
    def refuse(amount: int) -> None:
        raise ValueError(f"no {amount}")

    world = World()
    world.service("billing", refuse)
    with pytest.raises(zmqkit.RemoteError, match="no 5"):
        world.client("billing").call("refuse", 5)


def test_a_call_that_is_given_up_harms_nobody() -> None:
    world, till = World(), Till()
    world.service("billing", till.charge, takes_s=30)
    client = world.client("billing", timeout_s=2)
    with pytest.raises(zmqkit.CallTimeout):
        client.call("charge", 1)
    world.run(60)
    assert world.client("billing", timeout_s=60).call("charge", 2) == 2


def test_instances_that_come_after_a_death_have_addresses_of_their_own() -> None:
    world = World()
    first = world.service("length", len)
    world.service("length", len)
    first.kill()
    world.service("length", len)
    client = world.client("length")
    assert client.call("len", "tea") == 3
    client.kill()
    with pytest.raises(zmqkit.UsageError, match="'length' was killed"):
        client.call("len", "tea")


def test_long_bytes_come_back_as_bytes() -> None:
    def echo(value: bytes) -> bytes:
        return value

    world = World()
    world.service("echo", echo)
    assert world.client("echo").call("echo", b"x" * 10_000) == b"x" * 10_000


def count(until: int) -> Iterator[int]:
    yield from range(until)


def test_a_stream_comes_whole_though_packets_are_lost() -> None:
    world = World()
    instance = world.service("numbers", count, takes_s=0.01)
    stream = world.client("numbers").stream("count", 500)
    values = [next(stream) for _ in range(100)]
    instance.lose(3)
    values += list(stream)
    assert values == list(range(500))


def test_a_stream_takes_time_for_each_value() -> None:
    world = World()
    instance = world.service("numbers", count, takes_s=1.0)
    stream = world.client("numbers").stream("count", 100)
    assert [next(stream) for _ in range(10)] == list(range(10))
    assert 10 <= world.elapsed_s < 12
    instance.delay(0.5)
    assert len(list(stream)) == 90


def test_a_stream_ends_where_its_instance_is_killed() -> None:
    world = World()
    instance = world.service("numbers", count, takes_s=1.0)
    stream = world.client("numbers").stream("count", 100)
    assert next(stream) == 0
    instance.kill()
    with pytest.raises(zmqkit.PeerLost):
        list(stream)


def test_who_leaves_a_stream_closes_its_generator() -> None:
    closed = []

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.append(True)

    world = World()
    world.service("numbers", endless)
    stream = world.client("numbers").stream("endless")
    assert next(stream) == 1
    stream.close()
    assert world.run_until(lambda: bool(closed), 5.0)
    assert list(stream) == []


def test_what_a_generator_raises_comes_after_its_values() -> None:
    def two() -> Iterator[int]:
        yield 1
        raise ValueError("no second")

    world = World()
    world.service("numbers", two)
    stream = world.client("numbers").stream("two")
    assert next(stream) == 1
    with pytest.raises(zmqkit.RemoteError, match="no second"):
        next(stream)


def test_a_message_reaches_those_who_subscribed() -> None:
    world = World()
    publisher = world.publisher("weather")
    kitchen = world.subscriber("weather", ["kitchen."])
    every = world.subscriber("weather")
    assert publisher.ready(2) == 2 and every.ready() == 1
    publisher.publish("kitchen.celsius", 21.5)
    publisher.publish("hall.celsius", 18)
    message = kitchen.receive()
    assert message is not None and (message.topic, message.body) == ("kitchen.celsius", 21.5)
    world.run(1)
    assert [each.body for each in every.received()] == [21.5, 18]
    assert kitchen.receive(5) is None


def test_a_lost_message_is_a_gap_or_is_recovered() -> None:
    world = World()
    publisher = world.publisher("weather", history=10)
    forgetful, careful = (
        world.subscriber("weather", recover=recover) for recover in (False, True)
    )
    publisher.ready(2)
    publisher.publish("celsius", 1)
    world.run(1)
    publisher.lose(2, kind="publish")  # the packet to each of them
    publisher.publish("celsius", 2)
    world.run(0.001)
    publisher.publish("celsius", 3)
    world.run(5)
    assert [each.body for each in forgetful.received()] == [1, 3]
    assert [gap.missing for gap in forgetful.gaps] == [1]
    assert [each.body for each in careful.received()] == [1, 2, 3]
    assert careful.gaps == []


def test_who_joins_late_gets_the_history() -> None:
    world = World()
    publisher = world.publisher("weather", history=2)
    for celsius in (1, 2, 3):
        publisher.publish("celsius", celsius)
    late = world.subscriber("weather", history=10)
    world.run(5)
    assert [each.body for each in late.received()] == [2, 3]


def test_a_subscriber_hears_the_publisher_that_comes_after_one_that_was_killed() -> None:
    world = World()
    first = world.publisher("weather")
    subscriber = world.subscriber("weather")
    first.ready()
    first.publish("celsius", 1)
    world.run(1)
    first.kill()
    with pytest.raises(zmqkit.UsageError, match="killed"):
        first.publish("celsius", 2)
    second = world.publisher("weather")
    assert second.ready() == 1
    second.publish("celsius", 3)
    second.clear("celsius")
    world.run(1)
    messages = subscriber.received()
    assert [each.body for each in messages] == [1, 3, None]
    assert messages[-1].cleared
    assert len({each.publisher for each in messages}) == 2


def test_a_late_packet_delays_a_message() -> None:
    world = World()
    publisher = world.publisher("weather")
    subscriber = world.subscriber("weather")
    publisher.ready()
    publisher.delay(10)
    publisher.publish("celsius", 1)
    assert subscriber.receive(5) is None
    assert subscriber.receive(6) is not None
    subscriber.kill()
    publisher.delay(0)
    assert world.run_until(lambda: publisher.ready(timeout_s=0) == 0, 60)


def test_a_subscription_can_be_changed() -> None:
    world = World()
    publisher = world.publisher("weather")
    subscriber = world.subscriber("weather", ["a"])
    publisher.ready()
    subscriber.subscribe("b")
    subscriber.unsubscribe("a")
    world.run(1)
    for topic in ("a", "b"):
        publisher.publish(topic, topic)
    world.run(1)
    assert [each.topic for each in subscriber.received()] == ["b"]
    assert subscriber.stats()["delivered"] == 1


def test_a_task_is_done_and_its_ticket_has_the_result() -> None:
    world = World()
    world.worker("thumbnails", str.upper, takes_s=5)
    ticket = world.pusher("thumbnails").push("cat.png")
    assert ticket.state == "waiting"
    assert ticket.result() == "CAT.PNG"
    assert ticket.state == "done" and world.elapsed_s >= 5


def test_a_task_moves_when_its_worker_is_killed() -> None:
    world, done = World(), []
    workers = [world.worker("mail", done.append, takes_s=10) for _ in range(2)]
    ticket = world.pusher("mail").push("hello")
    assert world.run_until(lambda: bool(done), 5)
    [busy] = [each for each in workers if each.stats()["in_flight"]]
    busy.kill()
    assert ticket.result() is None
    assert done == ["hello", "hello"] and ticket.attempts == 2


def test_a_task_whose_packets_are_lost_or_late_is_done_once() -> None:
    world, done = World(), []
    worker = world.worker("mail", done.append)
    pusher = world.pusher("mail")
    pusher.push("first").result()
    worker.lose(3)
    pusher.push("second").result()
    worker.delay(2)
    pusher.push("third").result()
    assert done == ["first", "second", "third"]


def test_attempts_fail_and_the_last_error_is_raised() -> None:
    def refuse(body: str) -> None:
        zmqkit.current_task().progress("half")
        raise OSError(f"no {body}")

    world = World()
    world.worker("mail", refuse, attempts=2, backoff_s=60)
    ticket = world.pusher("mail").push("hello")
    with pytest.raises(zmqkit.RemoteError, match="no hello"):
        ticket.result()
    assert ticket.attempts == 2 and 30 < world.elapsed_s < 100
    assert ticket.state == "dead" and ticket.progress() == "half"


def test_a_task_waits_for_its_time_and_expires_by_the_clock_of_the_world() -> None:
    world, done = World(), []
    world.worker("mail", done.append)
    pusher = world.pusher("mail")
    later = pusher.push("later", delay_s=3000)
    with pytest.raises(zmqkit.CallTimeout):
        later.result(2000)
    later.result(1001)
    assert 3000 <= world.elapsed_s < 3010
    forgotten = world.pusher("nobody").push("x", expires_s=60)
    with pytest.raises(zmqkit.CallTimeout):
        forgotten.result()
    assert forgotten.state == "expired"


def test_a_task_that_is_given_up_never_runs_and_its_twin_is_the_same() -> None:
    world, done = World(), []
    pusher = world.pusher("mail")
    ticket = pusher.push("hello", id="one")
    assert pusher.push("hello", id="one").id == ticket.id == "one"
    assert ticket.cancel()
    with pytest.raises(zmqkit.CallCancelled):
        ticket.result()
    assert not ticket.cancel()
    world.worker("mail", done.append)
    world.run(60)
    assert done == []


def test_an_attempt_that_takes_too_long_has_failed() -> None:
    world = World()
    world.worker("mail", len, takes_s=100, task_timeout_s=10, attempts=1)
    ticket = world.pusher("mail").push("hello")
    with pytest.raises(zmqkit.ZmqkitError):
        ticket.result()
    assert world.elapsed_s < 20
