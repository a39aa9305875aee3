"""The publishers of one subscriber, and what is subscribed to on each."""

from __future__ import annotations

from math import inf

import pytest

from tests.core.topics.publications import (
    ENDPOINT,
    OTHER,
    PEER,
    PUBLISHER,
    SUBSCRIBER,
    hello,
    peer_of,
    subscribe,
    welcome,
)
from zmqkit.core.effects import Connect, Disconnect, Effect, Note, Send, Watch
from zmqkit.core.topics.origins import Origins
from zmqkit.core.topics.source import Source
from zmqkit.core.topics.sources import Sources
from zmqkit.errors import UsageError
from zmqkit.limits import HELLO_S, HELLO_S_MAX, SubscriberLimits
from zmqkit.wire import packet as wire
from zmqkit.wire import publication
from zmqkit.wire.encoding import Malformed


@pytest.fixture
def sources() -> Sources:
    return Sources(
        "weather", SUBSCRIBER, ["kitchen.", "hall"], SubscriberLimits(publishers_max=2)
    )


@pytest.fixture
def up(sources: Sources) -> Sources:
    """One publisher has all subscriptions."""
    sources.found(PUBLISHER, ENDPOINT, 0.0)
    sources.welcomed(sources.by_peer[PEER], publication.read(welcome(1))[1], 0.0)
    assert sources.up_count == 1
    return sources


def test_hello_goes_behind_all_subscriptions(sources: Sources) -> None:
    effects = sources.found(PUBLISHER, ENDPOINT, 0.0)
    assert effects == [
        Connect(PEER, ENDPOINT), *subscribe(b"kitchen.", b"hall"), Send(PEER, hello(1)),
    ]  # fmt: skip
    assert sources.up_count == 0
    sources.check()


def test_what_is_found_twice_is_connected_once(sources: Sources) -> None:
    sources.found(PUBLISHER, ENDPOINT, 0.0)
    assert sources.found(PUBLISHER, ENDPOINT, 1.0) == []


def test_what_is_found_elsewhere_is_connected_there(up: Sources) -> None:
    effects = up.found(PUBLISHER, "tcp://127.0.0.1:6000", 1.0)
    assert effects[0] == Connect(PEER, "tcp://127.0.0.1:6000")
    assert effects[-1] == Send(PEER, hello(2)) and up.up_count == 0


def test_hello_is_repeated_ever_more_slowly_until_it_is_answered(sources: Sources) -> None:
    sources.found(PUBLISHER, ENDPOINT, 0.0)
    pauses, now = [], 0.0
    for token in range(2, 9):
        pauses.append(sources.connections.due_at - now)
        now = sources.connections.due_at
        assert sources.tick(now - 0.01) == []
        assert sources.tick(now) == [Send(PEER, hello(token))]
    assert pauses[0] == HELLO_S and pauses[-1] == HELLO_S_MAX
    assert pauses == sorted(pauses)
    packet = publication.read(welcome(8))[1]
    assert sources.welcomed(sources.by_peer[PEER], packet, now) == []
    assert (sources.up_count, sources.connections.due_at) == (1, inf)


def test_an_answer_to_an_earlier_hello_does_not_count(sources: Sources) -> None:
    sources.found(PUBLISHER, ENDPOINT, 0.0)
    sources.tick(HELLO_S)
    sources.welcomed(sources.by_peer[PEER], publication.read(welcome(1))[1], 1.0)
    assert sources.up_count == 0


def test_hello_is_said_again_on_a_connection_that_was_opened_anew(up: Sources) -> None:
    packet = publication.read(welcome(0))[1]
    assert up.welcomed(up.by_peer[PEER], packet, 1.0) == [Send(PEER, hello(2))]
    assert up.up_count == 0
    assert up.welcomed(up.by_peer[PEER], packet, 1.0) == []


def test_whether_it_waits_is_known_from_its_welcome(up: Sources) -> None:
    source = up.by_peer[PEER]
    up.welcomed(source, publication.read(welcome(1, waits=True))[1], 1.0)
    assert source.waits is True
    up.welcomed(source, publication.read(welcome(1))[1], 1.0)
    assert source.waits is False


