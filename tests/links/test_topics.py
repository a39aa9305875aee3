"""What every link promises where one publishes to all who connect, by topic."""

from __future__ import annotations

import itertools
import select
import time
from collections.abc import Callable, Iterator

import pytest
import zmq

from tests.links.stepping import SteppingLink, network
from zmqkit.limits import CREDIT, CREDIT_PACKETS
from zmqkit.links import Link
from zmqkit.links.memory import MemoryLink
from zmqkit.links.profile import Profile, packets_max
from zmqkit.links.zeromq import ZeromqLink
from zmqkit.model import EVERY_PEER, Frames

BOUND_S = 20.0
PACKETS, BYTES = 256, 4 << 20
ANY_PORT = (0, 0)
ANYWHERE = "tcp://127.0.0.1:0"
FAR = b"far"

numbers = itertools.count(1)


class Kind:
    """One kind of link: a publisher's, and its subscribers'."""

    def __init__(self, make: Callable[[Profile], Link], free: Callable[[], str]) -> None:
        self._make = make
        self._free = free
        self._links: list[Link] = []

    def publisher(self, *, credit: bool = False) -> tuple[Link, str]:
        """A link that publishes, and where."""
        link = self._kept(Profile.TOPICS_WITH_CREDIT if credit else Profile.TOPICS)
        return link, link.bind(self._free(), ANY_PORT)

    def subscriber(self, endpoint: str, *prefixes: bytes) -> Link:
        """A link with a connection and these subscriptions; `subscribed` waits for them."""
        link = self._kept(Profile.TOPICS)
        link.connect(FAR, endpoint)
        for prefix in prefixes:
            assert link.send(FAR, (b"\x01" + prefix,))
        return link

    def close_all(self) -> None:
        for link in self._links:
            link.close(0)

    def _kept(self, profile: Profile) -> Link:
        self._links.append(self._make(profile))
        return self._links[-1]


@pytest.fixture(params=["zeromq", "memory", "simulated"])
def kind(request: pytest.FixtureRequest) -> Iterator[Kind]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()

    def memory(profile: Profile) -> Link:
        return MemoryLink(next(numbers), topics=True, packets_max=packets_max(profile))

    simulated = network()
    kinds = {
        "zeromq": Kind(lambda profile: ZeromqLink(context, profile), lambda: ANYWHERE),
        "memory": Kind(memory, lambda: f"memory://topics-{next(numbers)}"),
        "simulated": Kind(
            lambda profile: SteppingLink(simulated, profile),
            lambda: f"tcp://127.0.0.1:{next(numbers)}",
        ),
    }
    kind = kinds[request.param]
    yield kind
    kind.close_all()
    context.term()


def received(link: Link, count: int) -> list[bytes]:
    """The next so many messages, their frames joined; waits on the link's descriptor alone."""
    end = time.monotonic() + BOUND_S
    messages: list[bytes] = []
    while len(messages) < count:
        came = link.receive(min(PACKETS, count - len(messages)), BYTES)
        messages += [b"".join(map(bytes, frames)) for _, frames in came]
        if len(messages) < count and not link.pending():
            left_s = max(0.0, end - time.monotonic())
            assert select.select([link.fileno()], [], [], left_s)[0], (
                "the descriptor never told"
            )
    return messages


def rest(link: Link, last: bytes) -> list[bytes]:
    """All messages up to this one."""
    messages = received(link, 1)
    while messages[-1] != last:
        messages += received(link, 1)
    return messages


def told(link: Link, *expected: bytes) -> None:
    """The publisher is told of these, in any order, and as everybody's."""
    end = time.monotonic() + BOUND_S
    left = sorted(expected)
    while left:
        for peer, [frame] in link.receive(PACKETS, BYTES):
            assert peer == EVERY_PEER
            left.remove(bytes(frame))
        if left and not link.pending():
            left_s = max(0.0, end - time.monotonic())
            assert select.select([link.fileno()], [], [], left_s)[0], f"never told of {left}"


def test_messages_reach_those_who_subscribed_to_their_beginning(kind: Kind) -> None:
    far, endpoint = kind.publisher()
    kitchen = kind.subscriber(endpoint, b"kitchen.", b"end")
    every = kind.subscriber(endpoint, b"")
    told(far, b"\x01kitchen.", b"\x01end", b"\x01")
    for topic in (b"kitchen.lux", b"kitchen", b"hall", b"kitchen.", b"end"):
        assert far.send(EVERY_PEER, (topic,))
    assert rest(kitchen, b"end") == [b"kitchen.lux", b"kitchen.", b"end"]
    assert len(rest(every, b"end")) == 5


