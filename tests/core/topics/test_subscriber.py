"""The subscriber's side of publish-subscribe."""

from __future__ import annotations

import pytest

from tests.core.topics.publications import (
    ENDPOINT,
    OTHER,
    PEER,
    PUBLISHER,
    SUBSCRIBER,
    bye,
    credit,
    found,
    hello,
    made,
    mark,
    meet,
    peer_of,
    publish,
    take_in,
    welcome,
)
from zmqkit.core.effects import Connect, Disconnect, News, Note, Send, Tell
from zmqkit.core.topics.subscriber import SubscriberCore
from zmqkit.limits import QUEUE_BYTES, QUEUE_MESSAGES, SubscriberLimits
from zmqkit.model import Frames
from zmqkit.wire import history, publication
from zmqkit.wire import packet as wire


def read(core: SubscriberCore) -> list[tuple[str, int, object]]:
    """Read everything: topic, number and body of each message."""
    messages = []
    while True:
        delivery, _ = core.take()
        core.check()
        if delivery is None:
            assert not core.has_messages
            return messages
        for sequence, body in enumerate(delivery.bodies, delivery.sequence):
            messages.append((delivery.topic, sequence, body))


def test_messages_are_read_in_order(subscriber: SubscriberCore) -> None:
    take_in(subscriber, publish("a", 1, "x", "y"), publish("b", 1, 5), publish("a", 3, "z"))
    assert read(subscriber) == [("a", 1, "x"), ("a", 2, "y"), ("b", 1, 5), ("a", 3, "z")]
    stats = subscriber.stats()
    assert (stats["received"], stats["delivered"], stats["queued"]) == (4, 4, 0)


@pytest.mark.parametrize("wall_us", [0, 1, SUBSCRIBER, 1_790_000_000_500_000, (1 << 64) - 1])
def test_messages_have_the_time_of_their_packet(
    subscriber: SubscriberCore, wall_us: int
) -> None:
    clear = history.clear(b"u", PUBLISHER, 1, wall_us)
    take_in(subscriber, publish("t", 1, "x", "y", wall_us=wall_us), clear)
    seconds = min(wall_us / 1e6, 253_402_214_400.0)  # the last day of the year 9999
    came = [subscriber.take()[0], subscriber.take()[0]]
    assert [each.times for each in came if each] == [[seconds] * 2, [seconds]]


def test_of_messages_that_came_before_the_times_are_passed_over_too(
    subscriber: SubscriberCore,
) -> None:
    take_in(subscriber, publish("t", 1, "x", "y", wall_us=1_000_000))
    take_in(subscriber, publish("t", 2, "y", "z", wall_us=2_000_000))
    delivery, _ = subscriber.take()
    assert delivery is not None and delivery.bodies == ["x", "y", "z"]
    assert delivery.times == [1.0, 1.0, 2.0]


@pytest.fixture
def subscriber() -> SubscriberCore:
    return made()


def test_the_first_message_of_a_topic_may_have_any_number(subscriber: SubscriberCore) -> None:
    take_in(subscriber, publish("t", 1000, 1))
    assert (subscriber.stats()["missing"], subscriber.gaps()) == (0, [])


def test_what_is_missing_between_two_is_counted_and_told_once(
    subscriber: SubscriberCore,
) -> None:
    take_in(subscriber, publish("t", 1, 1), publish("t", 5, 5), publish("u", 9, 9))
    take_in(subscriber, publish("t", 7, 7))
    stats = subscriber.stats()
    assert (stats["gaps"], stats["missing"], stats["received"]) == (2, 4, 4)
    assert subscriber.gaps() == [(PUBLISHER, "t", 4)]
    assert subscriber.gaps() == []


def test_gaps_that_nobody_asks_for_are_not_kept_without_end() -> None:
    limits = SubscriberLimits(untold_gaps_max=2)
    subscriber = SubscriberCore("weather", SUBSCRIBER, [""], limits)
    meet(subscriber)
    for topic in "abc":
        take_in(subscriber, publish(topic, 1, 1), publish(topic, 3, 1))
    take_in(subscriber, publish("a", 5, 1))
    assert subscriber.gaps() == [(PUBLISHER, "a", 2), (PUBLISHER, "b", 1)]
    assert subscriber.stats()["missing"] == 4


def test_what_comes_again_is_not_read_again(subscriber: SubscriberCore) -> None:
    take_in(subscriber, publish("t", 1, 1, 2), publish("t", 1, 1, 2), publish("t", 2, 2, 3))
    assert read(subscriber) == [("t", 1, 1), ("t", 2, 2), ("t", 3, 3)]
    assert subscriber.stats()["duplicates"] == 3


