"""What the roles of a process look for."""

from __future__ import annotations

import pytest

from zmqkit.core.membership.seed import Seeds
from zmqkit.core.membership.sighting import Sightings
from zmqkit.core.membership.wants import EVERYBODY, Wants, key_of
from zmqkit.model import Reach, Record, parse_url

RECORD = Record("orders", "service", 0xA, 9, ("127.0.0.1",), 5000, 6000)
ORDERS = key_of("service", "orders")
URL = "tcp://127.0.0.1:5000/orders"


@pytest.fixture
def seeds() -> Seeds:
    return Seeds(1)


@pytest.fixture
def wants(seeds: Seeds) -> Wants:
    known = Sightings()
    known.learn(RECORD, "mdns", 0.0)
    return Wants(known, seeds)


def test_nothing_is_wanted_at_first(wants: Wants) -> None:
    assert not wants and wants.keys(9, 0xA) == wants.reaches(9) == []


def test_a_role_is_wanted_by_its_name_and_by_whoever_wants_all(wants: Wants) -> None:
    wants.add(ORDERS, Reach.LOCAL)
    wants.add(EVERYBODY, Reach.PLAIN)
    assert wants.keys(9, 0xA) == [ORDERS, EVERYBODY] and wants.reaches(9) == [
        Reach.LOCAL,
        Reach.PLAIN,
    ]


def test_a_role_is_wanted_by_the_url_that_means_it(wants: Wants, seeds: Seeds) -> None:
    wants.add(URL, Reach.LOCAL)
    seeds.add(parse_url(URL), URL, "service", 0.0)
    [seed] = seeds
    seed.process, seed.incarnation = 9, 0xA
    assert wants.keys(9, 0xA) == [URL]
    seed.process = 8  # where somebody claims another's role
    assert wants.keys(9, 0xA) == []


def test_only_the_last_who_gives_up_ends_it(wants: Wants) -> None:
    wants.add(ORDERS, Reach.LOCAL)
    wants.add(ORDERS, Reach.PLAIN)
    assert not wants.remove(ORDERS, Reach.LOCAL) and ORDERS in wants
    assert wants.remove(ORDERS, Reach.PLAIN) and ORDERS not in wants
    assert not wants.remove(ORDERS, Reach.PLAIN)


def test_nobody_wants_a_process_that_has_nothing(wants: Wants) -> None:
    wants.add(EVERYBODY, Reach.LOCAL)
    assert wants.reaches(8) == []
