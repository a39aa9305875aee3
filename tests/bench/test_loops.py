"""The loops of a load: what they send, and from when they measure."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from zmqkit.bench import loops
from zmqkit.bench.measured import Load, Measured, estimated
from zmqkit.errors import Busy
from zmqkit.wire.histogram import Histogram

pytestmark = pytest.mark.usefixtures("clock")


class Clock:
    """A clock that tests advance; to sleep advances it."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += max(seconds, 1e-6)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Have the loops use a clock of the test's."""
    clock = Clock()

    async def sleep(seconds: float) -> None:
        clock.pass_by(seconds)
        await asyncio.sleep(0)

    monkeypatch.setattr(loops, "clock", clock)
    monkeypatch.setattr(loops, "sleep", sleep)
    monkeypatch.setattr(loops, "wait_until", lambda at: clock.pass_by(at - clock.now))
    return clock


def load(**changes: Any) -> Load:
    return Load(**({"pattern": "call", "body": b"x", "seconds": 1.0} | changes))


def test_a_stall_shows_in_all_that_were_due_meanwhile(clock: Clock) -> None:
    sent = 0

    def once() -> None:
        nonlocal sent
        sent += 1
        clock.pass_by(0.5 if sent == 1 else 0.001)

    measured = loops.alone(once, load(rate=100))
    assert measured.count == 100
    assert measured.longest_s == pytest.approx(0.5, rel=0.01)
    assert estimated(measured.latency, 40) < 0.01
    late = sum(measured.latency.counts[bucket_of(0.25) :])
    assert 20 <= late <= 30


def bucket_of(duration_s: float) -> int:
    """The first bucket above a duration."""
    single = Histogram()
    single.record(duration_s)
    return single.counts.index(1) + 1


def test_an_open_loop_sends_whatever_becomes_of_it(clock: Clock) -> None:
    gate = asyncio.Event()
    sent = 0

    async def once() -> None:
        nonlocal sent
        sent += 1
        if sent == 50:
            gate.set()
        await gate.wait()

    measured = asyncio.run(loops.opened(once, load(rate=50)))
    assert (sent, measured.count, dict(measured.failed)) == (50, 50, {})
    assert measured.longest_s == pytest.approx(49 / 50, abs=0.05)


def test_a_closed_loop_keeps_so_many_under_way(clock: Clock) -> None:
    under_way, most = 0, 0

    async def once() -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await loops.sleep(0.01)
        under_way -= 1

    measured = asyncio.run(loops.closed(once, load(in_flight=7)))
    assert most == 7 and measured.count == measured.latency.count > 7


def test_what_fails_is_counted_by_its_kind(clock: Clock) -> None:
    async def once() -> None:
        raise Busy("full")

    measured = asyncio.run(loops.opened(once, load(rate=10)))
    assert (measured.count, dict(measured.failed)) == (0, {"Busy": 10})
    with pytest.raises(Busy):
        asyncio.run(loops.run(once, load()))


def test_percentiles_are_spread_over_their_bucket() -> None:
    measured = Measured()
    for number in range(1, 1001):
        measured.record(number / 1000)
    found = measured.percentiles()
    assert found["p50_s"] == pytest.approx(0.5, rel=0.02)
    assert found["p99_s"] == pytest.approx(0.99, rel=0.02)
    assert found["max_s"] == 1.0
    assert Measured().percentiles() == {}
