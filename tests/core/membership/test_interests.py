"""What the roles of a process look for."""

from __future__ import annotations

import pytest

from zmqkit.core.membership.interests import EVERYBODY, Interests, key_of
from zmqkit.core.membership.known import KnownRoles
from zmqkit.core.membership.seed import Seeds
from zmqkit.limits import MembershipLimits
from zmqkit.model import Reach, Record, parse_url

RECORD = Record("orders", "service", 0xA, 9, ("127.0.0.1",), 5000, 6000)
ORDERS = key_of("service", "orders")
URL = "tcp://127.0.0.1:5000/orders"


@pytest.fixture
def seeds() -> Seeds:
    return Seeds(1)


@pytest.fixture
def interests(seeds: Seeds) -> Interests:
    known = KnownRoles(MembershipLimits())
    known.learn(RECORD, "mdns", 0.0)
    return Interests(known, seeds)


def test_nothing_is_wanted_at_first(interests: Interests) -> None:
    assert not interests and interests.keys(9, 0xA) == interests.reaches(9) == []


def test_a_role_is_wanted_by_its_name_and_by_whoever_wants_all(interests: Interests) -> None:
    interests.add(ORDERS, Reach.LOCAL)
    interests.add(EVERYBODY, Reach.PLAIN)
    assert interests.keys(9, 0xA) == [ORDERS, EVERYBODY] and interests.reaches(9) == [
        Reach.LOCAL,
        Reach.PLAIN,
    ]


def test_a_role_is_wanted_by_the_url_that_means_it(interests: Interests, seeds: Seeds) -> None:
    interests.add(URL, Reach.LOCAL)
    seeds.add(parse_url(URL), URL, "service", 0.0)
    [seed] = seeds
    seed.process, seed.incarnation = 9, 0xA
    assert interests.keys(9, 0xA) == [URL]
    seed.process = 8  # where somebody claims another's role
    assert interests.keys(9, 0xA) == []


def test_only_the_last_who_gives_up_ends_it(interests: Interests) -> None:
    interests.add(ORDERS, Reach.LOCAL)
    interests.add(ORDERS, Reach.PLAIN)
    assert not interests.remove(ORDERS, Reach.LOCAL) and ORDERS in interests
    assert interests.remove(ORDERS, Reach.PLAIN) and ORDERS not in interests
    assert not interests.remove(ORDERS, Reach.PLAIN)


def test_nobody_wants_a_process_that_has_nothing(interests: Interests) -> None:
    interests.add(EVERYBODY, Reach.LOCAL)
    assert interests.reaches(8) == []
