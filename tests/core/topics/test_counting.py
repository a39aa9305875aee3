"""What devices count by topic while somebody looks, and only then."""

from __future__ import annotations

from tests.core.topics.bridged import World
from tests.core.topics.publications import mark, publish
from tests.core.topics.test_forwarder import BIG, forwarder, join, meet, take
from zmqkit.core.effects import Effect, Send
from zmqkit.core.topics.bridge import BridgeCore
from zmqkit.core.topics.counting import Counting
from zmqkit.core.topics.forwarder import ForwarderCore
from zmqkit.limits import STALL_S
from zmqkit.model import EVERY_PEER
from zmqkit.statistics_limits import LOOKED_S, PARTS_MAX


def topics(core: ForwarderCore | BridgeCore, now: float = 0.0) -> dict[str, int]:
    """What somebody who looks now is told of each topic."""
    core.looked(now)
    whole, *parts = core.statistics(now)
    assert not whole.part and all(row.part == "topic" for row in parts)
    return {row.of: row.delivered for row in parts}


def leaving(*topics: str) -> list[Effect]:
    """A packet of each topic, for all subscribers."""
    return [Send(EVERY_PEER, publish(topic, 1, "x")) for topic in topics]


def test_a_forwarder_counts_from_the_first_look_on() -> None:
    core = forwarder()
    peer = meet(core)
    take(core, peer, publish("a", 1, "unseen"))
    assert topics(core) == {}
    take(core, peer, publish("a", 2, "x", "y"))  # one packet, as the forwarder counts
    take(core, peer, publish("b", 1, "x"))
    assert topics(core) == {"a": 1, "b": 1}
    take(core, peer, publish("a", 4, "z"))
    assert topics(core) == {"a": 2, "b": 1}


def test_it_counts_as_long_as_somebody_looks_now_and_then() -> None:
    core = forwarder()
    peer = meet(core)
    for number in range(1, 5):
        now = number * (LOOKED_S - 1)
        assert topics(core, now) == ({"a": number - 1} if number > 1 else {})
        take(core, peer, publish("a", number, "x"), now)


def test_once_nobody_looks_it_counts_nothing_and_begins_anew() -> None:
    core = forwarder()
    peer = meet(core)
    topics(core)
    take(core, peer, publish("a", 1, "x"), LOOKED_S - 0.1)
    assert core.front.counting is not None
    take(core, peer, publish("a", 2, "x"), LOOKED_S)
    assert core.front.counting is None
    assert topics(core, LOOKED_S + 1) == {}
    take(core, peer, publish("a", 3, "x"), LOOKED_S + 1)
    assert topics(core, LOOKED_S + 2) == {"a": 1}


def test_a_look_after_a_long_time_begins_anew_though_nothing_came_in_between() -> None:
    core = forwarder()
    peer = meet(core)
    topics(core)
    take(core, peer, publish("a", 1, "x"))
    assert topics(core, LOOKED_S) == {}


def test_what_is_held_counts_when_it_leaves() -> None:
    core = forwarder()
    peer = meet(core, waits=True)
    join(core)
    topics(core)
    take(core, peer, publish("a", 1, BIG))
    take(core, peer, publish("b", 1, "held"))
    assert (core.held, topics(core)) == (1, {"a": 1})
    core.tick(STALL_S)  # its subscriber has read nothing and is excluded
    assert (core.held, topics(core, STALL_S)) == (0, {"a": 1, "b": 1})


def test_what_is_no_message_has_no_topic() -> None:
    core = forwarder()
    peer = meet(core, waits=True)
    topics(core)
    take(core, peer, mark(1))
    join(core)
    core.leave(0.0)
    assert topics(core) == {}


def test_topics_beyond_the_limit_are_counted_together() -> None:
    counting = Counting(0.0)
    names = [f"t{number}" for number in range(PARTS_MAX + 5)]
    assert counting.saw(leaving(*names), 0.0) and counting.saw(leaving(*names), 1.0)
    assert counting.topics == {**dict.fromkeys(names[:PARTS_MAX], 2), "": 10}
    core = forwarder()
    core.front.counting = counting
    assert topics(core) == counting.topics


def test_a_topic_that_is_no_unicode_is_counted() -> None:
    core = forwarder()
    peer = meet(core)
    topics(core)
    [frame] = publish("a", 1, "x")
    for first in (b"\xff", b"\xfe"):
        take(core, peer, (first + bytes(frame)[1:],))
    assert topics(core) == {"\N{REPLACEMENT CHARACTER}": 2}


def test_a_topic_is_read_in_a_frame_that_is_no_bytes() -> None:
    counting = Counting(0.0)
    [frame] = publish("a", 1, BIG)
    assert counting.saw([Send(EVERY_PEER, (memoryview(bytes(frame)),))], 0.0)
    assert counting.topics == {"a": 1}


def test_an_end_of_a_bridge_counts_what_it_hands_over_on_its_own_network() -> None:
    world = World()
    here, there = (end.core for end in world.bridge("a", "z"))
    assert isinstance(here, BridgeCore) and isinstance(there, BridgeCore)
    publisher = world.publisher("a")
    world.subscriber("z")
    world.run(1.5)
    world.publish(publisher, "t", "unseen")
    world.run(1.5)
    assert topics(there, world.now) == topics(here, world.now) == {}
    for topic in ("t", "u", "t"):
        world.publish(publisher, topic, 1)
    world.run(1.5)
    assert topics(there, world.now) == {"t": 2, "u": 1}
    assert topics(here, world.now) == {}
    whole, *_ = there.statistics(world.now)
    assert whole.delivered == 4
