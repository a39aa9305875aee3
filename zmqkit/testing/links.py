"""What every link promises, whatever carries its frames: a rule for each promise.

A link's own test module runs each rule on it:

    @pytest.mark.parametrize("rule", RULES, ids=name_of)
    def test_link(rule: Rule) -> None:
        prove(rule, LinkKind(MyLink, lambda: "my://an-address-that-is-free"))

A rule that does not hold ends in AssertionError.
"""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable

from zmqkit.errors import AddressTaken, ConfigError
from zmqkit.links import Link
from zmqkit.model import PeerId, Reach

__all__ = ["RULES", "LinkKind", "Rule", "name_of", "prove"]

BOUND_S = 20.0
"""How long a rule waits for what has to happen."""
STEP_S = 0.005
PACKETS, BYTES = 256, 4 << 20
ANY_PORT = (0, 0)


class LinkKind:
    """One kind of link: makes them, and knows an address that is free."""

    def __init__(self, make: Callable[[], Link], free: Callable[[], str]) -> None:
        """make: returns a new link. free: returns an address for `bind`, another each time."""
        self._make = make
        self.free = free
        self._links: list[Link] = []

    def link(self) -> Link:
        """Make a link."""
        self._links.append(self._make())
        return self._links[-1]

    def bound(self, endpoint: str = "") -> tuple[Link, str]:
        """Make a link that listens; return it, and where."""
        link = self.link()
        return link, link.bind(endpoint or self.free(), ANY_PORT)

    def connected(self, endpoint: str, *peers: PeerId) -> Link:
        """Make a link with a connection of each of these names."""
        link = self.link()
        for peer in peers:
            link.connect(peer, endpoint)
        return link

    def close(self, link: Link) -> None:
        """Close one of the links."""
        self._links.remove(link)
        link.close(0)

    def close_all(self) -> None:
        """Close all links that are left."""
        for link in list(self._links):
            self.close(link)


Rule = Callable[[LinkKind], None]
"""Proves one promise; raises AssertionError where a link does not keep it."""


def prove(rule: Rule, kind: LinkKind) -> None:
    """Prove a rule of a kind of link, and close the links."""
    try:
        rule(kind)
    finally:
        kind.close_all()


def name_of(rule: Rule) -> str:
    """Return what a rule says, as a name of a test."""
    return rule.__name__


def await_readable(link: Link, until: float) -> None:
    """Wait as a driver does: not at all while the link says that there may be more."""
    if not link.pending():
        left_s = max(0.0, until - time.monotonic())
        assert select.select([link.fileno()], [], [], left_s)[0], "the descriptor never told"


def received(link: Link, count: int) -> list[tuple[PeerId, tuple[bytes, ...]]]:
    """The next so many messages, waiting on the link's descriptor alone."""
    until = time.monotonic() + BOUND_S
    messages: list[tuple[PeerId, tuple[bytes, ...]]] = []
    while len(messages) < count:
        for peer, frames in link.receive(PACKETS, BYTES):
            messages.append((peer, tuple(bytes(frame) for frame in frames)))
        if len(messages) < count:
            await_readable(link, until)
    return messages


def until(holds: Callable[[], bool]) -> None:
    """Look again and again, for what has no descriptor to wait on."""
    pause = threading.Event()
    for _ in range(round(BOUND_S / STEP_S)):
        if holds():
            return
        pause.wait(STEP_S)
    raise AssertionError("it never came true")


def message_arrives_whole(kind: LinkKind) -> None:
    """Message arrives whole."""
    far, endpoint = kind.bound()
    near = kind.connected(endpoint, b"far")
    for frames in ((b"one",), (b"",), (b"x" * (1 << 20),), (b"1", b"", b"3")):
        assert near.send(b"far", frames)
        [(_, arrived)] = received(far, 1)
        assert arrived == frames


def answer_goes_to_the_one_who_asked(kind: LinkKind) -> None:
    """Answer goes to the one who asked."""
    far, endpoint = kind.bound()
    near = [kind.connected(endpoint, b"far") for _ in range(3)]
    for number, link in enumerate(near):
        assert link.send(b"far", (b"%d" % number,))
    asked = received(far, 3)
    assert len({peer for peer, _ in asked}) == 3
    for peer, frames in asked:
        assert far.send(peer, frames)
    for number, link in enumerate(near):
        assert received(link, 1) == [(b"far", (b"%d" % number,))]


def connections_of_one_link_are_told_apart(kind: LinkKind) -> None:
    """Connections of one link are told apart."""
    places = [kind.bound() for _ in range(3)]
    near = kind.link()
    for number, (_, endpoint) in enumerate(places):
        near.connect(b"%d" % number, endpoint)
    for number in range(3):
        assert near.send(b"%d" % number, (b"to %d" % number,))
    for number, (link, _) in enumerate(places):
        [(peer, frames)] = received(link, 1)
        assert frames == (b"to %d" % number,)
        assert link.send(peer, (b"from %d" % number,))
    answers = sorted(received(near, 3))
    assert answers == [(b"%d" % number, (b"from %d" % number,)) for number in range(3)]