def test_what_is_subscribed_to_later_goes_out_at_once_and_hello_behind_it(up: Sources) -> None:
    assert up.subscribe(["cellar", "hall"], 1.0) == [
        Send(PEER, (publication.SUBSCRIBE + b"cellar",)), Send(PEER, hello(2)),
    ]  # fmt: skip
    assert up.up_count == 0 and up.prefixes.want(b"cellar.lux")
    assert up.subscribe(["cellar"], 1.0) == []


def test_what_is_subscribed_to_while_nobody_is_there_goes_out_later(sources: Sources) -> None:
    assert sources.subscribe(["cellar"], 0.0) == []
    effects = sources.found(PUBLISHER, ENDPOINT, 0.0)
    assert effects[1:-1] == subscribe(b"kitchen.", b"hall", b"cellar")


def test_what_is_unsubscribed_is_not_wanted(up: Sources) -> None:
    assert up.unsubscribe(["hall", "nothing"]) == [
        Send(PEER, (publication.UNSUBSCRIBE + b"hall",))
    ]
    assert not up.prefixes.want(b"hallway") and up.prefixes.want(b"kitchen.lux")
    up.unsubscribe(["kitchen."])
    assert not up.prefixes.want(b"kitchen.lux")


def test_a_topic_begins_anew_with_its_subscription(up: Sources) -> None:
    source = up.by_peer[PEER]
    for topic in (b"hall", b"kitchen.lux"):
        source.position(topic).next = 5
    up.unsubscribe(["hall"])
    assert anew(source) == [b"hall"]


def test_what_is_lost_is_still_read_and_may_return(up: Sources) -> None:
    assert up.lost(PUBLISHER, 1.0) == [] and up.lost(OTHER, 1.0) == []
    assert PEER in up.by_peer
    assert (up.up_count, up.connections.due_at) == (0, inf)
    assert up.subscribe(["cellar"], 1.0) == []
    assert up.found(PUBLISHER, ENDPOINT, 1.0)[0] == Connect(PEER, ENDPOINT)
    up.check()


def test_what_is_gone_and_returns_goes_on_where_it_was(up: Sources) -> None:
    up.by_peer[PEER].position(b"hall").next = 5
    assert up.gone(PUBLISHER, 0.0) == [Disconnect(PEER)]
    assert up.gone(PUBLISHER, 0.0) == [] and not up.by_peer
    up.check()
    up.found(PUBLISHER, ENDPOINT, 1.0)
    assert up.by_peer[PEER].position(b"hall").next == 5
    up.check()


def test_the_gone_are_not_remembered_without_end(sources: Sources) -> None:
    for publisher in range(10, 15):
        sources.found(publisher, ENDPOINT, 0.0)
        sources.gone(publisher, 0.0)
        sources.check()


def test_there_are_not_too_many_publishers(sources: Sources) -> None:
    for publisher in (PUBLISHER, OTHER):
        sources.found(publisher, ENDPOINT, 0.0)
    assert sources.found(9, ENDPOINT, 0.0) == [Note("publishers-full", {"name": "weather"})]
    assert Connect(peer_of(9), ENDPOINT) in sources.gone(PUBLISHER, 0.0)
    sources.check()


def test_one_that_never_answers_gives_way_to_another(sources: Sources) -> None:
    for publisher in (PUBLISHER, OTHER, 9):
        sources.found(publisher, ENDPOINT, 0.0)
    assert Connect(peer_of(9), ENDPOINT) not in sources.tick(sources.connections.due_at)
    assert Connect(peer_of(9), ENDPOINT) in sources.tick(sources.connections.due_at)
    sources.check()


def test_whoever_is_at_an_address_is_adopted(sources: Sources) -> None:
    effects = sources.found(0, ENDPOINT, 0.0)
    assert effects[-1] == Send(peer_of(0), hello(1, target=0))
    source = sources.by_peer[peer_of(0)]
    source.position(b"hall").next = 5
    sources.adopt(source, OTHER, 0.0)
    assert (source.publisher, source.positions) == (OTHER, {})
    sources.check()