def test_overlapping_subscriptions_give_each_message_once(kind: Kind) -> None:
    far, endpoint = kind.publisher()
    near = kind.subscriber(endpoint, b"a", b"ab", b"")
    told(far, b"\x01a", b"\x01ab", b"\x01")
    for topic in (b"abc", b"end"):
        assert far.send(EVERY_PEER, (topic,))
    assert rest(near, b"end") == [b"abc", b"end"]


def test_what_is_private_reaches_that_one_alone(kind: Kind) -> None:
    far, endpoint = kind.publisher()
    first, second = (kind.subscriber(endpoint, name, b"\0all") for name in (b"\0one", b"\0two"))
    told(far, b"\x01\0one", b"\x01\0two", b"\x01\0all")
    for topic in (b"\0one!", b"\0two!", b"\0all!"):
        assert far.send(EVERY_PEER, (topic,))
    assert received(first, 2) == [b"\0one!", b"\0all!"]
    assert received(second, 2) == [b"\0two!", b"\0all!"]


def test_publisher_is_told_once_of_what_many_subscribe_to(kind: Kind) -> None:
    far, endpoint = kind.publisher()
    near = [kind.subscriber(endpoint, b"a", b"\x00%d" % n) for n in range(3)]
    told(far, b"\x01a", *(b"\x01\x00%d" % n for n in range(3)))
    for n, link in enumerate(near):
        link.disconnect(FAR)
        told(far, b"\x00\x00%d" % n, *([b"\x00a"] if n == 2 else []))


def test_end_of_a_subscription_is_told_and_ends_its_messages(kind: Kind) -> None:
    far, endpoint = kind.publisher()
    near = kind.subscriber(endpoint, b"a", b"end")
    told(far, b"\x01a", b"\x01end")
    assert near.send(FAR, (b"\x00a",))
    told(far, b"\x00a")
    for topic in (b"a", b"end"):
        assert far.send(EVERY_PEER, (topic,))
    assert received(near, 1) == [b"end"]


def test_subscriptions_and_talk_arrive_in_order(kind: Kind) -> None:
    far, endpoint = kind.publisher()
    near = kind.subscriber(endpoint, b"a", b"b")
    for frame in (b"\x02hello", b"\x01c", b"\x02", b"\x00c", b"\x02bye"):
        assert near.send(FAR, (frame,))
    assert received(far, 7) == [
        b"\x01a", b"\x01b", b"\x02hello", b"\x01c", b"\x02", b"\x00c", b"\x02bye",
    ]  # fmt: skip


def test_what_a_subscriber_says_is_in_place_before_the_publisher_reads_it(kind: Kind) -> None:
    far, endpoint = kind.publisher()
    near = kind.subscriber(endpoint, *(b"t%d." % n for n in range(300)))
    assert near.send(FAR, (b"\x02hello",))
    rest(far, b"\x02hello")
    for n in range(300):
        assert far.send(EVERY_PEER, (b"t%d.x" % n,))
    assert received(near, 300) == [b"t%d.x" % n for n in range(300)]


def test_end_of_a_connection_ends_what_it_subscribed_to(kind: Kind) -> None:
    far, endpoint = kind.publisher()
    near = kind.subscriber(endpoint, b"a", b"\0one")
    other = kind.subscriber(endpoint, b"b")
    told(far, b"\x01a", b"\x01\0one", b"\x01b")
    near.disconnect(FAR)
    told(far, b"\x00a", b"\x00\0one")
    for topic in (b"a", b"b"):
        assert far.send(EVERY_PEER, (topic,))
    assert received(other, 1) == [b"b"]
    assert near.receive(PACKETS, BYTES) == []


def test_end_of_a_link_ends_what_it_subscribed_to(kind: Kind) -> None:
    far, endpoint = kind.publisher()
    near = kind.subscriber(endpoint, b"a")
    told(far, b"\x01a")
    kind._links.remove(near)
    near.close(0)
    told(far, b"\x00a")


def test_end_is_told_even_when_the_publisher_has_much_to_read(kind: Kind) -> None:
    far, endpoint = kind.publisher()
    near = kind.subscriber(endpoint, b"\0one")
    told(far, b"\x01\0one")
    other = kind.subscriber(endpoint)
    for _ in range(5 * CREDIT):
        other.send(FAR, (b"\x02talk",))
    near.disconnect(FAR)
    rest(far, b"\x00\0one")


