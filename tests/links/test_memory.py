"""Links within one process know at once who is there."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from tests.forking import forked
from tests.roles.kit import BOUND_S
from zmqkit.errors import ConfigError
from zmqkit.links import memory
from zmqkit.links.memory import MemoryLink
from zmqkit.model import EVERY_PEER, Frames, PeerId

PLACE = "memory://test"


@pytest.fixture
def links() -> Iterator[list[MemoryLink]]:
    links = [MemoryLink(number) for number in (1, 2, 3)]
    yield links
    for link in links:
        link.close(0)


def test_nobody_is_told_of_a_connection_to_nobody(links: list[MemoryLink]) -> None:
    near = links[0]
    near.connect(b"far", PLACE)
    assert near.changes() == []
    assert not near.send(b"far", (b"x",))


def test_end_is_told_when_the_other_closes(links: list[MemoryLink]) -> None:
    far, near, _ = links
    far.bind(PLACE, (0, 0))
    near.connect(b"far", PLACE)
    links.remove(far)
    far.close(0)
    assert near.changes() == [(b"far", True), (b"far", False)]
    assert not near.send(b"far", (b"x",))


def test_who_never_asks_for_changes_keeps_few(links: list[MemoryLink]) -> None:
    far = MemoryLink(4, packets_max=10)
    links.append(far)
    far.bind(PLACE, (0, 0))
    for number in range(20):
        near = MemoryLink(5 + number)
        near.connect(b"far", PLACE)
        near.close(0)
    changes = far.changes()
    assert len(changes) == 10
    assert not changes[-1][1]


def test_owner_of_an_address_is_known_while_it_is_bound(links: list[MemoryLink]) -> None:
    assert memory.owners(PLACE) == {}
    links[1].bind(PLACE, (0, 0))
    assert memory.owners(PLACE) == {2: PLACE}
    with pytest.raises(ConfigError, match=PLACE):
        links[2].bind(PLACE, (0, 0))
    assert memory.owners(PLACE) == {2: PLACE}
    links.pop(1).close(0)
    assert memory.owners(PLACE) == {}


def test_watchers_hear_whenever_the_owner_changes(links: list[MemoryLink]) -> None:
    owners: list[dict[int, str]] = []

    def look() -> None:
        owners.append(memory.owners(PLACE))

    memory.watch(PLACE, look)
    links[0].bind(PLACE, (0, 0))
    links.pop(0).close(0)
    links[0].bind(PLACE, (0, 0))
    memory.unwatch(PLACE, look)
    links.pop(0).close(0)
    assert owners == [{1: PLACE}, {}, {2: PLACE}]


def test_a_finalizer_may_close_a_link_in_the_middle_of_what_another_does() -> None:
    far, near = MemoryLink(1, topics=True), MemoryLink(2, topics=True)
    far.bind(PLACE, (0, 0))
    near.connect(b"far", PLACE)
    near.send(b"far", (b"\x01t",))

    def put(peer: PeerId, frames: Frames, packets_max: float) -> bool:
        near.close(0)
        return True

    near.put = put  # type: ignore[method-assign]  # stands for a collection of garbage
    sending = threading.Thread(target=far.send, args=[EVERY_PEER, (b"topic",)], daemon=True)
    sending.start()
    sending.join(BOUND_S)
    assert not sending.is_alive()
    assert not far.send(b"near", (b"x",))
    far.close(0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_does_not_wait_for_a_thread_that_it_lacks() -> None:
    with memory._lock, forked(lambda: memory.owners(PLACE)):
        pass