def test_publishers_count_apart() -> None:
    core = made()
    meet(core, OTHER)
    take_in(core, publish("t", 5, "a"))
    core.receive(peer_of(OTHER), publish("t", 1, "b", source=OTHER), 1.0)
    assert [body for _, _, body in read(core)] == ["a", "b"]
    assert core.stats()["missing"] == core.stats()["duplicates"] == 0


def test_the_oldest_makes_room(subscriber: SubscriberCore) -> None:
    take_in(subscriber, *(publish("t", n, n) for n in range(1, QUEUE_MESSAGES + 6)))
    stats = subscriber.stats()
    assert (stats["queued"], stats["dropped"]) == (QUEUE_MESSAGES, {"full": 5})
    assert read(subscriber)[0] == ("t", 6, 6)


def test_a_packet_larger_than_the_queue_is_kept(subscriber: SubscriberCore) -> None:
    [head, raw] = publication.raw_publication(b"t", PUBLISHER, 1, bytes(QUEUE_BYTES))
    take_in(subscriber, publish("t", 1, 1), (head, raw))
    assert subscriber.stats()["duplicates"] == 1
    [head, raw] = publication.raw_publication(b"t", PUBLISHER, 2, bytes(QUEUE_BYTES))
    take_in(subscriber, (head, raw))
    assert [sequence for _, sequence, _ in read(subscriber)] == [2]


def test_the_latest_of_each_topic_is_kept() -> None:
    core = made(latest=True)
    take_in(core, publish("a", 1, 1, 2), publish("b", 1, 1), publish("a", 3, 3))
    assert core.stats()["dropped"] == {"replaced": 2}
    assert read(core) == [("a", 3, 3), ("b", 1, 1)]


def test_a_mark_is_answered_once_all_before_it_is_read() -> None:
    core = made(waits=True)
    assert take_in(core, publish("t", 1, 1), mark(1), publish("t", 2, 2), mark(2)) == []
    delivery, effects = core.take()
    assert delivery is not None and effects == []
    delivery, effects = core.take()
    assert delivery is not None and effects == [Send(PEER, credit(1))]
    delivery, effects = core.take()
    assert delivery is None and effects == [Send(PEER, credit(2))]
    assert core.take() == (None, [])


def test_a_mark_that_nothing_waits_before_is_answered_at_once() -> None:
    assert take_in(made(waits=True), mark(1)) == [Send(PEER, credit(1))]
    assert take_in(made(latest=True, waits=True), publish("t", 1, 1), mark(1)) == [
        Send(PEER, credit(1))
    ]


def test_a_publisher_that_waits_has_room_of_its_own() -> None:
    core = made(waits=True)
    meet(core, OTHER)
    take_in(core, publish("t", 1, "first"))
    for number in range(1, QUEUE_MESSAGES + 6):
        core.receive(peer_of(OTHER), publish("t", number, number, source=OTHER), 1.0)
    assert ("t", 1, "first") in read(core)
    assert core.stats()["dropped"] == {"full": 5}


def test_messages_that_come_before_the_first_welcome_do_not_mix_up_the_order() -> None:
    core = SubscriberCore("weather", SUBSCRIBER, [""])
    core.hear(found(), 0.0)
    take_in(core, publish("t", 1, 1), publish("u", 1, 1), publish("t", 2, 2))
    take_in(core, welcome(0, waits=True), publish("t", 3, 3), publish("t", 4, 4))
    assert read(core) == [("t", 3, 3), ("t", 4, 4)]
    assert core.stats()["missing"] == 0


def test_publishers_that_wait_are_read_in_turn() -> None:
    core = made(waits=True)
    meet(core, OTHER, waits=True)
    for number in (1, 3, 5):
        take_in(core, publish("t", number, "a"))
        core.receive(peer_of(OTHER), publish("t", number, "b", source=OTHER), 1.0)
    assert [body for _, _, body in read(core)] == ["a", "b"] * 3


@pytest.mark.parametrize("news", [News.LOST, News.GONE])
def test_a_mark_of_a_publisher_that_is_out_of_reach_is_not_answered(news: News) -> None:
    core = made(waits=True)
    take_in(core, publish("t", 1, 1), mark(1))
    core.hear(Tell(news, "", PUBLISHER), 2.0)
    assert core.take()[0] is not None and core.take() == (None, [])
    assert core.stats()["delivered"] == 1


def test_topics_that_are_not_wanted_any_more_are_dropped_and_miss_nothing() -> None:
    core = made("a", "b")
    take_in(core, publish("a", 1, 1))
    core.unsubscribe(["a"])
    take_in(core, publish("a", 2, 2))
    assert core.stats()["dropped"] == {"unsubscribed": 1}
    core.subscribe(["a"], 2.0)
    take_in(core, welcome(2), publish("a", 9, 9))
    assert (core.stats()["missing"], core.gaps()) == (0, [])
    assert read(core) == [("a", 1, 1), ("a", 9, 9)]


