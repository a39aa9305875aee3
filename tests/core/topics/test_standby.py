"""Forwarders that stand by, and how a subscriber turns to them."""

from __future__ import annotations

import pytest

from tests.core.topics.publications import (
    OTHER,
    PUBLISHER,
    SUBSCRIBER,
    bye,
    found,
    greet,
    of_forwarder,
    peer_of,
    publish,
    welcome,
)
from zmqkit.core.effects import Connect, Disconnect, Effect, News, Send, Tell
from zmqkit.core.topics.subscriber import SubscriberCore
from zmqkit.forwarder_limits import WAY_S
from zmqkit.model import Frames
from zmqkit.wire import packet as wire
from zmqkit.wire import publication

ONE, TWO = 0xF1, 0xF2
ENDPOINT_1, ENDPOINT_2 = (f"tcp://127.0.0.1:{forwarder}" for forwarder in (ONE, TWO))


@pytest.fixture
def core() -> SubscriberCore:
    """A subscriber that knows two forwarders, of which it uses the first."""
    core = SubscriberCore("weather", SUBSCRIBER, [""])
    for each in (ONE, TWO):
        core.hear(of_forwarder(News.FOUND, each), 0.0)
    greet(core, ONE)
    return core


def used(core: SubscriberCore) -> set[bytes]:
    return set(core.sources.by_peer)


def bodies(core: SubscriberCore) -> list[object]:
    found: list[object] = []
    while (delivery := core.take()[0]) is not None:
        found += delivery.bodies
    core.check()
    return found


def test_one_forwarder_is_used_and_others_stand_by(core: SubscriberCore) -> None:
    assert used(core) == {peer_of(ONE)}


@pytest.mark.parametrize("news", [News.LOST, News.GONE, News.SILENT])
def test_the_next_takes_over(core: SubscriberCore, news: News) -> None:
    assert core.reads_first(of_forwarder(news, ONE))
    effects = core.hear(of_forwarder(news, ONE), 1.0)
    assert Disconnect(peer_of(ONE)) in effects
    assert Connect(peer_of(TWO), ENDPOINT_2) in effects
    assert used(core) == {peer_of(TWO)}
    core.check()


@pytest.mark.parametrize("news", [News.LOST, News.GONE, News.SILENT])
def test_the_next_takes_over_once_it_answers_again(core: SubscriberCore, news: News) -> None:
    core.hear(of_forwarder(News.SILENT, TWO), 1.0)
    assert not core.hear(of_forwarder(news, ONE), 2.0) or news is News.GONE
    assert core.reads_first(of_forwarder(News.ANSWERING, TWO))
    effects = core.hear(of_forwarder(News.ANSWERING, TWO), 3.0)
    assert Connect(peer_of(TWO), ENDPOINT_2) in effects
    assert used(core) == {peer_of(TWO)}
    core.check()


def test_the_next_takes_over_from_one_that_leaves(core: SubscriberCore) -> None:
    effects = core.receive(peer_of(ONE), bye({}, source=ONE), 1.0)
    assert Disconnect(peer_of(ONE)) in effects and effects.count(Disconnect(peer_of(ONE))) == 1
    assert Connect(peer_of(TWO), ENDPOINT_2) in effects
    core.check()


def test_the_next_takes_over_from_one_that_never_answers() -> None:
    core = SubscriberCore("weather", SUBSCRIBER, [""])
    for each in (ONE, TWO):
        core.hear(of_forwarder(News.FOUND, each), 0.0)
    now = 0.0
    while used(core) == {peer_of(ONE)} and now < 30.0:
        now = core.deadline()
        core.tick(now)
        core.check()
    assert used(core) == {peer_of(TWO)}


def test_each_is_greeted_twice_whenever_it_is_its_turn() -> None:
    """Seed 3000357: the first HELLO was lost each time, and there never was a second one."""
    core = SubscriberCore("weather", SUBSCRIBER, [""])
    effects: list[Effect] = []
    for each in (ONE, TWO):
        effects += core.hear(of_forwarder(News.FOUND, each), 0.0)
    now = 0.0
    while now < 60.0:
        now = core.deadline()
        effects += core.tick(now)
    greeted: list[int] = []
    for effect in effects:
        if isinstance(effect, Connect):
            greeted.append(0)
        elif isinstance(effect, Send) and effect.frames[0][:1] == publication.TALK:
            greeted[-1] += 1
    assert len(greeted) > 10 and set(greeted[:-1]) == {2}


