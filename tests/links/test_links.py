"""What every link promises holds for each kind of link that there is."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
import zmq

from tests.links.stepping import SteppingLink, network
from zmqkit.links.memory import MemoryLink
from zmqkit.links.profile import Profile
from zmqkit.links.zeromq import ZeromqLink
from zmqkit.testing.links import RULES, LinkKind, Rule, name_of, prove

numbers = itertools.count(1)


@pytest.fixture(params=["zeromq", "memory", "simulated"])
def kind(request: pytest.FixtureRequest) -> Iterator[LinkKind]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    simulated = network()
    kinds = {
        "zeromq": LinkKind(
            lambda: ZeromqLink(context, Profile.DATA), lambda: "tcp://127.0.0.1:0"
        ),
        "memory": LinkKind(
            lambda: MemoryLink(next(numbers)), lambda: f"memory://test-{next(numbers)}"
        ),
        "simulated": LinkKind(
            lambda: SteppingLink(simulated), lambda: f"tcp://127.0.0.1:{next(numbers)}"
        ),
    }
    yield kinds[request.param]
    context.term()


@pytest.mark.parametrize("rule", RULES, ids=name_of)
def test_it_keeps_the_rule(kind: LinkKind, rule: Rule) -> None:
    prove(rule, kind)


def test_a_link_that_loses_a_message_is_found_out() -> None:
    class Lossy(MemoryLink):
        def send(self, peer: bytes, frames: tuple[bytes | memoryview, ...]) -> bool:
            return True

    kind = LinkKind(lambda: Lossy(next(numbers)), lambda: f"memory://test-{next(numbers)}")
    [rule] = [each for each in RULES if name_of(each) == "message_to_a_stranger_is_refused"]
    with pytest.raises(AssertionError):
        prove(rule, kind)