def test_a_connection_that_took_no_subscription_is_made_anew(sources: Sources) -> None:
    sources.found(PUBLISHER, ENDPOINT, 0.0)
    sources.by_peer[PEER].broken = True
    assert sources.tick(HELLO_S) == [
        Connect(PEER, ENDPOINT), *subscribe(b"kitchen.", b"hall"), Send(PEER, hello(2)),
    ]  # fmt: skip


def test_a_connection_that_took_hello_and_no_subscription_is_made_anew(up: Sources) -> None:
    up.subscribe(["cellar"], 1.0)
    source = up.by_peer[PEER]
    source.broken = True
    up.welcomed(source, publication.read(welcome(2))[1], 1.0)
    assert up.up_count == 0
    assert up.tick(1.0 + HELLO_S)[0] == Connect(PEER, ENDPOINT)


@pytest.mark.parametrize("topics", ["kitchen", b"kitchen", [5], ["a\0"], ["x" * 257], None, 5])
def test_wrong_topics_are_an_error(up: Sources, topics: object) -> None:
    for use in (
        lambda: Sources("weather", SUBSCRIBER, topics, SubscriberLimits()),  # type: ignore[arg-type]
        lambda: up.subscribe(topics, 1.0),  # type: ignore[arg-type]
        lambda: up.unsubscribe(topics),  # type: ignore[arg-type]
    ):
        with pytest.raises(UsageError, match="topic"):
            use()
    assert up.up_count == 1
    up.check()


def test_there_are_not_too_many_topics(up: Sources) -> None:
    prefixes_max = SubscriberLimits().prefixes_max
    with pytest.raises(UsageError, match=f"{prefixes_max} topics"):
        up.subscribe([f"t{n}" for n in range(prefixes_max - 1)], 1.0)
    assert not up.prefixes.want(b"t0") and up.up_count == 1


def fixed(fields: dict[str, object]) -> tuple[Sources, list[Effect]]:
    """A subscriber of an address, once the publisher there said WELCOME with these fields."""
    sources = Sources("tcp://127.0.0.1:5000", SUBSCRIBER, ["kitchen."], SubscriberLimits())
    sources.found(0, ENDPOINT, 0.0)
    [source] = sources.by_peer.values()
    sources.adopt(source, PUBLISHER, 0.0)
    frames = publication.to_subscriber(
        wire.WELCOME, PUBLISHER, SUBSCRIBER, {"token": 1, "waits": False, **fields}
    )
    _, packet = publication.read(frames)
    return sources, sources.welcomed(source, packet, 0.0)


ABOUT: dict[str, object] = {
    "process": 9, "control": 5001, "roles": [["weather", "publisher", PUBLISHER, 5000]],
}  # fmt: skip


def test_the_process_at_an_address_is_watched_where_it_says() -> None:
    sources, effects = fixed(ABOUT)
    assert effects == [Watch("tcp://127.0.0.1:5001/weather", sources.name)]
    sources.check()


def test_the_publisher_at_an_address_is_what_membership_tells_of() -> None:
    sources, _ = fixed(ABOUT)
    [source] = sources.by_peer.values()
    assert sources.found(PUBLISHER, ENDPOINT, 1.0) == []
    assert sources.lost(PUBLISHER, 1.0) == []
    assert sources.found(PUBLISHER, "tcp://127.0.0.1:9", 2.0)[0] == Connect(
        source.peer, ENDPOINT
    )
    assert sources.found(OTHER, ENDPOINT, 3.0) == []
    sources.check()


def test_an_address_is_tried_again_when_its_publisher_is_gone() -> None:
    sources, _ = fixed(ABOUT)
    [source] = sources.by_peer.values()
    assert sources.gone(PUBLISHER, 0.0) == []
    assert sources.tick(sources.connections.due_at)[0] == Connect(source.peer, ENDPOINT)
    sources.check()


def test_a_publisher_without_a_process_is_not_watched() -> None:
    assert fixed({})[1] == []


