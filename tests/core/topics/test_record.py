"""What a forwarder with a history answers: pages and numbers of what passed it."""

from __future__ import annotations

from itertools import count

import pytest

from tests.core.topics.publications import (
    ENDPOINT,
    OTHER,
    PUBLISHER,
    SUBSCRIBER,
    enters,
    hello,
    publish,
)
from zmqkit.core.effects import News, Send, Tell
from zmqkit.core.topics.forwarder import ForwarderCore
from zmqkit.forwarder_limits import ForwarderHistory
from zmqkit.history_limits import HEADS_S, RETURN_S
from zmqkit.model import EVERY_PEER, Frames
from zmqkit.wire import history, publication
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Malformed, encode
from zmqkit.wire.history import Ask, Entry, Want
from zmqkit.wire.packet import Packet

FORWARDER = 0xF


class Stand:
    """A forwarder with a history, two publishers without one, and a subscriber that asks."""

    def __init__(self, **keeps: float) -> None:
        self.core = ForwarderCore("weather", FORWARDER, history=ForwarderHistory(**keeps))  # type: ignore[arg-type]  # limits
        self.tokens = count(1)
        self.now = 0.0
        for publisher in (PUBLISHER, OTHER):
            tell = Tell(News.FOUND, "publisher/weather", publisher, ENDPOINT)
            self.core.hear(tell, 0.0)
            self.core.flush(0.0)
            [source] = [each for each in self.core.sources if each.publisher == publisher]
            fields = {"token": source.token, "waits": False}
            answer = publication.to_subscriber(wire.WELCOME, publisher, FORWARDER, fields)
            self.core.receive(source.peer, answer, 0.0)
        for frames in (enters(), hello(target=FORWARDER)):
            self.core.receive(EVERY_PEER, frames, 0.0)
            self.core.flush(0.0)

    def passes(self, frames: Frames, publisher: int = PUBLISHER) -> None:
        [source] = [each for each in self.core.sources if each.publisher == publisher]
        self.core.receive(source.peer, frames, self.now)
        self.core.check()

    def asked(self, kind: int, meta: object) -> Packet:
        frames = publication.to_publisher(kind, SUBSCRIBER, FORWARDER, meta)
        [effect] = self.core.receive(EVERY_PEER, frames, self.now)
        assert isinstance(effect, Send)
        return publication.read(effect.frames)[1]

    def page(self, *wants: Want) -> tuple[list[Entry], list[object]]:
        ask = Ask(next(self.tokens), 100, 10_000, [*wants])
        return history.read_page(self.asked(wire.RECOVER, history.ask_meta(ask)))[1:]

    def heads(self, prefix: str = "", after: int = 0) -> history.Heads:
        meta = history.heads_ask_meta(next(self.tokens), [prefix.encode()], after)
        return history.read_heads(self.asked(wire.HEADS, meta))


def test_publishers_of_one_topic_are_told_apart() -> None:
    stand = Stand()
    stand.passes(publish("t", 7, "a", "b"))
    stand.passes(publish("t", 1, "c", source=OTHER), OTHER)
    stand.passes(publish("u", 1, "d"))
    assert stand.heads("t").next == {(PUBLISHER, "t"): 9, (OTHER, "t"): 2}
    entries, bodies = stand.page(Want(OTHER, "t", 1, 2), Want(PUBLISHER, "t", 8, 9))
    assert entries == [
        Entry(OTHER, "t", 1, 1, False, [1, 0]),
        Entry(PUBLISHER, "t", 8, 1, False, [1, 0]),
    ]
    assert bodies == ["c", "b"]


def test_compressed_packets_are_kept_with_all_their_messages() -> None:
    stand = Stand()
    rows = [encode(f"{number} " * 100) for number in range(20)]
    frames = publication.publication(b"t", PUBLISHER, 1, rows, 20, far=True)
    assert wire.unpack(frames, 1).size > 2 * len(frames[0])
    stand.passes(frames)
    assert stand.core.stats()["kept"] == 20
    entries, bodies = stand.page(Want(PUBLISHER, "t", 19, 21))
    assert entries == [Entry(PUBLISHER, "t", 19, 2, False, [2, 0])]
    assert bodies == ["18 " * 100, "19 " * 100]


def test_what_a_forwarder_missed_is_a_gap_in_what_it_keeps() -> None:
    stand = Stand()
    stand.passes(publish("t", 1, "a"))
    stand.passes(publish("t", 4, "d"))
    entries, bodies = stand.page(Want(PUBLISHER, "t", 1, 5))
    assert [entry[2:4] for entry in entries] == [(1, 1), (4, 1)] and bodies == ["a", "d"]
    assert stand.page(Want(PUBLISHER, "t", 2, 4))[0] == [Entry(PUBLISHER, "t", 4, 0, False, [])]


def test_what_has_not_come_yet_is_said_to_come() -> None:
    stand = Stand()
    stand.passes(publish("t", 1, "a"))
    assert stand.page(Want(PUBLISHER, "t", 2, 9))[0] == [Entry(PUBLISHER, "t", 2, 0, False, [])]


def test_a_topic_that_is_not_known_may_come_for_a_while() -> None:
    stand = Stand()
    want = Want(0xD, "t", 5, 9)
    assert stand.page(want)[0] == [Entry(0xD, "t", 1, 0, False, [])]
    stand.now = RETURN_S
    assert stand.page(want)[0] == [Entry(0xD, "t", 9, 0, False, [])]


