"""A bridge between networks: what passes, what comes round, and what a cut link costs."""

from __future__ import annotations

from random import Random

import pytest

from tests.core.topics.bridged import Member, World
from zmqkit.bridge_limits import BridgeLimits
from zmqkit.core.topics.bridge import BridgeCore
from zmqkit.core.topics.publisher import PublisherCore
from zmqkit.core.topics.subscriber import SubscriberCore
from zmqkit.limits import READS_S
from zmqkit.wire import packet as wire
from zmqkit.wire import publication


def core_of(end: Member) -> BridgeCore:
    assert isinstance(end.core, BridgeCore)
    return end.core


def stat(end: Member, key: str) -> object:
    return end.core.stats()[key]


@pytest.fixture
def world() -> World:
    return World()


def counts(member: Member) -> tuple[int, int]:
    """How many messages a subscriber misses, and how many came to it twice."""
    assert isinstance(member.core, SubscriberCore)
    return member.core.counts["missing"], member.core.counts["duplicates"]


def test_messages_pass_in_both_directions(world: World) -> None:
    world.bridge("a", "z")
    sides = [(world.publisher(each), world.subscriber(each)) for each in "az"]
    world.run(1.5)
    for number, (publisher, _) in enumerate(sides):
        world.publish(publisher, f"t{number}", number)
    world.run(1.5)
    for _, subscriber in sides:
        assert sorted(world.read(subscriber)) == [("t0", 0), ("t1", 1)]
        assert counts(subscriber) == (0, 0)
    assert world.notes == ["bridge-up", "bridge-up"]


def test_who_published_is_told(world: World) -> None:
    world.bridge("a", "z")
    publisher, subscriber = world.publisher("a"), world.subscriber("z")
    world.run(1.5)
    world.publish(publisher, "t", "x")
    world.run(1.5)
    assert isinstance(subscriber.core, SubscriberCore)
    delivery, _ = subscriber.core.take()
    assert delivery is not None
    assert (delivery.publisher, delivery.sequence) == (publisher.core.incarnation, 1)


@pytest.mark.parametrize(
    ("leaves", "enters", "at_z", "at_a"),
    [
        (["k"], [], ["ka", "kz", "lz"], ["ka", "la"]),
        ([], ["k"], ["kz", "lz"], ["ka", "kz", "la"]),
        (["k"], ["k"], ["ka", "kz", "lz"], ["ka", "kz", "la"]),
        (["k"], ["l"], ["ka", "kz", "lz"], ["ka", "la", "lz"]),
        (["", "k"], [], ["ka", "kz", "la", "lz"], ["ka", "la"]),
    ],
)
def test_rules_of_one_end_hold_for_both(
    world: World, leaves: list[str], enters: list[str], at_z: list[str], at_a: list[str]
) -> None:
    world.bridge("a", "z", leaves, enters)
    publishers = {each: world.publisher(each) for each in "az"}
    subscribers = [world.subscriber(each) for each in "za"]
    world.run(1.5)
    for network, publisher in publishers.items():
        for topic in "kl":
            world.publish(publisher, topic + network, 0)
    world.run(1.5)
    read = [sorted(topic for topic, _ in world.read(each)) for each in subscribers]
    assert read == [at_z, at_a]


def test_what_the_other_end_does_not_let_in_is_not_sent(world: World) -> None:
    first, _ = world.bridge("a", "z", enters=["k"])
    publisher = world.publisher("z")
    world.run(1.5)
    world.publish(publisher, "k", 0)
    world.publish(publisher, "l", 0)
    world.run(1.5)
    assert (stat(first, "received"), stat(first, "dropped")) == (1, {})
    assert stat(world.members[1], "kept_back") == {"rule": 1}


def test_an_end_that_lets_nothing_in_drops_what_comes_all_the_same(world: World) -> None:
    first, second = world.bridge("a", "z", enters=["k"])
    publisher = world.publisher("z")
    world.run(1.5)
    core_of(second).span._far_takes = (b"",)  # an end that does not hold to the rules
    world.publish(publisher, "l", 0)
    world.run(1.5)
    assert stat(first, "dropped") == {"rule": 1}


def test_two_bridges_bring_each_message_once(world: World) -> None:
    ends = [*world.bridge("a", "z"), *world.bridge("z", "a")]
    sides = [(world.publisher(each), world.subscriber(each)) for each in "az"]
    world.run(1.5)
    for number in range(50):
        for publisher, _ in sides:
            world.publish(publisher, "t", number)
        world.step(number)
    world.run(5)
    for _, subscriber in sides:
        read = [body for _, body in world.read(subscriber)]
        assert sorted(read) == sorted([*range(50), *range(50)])
        assert counts(subscriber)[0] == 0
    # Nothing came back to the network that it is from, and nothing is still on its way.
    assert [stat(end, "handed_over") for end in ends] == [50] * 4
    assert all(stat(end, "waiting") == 0 for end in ends)


