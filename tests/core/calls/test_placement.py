"""Where each unsettled call is."""

from __future__ import annotations

import pytest

from tests.packets import sent
from zmqkit.core.calls.call import Call, CallOptions
from zmqkit.core.calls.instance import Instance, State
from zmqkit.core.calls.outcome import BUSY, LEAVING
from zmqkit.core.calls.pending import Pending
from zmqkit.core.calls.placement import Placement
from zmqkit.core.calls.roster import Roster
from zmqkit.wire.packet import REQUEST, request_body

BODY = request_body("add", 4, None, (), {})


@pytest.fixture
def pending() -> Pending:
    return Pending()


@pytest.fixture
def roster(pending: Pending) -> Roster:
    return Roster("orders", 1, pending)


@pytest.fixture
def placement(pending: Pending, roster: Roster) -> Placement:
    return Placement(pending, roster)


def up(roster: Roster, incarnation: int) -> Instance:
    """An instance with room for one call."""
    roster.known[incarnation] = "tcp://127.0.0.1:5000"
    roster.connect_best(0.0)
    instance = roster.instances[incarnation]
    instance.credit = 1
    roster.resume(instance, 0.0)
    return instance


def placed(placement: Placement, pending: Pending, *, priority: int = 4) -> Call:
    """A call that was given a place."""
    options = CallOptions(wait_s=1.0, priority=priority)
    call = pending.add("add", BODY, None, options, None, 0.0)
    placement.place(call, 0.0)
    placement.check()
    return call


def test_a_call_waits_until_somebody_is_there(
    placement: Placement, pending: Pending, roster: Roster
) -> None:
    call = placed(placement, pending)
    assert placement.fill(0.0) == []
    instance = up(roster, 10)
    assert sent(placement.fill(0.0)) == [(REQUEST, [1])]
    assert call.instance is instance


def test_a_call_that_waits_may_be_told_that_nobody_came(
    placement: Placement, pending: Pending
) -> None:
    call = placed(placement, pending)
    assert pending.due(0.9, alone=True) == []
    assert pending.due(1.1, alone=True) == [call]


def test_who_waits_longer_or_matters_more_is_first(
    placement: Placement, pending: Pending, roster: Roster
) -> None:
    placed(placement, pending, priority=0)
    urgent = placed(placement, pending, priority=9)
    instance = up(roster, 10)
    placement.fill(0.0)
    assert list(instance.calls) == [urgent.sequence]


def test_a_call_that_was_sent_and_moves_spends_an_attempt(
    placement: Placement, pending: Pending, roster: Roster
) -> None:
    instance = up(roster, 10)
    call = placed(placement, pending)
    placement.fill(0.0)
    roster.shift(instance, State.LOST)
    placement.move([call], 0.0)
    assert (call.exposed, call.copies, call.attempts, call.instance) == (True, 0, 1, None)
    assert pending.stats()["retries"] == 1


def test_a_call_that_never_left_moves_for_nothing(
    placement: Placement, pending: Pending, roster: Roster
) -> None:
    instance = up(roster, 10)
    call = placed(placement, pending)
    roster.shift(instance, State.LOST)
    placement.move([call], 0.0)
    assert (call.exposed, call.attempts) == (False, 2)


def test_what_one_refused_goes_to_another(
    placement: Placement, pending: Pending, roster: Roster
) -> None:
    one, other = up(roster, 10), up(roster, 20)
    call = placed(placement, pending)
    assert call.instance is one
    assert placement.try_another(call, one, BUSY, 0.0)
    assert call.instance is other and call.refused_by == (10,) and not call.may_have_run
    placement.check()


def test_a_refusal_by_the_only_one_is_the_end(
    placement: Placement, pending: Pending, roster: Roster
) -> None:
    only = up(roster, 10)
    assert not placement.try_another(placed(placement, pending), only, BUSY, 0.0)


def test_a_refusal_is_the_end_without_attempts(
    placement: Placement, pending: Pending, roster: Roster
) -> None:
    one, _ = up(roster, 10), up(roster, 20)
    call = placed(placement, pending)
    call.attempts = 0
    assert not placement.try_another(call, one, LEAVING, 0.0)


def test_a_call_waits_for_who_comes_after_the_one_that_leaves(
    placement: Placement, pending: Pending, roster: Roster
) -> None:
    only = up(roster, 10)
    call = placed(placement, pending)
    assert placement.try_another(call, only, LEAVING, 0.0)
    assert only.state is State.LEAVING and list(placement.line) == [call]
    placement.check()


def test_a_call_that_ends_has_no_place(
    placement: Placement, pending: Pending, roster: Roster
) -> None:
    waits = placed(placement, pending)
    placement.remove(waits)
    pending.end(waits, "failed", None)
    placement.check()