def two_addresses_of_one_link_give_different_ids(kind: LinkKind) -> None:
    """Two addresses of one link give different ids."""
    far, first = kind.bound()
    second = far.bind(kind.free(), ANY_PORT)
    for endpoint in (first, second):
        assert kind.connected(endpoint, b"far").send(b"far", (endpoint.encode(),))
    asked = received(far, 2)
    assert len({peer for peer, _ in asked}) == 2
    assert {frames[0].decode() for _, frames in asked} == {first, second}


def a_connection_within_this_machine_reaches_no_further(kind: LinkKind) -> None:
    """A connection within this machine reaches no further."""
    far, endpoint = kind.bound()
    near = kind.connected(endpoint, b"far")
    assert near.send(b"far", (b"hello",))
    [(peer, _)] = received(far, 1)
    assert near.reach(b"far") is far.reach(peer) is Reach.LOCAL


def messages_of_one_peer_keep_their_order(kind: LinkKind) -> None:
    """Messages of one peer keep their order."""
    far, endpoint = kind.bound()
    near = kind.connected(endpoint, b"far")
    sent = [(b"%d" % number,) for number in range(1000)]
    assert all(near.send(b"far", frames) for frames in sent)
    assert [frames for _, frames in received(far, len(sent))] == sent


def look_takes_no_more_packets_than_allowed(kind: LinkKind) -> None:
    """Look takes no more packets than allowed."""
    far, endpoint = kind.bound()
    near = kind.connected(endpoint, b"far")
    for number in range(50):
        assert near.send(b"far", (b"%d" % number,))
    sizes: list[int] = []
    while sum(sizes) < 50:
        sizes.append(len(far.receive(7, BYTES)))
        if sum(sizes) < 50:
            await_readable(far, time.monotonic() + BOUND_S)
    assert max(sizes) == 7


def look_ends_with_the_packet_that_uses_its_bytes_up(kind: LinkKind) -> None:
    """Look ends with the packet that uses its bytes up."""
    far, endpoint = kind.bound()
    near = kind.connected(endpoint, b"far")
    count, size = 16, 1 << 18
    for _ in range(count):
        assert near.send(b"far", (b"x" * size,))
    taken: list[int] = []
    while sum(taken) < count:
        taken.append(len(far.receive(PACKETS, 3 * size - 1)))
        if sum(taken) < count:
            await_readable(far, time.monotonic() + BOUND_S)
    assert max(taken) <= 3


def what_a_budget_left_is_within_reach(kind: LinkKind) -> None:
    """What a budget left is within reach."""
    far, endpoint = kind.bound()
    near = kind.connected(endpoint, b"far")
    # A second connection: what it has is not forgotten while the first uses the budget up.
    assert kind.connected(endpoint, b"far").send(b"far", (b"0",))
    for _ in range(9):
        assert near.send(b"far", (b"0",))
    left = 10
    while left:
        left -= len(far.receive(1, BYTES))
        if left:
            await_readable(far, time.monotonic() + BOUND_S)


def descriptor_rests_when_nothing_is_left(kind: LinkKind) -> None:
    """Descriptor rests when nothing is left."""
    far, endpoint = kind.bound()
    near = kind.connected(endpoint, b"far")
    assert near.send(b"far", (b"1",))
    received(far, 1)

    def rests() -> bool:
        far.receive(PACKETS, BYTES)
        far.changes()
        return not far.pending() and not select.select([far.fileno()], [], [], 0)[0]

    until(rests)
    assert near.send(b"far", (b"2",))
    assert [frames for _, frames in received(far, 1)] == [(b"2",)]


def message_to_a_stranger_is_refused(kind: LinkKind) -> None:
    """Message to a stranger is refused."""
    far, endpoint = kind.bound()
    near = kind.connected(endpoint, b"far")
    for peer in (b"nobody", b"", b"\x00nobody", b"\x05\x00\x00\x00\x01"):
        assert not far.send(peer, (b"x",))
        assert not near.send(peer, (b"x",))
        assert not kind.link().send(peer, (b"x",))


def message_to_one_who_left_is_refused(kind: LinkKind) -> None:
    """Message to one who left is refused."""
    far, endpoint = kind.bound()
    near = kind.connected(endpoint, b"far")
    assert near.send(b"far", (b"hello",))
    [(peer, _)] = received(far, 1)
    near.disconnect(b"far")
    assert not near.send(b"far", (b"x",))
    until(lambda: not far.send(peer, (b"x",)))


def fill(link: Link, peer: PeerId) -> int:
    """Send until the link refuses; how many messages it took."""
    for number in range(1_000_000):
        if not link.send(peer, (number.to_bytes(4, "big") + bytes(8000),)):
            return number
    raise AssertionError("it takes messages without end")