def test_topics_that_are_subscribed_to_again_at_once_miss_nothing() -> None:
    core = made("a", "b")
    core.unsubscribe(["a"])
    core.subscribe(["a"], 2.0)
    # The first left before the end of the subscription was there, the next two did not leave.
    take_in(core, publish("a", 2, 2), welcome(2), publish("a", 5, 5))
    assert core.stats()["missing"] == 0
    take_in(core, publish("a", 7, 7))
    assert core.stats()["missing"] == 1


def test_what_is_lost_with_a_connection_is_missing() -> None:
    core = made()
    take_in(core, publish("t", 1, 1))
    assert core.hear(Tell(News.LOST, "", PUBLISHER), 1.0) == []
    assert core.hear(found(), 2.0)[0] == Connect(PEER, ENDPOINT)
    take_in(core, welcome(2), publish("t", 4, 4))
    assert core.gaps() == [(PUBLISHER, "t", 2)]


@pytest.mark.parametrize("anew", [None, News.LOST, News.GONE])
def test_what_is_lost_of_a_topic_first_heard_on_a_new_connection_is_missing(
    anew: News | None,
) -> None:
    core = made("t", "u")
    if anew is not None:
        core.hear(Tell(anew, "", PUBLISHER), 1.0)
        core.hear(found(), 1.0)
    take_in(core, welcome(0), publish("t", 3, 3), publish("t", 5, 5))
    take_in(core, welcome(2), publish("t", 9, 9))
    assert core.gaps() == [(PUBLISHER, "t", 4)]


def test_a_topic_subscribed_to_while_its_publisher_is_lost_misses_nothing_before_welcome() -> (
    None
):
    core = made("t")
    core.hear(Tell(News.LOST, "", PUBLISHER), 1.0)
    core.unsubscribe(["t"])
    core.subscribe(["t"], 1.0)
    core.hear(found(), 1.0)
    take_in(core, publish("t", 2, 2), publish("t", 5, 5), welcome(3), publish("t", 9, 9))
    assert core.gaps() == []
    take_in(core, publish("t", 11, 11))
    assert core.gaps() == [(PUBLISHER, "t", 1)]


def test_what_follows_another_publisher_at_an_address_misses_nothing() -> None:
    core = SubscriberCore("weather", SUBSCRIBER, ["t"])
    peer = peer_of(0)
    core.hear(found(0), 0.0)
    core.receive(peer, welcome(1), 0.0)
    core.receive(peer, publish("t", 5, 5), 0.0)
    for frames in (
        welcome(0, source=OTHER),
        *(publish("t", n, n, source=OTHER) for n in (2, 4)),
    ):
        core.receive(peer, frames, 0.0)
    assert core.gaps() == []


def test_another_publisher_at_an_address_replaces_the_one_expected() -> None:
    core = made()
    assert take_in(core, welcome(0, source=OTHER)) == [
        Note("replaced", {"name": "weather", "endpoint": ENDPOINT}), Disconnect(PEER),
    ]  # fmt: skip
    assert core.stats()["publishers"] == 0
    assert take_in(core, publish("t", 1, 1)) == []


@pytest.mark.parametrize(
    "topic", [b"", b"\xdd^ym\xbd\x17", b"t", publication.private(publication.EVERYBODY)]
)
def test_a_welcome_under_another_topic_is_none(topic: bytes) -> None:
    # Seed 8618 of the simulator: it ended the connection to the right publisher for good.
    core = made()
    [frame] = welcome(0, source=OTHER)
    assert take_in(core, (topic + frame[len(publication.private(SUBSCRIBER)) :],)) == []
    assert core.stats()["publishers"] == 1
    assert core.stats()["malformed"].popitem()[1] == 1
    take_in(core, publish("t", 1, 1))
    assert len(read(core)) == 1


def test_whoever_is_at_an_address_given_by_hand_is_heard() -> None:
    core = SubscriberCore("weather", SUBSCRIBER, [""])
    peer = peer_of(0)
    core.hear(found(0), 0.0)
    for publisher in (PUBLISHER, OTHER):
        core.receive(peer, welcome(0, source=publisher), 0.0)
        core.receive(peer, publish("t", 5, publisher, source=publisher), 0.0)
        core.check()
    assert [body for _, _, body in read(core)] == [PUBLISHER, OTHER]
    assert core.stats()["missing"] == core.stats()["duplicates"] == 0
    assert core.stats()["malformed"] == {}


def test_what_is_for_others_is_passed_over(subscriber: SubscriberCore) -> None:
    other = publication.to_subscriber(wire.WELCOME, PUBLISHER, 99, {"token": 1})
    assert take_in(subscriber, other) == []
    assert subscriber.stats()["malformed"] == {}


