"""The forwarder: what passes, who waits for whom, and who is told what."""

from __future__ import annotations

import pytest

from tests.core.topics.publications import (
    ENDPOINT,
    OTHER,
    PUBLISHER,
    SUBSCRIBER,
    bye,
    credit,
    enters,
    hello,
    leaves,
    mark,
    packets,
    publish,
)
from zmqkit.core.effects import Connect, Disconnect, Effect, News, Note, Send, Tell
from zmqkit.core.membership.interests import url_key
from zmqkit.core.topics.forwarder import ForwarderCore
from zmqkit.forwarder_limits import ForwarderLimits
from zmqkit.limits import READS_S
from zmqkit.model import EVERY_PEER, Frames, PeerId
from zmqkit.wire import history, publication
from zmqkit.wire import packet as wire
from zmqkit.wire.packet import Packet

FORWARDER, UPSTREAM = 0xF, 0xF1
KEY = "publisher/weather"
URL, URL_2 = "tcp://10.0.0.1:5556", "tcp://10.0.0.2:5556"
LIMITS = ForwarderLimits(window_bytes=1000, window_messages=10, window_packets=10, stall_s=5.0)
BIG = bytes(2000)
"""A body that fills the window."""


def forwarder(limits: ForwarderLimits = LIMITS, *connect: str) -> ForwarderCore:
    return ForwarderCore("weather", FORWARDER, limits, connect=connect)


def peer_of(core: ForwarderCore, publisher: int = PUBLISHER) -> PeerId:
    [peer] = [each.peer for each in core.sources if each.publisher == publisher]
    return peer


def take(core: ForwarderCore, peer: PeerId, frames: Frames, now: float = 0.0) -> list[Effect]:
    """Have a packet arrive, and the turn end."""
    effects = core.receive(peer, frames, now)
    while more := core.flush(now):
        effects += more
    core.check()
    return effects


def greet(
    core: ForwarderCore, peer: PeerId, publisher: int = PUBLISHER, **fields: object
) -> list[Effect]:
    """Have a publisher answer the last HELLO of the forwarder."""
    [source] = [each for each in core.sources if each.peer == peer]
    said = {"token": source.token, "waits": False, **fields}
    return take(core, peer, publication.to_subscriber(wire.WELCOME, publisher, FORWARDER, said))


def meet(core: ForwarderCore, publisher: int = PUBLISHER, *, waits: bool = False) -> PeerId:
    """Find a publisher, which answers at once; return how its connection is called."""
    core.hear(Tell(News.FOUND, KEY, publisher, ENDPOINT), 0.0)
    peer = peer_of(core, publisher)
    core.flush(0.0)
    greet(core, peer, publisher, waits=waits)
    return peer


def join(core: ForwarderCore, subscriber: int = SUBSCRIBER, *prefixes: bytes) -> None:
    """Have a subscriber join, whose subscriptions each publisher says to be in place."""
    for prefix in prefixes or (b"",):
        take(core, EVERY_PEER, (publication.SUBSCRIBE + prefix,))
    take(core, EVERY_PEER, enters(subscriber))
    take(core, EVERY_PEER, hello(source=subscriber, target=FORWARDER))
    for source in core.sources:
        greet(core, source.peer, source.publisher, waits=source.waits)


def upward(effects: list[Effect], peer: PeerId) -> list[bytes | Packet]:
    """What a publisher is sent: subscriptions as they are, and packets."""
    sent: list[bytes | Packet] = []
    for effect in effects:
        if isinstance(effect, Send) and effect.peer == peer:
            frame = bytes(effect.frames[0])
            talks = frame[:1] == publication.TALK
            sent.append(wire.unpack((frame[1:],)) if talks else frame)
    return sent


def downward(effects: list[Effect]) -> list[Effect]:
    return [each for each in effects if isinstance(each, Send) and each.peer == EVERY_PEER]


def credits(effects: list[Effect], peer: PeerId) -> list[object]:
    return [p.meta for p in upward(effects, peer) if isinstance(p, Packet) and p.kind == 18]


def last_mark(core: ForwarderCore) -> int:
    return core.front.audience.mark


@pytest.fixture
def core() -> ForwarderCore:
    """A forwarder with a publisher that waits, and a subscriber that has joined."""
    core = forwarder()
    meet(core, waits=True)
    join(core)
    return core


