"""Who asked for others, and may be asked itself."""

from __future__ import annotations

import pytest

from zmqkit.core.membership import visitor as visitor_module
from zmqkit.core.membership.places import Whereabouts
from zmqkit.core.membership.visitor import Visitors
from zmqkit.model import Address, Reach
from zmqkit.options import VISITOR_S

HERE, THERE = Address("127.0.0.1", 5000), Address("10.0.0.1", 5001)
ONE, TWO = Whereabouts(1, 1, (HERE, THERE)), Whereabouts(2, 1, (HERE,))


@pytest.fixture
def visitors() -> Visitors:
    return Visitors()


def test_all_are_told_of(visitors: Visitors) -> None:
    assert visitors.admit(b"a", ONE, 0.0) and visitors.admit(b"b", TWO, 0.0)
    assert list(visitors.others(Reach.LOCAL).values()) == [ONE, TWO]
    assert b"a" in visitors and b"c" not in visitors


def test_elsewhere_only_what_leads_there_is_told(visitors: Visitors) -> None:
    visitors.admit(b"a", ONE, 0.0)
    visitors.admit(b"b", TWO, 0.0)
    assert list(visitors.others(Reach.PLAIN).values()) == [Whereabouts(1, 1, (THERE,))]


def test_what_is_new_changes_the_revision(visitors: Visitors) -> None:
    revisions = []
    for peer, told in ((b"a", ONE), (b"a", ONE), (b"a", Whereabouts(1, 2, (HERE,)))):
        visitors.admit(peer, told, 0.0)
        revisions.append(visitors.revision)
    assert revisions == [1, 1, 2]


def test_who_only_asks_is_news_to_nobody(visitors: Visitors) -> None:
    visitors.admit(b"a", Whereabouts(1, 1, ()), 0.0)
    assert visitors.revision == 0 and list(visitors.others(Reach.LOCAL).values()) == []
    visitors.admit(b"a", Whereabouts(1, 2, ()), 0.0)
    visitors.tick(VISITOR_S)
    assert visitors.revision == 0 and not len(visitors)


def test_who_is_silent_is_forgotten(visitors: Visitors) -> None:
    visitors.admit(b"a", ONE, 0.0)
    visitors.admit(b"b", TWO, 1.0)
    visitors.heard(b"a", 5.0)
    visitors.heard(b"nobody", 5.0)
    assert visitors.deadline() == 1.0 + VISITOR_S
    visitors.tick(1.0 + VISITOR_S)
    assert list(visitors.others(Reach.LOCAL).values()) == [ONE] and visitors.revision == 3
    visitors.check()


def test_nobody_is_silent_to_one_that_slept(visitors: Visitors) -> None:
    visitors.admit(b"a", ONE, 0.0)
    visitors.tick(100.0)
    assert list(visitors.others(Reach.LOCAL).values()) == [ONE]
    assert visitors.deadline() == 100.0 + VISITOR_S


def test_so_many_are_remembered(visitors: Visitors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visitor_module, "PROCESSES_MAX", 1)
    assert visitors.admit(b"a", ONE, 0.0)
    assert not visitors.admit(b"b", TWO, 0.0)
    assert visitors.admit(b"a", TWO, 0.0)
    visitors.check()


def test_nobody_speaks_for_another(visitors: Visitors) -> None:
    visitors.admit(b"a", ONE, 0.0)
    visitors.admit(b"rogue", Whereabouts(1, 9, ()), 0.0)
    assert list(visitors.others(Reach.LOCAL).values()) == [ONE]
