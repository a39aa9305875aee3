"""What every link promises where one publishes by topic holds for each kind of link."""

from __future__ import annotations

import itertools
import select
from collections.abc import Iterator

import pytest
import zmq

from tests.links.stepping import SteppingLink, network
from zmqkit.links import Link
from zmqkit.links.memory import MemoryLink
from zmqkit.links.profile import Profile, packets_max
from zmqkit.links.zeromq import ZeromqLink
from zmqkit.model import Frames, PeerId
from zmqkit.testing.topic_links import (
    BOUND_S,
    LONG_RULES,
    RULES,
    TopicKind,
    TopicRule,
    name_of,
    prove,
)

numbers = itertools.count(1)


def memory(profile: Profile) -> Link:
    return MemoryLink(next(numbers), topics=True, packets_max=packets_max(profile))


def memory_address() -> str:
    return f"memory://topics-{next(numbers)}"


def each_has_come(link: Link) -> None:
    """Wait until libzmq has something on each connection of a link."""
    assert isinstance(link, ZeromqLink)
    for port in link._peers.values():
        while not port.get(zmq.EVENTS) & zmq.POLLIN:
            assert select.select([port.fd], [], [], BOUND_S)[0]


@pytest.fixture(params=["zeromq", "memory", "simulated"])
def kind(request: pytest.FixtureRequest) -> Iterator[TopicKind]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    simulated = network()
    kinds = {
        "zeromq": TopicKind(
            lambda profile: ZeromqLink(context, profile),
            lambda: "tcp://127.0.0.1:0",
            each_has_come,
        ),
        "memory": TopicKind(memory, memory_address),
        "simulated": TopicKind(
            lambda profile: SteppingLink(simulated, profile),
            lambda: f"tcp://127.0.0.1:{next(numbers)}",
        ),
    }
    yield kinds[request.param]
    context.term()


@pytest.mark.parametrize("rule", RULES, ids=name_of)
def test_it_keeps_the_rule(kind: TopicKind, rule: TopicRule) -> None:
    prove(rule, kind)


@pytest.mark.slow
@pytest.mark.parametrize("rule", LONG_RULES, ids=name_of)
def test_it_keeps_the_long_rule(kind: TopicKind, rule: TopicRule) -> None:
    prove(rule, kind)


def test_a_link_that_sends_everything_to_everybody_is_found_out() -> None:
    class Loose(MemoryLink):
        def subscribe(self, peer: PeerId, frames: Frames, packets_max: int) -> bool:
            taken = super().subscribe(peer, frames, packets_max)
            self._prefixes[peer].add(b"")
            return taken

    kind = TopicKind(lambda profile: Loose(next(numbers), topics=True), memory_address)
    [rule] = [
        each for each in RULES if name_of(each) == "what_is_private_reaches_that_one_alone"
    ]
    with pytest.raises(AssertionError):
        prove(rule, kind)