def test_connection_that_is_made_anew_has_no_subscription(kind: Kind) -> None:
    far, endpoint = kind.publisher()
    near = kind.subscriber(endpoint, b"a")
    told(far, b"\x01a")
    near.connect(FAR, endpoint)
    told(far, b"\x00a")
    assert near.send(FAR, (b"\x01b",))
    told(far, b"\x01b")
    for topic in (b"a", b"b"):
        assert far.send(EVERY_PEER, (topic,))
    assert received(near, 1) == [b"b"]


def test_publishing_to_nobody_is_done(kind: Kind) -> None:
    far, endpoint = kind.publisher()
    assert far.send(EVERY_PEER, (b"t",))
    kind.subscriber(endpoint)
    assert far.send(EVERY_PEER, (b"t",))


@pytest.mark.parametrize("frames", [(b"t\0head", b"x" * (1 << 20)), (b"t\0", b"")])
def test_a_second_frame_arrives_with_the_first(kind: Kind, frames: Frames) -> None:
    far, endpoint = kind.publisher()
    near = kind.subscriber(endpoint, b"t")
    told(far, b"\x01t")
    assert far.send(EVERY_PEER, frames)
    assert received(near, 1) == [b"".join(frames)]


def numbered(number: int, size: int = 8000) -> Frames:
    return (b"t" + number.to_bytes(4, "big") + bytes(size),)


def numbers_in(messages: list[bytes]) -> list[int]:
    return [int.from_bytes(message[1:5], "big") for message in messages]


def test_who_sends_much_does_not_keep_the_others_from_being_read(kind: Kind) -> None:
    places = [kind.publisher() for _ in range(3)]
    near = kind.subscriber(places[0][1], b"")
    for number, (_, endpoint) in enumerate(places):
        near.connect(b"%d" % number, endpoint)
        assert near.send(b"%d" % number, (b"\x01",))
    for far, _ in places:
        told(far, b"\x01")
    for _ in range(1000):
        for far, _ in places:
            assert far.send(EVERY_PEER, (b"t",))
    for port in getattr(near, "_peers", {}).values():  # of each something has arrived
        while not port.get(zmq.EVENTS) & zmq.POLLIN:
            assert select.select([port.fd], [], [], BOUND_S)[0]
    for _ in range(3):
        heard: set[bytes] = set()
        for _ in range(20):
            received_from(near, heard)
        assert heard >= {b"0", b"1", b"2"}


def received_from(link: Link, heard: set[bytes]) -> None:
    """Look once, as a driver does, for a few messages; and whom they are from."""
    if not link.pending():
        assert select.select([link.fileno()], [], [], BOUND_S)[0]
    heard.update(peer for peer, _ in link.receive(10, BYTES))


@pytest.mark.slow
def test_full_subscriber_loses_what_is_beyond_its_mark_and_stops_nobody(kind: Kind) -> None:
    far, endpoint = kind.publisher()
    slow, quick = kind.subscriber(endpoint, b"t", b"end"), kind.subscriber(endpoint, b"t", b"q")
    told(far, b"\x01q", b"\x01t", b"\x01end")
    count = 10_000
    for first in range(0, count, 100):
        for number in range(first, first + 100):
            assert far.send(EVERY_PEER, numbered(number))
        assert numbers_in(received(quick, 100)) == list(range(first, first + 100))
    late: list[bytes] = []
    while not late or late[-1] != b"end":
        assert far.send(EVERY_PEER, (b"end",))
        late += received(slow, 1)
    taken = numbers_in([message for message in late if message != b"end"])
    assert taken == sorted(set(taken)) and CREDIT < len(taken) < count


@pytest.mark.slow
def test_a_window_of_messages_is_never_dropped_where_credit_is_given(kind: Kind) -> None:
    far, endpoint = kind.publisher(credit=True)
    near = kind.subscriber(endpoint, b"t")
    told(far, b"\x01t")
    count = CREDIT_PACKETS
    for number in range(count):
        assert far.send(EVERY_PEER, numbered(number, 100))
    assert numbers_in(received(near, count)) == list(range(count))


@pytest.mark.slow
def test_a_window_is_never_dropped_though_the_reader_was_not_heard_of_for_long(
    kind: Kind,
) -> None:
    far, endpoint = kind.publisher(credit=True)
    near = kind.subscriber(endpoint, b"t")
    told(far, b"\x01t")
    taken = CREDIT_PACKETS // 5  # of which the sender hears only after half of its mark
    for first in range(0, taken, 250):
        for number in range(first, first + 250):
            assert far.send(EVERY_PEER, numbered(number))
        assert len(received(near, 250)) == 250
    for number in range(CREDIT_PACKETS):
        assert far.send(EVERY_PEER, numbered(number, 30_000))  # more than TCP holds
    assert numbers_in(received(near, CREDIT_PACKETS)) == list(range(CREDIT_PACKETS))
