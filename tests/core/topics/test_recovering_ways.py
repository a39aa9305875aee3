"""A subscriber that recovers, of a publisher whose messages come through a forwarder, too."""

from __future__ import annotations

from tests.core.topics.lane import Lane, is_kind
from tests.core.topics.publications import PUBLISHER, bye, greet, of_forwarder, peer_of, publish
from zmqkit.core.effects import News
from zmqkit.forwarder_limits import WAY_S
from zmqkit.history_limits import RETURN_S, History
from zmqkit.limits import SubscriberLimits
from zmqkit.model import Frames
from zmqkit.wire import history, publication
from zmqkit.wire import packet as wire

FORWARDER, SECOND = 0xF1, 0xF2
PEER = peer_of(FORWARDER)
NARROW = SubscriberLimits(held_messages_max=2)


class Ways(Lane):
    """A lane beside which a forwarder stands; it passes on what a test says."""

    def __init__(self, **options: object) -> None:
        super().__init__(keeps=History(messages=100), **options)  # type: ignore[arg-type]  # a lane's options
        self.meet()
        self.subscriber.hear(of_forwarder(News.FOUND, FORWARDER), self.now)
        self.now += WAY_S
        greet(self.subscriber, FORWARDER, self.now)
        self.now += WAY_S

    def brings(self, frames: Frames) -> None:
        self.clock.note_packet(frames)
        self.perform(self.subscriber.receive(PEER, frames, self.now))
        self.check()

    def passes(self, number: int, *bodies: object) -> None:
        """Have the forwarder pass on messages from a number on."""
        self.brings(publish("t", number, *(bodies or (number,))))

    def read_bodies(self) -> list[object]:
        self.take_all()
        return [body for _, _, body in self.read]


def test_a_forwarder_that_is_found_first_does_not_hide_what_a_publisher_keeps() -> None:
    there = Lane(keeps=History(messages=100), history=2)
    for number in range(1, 6):
        there.publish("t", number)
    there.subscriber.hear(of_forwarder(News.FOUND, FORWARDER), there.now)
    greet(there.subscriber, FORWARDER, there.now)
    there.subscriber.receive(PEER, publish("t", 5, 5), there.now)  # too early to be read
    assert there.subscriber.up_count == 0
    there.meet()
    there.take_all()
    assert [body for _, _, body in there.read] == [4, 5]
    there.now += WAY_S
    there.perform(there.subscriber.tick(there.now))
    greet(there.subscriber, FORWARDER, there.now)
    assert there.subscriber.up_count == 2
    there.clock.note_packet(sixth := publish("t", 6, 6))
    there.perform(there.subscriber.receive(PEER, sixth, there.now))
    there.take_all()
    assert [body for _, _, body in there.read] == [4, 5, 6]


def test_what_the_forwarder_brings_is_not_recovered() -> None:
    there = Ways(recover=True)
    there.publish("t", 1)
    there.lose("t", 2)
    there.passes(1)
    there.passes(2)
    there.publish("t", 3)
    assert there.read_bodies() == [1, 2, 3]
    stats = there.subscriber.stats()
    assert (stats["recovered"], stats["duplicates"], stats["missing"]) == (0, 1, 0)


def test_a_gap_that_the_forwarder_shows_is_recovered_from_the_publisher() -> None:
    there = Ways(recover=True)
    there.publish("t", 1)
    there.lose("t", 2)
    there.lose("t", 3)
    there.passes(3)
    assert there.read_bodies() == [1, 2, 3]
    there.publish("t", 4)
    assert there.read_bodies() == [1, 2, 3, 4] and there.missing == []
    assert there.subscriber.stats()["recovered"] == 1


def with_a_hole(**options: object) -> Ways:
    """A publisher is out of reach, and one of its messages is lacking."""
    there = Ways(recover=True, **options)
    there.publish("t", 1)
    there.lose("t", 2)
    there.losing(is_kind(wire.HISTORY), lambda: there.publish("t", 3))
    there.disconnect()
    there.news(News.LOST)
    there.publish("t", 4)
    there.passes(4)
    assert there.read_bodies() == [1]
    return there


def test_what_the_forwarder_brings_waits_behind_what_is_recovered_later() -> None:
    there = with_a_hole()
    there.news(News.FOUND)
    assert there.read_bodies() == [1, 2, 3, 4] and there.missing == []


def test_what_the_forwarder_brings_does_not_wait_for_ever() -> None:
    there = with_a_hole()
    there.wait(RETURN_S)
    assert there.read_bodies() == [1, 3, 4] and there.missing == [("t", 1)]
    there.passes(6)
    assert there.read_bodies() == [1, 3, 4, 6] and there.missing == [("t", 1)]


def test_a_publisher_that_is_gone_takes_nothing_along_that_there_is_no_room_to_hold() -> None:
    there = with_a_hole(limits=NARROW)
    there.news(News.GONE)
    there.publish("t", 5)
    there.passes(5)
    assert there.read_bodies() == [1, 3, 4, 5] and there.missing == [("t", 1)]
    there.passes(6)
    assert there.read_bodies() == [1, 3, 4, 5, 6] and there.missing == []


def test_what_there_is_no_room_to_hold_is_recovered_from_a_publisher_that_was_lost() -> None:
    there = with_a_hole(limits=NARROW)
    there.publish("t", 5)
    there.passes(5)
    assert there.read_bodies() == [1]
    there.news(News.FOUND)
    assert there.read_bodies() == [1, 2, 3, 4, 5] and there.missing == []