def test_one_that_is_back_stands_by(core: SubscriberCore) -> None:
    core.hear(of_forwarder(News.LOST, ONE), 1.0)
    greet(core, TWO, 1.0)
    assert core.hear(of_forwarder(News.FOUND, ONE), 2.0) == []
    core.hear(of_forwarder(News.LOST, TWO), 3.0)
    assert used(core) == {peer_of(ONE)}
    core.check()


def test_without_another_one_that_is_lost_may_return() -> None:
    core = SubscriberCore("weather", SUBSCRIBER, [""])
    core.hear(of_forwarder(News.FOUND, ONE), 0.0)
    greet(core, ONE)
    assert core.hear(of_forwarder(News.LOST, ONE), 1.0) == []
    assert Connect(peer_of(ONE), ENDPOINT_1) in core.hear(of_forwarder(News.FOUND, ONE), 2.0)
    core.check()


def test_another_is_used_that_comes_while_the_only_one_is_lost() -> None:
    core = SubscriberCore("weather", SUBSCRIBER, [""])
    core.hear(of_forwarder(News.FOUND, ONE), 0.0)
    greet(core, ONE)
    core.hear(of_forwarder(News.LOST, ONE), 1.0)
    effects = core.hear(of_forwarder(News.FOUND, TWO), 2.0)
    assert Disconnect(peer_of(ONE)) in effects and used(core) == {peer_of(TWO)}
    core.check()


def test_a_silent_one_is_not_taken(core: SubscriberCore) -> None:
    core.hear(of_forwarder(News.SILENT, TWO), 1.0)
    assert core.hear(of_forwarder(News.LOST, ONE), 2.0) == []
    effects = core.hear(of_forwarder(News.FOUND, TWO), 3.0)
    assert Connect(peer_of(TWO), ENDPOINT_2) in effects


def test_messages_go_on_where_the_one_before_stopped(core: SubscriberCore) -> None:
    core.receive(peer_of(ONE), publish("t", 1, "a", "b"), 0.5)
    core.hear(of_forwarder(News.LOST, ONE), 1.0)
    greet(core, TWO, 1.0)
    core.receive(peer_of(TWO), publish("t", 2, "b", "c"), 1.1)
    core.receive(peer_of(TWO), publish("t", 6, "f"), 1.2)
    assert bodies(core) == ["a", "b", "c", "f"]
    assert core.gaps() == [(PUBLISHER, "t", 2)]
    assert core.stats()["duplicates"] == 1


# A forwarder and the publisher itself


def two_ways(now: float = 0.0) -> SubscriberCore:
    """A subscriber that hears a publisher directly, and from `now` on through a forwarder."""
    core = SubscriberCore("weather", SUBSCRIBER, [""])
    core.hear(found(), 0.0)
    core.receive(peer_of(PUBLISHER), welcome(1), 0.0)
    core.hear(of_forwarder(News.FOUND, ONE), now)
    greet(core, ONE, now)
    return core


def test_what_comes_two_ways_is_read_once() -> None:
    core = two_ways()
    for number, body in enumerate("abc", 1):
        for peer in (PUBLISHER, ONE):
            core.receive(peer_of(peer), publish("t", number, body), 2.0)
    assert bodies(core) == ["a", "b", "c"]
    assert (core.stats()["duplicates"], core.stats()["missing"]) == (3, 0)


def test_each_way_brings_what_the_other_lost() -> None:
    core = two_ways()
    for peer, number in ((ONE, 1), (PUBLISHER, 2), (ONE, 3), (PUBLISHER, 3), (PUBLISHER, 4)):
        core.receive(peer_of(peer), publish("t", number, number), 2.0)
    assert bodies(core) == [1, 2, 3, 4] and core.stats()["missing"] == 0


def test_a_new_way_that_is_ahead_does_not_hide_what_is_about_to_come() -> None:
    core = two_ways(5.0)
    core.receive(peer_of(PUBLISHER), publish("t", 1, 1), 5.1)
    core.receive(peer_of(ONE), publish("t", 3, 3), 5.1)
    core.receive(peer_of(PUBLISHER), publish("t", 2, 2, 3), 5.2)
    core.receive(peer_of(ONE), publish("t", 4, 4), 5.3)
    assert bodies(core) == [1, 2, 3, 4] and core.stats()["missing"] == 0