def full_queue_refuses_and_loses_nothing(kind: LinkKind) -> None:
    """Full queue refuses and loses nothing."""
    far, endpoint = kind.bound()
    near = kind.connected(endpoint, b"far")
    taken = fill(near, b"far")
    assert taken
    arrived = [frames[0][:4] for _, frames in received(far, taken)]
    assert arrived == [number.to_bytes(4, "big") for number in range(taken)]
    until(lambda: near.send(b"far", (b"again",)))
    assert [frames for _, frames in received(far, 1)] == [(b"again",)]


def full_queue_of_one_peer_refuses_nobody_else(kind: LinkKind) -> None:
    """Full queue of one peer refuses nobody else."""
    far, endpoint = kind.bound()
    slow, quick = (kind.connected(endpoint, b"far") for _ in range(2))
    for link, name in ((slow, b"slow"), (quick, b"quick")):
        assert link.send(b"far", (name,))
    peers = {frames[0]: peer for peer, frames in received(far, 2)}
    taken = fill(far, peers[b"slow"])
    assert far.send(peers[b"quick"], (b"here",))
    assert received(quick, 1) == [(b"far", (b"here",))]
    assert len(received(slow, taken)) == taken


def connection_replaces_the_one_of_its_name(kind: LinkKind) -> None:
    """Connection replaces the one of its name."""
    (old, first), (new, second) = kind.bound(), kind.bound()
    near = kind.connected(first, b"far")
    assert near.send(b"far", (b"1",))
    received(old, 1)
    near.connect(b"far", second)
    assert near.send(b"far", (b"2",))
    assert [frames for _, frames in received(new, 1)] == [(b"2",)]
    assert not old.receive(PACKETS, BYTES)


def connection_that_is_not_there_is_closed_without_ado(kind: LinkKind) -> None:
    """Connection that is not there is closed without ado."""
    kind.link().disconnect(b"nobody")


def what_a_closed_connection_held_is_dropped(kind: LinkKind) -> None:
    """What a closed connection held is dropped."""
    far, endpoint = kind.bound()
    near = kind.connected(endpoint, b"far")
    assert near.send(b"far", (b"hello",))
    [(peer, _)] = received(far, 1)
    assert far.send(peer, (b"late",))
    near.disconnect(b"far")
    near.connect(b"far", endpoint)
    assert near.send(b"far", (b"anew",))
    [(peer, _)] = received(far, 1)
    assert far.send(peer, (b"first",))
    assert received(near, 1) == [(b"far", (b"first",))]


def refusal(link: Link, endpoint: str) -> str:
    """Return the text of the error with which a link refuses an address that is taken."""
    try:
        link.bind(endpoint, ANY_PORT)
    except AddressTaken as error:
        return str(error)
    raise AssertionError("an address that is taken was given away")


def taken_address_is_an_error_that_names_it(kind: LinkKind) -> None:
    """Taken address is an error that names it."""
    far, endpoint = kind.bound()
    other = kind.link()
    assert endpoint in refusal(other, endpoint), "the error does not name the address"
    _, elsewhere = kind.bound()
    other.connect(b"far", elsewhere)
    assert other.send(b"far", (b"usable all the same",))
    assert kind.connected(endpoint, b"far").send(b"far", (b"and so is this",))
    received(far, 1)


def address_is_free_again_after_close(kind: LinkKind) -> None:
    """Address is free again after close."""
    far, endpoint = kind.bound()
    kind.close(far)
    other = kind.link()

    def can_be_had() -> bool:
        try:
            return other.bind(endpoint, ANY_PORT) == endpoint
        except ConfigError:
            return False

    until(can_be_had)
    assert kind.connected(endpoint, b"far").send(b"far", (b"x",))
    received(other, 1)


def unused_link_has_nothing_to_tell(kind: LinkKind) -> None:
    """Unused link has nothing to tell."""
    link = kind.link()
    assert link.receive(PACKETS, BYTES) == []
    assert link.changes() == []
    assert not link.pending()


RULES: tuple[Rule, ...] = (
    message_arrives_whole,
    answer_goes_to_the_one_who_asked,
    connections_of_one_link_are_told_apart,
    two_addresses_of_one_link_give_different_ids,
    a_connection_within_this_machine_reaches_no_further,
    messages_of_one_peer_keep_their_order,
    look_takes_no_more_packets_than_allowed,
    look_ends_with_the_packet_that_uses_its_bytes_up,
    what_a_budget_left_is_within_reach,
    descriptor_rests_when_nothing_is_left,
    message_to_a_stranger_is_refused,
    message_to_one_who_left_is_refused,
    full_queue_refuses_and_loses_nothing,
    full_queue_of_one_peer_refuses_nobody_else,
    connection_replaces_the_one_of_its_name,
    connection_that_is_not_there_is_closed_without_ado,
    what_a_closed_connection_held_is_dropped,
    taken_address_is_an_error_that_names_it,
    address_is_free_again_after_close,
    unused_link_has_nothing_to_tell,
)
"""All promises."""
