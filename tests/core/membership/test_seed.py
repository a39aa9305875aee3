"""Addresses given by hand."""

from __future__ import annotations

import math

import pytest

from tests.packets import read
from zmqkit.core.effects import Connect, Disconnect, Effect, News, Tell
from zmqkit.core.membership.directory import Directory
from zmqkit.core.membership.seed import Seed, Seeds
from zmqkit.limits import HELLO_S, HELLO_S_MAX
from zmqkit.model import parse_url
from zmqkit.wire.packet import HELLO

URL = parse_url("tcp://127.0.0.1:5000/orders")
KEY = "tcp://127.0.0.1:5000/orders"
HERE = Directory(9, 5000, 1, [("orders", "service", 0xA, 6000)])
NONE = Directory(9, 5000, 2, [])


@pytest.fixture
def seeds() -> Seeds:
    return Seeds(1)


def the(seeds: Seeds) -> Seed:
    """The only one there is."""
    [seed] = seeds
    return seed


def answered(seeds: Seeds, directory: Directory, key: str = KEY) -> list[Effect]:
    """A process answers at the address."""
    add(seeds, key).process = directory.process
    return seeds.pick(directory, None)


def add(seeds: Seeds, key: str = KEY) -> Seed:
    """An address that is asked."""
    seeds.add(URL, key, "service", 0.0)
    return the(seeds)


def test_an_address_is_connected_once(seeds: Seeds) -> None:
    [connect] = seeds.add(URL, "", "service", 0.0)
    assert connect == Connect(b"stcp://127.0.0.1:5000", "tcp://127.0.0.1:5000")
    assert seeds.add(URL, "", "service", 0.0) == []
    assert seeds.get(b"stcp://127.0.0.1:5000") is the(seeds) and seeds.get(b"x") is None


def test_it_is_asked_ever_more_slowly(seeds: Seeds) -> None:
    add(seeds)
    assert seeds.deadline() == HELLO_S
    waits = []
    for _ in range(6):
        now = seeds.deadline()
        assert [read(e) for e in seeds.tick(now)] == [(HELLO, {})]
        waits.append(seeds.deadline() - now)
    assert waits[0] == 2 * HELLO_S and waits[-1] == HELLO_S_MAX


def test_a_url_means_the_role_that_answers_there(seeds: Seeds) -> None:
    assert answered(seeds, HERE) == []
    assert seeds.keys_of(9, 0xA) == [KEY] and seeds.keys_of(9, 0xB) == []


def test_a_url_that_means_none_gives_a_hint(seeds: Seeds) -> None:
    [hint] = answered(seeds, NONE)
    assert isinstance(hint, Tell) and (hint.news, hint.key) == (News.HINT, KEY)


def test_a_peer_of_everybody_means_nothing_by_itself(seeds: Seeds) -> None:
    assert answered(seeds, NONE, "") == []


def test_it_rests_while_the_process_is_a_neighbour(seeds: Seeds) -> None:
    answered(seeds, HERE)
    seed = the(seeds)
    assert seeds.rest(8) == []
    assert seeds.rest(9) == [Disconnect(seed.peer)]
    assert seeds.rest(9) == [] and seeds.deadline() == math.inf


def test_it_is_asked_at_once_when_that_is_over(seeds: Seeds) -> None:
    answered(seeds, HERE)
    seed = the(seeds)
    seeds.rest(9)
    assert seeds.wake(9) == [Connect(seed.peer, URL.endpoint)]
    assert seeds.keys_of(9, 0xA) == [] and [read(e)[0] for e in seeds.tick(0.0)] == [HELLO]


def test_a_url_finds_the_role_that_comes_after_its_own(seeds: Seeds) -> None:
    answered(seeds, HERE)
    after = Directory(9, 5000, 2, [("orders", "service", 0xB, 6001)])
    assert seeds.pick(after, None) == [] and seeds.keys_of(9, 0xB) == [KEY]


def test_a_url_keeps_its_role_while_that_is_listed(seeds: Seeds) -> None:
    answered(seeds, HERE)
    both = Directory(9, 5000, 2, [*HERE.roles, ("orders", "service", 0xB, 6001)])
    assert seeds.pick(both, None) == [] and seeds.keys_of(9, 0xA) == [KEY]


def test_those_that_do_not_rest_are_asked_when_somebody_asks(seeds: Seeds) -> None:
    seed = add(seeds)
    assert [read(e)[0] for e in seeds.ask_all(3.0)] == [HELLO]
    assert seed.next_at == 3.0 + HELLO_S
    answered(seeds, HERE)
    seeds.rest(9)
    assert seeds.ask_all(4.0) == []


def test_what_nobody_asks_for_is_asked_no_more(seeds: Seeds) -> None:
    seed = add(seeds)
    assert seeds.remove("another") == []
    assert seeds.remove(KEY) == [Disconnect(seed.peer)]
    assert list(seeds) == []


def test_one_that_rests_has_no_connection_to_close(seeds: Seeds) -> None:
    answered(seeds, HERE)
    seeds.rest(9)
    assert seeds.remove(KEY) == []


def test_peers_of_everybody_belong_to_no_key(seeds: Seeds) -> None:
    add(seeds, "")
    assert seeds.remove("") == [] and the(seeds)