def test_a_way_that_is_ahead_for_long_counts_what_is_missing() -> None:
    core = two_ways(5.0)
    core.receive(peer_of(PUBLISHER), publish("t", 1, 1), 5.1)
    core.receive(peer_of(ONE), publish("t", 3, 3), 5.0 + WAY_S)
    assert bodies(core) == [1, 3] and core.stats()["missing"] == 1


def test_a_new_way_counts_what_is_missing_once_the_one_before_has_ended() -> None:
    core = two_ways(5.0)
    core.receive(peer_of(PUBLISHER), publish("t", 1, 1), 5.1)
    core.hear(Tell(News.GONE, "", PUBLISHER), 5.2)
    core.receive(peer_of(ONE), publish("t", 3, 3), 5.3)
    assert bodies(core) == [1, 3] and core.stats()["missing"] == 1


def test_the_end_of_a_publisher_comes_through_a_forwarder(core: SubscriberCore) -> None:
    core.receive(peer_of(ONE), publish("t", 1, 1), 2.0)
    effects: list[Effect] = core.receive(peer_of(ONE), bye({"t": 4}), 2.0)
    assert effects == [] and used(core) == {peer_of(ONE)}
    assert core.gaps() == [(PUBLISHER, "t", 2)]


def test_a_publisher_passes_on_nothing_of_others() -> None:
    core = SubscriberCore("weather", SUBSCRIBER, [""])
    core.hear(found(), 0.0)
    core.receive(peer_of(PUBLISHER), welcome(1), 0.0)
    core.receive(peer_of(PUBLISHER), publish("t", 1, 1, source=OTHER), 0.0)
    assert core.stats()["malformed"] == {"source": 1} and bodies(core) == []


def test_what_came_before_the_subscription_was_in_place_is_not_read_again() -> None:
    core = SubscriberCore("weather", SUBSCRIBER, [""])
    core.hear(found(), 0.0)
    core.receive(peer_of(PUBLISHER), welcome(0), 0.0)
    core.hear(of_forwarder(News.FOUND, ONE), 0.0)
    greet(core, ONE)
    core.receive(peer_of(PUBLISHER), publish("t", 1, 1), 0.0)
    core.receive(peer_of(PUBLISHER), welcome(1), 0.0)
    core.receive(peer_of(ONE), publish("t", 1, 1), 0.0)
    core.receive(peer_of(ONE), publish("t", 3, 3), 2.0)
    assert bodies(core) == [1, 3] and core.stats()["missing"] == 1  # by ONE all were to come


def test_what_one_way_confirms_is_not_passed_over_as_another_begins() -> None:
    """Seed 4000259: what a forwarder brought before its WELCOME hid what the publisher sent."""
    core = one_way_in_place()
    for peer in (ONE, PUBLISHER):
        core.receive(peer_of(peer), publish("t", 1, 1), 5.1)
    greet(core, ONE, 5.2)
    core.receive(peer_of(ONE), publish("t", 3, 3), 5.3)
    core.receive(peer_of(PUBLISHER), publish("t", 2, 2, 3), 5.4)
    assert bodies(core) == [1, 2, 3] and core.stats()["missing"] == 0


def one_way_in_place() -> SubscriberCore:
    """A subscriber of a publisher, and of a forwarder that lacks subscriptions yet."""
    core = SubscriberCore("weather", SUBSCRIBER, [""])
    core.hear(found(), 0.0)
    core.receive(peer_of(PUBLISHER), welcome(1), 0.0)
    core.hear(of_forwarder(News.FOUND, ONE), 5.0)
    core.receive(peer_of(ONE), early_welcome(), 5.0)
    return core


def begun_by_the_other_way() -> SubscriberCore:
    """The same, met the other way round: a topic has begun by the forwarder."""
    core = SubscriberCore("weather", SUBSCRIBER, [""])
    core.hear(of_forwarder(News.FOUND, ONE), 0.0)
    core.receive(peer_of(ONE), early_welcome(), 0.0)
    core.receive(peer_of(ONE), publish("t", 1, 1), 0.0)
    core.hear(found(), 0.0)
    core.receive(peer_of(PUBLISHER), welcome(1), 0.0)
    return core