def test_packets_pass_whole(core: ForwarderCore) -> None:
    raw = publication.raw_publication(b"t", PUBLISHER, 3, bytes(70_000))
    for frames in (publish("t", 1, "a", "b"), raw):
        [effect] = downward(take(core, peer_of(core), frames))[:1]
        assert isinstance(effect, Send) and effect.frames is frames
    assert (core.stats()["received"], core.stats()["handed_over"]) == (2, 2)


def test_clearings_pass_and_numbers_of_quiet_topics_do_not(core: ForwarderCore) -> None:
    clear = history.clear(b"t", PUBLISHER, 5)
    assert downward(take(core, peer_of(core), clear))[0] == Send(EVERY_PEER, clear)
    told = history.heads(
        PUBLISHER, publication.EVERYBODY, history.Heads(0, {(PUBLISHER, "t"): 6}, 0)
    )
    assert take(core, peer_of(core), told) == []
    assert core.stats()["received"] == 1 and not core.malformed


def test_a_wrong_body_is_not_looked_at(core: ForwarderCore) -> None:
    [frame] = publish("t", 1, "abc")
    frames = (frame[:-2],)
    assert Send(EVERY_PEER, frames) in take(core, peer_of(core), frames)


def test_it_subscribes_to_what_its_subscribers_want() -> None:
    core = forwarder()
    peer = meet(core)
    effects = take(core, EVERY_PEER, (b"\x01kitchen.",))
    subscribed, said = upward(effects, peer)
    assert subscribed == b"\x01kitchen." and isinstance(said, Packet)
    assert said.kind == wire.HELLO
    assert upward(take(core, EVERY_PEER, (b"\x00kitchen.",)), peer) == [b"\x00kitchen."]


def test_a_publisher_that_comes_later_is_subscribed_to_the_same(core: ForwarderCore) -> None:
    effects = core.hear(Tell(News.FOUND, KEY, OTHER, ENDPOINT), 1.0)
    assert Connect(peer_of(core, OTHER), ENDPOINT) in effects
    assert upward(effects, peer_of(core, OTHER))[0] == b"\x01"


def test_a_subscriber_is_welcome_once_its_subscriptions_are_in_place() -> None:
    core = forwarder()
    one, two = meet(core), meet(core, OTHER)
    take(core, EVERY_PEER, (b"\x01t",))
    take(core, EVERY_PEER, enters())
    effects = take(core, EVERY_PEER, hello(7, target=FORWARDER))
    assert downward(effects) == []
    assert downward(greet(core, one)) == []
    [(_, packet)] = packets(downward(greet(core, two, OTHER)))
    assert (packet.kind, packet.target) == (wire.WELCOME, SUBSCRIBER)
    assert packet.meta == {"token": 7, "waits": True, "forwards": [FORWARDER]}


@pytest.mark.parametrize("news", [News.LOST, News.GONE])
def test_nobody_waits_for_a_publisher_that_is_lost(news: News) -> None:
    core = forwarder()
    meet(core)
    take(core, EVERY_PEER, enters())
    assert not downward(take(core, EVERY_PEER, hello(7, target=FORWARDER)))
    effects = core.hear(Tell(news, KEY, PUBLISHER), 0.5)
    assert downward(effects + core.tick(1.0))


def test_a_publisher_that_does_not_answer_holds_up_nobody_for_long() -> None:
    core = forwarder()
    meet(core)
    take(core, EVERY_PEER, enters())
    take(core, EVERY_PEER, hello(7, target=FORWARDER))
    assert core.deadline() <= 1.0
    assert not downward(core.tick(0.9)) and downward(core.tick(1.0))


def test_a_subscriber_waits_for_a_first_publisher_but_not_for_long() -> None:
    core = forwarder()
    for subscriber in (1, 2):
        take(core, EVERY_PEER, enters(subscriber))
    assert not downward(take(core, EVERY_PEER, hello(7, source=1, target=FORWARDER)))
    assert downward(core.tick(1.0))
    assert not downward(take(core, EVERY_PEER, hello(7, source=2, target=FORWARDER), 2.0))
    core.hear(Tell(News.FOUND, KEY, PUBLISHER, ENDPOINT), 2.0)
    assert downward(greet(core, peer_of(core)))


def test_publishers_are_told_of_how_many_subscribers_it_speaks() -> None:
    core = forwarder()
    peer = meet(core)
    told: list[object] = []
    for frames in (
        enters(1), hello(source=1, target=FORWARDER),
        enters(2), hello(source=2, target=FORWARDER), leaves(1),
    ):  # fmt: skip
        for each in upward(take(core, EVERY_PEER, frames), peer):
            assert isinstance(each, Packet)
            told.append(wire.fields_of(each)["subscribers"])
    assert told == [1, 2, 1]


