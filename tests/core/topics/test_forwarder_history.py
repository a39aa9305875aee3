"""A forwarder with a history: late joiners and gaps, with publishers that are there or gone."""

from __future__ import annotations

import pytest

from tests.core.topics.town import SUBSCRIBER, Town, to
from zmqkit.core.effects import News
from zmqkit.core.topics.forwarder import ForwarderCore
from zmqkit.core.topics.publisher import PublisherCore
from zmqkit.forwarder_limits import ForwarderHistory
from zmqkit.history_limits import PAGE_TOPICS, RECOVER_S, RETURN_S, History
from zmqkit.limits import TURN_S
from zmqkit.model import Frames
from zmqkit.wire.packet import HISTORY
from zmqkit.wire.publication import read

P, Q, F, G = 0xA, 0xB, 0xF1, 0xF2


def town(messages: int = 100, **options: object) -> Town:
    return Town(keeps=ForwarderHistory(messages=messages), **options)  # type: ignore[arg-type]  # its own


def passed(there: Town, *publishers: PublisherCore) -> ForwarderCore:
    """A forwarder that has met these publishers."""
    forwarder = there.forwarder(F)
    there.meet(forwarder, *publishers)
    return forwarder


def test_a_late_joiner_begins_with_the_last_messages_of_each_publisher_dead_or_not() -> None:
    there = town(history=2)
    p, q = there.publisher(P), there.publisher(Q)
    forwarder = passed(there, p, q)
    there.publish(p, "t", 1, 2, 3)
    there.publish(q, "t", "a", "b")
    there.publish(q, "u", "c")
    there.kill(p)
    there.meet(there.subscriber, forwarder)
    there.publish(q, "t", "d")
    there.take()
    assert [each[1:] for each in there.read if each[0] == P] == [("t", 2, 2), ("t", 3, 3)]
    assert [each[1:] for each in there.read if each[0] == Q] == [
        ("t", 1, "a"), ("t", 2, "b"), ("u", 1, "c"), ("t", 3, "d"),
    ]  # fmt: skip
    assert there.missing == 0 and there.recovered == 5


def test_one_that_asks_for_nothing_gets_nothing_from_before() -> None:
    there = town()
    p = there.publisher(P)
    forwarder = passed(there, p)
    there.publish(p, "t", 1)
    there.meet(there.subscriber, forwarder)
    there.publish(p, "t", 2)
    assert there.take() == [2]


def test_what_is_lost_behind_the_forwarder_is_recovered_from_it() -> None:
    there = town(recover=True)
    p = there.publisher(P)
    forwarder = passed(there, p)
    there.meet(there.subscriber, forwarder)
    there.publish(p, "t", 1)
    there.losing(to(SUBSCRIBER), lambda: there.publish(p, "t", 2, 3))
    there.publish(p, "t", 4)
    there.publish(p, "u", "other")
    assert there.take() == [1, 2, 3, 4, "other"] and there.missing == 0


def test_a_cut_is_caught_up_also_of_a_publisher_that_was_killed_meanwhile() -> None:
    there = town(recover=True)
    p = there.publisher(P)
    forwarder = passed(there, p)
    there.meet(there.subscriber, p, forwarder)
    there.publish(p, "t", 1)
    there.wait(2 * TURN_S)
    assert there.heard == {F}
    there.cut(there.subscriber, forwarder)
    there.publish(p, "t", 2, 3)
    there.publish(p, "new", "x")
    there.kill(p)
    there.wait(10.0)
    there.meet(there.subscriber, forwarder)
    assert sorted(map(str, there.take())) == ["1", "2", "3", "x"] and there.missing == 0


def test_that_the_very_last_message_was_lost_shows() -> None:
    there = town(recover=True)
    p = there.publisher(P)
    forwarder = passed(there, p)
    there.meet(there.subscriber, forwarder)
    there.publish(p, "t", 1)
    there.losing(to(SUBSCRIBER), lambda: there.publish(p, "t", 2))
    there.kill(p)
    there.wait(1.0)
    assert there.take() == [1, 2]


def test_one_that_recovers_turns_to_a_forwarder_with_a_history() -> None:
    there = town(recover=True, history=5)
    p = there.publisher(P, History(messages=10))
    there.publish(p, "t", 1)
    forwarder = passed(there, p)
    there.meet(there.subscriber, p, forwarder)
    assert there.heard == {P, F}
    there.wait(2 * TURN_S)
    assert there.heard == {F}
    there.publish(p, "t", 2)
    assert there.take() == [1, 2]