def early_welcome() -> Frames:
    """What a forwarder says before it has heard which subscriptions there are."""
    fields = {"token": 0, "waits": True, "forwards": [ONE]}
    return publication.to_subscriber(wire.WELCOME, ONE, SUBSCRIBER, fields)


def test_a_gap_counts_though_a_topic_came_first_by_a_way_that_is_not_in_place() -> None:
    """Seed 9205390: the publisher was in reach, and what was lost with it was not counted."""
    core = one_way_in_place()
    core.receive(peer_of(ONE), publish("t", 1, 1), 5.1)
    core.hear(Tell(News.LOST, "", PUBLISHER), 5.2)
    core.receive(peer_of(ONE), publish("t", 4, 4), 5.3)
    assert bodies(core) == [1, 4] and core.gaps() == [(PUBLISHER, "t", 2)]


def test_a_gap_counts_once_the_publisher_is_in_place_though_a_topic_comes_by_another_way() -> (
    None
):
    """Seed 9642182: the topic had begun by a forwarder, and what followed was not counted."""
    core = begun_by_the_other_way()
    core.receive(peer_of(ONE), publish("t", 2, 2), 2.0)
    core.receive(peer_of(PUBLISHER), publish("t", 4, 4), 2.0)
    assert bodies(core) == [1, 2, 4] and core.gaps() == [(PUBLISHER, "t", 1)]


def test_a_way_that_is_not_in_place_does_not_hide_what_is_about_to_come() -> None:
    core = one_way_in_place()
    core.receive(peer_of(ONE), publish("t", 1, 1), 5.1)
    core.receive(peer_of(ONE), publish("t", 3, 3), 5.1)
    core.receive(peer_of(PUBLISHER), publish("t", 1, 1, 2, 3), 5.2)
    assert bodies(core) == [1, 2, 3] and core.stats()["missing"] == 0


def test_a_way_that_is_not_in_place_for_long_is_read_though_the_one_before_is_open() -> None:
    core = SubscriberCore("weather", SUBSCRIBER, [""])
    core.hear(of_forwarder(News.FOUND, ONE), 0.0)
    greet(core, ONE, seeks=None)
    core.receive(peer_of(ONE), publish("t", 1, 1), 2.0)  # then it hears the publisher no more
    core.hear(found(), 5.0)
    core.receive(peer_of(PUBLISHER), welcome(0), 5.0)
    core.receive(peer_of(PUBLISHER), publish("t", 3, 3), 5.0)
    core.receive(peer_of(PUBLISHER), publish("t", 4, 4), 5.0 + WAY_S)
    assert bodies(core) == [1, 4] and core.stats()["missing"] == 2


def test_what_came_before_a_subscription_ended_is_not_read_again() -> None:
    core = two_ways()
    core.receive(peer_of(PUBLISHER), publish("t", 1, 1), 2.0)
    core.unsubscribe([""])
    core.subscribe([""], 2.0)
    core.receive(peer_of(ONE), publish("t", 1, 1), 2.0)
    core.receive(peer_of(ONE), publish("t", 3, 3), 4.0)
    assert bodies(core) == [1, 3] and core.stats()["missing"] == 0


def test_a_topic_keeps_its_order_when_it_comes_another_way() -> None:
    core = two_ways()
    core.receive(peer_of(PUBLISHER), publish("t", 1, 1), 2.0)
    core.receive(peer_of(ONE), publish("u", 1, "u"), 2.0)
    core.receive(peer_of(ONE), publish("t", 2, 2), 2.0)
    core.receive(peer_of(PUBLISHER), publish("t", 3, 3), 2.0)
    assert [body for body in bodies(core) if body != "u"] == [1, 2, 3]


def test_a_gap_counts_once_a_topic_comes_by_a_way_whose_subscriptions_are_in_place() -> None:
    core = begun_by_the_other_way()
    core.receive(peer_of(PUBLISHER), publish("t", 2, 2), 2.0)
    core.receive(peer_of(PUBLISHER), publish("t", 5, 5), 2.0)
    assert bodies(core) == [1, 2, 5] and core.gaps() == [(PUBLISHER, "t", 2)]


def test_what_a_forwarder_passes_on_before_its_welcome_is_passed_over(
    core: SubscriberCore,
) -> None:
    core.hear(of_forwarder(News.LOST, ONE), 1.0)
    core.receive(peer_of(TWO), publish("t", 1, 1), 1.0)
    assert core.stats()["malformed"] == {} and bodies(core) == []