def test_a_mark_is_answered_when_the_slowest_has_consumed_all_before_it(
    core: ForwarderCore,
) -> None:
    join(core, 2, b"t")
    peer = peer_of(core)
    take(core, peer, publish("t", 1, "a"))
    asked = take(core, peer, mark(4))
    assert [p.kind for _, p in packets(downward(asked))] == [wire.MARK]
    answer = credit(last_mark(core), source=1, target=FORWARDER)
    assert credits(take(core, EVERY_PEER, answer), peer) == []
    answer = credit(last_mark(core), source=2, target=FORWARDER)
    assert credits(take(core, EVERY_PEER, answer), peer) == [4]


def test_many_subscribers_are_asked_for_several_publishers_at_once() -> None:
    core = forwarder(ForwarderLimits())
    meet(core, waits=True)
    for subscriber in range(1, 21):
        join(core, subscriber)
    other = meet(core, OTHER, waits=True)
    for publisher, peer in ((PUBLISHER, peer_of(core)), (OTHER, other)):
        take(core, peer, publish("t", 1, "a", source=publisher))
        assert not downward(take(core, peer, mark(1, source=publisher), 1.0))
    assert core.deadline() == 1.005
    assert [p.kind for _, p in packets(downward(core.tick(1.005)))] == [wire.MARK]
    effects: list[Effect] = []
    for subscriber in range(1, 21):
        answer = credit(last_mark(core), source=subscriber, target=FORWARDER)
        effects += take(core, EVERY_PEER, answer, 2.0)
    assert (credits(effects, peer_of(core)), credits(effects, other)) == ([1], [1])


def test_a_mark_behind_which_all_is_consumed_is_answered_at_once(core: ForwarderCore) -> None:
    assert credits(take(core, peer_of(core), mark(1)), peer_of(core)) == [1]


def test_a_mark_that_is_repeated_is_asked_for_again(core: ForwarderCore) -> None:
    take(core, peer_of(core), publish("t", 1, "a"))
    first = downward(take(core, peer_of(core), mark(1)))
    assert downward(take(core, peer_of(core), mark(1))) == first


def test_a_subscriber_that_leaves_holds_up_no_mark(core: ForwarderCore) -> None:
    peer = peer_of(core)
    take(core, peer, publish("t", 1, "a"))
    take(core, peer, mark(1))
    assert credits(take(core, EVERY_PEER, leaves()), peer) == [1]


def test_who_reads_nothing_is_excluded_and_holds_up_no_mark(core: ForwarderCore) -> None:
    peer = peer_of(core)
    take(core, peer, publish("t", 1, BIG))
    take(core, peer, mark(1))
    effects = core.tick(5.0)
    assert [e.event for e in effects if isinstance(e, Note)] == ["subscriber-excluded"]
    assert credits(effects, peer) == [1]


def test_it_says_that_it_reads_while_marks_wait(core: ForwarderCore) -> None:
    peer = peer_of(core)
    take(core, peer, publish("t", 1, "a"))
    take(core, peer, mark(1))
    assert core.deadline() <= READS_S
    assert credits(core.tick(READS_S), peer) == [0]
    assert credits(core.tick(2 * READS_S), peer) == [0]


def test_what_there_is_no_room_for_is_held_and_keeps_its_order(core: ForwarderCore) -> None:
    peer = peer_of(core)
    take(core, peer, publish("t", 1, BIG))
    later = [publish("t", 2, "b"), publish("t", 3, "c")]
    for frames in later:
        assert not downward(take(core, peer, frames))
    assert credits(take(core, peer, mark(1)), peer) == []
    assert core.stats()["held"] == 2
    answer = credit(last_mark(core), target=FORWARDER)
    sent = downward(take(core, EVERY_PEER, answer))
    assert sent[:2] == [Send(EVERY_PEER, frames) for frames in later]
    assert [p.kind for _, p in packets(sent[2:])] == [wire.MARK]
    answer = credit(last_mark(core), target=FORWARDER)
    assert credits(take(core, EVERY_PEER, answer), peer) == [1]
    assert core.stats()["held"] == 0


def test_what_is_held_is_bounded() -> None:
    core = forwarder(
        ForwarderLimits(window_bytes=1000, window_messages=10, held_bytes_max=1000)
    )
    meet(core, waits=True)
    join(core)
    take(core, peer_of(core), publish("t", 1, BIG))
    for number in range(2, 5):
        take(core, peer_of(core), publish("t", number, "b"))
    assert (core.stats()["held"], core.stats()["dropped"]) == (1, {"full": 2})


