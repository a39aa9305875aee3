"""A subscriber gets what it missed from the publisher's history, in order and once."""

from __future__ import annotations

from math import inf

import pytest

from tests.core.topics.lane import Lane, is_kind, is_message
from tests.core.topics.publications import PEER
from zmqkit.core.effects import News
from zmqkit.history_limits import HEADS_S, RECOVER_S, RETURN_S, History
from zmqkit.limits import BYE_S, SubscriberLimits
from zmqkit.model import Frames
from zmqkit.wire import packet as wire

SMALL = SubscriberLimits(queue_messages_max=8, held_messages_max=4)


def lane(messages: int = 100, **options: object) -> Lane:
    """A lane on which a subscriber has joined that recovers what it misses."""
    there = Lane(keeps=History(messages=messages), recover=True, **options)  # type: ignore[arg-type]  # a lane's options
    there.meet()
    return there


def joiner(history: int, **options: object) -> Lane:
    """A lane whose subscriber has yet to join."""
    return Lane(keeps=History(messages=5), history=history, **options)  # type: ignore[arg-type]  # a lane's options


def of(topic: str, *numbers: int) -> list[tuple[str, int, object]]:
    """Messages whose bodies are their numbers."""
    return [(topic, number, number) for number in numbers]


def stats(there: Lane, *names: str) -> list[object]:
    return [there.subscriber.stats()[name] for name in names]


# Joining


def test_who_joins_late_gets_the_last_messages_of_each_topic() -> None:
    there = joiner(2)
    there.publish("a", 1, 2, 3)
    there.publish("b", 1)
    there.meet()
    assert there.take() == of("a", 2, 3) + of("b", 1)
    assert there.flags == [(False, True)] * 3
    there.publish("a", 4)
    assert there.take() == of("a", 4)
    assert there.flags[-1] == (False, False)
    assert stats(there, "received", "recovered", "gaps") == [4, 3, 0]


def test_no_more_is_kept_than_the_publisher_has() -> None:
    there = joiner(50)
    there.publish("a", *range(1, 10))
    there.meet()
    assert there.take() == of("a", 5, 6, 7, 8, 9)
    assert there.missing == []


def test_only_wanted_topics_are_sent() -> None:
    there = joiner(9, topics=["a"])
    there.publish("a", 1)
    there.publish("b", 1)
    there.meet()
    assert there.take() == of("a", 1)


def test_history_comes_before_what_is_published_meanwhile() -> None:
    there = joiner(9)
    there.publish("a", 1, 2)
    there.losing(is_kind(wire.HEADS), there.meet)
    there.publish("a", 3)
    assert there.take() == []
    there.wait(RECOVER_S)
    assert there.take() == of("a", 1, 2, 3)


def test_two_publishers_of_a_topic_do_not_hide_each_other() -> None:
    first, second = joiner(1), joiner(1)
    for there in (first, second):
        there.publish("a", 1)
    # Each has its own connection, so the lanes of both are one subscriber's; see test_sources.
    for there in (first, second):
        there.meet()
        assert there.take() == of("a", 1)


def test_a_publisher_without_history_gives_none() -> None:
    there = Lane(history=5, recover=True)
    there.publish("a", 1)
    there.meet()
    there.publish("a", 2)
    there.lose("a", 3)
    there.publish("a", 4)
    assert there.take() == of("a", 2, 4)
    assert there.missing == [("a", 1)]
    assert there.subscriber.deadline() == inf


def test_more_history_than_the_queue_holds_neither_hangs_nor_drops() -> None:
    there = Lane(keeps=History(messages=100), history=100, limits=SMALL)
    there.publish("a", *range(1, 61))
    there.publish("b", *range(1, 41))
    there.meet()
    assert there.take_all() == of("a", *range(1, 61)) + of("b", *range(1, 41))
    assert stats(there, "dropped", "gaps", "recovered") == [{}, 0, 100]


def test_many_topics_come_by_pages() -> None:
    there = joiner(1)
    for number in range(5000):
        there.publisher.gather(f"topic.{number}", 1)
    there.publish("last", 1)
    there.meet()
    assert len(there.take_all()) == 5001
    assert stats(there, "recovered", "duplicates") == [5001, 0]


