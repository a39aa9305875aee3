"""When a wait stays awake for a moment, and that it sleeps otherwise."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator

import pytest

from tests.drivers.turns import Loop
from zmqkit.core.calls.client import ClientCore
from zmqkit.drivers.aio import AioDriver
from zmqkit.drivers.blocking import BlockingDriver
from zmqkit.drivers.busypoll import BusyPoll
from zmqkit.drivers.perform import Driver
from zmqkit.limits import BUSY_POLL_S, CROWDED_S, SHARED_S
from zmqkit.links.memory import MemoryLink

AWAKE_S = 1e9
"""However slow the machine is, a wait stays awake for as long."""


def wait(busy: BusyPoll, seconds: float) -> None:
    busy.begin(100.0)
    busy.end(100.0 + seconds)


def test_it_pays_after_a_short_wait_and_no_more_after_a_long_one() -> None:
    busy = BusyPoll(2)
    assert not busy.pays
    wait(busy, BUSY_POLL_S / 2)
    assert busy.pays
    wait(busy, BUSY_POLL_S * 2)
    assert not busy.pays


def test_it_never_pays_with_one_processor() -> None:
    busy = BusyPoll(1)
    wait(busy, BUSY_POLL_S / 2)
    assert not busy.pays


def test_it_pays_no_more_for_a_while_once_others_took_the_processor() -> None:
    busy = BusyPoll(2, used=lambda: 0.0)
    wait(busy, BUSY_POLL_S / 2)
    busy.begin(100.0)
    busy.gave_way(100.0, 100.003)
    busy.end(100.003)
    assert not busy.pays
    busy.begin(100.01)
    busy.end(100.0101)
    assert not busy.pays
    busy.begin(100.01 + CROWDED_S)
    busy.end(100.0101 + CROWDED_S)
    assert busy.pays


def alone_on_one_processor(used_s: float) -> BusyPoll:
    """A wait of a process that runs for `used_s` during each wait."""
    clock = iter(each * used_s for each in itertools.count())
    return BusyPoll(2, alone=True, used=lambda: next(clock))


def lose(busy: BusyPoll) -> None:
    """Wait three times, and be without the processor for a moment each time."""
    for _ in range(3):
        wait(busy, BUSY_POLL_S / 2)
        busy.begin(100.0)
        busy.gave_way(100.0, 100.0 + 2 * SHARED_S)
        busy.end(100.0 + 2 * SHARED_S)
    wait(busy, BUSY_POLL_S / 2)


@pytest.mark.parametrize("alone", [False, True])
def test_who_is_bound_to_one_processor_shares_it_after_a_shorter_time(alone: bool) -> None:
    busy = alone_on_one_processor(0.0) if alone else BusyPoll(2, alone=False)
    lose(busy)
    assert busy.pays is not alone


def test_time_that_the_own_threads_took_is_not_lost() -> None:
    busy = alone_on_one_processor(1.5 * SHARED_S)
    lose(busy)
    assert busy.pays


def test_time_that_threads_of_this_process_computed_is_not_lost() -> None:
    clock = iter(each * 0.003 for each in itertools.count())
    busy = BusyPoll(2, alone=False, used=lambda: next(clock))
    wait(busy, BUSY_POLL_S / 2)
    busy.begin(100.0)
    busy.gave_way(100.0, 100.003)
    busy.end(100.003)
    wait(busy, BUSY_POLL_S / 2)
    assert busy.pays


def test_what_was_lost_before_the_wait_went_on_does_not_count() -> None:
    busy = alone_on_one_processor(0.0)
    for _ in range(3):
        wait(busy, BUSY_POLL_S / 2)
        busy.begin(100.0)
        busy.resume(100.0 + 1.5 * SHARED_S)
        busy.gave_way(100.0, 100.0 + 2 * SHARED_S)
        busy.end(100.0 + 2 * SHARED_S)
    wait(busy, BUSY_POLL_S / 2)
    assert busy.pays


def test_who_keeps_its_one_processor_now_and_then_stays_awake() -> None:
    busy = alone_on_one_processor(0.0)
    for _ in range(9):
        wait(busy, BUSY_POLL_S / 2)
        wait(busy, BUSY_POLL_S / 2)
        busy.begin(100.0)
        busy.gave_way(100.0, 100.0 + 2 * SHARED_S)
        busy.end(100.0 + 2 * SHARED_S)
    wait(busy, BUSY_POLL_S / 2)
    assert busy.pays


def test_to_give_way_for_a_moment_does_no_harm() -> None:
    busy = BusyPoll(2, alone=False)
    busy.begin(100.0)
    busy.gave_way(100.0, 100.0 + BUSY_POLL_S / 2)
    busy.end(100.0 + BUSY_POLL_S / 2)
    assert busy.pays


class Polls:
    """Ready at the third look, or after a sleep; it notes how long each might have slept."""

    def __init__(self) -> None:
        self.timeouts_ms: list[int] = []

    def poll(self, timeout_ms: int) -> list[tuple[int, int]]:
        self.timeouts_ms.append(timeout_ms)
        return [(0, 1)] if len(self.timeouts_ms) == 3 or timeout_ms else []


@pytest.fixture
def driver() -> Iterator[Driver]:
    link = MemoryLink(1)
    yield Driver(ClientCore("orders", 1), link)
    link.close(0)


def busy(*, pays: bool) -> BusyPoll:
    """What a driver learnt from a wait that was short enough, or was not."""
    made = BusyPoll(2, awake_s=AWAKE_S)
    made.pays = pays
    return made


def rest(driver: Driver, *, pays: bool) -> list[int]:
    """How long each look of one rest of up to 50 ms might have slept."""
    blocking = BlockingDriver(driver, threading.Lock())
    polls = Polls()
    blocking._poll = polls  # type: ignore[assignment]
    blocking._busy = busy(pays=pays)
    assert blocking._rest(50) == [(0, 1)]
    blocking.close()
    return polls.timeouts_ms


def test_a_thread_looks_again_and_again_while_that_pays(driver: Driver) -> None:
    assert rest(driver, pays=True) == [0, 0, 0]


class Clock:
    """Others have the processor for long whenever somebody gives way to them."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def give_way(self) -> None:
        self.now += 2 * AWAKE_S


