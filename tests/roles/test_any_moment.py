"""Interrupts at each moment at which Python may raise one while a role works.

Python runs the handler of a signal between two steps of the main thread: as it enters a
function and as it is back from one in C. A profiler is called there too, and may raise as such
a handler does; so each of these moments has its turn, one after the other.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from types import FrameType
from typing import Any

import pytest

import zmqkit
from tests.roles.kit import BOUND_S, STEP_S, Kit, Started, until
from zmqkit.limits import BATCH_BYTES, FOLLOW_STREAK

pytestmark = [pytest.mark.usefixtures("node"), pytest.mark.slow]

MOMENTS_MAX = 5_000


class Seen(BaseException):
    """What the handler of the signal raises."""


class Moments:
    """Calls work again and again, each time interrupted a moment later, until it is done."""

    def __init__(self, work: Callable[[], object], raised: type[BaseException] = Seen) -> None:
        self._work = work
        self._raised = raised
        self._left = 0
        self._where = ""

    def __iter__(self) -> Iterator[str]:
        """Gives where each interrupt came; nothing but it must come out."""
        for self._left in range(1, MOMENTS_MAX):
            self._where = ""
            try:
                sys.setprofile(self._see)
                self._work()
            except self._raised:
                pass
            finally:
                sys.setprofile(None)
            if not self._where:
                return
            yield self._where
        raise AssertionError(f"{MOMENTS_MAX} moments were not enough")

    def _see(self, frame: FrameType, event: str, argument: object) -> None:
        module = frame.f_globals.get("__name__", "")
        if event in ("call", "c_return") and module.startswith("zmqkit."):
            self._left -= not is_in_finalizer(frame)
            if self._left == 0 and not self._where:
                self._where = f"{module}:{frame.f_lineno}, {event}"
                raise self._raised


def is_in_finalizer(frame: FrameType | None) -> bool:
    """Whether Python would ignore what is raised there."""
    while frame is not None:
        if frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False


def add(a: int, b: int) -> int:
    return a + b


def numbers(stop: int) -> Iterator[int]:
    yield from range(stop)


@pytest.mark.parametrize("url", ["", "memory://{name}"], ids=["tcp", "memory"])
@pytest.mark.parametrize(
    "verb",
    [
        lambda client: client.call("add", 1, 2),
        lambda client: list(client.stream("numbers", 20)),
        lambda client: client.ready(1, timeout_s=BOUND_S),
    ],
    ids=["call", "stream", "ready"],
)
def test_a_client_goes_on(verb: Callable[[Any], object], url: str, blocking: Kit) -> None:
    address = url.format(name=blocking.name)
    blocking.serving(add, numbers, **({"bind": address} if address else {}))
    client = blocking.client(address, timeout_s=BOUND_S)
    for where in Moments(lambda: verb(client)):
        assert not client._driver.led, where
        assert client.call("add", 1, 2) == 3, where
        until(lambda: not client.stats()["in_flight"])


def test_a_publisher_goes_on(blocking: Kit) -> None:
    publisher, numbers = blocking.publisher(), count()
    subscriber = blocking.subscriber()

    def publish() -> None:
        publisher.publish("t", next(numbers))
        blocking.publish(publisher, *(("t", next(numbers)) for _ in range(9)))
        publisher.ready(timeout_s=BOUND_S)

    for where in Moments(publish):
        assert not publisher._driver.led, where
        last = next(numbers)
        publisher.publish("t", last)
        for message in subscriber:
            if message.body == last:
                break


def test_what_a_publisher_accepted_while_it_gathered_leaves(
    blocking: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zmqkit.core.pace.FOLLOW_S", BOUND_S)
    monkeypatch.setattr("zmqkit.core.pace.HOLD_S", BOUND_S)
    publisher, subscriber = blocking.publisher(), blocking.subscriber()
    numbers, accepted = count(), list[int]()
    publisher.ready(timeout_s=BOUND_S)

    def publish(*more: object) -> None:
        number = next(numbers)
        publisher.publish("t", (number, *more) if more else number)
        accepted.append(number)

    def publish_all() -> None:
        for _ in range(3):
            publish()
            publish(2)
        publish("x" * BATCH_BYTES)  # which fills a packet

    for _ in range(FOLLOW_STREAK):
        publish()
    read: list[int] = []
    for where in Moments(publish_all):
        publish("x" * BATCH_BYTES)
        while not read or read[-1] < accepted[-1]:
            message = subscriber.receive(BOUND_S)
            assert message is not None, where
            body = message.body
            read.append(body if type(body) is int else body[0])
        assert not set(accepted) - set(read), where
        assert subscriber.stats()["missing"] == 0, where
    assert read == sorted(set(read))


def test_a_subscriber_goes_on(blocking: Kit) -> None:
    publisher = blocking.publisher()

    def receive() -> None:
        publisher.publish("t", -1)
        subscriber.receive()

    # Not the kit's: what it was taking in as the interrupt came is missing in its counters.
    with zmqkit.Subscriber(blocking.name) as subscriber:
        publisher.ready(timeout_s=BOUND_S)
        for number, where in enumerate(Moments(receive)):
            assert not subscriber._driver.led, where
            publisher.publish("t", number)
            for message in subscriber:
                if message.body == number:
                    break


def test_a_service_goes_on(blocking: Kit) -> None:
    """Which answers callers whose request it had begun, or leaves them to their own time."""
    # Not the kit's: what it was taking in as the interrupt came is missing in its counters.
    service = zmqkit.Service(blocking.name)
    service.handler(add)
    service.handler(numbers)
    service.start()
    client = blocking.client()
    hasty = client.options(timeout_s=0.2)

    def ask() -> None:
        try:
            hasty.call("add", 1, 2)
            list(hasty.stream("numbers", 5))
        except (zmqkit.CallTimeout, zmqkit.RemoteError):
            pass  # it was interrupted

    def serve(asking: Started) -> object:
        while not asking.over:
            service.serve(STEP_S)
        return asking.result()

    for where in Moments(lambda: serve(blocking.start(ask)), KeyboardInterrupt):
        assert not service._driver.led, where
        assert serve(blocking.start(client.call, "add", 1, 2)) == 3, where
    service.close(0)


def test_no_interrupt_is_lost_while_values_come(blocking: Kit) -> None:
    """pyzmq's frames look for signals as they are freed, where nothing can be raised."""

    def see(number: int, frame: object) -> None:
        nonlocal seen
        seen += 1
        raise Seen

    def endless() -> Iterator[int]:
        yield from count()

    def read() -> None:
        with client.stream("endless") as values:
            streams.append(values)  # freed later
            signal.setitimer(signal.ITIMER_REAL, 0.002, 1.0)
            for _ in values:
                pass

    def keep_busy() -> None:
        while not done:
            time.monotonic()  # so that it takes a moment to come back from C

    blocking.serving(endless)
    client, streams, seen, raised, done = blocking.client(), [], 0, 0, False
    before = signal.signal(signal.SIGALRM, see)
    busy = threading.Thread(target=keep_busy)
    busy.start()
    try:
        for _ in range(200):
            try:
                read()
            except Seen:
                raised += 1
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0.0)
    finally:
        done = True
        busy.join()
        signal.signal(signal.SIGALRM, before)
    assert raised == seen == 200
