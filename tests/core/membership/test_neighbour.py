"""Another process, as membership sees it."""

from __future__ import annotations

import math

import pytest

from zmqkit.core.effects import Connect, Disconnect
from zmqkit.core.membership.known import KnownRoles
from zmqkit.core.membership.neighbour import Life, Neighbour, peer_of, process_of
from zmqkit.core.membership.offers import Offers
from zmqkit.limits import EVASIVE_S, HELLO_S, RACE_S, RETRY_S_MAX, MembershipLimits
from zmqkit.model import Address

NEAR, FAR = Address("127.0.0.1", 5000), Address("fe80::1%eth0", 5000)
NEW = Address("10.0.0.1", 5000)
FIRST, SECOND = peer_of(9), peer_of(9, 1)


@pytest.fixture
def neighbour() -> Neighbour:
    return Neighbour(
        Offers(1, KnownRoles(MembershipLimits()), MembershipLimits()), 9, addresses=[NEAR, FAR]
    )


def test_addresses_are_tried_in_turn_and_told_apart(neighbour: Neighbour) -> None:
    assert neighbour.connect(0.0) == [Connect(FIRST, "tcp://127.0.0.1:5000")]
    assert neighbour.look_after(RACE_S) == [Connect(SECOND, "tcp://[fe80::1%eth0]:5000")]
    assert neighbour.attempts == {FIRST: NEAR, SECOND: FAR}
    assert (neighbour.tries, neighbour.untried, neighbour.race_at) == (2, 0, math.inf)
    neighbour.check()


def test_connections_say_which_process_they_are_meant_for() -> None:
    assert [process_of(p) for p in (FIRST, SECOND, peer_of(7, 300), b"sx")] == [9, 9, 7, 0]


def test_one_that_answered_has_one_connection(neighbour: Neighbour) -> None:
    neighbour.connect(0.0)
    neighbour.look_after(RACE_S)
    assert neighbour.answered_at(SECOND, 0.3) == [Disconnect(FIRST)]
    assert (neighbour.peer, neighbour.address, neighbour.since) == (SECOND, FAR, 0.3)
    assert neighbour.addresses == [FAR, NEAR]
    neighbour.check()


def test_what_gives_up_is_tried_again_after_a_tenth_of_the_time(neighbour: Neighbour) -> None:
    neighbour.connect(0.0)
    waits = []
    for now in (1.0, 10.0, 100.0):
        neighbour.give_up(now)
        waits.append(neighbour.next_at - now)
    assert waits == [HELLO_S, 1.0, RETRY_S_MAX]
    assert neighbour.life is Life.GONE and not neighbour.attempts


def test_roles_are_where_the_process_answered(neighbour: Neighbour) -> None:
    neighbour.address = FAR
    assert neighbour.endpoint(6000) == "tcp://[fe80::1%eth0]:6000"


def test_a_new_address_is_tried_next_and_an_old_one_no_more(neighbour: Neighbour) -> None:
    neighbour.take([NEW, FAR], 0.0)
    assert neighbour.addresses == [NEW, FAR]


def test_a_race_has_no_more_to_try_than_there_is(neighbour: Neighbour) -> None:
    neighbour.connect(0.0)
    neighbour.take([NEAR], 0.1)
    assert (neighbour.untried, neighbour.race_at) == (1, RACE_S)
    neighbour.take([], 0.1)
    assert (neighbour.untried, neighbour.race_at) == (0, math.inf)


def test_what_was_told_is_told_again_under_one_key(neighbour: Neighbour) -> None:
    neighbour.told = {(1, "a"): "x", (1, "b"): "x"}
    neighbour.tell_again("a")
    assert neighbour.told == {(1, "a"): "", (1, "b"): "x"}


def test_what_was_told_is_told_again_under_all(neighbour: Neighbour) -> None:
    neighbour.told = {(1, "a"): "x", (1, "b"): "x"}
    neighbour.tell_again()
    assert neighbour.told == {(1, "a"): "", (1, "b"): ""}


def test_nobody_is_told_by_a_key_that_is_given_up(neighbour: Neighbour) -> None:
    neighbour.told = {(1, "a"): "x", (1, "b"): "x"}
    neighbour.untell("a")
    assert neighbour.told == {(1, "b"): "x"}


@pytest.mark.parametrize(
    ("life", "due_at"),
    [
        (Life.GONE, 7.0),
        (Life.CONNECTING, 6.0),
        (Life.LOST, 6.0),
        (Life.ALIVE, 1.0 + EVASIVE_S),
    ],
)
def test_each_life_is_looked_after_in_time(
    neighbour: Neighbour, life: Life, due_at: float
) -> None:
    neighbour.life = life
    neighbour.next_at, neighbour.give_up_at, neighbour.pong_at = 7.0, 6.0, 1.0
    assert neighbour.due_at() == due_at


def test_nothing_is_due_where_there_is_nothing_to_try(neighbour: Neighbour) -> None:
    neighbour.addresses = []
    assert neighbour.due_at() == math.inf


def test_one_that_is_silent_already_is_only_pinged(neighbour: Neighbour) -> None:
    neighbour.life, neighbour.silent = Life.ALIVE, True
    neighbour.next_at = 7.0
    assert neighbour.due_at() == 7.0
