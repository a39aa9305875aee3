"""Packets of publishers on their way over a bridge."""

from __future__ import annotations

import pytest

from tests.core.topics.publications import PUBLISHER, bye, mark, publish, welcome
from zmqkit.core.topics.passage import item_of
from zmqkit.model import Frames
from zmqkit.wire.encoding import Malformed


def test_a_packet_of_messages_says_what_it_is() -> None:
    frames = publish("kitchen", 7, 1, 2, 3)
    item = item_of(frames, waits=True)
    assert (item.topic, item.publisher, item.sequence) == (b"kitchen", PUBLISHER, 7)
    assert (item.count, item.waits, item.frames) == (3, True, frames)


def test_the_end_of_a_publisher_has_no_topic() -> None:
    item = item_of(bye({}), waits=False)
    assert (item.topic, item.publisher) == (b"", PUBLISHER)


@pytest.mark.parametrize("frames", [welcome(), mark(1), (b"",), (b"t",), (b"t\0x",)])
def test_nothing_else_travels(frames: Frames) -> None:
    with pytest.raises(Malformed):
        item_of(frames, waits=False)
