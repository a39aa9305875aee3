"""Signals that the kernel hands to another thread than the one that waits.

Python runs their handlers in the main thread alone, which such a signal does not wake.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.roles.kit import BOUND_S, Kit, until

pytestmark = pytest.mark.usefixtures("node")


class Seen(Exception):
    """What the handler of the signal raises."""


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
    """Has SIGUSR1 raise in the main thread, as SIGINT does."""

    def see(number: int, frame: object) -> None:
        raise Seen

    before = signal.signal(signal.SIGUSR1, see)
    yield
    signal.signal(signal.SIGUSR1, before)


@contextmanager
def handed_over(blocking: Kit, rests: Callable[[], object]) -> Iterator[None]:
    """Has a thread take the signal once the main one rests; that is to see it by itself.

    Else the test fails when its wait is over, where Python would run the handler, too.
    """
    alone = True

    def take() -> None:
        until(rests)
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)

    def give_up() -> None:
        nonlocal alone
        alone = False

    watchdog = threading.Timer(BOUND_S / 2, give_up)
    watchdog.start()
    blocking.start(take)
    try:
        with pytest.raises(Seen):
            yield
    finally:
        watchdog.cancel()
        watchdog.join()
    assert alone


def test_who_reads_sees_it(blocking: Kit) -> None:
    subscriber = blocking.subscriber(count=0)
    with handed_over(blocking, lambda: subscriber._life.driver._resting):
        subscriber.receive(timeout_s=BOUND_S)


def test_who_serves_sees_it(blocking: Kit) -> None:
    service = blocking.service()
    service.start()
    with handed_over(blocking, lambda: service._life.driver._resting):
        service.serve(timeout_s=BOUND_S)


def test_who_closes_sees_it_while_another_serves(blocking: Kit) -> None:
    gate = blocking.gate()
    service = blocking.serving(gate.hold)
    blocking.client().notify("hold")
    gate.came()
    with handed_over(blocking, lambda: service._core._admission.leaving):
        service.close(BOUND_S)
    gate.open()


def test_who_calls_sees_it_whoever_drives(blocking: Kit) -> None:
    gate = blocking.gate()
    blocking.serving(gate.hold, concurrency=2)
    client = blocking.client(timeout_s=BOUND_S)
    driving = blocking.start(client.call, "hold")
    gate.came()
    with handed_over(blocking, lambda: client._life.driver._followers):
        client.call("hold")
    gate.open()
    driving.result()


def test_who_waits_for_others_to_be_ready_sees_it_whoever_drives(blocking: Kit) -> None:
    subscriber = blocking.subscriber(count=0)
    driving = blocking.start(subscriber.receive, timeout_s=BOUND_S)
    until(lambda: subscriber._life.driver.led)
    with handed_over(blocking, lambda: subscriber._life.driver._news._waiters):
        subscriber.ready(timeout_s=BOUND_S)
    subscriber.stop()
    driving.result()