def test_one_bridge_out_and_one_in_do_not_echo(world: World) -> None:
    world.bridge("a", "z", leaves=["k"], enters=[])
    back, _ = world.bridge("a", "z", leaves=[], enters=["k"])
    publisher, subscriber = world.publisher("a"), world.subscriber("a")
    world.run(1.5)
    for number in range(20):
        world.publish(publisher, "k", number)
    world.run(1.5)
    assert [body for _, body in world.read(subscriber)] == list(range(20))
    assert counts(subscriber) == (0, 0)
    assert (stat(back, "received"), stat(back, "handed_over")) == (0, 0)


def test_a_ring_of_networks_ends_each_message(world: World) -> None:
    ends = [end for pair in ("ab", "bc", "ca") for end in world.bridge(*pair)]
    publishers = [world.publisher(each) for each in "abc"]
    subscribers = [world.subscriber(each) for each in "abc"]
    world.run(3)
    for number in range(10):
        for publisher in publishers:
            world.publish(publisher, "t", number)
        world.step(7)
    world.run(5)
    for subscriber in subscribers:
        assert sorted(body for _, body in world.read(subscriber)) == sorted([*range(10)] * 3)
        assert counts(subscriber)[0] == 0
    # Each end carries a message of others once at most in each direction.
    assert all(core_of(end).stats()["handed_over"] <= 20 for end in ends)  # type: ignore[operator]


@pytest.mark.parametrize("pairs", [["az", "az"], ["ab", "bc", "ca"]])
def test_the_end_of_a_publisher_does_not_go_in_a_circle(world: World, pairs: list[str]) -> None:
    ends = [end for pair in pairs for end in world.bridge(*pair)]
    publisher = world.publisher("a")
    world.run(3)
    world.publish(publisher, "t", 0)
    world.run(3)
    assert isinstance(publisher.core, PublisherCore)
    world._do(publisher, publisher.core.leave(world.now))
    world.step(1000)
    assert not any(wire.out or wire.back for wire in world.wires)
    # Each end hands over the message and the end, once at most.
    assert all(core_of(end).stats()["handed_over"] <= 2 for end in ends)  # type: ignore[operator]


def test_messages_pass_two_bridges_in_a_row(world: World) -> None:
    world.bridge("a", "b")
    world.bridge("b", "c")
    publisher, subscriber = world.publisher("a"), world.subscriber("c")
    world.run(3)
    world.publish(publisher, "t", "x")
    world.run(1.5)
    assert world.read(subscriber) == [("t", "x")]


def test_what_was_published_during_a_cut_comes_after_it(world: World) -> None:
    ends = world.bridge("a", "z")
    publisher, subscriber = world.publisher("a"), world.subscriber("z")
    world.run(1.5)
    world.publish(publisher, "t", 0)
    world.cut(*ends)
    for number in range(1, 100):
        world.publish(publisher, "t", number)
        world.run(0.1)
    assert "bridge-cut" in world.notes
    assert stat(ends[0], "connected") is False
    world.heal()
    world.run(5)
    assert [body for _, body in world.read(subscriber)] == list(range(100))
    assert counts(subscriber) == (0, 0)


def test_a_topic_that_was_cleared_during_a_cut_is_cleared_after_it(world: World) -> None:
    ends = world.bridge("a", "z")
    publisher, subscriber = world.publisher("a"), world.subscriber("z")
    world.run(1.5)
    world.publish(publisher, "t", 0)
    world.run(1.5)
    world.cut(*ends)
    assert isinstance(publisher.core, PublisherCore)
    world._do(publisher, publisher.core.clear("t", world.now))
    world.publish(publisher, "t", 1)
    world.run(5)
    world.heal()
    world.run(5)
    assert isinstance(subscriber.core, SubscriberCore)
    deliveries = []
    while (delivery := subscriber.core.take()[0]) is not None:
        deliveries.append((delivery.sequence, delivery.cleared))
    assert deliveries == [(1, False), (2, True), (3, False)]
    assert counts(subscriber) == (0, 0)


def test_after_a_cut_no_more_is_sent_than_the_other_end_has_room_for(world: World) -> None:
    limits = BridgeLimits(flight_bytes_max=10_000)
    ends = world.bridge("a", "z", limits=limits)
    publisher, subscriber = world.publisher("a"), world.subscriber("z")
    world.run(1.5)
    world.cut(*ends)
    for number in range(100):
        world.publish(publisher, "t", [number, bytes(1000)])
    world.run(5)
    assert core_of(ends[0]).span._sent_bytes < 12_000
    world.heal()
    world.run(10)
    assert [body[0] for _, body in world.read(subscriber)] == list(range(100))  # type: ignore[index]