def test_one_that_recovers_stays_with_publishers_beside_a_forwarder_without_one() -> None:
    there = town(recover=True)
    p = there.publisher(P, History(messages=10))
    forwarder = there.forwarder(F, keeps=False)
    there.meet(forwarder, p)
    there.meet(there.subscriber, p, forwarder)
    there.wait(2 * TURN_S)
    assert there.heard == {P, F}


def test_publishers_are_not_left_before_all_is_there_that_they_were_asked_for() -> None:
    there = town(recover=True, history=5)
    p = there.publisher(P, History(messages=10))
    there.publish(p, "t", 1)
    forwarder = passed(there, p)
    there.losing(lambda a, b, frames: a == P, lambda: there.meet(there.subscriber, p))
    there.meet(there.subscriber, forwarder)
    lost = lambda a, b, frames: (a, b) == (P, SUBSCRIBER) and frames[0][:1] == b"\0"  # noqa: E731  # a rule
    there.losing(lost, lambda: there.wait(3 * TURN_S))
    there.wait(3 * TURN_S)
    assert there.take() == [1] and there.heard == {F}


def test_the_next_forwarder_has_what_was_missed_while_one_turned_to_it() -> None:
    there = town(recover=True)
    p = there.publisher(P)
    first, second = passed(there, p), there.forwarder(G)
    there.meet(second, p)
    there.meet(there.subscriber, first, second)
    there.publish(p, "t", 1)
    assert there.heard == {F}
    there.losing(to(SUBSCRIBER), lambda: there.publish(p, "t", 2))
    there.losing(to(SUBSCRIBER), lambda: there.kill(first))
    there.losing(to(SUBSCRIBER), lambda: there.publish(p, "t", 3))
    there.kill(p)
    there.wait(3.0)
    assert there.heard == {G} and there.take() == [1, 2, 3] and there.missing == 0


def test_what_a_lost_forwarder_had_sent_waits_for_its_return() -> None:
    """Seed 5034: news that it is out of reach overtook messages that show a gap."""
    there = town(recover=True)
    p = there.publisher(P)
    forwarder = passed(there, p)
    there.meet(there.subscriber, forwarder)
    there.publish(p, "t", 1)
    there.losing(to(SUBSCRIBER), lambda: there.publish(p, "t", 2))
    there.tell(there.subscriber, News.LOST, forwarder)
    there.publish(p, "t", 3)
    assert there.take() == [1] and there.missing == 0
    there.meet(there.subscriber, forwarder)
    assert there.take() == [2, 3] and there.missing == 0


def test_a_forwarder_that_is_left_while_it_has_nothing_yet_keeps_nobody_awake() -> None:
    """Seed 9270: it was to be asked again, and was out of reach."""
    there = town(recover=True)
    p = there.publisher(P)
    first, second = passed(there, p), there.forwarder(G, keeps=False)
    there.meet(there.subscriber, first, second, p)
    there.publish(p, "t", 1)
    there.losing(lambda a, b, frames: True, lambda: there.publish(p, "t", 2))
    messages = lambda a, b, frames: b == F and frames[0][:1] == b"t"  # noqa: E731  # a rule
    there.losing(messages, lambda: there.publish(p, "t", 3))
    assert there.take() == [1]
    there.tell(there.subscriber, News.SILENT, first)
    there.wait(2 * RETURN_S)
    assert there.take() == [3] and there.missing == 1


def test_what_one_forwarder_was_asked_for_is_asked_of_the_next() -> None:
    there = town(recover=True)
    p = there.publisher(P)
    first, second = passed(there, p), there.forwarder(G)
    there.meet(second, p)
    there.meet(there.subscriber, first, second)
    there.publish(p, "t", 1)
    there.losing(to(SUBSCRIBER), lambda: there.publish(p, "t", 2))
    answers = lambda a, b, frames: b == SUBSCRIBER and frames[0][:1] == b"\0"  # noqa: E731  # a rule
    there.losing(answers, lambda: there.publish(p, "t", 3))
    assert there.take() == [1]
    there.kill(first)
    assert there.take() == [2, 3] and there.missing == 0


def test_without_any_forwarder_publishers_are_asked_again() -> None:
    there = town(recover=True)
    p = there.publisher(P, History(messages=10))
    forwarder = passed(there, p)
    there.meet(there.subscriber, p, forwarder)
    there.wait(2 * TURN_S)
    there.publish(p, "t", 1)
    there.losing(to(SUBSCRIBER), lambda: there.publish(p, "t", 2))
    answers = lambda a, b, frames: b == SUBSCRIBER and frames[0][:1] == b"\0"  # noqa: E731  # a rule
    there.losing(answers, lambda: there.publish(p, "t", 3))
    there.kill(forwarder)
    assert there.heard == {P} and there.take() == [1, 2, 3] and there.missing == 0


