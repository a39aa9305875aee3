"""A subscriber that takes many packets at once takes them as one by one."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.topics.publications import (
    ENDPOINT,
    OTHER,
    PUBLISHER,
    bye,
    mark,
    peer_of,
    welcome,
)
from zmqkit.core.effects import Effect, News, Tell
from zmqkit.core.topics.subscriber import SubscriberCore
from zmqkit.model import Frames, PeerId
from zmqkit.wire import packet as wire
from zmqkit.wire import publication
from zmqkit.wire.encoding import encode

Arrived = tuple[PeerId, Frames]
Step = tuple[str, int, str, int, list[object]]

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["next"] * 12 + ["several", "raw", "again", "later", "bad", "garbage",
                                         "mark", "bye", "stranger", "subscribe"]),
        st.sampled_from([PUBLISHER] * 4 + [OTHER]),
        st.sampled_from(["t"] * 4 + ["tt", "u", "x"]),
        st.integers(0, 300),
        st.lists(st.integers(0, 9) | st.text(max_size=3) | st.just([1]), min_size=1),
    ),
    max_size=60,
)  # fmt: skip


def single(topic: str, publisher: int, sequence: int, row: bytes) -> Frames:
    """A packet of one message, whose body is encoded."""
    return (publication.single(topic.encode(), publisher, sequence, row, sequence * 1000),)


def made(*, waits: bool) -> SubscriberCore:
    """A subscriber to t, u and v that has two publishers."""
    core = SubscriberCore("weather", 1, ["t", "u", "v"])
    for publisher in (PUBLISHER, OTHER):
        core.hear(Tell(News.FOUND, "", publisher, ENDPOINT), 0.0)
        core.receive(peer_of(publisher), welcome(1, waits=waits, source=publisher), 0.0)
    return core


def packets(steps: Iterable[Step]) -> list[Arrived]:
    """What arrives: mostly messages one by one, which go on from the one before."""
    numbers: dict[tuple[int, str], int] = {}
    arrived: list[Arrived] = []
    for what, publisher, topic, extra, bodies in steps:
        number = numbers.get((publisher, topic), 1)
        frames = single(topic, publisher, number, encode(bodies[0]))
        if what == "several":
            rows = [encode(body) for body in bodies]
            frames = publication.publication(topic.encode(), publisher, number, rows, len(rows))
        elif what == "raw":
            frames = publication.raw_publication(topic.encode(), publisher, number, b"raw")
        elif what == "again":
            frames = single(topic, publisher, max(1, number - 1 - extra % 3), b"\x01")
        elif what == "later":
            number += 1 + extra % 3
            frames = single(topic, publisher, number, b"\x01")
        elif what == "bad":
            frames = single(
                topic, publisher, number, (b"\xc1", b"\x01\x02", b"\x92\x01")[extra % 3]
            )
        elif what == "garbage":
            frames = (bytes([extra % 256]) * (extra % 50),)
        elif what == "mark":
            frames = mark(1 + extra, source=publisher)
        elif what == "bye":
            frames = bye({topic: number}, source=publisher)
        elif what == "stranger":
            frames = single(topic, 99, number, b"\x01")
        elif what == "subscribe":
            frames = publication.to_subscriber(wire.WELCOME, publisher, 1, {"token": 0})
        if what in ("next", "several", "raw", "later"):
            count = len(bodies) if what == "several" else 1
            numbers[publisher, topic] = number + count
        arrived.append((peer_of(publisher), frames))
    return arrived


def outcome(core: SubscriberCore, effects: list[Effect]) -> tuple[object, ...]:
    """All that a subscriber has, message by message."""
    core.check()
    stats, gaps, read = core.stats(), core.gaps(), []
    while (delivery := core.take()[0]) is not None:
        numbered = enumerate(zip(delivery.bodies, delivery.times, strict=True))
        sequence, about = delivery.sequence, (delivery.topic, delivery.publisher)
        read += [(*about, sequence + at, *message) for at, message in numbered]
    return effects, stats, sorted(gaps), read


@pytest.mark.slow
@given(STEPS, st.integers(1, 30), st.booleans())
def test_many_at_once_are_taken_as_one_by_one(
    steps: list[Step], at_once: int, waits: bool
) -> None:
    arrived = packets(steps)
    one_by_one, together = made(waits=waits), made(waits=waits)
    expected = [e for peer, frames in arrived for e in one_by_one.receive(peer, frames, 1.0)]
    effects: list[Effect] = []
    for at in range(0, len(arrived), at_once):
        effects += together.receive_all(arrived[at : at + at_once], 1.0)
        together.check()
    assert outcome(together, effects) == outcome(one_by_one, expected)


def test_messages_that_came_one_by_one_are_read_together() -> None:
    core = made(waits=False)
    rows = [encode(number) for number in range(100)]
    core.receive_all(
        [(peer_of(PUBLISHER), single("t", PUBLISHER, n, row)) for n, row in enumerate(rows, 1)],
        1.0,
    )
    delivery, _ = core.take()
    assert delivery is not None and delivery.bodies == list(range(100))
    assert delivery.times == [number / 1000 for number in range(1, 101)]


def test_what_was_unsubscribed_is_not_gone_on_with() -> None:
    core = made(waits=False)
    arrived = [(peer_of(PUBLISHER), single("t", PUBLISHER, n, b"\x01")) for n in (1, 2, 3, 4)]
    core.receive_all(arrived[:2], 1.0)
    core.unsubscribe(["t"])
    core.receive_all(arrived[2:], 1.0)
    stats = core.stats()
    assert (stats["received"], stats["dropped"]) == (4, {"unsubscribed": 2})


def test_a_message_without_a_frame_is_not_gone_on_with() -> None:
    core = made(waits=False)
    peer = peer_of(PUBLISHER)
    arrived = [(peer, single("t", PUBLISHER, 1, b"\x01")), (peer, ())]
    core.receive_all(arrived, 1.0)
    assert core.stats()["received"] == 1