def test_publishers_that_do_not_wait_are_held_up_by_nobody(core: ForwarderCore) -> None:
    other = meet(core, OTHER)
    take(core, peer_of(core), publish("t", 1, BIG))
    frames = publish("t", 1, "b", source=OTHER)
    assert Send(EVERY_PEER, frames) in take(core, other, frames)


def test_a_publisher_that_leaves_is_told_of(core: ForwarderCore) -> None:
    peer, frames = peer_of(core), bye({"t": 5})
    assert take(core, peer, frames) == [Send(EVERY_PEER, frames), Disconnect(peer)]


def test_what_a_publisher_that_leaves_had_sent_comes_before_its_end(
    core: ForwarderCore,
) -> None:
    peer, frames, end = peer_of(core), publish("t", 2, "b"), bye({"t": 3})
    take(core, peer, publish("t", 1, BIG))
    take(core, peer, frames)
    assert take(core, peer, end) == [Disconnect(peer)]
    sent = downward(take(core, EVERY_PEER, credit(last_mark(core), target=FORWARDER)))
    assert [each for each in sent if each.frames in (frames, end)] == sent[:2]
    assert sent[:2] == [Send(EVERY_PEER, frames), Send(EVERY_PEER, end)]
    assert (core.stats()["received"], core.stats()["handed_over"]) == (2, 2)


def test_a_publisher_that_leaves_takes_no_room_for_what_others_sent(
    core: ForwarderCore,
) -> None:
    peer, other = peer_of(core), meet(core, OTHER, waits=True)
    take(core, peer, publish("t", 1, BIG))
    for number in range(1, 50):
        take(core, other, publish("u", number, "b", source=OTHER))
    take(core, peer, publish("t", 2, "b"))
    assert take(core, peer, bye({"t": 3})) == [Disconnect(peer)]
    assert core.stats()["held"] == 50


def test_the_end_of_a_publisher_is_held_only_where_there_is_room() -> None:
    core = forwarder(ForwarderLimits(window_bytes=1000, window_messages=10, held_bytes_max=600))
    peer = meet(core, waits=True)
    join(core)
    take(core, peer, publish("t", 1, BIG))
    take(core, peer, publish("t", 2, "b"))
    assert take(core, peer, bye({"t": 3})) == [Disconnect(peer)]
    sent = downward(take(core, EVERY_PEER, credit(last_mark(core), target=FORWARDER)))
    assert [p.kind for _, p in packets(sent)] == [wire.PUBLISH]


def test_so_many_marks_of_a_publisher_are_taken_and_no_more(core: ForwarderCore) -> None:
    peer = peer_of(core)
    take(core, peer, publish("t", 1, BIG))
    for number in range(1, 100):
        take(core, peer, mark(number))
    take(core, peer, publish("t", 2, "b"))
    answer = credit(last_mark(core), target=FORWARDER)
    assert credits(take(core, EVERY_PEER, answer), peer) == [*range(1, 65)]
    take(core, peer, mark(99))
    answer = credit(last_mark(core), target=FORWARDER)
    assert credits(take(core, EVERY_PEER, answer), peer) == [99]


def test_it_leaves_behind_all_that_it_holds(core: ForwarderCore) -> None:
    frames = publish("t", 2, "b")
    take(core, peer_of(core), publish("t", 1, BIG))
    take(core, peer_of(core), frames)
    first, *_, last = core.leave(1.0)
    assert first == Send(EVERY_PEER, frames)
    assert isinstance(last, Send) and packets([last])[0][1].kind == wire.BYE
    assert Disconnect(peer_of(core)) in core.close()
    core.check()


def test_forwarders_that_are_found_are_not_used() -> None:
    core = forwarder()
    assert core.hear(Tell(News.FOUND, KEY, UPSTREAM, ENDPOINT, is_device=True), 0.0) == []
    assert core.sources == []


def test_what_another_source_says_is_not_passed_on(core: ForwarderCore) -> None:
    frames = publish("t", 1, "a", source=OTHER)
    assert Send(EVERY_PEER, frames) not in take(core, peer_of(core), frames)
    assert core.stats()["malformed"] == {"source": 1}


# At URLs