def test_nothing_is_given_up_while_another_that_may_keep_it_has_yet_to_answer() -> None:
    there = Lane(recover=True, limits=NARROW)
    there.meet()
    core = there.subscriber
    core.hear(of_forwarder(News.FOUND, FORWARDER), there.now)
    greet(core, FORWARDER, there.now, seeks=None, keeps=True)
    core.hear(of_forwarder(News.FOUND, SECOND), there.now)
    there.publish("t", 1)
    there.lose("t", 2)
    there.publish("t", 3, 4)
    core.hear(of_forwarder(News.LOST, FORWARDER), there.now)
    there.publish("t", 5)
    assert there.take_all() == [("t", 1, 1)] and there.missing == []
    there.now += WAY_S
    greet(core, SECOND, there.now, seeks=None)
    there.publish("t", 6)
    assert [body for _, _, body in there.take_all()] == [3, 4, 6]
    assert there.missing == [("t", 2)]


def test_a_publisher_that_returns_and_does_not_answer_holds_nothing_up_for_ever() -> None:
    there = Ways(recover=True)
    there.publish("t", 1)
    there.disconnect()
    there.news(News.LOST)
    there.wait(2 * RETURN_S)
    there.losing(lambda frames: True, lambda: there.news(News.FOUND))
    there.passes(3)
    assert there.read_bodies() == [1]
    there.losing(lambda frames: True, lambda: there.wait(RETURN_S))
    assert there.read_bodies() == [1, 3] and there.missing == [("t", 1)]


def test_the_end_that_a_forwarder_passes_on_is_recovered() -> None:
    there = Ways(recover=True)
    there.publish("t", 1)
    there.lose("t", 2)
    there.brings(bye({"t": 3}))
    assert there.read_bodies() == [1, 2] and there.missing == []


def test_what_the_forwarder_brought_is_not_read_again_once_the_publisher_is_found() -> None:
    there = Ways(recover=True)
    there.disconnect()
    there.news(News.GONE)
    there.passes(1)
    there.publisher.gather("t", 1)
    there.publisher.flush(there.now)
    there.publish("t", 2)
    there.meet()
    assert there.read_bodies() == [1, 2] and there.missing == []


def test_a_topic_that_the_forwarder_brings_first_begins_with_its_history() -> None:
    there = Ways(history=2, topics=["x"])
    there.publish("t", 1, 2, 3)
    effects = there.subscriber.subscribe(["t"], there.now)
    there.passes(4)
    there.lose("t", 4)
    there.perform(effects)
    assert there.read_bodies() == [2, 3, 4]


def test_a_topic_begins_with_its_history_again_once_it_is_subscribed_to_again() -> None:
    there = Ways(history=2)
    there.publish("t", 1, 2, 3)
    there.perform(there.subscriber.unsubscribe([""]))
    there.perform(there.subscriber.subscribe([""], there.now))
    assert there.read_bodies() == [1, 2, 3, 2, 3]


def test_a_clearing_comes_through_a_forwarder() -> None:
    there = Ways()
    there.passes(1)
    there.brings(history.clear(b"t", there.publisher.incarnation, 2))
    there.passes(3)
    assert there.read_bodies() == [1, None, 3] and there.missing == []
    assert there.flags[1] == (True, False)


def test_what_is_recovered_waits_for_room_where_messages_came_another_way() -> None:
    limits = SubscriberLimits(queue_messages_max=4)
    there = Ways(recover=True, limits=limits)
    there.publish("t", 1)
    assert there.take() == [("t", 1, 1)]
    for number in range(2, 10):
        there.lose("t", number)
        there.passes(number)
    there.lose("t", 10)
    there.publish("t", *range(11, 15))
    there.wait(1.0)
    assert there.read_bodies() == [*range(1, 15)] and there.missing == []
    assert there.subscriber.stats()["dropped"] == {}


def test_a_number_that_is_older_than_a_subscription_does_not_begin_it() -> None:
    """Found by seed 9002110: a forwarder that lagged behind brought what had been read."""
    ways = Ways(topics=["t"], recover=True)
    greet(ways.subscriber, FORWARDER, ways.now, keeps=True)
    ways.publish("t", *range(1, 7))
    assert ways.read_bodies() == [1, 2, 3, 4, 5, 6]
    ways.perform(ways.subscriber.unsubscribe(("t",)))
    again = ways.subscriber.subscribe(("t",), ways.now)
    ways.losing(lambda frames: True, lambda: ways.perform(again))
    told = history.Heads(0, {(PUBLISHER, "t"): 3}, 0)
    ways.brings(history.heads(FORWARDER, publication.EVERYBODY, told))
    ways.wait(RETURN_S)
    ways.publish("t", 7)
    assert ways.read_bodies() == [1, 2, 3, 4, 5, 6, 7]


def test_what_was_read_before_a_subscription_ended_is_not_read_again_another_way() -> None:
    """Seed 9520757: a way that lagged behind brought it."""
    there = Ways(recover=True)
    there.publish("t", 1, 2, 3)
    assert there.read_bodies() == [1, 2, 3]
    there.perform(there.subscriber.unsubscribe([""]))
    there.subscriber.subscribe([""], there.now)
    for number in (2, 3, 4):
        there.passes(number)
    there.passes(5)
    assert there.read_bodies() == [1, 2, 3, 4, 5]