def test_large_messages_come_one_by_one() -> None:
    there = joiner(5)
    bodies = [bytes(100_000 + number) for number in range(5)]
    for body in bodies:
        there.publish("a", body)
    there.meet()
    assert [body for _, _, body in there.take_all()] == bodies


def test_who_subscribes_to_more_gets_the_history_of_that() -> None:
    there = joiner(5, topics=["a"])
    there.publish("a", 1)
    there.publish("b", 1, 2)
    there.meet()
    assert there.take() == of("a", 1)
    there.perform(there.subscriber.subscribe(["b"], there.now))
    assert there.take() == of("b", 1, 2)


def test_who_subscribes_again_gets_the_last_messages_again_and_no_others() -> None:
    there = joiner(1, topics=["a"], recover=True)
    there.meet()
    there.publish("a", 1, 2)
    there.take()
    there.perform(there.subscriber.unsubscribe(["a"]))
    there.publish("a", 3, 4)
    there.perform(there.subscriber.subscribe(["a"], there.now))
    assert there.take() == of("a", 4)
    assert there.missing == []


# Gaps


def test_what_a_gap_missed_comes_before_what_follows() -> None:
    there = lane()
    there.publish("a", 1)
    there.lose("a", 2, 3)
    there.publish("a", 4)
    assert there.take() == of("a", 1, 2, 3, 4)
    assert [recovered for _, recovered in there.flags] == [False, True, True, False]
    assert stats(there, "gaps", "missing", "recovered") == [0, 0, 2]


def test_messages_are_held_until_the_page_has_come() -> None:
    there = lane()
    there.publish("a", 1)
    there.lose("a", 2)
    there.losing(is_kind(wire.HISTORY), lambda: there.publish("a", 3))
    there.publish("a", 4)
    there.publish("b", 1)
    assert there.take() == of("a", 1) + of("b", 1)
    assert stats(there, "received", "queued") == [4, 2]
    there.wait(RECOVER_S)
    assert there.take() == of("a", 2, 3, 4)


def test_what_finds_no_room_to_be_held_is_recovered_in_turn() -> None:
    there = lane(limits=SMALL)
    there.publish("a", 1)
    there.lose("a", 2)

    def publish() -> None:
        for number in range(3, 13):
            there.publish("a", number)

    there.losing(is_kind(wire.HISTORY), publish)
    assert stats(there, "received", "queued") == [5, 5]
    there.wait(RECOVER_S)
    assert there.take_all() == of("a", *range(1, 13))
    assert stats(there, "received", "recovered", "missing") == [12, 7, 0]


def test_a_slow_reader_drops_nothing_that_is_kept() -> None:
    there = lane(limits=SMALL)
    for number in range(1, 41):
        there.publish("a", number)
    there.publish("b", *range(1, 21))
    assert sorted(there.take_all()) == of("a", *range(1, 41)) + of("b", *range(1, 21))
    assert stats(there, "dropped", "missing") == [{}, 0]


def test_what_is_held_does_not_take_the_room_of_a_page_that_comes() -> None:
    there = lane(limits=SMALL)
    there.publish("a", 1)
    there.publish("b", 1)
    there.take()
    there.disconnect()
    there.news(News.LOST)
    there.publish("a", 2, 3, 4)
    there.publish("b", 2, 3, 4, 5, 6)
    there.losing(is_kind(wire.HISTORY), there.meet)
    there.publish("a", 5, 6, 7, 8)
    there.wait(RECOVER_S)
    assert there.take_all() == of("a", 2, 3, 4) + of("b", 2, 3, 4, 5, 6) + of("a", 5, 6, 7, 8)
    assert stats(there, "dropped", "missing") == [{}, 0]


def test_what_is_no_longer_kept_is_missing() -> None:
    there = lane(messages=2)
    there.publish("a", 1)
    there.lose("a", 2, 3, 4)
    there.publish("a", 5)
    assert there.take() == of("a", 1, 4, 5)
    assert there.missing == [("a", 2)]
    assert stats(there, "gaps", "missing") == [1, 2]


def test_the_loss_of_the_last_message_is_noticed() -> None:
    there = lane()
    there.publish("a", 1)
    there.lose("a", 2)
    there.take()
    there.wait(2 * HEADS_S)
    assert there.take() == of("a", 2)
    assert there.publisher.deadline() < inf
    there.wait(1000.0)
    assert there.publisher.deadline() == inf