def test_old_messages_that_come_again_are_not_kept_again() -> None:
    stand = Stand()
    stand.passes(publish("t", 1, "a", "b"))
    stand.passes(publish("t", 1, "a"))
    stand.passes(publish("t", 2, "b", "c"))
    entries, bodies = stand.page(Want(PUBLISHER, "t", 1, 4))
    assert entries == [Entry(PUBLISHER, "t", 1, 3, False, [2, 0, 1, 0])]
    assert bodies == ["a", "b", "c"]


@pytest.mark.parametrize("wrong", [b"\x92\x01", b"\x91\x01\x02", b"\x91\xd9\xff\x61"])
def test_a_packet_that_has_not_what_it_says_harms_no_page(wrong: bytes) -> None:
    stand = Stand()
    stand.passes(publish("t", 1, "a", source=OTHER), OTHER)
    messages = wrong[0] - 0x90
    [frame] = wire.pack(wire.PUBLISH, PUBLISHER, 0, 1, b"", wrong)
    stand.passes((b"t" + bytes(frame),))
    entries, bodies = stand.page(Want(PUBLISHER, "t", 1, 1 + messages), Want(OTHER, "t", 1, 2))
    assert entries == [
        Entry(PUBLISHER, "t", 1 + messages, 0, False, []),
        Entry(OTHER, "t", 1, 1, False, [1, 0]),
    ]  # fmt: skip
    assert bodies == ["a"]


def test_a_packet_that_has_not_what_it_says_and_is_too_long_is_not_kept() -> None:
    stand = Stand(messages=1)
    [frame] = wire.pack(wire.PUBLISH, PUBLISHER, 0, 1, b"", b"\x92\x01")
    stand.passes((b"t" + bytes(frame),))
    assert stand.core.stats()["kept"] == 0 and stand.heads().next == {}
    stand.passes(publish("t", 3, "c"))
    assert stand.page(Want(PUBLISHER, "t", 1, 4))[1] == ["c"]


def test_a_packet_that_cannot_be_unpacked_passes_and_is_not_kept() -> None:
    stand = Stand()
    head = wire.HEADER.pack(wire.FIRST + wire.PUBLISH, wire.LZ4, 0, PUBLISHER, 0, 1)
    stand.passes((b"t" + head + b"\x00\x00\x10\x00nonsense",))
    stats = stand.core.stats()
    assert (stats["handed_over"], stats["kept"]) == (1, 0) and stats["malformed"]


def test_numbers_of_quiet_topics_are_repeated() -> None:
    stand = Stand()
    stand.passes(publish("t", 1, "a", "b"))
    effects = [*stand.core.tick(HEADS_S), *stand.core.tick(2 * HEADS_S)]
    told = [
        publication.read(effect.frames)[1]
        for effect in effects
        if isinstance(effect, Send) and effect.peer == EVERY_PEER
    ]
    assert [history.read_heads(each).next for each in told] == [{(PUBLISHER, "t"): 3}]


def test_numbers_are_told_by_pages() -> None:
    stand = Stand()
    [source] = [each for each in stand.core.sources if each.publisher == PUBLISHER]
    for number in range(3000):
        stand.core.receive(source.peer, publish(f"topic.{number:020}", 1, number), 0.0)
    told, after, pages = dict[history.Key, int](), 0, 0
    while pages == 0 or after:
        answer = stand.heads(after=after)
        told, after, pages = told | answer.next, answer.after, pages + 1
    assert len(told) == 3000 and 1 < pages < 5


def test_what_is_old_is_not_told_and_its_place_is_passed_over() -> None:
    stand = Stand(age_s=10.0)
    stand.passes(publish("t", 1, "a"))
    stand.now = 20.0
    stand.passes(publish("u", 1, "b"))
    assert stand.heads().next == {(PUBLISHER, "u"): 2}
    assert stand.core.stats()["kept"] == 1
    assert stand.page(Want(PUBLISHER, "t", 1, 2))[0] == [Entry(PUBLISHER, "t", 2, 0, False, [])]


def test_a_forwarder_without_a_history_is_not_asked() -> None:
    core = ForwarderCore("weather", FORWARDER)
    for frames in (enters(), hello(target=FORWARDER)):
        core.receive(EVERY_PEER, frames, 0.0)
    meta = history.heads_ask_meta(1, [b""], 0)
    frames = publication.to_publisher(wire.HEADS, SUBSCRIBER, FORWARDER, meta)
    assert core.receive(EVERY_PEER, frames, 0.0) == []
    assert core.front.malformed == {"unexpected": 1}


def test_a_publisher_that_speaks_for_another_is_not_believed() -> None:
    stand = Stand()
    [source] = [each for each in stand.core.sources if each.publisher == PUBLISHER]
    stand.core.backs.of(source).histories.use(source)
    assert source.recovery is not None
    source.recovery.join((b"",))
    heads = history.Heads(0, {(OTHER, "t"): 9}, 0)
    frames = history.heads(PUBLISHER, publication.EVERYBODY, heads)
    stand.core.receive(source.peer, frames, 0.0)
    assert stand.core.malformed == {"heads": 1} and not stand.core.record.origins.by_publisher  # type: ignore[union-attr]  # it has one


def test_messages_are_read_from_packets_of_any_form() -> None:
    raw = publication.raw_publication(b"t", PUBLISHER, 1, b"x" * 5)
    assert publication.messages_of(raw, 1).raw == b"x" * 5
    assert publication.messages_of(history.clear(b"t", PUBLISHER, 1), 1).cleared
    many = publish("t", 1, *range(300))
    found = publication.messages_of(many, 1)
    assert found.messages == 300 and bytes(found.rows) == b"".join(map(encode, range(300)))
    [frame] = wire.pack(wire.PUBLISH, PUBLISHER, 0, 1, b"", b"\xa1x")
    with pytest.raises(Malformed):
        publication.messages_of((b"t" + bytes(frame),), 1)