def test_a_subscription_that_did_not_leave_breaks_the_connection() -> None:
    core = SubscriberCore("weather", SUBSCRIBER, ["a"])
    _, first, *_, last = core.hear(found(), 0.0)
    assert isinstance(first, Send) and isinstance(last, Send)
    assert core.unsent(PEER, last.frames, 0.0) == [] and not core.sources.by_peer[PEER].broken
    assert core.unsent(PEER, first.frames, 0.0) == []
    assert core.tick(core.deadline())[0] == Connect(PEER, ENDPOINT)


def test_close_drops_what_nobody_has_read(subscriber: SubscriberCore) -> None:
    take_in(subscriber, publish("t", 1, 1, 2))
    assert subscriber.close() == [Disconnect(PEER)]
    subscriber.check()
    assert subscriber.stats()["dropped"] == {"closed": 2}
    assert subscriber.take() == (None, []) and subscriber.hear(found(), 1.0) == []


@pytest.mark.parametrize("waits", [False, True])
def test_news_that_mean_nothing_here_change_nothing(waits: bool) -> None:
    core = made(waits=waits)
    for news in (News.SILENT, News.ANSWERING, News.HINT):
        assert core.hear(Tell(news, "", PUBLISHER), 1.0) == []
    assert core.stats()["publishers"] == 1


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ((), "topic"), ((b"x",), "topic"), (publish("t", 0, 1), "sequence"),
        (publish("t", 1), "bodies"), (publish("t", 1, 1, source=OTHER), "source"),
        (publish("t", 1, 1, source=0), "source"), (mark(0), "mark"), (mark("x"), "mark"),
        (publication.to_subscriber(wire.PUBLISH, PUBLISHER, 0, [1]), "topic"),
        (publication.to_subscriber(wire.PONG, PUBLISHER, 0, [1]), "unexpected"),
        (publication.to_subscriber(wire.WELCOME, PUBLISHER, SUBSCRIBER, []), "fields"),
        ((b"\xff" + publish("t", 1, 1)[0][1:],), "topic"),
    ],
    ids=repr,
)  # fmt: skip
def test_what_breaks_the_rules_is_counted_and_dropped(
    subscriber: SubscriberCore, frames: Frames, reason: str
) -> None:
    assert take_in(subscriber, frames) == []
    assert subscriber.stats()["malformed"] == {reason: 1}
    assert subscriber.stats()["received"] == 0 and not subscriber.has_messages


def test_hello_is_repeated_through_the_core() -> None:
    core = SubscriberCore("weather", SUBSCRIBER, [""])
    core.hear(found(), 0.0)
    assert core.tick(core.deadline()) == [Send(PEER, hello(2))]
    assert core.flush(1.0) == []


def test_whoever_takes_an_address_over_is_joined_by_a_hello_of_its_own() -> None:
    core = SubscriberCore("weather", SUBSCRIBER, [""])
    peer = peer_of(0)
    core.hear(found(0), 0.0)
    core.receive(peer, welcome(0), 0.0)
    core.tick(core.deadline())
    core.receive(peer, welcome(2, source=OTHER), 1.0)  # answers a HELLO that was not for it
    assert core.stats()["publishers"] == 0
    [again] = core.tick(1.0)
    assert isinstance(again, Send)
    packet = wire.unpack((bytes(again.frames[0][1:]),))
    assert (packet.kind, packet.target) == (wire.HELLO, OTHER)


def test_who_says_bye_is_left_and_found_no_more() -> None:
    core = made()
    assert take_in(core, bye({})) == [Disconnect(PEER)]
    assert core.hear(found(), 1.0) == []
    assert core.hear(Tell(News.GONE, "", PUBLISHER), 2.0) == []
    assert core.stats()["publishers"] == 0
    core.check()


def test_what_has_not_come_before_bye_is_missing() -> None:
    core = made()
    take_in(core, publish("t", 1, "x"), publish("u", 1, "x"), bye({"t": 4, "u": 2, "v": 9}))
    assert core.gaps() == [(PUBLISHER, "t", 2)]
    assert core.stats()["missing"] == 2


@pytest.mark.parametrize("ends", [None, [], {1: 2}, {"t": 0}, {"t": None}])
def test_an_odd_bye_is_malformed(ends: object) -> None:
    core = made()
    assert take_in(core, bye(ends)) == []
    assert core.stats()["malformed"] == {"ends": 1}
    assert core.stats()["publishers"] == 1


def test_what_came_before_all_subscriptions_were_in_place_has_no_gap_at_bye() -> None:
    core = made("t")
    core.subscribe(["u"], 1.0)
    take_in(core, publish("u", 3, "x"), bye({"u": 9}))
    assert core.gaps() == []
    core.check()