def test_the_oldest_make_room_during_a_long_cut_and_are_missing(world: World) -> None:
    ends = world.bridge("a", "z", limits=BridgeLimits(held_bytes_max=30_000))
    publisher, subscriber = world.publisher("a"), world.subscriber("z")
    world.run(1.5)
    world.publish(publisher, "t", 0)
    world.run(1.5)
    world.cut(*ends)
    world.run(5)
    for number in range(1, 101):
        world.publish(publisher, "t", number)
        world.run(0.01)
    world.heal()
    world.run(5)
    read = [body for _, body in world.read(subscriber)]
    kept_back = stat(ends[0], "kept_back")
    assert read[-1] == 100
    assert kept_back == {"full": 101 - len(read)}
    assert counts(subscriber)[0] == 101 - len(read)


@pytest.mark.parametrize("which", [0, 1])
def test_an_end_that_was_killed_is_replaced(world: World, which: int) -> None:
    """What the other end holds for it goes to the next one."""
    port = "tcp://10.0.0.9:1"
    begin = [
        lambda: world.end("a", [""], [""], listen=port),
        lambda: world.end("z", [""], [""], connect=port),
    ]
    ends = [each() for each in begin]
    networks = "az"
    publisher = world.publisher(networks[1 - which])
    world.run(1.5)
    world.publish(publisher, "t", 0)
    world.run(1.5)
    world.kill(ends[which])
    for number in range(1, 10):
        world.publish(publisher, "t", number)
    world.run(5)
    subscriber = world.subscriber(networks[which])
    begin[which]()
    world.run(10)
    assert [body for _, body in world.read(subscriber)] == list(range(1, 10))


def test_a_publisher_that_waits_is_held_up_by_the_other_network(world: World) -> None:
    ends = world.bridge("a", "z", limits=BridgeLimits(window_bytes=4000, window_messages=40))
    publisher = world.publisher("a", waits=True, window=4000)
    subscriber = world.subscriber("z")
    world.run(1.5)
    assert isinstance(publisher.core, PublisherCore)
    count = 0
    while not publisher.core.blocked and count < 1000:
        world.publish(publisher, "t", bytes(200))
        world.settle()
        count += 1
    assert count < 200
    assert stat(ends[1], "held")
    for _ in range(60):
        world.read(subscriber)
        world.run(0.1)
    assert not publisher.core.blocked
    assert (len(world.read(subscriber)), counts(subscriber)) == (count, (0, 0))


def test_an_end_that_is_new_begins_within_its_window(world: World) -> None:
    port = "tcp://10.0.0.9:1"
    limits = BridgeLimits(window_packets=10)
    ends = [
        world.end("a", [""], [""], listen=port),
        world.end("z", [""], [""], connect=port, limits=limits),
    ]
    publishers = [world.publisher("a", waits=waits) for waits in (True, False)]
    world.run(1.5)
    world.kill(ends[1])
    for number in range(100):
        for at, publisher in enumerate(publishers):
            world.publish(publisher, f"t{at}", number)
    world.run(1.5)
    subscriber = world.subscriber("z")
    end = world.end("z", [""], [""], connect=port, limits=limits)
    world.run(3.0)
    held = core_of(end).stats()["held"]
    assert isinstance(held, int) and 90 < held <= 100
    for _ in range(100):
        world.read(subscriber)
        world.run(0.1)
    assert counts(subscriber) == (0, 0)
    assert sorted(world.read(subscriber)) == [
        (f"t{at}", n) for at in (0, 1) for n in range(100)
    ]
    assert core_of(ends[0]).span.count == 0


def test_so_many_marks_of_a_publisher_are_taken_and_no_more(world: World) -> None:
    ends = world.bridge("a", "z")
    publisher = world.publisher("a", waits=True)
    world.run(1.5)
    core = core_of(ends[0])
    peer = core.sources[0].peer
    world.cut(*ends)
    world.publish(publisher, "t", 0)
    world.settle()
    for number in range(1, 1000):
        frames = publication.to_subscriber(
            wire.MARK, publisher.core.incarnation, publication.EVERYBODY, number
        )
        core.receive(peer, frames, world.now)
    assert [each.number for each in core._marks] == [*range(1, 65)]