def chained(*urls: str) -> ForwarderCore:
    """A forwarder behind others, with a subscriber that has joined."""
    core = forwarder(LIMITS, *urls)
    for number, url in enumerate(urls):
        core.hear(Tell(News.FOUND, url_key("publisher", url), 0, url), 0.0)
        peer = core.backs.by_key[url_key("publisher", url)].all[0].peer
        fields = {"token": 1, "waits": True, "forwards": [UPSTREAM + number]}
        said = publication.to_subscriber(wire.WELCOME, UPSTREAM + number, FORWARDER, fields)
        take(core, peer, said)
    take(core, EVERY_PEER, (b"\x01",))
    take(core, EVERY_PEER, enters())
    take(core, EVERY_PEER, hello(target=FORWARDER))
    for number, url in enumerate(urls):
        peer = core.backs.by_key[url_key("publisher", url)].all[0].peer
        greet(core, peer, UPSTREAM + number, waits=True, forwards=[UPSTREAM + number])
    return core


def test_a_forwarder_behind_another_passes_on_what_that_passes_on() -> None:
    core = chained(URL)
    peer = core.backs.by_key[url_key("publisher", URL)].all[0].peer
    frames = publish("t", 1, "a")
    assert Send(EVERY_PEER, frames) in take(core, peer, frames)
    assert take(core, peer, bye({"t": 2})) == [Send(EVERY_PEER, bye({"t": 2}))]


def test_the_end_of_a_forwarder_is_told_to_nobody() -> None:
    core = chained(URL)
    peer = core.backs.by_key[url_key("publisher", URL)].all[0].peer
    assert take(core, peer, bye({}, source=UPSTREAM)) == [Disconnect(peer)]


def test_what_comes_two_ways_leaves_once() -> None:
    core = chained(URL, URL_2)
    one, two = (
        core.backs.by_key[url_key("publisher", url)].all[0].peer for url in (URL, URL_2)
    )
    frames = publish("t", 1, "a", "b")
    assert Send(EVERY_PEER, frames) in take(core, one, frames)
    assert not downward(take(core, two, frames))
    later = publish("t", 3, "c")
    assert Send(EVERY_PEER, later) in take(core, two, later)
    assert not downward(take(core, one, later))
    assert core.stats()["dropped"] == {"copy": 2}


def test_it_tells_which_forwarders_are_behind_it() -> None:
    core = chained(URL)
    [(_, packet)] = packets(downward(take(core, EVERY_PEER, enters(2))))
    assert wire.fields_of(packet)["forwards"] == [FORWARDER, UPSTREAM]


def test_who_is_behind_itself_uses_no_such_forwarder() -> None:
    core = chained(URL)
    peer = core.backs.by_key[url_key("publisher", URL)].all[0].peer
    effects = greet(core, peer, UPSTREAM, forwards=[UPSTREAM, FORWARDER])
    [note] = [each for each in effects if isinstance(each, Note)]
    assert note.event == "forwarders-in-a-circle" and Disconnect(peer) in effects
    assert core.sources == []
    assert core.hear(Tell(News.FOUND, url_key("publisher", URL), UPSTREAM, URL), 1.0) == []
    core.check()


# Limits


def test_beyond_its_prefixes_it_subscribes_to_everything() -> None:
    core = forwarder(ForwarderLimits(prefixes_max=2))
    peer = meet(core)

    def sent(frame: bytes) -> list[bytes | Packet]:
        told = upward(take(core, EVERY_PEER, (frame,)), peer)
        return [each for each in told if isinstance(each, bytes)]

    assert [sent(b"\x01a"), sent(b"\x01b")] == [[b"\x01a"], [b"\x01b"]]
    assert [sent(b"\x01c"), sent(b"\x01d")] == [[b"\x01"], [b"\x01"]]
    assert [sent(b"\x00a"), sent(b"\x00c")] == [[b"\x00a"], []]
    assert [sent(b"\x01"), sent(b"\x00d")] == [[b"\x01"], []]
    assert sent(b"\x00") == [b"\x00"]


def test_packets_before_a_welcome_are_passed_over() -> None:
    core = forwarder()
    core.hear(Tell(News.FOUND, KEY, PUBLISHER, ENDPOINT), 0.0)
    assert not downward(take(core, peer_of(core), publish("t", 1, "a")))
    assert core.stats()["received"] == 0


def test_a_connection_that_lacks_a_subscription_is_made_anew(core: ForwarderCore) -> None:
    peer = peer_of(core)
    take(core, EVERY_PEER, (b"\x01t",))
    core.unsent(peer, (b"\x01t",), 0.0)
    assert Connect(peer, ENDPOINT) in core.tick(0.5)