def test_odd_words_about_its_process_are_malformed() -> None:
    with pytest.raises(Malformed):
        fixed({"process": 9, "control": 0, "roles": []})


def test_a_publisher_of_another_name_than_the_url_says_is_not_used() -> None:
    sources = Sources("tcp://127.0.0.1:5000/snow", SUBSCRIBER, [""], SubscriberLimits())
    sources.found(0, ENDPOINT, 0.0)
    [source] = sources.by_peer.values()
    sources.adopt(source, PUBLISHER, 0.0)
    fields = {"token": 1, "waits": False, **ABOUT}
    frames = publication.to_subscriber(wire.WELCOME, PUBLISHER, SUBSCRIBER, fields)
    _, packet = publication.read(frames)
    there = {"wanted": "tcp://127.0.0.1:5000/snow", "there": "weather"}
    assert sources.welcomed(source, packet, 0.0) == [Note("misnamed", there)]
    assert sources.up_count == 0 and source.misnamed == "weather"
    sources.left(source, 0.0)
    assert source.misnamed == ""


def test_who_takes_an_address_over_is_greeted_though_the_one_before_was_lost() -> None:
    sources, _ = fixed(ABOUT)
    [source] = sources.by_peer.values()
    sources.lost(PUBLISHER, 1.0)
    sources.adopt(source, OTHER, 0.0)
    assert sources.tick(sources.connections.due_at) != []
    assert sources.gone(PUBLISHER, 0.0) == []
    sources.check()


@pytest.fixture
def source() -> Source:
    return Source(7, b"p", "tcp://127.0.0.1:5000")


def test_nothing_is_known_at_first(source: Source) -> None:
    assert not source.positions and not source.broken


def test_a_topic_that_is_new_may_begin_anywhere(source: Source) -> None:
    position = source.position("kütchen".encode())
    assert (position.name, position.next) == ("kütchen", 0)


def test_a_topic_is_remembered(source: Source) -> None:
    source.position(b"t").next = 5
    assert source.position(b"t").next == 5


def test_a_topic_that_is_not_text_is_malformed(source: Source) -> None:
    with pytest.raises(Malformed, match="topic"):
        source.position(b"\xff")
    assert not source.positions


def test_topics_are_not_remembered_without_end(source: Source) -> None:
    source.origins = Origins(2, 2)
    for name in (b"a", b"b", b"c"):
        source.position(name).next = 5
    assert list(source.positions) == [b"b", b"c"]


def anew(source: Source) -> list[bytes]:
    """The topics whose next message may have any number above the last one."""
    return [topic for topic, each in source.positions.items() if each.anew]


def test_a_topic_that_is_heard_too_early_begins_anew(source: Source) -> None:
    source.position(b"early").next = 5
    source.settle((b"",))
    source.position(b"t").next = 5
    source.settle((b"",))
    assert anew(source) == [b"early"]
    assert not any(each.fresh for each in source.positions.values())


def test_a_topic_is_not_too_early_if_its_subscription_was_in_place_before(
    source: Source,
) -> None:
    source.settle((b"a", b"b"))
    source.keep((b"a",))
    for topic in (b"a1", b"b1", b"c1"):
        source.position(topic).next = 5
    source.settle((b"a", b"b", b"c"))
    assert anew(source) == [b"b1", b"c1"]


def test_who_is_out_of_reach_is_asked_once_it_is_back(sources: Sources) -> None:
    """Seed 9651769: the answer to what it had been told before came late, and seemed enough.

    So a publisher never heard how many subscribers a forwarder spoke for.
    """
    sources.found(PUBLISHER, ENDPOINT, 0.0)
    sources.lost(PUBLISHER, 1.0)
    sources.stands_for = 1
    assert sources.ask(1.0) == []
    sources.welcomed(sources.by_peer[PEER], publication.read(welcome(1))[1], 1.5)
    assert sources.up_count == 0
    last = sources.found(PUBLISHER, ENDPOINT, 2.0)[-1]
    assert isinstance(last, Send)
    assert wire.fields_of(publication.read(last.frames)[1])["subscribers"] == 1