def test_a_forwarder_recovers_what_it_missed_of_a_publisher_that_keeps_it() -> None:
    there = town(recover=True)
    p = there.publisher(P, History(messages=10))
    forwarder = passed(there, p)
    there.meet(there.subscriber, forwarder)
    there.publish(p, "t", 1)
    there.losing(to(F), lambda: there.publish(p, "t", 2, 3))
    there.publish(p, "t", 4)
    assert there.take() == [1, 2, 3, 4] and there.missing == 0
    assert forwarder.stats()["recovered"] == 2


def test_a_forwarder_begins_with_what_publishers_keep() -> None:
    there = town(history=3)
    p = there.publisher(P, History(messages=10))
    there.publish(p, "t", 1, 2, 3, 4)
    forwarder = passed(there, p)
    there.kill(p)
    there.meet(there.subscriber, forwarder)
    assert there.take() == [2, 3, 4]


def test_what_a_forwarder_missed_of_others_is_missing() -> None:
    there = town(recover=True)
    p = there.publisher(P)
    forwarder = passed(there, p)
    there.meet(there.subscriber, forwarder)
    there.publish(p, "t", 1)
    there.losing(to(F), lambda: there.publish(p, "t", 2, 3))
    there.publish(p, "t", 4)
    assert there.take() == [1, 4] and there.missing == 2


def test_what_a_forwarder_waits_for_is_not_waited_for_for_ever() -> None:
    there = town(recover=True)
    p = there.publisher(P, History(messages=10))
    forwarder = passed(there, p)
    there.meet(there.subscriber, forwarder)
    there.publish(p, "t", 1)
    there.losing(to(F), lambda: there.publish(p, "t", 2))
    there.losing(lambda a, b, frames: b == F and frames[0][:1] == b"\0",
                 lambda: there.publish(p, "t", 3))  # fmt: skip
    there.kill(p)
    assert there.take() == [1]
    there.wait(2 * RETURN_S + 1.0)
    assert there.take() == [3] and there.missing == 1


def test_what_a_forwarder_keeps_does_not_wait_behind_topics_that_it_waits_for() -> None:
    there = town(recover=True)
    p, q = there.publisher(P, History(messages=10)), there.publisher(Q)
    forwarder = passed(there, p, q)
    there.meet(there.subscriber, forwarder)
    topics = [f"t{number}" for number in range(PAGE_TOPICS)]
    for topic in topics:
        there.publish(p, topic, 1)
    for topic in topics:
        there.losing(to(F), lambda topic=topic: there.publish(p, topic, 2))
    for topic in topics:
        there.losing(lambda a, b, frames: b == F and frames[0][:1] == b"\0",
                     lambda topic=topic: there.publish(p, topic, 3))  # fmt: skip
    there.kill(p)
    there.take()
    there.publish(q, "u", 1)
    there.losing(to(SUBSCRIBER), lambda: there.publish(q, "u", 2))
    there.publish(q, "u", 3)
    assert there.take() == [1]
    there.wait(3 * RECOVER_S)
    assert there.take() == [2, 3] and there.missing == 0


@pytest.mark.parametrize("size", [10, 100_000])
def test_bodies_of_any_size_and_clearings_are_kept(size: int) -> None:
    there = town(history=10)
    p = there.publisher(P)
    forwarder = passed(there, p)
    there.publish(p, "t", bytes(size))
    there.publish(p, "t", bytes(size))
    there.publish(p, "u", 1)
    there.perform(p, p.clear("u", there.now))
    there.publish(p, "u", 2)
    there.kill(p)
    there.meet(there.subscriber, forwarder)
    assert sorted(there.take(), key=str) == sorted([bytes(size), bytes(size), None, 2], key=str)


def test_what_a_forwarder_hears_itself_is_heard_without_a_subscriber() -> None:
    there = town()
    p = there.publisher(P)
    forwarder = passed(there, p)
    assert p.joined_count == 0 and p.unreached == 1
    there.publish(p, "t", 1, 2)
    assert (forwarder.stats()["kept"], forwarder.stats()["subscribers"]) == (2, 0)


def test_new_subscribers_do_not_have_publishers_asked_for_everything_again() -> None:
    there = town(history=1)
    p = there.publisher(P, History(messages=10))
    there.publish(p, "t", 1)
    forwarder = passed(there, p)
    asked: list[int] = []

    def count(sender: int, at: int, frames: object) -> bool:
        asked.append(at)
        return False

    there.losing(count, lambda: there.meet(there.subscriber, forwarder))
    assert asked.count(P) == 1  # the HELLO that says for how many the forwarder stands
    assert there.take() == [1]