def test_the_only_message_of_a_new_topic_is_recovered() -> None:
    there = lane()
    there.publish("b", 1)
    there.lose("a", 1)
    there.wait(2 * HEADS_S)
    assert there.take() == of("b", 1) + of("a", 1)


def test_a_cut_is_made_up_for() -> None:
    there = lane()
    there.publish("a", 1)
    there.news(News.LOST)
    there.disconnect()
    there.publish("a", 2, 3)
    there.publish("new", 1)
    there.news(News.GONE)
    there.wait(10.0)
    there.meet()
    assert there.take() == of("a", 1, 2, 3) + of("new", 1)
    there.publish("a", 4)
    assert there.take() == of("a", 4)
    assert stats(there, "missing", "duplicates") == [0, 0]


def test_what_is_held_does_not_wait_for_ever_for_a_publisher_that_is_gone() -> None:
    there = lane()
    there.publish("a", 1)
    there.lose("a", 2)
    there.losing(is_kind(wire.HISTORY), lambda: there.publish("a", 3))
    there.take()
    there.news(News.GONE)
    there.disconnect()
    there.wait(RETURN_S - 1)
    assert there.take() == []
    there.wait(2.0)
    assert there.take() == of("a", 3)
    assert there.missing == [("a", 1)]
    assert there.subscriber.deadline() == inf


def test_who_closes_is_asked_for_what_is_lacking_first() -> None:
    there = lane()
    there.publish("a", 1)
    there.lose("a", 2)
    there.losing(
        is_kind(wire.HISTORY), lambda: there.publishes(there.publisher.leave(there.now))
    )
    assert there.publisher.joined_count == 1
    there.wait(RECOVER_S + BYE_S)
    assert there.publisher.joined_count == 0
    assert there.take() == of("a", 1, 2)


def test_a_page_that_comes_twice_counts_once() -> None:
    there = lane()
    there.publish("a", 1)
    there.lose("a", 2)
    pages = []
    there.losing(
        lambda f: is_kind(wire.HISTORY)(f) and not pages.append(f),
        lambda: there.publish("a", 3),
    )
    for frames in pages * 2:
        there.perform(there.subscriber.receive(PEER, frames, there.now))
        there.check()
    assert there.take() == of("a", 1, 2, 3)


def test_a_large_message_is_not_sent_again_and_again_until_there_is_room() -> None:
    limits = SubscriberLimits(queue_bytes_max=100_000)
    there = lane(limits=limits)
    there.publish("b", bytes(40_000))
    there.publish("a", 1)
    there.lose("a", bytes(90_000))
    pages: list[Frames] = []

    def counts(frames: Frames) -> bool:
        pages.extend([frames] * is_kind(wire.HISTORY)(frames))
        return False

    there.losing(counts, lambda: (there.publish("a", 3), there.wait(10.0)))
    assert len(pages) == 1
    assert [number for topic, number, _ in there.take_all() if topic == "a"] == [1, 2, 3]


def test_what_ends_to_be_wanted_is_not_asked_for() -> None:
    there = lane(topics=["a", "b"])
    there.publish("a", 1)
    there.lose("a", 2)
    there.losing(is_kind(wire.HISTORY), lambda: there.publish("a", 3))
    there.perform(there.subscriber.unsubscribe(["a"]))
    assert there.take() == of("a", 1, 3)
    assert there.missing == []


def test_nothing_is_asked_of_who_leaves_about_what_is_no_longer_wanted() -> None:
    there = lane(topics=["a", "b"], history=2)
    there.publish("a", 1)
    there.take()
    there.perform(there.subscriber.unsubscribe(["a"]))
    there.publish("a", 2)
    there.publishes(there.publisher.leave(there.now))
    assert there.take() == [] and there.missing == []


def test_a_page_of_what_is_no_longer_wanted_gives_nothing_up_later() -> None:
    there = lane(topics=["a", "b"])
    there.publish("a", 1)
    there.publish("b", 1)
    there.lose("a", 2)
    late = delayed(there, "a", 3)
    there.perform(there.subscriber.unsubscribe(["a"]))
    for frames in late:
        there.perform(there.subscriber.receive(PEER, frames, there.now))
    there.wait(2 * RETURN_S)
    there.lose("b", 2)
    [frames] = delayed(there, "b", 3)
    there.wait(RECOVER_S / 2)
    there.perform(there.subscriber.receive(PEER, frames, there.now))
    assert [each for each in there.take() if each[0] == "b"] == of("b", 1, 2, 3)
    assert there.missing == []


