"""What a process tells of its roles, and whom."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.packets import read
from zmqkit.core.effects import Send
from zmqkit.core.membership.known import KnownRoles
from zmqkit.core.membership.offers import Offers
from zmqkit.limits import MembershipLimits
from zmqkit.model import Reach, Record
from zmqkit.statistics_limits import UNHEARD_S
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Malformed, encode
from zmqkit.wire.packet import BYE, PONG, WELCOME, Packet

ORDERS = ("orders", "service", 0xA, 6000)
RECORD = Record("orders", "service", 0xA, 9, ("10.0.0.1",), 5000, 6000)


def packet(meta: object) -> Packet:
    """A packet with this content."""
    return wire.unpack(wire.pack(WELCOME, 9, 0, 0, encode(meta)))


def made(limits: MembershipLimits) -> Offers:
    """What a process tells that knows of no others."""
    return Offers(9, KnownRoles(limits), limits)


@pytest.fixture
def offers() -> Offers:
    offers = made(MembershipLimits())
    offers.control_ports |= {Reach.LOCAL: 5000, Reach.PLAIN: 5001}
    return offers


def test_a_role_that_is_not_open_is_listed_at_home_only(offers: Offers) -> None:
    offers.add(RECORD, Reach.LOCAL)
    here, there = (
        read(offers.welcome(b"\0home", Reach.LOCAL)),
        read(offers.welcome(b"\1lan", Reach.PLAIN)),
    )
    assert here[1] == {"process": 9, "control": 5000, "revision": 1, "roles": [list(ORDERS)]}
    assert there[1] == {"process": 9, "control": 5001, "revision": 1, "roles": []}


def test_an_open_role_is_listed_everywhere(offers: Offers) -> None:
    offers.add(RECORD, Reach.PLAIN)
    fields = read(offers.welcome(b"\1lan", Reach.PLAIN))[1]
    assert isinstance(fields, dict) and fields["roles"] == [list(ORDERS)]


def test_whoever_we_asked_on_the_network_learns_no_more_than_others_there(
    offers: Offers,
) -> None:
    offers.add(RECORD, Reach.LOCAL)
    assert read(offers.welcome(b"nthem", Reach.PLAIN))[1] == {
        "process": 9, "control": 5001, "revision": 1, "roles": [],
    }  # fmt: skip


def test_each_change_has_a_revision_that_pongs_tell(offers: Offers) -> None:
    offers.add(RECORD, Reach.LOCAL)
    offers.remove(RECORD.incarnation)
    offers.remove(RECORD.incarnation)
    assert read(offers.pong(b"p", packet([7]), 0.0, Reach.LOCAL)) == (PONG, [7, 2])


def test_whoever_called_is_told_of_the_end_of_a_service(offers: Offers) -> None:
    offers.add(RECORD, Reach.PLAIN)
    offers.admit(b"\0home", packet({}), 0.0, Reach.LOCAL)
    offers.pong(b"\1lan", packet([7]), 0.0, Reach.PLAIN)
    told = offers.remove(RECORD.incarnation)
    assert [read(effect) for effect in told] == 2 * [(BYE, [RECORD.incarnation])]
    assert [effect.peer for effect in told if isinstance(effect, Send)] == [b"\0home", b"\1lan"]
    assert offers.remove(RECORD.incarnation) == []


def test_of_one_that_is_not_open_those_at_home_are_told(offers: Offers) -> None:
    offers.add(RECORD, Reach.LOCAL)
    offers.pong(b"\0home", packet([7]), 0.0, Reach.LOCAL)
    offers.pong(b"\1lan", packet([7]), 0.0, Reach.PLAIN)
    [told] = offers.remove(RECORD.incarnation)
    assert isinstance(told, Send) and told.peer == b"\0home"


def test_of_a_publisher_nobody_is_told_for_it_did_so_itself(offers: Offers) -> None:
    offers.add(replace(RECORD, role="publisher"), Reach.PLAIN)
    offers.pong(b"\0home", packet([7]), 0.0, Reach.LOCAL)
    assert offers.remove(RECORD.incarnation) == []


def test_those_who_called_last_are_told() -> None:
    offers = made(MembershipLimits(callers_max=2))
    for peer in (b"\0a", b"\0b", b"\0a", b"\0c"):
        offers.pong(peer, packet([7]), 0.0, Reach.LOCAL)
    assert list(offers.callers) == [b"\0a", b"\0c"]


@pytest.mark.parametrize("meta", [None, [], ["x"], [1, 2], {}])
def test_an_odd_ping_is_malformed(offers: Offers, meta: object) -> None:
    with pytest.raises(Malformed, match="ping"):
        offers.pong(b"p", packet(meta), 0.0, Reach.LOCAL)


def test_a_process_is_gone_once_it_says_nothing_any_more(offers: Offers) -> None:
    asked = wire.unpack(wire.pack(wire.PING, 7, 0, 0, encode([1])))
    assert not offers.is_gone(7, 99.0)  # nothing is known of it
    offers.pong(b"\0seven", asked, 1.0, Reach.LOCAL)
    assert not offers.is_gone(7, 1.0 + UNHEARD_S)
    assert offers.is_gone(7, 1.1 + UNHEARD_S)
    offers.pong(b"\0seven", asked, 9.0, Reach.LOCAL)
    assert not offers.is_gone(7, 9.0)


def test_of_so_many_processes_it_is_known_when_they_spoke() -> None:
    offers = made(MembershipLimits(callers_max=2))
    for process in (7, 8, 9):
        asked = wire.unpack(wire.pack(wire.PING, process, 0, 0, encode([1])))
        offers.pong(b"\0%d" % process, asked, 1.0, Reach.LOCAL)
    gone = [process for process in (7, 8, 9) if offers.is_gone(process, 99.0)]
    assert gone == [8, 9]
