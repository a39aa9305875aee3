"""What was heard of roles, and from whom."""

from __future__ import annotations

from dataclasses import replace

import pytest

from zmqkit.core.membership.known import HELLO, STATIC, KnownRoles, near_first
from zmqkit.limits import CLAIMS_MAX, RIVALS_MAX, MembershipLimits
from zmqkit.model import Address, Reach, Record

RECORD = Record("orders", "service", 0xA, 9, ("10.0.0.1",), 5000, 6000)


@pytest.fixture
def known() -> KnownRoles:
    return KnownRoles(MembershipLimits())


def test_what_was_heard_is_known_by_its_process(known: KnownRoles) -> None:
    assert known.learn(RECORD, "mdns", 3.0) == ""
    assert (known.processes(), known.of(9), known.of(8)) == ([9], [0xA], [])
    assert known.by_role[9, 0xA].since == 3.0


def test_its_own_word_counts_more_than_discovery(known: KnownRoles) -> None:
    known.learn(RECORD, "mdns", 0.0)
    known.learn(replace(RECORD, port=7000), STATIC, 0.0)
    known.learn(replace(RECORD, port=8000), HELLO, 0.0)
    assert known.by_role[9, 0xA].record.port == 8000


def test_role_is_listed_once_its_process_has_said_the_same(known: KnownRoles) -> None:
    known.learn(RECORD, "mdns", 0.0)
    assert not known.is_listed(RECORD)
    known.learn(RECORD, HELLO, 0.0)
    assert known.is_listed(replace(RECORD, addresses=("10.0.0.2",)))
    assert not known.is_listed(replace(RECORD, port=7000))
    assert not known.is_listed(replace(RECORD, incarnation=0xB))


def test_only_discovery_keeps_a_role_young(known: KnownRoles) -> None:
    known.learn(RECORD, "mdns", 1.0)
    known.learn(RECORD, HELLO, 5.0)
    assert known.by_role[9, 0xA].heard_at == 1.0
    known.learn(RECORD, "mdns", 7.0)
    assert known.by_role[9, 0xA].heard_at == 7.0


def test_another_process_may_be_said_to_have_a_role_until_its_own_says_so(
    known: KnownRoles,
) -> None:
    known.learn(RECORD, "mdns", 0.0)
    assert known.learn(replace(RECORD, process=8), "mdns", 0.0) == ""
    assert known.rivals(9, 0xA) == [8] and known.counts(8, 0xA)
    assert not known.is_settled(9, 0xA)
    known.learn(RECORD, HELLO, 0.0)
    assert known.is_settled(9, 0xA) and not known.counts(8, 0xA)
    assert known.learn(replace(RECORD, process=8), HELLO, 0.0) == "conflict"
    known.check()
    known.forget_word(9)
    assert known.counts(8, 0xA) and known.freed == {0xA}
    known.check()


def test_a_record_replaces_what_the_same_source_said_under_the_same_name(
    known: KnownRoles,
) -> None:
    known.learn(RECORD, "mdns", 0.0)
    moved = replace(RECORD, addresses=("10.0.0.2",))
    other = replace(RECORD, name="other", control_port=1)
    for each in (moved, other):
        known.learn(each, "mdns", 0.0)
    assert known.by_role[9, 0xA].records == [moved, other]
    assert known.unlearn((9, 0xA), "mdns", label=other.label)
    assert known.by_role[9, 0xA].records == [moved]
    known.learn(RECORD, HELLO, 0.0)
    assert known.by_role[9, 0xA].records == [RECORD]


def test_the_oldest_hearsay_makes_room_and_its_own_word_stays(known: KnownRoles) -> None:
    known.learn(RECORD, HELLO, 0.0)
    for port in range(1, CLAIMS_MAX + 5):
        known.learn(replace(RECORD, control_port=port), "mdns", 0.0)
    ports = [each.control_port for each in known.by_role[9, 0xA].claims.values()]
    assert ports == [5000, *range(5, CLAIMS_MAX + 5)]


def test_the_longest_known_rival_makes_room_and_the_owner_stays(known: KnownRoles) -> None:
    known.learn(RECORD, HELLO, 0.0)
    for process in range(100, 100 + RIVALS_MAX - 1):
        assert known.surplus(replace(RECORD, process=process)) == 0
        known.learn(replace(RECORD, process=process), "mdns", 0.0)
    assert known.surplus(RECORD) == 0
    assert known.surplus(replace(RECORD, process=999)) == 100


def test_so_many_are_known() -> None:
    known = KnownRoles(MembershipLimits(known_max=1))
    known.learn(RECORD, "mdns", 0.0)
    assert known.learn(replace(RECORD, incarnation=0xB), "mdns", 0.0) == "records-full"
    assert known.learn(RECORD, HELLO, 0.0) == ""


def test_the_last_word_is_not_unlearned(known: KnownRoles) -> None:
    known.learn(RECORD, "mdns", 0.0)
    known.learn(RECORD, HELLO, 0.0)
    assert known.unlearn((9, 0xA), HELLO, STATIC)
    assert not known.unlearn((9, 0xA), "mdns")
    known.check()


def test_with_its_last_role_a_process_is_forgotten(known: KnownRoles) -> None:
    known.learn(RECORD, "mdns", 0.0)
    known.erase((9, 0xA))
    assert known.processes() == []


def test_this_machine_comes_first(known: KnownRoles) -> None:
    known.learn(replace(RECORD, addresses=("10.0.0.1", "127.0.0.1")), "mdns", 0.0)
    assert known.addresses(9, Reach.PLAIN) == [("127.0.0.1", 5000), ("10.0.0.1", 5000)]
    assert known.addresses(9, Reach.LOCAL) == [("127.0.0.1", 5000)]
    assert known.by_role[9, 0xA].addresses() == known.addresses(9, Reach.PLAIN)


def test_places_have_an_order() -> None:
    assert near_first({Address("b", 2), Address("a", 1), Address("::1", 3)}) == [
        ("::1", 3),
        ("a", 1),
        ("b", 2),
    ]


def test_what_a_process_does_not_list_is_named(known: KnownRoles) -> None:
    known.learn(RECORD, "mdns", 0.0)
    known.learn(replace(RECORD, incarnation=0xB), "mdns", 0.0)
    assert known.unlisted(9, {0xB}) == [0xA]
