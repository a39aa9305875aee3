"""What processes tell each other of others: where to ask, who asked, who is referred to."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from math import inf

import pytest

from zmqkit.core.membership.exchange import (
    Contact,
    Referrals,
    Registrations,
    at_first_hand,
    means_one_host,
    read_addresses,
    read_others,
    rows_of,
)
from zmqkit.core.membership.known import HELLO, PEER, STATIC, KnownRoles
from zmqkit.limits import (
    HELLO_S,
    HELLO_S_MAX,
    PLACES_MAX,
    PROCESSES_MAX,
    REGISTERED_S,
    MembershipLimits,
)
from zmqkit.model import Address, Reach, Record
from zmqkit.wire.encoding import Malformed

US, TELLER, OTHER_TELLER = 99, 7, 8
HERE, THERE = Address("127.0.0.1", 5000), Address("10.0.0.1", 5001)


def test_places_are_what_was_sent() -> None:
    assert read_addresses(rows_of([HERE, THERE])) == (HERE, THERE)


@pytest.mark.parametrize(
    "rows",
    [
        None, {}, "x", [None], [["127.0.0.1"]], [["127.0.0.1", 0]], [["127.0.0.1", 65536]],
        [["127.0.0.1", True]], [[b"127.0.0.1", 1]], [["example.com", 1]], [["", 1]],
        [["0.0.0.0", 1]], [["224.0.0.1", 1]], [["fe80::1%eth0", 1]], [["fe80::1", 1]],
        [["10.0.0.1", 1]] * (PLACES_MAX + 1),
    ],
)  # fmt: skip
def test_places_that_lead_nowhere_are_malformed(rows: object) -> None:
    with pytest.raises(Malformed, match="places"):
        read_addresses(rows)


def test_others_are_what_was_sent() -> None:
    told = Contact(9, 3, (HERE, THERE))
    assert read_others([told.row()]) == [told]
    assert told.row() == [9, 3, [["127.0.0.1", 5000], ["10.0.0.1", 5001]]]


@pytest.mark.parametrize(
    "rows",
    [
        None, {}, [None], [[9, 1]], [[0, 1, []]], [[1 << 64, 1, []]], [["x", 1, []]],
        [[9, None, []]], [[9, 1, None]], [[9, 1, []]] * (PROCESSES_MAX + 1),
    ],
)  # fmt: skip
def test_others_that_could_harm_are_malformed(rows: object) -> None:
    with pytest.raises(Malformed, match="others"):
        read_others(rows)


def test_loopback_is_not_seen_from_elsewhere() -> None:
    told = Contact(9, 3, (HERE, THERE))
    assert told.seen_from(Reach.LOCAL) == told
    assert told.seen_from(Reach.PLAIN) == Contact(9, 3, (THERE,))


def test_some_addresses_mean_the_same_to_everybody() -> None:
    hosts = ("10.0.0.1", "2001:db8::1", "127.0.0.1", "fe80::1", "::", "x")
    assert [means_one_host(host) for host in hosts] == [True, True, True, False, False, False]


RECORD = Record("orders", "service", 0xA, 9, ("10.0.0.1", "fe80::1%eth0"), 5001, 6000)


@pytest.mark.parametrize("source", ["mdns:lan", HELLO, STATIC])
def test_what_is_known_at_first_hand_is_passed_on(source: str) -> None:
    known = KnownRoles(MembershipLimits())
    known.learn(RECORD, source, 0.0)
    assert at_first_hand(known, 9).addresses == (THERE,)


def test_what_a_third_party_told_is_not() -> None:
    known = KnownRoles(MembershipLimits())
    known.learn(RECORD, PEER, 0.0)
    known.learn(RECORD, HELLO, 0.0)
    assert at_first_hand(known, 9).addresses == ()
    known.learn(RECORD, "mdns:lan", 0.0)
    assert at_first_hand(known, 9).addresses == (THERE,)


def test_a_process_with_another_role_has_another_revision() -> None:
    known = KnownRoles(MembershipLimits())
    known.learn(RECORD, "mdns:lan", 0.0)
    before = at_first_hand(known, 9)
    known.learn(replace(RECORD, incarnation=0xB00), "mdns:lan", 0.0)
    assert at_first_hand(known, 9).revision != before.revision


# Registrations

FIRST, SECOND = Contact(1, 1, (HERE, THERE)), Contact(2, 1, (HERE,))


@pytest.fixture
def registrations() -> Registrations:
    return Registrations(MembershipLimits())


def test_all_are_told_of(registrations: Registrations) -> None:
    assert registrations.admit(b"a", FIRST, 0.0) and registrations.admit(b"b", SECOND, 0.0)
    assert list(registrations.others(Reach.LOCAL).values()) == [FIRST, SECOND]
    assert b"a" in registrations and b"c" not in registrations


def test_elsewhere_only_what_leads_there_is_told(registrations: Registrations) -> None:
    registrations.admit(b"a", FIRST, 0.0)
    registrations.admit(b"b", SECOND, 0.0)
    assert list(registrations.others(Reach.PLAIN).values()) == [Contact(1, 1, (THERE,))]


def test_what_is_new_changes_the_revision(registrations: Registrations) -> None:
    revisions = []
    for peer, told in ((b"a", FIRST), (b"a", FIRST), (b"a", Contact(1, 2, (HERE,)))):
        registrations.admit(peer, told, 0.0)
        revisions.append(registrations.revision)
    assert revisions == [1, 1, 2]


def test_who_only_asks_is_news_to_nobody(registrations: Registrations) -> None:
    registrations.admit(b"a", Contact(1, 1, ()), 0.0)
    assert (
        registrations.revision == 0 and list(registrations.others(Reach.LOCAL).values()) == []
    )
    registrations.admit(b"a", Contact(1, 2, ()), 0.0)
    registrations.tick(REGISTERED_S)
    assert registrations.revision == 0 and not len(registrations)


def test_who_is_silent_is_forgotten(registrations: Registrations) -> None:
    registrations.admit(b"a", FIRST, 0.0)
    registrations.admit(b"b", SECOND, 1.0)
    registrations.heard(b"a", 5.0)
    registrations.heard(b"nobody", 5.0)
    assert registrations.deadline() == 1.0 + REGISTERED_S
    registrations.tick(1.0 + REGISTERED_S)
    assert (
        list(registrations.others(Reach.LOCAL).values()) == [FIRST]
        and registrations.revision == 3
    )
    registrations.check()


def test_nobody_is_silent_to_one_that_slept(registrations: Registrations) -> None:
    registrations.admit(b"a", FIRST, 0.0)
    registrations.tick(100.0)
    assert list(registrations.others(Reach.LOCAL).values()) == [FIRST]
    assert registrations.deadline() == 100.0 + REGISTERED_S


def test_so_many_are_registered() -> None:
    registrations = Registrations(MembershipLimits(processes_max=1))
    assert registrations.admit(b"a", FIRST, 0.0)
    assert not registrations.admit(b"b", SECOND, 0.0)
    assert registrations.admit(b"a", SECOND, 0.0)
    registrations.check()


def test_nobody_speaks_for_another(registrations: Registrations) -> None:
    registrations.admit(b"a", FIRST, 0.0)
    registrations.admit(b"rogue", Contact(1, 9, ()), 0.0)
    assert list(registrations.others(Reach.LOCAL).values()) == [FIRST]


# Referrals

ONE, TWO = Contact(1, 1, (HERE,)), Contact(2, 1, (THERE,))


@pytest.fixture
def refused() -> Counter[str]:
    return Counter()


@pytest.fixture
def referrals(refused: Counter[str]) -> Referrals:
    return Referrals(US, refused, MembershipLimits())


def told(referrals: Referrals, *others: Contact, teller: int = TELLER) -> list[int]:
    """A peer on this machine tells of these."""
    ended = referrals.told(teller, Reach.LOCAL, list(others), 0.0)
    referrals.check()
    return ended


def test_who_is_told_of_is_asked_once(referrals: Referrals) -> None:
    told(referrals, ONE, TWO)
    assert referrals.pick(0.0, Reach.PLAIN) == [1, 2]
    assert referrals.asks(1) and referrals.pick(0.0, Reach.PLAIN) == []
    referrals.answered(1, 0.1)
    assert not referrals.asks(1) and referrals.pick(9.0, Reach.PLAIN) == []


def test_this_process_is_not_asked(referrals: Referrals) -> None:
    told(referrals, Contact(US, 1, (HERE,)))
    assert US not in referrals and referrals.pick(0.0, Reach.PLAIN) == []


def test_who_changed_is_asked_again(referrals: Referrals) -> None:
    told(referrals, ONE)
    referrals.pick(0.0, Reach.PLAIN)
    referrals.answered(1, 0.1)
    told(referrals, ONE)
    assert referrals.pick(1.0, Reach.PLAIN) == []
    told(referrals, Contact(1, 2, (HERE,)))
    assert referrals.pick(1.0, Reach.PLAIN) == [1]


def test_who_changed_while_it_was_asked_is_asked_again(referrals: Referrals) -> None:
    told(referrals, ONE)
    referrals.pick(0.0, Reach.PLAIN)
    told(referrals, Contact(1, 2, (HERE,)))
    referrals.answered(1, 0.1)
    assert referrals.pick(0.1, Reach.PLAIN) == []
    assert referrals.deadline(asks=True) == 0.1 + HELLO_S
    assert referrals.pick(0.1 + HELLO_S, Reach.PLAIN) == [1]


def test_who_answers_unasked_is_not_asked(referrals: Referrals) -> None:
    told(referrals, ONE)
    referrals.answered(1, 0.1)
    assert referrals.pick(9.0, Reach.PLAIN) == []


def test_elsewhere_is_asked_only_if_somebody_wants_to(referrals: Referrals) -> None:
    told(referrals, TWO)
    assert referrals.pick(0.0, Reach.LOCAL) == [] and referrals.deadline(asks=True) == inf
    assert (
        referrals.addresses(2, Reach.LOCAL) == set()
        and referrals.addresses(5, Reach.PLAIN) == set()
    )
    assert referrals.addresses(2, Reach.PLAIN) == {THERE}


def test_a_peer_elsewhere_knows_nothing_of_this_machine(
    referrals: Referrals, refused: Counter[str]
) -> None:
    referrals.told(TELLER, Reach.PLAIN, [Contact(1, 1, (HERE, THERE))], 0.0)
    assert referrals.addresses(1, Reach.PLAIN) == {THERE} and refused == {"elsewhere": 1}


def test_who_does_not_answer_is_asked_ever_more_slowly(referrals: Referrals) -> None:
    told(referrals, ONE)
    waits, now = [], 0.0
    for _ in range(6):
        assert referrals.pick(now, Reach.PLAIN) == [1]
        referrals.missed(1, now, kept=False)
        referrals.pick(now, Reach.PLAIN)
        waits.append(referrals.deadline(asks=True) - now)
        now = referrals.deadline(asks=True)
    assert waits[0] == HELLO_S and waits[-1] == HELLO_S_MAX
    assert referrals.deadline(asks=False) == inf


def test_who_is_tried_anyway_is_asked_when_there_is_news(referrals: Referrals) -> None:
    told(referrals, ONE)
    referrals.pick(0.0, Reach.PLAIN)
    referrals.missed(1, 1.0, kept=True)
    assert referrals.pick(99.0, Reach.PLAIN) == []
    told(referrals, Contact(1, 2, (HERE,)))
    assert referrals.pick(99.0, Reach.PLAIN) == [1]


def test_who_was_let_go_is_asked_anew(referrals: Referrals) -> None:
    told(referrals, ONE)
    referrals.pick(0.0, Reach.PLAIN)
    referrals.release(1)
    referrals.release(5)
    assert referrals.pick(0.0, Reach.PLAIN) == [1]


def test_so_many_are_asked_at_once(refused: Counter[str]) -> None:
    referrals = Referrals(US, refused, MembershipLimits(asked_max=1))
    told(referrals, ONE, TWO)
    assert referrals.pick(0.0, Reach.PLAIN) == [1]
    assert referrals.pick(0.0, Reach.PLAIN) == [] and referrals.deadline(asks=True) == inf
    referrals.answered(1, 0.1)
    assert referrals.pick(0.1, Reach.PLAIN) == [2]
    referrals.check()


def test_so_many_are_remembered(refused: Counter[str]) -> None:
    referrals = Referrals(US, refused, MembershipLimits(processes_max=1))
    told(referrals, ONE, TWO)
    assert 2 not in referrals and refused == {"processes-full": 1}


def test_who_is_told_of_no_more_is_over(referrals: Referrals) -> None:
    told(referrals, ONE, TWO)
    told(referrals, ONE, teller=OTHER_TELLER)
    assert told(referrals) == [2]
    assert told(referrals, teller=OTHER_TELLER) == [1]
    assert 1 not in referrals


def test_what_a_lost_peer_told_counts_for_a_while(referrals: Referrals) -> None:
    told(referrals, ONE)
    referrals.lost(TELLER, 300.0)
    referrals.lost(OTHER_TELLER, 200.0)
    assert referrals.deadline(asks=False) == 300.0
    assert referrals.tick(299.0) == [] and referrals.tick(300.0) == [1]


def test_what_a_peer_told_counts_again_when_it_is_back(referrals: Referrals) -> None:
    told(referrals, ONE)
    referrals.lost(TELLER, 300.0)
    told(referrals, ONE)
    assert referrals.tick(300.0) == [] and 1 in referrals