def test_a_publisher_whose_pages_cannot_be_read_is_not_asked_for_ever() -> None:
    there = lane()
    there.publish("a", 1)
    there.lose("a", 2)
    for frames in delayed(there, "a", 3):
        wrong = (bytes(frames[0])[:-1],)
        there.perform(there.subscriber.receive(PEER, wrong, there.now))
    assert there.subscriber.malformed.total() == 1
    there.subscriber.malformed.clear()
    there.losing(is_kind(wire.HISTORY), lambda: there.wait(RETURN_S))
    assert there.take() == of("a", 1, 3)
    assert there.missing == [("a", 1)]
    there.lose("a", 4)
    there.publish("a", 5)
    assert there.take() == of("a", 4, 5)


def delayed(there: Lane, topic: str, body: object) -> list[Frames]:
    """Publish a message; return the pages that come for it, which do not arrive yet."""
    late: list[Frames] = []

    def delays(frames: Frames) -> bool:
        late.extend([frames] * is_kind(wire.HISTORY)(frames))
        return is_kind(wire.HISTORY)(frames)

    there.losing(delays, lambda: there.publish(topic, body))
    return late


def test_without_recover_a_gap_is_missing_though_it_is_kept() -> None:
    there = joiner(5)
    there.meet()
    there.publish("a", 1)
    there.lose("a", 2)
    there.publish("a", 3)
    assert there.take() == of("a", 1, 3)
    assert there.missing == [("a", 1)]


def test_who_closes_with_messages_held_drops_them() -> None:
    there = lane()
    there.publish("a", 1)
    there.lose("a", 2)
    there.losing(is_kind(wire.HISTORY), lambda: there.publish("a", 3))
    there.subscriber.close()
    assert stats(there, "received", "queued", "dropped") == [2, 0, {"closed": 2}]
    there.subscriber.check()


def test_a_topic_that_was_forgotten_goes_on_where_it_is() -> None:
    there = lane(limits=SubscriberLimits(topics_max=2))
    for topic in ("a", "b", "c", "a"):
        there.publish(topic, topic)
    assert [topic for topic, _, _ in there.take()] == ["a", "b", "c", "a"]
    there.publish("b", "b")
    assert there.take() == [("b", 2, "b")]
    assert stats(there, "missing", "recovered") == [0, 0]


# Clearing


def test_a_cleared_topic_says_so() -> None:
    there = lane()
    there.publish("a", 1)
    there.clear("a")
    assert there.take() == [("a", 1, 1), ("a", 2, None)]
    assert there.flags == [(False, False), (True, False)]
    assert there.publisher.stats()["accepted"] == 2


def test_who_missed_that_a_topic_was_cleared_hears_of_it() -> None:
    there = lane()
    there.publish("a", 1)
    there.losing(is_message, lambda: there.clear("a"))
    there.wait(2 * HEADS_S)
    assert there.take() == [("a", 1, 1), ("a", 2, None)]
    assert there.flags[-1] == (True, True)


def test_who_joins_after_a_topic_was_cleared_gets_nothing_from_before() -> None:
    there = joiner(5)
    there.publish("a", 1, 2)
    there.clear("a")
    there.publish("a", 4)
    there.meet()
    assert there.take() == [("a", 3, None), ("a", 4, 4)]


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("lost", range(12))
def test_whatever_packet_is_lost_all_messages_arrive(lost: int, waits: bool) -> None:
    there = lane(waits=waits, limits=SMALL)
    seen = 0

    def loses(frames: object) -> bool:
        nonlocal seen
        seen += 1
        return seen - 1 == lost

    def publish() -> None:
        for number in range(1, 9):
            there.publish("a", number)
            there.publish("b", number)
            there.take()

    there.losing(loses, publish)
    there.wait(3.0)
    there.take_all()
    for topic in "ab":
        assert [each for each in there.read if each[0] == topic] == of(topic, *range(1, 9))
    assert stats(there, "missing") == [0]
