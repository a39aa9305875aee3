"""The instances that a client uses."""

from __future__ import annotations

import math

import pytest

from tests.packets import read
from zmqkit.core.calls.call import Call, CallOptions
from zmqkit.core.calls.instance import Instance, State
from zmqkit.core.calls.pending import Pending
from zmqkit.core.calls.roster import Roster
from zmqkit.core.effects import Connect, Disconnect, Send
from zmqkit.options import HELLO_S, HELLO_S_MAX, INSTANCES_MAX, PING_S
from zmqkit.wire.packet import HELLO, PING

WHERE = "tcp://127.0.0.1:5000"


@pytest.fixture
def pending() -> Pending:
    return Pending()


@pytest.fixture
def roster(pending: Pending) -> Roster:
    return Roster("orders", 1, pending)


def up(roster: Roster, incarnation: int, *, credit: int = 10) -> Instance:
    """An instance that may be chosen."""
    roster.known[incarnation] = WHERE
    roster.connect_best(0.0)
    instance = roster.instances[incarnation]
    instance.credit = credit
    roster.resume(instance, 0.0)
    return instance


def assigned(roster: Roster, pending: Pending, instance: Instance) -> Call:
    """A call that the instance was given."""
    call = pending.add("add", b"", None, CallOptions(), None, 0.0)
    roster.assign(call, instance, 0.0)
    return call


@pytest.mark.parametrize("state", State)
def test_calls_leave_only_where_somebody_listens(
    roster: Roster, pending: Pending, state: State
) -> None:
    instance = up(roster, 10)
    assigned(roster, pending, instance)
    roster.shift(instance, state)
    assert bool(roster.flush(0.0)) is (state in (State.UP, State.LEAVING))


def test_nobody_is_chosen_among_none(roster: Roster) -> None:
    assert roster.choose() is None


def test_the_least_busy_is_chosen_and_then_the_least_recent(
    roster: Roster, pending: Pending
) -> None:
    a, b = up(roster, 10), up(roster, 20)
    assigned(roster, pending, a)
    assert [roster.choose(), roster.choose()] == [b, b]
    assigned(roster, pending, b)
    assert {i.incarnation for i in (roster.choose(), roster.choose()) if i} == {10, 20}


def test_one_without_credit_does_not_hide_one_that_has_some(
    roster: Roster, pending: Pending
) -> None:
    small, big = up(roster, 10, credit=1), up(roster, 20)
    for instance in (small, big, big):
        assigned(roster, pending, instance)
    assert roster.choose() is big


def test_who_refused_is_not_chosen(roster: Roster) -> None:
    a = up(roster, 10)
    assert roster.choose((10,)) is None
    assert roster.choose((20,)) is a


def test_so_many_are_connected_and_always_the_same(roster: Roster) -> None:
    roster.known = dict.fromkeys(range(1, 100), WHERE)
    connects = [e for e in roster.connect_best(0.0) if isinstance(e, Connect)]
    assert len(connects) == INSTANCES_MAX
    chosen, again = set(roster.instances), Roster("orders", 1, Pending())
    again.known = dict.fromkeys(reversed(range(1, 100)), WHERE)
    again.connect_best(0.0)
    assert set(again.instances) == chosen
    roster.check()


def test_hello_is_repeated_ever_more_slowly(roster: Roster) -> None:
    roster.known[10] = WHERE
    connect, hello = roster.connect_best(0.0)
    assert isinstance(connect, Connect) and read(hello)[0] == HELLO
    assert roster.tick(HELLO_S / 2) == []
    times, now = [], 0.0
    for _ in range(8):
        now = roster.check_at
        times.append(now)
        assert [read(e)[0] for e in roster.tick(now)] == [HELLO]
    assert times[0] == HELLO_S and times[-1] - times[-2] == HELLO_S_MAX


def test_an_instance_with_calls_is_pinged_and_once_more_without(
    roster: Roster, pending: Pending
) -> None:
    instance = up(roster, 10)
    call = assigned(roster, pending, instance)
    assert [read(e) for e in roster.tick(PING_S)] == [(PING, [1, 2, [1]])]
    roster.unassign(call)
    pending.end(call, "delivered", None)
    assert [read(e) for e in roster.tick(2 * PING_S)] == [(PING, [2, 2, []])]
    assert roster.check_at == math.inf


def test_a_blocked_instance_waits(roster: Roster, pending: Pending) -> None:
    instance = up(roster, 10)
    assigned(roster, pending, instance)
    instance.blocked_until = 1.0
    assert roster.flush(0.5) == []
    [send] = roster.flush(1.0)
    assert isinstance(send, Send)


def test_a_closed_connection_is_closed_once(roster: Roster) -> None:
    instance = up(roster, 10)
    assert roster.close(instance) == [Disconnect(instance.peer)]
    assert roster.close(instance) == []


def test_a_wait_for_instances_ends_with_their_number(roster: Roster) -> None:
    roster.awaited.append((1, 5.0, "me"))
    assert roster.awaited_over(0.0) == []
    up(roster, 10)
    assert roster.awaited_over(0.0) == [("me", 1, None)]


def test_a_wait_for_instances_ends_when_time_is_over(roster: Roster) -> None:
    roster.awaited.append((1, 5.0, "me"))
    assert roster.awaited_over(5.0) == [("me", 0, None)]


def test_an_instance_that_fell_silent_is_resumed_as_evasive(roster: Roster) -> None:
    instance = up(roster, 10)
    instance.silent = True
    roster.resume(instance, 0.0)
    assert instance.state is State.EVASIVE and not roster.ready