def test_a_forwarder_behind_another_has_what_that_one_keeps() -> None:
    there = town(history=5, recover=True)
    p = there.publisher(P)
    near = passed(there, p)
    there.publish(p, "t", 1, 2)
    far = there.forwarder(G, near)
    there.meet(far, near)
    there.losing(to(G), lambda: there.publish(p, "t", 3))
    there.publish(p, "t", 4)
    there.kill(p)
    there.meet(there.subscriber, far)
    assert there.take() == [1, 2, 3, 4] and there.missing == 0
    assert far.stats()["recovered"] == 3


def test_there_is_a_limit_of_publishers() -> None:
    there = Town(keeps=ForwarderHistory(publishers_max=1), history=5)
    p, q = there.publisher(P), there.publisher(Q)
    forwarder = passed(there, p, q)
    there.publish(p, "t", 1)
    there.publish(q, "t", 2)
    there.meet(there.subscriber, forwarder)
    assert there.take() == [2] and forwarder.stats()["kept"] == 1


def test_subscriptions_that_end_and_begin_again_begin_with_the_last_messages() -> None:
    there = town(history=2)
    p = there.publisher(P)
    forwarder = passed(there, p)
    there.publish(p, "t", 1, 2, 3)
    there.meet(there.subscriber, forwarder)
    assert there.take() == [2, 3]
    there.perform(there.subscriber, there.subscriber.unsubscribe([""]))
    there.perform(there.subscriber, there.subscriber.subscribe(["t"], there.now))
    assert there.take() == [2, 3]


def test_what_was_read_is_not_read_again_once_a_forwarder_has_recovered_it() -> None:
    """Seed 9500398: a topic of which it had nothing yet seemed to begin later."""
    there = town(recover=True)
    p = there.publisher(P, History(messages=10))
    before, forwarder = there.forwarder(G), there.forwarder(F)
    there.meet(before, p)
    there.meet(there.subscriber, before, forwarder)
    there.publish(p, "t", 1, 2, 3)
    assert there.take() == [1, 2, 3]
    there.kill(before)
    there.perform(there.subscriber, there.subscriber.unsubscribe([""]))

    def recovers(sender: int, at: int, frames: Frames) -> bool:
        return at == F and frames[0][:1] == b"\0" and read(frames)[1].kind == HISTORY

    there.lost = recovers
    there.meet(forwarder, p)
    there.perform(there.subscriber, there.subscriber.subscribe([""], there.now))
    there.wait(RETURN_S / 3)  # it is WELCOME, and F has nothing yet
    there.lost = lambda sender, at, frames: False
    there.publish(p, "t", 4)
    there.wait(RETURN_S / 2)
    assert there.take() == [4] and there.missing == 0
    assert forwarder.stats()["recovered"] == 3


def test_what_begins_again_is_read_behind_what_came_another_way() -> None:
    """Seed 9193: the history came in the inbox of the forwarder, which was read first."""
    there = town(history=2)
    p = there.publisher(P)
    forwarder = passed(there, p)
    there.meet(there.subscriber, p)
    for number in (1, 2):
        there.publish(p, "t", number)
        there.publish(p, "u", number)
    there.meet(there.subscriber, forwarder)
    there.perform(there.subscriber, there.subscriber.unsubscribe([""]))
    there.perform(there.subscriber, there.subscriber.subscribe(["t"], there.now))
    there.take()
    assert [each[2] for each in there.read if each[1] == "t"] == [1, 2, 1, 2]


def test_the_end_of_a_publisher_shows_what_was_lost() -> None:
    there = town(recover=True)
    p = there.publisher(P)
    forwarder = passed(there, p)
    there.meet(there.subscriber, forwarder)
    there.publish(p, "t", 1)
    there.losing(to(SUBSCRIBER), lambda: there.publish(p, "t", 2))
    there.perform(p, p.leave(there.now))
    assert there.take() == [1, 2] and there.missing == 0


def test_a_publisher_that_closes_waits_for_a_forwarder_that_recovers() -> None:
    there = town(recover=True)
    p = there.publisher(P, History(messages=10))
    forwarder = passed(there, p)
    there.meet(there.subscriber, forwarder)
    there.publish(p, "t", 1)
    there.losing(to(F), lambda: there.publish(p, "t", 2))
    there.perform(p, p.leave(there.now))
    there.wait(1.0)
    assert p.unreached == 0
    there.tell(forwarder, News.GONE, p)
    assert there.take() == [1, 2] and there.missing == 0
