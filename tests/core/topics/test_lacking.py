"""A subscriber knows what it lacks, while that is to be recovered."""

from __future__ import annotations

from tests.core.topics.lane import Lane, is_kind
from tests.core.topics.publications import PUBLISHER
from zmqkit.core.topics.lacking import Lack, lacking, unheard
from zmqkit.history_limits import RECOVER_S, History
from zmqkit.limits import SubscriberLimits
from zmqkit.wire import packet as wire

SMALL = SubscriberLimits(queue_messages_max=8, held_messages_max=2)


def lane(history: int = 0) -> Lane:
    return Lane(keeps=History(messages=100), recover=True, history=history, limits=SMALL)


def lacks(there: Lane) -> list[tuple[str, int, int]]:
    found: list[Lack] = lacking(there.subscriber.sources)
    return [(each.topic, each.messages, each.sequence) for each in found]


def test_what_was_lost_is_lacking_until_it_comes() -> None:
    there = lane()
    there.meet()
    there.publish("a", 1)
    there.lose("a", 2)
    there.lose("a", 3)
    there.losing(is_kind(wire.HISTORY), lambda: there.publish("a", 4))
    assert lacks(there) == [("a", 2, 2)]
    there.wait(RECOVER_S)
    assert lacks(there) == []


def test_what_waits_for_room_to_be_read_is_lacking_if_it_has_not_come() -> None:
    there = lane(history=50)
    there.publish("a", *range(1, 21))
    there.meet()
    [(topic, messages, sequence)] = lacks(there)
    assert (topic, messages + sequence) == ("a", 21) and 1 < sequence < 21
    assert len(there.take_all()) == 20 and lacks(there) == []


def test_a_publisher_that_has_not_said_what_it_keeps_is_unheard() -> None:
    there = lane(history=50)
    there.publish("a", 1)
    there.losing(is_kind(wire.HEADS), there.meet)
    assert unheard(there.subscriber.sources) == [PUBLISHER] and lacks(there) == []
    there.wait(RECOVER_S)
    assert unheard(there.subscriber.sources) == []
    there.take()


def test_what_found_no_room_behind_a_gap_is_lacking_too() -> None:
    there = lane()
    there.meet()
    there.publish("a", 1)
    there.lose("a", 2)
    there.losing(is_kind(wire.HISTORY), lambda: there.publish("a", *range(3, 9)))
    [(topic, messages, sequence)] = lacks(there)
    assert (topic, sequence) == ("a", 2) and 1 <= messages <= 7
    there.take_all()
