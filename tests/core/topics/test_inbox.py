"""What a subscriber has received and nobody has read."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zmqkit.core.topics.inbox import Delivery, Inbox, Latest, Queue

PEER, PUBLISHER = b"p", 7


def delivery(
    sequence: int, *bodies: object, topic: str = "t", size: int = 10, mark: int = 0
) -> Delivery:
    times = [float(sequence + at) for at in range(len(bodies))]
    return Delivery(topic, PEER, PUBLISHER, sequence, list(bodies), times, size, mark)


def taken(inbox: Inbox) -> list[tuple[int, list[object]]]:
    """Everything: the number of each first message, and the bodies."""
    found = []
    while (each := inbox.take()) is not None:
        found.append((each.sequence, each.bodies))
    assert (inbox.messages, inbox.size) == (0, 0)
    return found


@pytest.fixture
def queue() -> Queue:
    """Room for five messages or a hundred bytes."""
    return Queue(5, 100)


@pytest.fixture
def latest() -> Latest:
    """Room for three topics or a hundred bytes."""
    return Latest(3, 100)


def test_what_came_first_is_read_first(queue: Queue) -> None:
    assert [queue.put(delivery(n, n)) for n in (1, 2, 3)] == [0, 0, 0]
    assert (queue.messages, queue.size) == (3, 30)
    assert taken(queue) == [(1, [1]), (2, [2]), (3, [3])]


def test_the_oldest_makes_room(queue: Queue) -> None:
    queue.put(delivery(1, 1, 2, 3))
    assert queue.put(delivery(4, 4, 5, 6, 7)) == 2
    assert taken(queue) == [(3, [3]), (4, [4, 5, 6, 7])]


def test_a_packet_that_is_too_long_keeps_its_end(queue: Queue) -> None:
    queue.put(delivery(1, 1))
    assert queue.put(delivery(2, *range(2, 10))) == 4
    assert taken(queue) == [(5, [5, 6, 7, 8, 9])]


def test_bytes_are_limited_too(queue: Queue) -> None:
    queue.put(delivery(1, 1, 2, size=60))
    assert queue.put(delivery(3, 3, size=60)) == 2
    assert taken(queue) == [(3, [3])]


def test_a_single_message_may_be_larger_than_the_queue(queue: Queue) -> None:
    queue.put(delivery(1, 1))
    assert queue.put(delivery(2, 2, size=1000)) == 1
    assert taken(queue) == [(2, [2])]


def test_marks_wait_in_line_and_are_no_messages(queue: Queue) -> None:
    queue.put(delivery(1, 1))
    assert queue.put(delivery(0, mark=4, size=0)) == 0
    queue.put(delivery(2, 2))
    assert queue.messages == 2
    assert [each.mark for each in iter(queue.take, None)] == [0, 4, 0]


def test_what_goes_on_from_the_newest_joins_it(queue: Queue) -> None:
    assert not queue.join(delivery(1, 1))
    queue.put(delivery(1, 1))
    assert queue.join(delivery(2, 2, 3, size=20))
    assert (queue.messages, queue.size) == (3, 30)
    assert taken(queue) == [(1, [1, 2, 3])]


@pytest.mark.parametrize(
    ("topic", "publisher", "sequence"), [("u", 7, 2), ("t", 8, 2), ("t", 7, 3), ("t", 7, 1)]
)
def test_what_does_not_go_on_from_there_stays_apart(
    queue: Queue, topic: str, publisher: int, sequence: int
) -> None:
    queue.put(delivery(1, 1))
    assert not queue.join(Delivery(topic, PEER, publisher, sequence, [2], [0.0], 10))
    assert taken(queue) == [(1, [1])]


def test_a_mark_stands_for_those_right_before_it(queue: Queue) -> None:
    assert not queue.join(delivery(0, mark=1))
    queue.put(delivery(0, mark=1))
    assert all(queue.join(delivery(0, mark=number)) for number in range(2, 100))
    assert not queue.join(replace(delivery(0, mark=100), publisher=8))
    marked = queue.take()
    assert marked is not None and marked.mark == 99 and queue.is_empty


def test_nothing_joins_across_a_mark(queue: Queue) -> None:
    queue.put(delivery(1, 1))
    queue.put(delivery(0, mark=4, size=0))
    assert not queue.join(delivery(2, 2))


@pytest.mark.parametrize("field", ["cleared", "recovered"])
def test_messages_of_another_kind_stay_apart(queue: Queue, field: str) -> None:
    queue.put(delivery(1, 1))
    other = replace(delivery(2, 2), **{field: True})
    assert not queue.join(other)
    queue.put(other)
    assert not queue.join(delivery(3, 3))


def test_each_message_keeps_its_time(queue: Queue, latest: Latest) -> None:
    queue.put(delivery(1, 1, 2))
    assert queue.join(delivery(3, 3, 4))
    queue.put(delivery(5, 5, 6))  # the oldest one makes room
    latest.put(delivery(1, 1, 2, 3))
    came = [queue.take(), queue.take(), latest.take()]
    assert [each.times for each in came if each] == [[2.0, 3.0, 4.0], [5.0, 6.0], [3.0]]


def test_what_fits_drops_nothing(queue: Queue) -> None:
    assert queue.fits(5, 100) and queue.fits(1, 1000) and not queue.fits(6, 1)
    queue.put(delivery(1, 1))
    assert queue.fits(4, 90) and not queue.fits(5, 1) and not queue.fits(1, 91)


def test_more_is_asked_for_while_it_is_half_empty(queue: Queue) -> None:
    assert queue.spare() == (5, 100)
    queue.put(delivery(1, 1, 2))
    assert queue.spare() == (3, 90)
    queue.put(delivery(3, 3))
    assert queue.spare() == (0, 0)


def test_nothing_joins_a_full_queue(queue: Queue) -> None:
    queue.put(delivery(1, 1, 2, 3, 4, 5))
    assert not queue.join(delivery(6, 6))
    taken(queue)
    queue.put(delivery(1, 1, size=95))
    assert not queue.join(delivery(2, 2))


def test_raw_bodies_stay_apart(queue: Queue) -> None:
    raw = memoryview(b"raw")
    queue.put(delivery(1, raw))
    assert not queue.join(delivery(2, 2))
    queue.put(delivery(2, 2))
    assert not queue.join(delivery(3, raw))


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(1, 8), st.integers(0, 120), st.booleans())))
def test_every_message_is_either_there_or_dropped(steps: list[tuple[int, int, bool]]) -> None:
    queue, sequence, dropped = Queue(5, 100), 1, 0
    for count, size, joins in steps:
        bodies: list[object] = list(range(sequence, sequence + count))
        if not joins or not queue.join(delivery(sequence, *bodies, size=size)):
            dropped += queue.put(delivery(sequence, *bodies, size=size))
        sequence += count
        assert queue.messages <= 5
    kept = [body for first, bodies in taken(queue) for body in bodies]
    assert kept == list(range(dropped + 1, sequence))


def test_the_latest_of_each_topic_is_kept(latest: Latest) -> None:
    assert latest.put(delivery(1, 1, topic="a")) == 0
    assert latest.put(delivery(1, 1, topic="b")) == 0
    assert latest.put(delivery(2, 2, topic="a")) == 1
    assert (latest.messages, latest.size) == (2, 20)
    assert taken(latest) == [(2, [2]), (1, [1])]


def test_the_latest_of_a_packet_is_kept(latest: Latest) -> None:
    assert latest.put(delivery(1, 1, 2, 3, size=30)) == 2
    assert latest.size == 10
    assert taken(latest) == [(3, [3])]


def test_the_topic_that_waits_longest_makes_room(latest: Latest) -> None:
    for number in range(4):
        dropped = latest.put(delivery(1, number, topic=f"t{number}"))
    assert dropped == 1
    assert latest.put(delivery(2, 9, topic="t9", size=90)) == 2
    assert [bodies for _, bodies in taken(latest)] == [[3], [9]]


def test_a_single_latest_message_may_be_larger_than_the_queue(latest: Latest) -> None:
    latest.put(delivery(1, 1, topic="a"))
    assert latest.put(delivery(1, 2, topic="b", size=1000)) == 1
    assert taken(latest) == [(1, [2])]


def test_nothing_joins_the_latest(latest: Latest) -> None:
    latest.put(delivery(1, 1))
    assert not latest.join(delivery(2, 2))


@pytest.mark.slow
@given(st.lists(st.tuples(st.sampled_from("abcde"), st.integers(1, 3), st.integers(1, 60))))
def test_latest_messages_are_counted_right(steps: list[tuple[str, int, int]]) -> None:
    latest, received, dropped = Latest(3, 100), 0, 0
    for topic, count, size in steps:
        dropped += latest.put(delivery(1, *range(count), topic=topic, size=size))
        received += count
        assert received == dropped + latest.messages
    assert len(taken(latest)) == received - dropped
