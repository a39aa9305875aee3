"""Who is there: processes that share one static peer find each other through it."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from tests import packets
from tests.core.bench import kinds, tells
from tests.packets import read
from zmqkit.core.effects import Connect, Disconnect, Effect, News
from zmqkit.core.membership.interests import key_of
from zmqkit.core.membership.membership import MembershipCore
from zmqkit.core.membership.neighbour import Life
from zmqkit.limits import (
    GONE_S,
    GREET_S,
    GREET_S_MAX,
    HELLO_S,
    REFERRAL_S,
    REGISTERED_S,
    MembershipLimits,
)
from zmqkit.model import Reach, Record, parse_url, reach_of_endpoint
from zmqkit.wire.packet import HELLO, PONG, WELCOME

US, SHARED, THEM = 1, 7, 9
ORDERS = key_of("service", "orders")
RECORD = Record("orders", "service", 0xA, THEM, (), 5000, 6000)
OWN = Record("stock", "service", 0xC, US, (), 5000, 6002)
ROW = ("orders", "service", 0xA, 6000)
STOCK = ("stock", "service", 0xB, 6001)
PEER = b"n" + THEM.to_bytes(8, "big")
STATIC = b"n" + SHARED.to_bytes(8, "big")
THERE = "tcp://127.0.0.1:4999"
HERE = "tcp://127.0.0.1:5000"
SEED = b"s" + THERE.encode()
TOLD = [THEM, 1, [["127.0.0.1", 5000]]]


@pytest.fixture
def core() -> MembershipCore:
    core = MembershipCore(US)
    core.offers.control_ports[Reach.LOCAL] = 5005
    return core


def joined(core: MembershipCore, now: float = 0.0, *, url: str = THERE) -> None:
    """Have the shared peer as a neighbour."""
    core.want(ORDERS, now, reach_of_endpoint(url))
    core.seed(parse_url(url), "", "service", now)
    core.receive(b"s" + url.encode(), packets.directory(SHARED, control=4999), now)
    core.receive(STATIC, packets.directory(SHARED, control=4999, others=[]), now)
    core.check()
    assert core.neighbours[SHARED].life is Life.ALIVE


def tell(core: MembershipCore, *others: object, now: float = 0.0) -> list[Effect]:
    """The shared peer tells of these."""
    effects = core.receive(STATIC, packets.directory(SHARED, others=others), now)
    core.check()
    return effects


# Asking


def test_a_static_peer_is_told_where_we_may_be_asked_and_asked_for_others(
    core: MembershipCore,
) -> None:
    joined(core)
    core.offer(OWN, 0.0, Reach.LOCAL)
    [hello] = core.connected(STATIC, 0.0)
    assert read(hello) == (HELLO, {"revision": 1, "places": [["127.0.0.1", 5005]]})


def test_nobody_else_is(core: MembershipCore) -> None:
    core.offer(OWN, 0.0, Reach.LOCAL)
    core.want(ORDERS, 0.0, Reach.LOCAL)
    core.heard(replace(RECORD, addresses=("127.0.0.1",)), "mdns", 0.0)
    assert [read(e) for e in core.connected(PEER, 0.0)] == [(HELLO, {})]
    assert core.offer(replace(OWN, incarnation=0xD), 0.0, Reach.LOCAL) == []


def test_one_that_only_serves_joins_a_static_peer_too(core: MembershipCore) -> None:
    core.seed(parse_url(THERE), "", "service", 0.0)
    assert core.receive(SEED, packets.directory(SHARED, control=4999), 0.0) == []
    assert kinds(core.offer(OWN, 0.0, Reach.LOCAL)) == [HELLO]
    effects = core.receive(SEED, packets.directory(SHARED, control=4999), 0.0)
    assert effects == [Disconnect(SEED), Connect(STATIC, THERE)]
    assert Disconnect(STATIC) in core.retract(OWN.incarnation, 1.0)
    core.check()


def test_a_static_peer_is_told_at_once_of_a_new_role(core: MembershipCore) -> None:
    joined(core)
    assert kinds(core.offer(OWN, 0.5, Reach.LOCAL)) == [HELLO]
    [gone] = core.retract(OWN.incarnation, 0.6)
    assert read(gone) == (HELLO, {"revision": 2, "places": []})


def test_a_static_peer_is_told_at_once_of_new_addresses(core: MembershipCore) -> None:
    joined(core)
    core.offers.control_ports[Reach.LOCAL] = 5006
    core.offer(OWN, 0.5, Reach.PLAIN)
    assert kinds(core.moved(("10.0.0.1",), 1.0)) == [HELLO]
    assert core.moved(("10.0.0.1",), 1.0) == []


def test_it_is_told_again_ever_more_slowly(core: MembershipCore) -> None:
    joined(core)
    at = []
    for _ in range(2000):
        now = core.deadline() + 0.001
        at += [now for effect in core.tick(now) if kinds([effect]) == [HELLO]]
        core.receive(STATIC, packets.alive(SHARED, 1), now)
    waits = [b - a for a, b in pairwise(at)]
    assert at[0] < GREET_S + 0.1 and waits[-1] > GREET_S_MAX - 1.0


# Asked


def test_those_who_share_a_peer_are_told_of_each_other(core: MembershipCore) -> None:
    core.receive(
        b"\0a", packets.hello(5, revision=2, places=[["127.0.0.1", 5000]]), 0.0, Reach.LOCAL
    )
    [answer] = core.receive(b"\0b", packets.hello(6, places=[]), 0.0, Reach.LOCAL)
    kind, fields = read(answer)
    assert kind == WELCOME and isinstance(fields, dict)
    assert fields["others"] == [[5, 2, [["127.0.0.1", 5000]]]]
    core.check()


def test_who_does_not_ask_for_others_is_not_told_of_any(core: MembershipCore) -> None:
    core.receive(b"\0a", packets.hello(5, places=[["127.0.0.1", 5000]]), 0.0, Reach.LOCAL)
    [answer] = core.receive(b"\0b", packets.hello(6), 0.0, Reach.LOCAL)
    fields = read(answer)[1]
    assert isinstance(fields, dict) and "others" not in fields and fields["revision"] == 0


def test_loopback_is_passed_neither_to_nor_from_another_machine(core: MembershipCore) -> None:
    core.offers.control_ports[Reach.LOCAL] = 5006
    places = [["127.0.0.1", 5000], ["10.0.0.5", 5001]]
    core.receive(b"\0a", packets.hello(5, places=places), 0.0, Reach.LOCAL)
    core.receive(b"\1c", packets.hello(6, places=[["127.0.0.1", 80], ["10.0.0.6", 5001]]), 0.0)
    [there] = core.receive(b"\1d", packets.hello(8, places=[]), 0.0)
    [here] = core.receive(b"\0e", packets.hello(8, places=[]), 0.0, Reach.LOCAL)
    far = [5, 0, [["10.0.0.5", 5001]]], [6, 0, [["10.0.0.6", 5001]]]
    assert others(there) == [*far] and others(here) == [[5, 0, places], far[1]]


def others(effect: Effect) -> object:
    """Those of whom a WELCOME tells."""
    fields = read(effect)[1]
    assert isinstance(fields, dict)
    return fields["others"]


def test_who_is_known_by_multicast_is_told_of_too(core: MembershipCore) -> None:
    core.offers.control_ports[Reach.LOCAL] = 5006
    record = replace(RECORD, addresses=("10.0.0.5", "fe80::1%eth0"), control_port=5001)
    core.heard(record, "mdns:lan", 0.0)
    core.heard(replace(record, process=US, incarnation=0xC), "mdns:lan", 0.0)
    [told] = core.receive(b"\1a", packets.hello(5, places=[]), 0.0)
    assert others(told) == [[THEM, 5, [["10.0.0.5", 5001]]]]
    core.want(ORDERS, 0.0, Reach.PLAIN)
    core.tick(1.0)
    core.tick(2.1)
    assert core.neighbours[THEM].life is Life.GONE
    [told] = core.receive(b"\1a", packets.hello(5, places=[]), 2.1)
    assert others(told) == []


def test_who_visits_speaks_for_itself(core: MembershipCore) -> None:
    core.heard(replace(RECORD, addresses=("127.0.0.1",)), "mdns:loopback", 0.0)
    core.receive(
        b"\0a", packets.hello(THEM, revision=3, places=[["127.0.0.1", 80]]), 0.0, Reach.LOCAL
    )
    [told] = core.receive(b"\0b", packets.hello(5, places=[]), 0.0, Reach.LOCAL)
    assert others(told) == [[THEM, 3, [["127.0.0.1", 80]]]]


def test_pongs_tell_those_who_asked_that_others_came_and_went(core: MembershipCore) -> None:
    def revision(now: float) -> object:
        [pong] = core.receive(b"\0b", packets.ask(6), now)
        kind, meta = read(pong)
        assert kind == PONG and isinstance(meta, list)
        return meta[1]

    core.receive(b"\0b", packets.hello(6, places=[]), 0.0, Reach.LOCAL)
    revisions = [revision(0.0)]
    core.receive(b"\0a", packets.hello(5, places=[["127.0.0.1", 5000]]), 0.0, Reach.LOCAL)
    revisions.append(revision(0.0))
    for n in range(1, 11):
        core.tick(core.deadline())
        revision(float(n))
    core.tick(REGISTERED_S + 0.5)
    revisions.append(revision(REGISTERED_S + 0.5))
    assert len(set(revisions)) == 3
    core.check()


def test_a_visit_that_makes_no_sense_is_counted(core: MembershipCore) -> None:
    for fields in ({"places": 1}, {"places": [["x", 1]]}, {"places": [], "revision": "x"}):
        assert core.receive(b"\0a", packets.hello(5, **fields), 0.0, Reach.LOCAL) == []
    assert core.receive(b"\0a", packets.hello(0, places=[]), 0.0, Reach.LOCAL) == []
    assert core.malformed == {"places": 2, "hello": 2}


def test_one_too_many_is_answered_and_told_of_nobody() -> None:
    core = MembershipCore(US, MembershipLimits(processes_max=0))
    assert kinds(core.receive(b"\0a", packets.hello(5, places=[]), 0.0, Reach.LOCAL)) == [
        WELCOME
    ]
    assert core.malformed == {"registrations-full": 1}


# Told


def test_who_is_told_of_is_asked_itself_and_found(core: MembershipCore) -> None:
    joined(core)
    assert tell(core, TOLD) == [Connect(PEER, HERE)]
    assert not core.roles
    found = core.receive(PEER, packets.directory(THEM, ROW), 0.1)
    assert tells(found) == [(News.FOUND, 0xA)]
    assert core.roles[THEM, 0xA].sources == {"hello", "peer"}
    core.check()


def test_who_has_nothing_that_is_wanted_is_let_go_and_remembered(core: MembershipCore) -> None:
    joined(core)
    tell(core, TOLD)
    assert core.receive(PEER, packets.directory(THEM, STOCK), 0.1) == [Disconnect(PEER)]
    assert core.roles[THEM, 0xB].sources == {"peer"}
    assert tell(core, TOLD, now=1.0) == []
    assert Connect(PEER, HERE) in core.want(key_of("service", "stock"), 2.0, Reach.LOCAL)
    core.check()


def test_who_has_a_new_role_is_asked_again(core: MembershipCore) -> None:
    joined(core)
    tell(core, TOLD)
    core.receive(PEER, packets.directory(THEM), 0.1)
    assert tell(core, [THEM, 2, TOLD[2]], now=1.0) == [Connect(PEER, HERE)]
    assert tells(core.receive(PEER, packets.directory(THEM, ROW), 1.1)) == [(News.FOUND, 0xA)]


def test_another_process_than_we_were_told_of_is_not_believed(core: MembershipCore) -> None:
    joined(core)
    tell(core, TOLD)
    effects = core.receive(PEER, packets.directory(8), 0.1)
    assert effects == [Disconnect(PEER)] and THEM not in core.neighbours
    core.check()


def test_who_is_told_of_elsewhere_is_asked_only_if_open(core: MembershipCore) -> None:
    joined(core)
    far = [THEM, 1, [["10.0.0.5", 5000]]]
    assert tell(core, far) == []
    assert core.want(ORDERS, 1.0, Reach.PLAIN) == [Connect(PEER, "tcp://10.0.0.5:5000")]


def test_a_peer_elsewhere_is_not_believed_about_this_machine(core: MembershipCore) -> None:
    joined(core, url="tcp://10.0.0.9:4999")
    assert tell(core, TOLD) == [] and core.malformed == {"elsewhere": 1}


def test_only_a_static_peer_is_believed_about_others(core: MembershipCore) -> None:
    core.want(ORDERS, 0.0, Reach.LOCAL)
    core.heard(replace(RECORD, addresses=("127.0.0.1",)), "mdns", 0.0)
    effects = core.receive(PEER, packets.directory(THEM, ROW, others=[[8, 1, TOLD[2]]]), 0.0)
    assert tells(effects) == [(News.FOUND, 0xA)] and len(effects) == 1


def test_who_is_told_of_no_more_is_asked_and_not_cut_off(core: MembershipCore) -> None:
    joined(core)
    tell(core, TOLD)
    core.receive(PEER, packets.directory(THEM, ROW), 0.1)
    assert kinds(tell(core, now=1.0)) == [HELLO]
    assert core.neighbours[THEM].life is Life.ALIVE


def test_who_died_and_is_told_of_no_more_is_forgotten(core: MembershipCore) -> None:
    joined(core)
    tell(core, TOLD)
    core.receive(PEER, packets.directory(THEM, ROW), 0.1)
    core.disconnected(PEER, 1.0)
    core.tick(1.0 + GONE_S + 0.02)
    assert core.neighbours[THEM].life is Life.GONE
    tell(core, now=3.0)
    assert THEM not in core.neighbours and not core.roles


def test_who_died_is_tried_at_once_when_there_is_news_of_it(core: MembershipCore) -> None:
    joined(core)
    tell(core, TOLD)
    core.receive(PEER, packets.directory(THEM, ROW), 0.1)
    core.disconnected(PEER, 1.0)
    core.tick(1.0 + GONE_S + 0.02)
    assert tell(core, [THEM, 2, TOLD[2]], now=2.6) == [Connect(PEER, HERE)]


def test_who_does_not_answer_gives_way_and_is_asked_later(core: MembershipCore) -> None:
    joined(core)
    tell(core, TOLD)
    for n in range(1, 200):
        now = n / 10
        core.receive(STATIC, packets.alive(SHARED, 1), now)
        core.tick(now)
        core.check()
        if THEM not in core.neighbours:
            break
    assert now < 2 * HELLO_S + 0.2
    later = [effect for n in range(5) for effect in core.tick(now + 0.2 * (n + 1))]
    assert Connect(PEER, HERE) in later


def test_what_a_peer_told_outlives_it_for_a_while(core: MembershipCore) -> None:
    joined(core)
    tell(core, TOLD)
    core.receive(PEER, packets.directory(THEM, STOCK), 0.1)
    core.disconnected(STATIC, 1.0)
    core.tick(1.0 + GONE_S + 0.02)
    assert SHARED not in core.neighbours and list(core.roles) == [(THEM, 0xB)]
    core.tick(1.0 + GONE_S + REFERRAL_S)
    assert list(core.roles) == [(THEM, 0xB)]
    core.tick(1.1 + GONE_S + REFERRAL_S)
    assert not core.roles
    core.check()


def test_nobody_is_asked_when_nothing_is_wanted(core: MembershipCore) -> None:
    joined(core)
    core.offer(OWN, 0.0, Reach.LOCAL)
    tell(core, TOLD)
    assert Disconnect(PEER) in core.unwant(ORDERS, Reach.LOCAL)
    core.check()
    assert tell(core, [THEM, 2, TOLD[2]], now=1.0) == []
    assert core.want(ORDERS, 2.0, Reach.LOCAL)[-1] == Connect(PEER, HERE)
