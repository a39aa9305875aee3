"""Who is there: neighbours and what is told of them."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest

from tests import packets
from tests.core.bench import kinds, tells
from tests.core.membership.neighbours import (
    FOUND,
    HERE,
    NEXT_ROW,
    ORDERS,
    OTHERS,
    PEER,
    RECORD,
    ROW,
    THEM,
    US,
    alive,
)
from zmqkit.core.effects import Connect, Disconnect, News
from zmqkit.core.membership.interests import EVERYBODY
from zmqkit.core.membership.membership import MembershipCore
from zmqkit.core.membership.neighbour import Life
from zmqkit.limits import EVASIVE_S, GONE_S, HELLO_S, PING_S, RETRY_S_MAX, UNLISTED_S
from zmqkit.model import Reach
from zmqkit.wire.packet import HELLO, PING


@pytest.fixture
def core() -> MembershipCore:
    return MembershipCore(US)


# Finding


def test_what_nobody_wants_is_left_alone(core: MembershipCore) -> None:
    assert core.heard(RECORD, "mdns", 0.0) == []
    assert list(core.roles) == [(THEM, 0xA)] and not core.neighbours


def test_what_is_wanted_is_connected_when_it_is_heard(core: MembershipCore) -> None:
    core.want(ORDERS, 0.0, Reach.LOCAL)
    assert core.heard(RECORD, "mdns", 0.0) == [Connect(PEER, HERE)]


def test_what_was_heard_is_connected_when_it_is_wanted(core: MembershipCore) -> None:
    core.heard(RECORD, "mdns", 0.0)
    assert core.want(ORDERS, 0.0, Reach.LOCAL) == [Connect(PEER, HERE)]


def test_whoever_wants_everybody_gets_it(core: MembershipCore) -> None:
    core.heard(RECORD, "mdns", 0.0)
    assert core.want(EVERYBODY, 0.0, Reach.LOCAL) == [Connect(PEER, HERE)]


def test_what_its_process_has_said_is_no_news_and_a_new_address_is(
    core: MembershipCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive(core)
    looked: list[int] = []
    monkeypatch.setattr(core, "_reach", lambda process, now: looked.append(process) or [])
    core.heard(RECORD, "mdns", 1.0)
    assert not looked
    core.heard(replace(RECORD, addresses=("127.0.0.1", "127.0.0.2")), "mdns", 1.0)
    core.heard(replace(RECORD, port=6666), "mdns", 1.0)
    core.heard(replace(RECORD, incarnation=0xB), "mdns", 1.0)
    assert looked == [THEM] * 3


def test_what_is_elsewhere_is_connected_only_if_open(core: MembershipCore) -> None:
    core.heard(replace(RECORD, addresses=("10.0.0.1",)), "mdns", 0.0)
    assert core.want(ORDERS, 0.0, Reach.LOCAL) == []
    assert core.want(ORDERS, 0.0, Reach.PLAIN) == [Connect(PEER, "tcp://10.0.0.1:5000")]


def test_a_connection_that_is_made_says_hello(core: MembershipCore) -> None:
    core.heard(RECORD, "mdns", 0.0)
    core.want(ORDERS, 0.0, Reach.LOCAL)
    assert kinds(core.connected(PEER, 0.0)) == [HELLO]
    assert core.connected(b"nobody", 0.0) == []


def test_a_welcome_makes_its_roles_found(core: MembershipCore) -> None:
    core.want(ORDERS, 0.0, Reach.LOCAL)
    core.heard(RECORD, "mdns", 0.0)
    assert core.receive(PEER, packets.directory(THEM, ROW), 0.0) == [FOUND]
    core.check()


def test_what_the_process_says_itself_counts_more_than_a_false_record(
    core: MembershipCore,
) -> None:
    core.want(ORDERS, 0.0, Reach.LOCAL)
    core.heard(replace(RECORD, process=THEM + 1, control_port=1), "forged", 0.0)
    core.heard(replace(RECORD, incarnation=0xB), "mdns", 0.0)
    other = ("orders", "service", 0xB, 6001)
    effects = core.receive(PEER, packets.directory(THEM, ROW, other), 0.0)
    assert FOUND in effects
    core.check()
    core.heard(replace(RECORD, process=THEM + 1, control_port=1), "forged", 1.0)
    assert core.malformed["conflict"] == 1 and THEM + 1 not in core.neighbours


def test_what_the_process_says_of_its_port_counts(core: MembershipCore) -> None:
    core.want(ORDERS, 0.0, Reach.LOCAL)
    core.heard(replace(RECORD, port=6666), "mdns", 0.0)
    assert core.receive(PEER, packets.directory(THEM, ROW), 0.0) == [FOUND]


def test_a_new_role_of_a_neighbour_is_found_at_once(core: MembershipCore) -> None:
    alive(core)
    new = replace(RECORD, incarnation=0xB, port=6001)
    assert tells(core.heard(new, "mdns", 1.0)) == [(News.FOUND, 0xB)]


def test_a_second_one_who_wants_is_told_too(core: MembershipCore) -> None:
    alive(core)
    assert core.want(ORDERS, 0.0, Reach.LOCAL) == [FOUND]
    assert core.want(EVERYBODY, 0.0, Reach.LOCAL) == [replace(FOUND, key=EVERYBODY)]


def test_who_does_not_answer_is_tried_ever_more_slowly(core: MembershipCore) -> None:
    core.want(ORDERS, 0.0, Reach.LOCAL)
    core.heard(RECORD, "mdns", 0.0)
    at = []
    for _ in range(200):
        now = core.deadline() + 0.001
        at += [now for e in core.tick(now) if isinstance(e, Connect)]
    waits = [b - a for a, b in pairwise(at)]
    assert all(
        wait < 2 * HELLO_S + 1.0
        for later, wait in zip(at[1:], waits, strict=True)
        if later < 10
    )
    assert waits[0] < waits[10] < waits[20]
    assert abs(waits[-1] - (RETRY_S_MAX + 2 * HELLO_S)) < 0.1


def test_who_is_heard_anew_is_tried_at_once(core: MembershipCore) -> None:
    core.want(ORDERS, 0.0, Reach.LOCAL)
    core.heard(RECORD, "mdns", 0.0)
    core.tick(1.1)
    assert core.neighbours[THEM].life is Life.GONE
    assert core.heard(RECORD, "mdns", 1.2) == [Connect(PEER, HERE)]


def test_one_that_has_nowhere_to_be_tried_is_not_due(core: MembershipCore) -> None:
    core.want(EVERYBODY, 0.0, Reach.PLAIN)
    core.heard(replace(RECORD, addresses=("10.0.0.1",)), "mdns", 0.0)
    core.want(ORDERS, 0.0, Reach.LOCAL)
    core.unwant(EVERYBODY, Reach.PLAIN)
    core.tick(1.1)
    assert core.neighbours[THEM].life is Life.GONE
    assert core.neighbours.deadline() == math.inf


# Living


def test_a_neighbour_is_pinged_each_second(core: MembershipCore) -> None:
    alive(core)
    assert kinds(core.tick(PING_S + 0.02)) == [PING]
    assert core.tick(PING_S + 0.1) == []


def test_a_neighbour_is_looked_after_once_however_often_it_answers(
    core: MembershipCore,
) -> None:
    alive(core)
    for n in range(100):
        core.receive(PEER, packets.directory(THEM, ROW), n / 10)
        core.tick(n / 10)
        core.check()  # each change of a neighbour's deadline left an entry behind, for ever


def test_a_neighbour_that_does_not_answer_is_silent_and_then_answering(
    core: MembershipCore,
) -> None:
    alive(core)
    core.tick(PING_S + 0.02)
    assert (News.SILENT, 0xA) in tells(core.tick(EVASIVE_S + 0.02))
    assert tells(core.receive(PEER, packets.alive(THEM), 5.0)) == [(News.ANSWERING, 0xA)]


def test_a_pong_keeps_a_neighbour_answering(core: MembershipCore) -> None:
    alive(core)
    now = 0.0
    for _ in range(200):
        now = core.deadline() + 0.01
        assert tells(core.tick(now)) == []
        core.receive(PEER, packets.alive(THEM), now)
    assert now > 10.0


def test_whoever_slept_itself_blames_nobody(core: MembershipCore) -> None:
    alive(core)
    assert tells(core.tick(30.0)) == []


def test_what_is_found_with_a_silent_neighbour_is_silent(core: MembershipCore) -> None:
    alive(core)
    core.tick(PING_S + 0.02)
    core.tick(EVASIVE_S + 0.02)
    assert tells(core.want(ORDERS, 3.0, Reach.LOCAL)) == [(News.FOUND, 0xA), (News.SILENT, 0xA)]


def test_a_broken_connection_is_told_and_so_is_its_return(core: MembershipCore) -> None:
    alive(core)
    assert tells(core.disconnected(PEER, 1.0)) == [(News.LOST, 0xA)]
    assert core.receive(PEER, packets.directory(THEM, ROW), 1.1) == [FOUND]
    core.check()


def test_one_that_is_lost_is_greeted_again(core: MembershipCore) -> None:
    alive(core)
    core.disconnected(PEER, 1.0)
    assert kinds(core.tick(1.0 + HELLO_S + 0.02)) == [HELLO]


def test_one_that_stays_away_is_gone_and_tried_again(core: MembershipCore) -> None:
    alive(core)
    core.disconnected(PEER, 1.0)
    core.tick(1.9)
    effects = core.tick(1.0 + GONE_S + 0.02)
    assert tells(effects) == [(News.GONE, 0xA)] and Disconnect(PEER) in effects
    core.check()
    assert core.tick(core.neighbours.deadline() + 0.01) == [Connect(PEER, HERE)]


def test_one_that_returns_without_its_role_loses_that(core: MembershipCore) -> None:
    alive(core)
    core.disconnected(PEER, 10.0)
    effects = core.receive(PEER, packets.directory(THEM), 10.1)
    assert tells(effects) == [(News.GONE, 0xA)] and not core.neighbours
    core.check()


def test_a_lost_neighbour_is_lost_to_those_who_come_later(core: MembershipCore) -> None:
    alive(core)
    core.disconnected(PEER, 1.0)
    core.want(ORDERS, 1.1, Reach.LOCAL)
    effects = core.tick(1.0 + GONE_S + 0.02)
    assert (News.GONE, 0xA) in tells(effects)


def test_another_process_at_the_address_means_the_first_is_gone(core: MembershipCore) -> None:
    alive(core)
    effects = core.receive(PEER, packets.directory(OTHERS, NEXT_ROW), 1.0)
    assert tells(effects) == [(News.GONE, 0xA)]
    assert Connect(b"n" + OTHERS.to_bytes(8, "big"), HERE) in effects
    core.check()


# Changing


def test_a_new_revision_makes_us_ask(core: MembershipCore) -> None:
    alive(core)
    assert core.receive(PEER, packets.alive(THEM, 1), 1.0) == []
    assert kinds(core.receive(PEER, packets.alive(THEM, 2), 1.0)) == [HELLO]


def test_a_role_that_is_listed_no_more_is_gone(core: MembershipCore) -> None:
    alive(core, ROW, NEXT_ROW)
    effects = core.receive(PEER, packets.directory(THEM, ROW, revision=2), 1.0)
    assert tells(effects) == [(News.GONE, 0xB)]
    core.check()


def test_what_a_process_listed_and_lists_no_more_is_gone_whatever_discovery_says(
    core: MembershipCore,
) -> None:
    alive(core, ROW, NEXT_ROW)
    core.heard(replace(RECORD, incarnation=0xB), "mdns", 1.0)
    effects = core.receive(PEER, packets.directory(THEM, ROW, revision=2), 1.1)
    assert tells(effects) == [(News.GONE, 0xB)]
    core.check()


def test_discovery_may_know_a_role_before_its_process_lists_it(core: MembershipCore) -> None:
    alive(core)
    core.heard(replace(RECORD, incarnation=0xB), "mdns", 1.0)
    assert core.receive(PEER, packets.directory(THEM, ROW), 1.1) == []
    assert kinds(core.receive(PEER, packets.alive(THEM, 1), 1.2)) == [HELLO]
    late = core.receive(PEER, packets.directory(THEM, ROW), 1.0 + UNLISTED_S)
    assert tells(late) == [(News.GONE, 0xB)]
    core.check()


def test_the_last_role_may_be_announced_before_it_is_listed(core: MembershipCore) -> None:
    alive(core)
    core.heard(replace(RECORD, incarnation=0xB), "mdns", 10.0)
    core.receive(PEER, packets.directory(THEM), 10.1)
    assert list(core.roles) == [(THEM, 0xB)] and THEM in core.neighbours
    core.check()


def test_a_goodbye_makes_us_ask_and_disconnects_nobody(core: MembershipCore) -> None:
    alive(core)
    assert kinds(core.vanished(RECORD, "mdns")) == [HELLO]
    assert core.neighbours[THEM].life is Life.ALIVE


def test_a_goodbye_of_one_that_nobody_asked_is_the_end(core: MembershipCore) -> None:
    core.heard(RECORD, "mdns", 0.0)
    assert core.vanished(RECORD, "mdns") == []
    assert not core.roles
    core.check()


def test_a_goodbye_before_the_first_answer_is_the_end(core: MembershipCore) -> None:
    core.want(ORDERS, 0.0, Reach.LOCAL)
    core.heard(RECORD, "mdns", 0.0)
    assert core.vanished(RECORD, "mdns") == [Disconnect(PEER)]
    assert not core.neighbours


def test_an_end_that_was_not_heard_of_is_passed_over(core: MembershipCore) -> None:
    core.heard(RECORD, "mdns", 0.0)
    assert (
        core.vanished(RECORD, "elsewhere")
        == core.vanished(replace(RECORD, incarnation=0xB), "mdns")
        == []
    )
    assert list(core.roles) == [(THEM, 0xA)]


def test_one_that_died_is_remembered_as_long_as_discovery_does(core: MembershipCore) -> None:
    alive(core)
    core.disconnected(PEER, 1.0)
    core.tick(3.0)
    assert list(core.roles[THEM, 0xA].sources) == ["mdns"]
    core.vanished(RECORD, "mdns")
    assert not core.roles and not core.neighbours
    core.check()


# Not wanting


def test_whom_nobody_wants_is_disconnected(core: MembershipCore) -> None:
    alive(core)
    assert core.unwant(ORDERS, Reach.LOCAL) == [Disconnect(PEER)]
    assert not core.neighbours and core.tick(99.0) == []
    core.check()


def test_whom_somebody_else_wants_stays(core: MembershipCore) -> None:
    alive(core)
    core.want(EVERYBODY, 0.0, Reach.LOCAL)
    assert core.unwant(ORDERS, Reach.LOCAL) == []
    assert core.neighbours[THEM].life is Life.ALIVE
    core.check()


def test_what_is_wanted_twice_is_given_up_twice(core: MembershipCore) -> None:
    alive(core)
    core.want(ORDERS, 0.0, Reach.LOCAL)
    assert core.unwant(ORDERS, Reach.LOCAL) == []
    assert core.unwant(ORDERS, Reach.LOCAL) == [Disconnect(PEER)]
    assert core.unwant(ORDERS, Reach.LOCAL) == []


def test_a_process_that_is_left_alone_vouches_for_nothing(core: MembershipCore) -> None:
    alive(core)
    core.vanished(RECORD, "mdns")
    core.unwant(ORDERS, Reach.LOCAL)
    assert not core.roles
