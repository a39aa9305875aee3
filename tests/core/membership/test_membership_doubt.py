"""Who is there: one that may have moved is tried elsewhere before it is given up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests import packets
from tests.core.bench import kinds, tells
from zmqkit.core.effects import Connect, Disconnect, News, Tell
from zmqkit.core.membership.interests import key_of
from zmqkit.core.membership.membership import MembershipCore
from zmqkit.core.membership.neighbour import Life, Neighbour, peer_of
from zmqkit.limits import EVASIVE_S, GONE_S, HELLO_S, PING_S, RACE_MAX, RACE_S
from zmqkit.model import Reach, Record
from zmqkit.wire.packet import HELLO, PING

US, THEM, OTHERS = 1, 9, 8
ORDERS = key_of("service", "orders")
OLD, NEW = "10.0.0.1", "10.0.0.77"
RECORD = Record("orders", "service", 0xA, THEM, (OLD,), 5000, 6000)
MOVED = replace(RECORD, addresses=(OLD, NEW))
"""As it is heard: what was cached of the old address is not out of date yet."""
ROW = ("orders", "service", 0xA, 6000)
PEER, SECOND, THIRD = peer_of(THEM), peer_of(THEM, 1), peer_of(THEM, 2)
THERE = Tell(News.FOUND, ORDERS, 0xA, f"tcp://{NEW}:6000")
WELCOME = packets.directory(THEM, ROW)
SOON = 0.02


@pytest.fixture
def core() -> MembershipCore:
    """It has found the other process at its old address."""
    return found(RECORD)


def found(record: Record) -> MembershipCore:
    core = MembershipCore(US)
    core.want(ORDERS, 0.0, Reach.PLAIN)
    core.heard(record, "mdns:lan", 0.0)
    core.receive(PEER, WELCOME, 0.0)
    core.check()
    return core


def them(core: MembershipCore) -> Neighbour:
    """The other process."""
    core.check()
    return core.neighbours[THEM]


def test_one_that_moved_is_used_where_it_answers(core: MembershipCore) -> None:
    assert kinds(core.heard(MOVED, "mdns:lan", 0.5)) == [PING]
    tried_at = 0.5 + RACE_S + SOON
    assert core.tick(tried_at) == [Connect(SECOND, f"tcp://{NEW}:5000")]
    assert kinds(core.connected(SECOND, tried_at)) == [HELLO]
    # It answers there, and here it has one more chance.
    assert kinds(core.receive(SECOND, WELCOME, tried_at)) == [PING]
    assert them(core).address == (OLD, 5000)
    judged_at = tried_at + RACE_S + SOON
    effects = core.tick(judged_at)
    assert tells(effects) == [(News.LOST, 0xA)] and Disconnect(PEER) in effects
    assert kinds(effects)[-1] == HELLO
    assert core.receive(SECOND, WELCOME, judged_at) == [THERE]
    assert (them(core).life, them(core).address) == (Life.ALIVE, (NEW, 5000))


def test_one_that_answers_the_ping_is_tried_nowhere_else(core: MembershipCore) -> None:
    core.heard(MOVED, "mdns:lan", 0.5)
    assert core.receive(PEER, packets.alive(THEM, token=1), 0.51) == []
    assert kinds(core.tick(0.5 + RACE_S + SOON)) == []
    assert kinds(core.heard(MOVED, "mdns:lan", 0.9)) == []
    assert kinds(core.tick(0.5 + PING_S + SOON)) == [PING]


def test_one_that_answers_late_is_left_where_it_is(core: MembershipCore) -> None:
    core.heard(MOVED, "mdns:lan", 0.5)
    core.tick(0.5 + RACE_S + SOON)
    core.receive(SECOND, WELCOME, 0.8)
    assert core.receive(PEER, packets.alive(THEM, token=2), 0.9) == [Disconnect(SECOND)]
    assert tells(core.tick(0.8 + RACE_S + SOON)) == []
    assert them(core).address == (OLD, 5000)


def test_a_pong_of_before_says_nothing(core: MembershipCore) -> None:
    core.tick(PING_S + SOON)
    core.heard(MOVED, "mdns:lan", 1.5)
    core.receive(PEER, packets.alive(THEM, token=1), 1.5)
    assert Connect(SECOND, f"tcp://{NEW}:5000") in core.tick(1.5 + RACE_S + SOON)


def test_another_process_at_the_new_address_moves_nobody(core: MembershipCore) -> None:
    core.heard(MOVED, "mdns:lan", 0.5)
    core.tick(0.5 + RACE_S + SOON)
    effects = core.receive(SECOND, packets.directory(OTHERS), 0.8)
    assert effects == [Disconnect(SECOND)]
    core.tick(0.8 + RACE_S + SOON)
    assert (them(core).life, them(core).address) == (Life.ALIVE, (OLD, 5000))


def test_a_new_address_that_does_not_answer_moves_nobody(core: MembershipCore) -> None:
    core.heard(MOVED, "mdns:lan", 0.5)
    for _ in range(3):
        core.tick(core.deadline() + SOON)
    assert (them(core).life, them(core).address) == (Life.ALIVE, (OLD, 5000))
    assert core.receive(PEER, packets.alive(THEM, token=9), 2.4) == [Disconnect(SECOND)]


def test_a_look_that_is_late_asks_once_more(core: MembershipCore) -> None:
    core.heard(MOVED, "mdns:lan", 0.5)
    core.tick(0.5 + RACE_S + SOON)
    core.receive(SECOND, WELCOME, 0.8)
    late = 0.8 + 2 * RACE_S + SOON
    assert kinds(core.tick(late)) == [PING]
    assert tells(core.tick(late + RACE_S + SOON)) == [(News.LOST, 0xA)]


def test_a_connection_that_breaks_gives_way_at_once(core: MembershipCore) -> None:
    core.heard(MOVED, "mdns:lan", 0.5)
    core.tick(0.5 + RACE_S + SOON)
    core.receive(SECOND, WELCOME, 0.8)
    effects = core.disconnected(PEER, 0.81)
    assert tells(effects) == [(News.LOST, 0xA)] and kinds(effects).count(HELLO) == 2
    assert core.receive(SECOND, WELCOME, 0.82) == [Disconnect(PEER), THERE]
    them(core)


def test_the_other_connection_may_break_too(core: MembershipCore) -> None:
    core.heard(MOVED, "mdns:lan", 0.5)
    core.tick(0.5 + RACE_S + SOON)
    core.receive(SECOND, WELCOME, 0.8)
    assert core.disconnected(SECOND, 0.81) == []
    core.tick(0.8 + RACE_S + SOON)
    assert them(core).address == (OLD, 5000)
    assert kinds(core.receive(SECOND, WELCOME, 1.3)) == [PING]


def test_another_process_on_the_other_connection_has_nobody_judged(
    core: MembershipCore,
) -> None:
    core.heard(MOVED, "mdns:lan", 0.5)
    core.tick(0.5 + RACE_S + SOON)
    core.receive(SECOND, WELCOME, 0.8)
    assert core.receive(SECOND, packets.directory(OTHERS), 0.81) == [Disconnect(SECOND)]
    core.tick(0.8 + RACE_S + SOON)
    assert (them(core).life, them(core).address) == (Life.ALIVE, (OLD, 5000))


def test_another_process_on_the_connection_in_use_is_the_end(core: MembershipCore) -> None:
    core.heard(MOVED, "mdns:lan", 0.5)
    core.tick(0.5 + RACE_S + SOON)
    effects = core.receive(PEER, packets.directory(OTHERS), 0.8)
    assert effects[:2] == [Disconnect(PEER), Disconnect(SECOND)]
    assert them(core).life is Life.GONE


def test_what_is_heard_of_this_machine_is_no_reason_to_doubt() -> None:
    core = found(replace(RECORD, addresses=("127.0.0.1",)))
    assert core.heard(MOVED, "mdns:lan", 0.5) == []
    assert core.readdressed(0.6) == []


# Other reasons to look elsewhere


def test_one_that_is_silent_is_tried_at_its_other_addresses() -> None:
    core = found(MOVED)
    core.tick(PING_S + SOON)
    effects = core.tick(EVASIVE_S + SOON)
    assert tells(effects) == [(News.SILENT, 0xA)]
    assert core.tick(EVASIVE_S + RACE_S + 2 * SOON) == [Connect(SECOND, f"tcp://{NEW}:5000")]
    them(core)


def test_one_that_is_lost_is_tried_at_its_other_addresses() -> None:
    core = found(MOVED)
    core.disconnected(PEER, 1.0)
    assert core.tick(1.0 + RACE_S + SOON) == [Connect(SECOND, f"tcp://{NEW}:5000")]
    assert core.receive(SECOND, WELCOME, 1.3) == [Disconnect(PEER), THERE]
    them(core)


def test_one_that_is_lost_is_tried_where_it_is_heard_meanwhile(core: MembershipCore) -> None:
    core.disconnected(PEER, 1.0)
    core.heard(MOVED, "mdns:lan", 1.1)
    assert core.tick(1.1 + RACE_S + SOON) == [Connect(SECOND, f"tcp://{NEW}:5000")]
    them(core)


def test_who_moves_tries_the_others_where_they_are(core: MembershipCore) -> None:
    assert kinds(core.readdressed(0.5)) == [PING]
    assert core.tick(0.5 + RACE_S + SOON) == [Connect(SECOND, f"tcp://{OLD}:5000")]
    core.receive(SECOND, WELCOME, 0.8)
    assert tells(core.tick(0.8 + RACE_S + SOON)) == [(News.LOST, 0xA)]
    there = replace(THERE, endpoint=f"tcp://{OLD}:6000")
    assert core.receive(SECOND, WELCOME, 1.1) == [there]
    them(core)


def test_who_moves_tries_those_who_were_gone_at_once(core: MembershipCore) -> None:
    core.disconnected(PEER, 1.0)
    gone_at = 1.0 + GONE_S + SOON
    assert (News.GONE, 0xA) in tells(core.tick(gone_at))
    core.readdressed(gone_at + SOON)
    assert core.tick(gone_at + 2 * SOON) == [Connect(PEER, f"tcp://{OLD}:5000")]


def test_static_peers_learn_of_a_move_and_are_asked_whether_they_are_there(
    core: MembershipCore,
) -> None:
    assert kinds(core.moved((NEW,), 0.5)) == [PING]


def test_however_often_one_moves_few_connections_are_open(core: MembershipCore) -> None:
    now = 0.5
    for number in range(2, 200):
        core.heard(replace(RECORD, addresses=(OLD, f"10.0.0.{number}")), "mdns:lan", now)
        now = max(now, core.deadline()) + SOON
        core.tick(now)
        assert 1 <= len(them(core).attempts) <= RACE_MAX
        assert next(iter(them(core).attempts)) == PEER
    assert len(them(core).addresses) <= 3


def test_connections_never_share_a_name(core: MembershipCore) -> None:
    core.heard(MOVED, "mdns:lan", 0.5)
    them(core).tries = 1 << 16
    core.tick(0.5 + RACE_S + SOON)
    assert list(them(core).attempts) == [PEER, SECOND]


def test_a_second_answer_elsewhere_is_one_too_many() -> None:
    core = found(RECORD)
    core.heard(replace(MOVED, addresses=(OLD, NEW, "10.0.0.78")), "mdns:lan", 0.5)
    core.tick(0.5 + RACE_S + SOON)
    core.tick(0.5 + 2 * RACE_S + 2 * SOON)
    effects = core.receive(THIRD, WELCOME, 1.1)
    assert kinds(effects) == [Disconnect, PING] and effects[0] == Disconnect(SECOND)
    assert core.receive(THIRD, WELCOME, 1.1) == []
    assert kinds(core.tick(1.1 + HELLO_S))[0] == Disconnect
