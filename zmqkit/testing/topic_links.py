"""What every link promises where one publishes to all who connect, by topic: a rule for each.

Use them as those of `zmqkit.testing.links`, with a `TopicKind`, whose links are made for a
profile of `zmqkit.links.profile`.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable

from zmqkit.limits import CREDIT, CREDIT_PACKETS
from zmqkit.links import Link
from zmqkit.links.profile import Profile
from zmqkit.model import EVERY_PEER, Frames
from zmqkit.testing.links import ANY_PORT, BOUND_S, BYTES, PACKETS, name_of

__all__ = ["LONG_RULES", "RULES", "TopicKind", "TopicRule", "name_of", "prove"]

FAR = b"far"


def at_once(link: Link) -> None:
    """Wait for nothing: what was sent is there."""


class TopicKind:
    """One kind of link that publishes by topic: makes them, and knows a free address."""

    def __init__(
        self,
        make: Callable[[Profile], Link],
        free: Callable[[], str],
        settle: Callable[[Link], None] = at_once,
    ) -> None:
        """make: returns a new link of a profile. free: returns an address, another each time.

        settle: waits until something has come on each connection of a link, if that takes time.
        """
        self.settle = settle
        self._make = make
        self._free = free
        self._links: list[Link] = []

    def publisher(self, *, credit: bool = False) -> tuple[Link, str]:
        """Make a link that publishes; return it, and where."""
        link = self._kept(Profile.TOPICS_WITH_CREDIT if credit else Profile.TOPICS)
        return link, link.bind(self._free(), ANY_PORT)

    def subscriber(self, endpoint: str, *prefixes: bytes) -> Link:
        """Make a link with a connection and these subscriptions."""
        link = self._kept(Profile.TOPICS)
        link.connect(FAR, endpoint)
        for prefix in prefixes:
            assert link.send(FAR, (b"\x01" + prefix,))
        return link

    def close(self, link: Link) -> None:
        """Close one of the links."""
        self._links.remove(link)
        link.close(0)

    def close_all(self) -> None:
        """Close all links that are left."""
        for link in list(self._links):
            self.close(link)

    def _kept(self, profile: Profile) -> Link:
        self._links.append(self._make(profile))
        return self._links[-1]


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


def messages_reach_those_who_subscribed_to_their_beginning(kind: TopicKind) -> None:
    """Messages reach those who subscribed to their beginning."""
    far, endpoint = kind.publisher()
    kitchen = kind.subscriber(endpoint, b"kitchen.", b"end")
    every = kind.subscriber(endpoint, b"")
    told(far, b"\x01kitchen.", b"\x01end", b"\x01")
    for topic in (b"kitchen.lux", b"kitchen", b"hall", b"kitchen.", b"end"):
        assert far.send(EVERY_PEER, (topic,))
    assert rest(kitchen, b"end") == [b"kitchen.lux", b"kitchen.", b"end"]
    assert len(rest(every, b"end")) == 5


def overlapping_subscriptions_give_each_message_once(kind: TopicKind) -> None:
    """Overlapping subscriptions give each message once."""
    far, endpoint = kind.publisher()
    near = kind.subscriber(endpoint, b"a", b"ab", b"")
    told(far, b"\x01a", b"\x01ab", b"\x01")
    for topic in (b"abc", b"end"):
        assert far.send(EVERY_PEER, (topic,))
    assert rest(near, b"end") == [b"abc", b"end"]


def what_is_private_reaches_that_one_alone(kind: TopicKind) -> None:
    """What is private reaches that one alone."""
    far, endpoint = kind.publisher()
    first, second = (kind.subscriber(endpoint, name, b"\0all") for name in (b"\0one", b"\0two"))
    told(far, b"\x01\0one", b"\x01\0two", b"\x01\0all")
    for topic in (b"\0one!", b"\0two!", b"\0all!"):
        assert far.send(EVERY_PEER, (topic,))
    assert received(first, 2) == [b"\0one!", b"\0all!"]
    assert received(second, 2) == [b"\0two!", b"\0all!"]


def publisher_is_told_once_of_what_many_subscribe_to(kind: TopicKind) -> None:
    """Publisher is told once of what many subscribe to."""
    far, endpoint = kind.publisher()
    near = [kind.subscriber(endpoint, b"a", b"\x00%d" % n) for n in range(3)]
    told(far, b"\x01a", *(b"\x01\x00%d" % n for n in range(3)))
    for n, link in enumerate(near):
        link.disconnect(FAR)
        told(far, b"\x00\x00%d" % n, *([b"\x00a"] if n == 2 else []))


def end_of_a_subscription_is_told_and_ends_its_messages(kind: TopicKind) -> None:
    """End of a subscription is told and ends its messages."""
    far, endpoint = kind.publisher()
    near = kind.subscriber(endpoint, b"a", b"end")
    told(far, b"\x01a", b"\x01end")
    assert near.send(FAR, (b"\x00a",))
    told(far, b"\x00a")
    for topic in (b"a", b"end"):
        assert far.send(EVERY_PEER, (topic,))
    assert received(near, 1) == [b"end"]


def subscriptions_and_talk_arrive_in_order(kind: TopicKind) -> None:
    """Subscriptions and talk arrive in order."""
    far, endpoint = kind.publisher()
    near = kind.subscriber(endpoint, b"a", b"b")
    for frame in (b"\x02hello", b"\x01c", b"\x02", b"\x00c", b"\x02bye"):
        assert near.send(FAR, (frame,))
    assert received(far, 7) == [
        b"\x01a", b"\x01b", b"\x02hello", b"\x01c", b"\x02", b"\x00c", b"\x02bye",
    ]  # fmt: skip


def what_a_subscriber_says_is_in_place_before_the_publisher_reads_it(kind: TopicKind) -> None:
    """What a subscriber says is in place before the publisher reads it."""
    far, endpoint = kind.publisher()
    near = kind.subscriber(endpoint, *(b"t%d." % n for n in range(300)))
    assert near.send(FAR, (b"\x02hello",))
    rest(far, b"\x02hello")
    for n in range(300):
        assert far.send(EVERY_PEER, (b"t%d.x" % n,))
    assert received(near, 300) == [b"t%d.x" % n for n in range(300)]


def end_of_a_connection_ends_what_it_subscribed_to(kind: TopicKind) -> None:
    """End of a connection ends what it subscribed to."""
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


def end_of_a_link_ends_what_it_subscribed_to(kind: TopicKind) -> None:
    """End of a link ends what it subscribed to."""
    far, endpoint = kind.publisher()
    near = kind.subscriber(endpoint, b"a")
    told(far, b"\x01a")
    kind.close(near)
    told(far, b"\x00a")


def end_is_told_even_when_the_publisher_has_much_to_read(kind: TopicKind) -> None:
    """End is told even when the publisher has much to read."""
    far, endpoint = kind.publisher()
    near = kind.subscriber(endpoint, b"\0one")
    told(far, b"\x01\0one")
    other = kind.subscriber(endpoint)
    for _ in range(5 * CREDIT):
        other.send(FAR, (b"\x02talk",))
    near.disconnect(FAR)
    rest(far, b"\x00\0one")


def connection_that_is_made_anew_has_no_subscription(kind: TopicKind) -> None:
    """Connection that is made anew has no subscription."""
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


def publishing_to_nobody_is_done(kind: TopicKind) -> None:
    """Publishing to nobody is done."""
    far, endpoint = kind.publisher()
    assert far.send(EVERY_PEER, (b"t",))
    kind.subscriber(endpoint)
    assert far.send(EVERY_PEER, (b"t",))


def a_second_frame_arrives_with_the_first(kind: TopicKind) -> None:
    """A second frame arrives with the first."""
    far, endpoint = kind.publisher()
    near = kind.subscriber(endpoint, b"t")
    told(far, b"\x01t")
    for frames in ((b"t\0head", b"x" * (1 << 20)), (b"t\0", b"")):
        assert far.send(EVERY_PEER, frames)
        assert received(near, 1) == [b"".join(frames)]


def numbered(number: int, size: int = 8000) -> Frames:
    """A message of topic t that has this number."""
    return (b"t" + number.to_bytes(4, "big") + bytes(size),)


def numbers_in(messages: list[bytes]) -> list[int]:
    """The numbers of these messages."""
    return [int.from_bytes(message[1:5], "big") for message in messages]


def who_sends_much_does_not_keep_the_others_from_being_read(kind: TopicKind) -> None:
    """Who sends much does not keep the others from being read."""
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
    kind.settle(near)
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


def full_subscriber_loses_what_is_beyond_its_mark_and_stops_nobody(kind: TopicKind) -> None:
    """Full subscriber loses what is beyond its mark and stops nobody."""
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


def a_window_of_messages_is_never_dropped_where_credit_is_given(kind: TopicKind) -> None:
    """A window of messages is never dropped where credit is given."""
    far, endpoint = kind.publisher(credit=True)
    near = kind.subscriber(endpoint, b"t")
    told(far, b"\x01t")
    count = CREDIT_PACKETS
    for number in range(count):
        assert far.send(EVERY_PEER, numbered(number, 100))
    assert numbers_in(received(near, count)) == list(range(count))


def a_window_is_never_dropped_though_the_reader_was_not_heard_of_for_long(
    kind: TopicKind,
) -> None:
    """A window is never dropped though the reader was not heard of for long."""
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


TopicRule = Callable[[TopicKind], None]
"""Proves one promise; raises AssertionError where a link does not keep it."""


def prove(rule: TopicRule, kind: TopicKind) -> None:
    """Prove a rule of a kind of link, and close the links."""
    try:
        rule(kind)
    finally:
        kind.close_all()


RULES: tuple[TopicRule, ...] = (
    messages_reach_those_who_subscribed_to_their_beginning,
    overlapping_subscriptions_give_each_message_once,
    what_is_private_reaches_that_one_alone,
    publisher_is_told_once_of_what_many_subscribe_to,
    end_of_a_subscription_is_told_and_ends_its_messages,
    subscriptions_and_talk_arrive_in_order,
    what_a_subscriber_says_is_in_place_before_the_publisher_reads_it,
    end_of_a_connection_ends_what_it_subscribed_to,
    end_of_a_link_ends_what_it_subscribed_to,
    end_is_told_even_when_the_publisher_has_much_to_read,
    connection_that_is_made_anew_has_no_subscription,
    publishing_to_nobody_is_done,
    a_second_frame_arrives_with_the_first,
    who_sends_much_does_not_keep_the_others_from_being_read,
)
"""The promises that take no time to prove."""
LONG_RULES: tuple[TopicRule, ...] = (
    full_subscriber_loses_what_is_beyond_its_mark_and_stops_nobody,
    a_window_of_messages_is_never_dropped_where_credit_is_given,
    a_window_is_never_dropped_though_the_reader_was_not_heard_of_for_long,
)
"""Those that send much."""
