"""Processes that static peers tell of."""

from __future__ import annotations

from collections import Counter
from math import inf

import pytest

from zmqkit.core.membership import rumour as rumour_module
from zmqkit.core.membership.places import Whereabouts
from zmqkit.core.membership.rumour import Rumours
from zmqkit.model import Address, Reach
from zmqkit.options import HELLO_S, HELLO_S_MAX

US, PEER, OTHER_PEER = 99, 7, 8
HERE, THERE = Address("127.0.0.1", 5000), Address("10.0.0.1", 5001)
ONE, TWO = Whereabouts(1, 1, (HERE,)), Whereabouts(2, 1, (THERE,))
NEAR = "127.0.0.1"


@pytest.fixture
def refused() -> Counter[str]:
    return Counter()


@pytest.fixture
def rumours(refused: Counter[str]) -> Rumours:
    return Rumours(US, refused)


def told(rumours: Rumours, *others: Whereabouts, teller: int = PEER) -> list[int]:
    """A peer on this machine tells of these."""
    ended = rumours.told(teller, NEAR, list(others), 0.0)
    rumours.check()
    return ended


def test_who_is_told_of_is_asked_once(rumours: Rumours) -> None:
    told(rumours, ONE, TWO)
    assert rumours.pick(0.0, Reach.PLAIN) == [1, 2]
    assert rumours.asks(1) and rumours.pick(0.0, Reach.PLAIN) == []
    rumours.answered(1, 0.1)
    assert not rumours.asks(1) and rumours.pick(9.0, Reach.PLAIN) == []


def test_this_process_is_not_asked(rumours: Rumours) -> None:
    told(rumours, Whereabouts(US, 1, (HERE,)))
    assert US not in rumours and rumours.pick(0.0, Reach.PLAIN) == []


def test_who_changed_is_asked_again(rumours: Rumours) -> None:
    told(rumours, ONE)
    rumours.pick(0.0, Reach.PLAIN)
    rumours.answered(1, 0.1)
    told(rumours, ONE)
    assert rumours.pick(1.0, Reach.PLAIN) == []
    told(rumours, Whereabouts(1, 2, (HERE,)))
    assert rumours.pick(1.0, Reach.PLAIN) == [1]


def test_who_changed_while_it_was_asked_is_asked_again(rumours: Rumours) -> None:
    told(rumours, ONE)
    rumours.pick(0.0, Reach.PLAIN)
    told(rumours, Whereabouts(1, 2, (HERE,)))
    rumours.answered(1, 0.1)
    assert rumours.pick(0.1, Reach.PLAIN) == []
    assert rumours.deadline(asks=True) == 0.1 + HELLO_S
    assert rumours.pick(0.1 + HELLO_S, Reach.PLAIN) == [1]


def test_who_answers_unasked_is_not_asked(rumours: Rumours) -> None:
    told(rumours, ONE)
    rumours.answered(1, 0.1)
    assert rumours.pick(9.0, Reach.PLAIN) == []


def test_elsewhere_is_asked_only_if_somebody_wants_to(rumours: Rumours) -> None:
    told(rumours, TWO)
    assert rumours.pick(0.0, Reach.LOCAL) == [] and rumours.deadline(asks=True) == inf
    assert (
        rumours.addresses(2, Reach.LOCAL) == set()
        and rumours.addresses(5, Reach.PLAIN) == set()
    )
    assert rumours.addresses(2, Reach.PLAIN) == {THERE}


def test_a_peer_elsewhere_knows_nothing_of_this_machine(
    rumours: Rumours, refused: Counter[str]
) -> None:
    rumours.told(PEER, "10.0.0.9", [Whereabouts(1, 1, (HERE, THERE))], 0.0)
    assert rumours.addresses(1, Reach.PLAIN) == {THERE} and refused == {"elsewhere": 1}


def test_who_does_not_answer_is_asked_ever_more_slowly(rumours: Rumours) -> None:
    told(rumours, ONE)
    waits, now = [], 0.0
    for _ in range(6):
        assert rumours.pick(now, Reach.PLAIN) == [1]
        rumours.missed(1, now, kept=False)
        rumours.pick(now, Reach.PLAIN)
        waits.append(rumours.deadline(asks=True) - now)
        now = rumours.deadline(asks=True)
    assert waits[0] == HELLO_S and waits[-1] == HELLO_S_MAX
    assert rumours.deadline(asks=False) == inf


def test_who_is_tried_anyway_is_asked_when_there_is_news(rumours: Rumours) -> None:
    told(rumours, ONE)
    rumours.pick(0.0, Reach.PLAIN)
    rumours.missed(1, 1.0, kept=True)
    assert rumours.pick(99.0, Reach.PLAIN) == []
    told(rumours, Whereabouts(1, 2, (HERE,)))
    assert rumours.pick(99.0, Reach.PLAIN) == [1]


def test_who_was_let_go_is_asked_anew(rumours: Rumours) -> None:
    told(rumours, ONE)
    rumours.pick(0.0, Reach.PLAIN)
    rumours.release(1)
    rumours.release(5)
    assert rumours.pick(0.0, Reach.PLAIN) == [1]


def test_so_many_are_asked_at_once(rumours: Rumours, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rumour_module, "ASKED_MAX", 1)
    told(rumours, ONE, TWO)
    assert rumours.pick(0.0, Reach.PLAIN) == [1]
    assert rumours.pick(0.0, Reach.PLAIN) == [] and rumours.deadline(asks=True) == inf
    rumours.answered(1, 0.1)
    assert rumours.pick(0.1, Reach.PLAIN) == [2]
    rumours.check()


def test_so_many_are_remembered(
    rumours: Rumours, refused: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rumour_module, "PROCESSES_MAX", 1)
    told(rumours, ONE, TWO)
    assert 2 not in rumours and refused == {"processes-full": 1}


def test_who_is_told_of_no_more_is_over(rumours: Rumours) -> None:
    told(rumours, ONE, TWO)
    told(rumours, ONE, teller=OTHER_PEER)
    assert told(rumours) == [2]
    assert told(rumours, teller=OTHER_PEER) == [1]
    assert 1 not in rumours


def test_what_a_lost_peer_told_counts_for_a_while(rumours: Rumours) -> None:
    told(rumours, ONE)
    rumours.lost(PEER, 300.0)
    rumours.lost(OTHER_PEER, 200.0)
    assert rumours.deadline(asks=False) == 300.0
    assert rumours.tick(299.0) == [] and rumours.tick(300.0) == [1]


def test_what_a_peer_told_counts_again_when_it_is_back(rumours: Rumours) -> None:
    told(rumours, ONE)
    rumours.lost(PEER, 300.0)
    told(rumours, ONE)
    assert rumours.tick(300.0) == [] and 1 in rumours
