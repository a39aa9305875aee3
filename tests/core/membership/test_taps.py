"""Who may tap a process, and until when."""

from __future__ import annotations

from math import inf

import pytest

from zmqkit.core.effects import Send
from zmqkit.core.membership.membership import MembershipCore
from zmqkit.core.membership.observed import Observed
from zmqkit.core.tap import Taps
from zmqkit.model import Reach
from zmqkit.tap_limits import TAP_LEASE_S, TAP_ROWS_MAX, TAPPERS_MAX
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import encode
from zmqkit.wire.tapping import Passed, Tapped, Wanted, question, read_answer

ASKER, PROCESS = 0x1, 0x9
PEER = b"\0asker"


class Role:
    """A role that can be tapped."""

    def __init__(
        self, name: str, reach: Reach = Reach.LOCAL, *, has_parts: bool = False
    ) -> None:
        self.taps: Taps = ()
        self.observed = Observed(
            "service", name, 0xA, reach, lambda now: [], self.tap, has_parts=has_parts
        )

    def tap(self, taps: Taps) -> None:
        self.taps = taps


@pytest.fixture
def process() -> MembershipCore:
    core = MembershipCore(PROCESS)
    core.statistics.wall_us = lambda: 77
    return core


def ask(
    process: MembershipCore, name: str, number: int = 1, now: float = 0.0,
    reach: Reach = Reach.LOCAL, **wanted: object,
) -> Tapped:  # fmt: skip
    """What the process tells a tapper."""
    packet = question(ASKER, 7, number, Wanted(name, **wanted))  # type: ignore[arg-type]  # its own fields
    [effect] = process.receive(PEER, packet, now, reach)
    process.check()
    assert isinstance(effect, Send)
    return read_answer(wire.unpack(effect.frames))


def test_a_tapper_is_told_what_passed_since_it_asked_last(process: MembershipCore) -> None:
    role, other = Role("orders"), Role("stock")
    process.statistics.add(role.observed)
    process.statistics.add(other.observed)
    first = ask(process, "orders", now=5.0)
    assert (first.roles, first.rows, first.wall_us, first.at_us) == (1, [], 77, 5_000_000)
    assert other.taps == ()
    [tap] = role.taps
    assert tap.takes(1, 5.0)
    tap.put(Passed(1, "price", "done", 2, 3, 4, b"\x01", 5, b"\x02"))
    told = ask(process, "orders", now=5.1)
    assert told.rows == [
        Passed(1, "price", "done", 2, 3, 4, b"\x01", 5, b"\x02", "service", "orders")
    ]
    assert (told.seen, ask(process, "orders", now=5.2).rows) == (1, [])


def test_a_tap_ends_when_nobody_asks_any_more(process: MembershipCore) -> None:
    role = Role("orders")
    process.statistics.add(role.observed)
    ask(process, "orders", now=5.0)
    ask(process, "orders", now=6.0)
    assert process.deadline() <= 6.0 + TAP_LEASE_S
    process.tick(6.0 + TAP_LEASE_S - 0.1)
    assert role.taps
    process.tick(6.0 + TAP_LEASE_S)
    assert role.taps == () and process.statistics.deadline() == inf


def test_a_role_that_opens_or_closes_meanwhile_is_tapped_as_long_as_it_is_there(
    process: MembershipCore,
) -> None:
    ask(process, "orders")
    role = Role("orders")
    process.statistics.add(role.observed)
    assert ask(process, "orders", now=0.1).roles == 1 and role.taps
    process.statistics.remove(role.observed)
    assert ask(process, "orders", now=0.2).roles == 0
    process.tick(9.0)


def test_other_machines_tap_roles_alone_that_want_it(process: MembershipCore) -> None:
    mine, ours = Role("orders"), Role("orders", Reach.PLAIN)
    for role in (mine, ours):
        process.statistics.add(role.observed)
    assert ask(process, "orders", reach=Reach.PLAIN).roles == 1
    assert (mine.taps, len(ours.taps)) == ((), 1)


def test_too_many_tappers_are_told_so(process: MembershipCore) -> None:
    role = Role("orders")
    process.statistics.add(role.observed)
    for number in range(TAPPERS_MAX):
        assert not ask(process, "orders", number).is_full
    refused = ask(process, "orders", TAPPERS_MAX)
    assert (refused.is_full, refused.roles, len(role.taps)) == (True, 0, TAPPERS_MAX)


def test_who_taps_nothing_here_takes_no_place(process: MembershipCore) -> None:
    process.statistics.add(Role("orders").observed)
    for number in range(2 * TAPPERS_MAX):
        assert not ask(process, "stock", number).is_full
    assert process.statistics.deadline() == inf
    assert ask(process, "orders", 99).roles == 1


def test_a_device_is_tapped_by_the_name_of_a_part(process: MembershipCore) -> None:
    device = Role("majordomo", has_parts=True)
    process.statistics.add(device.observed)
    ask(process, "bakery")
    [tap] = device.taps
    assert tap.is_part
    ask(process, "majordomo")
    [tap] = device.taps
    assert not tap.is_part  # the same tapper wants something else now


def test_an_answer_is_bounded_and_the_rest_comes_next(process: MembershipCore) -> None:
    role = Role("orders")
    process.statistics.add(role.observed)
    ask(process, "orders")
    [tap] = role.taps
    for number in range(TAP_ROWS_MAX):
        tap.put(Passed(number, "x" * 1000, "done", 0, 1, 1, bytes(1000), 1, bytes(1000)))
    found: list[Passed] = []
    while told := ask(process, "orders").rows:
        assert len(told) < 150
        found += told
    assert [row.at_us for row in found] == [*range(TAP_ROWS_MAX)]


@pytest.mark.parametrize(
    "meta",
    [None, [], [1, 1, "a", "", 1], [1, 1, "a", "", 0, 1.0], [1, 1, "a", "", 1, 0.0],
     [1, 1, "a" * 256, "", 1, 1.0], [1, -1, "a", "", 1, 1.0], [1, 1, "a", "", 1, float("nan")],
     [1, 1, b"a", "", 1, 1.0], [True, 1, "a", "", 1, 1.0]],
)  # fmt: skip
def test_another_question_is_counted_and_not_answered(
    process: MembershipCore, meta: object
) -> None:
    assert process.receive(PEER, wire.pack(wire.TAP, ASKER, 0, 0, encode(meta)), 0.0) == []
    assert process.malformed == {"tap": 1}
