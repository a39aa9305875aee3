"""Another process, as membership sees it."""

from __future__ import annotations

import math

import pytest

from zmqkit.core.neighbour import Life, Neighbour
from zmqkit.options import EVASIVE_S

NEAR, FAR = ("127.0.0.1", 5000), ("fe80::1%eth0", 5000)


@pytest.fixture
def neighbour() -> Neighbour:
    return Neighbour(9, b"n", places=[NEAR, FAR])


def test_addresses_are_tried_in_turn(neighbour: Neighbour) -> None:
    tried = [neighbour.next_place() for _ in range(3)]
    assert tried == ["tcp://127.0.0.1:5000", "tcp://[fe80::1%eth0]:5000", tried[0]]
    assert neighbour.tries == 3


def test_roles_are_where_the_process_answered(neighbour: Neighbour) -> None:
    neighbour.place = FAR
    assert neighbour.endpoint(6000) == "tcp://[fe80::1%eth0]:6000"


def test_a_new_address_is_tried_next_and_an_old_one_no_more(neighbour: Neighbour) -> None:
    new = ("10.0.0.1", 5000)
    neighbour.take_places([new, FAR])
    assert neighbour.places == [new, FAR]


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
    neighbour.places = []
    assert neighbour.due_at() == math.inf


def test_one_that_is_silent_already_is_only_pinged(neighbour: Neighbour) -> None:
    neighbour.life, neighbour.silent = Life.ALIVE, True
    neighbour.next_at = 7.0
    assert neighbour.due_at() == 7.0
