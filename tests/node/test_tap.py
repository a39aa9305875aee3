"""Tapping processes: nodes in one process, which find each other by hand."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from tests.node.offering import Start, offer
from tests.roles.kit import until
from zmqkit.core.effects import Tell
from zmqkit.core.membership.interests import EVERYBODY
from zmqkit.core.membership.observed import Observed
from zmqkit.core.tap import Taps
from zmqkit.environment import Environment
from zmqkit.model import Frames, PeerId, Reach
from zmqkit.node.node import Node
from zmqkit.node.tap import Tapper, value_of
from zmqkit.tap_limits import TAPPERS_MAX
from zmqkit.wire.encoding import encode
from zmqkit.wire.tapping import Passed, Wanted

BOUND_S = 20.0


def test_what_passes_is_shown_until_the_tapper_goes(start: Start) -> None:
    first = start()
    offer(first, "orders")
    taps: list[Taps] = []
    role = Observed("service", "orders", 0xB, Reach.LOCAL, lambda now: [], taps.append)
    first.observe(role)
    node = start(first)

    def hear(tell: Tell) -> None:
        pass

    node.want(EVERYBODY, hear, role="", reach=Reach.LOCAL)
    with Tapper(node, Wanted("orders")) as tapper:
        while not tapper.find(Reach.LOCAL):
            pass
        assert tapper.poll(timeout_s=BOUND_S) == []
        [[tap]] = taps
        for number in (2, 1):
            assert tap.takes(1, 0.0)
            tap.put(Passed(number, "price", "done", 1, 2, 3))
        shown = tapper.poll(timeout_s=BOUND_S)
        assert [each.row.at_us for each in shown] == [1, 2]
        assert {each.process for each in shown} == {f"{first.process:016x}"}
        counts = tapper.counts()
        assert (counts.seen, counts.roles, counts.silent) == (2, 1, [])


def test_one_that_too_many_tap_is_told_of_until_it_is_gone(start: Start) -> None:
    first = Node(Environment((), ""))
    offer(first, "orders")
    first.observe(
        Observed("service", "orders", 0xB, Reach.LOCAL, lambda now: [], lambda taps: None)
    )
    node = start(first)
    node.want(EVERYBODY, lambda tell: None, role="", reach=Reach.LOCAL)
    with ExitStack() as stack:
        tappers = [
            stack.enter_context(Tapper(node, Wanted("orders"))) for _ in range(TAPPERS_MAX + 1)
        ]
        while not tappers[0].find(Reach.LOCAL):
            pass
        for tapper in tappers:
            tapper.poll(timeout_s=BOUND_S)
        assert tappers[-1].counts().full == [f"{first.process:016x}"]
        first.close()
        until(lambda: not tappers[-1].poll(timeout_s=0.0) and not tappers[-1].counts().full)


def test_an_answer_that_is_late_is_shown_though_the_next_one_comes_before_anothers(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = start(), start()
    taps: list[Taps] = []
    for node, incarnation, added in ((first, 0xB, taps.append), (second, 0xC, [].append)):
        offer(node, "orders", incarnation)
        node.observe(
            Observed("service", "orders", incarnation, Reach.LOCAL, lambda now: [], added)
        )
    node = start(first, second)
    node.want(EVERYBODY, lambda tell: None, role="", reach=Reach.LOCAL)
    with Tapper(node, Wanted("orders")) as tapper:
        while len(tapper.find(Reach.LOCAL)) < 2:
            pass
        assert tapper.poll(timeout_s=BOUND_S) == []
        [[tap]] = taps
        held: list[tuple[PeerId, Frames]] = []
        receive, wait = tapper._lines.receive, tapper._lines.wait

        given: list[bool] = []

        def is_other(arrived: tuple[PeerId, Frames]) -> bool:
            return int(arrived[0], 16) != first.process

        def one_by_one() -> list[tuple[PeerId, Frames]]:
            """Return one packet at a time, and two of the first node before any other."""
            held.extend(receive())
            held.sort(key=is_other)
            if not held or (is_other(held[0]) and given.count(False) < 2):
                return []
            given.append(is_other(held[0]))
            return [held.pop(0)]

        monkeypatch.setattr(tapper._lines, "receive", one_by_one)
        monkeypatch.setattr(tapper._lines, "wait", lambda *how: None if held else wait(*how))
        tap.put(Passed(1, "price", "done", 1, 2, 3))
        shown = tapper.poll(timeout_s=0.0)
        while tap._rows:  # until the answer to that is on its way
            pass
        tap.put(Passed(2, "price", "done", 1, 2, 3))
        shown += tapper.poll(timeout_s=BOUND_S)
        assert [each.row.at_us for each in shown] == [1, 2]


@pytest.mark.parametrize(
    "value", ["text", 5, None, b"bytes", [1, {"a": 2}], "x" * 200, b"x" * 200]
)
def test_a_value_that_is_whole_is_read(value: object) -> None:
    assert value_of(encode(value) + b"\x05") == (value, True)


@pytest.mark.parametrize(
    ("value", "begins"), [("x" * 1000, "x" * 200), (b"x" * 1000, b"x" * 200)]
)
def test_of_a_value_that_is_cut_off_the_beginning_is_read(value: object, begins: str) -> None:
    found, is_whole = value_of(encode(value)[:256])
    assert isinstance(found, type(begins)) and found[: len(begins)] == begins  # type: ignore[index]
    assert not is_whole


def test_other_values_that_are_cut_off_stay_bytes() -> None:
    data = encode([1, "x" * 1000])[:256]
    assert value_of(data) == (data, False)
    assert value_of(b"") == (b"", False)