@pytest.fixture
def crowd(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    for module in ("blocking", "aio"):
        monkeypatch.setattr(f"zmqkit.drivers.{module}.time", clock)
        monkeypatch.setattr(f"zmqkit.drivers.{module}.give_way", clock.give_way)


@pytest.mark.usefixtures("crowd")
def test_a_thread_sleeps_that_others_keep_from_looking(driver: Driver) -> None:
    assert rest(driver, pays=True) == [0, 50]


def test_a_thread_sleeps_otherwise(driver: Driver) -> None:
    assert rest(driver, pays=False) == [50]


def flushed(driver: Driver, *, pays: bool) -> tuple[AioDriver, Loop]:
    """A driver and its loop after the turn of a flush."""
    loop = Loop()
    aio = AioDriver(driver, loop)  # type: ignore[arg-type]
    aio._busy = busy(pays=pays)
    aio.soon()
    loop.turn()
    return aio, loop


def test_a_loop_is_kept_awake_while_that_pays(driver: Driver) -> None:
    aio, loop = flushed(driver, pays=True)
    assert all(loop.turn() for _ in range(3))
    aio._busy.until = 0.0
    assert not loop.turn()


@pytest.mark.usefixtures("crowd")
def test_a_loop_sleeps_that_others_keep_from_looking(driver: Driver) -> None:
    _, loop = flushed(driver, pays=True)
    assert not loop.turn()


def test_a_loop_sleeps_otherwise(driver: Driver) -> None:
    _, loop = flushed(driver, pays=False)
    assert not loop.turn()


def test_one_flush_after_the_other_keeps_a_loop_awake_once(driver: Driver) -> None:
    aio, loop = flushed(driver, pays=True)
    for _ in range(3):
        aio.soon()
        loop.turn()
        loop.turn()
        assert loop.soon == [aio._stay_awake]


def test_a_loop_that_is_awake_reads_in_the_same_turn(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    aio, loop = flushed(driver, pays=True)
    reads: list[int] = []
    monkeypatch.setattr(aio, "_read", lambda: reads.append(1))
    looks = iter(([], [], [(0, 1)]))
    monkeypatch.setattr(aio, "_look", lambda _: next(looks))
    loop.turn()
    assert reads == [1]
