"""A process that ends a service says so on its control connections."""

from __future__ import annotations

import pytest

from tests import packets
from tests.core.bench import kinds, tells
from tests.core.membership.neighbours import NEXT_ROW, OTHERS, PEER, ROW, THEM, US, alive
from tests.packets import read
from zmqkit.core.effects import Disconnect, News, Send
from zmqkit.core.membership.membership import MembershipCore
from zmqkit.model import Reach, Record
from zmqkit.wire.encoding import encode
from zmqkit.wire.packet import BYE, HELLO, PONG, WELCOME, pack

OWN = Record("stock", "service", 0x77, US, (), 5000, 6000)


@pytest.fixture
def core() -> MembershipCore:
    return MembershipCore(US)


def test_a_service_that_ended_is_gone_at_once(core: MembershipCore) -> None:
    alive(core, ROW, NEXT_ROW)
    assert tells(core.receive(PEER, packets.ended(THEM, 0xB), 1.0)) == [(News.GONE, 0xB)]
    core.check()
    assert kinds(core.receive(PEER, packets.alive(THEM, 2), 1.1)) == [HELLO]


def test_a_process_whose_last_service_ended_is_left_alone(core: MembershipCore) -> None:
    alive(core, ROW, NEXT_ROW)
    effects = core.receive(PEER, packets.ended(THEM, 0xB, 0xA), 1.0)
    assert sorted(tells(effects)) == [(News.GONE, 0xA), (News.GONE, 0xB)]
    assert Disconnect(PEER) in effects and not core.neighbours
    core.check()


def test_nobody_ends_what_is_not_its_own(core: MembershipCore) -> None:
    alive(core)
    core.heard(Record("orders", "service", 0xC, OTHERS, (), 5001, 6000), "mdns", 0.0)
    assert core.receive(PEER, packets.ended(THEM, 0xC, 0xDEAD), 1.0) == []
    assert (OTHERS, 0xC) in core.roles
    core.check()


@pytest.mark.parametrize("meta", [None, 7, ["x"], [[1]], list(range(1001))])
def test_an_end_that_makes_no_sense_is_counted(core: MembershipCore, meta: object) -> None:
    alive(core)
    assert core.receive(PEER, pack(BYE, THEM, 0, 0, encode(meta)), 1.0) == []
    assert core.malformed.total() == 1


def test_a_stranger_ends_nothing(core: MembershipCore) -> None:
    alive(core)
    assert core.receive(b"\0x", packets.ended(THEM, 0xA), 1.0, Reach.LOCAL) == []
    assert core.malformed.total() == 1 and (THEM, 0xA) in core.roles


def test_who_said_hello_or_pinged_is_told(core: MembershipCore) -> None:
    core.offer(OWN, 0.0, Reach.LOCAL)
    [welcome] = core.receive(b"\0a", packets.hello(THEM), 0.0, Reach.LOCAL)
    [pong] = core.receive(b"\0b", packets.ask(OTHERS), 0.0, Reach.LOCAL)
    assert (read(welcome)[0], read(pong)[0]) == (WELCOME, PONG)
    told = core.retract(OWN.incarnation, 1.0)
    assert [read(effect) for effect in told] == 2 * [(BYE, [0x77])]


def test_who_is_no_longer_there_is_forgotten(core: MembershipCore) -> None:
    core.offer(OWN, 0.0, Reach.LOCAL)
    core.receive(b"\0a", packets.hello(THEM), 0.0, Reach.LOCAL)
    [told] = core.retract(OWN.incarnation, 1.0)
    assert isinstance(told, Send)
    core.unsent(told.peer, told.frames, 1.0)
    assert not core.offers.callers
