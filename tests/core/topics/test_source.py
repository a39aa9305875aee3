"""One publisher as a subscriber knows it."""

from __future__ import annotations

import pytest

from zmqkit.core.topics.source import Source
from zmqkit.wire.encoding import Malformed


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
    source.topics_max = 2
    for name in (b"a", b"b", b"c"):
        source.position(name).next = 5
    assert list(source.positions) == [b"b", b"c"]


def test_a_topic_that_is_heard_too_early_begins_anew(source: Source) -> None:
    source.position(b"early").next = 5
    source.settle((b"",))
    source.position(b"t").next = 5
    source.settle((b"",))
    assert list(source.positions) == [b"t"]


def test_a_topic_is_not_too_early_if_its_subscription_was_in_place_before(
    source: Source,
) -> None:
    source.settle((b"a", b"b"))
    source.keep((b"a",))
    for topic in (b"a1", b"b1", b"c1"):
        source.position(topic).next = 5
    source.settle((b"a", b"b", b"c"))
    assert list(source.positions) == [b"a1"]
