"""The publisher's side of publish-subscribe."""

from __future__ import annotations

from itertools import count
from math import inf

import pytest

from tests.core.topics.publications import (
    OTHER,
    PUBLISHER,
    SUBSCRIBER,
    credit,
    enters,
    hello,
    leaves,
    packets,
)
from zmqkit.core.effects import Effect, Note
from zmqkit.core.topics.publisher import PublisherCore
from zmqkit.errors import UsageError
from zmqkit.limits import (
    BATCH_BYTES,
    FOLLOW_STREAK,
    HOLD_S,
    QUEUE_MESSAGES,
    STALL_S,
    WINDOW_PACKETS,
    PublisherLimits,
)
from zmqkit.model import EVERY_PEER, Frames
from zmqkit.wire import packet as wire
from zmqkit.wire import publication
from zmqkit.wire.encoding import encode
from zmqkit.wire.packet import Packet


@pytest.fixture
def publisher() -> PublisherCore:
    return PublisherCore(PUBLISHER)


def joined(*subscribers: int, waits: bool = False) -> PublisherCore:
    """A publisher that these have joined."""
    core = PublisherCore(PUBLISHER, waits=waits)
    for subscriber in subscribers:
        core.receive(EVERY_PEER, enters(subscriber), 0.0)
        core.receive(EVERY_PEER, hello(source=subscriber), 0.0)
    assert core.stats()["subscribers"] == len(subscribers)
    core.check()
    return core


def messages(effects: list[Effect]) -> list[tuple[str, int, list[object]]]:
    """Topic, number of the first message, and bodies of each packet."""
    return [
        (topic, packet.settled, publication.bodies_of(packet))
        for topic, packet in packets(effects)
        if packet.kind == wire.PUBLISH
    ]


def welcomed(effects: list[Effect]) -> list[tuple[int, object]]:
    """Who is welcomed, and with which token."""
    found = []
    for topic, packet in packets(effects):
        assert topic == "" and packet.kind == wire.WELCOME
        found.append((packet.target, wire.fields_of(packet)["token"]))
    return found


def notes(effects: list[Effect]) -> list[Note]:
    return [effect for effect in effects if type(effect) is Note]


def fill(core: PublisherCore, now: float = 0.0) -> int:
    """Publish until the window is full; how many messages that took."""
    count = 0
    while not core.blocked:
        core.publish("t", count, now)
        count += 1
        assert count <= QUEUE_MESSAGES + 1
    return count


def balanced(core: PublisherCore) -> dict[str, object]:
    stats = core.stats()
    dropped = stats["dropped"]
    assert isinstance(dropped, dict)
    ended = stats["handed_over"] + stats["queued"] + sum(dropped.values())  # type: ignore[operator]
    assert stats["accepted"] == ended
    return stats


def test_each_topic_counts_its_own_messages(publisher: PublisherCore) -> None:
    sent = [messages(publisher.publish(topic, n, 0.0)) for n, topic in enumerate("aaba")]
    assert sent == [[("a", 1, [0])], [("a", 2, [1])], [("b", 1, [2])], [("a", 3, [3])]]
    assert balanced(publisher)["handed_over"] == 4


def test_a_message_that_cannot_travel_takes_no_number(publisher: PublisherCore) -> None:
    for body in (1, object(), 1 << 64, 2):
        try:
            publisher.publish("t", body, 0.0)
        except UsageError:
            continue
    assert messages(publisher.publish("t", 3, 0.0)) == [("t", 3, [3])]


@pytest.mark.parametrize("topic", ["", b"t", None, ["t"], "a\0b"], ids=repr)
def test_a_wrong_topic_is_an_error(publisher: PublisherCore, topic: object) -> None:
    publisher.publish("t", 1, 0.0)
    with pytest.raises(UsageError, match="topic"):
        publisher.publish(topic, 1, 0.0)  # type: ignore[arg-type]
    assert balanced(publisher)["topics"] == 1


@pytest.mark.parametrize(
    "body", [bytes(BATCH_BYTES), memoryview(b""), memoryview(b"raw"), memoryview(b"raw")[:1]]
)
def test_a_long_body_travels_raw(publisher: PublisherCore, body: bytes | memoryview) -> None:
    for sequence in (1, 2):
        [effect] = publisher.publish("t", body, 0.0)
        assert messages([effect]) == [("t", sequence, [body])]
        [(_, packet)] = packets([effect])
        assert packet.raw == body