def test_an_end_that_leaves_answers_no_marks(world: World) -> None:
    ends = world.bridge("a", "z")
    publisher = world.publisher("a", waits=True, window=4000)
    world.run(1.5)
    world.cut(*ends)
    for _ in range(10):
        world.publish(publisher, "t", bytes(300))
    world.settle()
    assert core_of(ends[0]).deadline() <= world.now + READS_S
    core_of(ends[0]).leave(world.now)
    core_of(ends[0]).check()


def test_a_cut_link_holds_up_nobody_for_long(world: World) -> None:
    ends = world.bridge("a", "z")
    publisher = world.publisher("a", waits=True, window=4000)
    world.run(1.5)
    world.cut(*ends)
    assert isinstance(publisher.core, PublisherCore)
    while not publisher.core.blocked:
        world.publish(publisher, "t", bytes(200))
        world.settle()
    world.run(4)
    assert publisher.core.blocked
    world.run(6)
    assert not publisher.core.blocked
    assert publisher.core.stats()["exclusions"] == 0


def test_the_end_of_a_publisher_is_told(world: World) -> None:
    world.bridge("a", "z")
    publisher, subscriber = world.publisher("a"), world.subscriber("z")
    world.run(1.5)
    world.publish(publisher, "t", 0)
    assert isinstance(publisher.core, PublisherCore)
    world._do(publisher, publisher.core.leave(world.now))
    world.run(1.5)
    assert isinstance(subscriber.core, SubscriberCore)
    assert publisher.core.incarnation in subscriber.core.sources.origins._ended


def test_an_end_that_leaves_carries_what_it_heard_and_takes_nothing_more(world: World) -> None:
    ends = world.bridge("a", "z")
    publisher, subscriber = world.publisher("a"), world.subscriber("z")
    other = world.publisher("z")
    world.run(1.5)
    world.publish(publisher, "t", 0)
    world.settle()
    core = core_of(ends[0])
    world._do(ends[0], core.leave(world.now))
    world.publish(other, "t", "kept")
    world.run(1.5)
    assert sorted(world.read(subscriber), key=str) == [("t", "kept"), ("t", 0)]
    assert core.span.count == 0
    world._do(ends[0], core.close())
    world.run(1.5)
    assert "bridge-left" in world.notes
    assert stat(ends[1], "waiting") == 1


def test_ends_that_leave_at_the_same_time_do_not_wait_for_each_other(world: World) -> None:
    ends = world.bridge("a", "z")
    publishers = [world.publisher(network) for network in "az"]
    world.run(1.5)
    for publisher in publishers:
        world.publish(publisher, "t", 0)
        world.step()
    for end in ends:
        world._do(end, core_of(end).leave(world.now))
    world.settle()
    assert [core_of(end).awaited for end in ends] == [0, 0]


def test_a_link_has_two_ends(world: World) -> None:
    port = "tcp://10.0.0.9:1"
    first = world.end("a", [""], [""], listen=port)
    second = world.end("z", [""], [""], connect=port)
    world.run(1.5)
    third = world.end("y", [""], [""], connect=port)
    world.run(3)
    assert world.notes.count("bridge-refused") == 1
    connected = [stat(each, "connected") for each in (first, second, third)]
    assert connected == [True, True, False]
    world.kill(second)
    world.run(10)
    assert stat(third, "connected") is True


def test_another_name_behind_the_address_is_refused(world: World) -> None:
    port = "tcp://10.0.0.9:1"
    world.end("a", [""], [""], listen=port)
    world._links[f"{port}/harvest"] = world._links[port]
    second = world.end("z", [""], [""], connect=f"{port}/harvest")
    world.run(3)
    assert stat(second, "connected") is False
    assert "bridge-refused" in world.notes


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_cuts_at_any_moment_lose_and_repeat_nothing(seed: int) -> None:
    world, random = World(seed), Random(seed)
    pairs = [world.bridge("a", "z"), world.bridge("z", "a")]
    sides = [(world.publisher(each), world.subscriber(each)) for each in "az"]
    world.run(3)
    for number in range(120):
        for publisher, _ in sides:
            world.publish(publisher, f"t{random.randrange(3)}", number)
        world.step(random.randrange(12))
        if random.random() < 0.1:
            world.cut(*random.choice(pairs))
        if random.random() < 0.2:
            world.run(random.random() * 3)
        if random.random() < 0.1:
            world.heal()
    world.heal()
    world.run(30)
    for _, subscriber in sides:
        assert sorted(b for _, b in world.read(subscriber)) == sorted([*range(120)] * 2)  # type: ignore[type-var]
        assert counts(subscriber)[0] == 0
    for pair in pairs:
        for end in pair:
            assert core_of(end).stats()["handed_over"] <= 120  # type: ignore[operator]
            assert not core_of(end).dropped["echo"]
