"""Where processes may be asked, as they tell each other."""

from __future__ import annotations

from dataclasses import replace

import pytest

from zmqkit.core.membership.places import (
    Whereabouts,
    at_first_hand,
    means_one_host,
    read_addresses,
    read_others,
    rows_of,
)
from zmqkit.core.membership.sighting import HELLO, PEER, STATIC, Sightings
from zmqkit.model import Address, Reach, Record
from zmqkit.options import PLACES_MAX, PROCESSES_MAX
from zmqkit.wire.encoding import Malformed

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
    told = Whereabouts(9, 3, (HERE, THERE))
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
    told = Whereabouts(9, 3, (HERE, THERE))
    assert told.seen_from(Reach.LOCAL) == told
    assert told.seen_from(Reach.PLAIN) == Whereabouts(9, 3, (THERE,))


def test_some_addresses_mean_the_same_to_everybody() -> None:
    hosts = ("10.0.0.1", "2001:db8::1", "127.0.0.1", "fe80::1", "::", "x")
    assert [means_one_host(host) for host in hosts] == [True, True, True, False, False, False]


RECORD = Record("orders", "service", 0xA, 9, ("10.0.0.1", "fe80::1%eth0"), 5001, 6000)


@pytest.mark.parametrize("source", ["mdns:lan", HELLO, STATIC])
def test_what_is_known_at_first_hand_is_passed_on(source: str) -> None:
    known = Sightings()
    known.learn(RECORD, source, 0.0)
    assert at_first_hand(known, 9).addresses == (THERE,)


def test_what_a_third_party_told_is_not() -> None:
    known = Sightings()
    known.learn(RECORD, PEER, 0.0)
    known.learn(RECORD, HELLO, 0.0)
    assert at_first_hand(known, 9).addresses == ()
    known.learn(RECORD, "mdns:lan", 0.0)
    assert at_first_hand(known, 9).addresses == (THERE,)


def test_a_process_with_another_role_has_another_revision() -> None:
    known = Sightings()
    known.learn(RECORD, "mdns:lan", 0.0)
    before = at_first_hand(known, 9)
    known.learn(replace(RECORD, incarnation=0xB00), "mdns:lan", 0.0)
    assert at_first_hand(known, 9).revision != before.revision
