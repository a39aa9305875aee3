"""Signals that the kernel hands to another thread than the one that waits.

Python runs their handlers in the main thread alone, which such a signal does not wake.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator

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


def hand_over(blocking: Kit, rests: Callable[[], object]) -> None:
    """Have a thread wait until the main one rests, and take the signal then."""

    def take() -> None:
        until(rests)
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)

    blocking.start(take)


def test_who_reads_sees_it(blocking: Kit) -> None:
    subscriber = blocking.subscriber(count=0)
    hand_over(blocking, lambda: subscriber._driver._resting)
    with pytest.raises(Seen):
        subscriber.receive(timeout_s=BOUND_S)


def test_who_serves_sees_it(blocking: Kit) -> None:
    service = blocking.service()
    service.start()
    hand_over(blocking, lambda: service._driver._resting)
    with pytest.raises(Seen):
        service.serve(timeout_s=BOUND_S)


def test_who_calls_sees_it_whoever_drives(blocking: Kit) -> None:
    gate = blocking.gate()
    blocking.serving(gate.hold, concurrency=2)
    client = blocking.client(timeout_s=BOUND_S)
    driving = blocking.start(client.call, "hold")
    gate.came()
    hand_over(blocking, lambda: client._driver._followers)
    with pytest.raises(Seen):
        client.call("hold")
    gate.open()
    driving.result()


def test_who_waits_for_others_to_be_ready_sees_it_whoever_drives(blocking: Kit) -> None:
    subscriber = blocking.subscriber(count=0)
    driving = blocking.start(subscriber.receive, timeout_s=BOUND_S)
    until(lambda: subscriber._driver.led)
    hand_over(blocking, lambda: subscriber._driver._news._waiters)
    with pytest.raises(Seen):
        subscriber.ready(timeout_s=BOUND_S)
    subscriber.stop()
    driving.result()
