"""What is remembered of other spaces, and what is said of it."""

from __future__ import annotations

from dataclasses import replace

from zmqkit.core.effects import Connect, Send
from zmqkit.core.membership.directory import hello
from zmqkit.core.membership.elsewhere import Elsewhere
from zmqkit.core.membership.known import KnownRoles
from zmqkit.core.membership.membership import MembershipCore
from zmqkit.core.membership.offers import Offers
from zmqkit.limits import MembershipLimits
from zmqkit.model import Reach, Record
from zmqkit.wire import packet as wire

BILLING = Record("billing", "service", 3, 9, ("127.0.0.1",), 5601, 5602, "dev")


def test_a_record_of_the_own_space_is_not_remembered() -> None:
    elsewhere = Elsewhere("dev", 10)
    assert not elsewhere.takes(BILLING, "mdns", 0.0)
    assert not elsewhere.drops(BILLING, "mdns")
    assert list(elsewhere) == []


def test_a_record_of_another_space_explains_why_a_name_is_not_found() -> None:
    elsewhere = Elsewhere("", 10)
    assert elsewhere.takes(BILLING, "mdns", 0.0)
    assert elsewhere.explain("service", "billing") == (
        "one is in the space 'dev', and this is the default space: set ZMQKIT_SPACE=dev, or "
        "use space='dev'"
    )
    assert elsewhere.explain("worker", "billing") == ""
    assert elsewhere.drops(BILLING, "mdns")
    assert elsewhere.explain("service", "billing") == ""


def test_the_default_space_has_no_name_to_set() -> None:
    elsewhere = Elsewhere("dev", 10)
    elsewhere.takes(replace(BILLING, space=""), "mdns", 0.0)
    assert "leave ZMQKIT_SPACE unset, or use space=''" in elsewhere.explain(
        "service", "billing"
    )


def test_no_more_are_remembered_than_there_is_room_for() -> None:
    elsewhere = Elsewhere("", 2)
    for number in (1, 2, 3):
        elsewhere.takes(replace(BILLING, process=number), "mdns", float(number))
    assert [(each.process, since) for each, _, since in elsewhere.heard()] == [
        (2, 2.0),
        (3, 3.0),
    ]


def test_nobody_of_another_space_is_connected_to() -> None:
    core = MembershipCore(1, space="test")
    core.want("service/billing", 0.0, Reach.LOCAL)
    assert core.heard(BILLING, "mdns", 0.0) == []
    [effect] = core.heard(replace(BILLING, space="test"), "mdns", 0.0)
    assert isinstance(effect, Connect)


def welcome_to(offers: Offers, space: str) -> dict[str, object]:
    """The directory that a process of a space is told."""
    asked = wire.unpack(hello(7, b"us", space=space).frames)
    sent = offers.welcome(b"\0them", Reach.LOCAL, asked)
    assert isinstance(sent, Send)
    return wire.fields_of(wire.unpack(sent.frames))


def test_a_directory_is_told_within_the_space_alone() -> None:
    limits = MembershipLimits()
    offers = Offers(9, KnownRoles(limits), limits, "dev")
    offers.control_ports[Reach.LOCAL] = 5601
    offers.add(BILLING, Reach.LOCAL)
    assert welcome_to(offers, "dev")["roles"] == [["billing", "service", 3, 5602]]
    told = welcome_to(offers, "")
    assert told["roles"] == []
    assert told["space"] == "dev"


def test_the_default_space_is_not_named_on_the_wire() -> None:
    limits = MembershipLimits()
    offers = Offers(9, KnownRoles(limits), limits)
    offers.control_ports[Reach.LOCAL] = 5601
    assert "space" not in welcome_to(offers, "")
    assert wire.fields_of(wire.unpack(hello(7, b"us").frames)) == {}
