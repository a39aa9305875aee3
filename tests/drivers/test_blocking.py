"""Who drives a blocking role, and whose commands leave together."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Iterator
from math import inf

import pytest

from zmqkit.core.calls.client import ClientCore
from zmqkit.drivers.blocking import BlockingDriver, Waiter
from zmqkit.drivers.perform import Driver, Hooks
from zmqkit.limits import REST_S_MAX
from zmqkit.links.memory import MemoryLink


@pytest.fixture
def driver() -> Iterator[BlockingDriver]:
    hooks = Hooks()
    driver = BlockingDriver(
        Driver(ClientCore("orders", 1), MemoryLink(1), hooks), threading.Lock()
    )
    hooks.settle = driver.settle
    yield driver
    driver.driver.link.close(0)
    driver.close()


def joined(driver: BlockingDriver, count: int) -> list[Waiter]:
    """The waits of so many threads; the first leads."""
    waiters = [Waiter() for _ in range(count)]
    with driver.lock:
        for waiter in waiters:
            driver.join(waiter)
    return waiters


def settle(driver: BlockingDriver, *waiters: Waiter) -> None:
    with driver.lock:
        driver.settle([(waiter, 42, None) for waiter in waiters])


def test_whoever_comes_alone_is_the_last(driver: BlockingDriver) -> None:
    assert driver.is_last()
    settle(driver, *joined(driver, 1))
    assert driver.is_last()


def test_the_last_of_those_that_were_released_together_is_the_last(
    driver: BlockingDriver,
) -> None:
    settle(driver, *joined(driver, 3))
    assert [driver.is_last() for _ in range(3)] == [False, False, True]


def test_who_was_released_and_does_not_come_is_not_waited_for_twice(
    driver: BlockingDriver,
) -> None:
    settle(driver, *joined(driver, 3))
    assert not driver.is_last()
    with driver.lock:
        driver.command([], 0.0)
    assert driver.is_last()


def test_one_thread_leads_and_the_others_follow(driver: BlockingDriver) -> None:
    leader, follower = joined(driver, 2)
    assert driver.led and leader.gate is None and follower.gate is not None


def test_who_is_settled_before_it_could_drive_passes_the_lead_on(
    driver: BlockingDriver,
) -> None:
    leader, follower = joined(driver, 2)
    settle(driver, leader)
    driver.wait(leader)
    assert not driver.led and follower.nominated


def test_a_follower_whose_wait_is_over_goes_without_the_lock(driver: BlockingDriver) -> None:
    _, follower = joined(driver, 2)
    settle(driver, follower)
    with driver.lock:
        driver.wait(follower)
    assert follower.value == 42


def test_a_new_address_is_watched_from_then_on(driver: BlockingDriver) -> None:
    link = driver.driver.link
    link.descriptors = (link.fileno(),)
    [waiter] = joined(driver, 1)
    assert driver._watched is link.descriptors
    settle(driver, waiter)


def test_a_leader_that_outlives_the_role_reads_nothing_of_others(
    driver: BlockingDriver,
) -> None:
    """A signal's handler may close the role while the leader rests, and open other files."""
    descriptor = driver._waker.descriptor
    rest = driver._rest

    def closed_meanwhile(timeout_ms: int) -> list[tuple[int, int]]:
        with driver.lock:
            driver.retired = True
            driver.wake()
        ready = rest(timeout_ms)
        driver.close()
        os.dup2(other, descriptor)
        return ready

    other, writer = os.pipe()
    os.set_blocking(other, False)
    os.write(writer, b"somebody else's")
    driver._rest = closed_meanwhile  # type: ignore[method-assign]  # to be exactly there
    try:
        driver.lead(lambda: False)
        assert not driver.led
        assert os.read(other, 100) == b"somebody else's"
    finally:
        for each in (other, writer, descriptor):
            os.close(each)


def test_a_leader_that_rests_on_descriptors_of_others_looks_again(
    driver: BlockingDriver,
) -> None:
    """They may never be readable, or no longer be open: what was polled stays polled."""
    with driver.lock:
        timeout_ms = driver._timeout_ms(inf)
    driver.close()
    assert timeout_ms <= REST_S_MAX * 1000
    assert driver._rest(timeout_ms) == [(driver._waker.descriptor, select.POLLNVAL)]


def test_who_wakes_while_another_thread_closes_is_told_nothing(driver: BlockingDriver) -> None:
    driver.wake()
    at = driver._waker.descriptor
    kept = os.dup(at)
    os.close(at)  # as in the middle of `close`, when `write` has looked at the number already
    driver.wake()
    os.dup2(kept, at)
    os.close(kept)