def test_what_gathers_leaves_in_one_packet_a_topic(publisher: PublisherCore) -> None:
    for topic, body in (("a", 1), ("b", 2), ("a", 3)):
        publisher.gathering.add(topic, body)
    assert balanced(publisher)["queued"] == 3
    assert messages(publisher.flush(0.0)) == [("a", 1, [1, 3]), ("b", 1, [2])]
    assert publisher.flush(0.0) == []
    assert balanced(publisher)["handed_over"] == 3
    assert messages(publisher.publish("a", 4, 0.0)) == [("a", 3, [4])]


def test_each_packet_says_when_it_left() -> None:
    ticks = count(7)
    core = PublisherCore(PUBLISHER, wall_us=lambda: next(ticks))
    effects = core.publish("t", 1, 0.0) + core.publish("t", bytes(BATCH_BYTES), 0.0)
    for topic in ("a", "a", "b"):
        core.gather(topic, 1)
    effects += core.flush(0.0) + core.clear("t", 0.0)
    assert [packet.target for _, packet in packets(effects)] == [7, 8, 9, 10, 11]


def closely(publisher: PublisherCore, count: int) -> list[tuple[str, int, list[object]]]:
    """Publish so many numbers in a loop, from 1 on; what leaves."""
    effects: list[Effect] = []
    for number in range(1, count + 1):
        effects += publisher.publish_soon("t", number, 1.0)
    return messages(effects)


def test_what_is_published_closely_gathers_and_is_due_in_time(publisher: PublisherCore) -> None:
    alone = [("t", number, [number]) for number in range(1, FOLLOW_STREAK + 1)]
    assert closely(publisher, FOLLOW_STREAK + 3) == alone
    assert balanced(publisher)["queued"] == 3 and publisher.deadline() == 1.0 + HOLD_S
    gathered = [FOLLOW_STREAK + n for n in (1, 2, 3)]
    assert messages(publisher.flush(1.0 + HOLD_S)) == [("t", gathered[0], gathered)]
    assert balanced(publisher)["queued"] == 0 and publisher.deadline() == inf


def test_a_full_packet_is_due_at_once(publisher: PublisherCore) -> None:
    closely(publisher, FOLLOW_STREAK + 1)
    assert publisher.publish_soon("t", memoryview(b"raw"), 1.0) == []
    assert publisher.deadline() == -inf
    assert [bodies for _, _, bodies in messages(publisher.flush(1.0))] == [[9], [b"raw"]]


def test_what_cannot_travel_gathers_not(publisher: PublisherCore) -> None:
    closely(publisher, FOLLOW_STREAK)
    with pytest.raises(UsageError):
        publisher.publish_soon("t", object(), 1.0)
    assert balanced(publisher)["queued"] == 0
    assert publisher.flush(1.0) == [] and publisher.deadline() == inf


def test_what_gathers_leaves_before_the_last_word(publisher: PublisherCore) -> None:
    closely(publisher, FOLLOW_STREAK + 2)
    effects = publisher.leave(1.0)
    assert messages(effects) == [("t", 9, [9, 10])]
    assert packets(effects)[-1][1].kind == wire.BYE
    assert not publisher.gathering.quick("t", 11)
    with pytest.raises(UsageError, match="closed"):
        publisher.publish_soon("t", 11, 1.0)


def test_what_still_gathers_at_the_end_is_dropped_and_counted(publisher: PublisherCore) -> None:
    publisher.gathering.add("a", 1)
    assert publisher.close() == []
    assert balanced(publisher)["dropped"] == {"closed": 1}


def test_a_subscriber_that_enters_is_welcomed_and_has_not_joined(
    publisher: PublisherCore,
) -> None:
    assert welcomed(publisher.receive(EVERY_PEER, enters(), 0.0)) == [(SUBSCRIBER, 0)]
    assert publisher.stats()["subscribers"] == 0


def test_a_subscriber_that_enters_and_says_no_hello_is_asked_again_ever_less_often(
    publisher: PublisherCore,
) -> None:
    """Seed 5625: the WELCOME found no room, and a subscriber that was up never joined anew."""
    publisher.receive(EVERY_PEER, enters(), 0.0)
    asked, now = [], 0.0
    for _ in range(6):
        now = publisher.deadline()
        assert welcomed(publisher.tick(now)) == [(SUBSCRIBER, 0)]
        asked.append(now)
    assert asked == [0.5, 1.5, 3.5, 7.5, 12.5, 17.5]
    publisher.receive(EVERY_PEER, hello(1), now)
    assert publisher.deadline() == inf
    assert publisher.tick(now + 60.0) == []


def test_hello_joins_and_is_answered_with_its_token(publisher: PublisherCore) -> None:
    publisher.receive(EVERY_PEER, enters(), 0.0)
    assert welcomed(publisher.receive(EVERY_PEER, hello(7), 0.0)) == [(SUBSCRIBER, 7)]
    assert publisher.stats()["subscribers"] == 1
    publisher.receive(EVERY_PEER, hello(8), 0.0)
    assert publisher.stats()["subscribers"] == 1
    publisher.check()


