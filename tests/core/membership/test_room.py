"""How many processes to be connected to at once."""

from __future__ import annotations

import pytest

from tests.core.membership.neighbours import ORDERS, RECORD, THEM, US
from zmqkit.core.membership.interests import Interests
from zmqkit.core.membership.known import KnownRoles
from zmqkit.core.membership.neighbours import Neighbours
from zmqkit.core.membership.room import Room
from zmqkit.core.membership.seed import Seeds
from zmqkit.limits import MembershipLimits
from zmqkit.model import Reach


@pytest.fixture
def interests() -> Interests:
    known = KnownRoles(MembershipLimits())
    known.learn(RECORD, "mdns", 0.0)
    return Interests(known, Seeds(US))


@pytest.fixture
def room(interests: Interests) -> Room:
    return Room(Neighbours(), interests, 1)


def test_who_is_wanted_has_room(room: Room, interests: Interests) -> None:
    interests.add(ORDERS, Reach.LOCAL)
    assert room.takes(THEM, asked=False) and not room.is_due


def test_who_is_asked_has_room_whatever_it_has(room: Room) -> None:
    assert room.takes(THEM, asked=True)


def test_who_is_refused_has_a_turn_once_there_is_room(room: Room) -> None:
    assert not room.takes(THEM, asked=False) and not room.opens()
    room.make()
    assert room.is_due and room.opens() and not room.is_due


def test_nobody_is_connected_to_beyond_the_limit(interests: Interests) -> None:
    interests.add(ORDERS, Reach.LOCAL)
    assert not Room(Neighbours(), interests, 0).takes(THEM, asked=True)
