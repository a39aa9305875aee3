"""Who is there: the addresses of one process are raced."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests import packets
from tests.core.bench import kinds, tells
from zmqkit.core.effects import Connect, Disconnect, News, Tell
from zmqkit.core.membership.interests import key_of
from zmqkit.core.membership.membership import MembershipCore
from zmqkit.core.membership.neighbour import Life
from zmqkit.limits import GONE_S, HELLO_S, RACE_MAX, RACE_S
from zmqkit.model import Reach, Record
from zmqkit.wire.packet import HELLO

US, THEM, OTHERS = 1, 9, 8
ORDERS = key_of("service", "orders")
RECORD = Record("orders", "service", 0xA, THEM, ("127.0.0.1",), 5000, 6000)
ROW = ("orders", "service", 0xA, 6000)
PEER = b"n" + THEM.to_bytes(8, "big")
SECOND = PEER + b"\0\1"
FOUND = Tell(News.FOUND, ORDERS, 0xA, "tcp://127.0.0.1:6000")


@pytest.fixture
def core() -> MembershipCore:
    return MembershipCore(US)


def several(core: MembershipCore, *addresses: str) -> None:
    """Want and hear the other process at these addresses."""
    core.want(ORDERS, 0.0, Reach.PLAIN)
    core.heard(replace(RECORD, addresses=addresses), "mdns", 0.0)


def test_addresses_are_raced(core: MembershipCore) -> None:
    several(core, "10.0.0.1", "127.0.0.1")
    at = RACE_S + 0.02
    assert core.tick(at) == [Connect(SECOND, "tcp://10.0.0.1:5000")]
    assert kinds(core.tick(HELLO_S + 0.02)) == [HELLO, HELLO]
    core.check()
    assert core.tick(at + 2 * HELLO_S + 0.02) == [Disconnect(PEER), Disconnect(SECOND)]
    assert core.neighbours[THEM].life is Life.GONE
    core.check()


def test_the_address_that_answers_is_kept_and_the_others_are_closed(
    core: MembershipCore,
) -> None:
    several(core, "10.0.0.1", "127.0.0.1")
    core.tick(RACE_S + 0.02)
    effects = core.receive(SECOND, packets.directory(THEM, ROW), 0.4)
    assert effects == [Disconnect(PEER), replace(FOUND, endpoint="tcp://10.0.0.1:6000")]
    core.check()
    late = core.receive(PEER, packets.directory(THEM, ROW), 0.4)
    assert late == [] and core.malformed == {"unexpected": 1}


def test_the_address_that_answered_is_tried_first_after_a_break(core: MembershipCore) -> None:
    several(core, "10.0.0.1", "127.0.0.1")
    core.tick(RACE_S + 0.02)
    core.receive(SECOND, packets.directory(THEM, ROW), 0.4)
    core.disconnected(SECOND, 1.0)
    core.tick(1.0 + GONE_S + 0.02)
    assert core.tick(core.deadline() + 0.01) == [Connect(PEER, "tcp://10.0.0.1:5000")]


def test_another_process_at_one_of_the_addresses_ends_nothing(core: MembershipCore) -> None:
    several(core, "10.0.0.1", "127.0.0.1")
    effects = core.receive(PEER, packets.directory(OTHERS), 0.1)
    assert effects == [Disconnect(PEER), Connect(SECOND, "tcp://10.0.0.1:5000")]
    core.check()
    assert tells(core.receive(SECOND, packets.directory(THEM, ROW), 0.2)) == [(News.FOUND, 0xA)]


def test_another_process_at_each_address_is_the_end(core: MembershipCore) -> None:
    several(core, "10.0.0.1", "127.0.0.1")
    core.receive(PEER, packets.directory(OTHERS), 0.1)
    core.receive(SECOND, packets.directory(OTHERS), 0.2)
    assert core.neighbours[THEM].life is Life.GONE
    core.check()


def test_so_many_addresses_are_tried_at_a_time(core: MembershipCore) -> None:
    several(core, *(f"10.0.0.{n}" for n in range(1, 9)))
    tried = set()
    for _ in range(100):
        core.tick(core.deadline() + 0.01)
        core.check()
        attempts = core.neighbours[THEM].attempts
        assert len(attempts) <= RACE_MAX
        tried |= set(attempts.values())
    assert len(tried) == 8


def test_an_address_that_is_heard_of_meanwhile_joins_the_race(core: MembershipCore) -> None:
    several(core, "10.0.0.1")
    core.heard(replace(RECORD, addresses=("10.0.0.2",)), "mdns:lan", 0.5)
    assert core.tick(0.5 + RACE_S + 0.02)[0] == Connect(SECOND, "tcp://10.0.0.2:5000")
    core.check()