@pytest.mark.parametrize("waits", [False, True])
def test_a_welcome_tells_whether_it_waits_and_where_it_is(waits: bool) -> None:
    core = PublisherCore(PUBLISHER, waits=waits)
    core.about["process"] = 5
    [(_, packet)] = packets(core.receive(EVERY_PEER, enters(), 0.0))
    assert packet.meta == {"token": 0, "waits": waits, "process": 5}


def test_hello_for_an_earlier_owner_of_the_address_is_answered_and_does_not_join(
    publisher: PublisherCore,
) -> None:
    answer = publisher.receive(EVERY_PEER, hello(3, target=OTHER), 0.0)
    assert welcomed(answer) == [(SUBSCRIBER, 3)]
    [(_, packet)] = packets(answer)
    assert packet.source == PUBLISHER and publisher.stats()["subscribers"] == 0


def test_hello_for_whoever_is_there_joins(publisher: PublisherCore) -> None:
    publisher.receive(EVERY_PEER, enters(), 0.0)
    publisher.receive(EVERY_PEER, hello(target=0), 0.0)
    assert publisher.stats()["subscribers"] == 1


def test_who_leaves_has_joined_no_more(publisher: PublisherCore) -> None:
    core = joined(1, 2)
    assert core.receive(EVERY_PEER, leaves(1), 0.0) == []
    assert core.receive(EVERY_PEER, leaves(9), 0.0) == []
    assert core.stats()["subscribers"] == 1
    core.check()


def test_a_connection_that_is_opened_anew_joins_anew() -> None:
    core = joined(1)
    core.receive(EVERY_PEER, leaves(1), 0.0)
    assert welcomed(core.receive(EVERY_PEER, enters(1), 0.0)) == [(1, 0)]
    assert core.stats()["subscribers"] == 0
    core.receive(EVERY_PEER, hello(2, source=1), 0.0)
    assert core.stats()["subscribers"] == 1


def test_subscriptions_to_topics_are_the_links_business(publisher: PublisherCore) -> None:
    for topic in (b"", b"kitchen", b"\xff", publication.private(publication.EVERYBODY)):
        for first in (publication.SUBSCRIBE, publication.UNSUBSCRIBE):
            assert publisher.receive(EVERY_PEER, (first + topic,), 0.0) == []
    assert publisher.stats()["malformed"] == {}


def test_too_many_subscribers_are_told_of() -> None:
    publisher = PublisherCore(PUBLISHER, PublisherLimits(subscribers_max=1))
    publisher.receive(EVERY_PEER, enters(1), 0.0)
    [note] = publisher.receive(EVERY_PEER, enters(2), 0.0)
    assert note == Note("subscribers-full", {"count": 1})


def test_who_drops_never_waits_and_sends_no_marks() -> None:
    core = joined(1)
    kinds = {
        packet.kind
        for number in range(2 * QUEUE_MESSAGES)
        for _, packet in packets(core.publish("t", number, 0.0))
    }
    assert kinds == {wire.PUBLISH} and not core.blocked
    assert core.deadline() == inf


def test_who_waits_has_a_window_and_asks_with_marks() -> None:
    core = joined(1, waits=True)
    marks = []
    while not core.blocked:
        for topic, packet in packets(core.publish("t", 1, 0.0)):
            if packet.kind == wire.MARK:
                assert (topic, packet.target) == ("", publication.EVERYBODY)
                marks.append(packet.meta)
    assert marks == [1, 2, 3, 4]
    full = WINDOW_PACKETS * 9 // 10
    assert full <= balanced(core)["handed_over"] <= WINDOW_PACKETS  # type: ignore[operator]
    assert core.receive(EVERY_PEER, credit(1, source=1), 0.0) == []
    assert not core.blocked
    core.check()


def test_credit_for_an_earlier_owner_of_the_address_does_not_count() -> None:
    core = joined(1, waits=True)
    fill(core)
    assert core.receive(EVERY_PEER, credit(3, source=1, target=OTHER), 0.0) == []
    assert core.blocked and core.stats()["malformed"] == {}


