"""While a wanted name has no instance that answers, discovery is told to ask anew."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest

from tests.core.membership.neighbours import ORDERS, PEER, RECORD, US, alive
from zmqkit.core.effects import Ask
from zmqkit.core.membership.interests import EVERYBODY, key_of
from zmqkit.core.membership.lacks import ASK_S, ASK_S_MAX, DEAF_S
from zmqkit.core.membership.membership import MembershipCore
from zmqkit.limits import EVASIVE_S, LEVEL_PEERS
from zmqkit.model import Reach, parse_url


@pytest.fixture
def core() -> MembershipCore:
    return MembershipCore(US)


def asked(core: MembershipCore, since: float, until: float) -> list[float]:
    """When the core asks, if it is given a turn whenever it is due."""
    times = []
    for turn in range(round(8 * since), round(8 * until) + 1):
        times += [turn / 8 for each in asks(core, turn / 8)]
        core.check()
    return times


def asks(core: MembershipCore, now: float) -> list[Ask]:
    """What it has asked for in this turn."""
    core.tick(now)
    return [each for each in core.flush(now) if isinstance(each, Ask)]


def test_a_name_that_nobody_has_is_asked_for_less_and_less_often(core: MembershipCore) -> None:
    core.want(ORDERS, 0.0, Reach.PLAIN)
    assert asked(core, 0.0, 22.5) == [1.0, 2.0, 4.0, 8.0, 13.0, 18.0]


def test_one_that_answers_is_enough(core: MembershipCore) -> None:
    alive(core)
    assert asks(core, ASK_S) == []
    assert core.lacks.due_at == 2 * ASK_S


def test_one_that_falls_silent_is_asked_for_at_the_next_look(core: MembershipCore) -> None:
    alive(core)
    assert asked(core, 0.0, EVASIVE_S + ASK_S) == [EVASIVE_S + ASK_S]


def test_one_that_breaks_off_is_asked_for_at_the_next_look(core: MembershipCore) -> None:
    alive(core)
    assert asks(core, ASK_S) == []
    core.disconnected(PEER, 1.5)
    assert asks(core, 1.5) == []
    assert asks(core, 2 * ASK_S) == [Ask(Reach.LOCAL)]
    assert core.lacks.due_at == 3 * ASK_S


def test_another_name_is_asked_for_soon_though_one_is_lacked_for_long(
    core: MembershipCore,
) -> None:
    core.want(ORDERS, 0.0, Reach.LOCAL)
    assert asked(core, 0.0, 20.0)[-1] == 18.0
    core.want(key_of("service", "other"), 20.0, Reach.PLAIN)
    assert asked(core, 20.0, 25.0) == [21.0, 22.0, 24.0]


def test_it_is_asked_as_far_as_the_name_is_wanted(core: MembershipCore) -> None:
    core.want(ORDERS, 0.0, Reach.LOCAL)
    assert asks(core, ASK_S) == [Ask(Reach.LOCAL)]
    core.want(ORDERS, ASK_S, Reach.PLAIN)
    assert asks(core, 2 * ASK_S) == [Ask(Reach.PLAIN)]


def test_nobody_asks_for_what_nobody_wants_by_name(core: MembershipCore) -> None:
    url = parse_url("tcp://127.0.0.1:5555/orders")
    core.want(EVERYBODY, 0.0, Reach.LOCAL)
    core.want("service tcp://127.0.0.1:5555/orders", 0.0, Reach.LOCAL)
    core.seed(url, "service tcp://127.0.0.1:5555/orders", "service", 0.0)
    assert asked(core, 0.0, 60.0) == []
    core.want(ORDERS, 60.0, Reach.LOCAL)
    core.unwant(ORDERS, Reach.LOCAL)
    assert asked(core, 60.0, 90.0) == []
    core.unwant(EVERYBODY, Reach.LOCAL)
    core.unwant("service tcp://127.0.0.1:5555/orders", Reach.LOCAL)
    assert asks(core, 91.0) == []
    assert core.lacks.due_at == inf


def test_among_many_it_is_asked_for_less_often(core: MembershipCore) -> None:
    for number in range(4 * LEVEL_PEERS):
        core.heard(replace(RECORD, name="x", process=9 + number, incarnation=number), "mdns", 0)
    core.want(ORDERS, 0.0, Reach.LOCAL)
    assert asked(core, 0.0, 80.0) == [1.0, 5.0, 13.0, 29.0, 49.0, 69.0]
    assert 4 * ASK_S_MAX == 69.0 - 49.0


def test_a_deaf_machine_asks_now_and_then_for_others_of_a_name(core: MembershipCore) -> None:
    core.want(EVERYBODY, 0.0, Reach.LOCAL)
    core.lacks.deaf.add(Reach.PLAIN)
    assert asked(core, 0.0, 2 * DEAF_S) == [ASK_S, ASK_S + DEAF_S]
    core.lacks.deaf.clear()
    assert asked(core, 60.0, 120.0) == []


def test_a_deaf_machine_is_told_why_it_finds_late(core: MembershipCore) -> None:
    core.lacks.deaf.add(Reach.PLAIN)
    said = core.search.explain(ORDERS, Reach.PLAIN)
    assert said.startswith(
        "one that has just started is found some seconds later, since announcements do not "
        "arrive here: a firewall of this machine drops UDP port 5353, or the network drops "
        "multicast; or none is running: "
    )
    assert "5353" not in core.search.explain(ORDERS, Reach.LOCAL)
