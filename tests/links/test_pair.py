"""Two links as one: what belongs to which, and who wakes a waiting thread."""

from __future__ import annotations

import select
from collections.abc import Iterator

import pytest

from zmqkit.links.memory import MemoryLink
from zmqkit.links.pair import Pair
from zmqkit.model import EVERY_PEER, Frames, PeerId, Reach

TOPICS, DATA = "memory://pair-topics", "memory://pair-data"


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A link whose first half publishes, and whose second one listens."""
    first, second = MemoryLink(1, topics=True), MemoryLink(2)
    first.bind(TOPICS, (0, 0))
    second.bind(DATA, (0, 0))
    pair = Pair(first, second, b"~")
    yield pair
    pair.close(0)


@pytest.fixture
def others() -> Iterator[tuple[MemoryLink, MemoryLink]]:
    """A subscriber, and one that dials."""
    subscriber, dialling = MemoryLink(3, topics=True), MemoryLink(4)
    yield subscriber, dialling
    subscriber.close(0)
    dialling.close(0)


def received(pair: Pair) -> list[tuple[PeerId, Frames]]:
    got = pair.receive(100, 1 << 20)
    while pair.pending() or select.select([pair.fileno()], [], [], 0)[0]:
        got += pair.receive(100, 1 << 20)
    return got


def test_peers_of_the_second_link_have_its_mark(
    pair: Pair, others: tuple[MemoryLink, MemoryLink]
) -> None:
    subscriber, dialling = others
    subscriber.connect(b"there", TOPICS)
    dialling.connect(b"there", DATA)
    subscriber.send(b"there", (b"\x01t",))
    dialling.send(b"there", (b"hello",))
    assert select.select(pair.descriptors, [], [], 1)[0]
    [(first, _), (second, frames)] = sorted(received(pair))
    assert (first, second[:1], frames) == (EVERY_PEER, b"~", (b"hello",))
    assert pair.send(EVERY_PEER, (b"t\0message",))
    assert pair.send(second, (b"answer",))
    assert subscriber.receive(9, 999) == [(b"there", (b"t\0message",))]
    assert dialling.receive(9, 999) == [(b"there", (b"answer",))]
    assert pair.reach(second) is Reach.LOCAL
    assert pair.changes() == []


def test_connections_are_opened_and_closed_where_they_belong(pair: Pair) -> None:
    there = MemoryLink(5)
    there.bind("memory://pair-there", (0, 0))
    pair.connect(b"~far", "memory://pair-there")
    assert pair.send(b"~far", (b"x",))
    [(peer, frames)] = there.receive(9, 999)
    assert frames == (b"x",)
    there.send(peer, (b"y",))
    assert (b"~far", (b"y",)) in received(pair)
    pair.disconnect(b"~far")
    assert not pair.send(b"~far", (b"x",))
    there.close(0)