def test_who_is_stuck_is_excluded_with_a_note_and_taken_in_with_another() -> None:
    core = joined(1, 2, waits=True)
    fill(core, now=1.0)
    core.receive(EVERY_PEER, credit(core.audience.mark, source=1), 1.0)
    assert core.audience.exclude_at == 1.0 + STALL_S
    assert not notes(core.tick(1.0 + STALL_S - 0.01))
    [note] = notes(core.tick(1.0 + STALL_S))
    assert note.event == "subscriber-excluded"
    assert note.fields["subscriber"] == f"{2:016x}"
    stats = core.stats()
    assert (stats["excluded"], stats["exclusions"], core.blocked) == (1, 1, False)
    assert core.deadline() == inf
    assert core.receive(EVERY_PEER, credit(core.audience.mark, source=2), 8.0) == [
        Note("subscriber-included", {"subscriber": f"{2:016x}"})
    ]
    assert core.stats()["excluded"] == 0
    core.check()


def test_nobody_is_excluded_while_each_makes_headway() -> None:
    core = joined(1, waits=True)
    now = 0.0
    for mark in range(1, 20):
        fill(core, now)
        now += STALL_S - 0.1
        assert not notes(core.tick(now))
        core.receive(EVERY_PEER, credit(mark, source=1), now)


def test_the_last_mark_is_said_again_as_the_first_may_be_lost() -> None:
    core = joined(1, waits=True)
    fill(core, now=1.0)
    for pause_s in (0.25, 0.5, 1.0, 2.0, 4.0):
        assert core.deadline() == 1.0 + pause_s
        [(_, packet)] = packets(core.tick(1.0 + pause_s))
        assert (packet.kind, packet.meta) == (wire.MARK, 4)
        core.check()
    assert core.deadline() == 1.0 + STALL_S
    core.receive(EVERY_PEER, credit(4, source=1), 5.5)
    assert not core.blocked and core.deadline() == inf


def test_a_closed_publisher_holds_nobody_up() -> None:
    core = joined(1, waits=True)
    fill(core)
    core.close()
    assert not core.blocked


def test_topics_are_not_remembered_without_end() -> None:
    publisher = PublisherCore(PUBLISHER, PublisherLimits(topics_max=2))
    for topic in "abcab":
        publisher.publish(topic, 1, 0.0)
        publisher.check()
    assert publisher.stats()["topics"] == 2
    [(_, sequence, _)] = messages(publisher.publish("c", 1, 0.0))
    assert sequence > 1


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ((), "frames"), ((b"",), "frames"), ((b"\3",), "frames"), ((b"\2", b""), "frames"),
        ((b"\2",), "size"), ((b"\2" + bytes(40),), "magic"),
        (hello(1, source=9), "stranger"), (hello(1, source=0), "hello"),
        (publication.to_publisher(wire.HELLO, 1, PUBLISHER, {"token": "x"}), "hello"),
        (publication.to_publisher(wire.HELLO, 1, PUBLISHER, []), "fields"),
        (publication.to_publisher(wire.PING, 1, PUBLISHER, [1]), "unexpected"),
        (credit("x", source=1), "unexpected"), (credit(1, source=1), "credit"),
        (credit(1, source=9), "credit"),
        ((b"\2" + bytes(wire.pack(wire.CREDIT, 1, 2, 0, encode(1), b"", b"")[0]),), "frames"),
    ],
    ids=repr,
)  # fmt: skip
def test_what_breaks_the_rules_is_counted_and_dropped(frames: Frames, reason: str) -> None:
    core = joined(1)
    assert core.receive(EVERY_PEER, frames, 0.0) == []
    assert core.stats()["malformed"] == {reason: 1}
    core.check()


def test_a_packet_is_handed_over_once_for_all() -> None:
    core = joined(1, 2, 3)
    [(topic, packet)] = packets(core.publish("t", 5, 0.0))
    assert (topic, packet) == ("t", Packet(wire.PUBLISH, PUBLISHER, 0, 1, None, encode([5])))


def test_who_leaves_says_bye_behind_everything_until_all_have_left() -> None:
    core = joined(SUBSCRIBER)
    core.gathering.add("t", 1)
    [*_, (_, bye)] = packets(core.leave(1.0))
    assert (bye.kind, bye.meta) == (wire.BYE, {"next": {"t": 2}})
    assert [packet.kind for _, packet in packets(core.tick(core.deadline()))] == [wire.BYE]
    core.receive(EVERY_PEER, leaves(), 2.0)
    assert core.deadline() == inf
    core.check()


def test_who_leaves_accepts_nothing_more(publisher: PublisherCore) -> None:
    publisher.publish("t", 1, 0.0)
    publisher.leave(0.0)
    for topic in ("t", "u"):
        with pytest.raises(UsageError, match="closed"):
            publisher.publish(topic, 1, 0.0)
    publisher.gathering.add("t", 1)
    assert publisher.flush(0.0) == []
    publisher.close()
    assert publisher.stats()["dropped"] == {"closed": 1}
