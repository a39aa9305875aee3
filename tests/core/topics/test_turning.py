"""A subscriber leaves its publishers for a forwarder, and returns to them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.topics.publications import (
    ENDPOINT,
    OTHER,
    PEER,
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
from zmqkit.core.effects import Connect, Disconnect, News, Tell
from zmqkit.core.topics.subscriber import SubscriberCore
from zmqkit.limits import TURN_S

FORWARDER, SECOND = 0xF1, 0xF2
THERE = peer_of(FORWARDER)


def heard(**options: int) -> SubscriberCore:
    """A subscriber that has joined a publisher, and found a forwarder which has answered."""
    core = SubscriberCore("weather", SUBSCRIBER, [""], **options)  # type: ignore[arg-type]  # recover is 1
    core.hear(found(), 0.0)
    core.receive(PEER, welcome(1), 0.0)
    core.hear(of_forwarder(News.FOUND, FORWARDER), 0.0)
    greet(core, FORWARDER, 0.0)
    return core


def turned() -> SubscriberCore:
    core = heard()
    assert core.tick(TURN_S) == [Disconnect(PEER)]
    core.check()
    return core


def peers(core: SubscriberCore) -> set[bytes]:
    core.check()
    return set(core.sources.by_peer)


def read(core: SubscriberCore) -> list[object]:
    came: list[object] = []
    while (delivery := core.take()[0]) is not None:
        came += delivery.bodies
    return came


def test_publishers_are_left_once_a_forwarder_has_been_in_place_for_a_while() -> None:
    core = heard()
    assert core.deadline() == TURN_S
    core.tick(TURN_S - 0.1)
    assert peers(core) == {PEER, THERE} and core.up_count == 2
    assert core.tick(TURN_S) == [Disconnect(PEER)]
    assert peers(core) == {THERE} and core.up_count == 1


def test_a_new_subscriber_turns_at_once() -> None:
    core = SubscriberCore("weather", SUBSCRIBER, [""])
    core.hear(found(), 0.0)
    core.hear(of_forwarder(News.FOUND, FORWARDER), 0.0)
    assert Disconnect(PEER) in greet(core, FORWARDER, 0.1)
    assert core.hear(found(OTHER, "tcp://127.0.0.1:6000"), 0.2) == []
    assert peers(core) == {THERE}


@pytest.mark.parametrize(
    ("forwarder", "seeks", "kept"),
    [
        ("127.0.0.1", 1, set()),
        ("127.0.0.1", 0, {"10.0.0.5"}),  # it does not look beyond its machine
        ("10.0.0.7", 1, {"127.0.0.1"}),  # it may not see who is open to this machine alone
        (
            "127.0.0.1",
            None,
            {"127.0.0.1", "10.0.0.5"},
        ),  # it looks for nobody
        ("127.0.0.1", "far", {"127.0.0.1", "10.0.0.5"}),
    ],
)
def test_publishers_that_a_forwarder_may_not_hear_are_not_left(
    forwarder: str, seeks: Any, kept: set[str]
) -> None:
    core = SubscriberCore("weather", SUBSCRIBER, [""])
    core.hear(of_forwarder(News.FOUND, FORWARDER, forwarder), 0.0)
    core.hear(found(PUBLISHER, "tcp://127.0.0.1:6000"), 0.0)
    greet(core, FORWARDER, 0.0, seeks=seeks)
    core.tick(TURN_S)
    core.hear(found(OTHER, "tcp://10.0.0.5:6000"), TURN_S)  # and those that come later
    core.tick(2 * TURN_S)
    heard = {
        each.endpoint[6:].partition(":")[0] for each in core.sources.all if not each.is_device
    }
    assert heard == kept
    core.check()


def test_publishers_that_the_next_forwarder_may_not_hear_are_heard_again() -> None:
    core = turned()
    core.hear(of_forwarder(News.FOUND, SECOND), 2.0)
    core.hear(of_forwarder(News.LOST, FORWARDER), 3.0)
    assert peers(core) == {peer_of(SECOND)}
    greet(core, SECOND, 3.0, seeks=None)
    assert peers(core) == {peer_of(SECOND), PEER}


def test_a_publisher_found_again_is_left_until_the_next_forwarder_says_what_it_hears() -> None:
    """Seed 5306: it was heard again and left, both."""
    core = turned()
    core.hear(of_forwarder(News.FOUND, SECOND), 2.0)
    core.hear(of_forwarder(News.LOST, FORWARDER), 3.0)
    assert core.hear(found(), 3.1) == []
    assert peers(core) == {peer_of(SECOND)}
    greet(core, SECOND, 3.2, seeks=None)
    assert peers(core) == {peer_of(SECOND), PEER}


def test_messages_go_on_across_the_turn() -> None:
    core = heard()
    for number in (1, 2):
        core.receive(PEER, publish("t", number, number), 0.5)
        core.receive(THERE, publish("t", number, number), 0.5)
    core.tick(TURN_S)
    core.receive(PEER, publish("t", 3, 3), TURN_S)
    core.receive(THERE, publish("t", 3, 3), TURN_S)
    assert read(core) == [1, 2, 3]
    stats = core.stats()
    assert (stats["duplicates"], stats["missing"]) == (2, 0)


@pytest.mark.parametrize("news", [News.LOST, News.GONE, News.SILENT])
def test_publishers_are_heard_again_at_once_without_a_forwarder(news: News) -> None:
    core = turned()
    core.receive(THERE, publish("t", 1, 1), 2.0)
    assert Connect(PEER, ENDPOINT) in core.hear(of_forwarder(news, FORWARDER), 3.0)
    core.receive(PEER, welcome(2), 3.1)
    core.receive(PEER, publish("t", 4, 4), 3.1)
    assert read(core) == [1, 4] and core.gaps() == [(PUBLISHER, "t", 2)]
    assert core.up_count == 1
    core.check()


def test_publishers_are_heard_again_when_a_forwarder_leaves() -> None:
    core = turned()
    effects = core.receive(THERE, bye({}, source=FORWARDER), 2.0)
    assert Connect(PEER, ENDPOINT) in effects and peers(core) == {PEER, THERE}


def test_another_forwarder_takes_over_and_publishers_are_left_alone() -> None:
    core = turned()
    core.hear(of_forwarder(News.FOUND, SECOND), 2.0)
    core.hear(of_forwarder(News.LOST, FORWARDER), 3.0)
    assert peers(core) == {peer_of(SECOND)}
    greet(core, SECOND, 3.1)
    assert peers(core) == {peer_of(SECOND)} and core.up_count == 1


def test_publishers_are_heard_again_while_another_forwarder_does_not_answer() -> None:
    core = turned()
    core.hear(of_forwarder(News.FOUND, SECOND), 2.0)
    core.hear(of_forwarder(News.GONE, FORWARDER), 3.0)
    now = 3.0
    while PEER not in peers(core) and now < 30.0:
        now = core.deadline()
        core.tick(now)
    assert PEER in peers(core) and now < 10.0


def test_a_forwarder_that_answers_again_is_turned_to_again() -> None:
    core = turned()
    core.hear(of_forwarder(News.SILENT, FORWARDER), 2.0)
    core.receive(PEER, welcome(2), 2.1)
    core.hear(of_forwarder(News.ANSWERING, FORWARDER), 3.0)
    assert core.tick(3.0 + TURN_S) == [Disconnect(PEER)]
    core.check()


def test_a_forwarder_that_breaks_for_a_moment_moves_nothing() -> None:
    core = heard()
    core.hear(of_forwarder(News.LOST, FORWARDER), TURN_S - 0.1)
    core.tick(TURN_S)
    assert PEER in peers(core)
    core.hear(of_forwarder(News.FOUND, FORWARDER), TURN_S)
    greet(core, FORWARDER, TURN_S)
    core.tick(2 * TURN_S - 0.1)
    assert PEER in peers(core)
    core.tick(2 * TURN_S)
    assert peers(core) == {THERE}


def test_where_publishers_are_is_kept_up_to_date() -> None:
    core = turned()
    core.hear(found(PUBLISHER, "tcp://127.0.0.1:6000"), 2.0)
    core.hear(found(OTHER, "tcp://127.0.0.1:6002"), 2.0)
    effects = core.hear(of_forwarder(News.LOST, FORWARDER), 3.0)
    assert Connect(PEER, "tcp://127.0.0.1:6000") in effects
    assert Connect(peer_of(OTHER), "tcp://127.0.0.1:6002") in effects


def test_a_publisher_that_is_gone_is_not_returned_to() -> None:
    core = turned()
    core.hear(Tell(News.GONE, "", PUBLISHER), 2.0)
    core.hear(of_forwarder(News.GONE, FORWARDER), 3.0)
    assert peers(core) == set()


def test_a_subscription_that_is_added_does_not_end_the_turn() -> None:
    core = turned()
    core.subscribe(["u"], 2.0)
    core.tick(core.deadline())
    assert peers(core) == {THERE}


@pytest.mark.parametrize("option", ["history", "recover"])
def test_who_wants_a_history_stays_with_its_publishers(option: str) -> None:
    core = heard(**{option: 1})
    core.tick(10.0)
    assert peers(core) == {PEER, THERE}
