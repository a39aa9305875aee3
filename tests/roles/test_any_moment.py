"""Interrupts at each moment at which Python may raise one while a role works.

Whoever is interrupted while it waits, or between two steps, leaves a role that goes on. What
comes under the role's lock may break it: then it says so, and a new one is made.

Python runs the handler of a signal between two steps of the main thread: as it enters a
function and as it is back from one in C. A profiler is called there too, and may raise as such
a handler does; so these moments have their turns, one after the other. ZMQKIT_STRIDE says that
each so manieth is taken; `tox -e fuzz` takes all.
"""

from __future__ import annotations

import os
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
STRIDE = int(os.environ.get("ZMQKIT_STRIDE", "3"))


class Seen(BaseException):
    """What the handler of the signal raises."""


class Moments:
    """Calls work again and again, each time interrupted a little later, until it is done."""

    def __init__(
        self,
        work: Callable[[], object],
        role: Callable[[], Any],
        raised: type[BaseException] = Seen,
    ) -> None:
        self._work = work
        self._role = role
        self._raised = raised
        self._left = 0
        self._where = ""
        self._locked = False
        self.went_on = 0

    def is_broken(self) -> bool:
        """Whether the last interrupt broke the role: only under its lock, and it says so."""
        role, life = self._role(), self._role()._life
        if not life.driver.broken:
            self.went_on += 1
            return False
        assert self._locked, self._where
        with pytest.raises(zmqkit.UsageError, match="was interrupted in the middle"):
            role.ready(timeout_s=0) if hasattr(role, "ready") else role.serve(timeout_s=0)
        role.close()
        assert life.driver.broken and life.closed
        return True

    def __iter__(self) -> Iterator[str]:
        """Gives where each interrupt came; nothing but it must come out."""
        for self._left in range(1, MOMENTS_MAX, STRIDE):
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
            with pytest.raises(zmqkit.UsageError, match="inside a handler"):
                zmqkit.current_request()
            yield self._where
        raise AssertionError(f"{MOMENTS_MAX} moments were not enough")

    def _see(self, frame: FrameType, event: str, argument: object) -> None:
        module = frame.f_globals.get("__name__", "")
        if event in ("call", "c_return") and module.startswith("zmqkit."):
            self._left -= not is_in_finalizer(frame)
            if self._left == 0 and not self._where:
                self._locked = self._role()._life.lock.locked()
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

    def make() -> Any:
        client = zmqkit.Client(address or blocking.name, timeout_s=BOUND_S)
        assert client.ready(timeout_s=BOUND_S)
        return client

    client = make()
    moments = Moments(lambda: verb(client), lambda: client)
    for where in moments:
        if moments.is_broken():
            client = make()
            continue
        assert not client._life.driver.led, where
        assert client.call("add", 1, 2) == 3, where
        until(lambda stats=client.stats: not stats()["in_flight"])
    client.close()
    assert moments.went_on


def test_a_publisher_goes_on(blocking: Kit) -> None:
    publisher, numbers = zmqkit.Publisher(blocking.name), count()
    subscriber = blocking.subscriber(count=0)

    def publish() -> None:
        publisher.publish("t", next(numbers))
        blocking.publish(publisher, *(("t", next(numbers)) for _ in range(9)))
        publisher.ready(timeout_s=BOUND_S)

    publisher.ready(timeout_s=BOUND_S)
    moments = Moments(publish, lambda: publisher)
    for where in moments:
        if moments.is_broken():
            publisher = zmqkit.Publisher(blocking.name)
            publisher.ready(timeout_s=BOUND_S)
            continue
        assert not publisher._life.driver.led, where
        last = next(numbers)
        publisher.publish("t", last)
        for message in subscriber:
            if message.body == last:
                break
    publisher.close()
    assert moments.went_on


def test_what_a_publisher_accepted_while_it_gathered_leaves(blocking: Kit) -> None:
    subscriber, numbers = blocking.subscriber(count=0), count()
    accepted, read = list[int](), list[int]()

    def publish(*more: object) -> None:
        number = next(numbers)
        publisher.publish("t", (number, *more) if more else number)
        accepted.append(number)

    def publish_all() -> None:
        for _ in range(3):
            publish()
            publish(2)
        publish("x" * BATCH_BYTES)  # which fills a packet

    def begin() -> zmqkit.Publisher:
        accepted.clear()
        read.clear()
        made = zmqkit.Publisher(blocking.name)
        made._core.pace.follow_s = made._core.pace.hold_s = BOUND_S
        return made

    def follow() -> None:
        publisher.ready(timeout_s=BOUND_S)
        for _ in range(FOLLOW_STREAK):
            publish()

    publisher = begin()
    follow()
    moments = Moments(publish_all, lambda: publisher)
    for where in moments:
        if moments.is_broken():
            publisher = begin()
            follow()
            continue
        publish("x" * BATCH_BYTES)
        while not read or read[-1] < accepted[-1]:
            message = subscriber.receive(BOUND_S)
            assert message is not None, where
            body = message.body
            number = body if type(body) is int else body[0]
            if number >= accepted[0]:  # not of one before
                read.append(number)
        assert not set(accepted) - set(read), where
        assert read == sorted(set(read))
    publisher.close()
    assert moments.went_on


def test_a_subscriber_goes_on(blocking: Kit) -> None:
    publisher, numbers = blocking.publisher(), count()

    def make() -> zmqkit.Subscriber:
        subscriber = zmqkit.Subscriber(blocking.name)
        assert subscriber.ready(timeout_s=BOUND_S)
        return subscriber

    def receive() -> None:
        blocking.start(publisher.publish, "t", -1)
        subscriber.receive()

    subscriber = make()
    moments = Moments(receive, lambda: subscriber)
    for where in moments:
        if moments.is_broken():
            subscriber = make()
            continue
        assert not subscriber._life.driver.led, where
        number = next(numbers)
        publisher.publish("t", number)
        for message in subscriber:
            if message.body == number:
                break
    subscriber.close()
    assert moments.went_on


def test_a_service_goes_on(blocking: Kit) -> None:
    """Which answers callers whose request it had begun, or leaves them to their own time."""

    def make() -> zmqkit.Service:
        service = zmqkit.Service(blocking.name)
        service.handler(add, idempotent=True)  # the next call may find one that just closed
        service.handler(numbers)
        service.start()
        return service

    def ask() -> None:
        try:
            hasty.call("add", 1, 2)
            list(hasty.stream("numbers", 5))
        except (zmqkit.CallTimeout, zmqkit.NoService, zmqkit.RemoteError, zmqkit.PeerLost):
            pass  # it was interrupted, and the next one not found yet

    def serve(asking: Started) -> object:
        while not asking.over:
            service.serve(STEP_S)
        return asking.result()

    service = make()
    client = blocking.client()
    hasty = client.options(timeout_s=0.2)
    moments = Moments(lambda: serve(blocking.start(ask)), lambda: service, KeyboardInterrupt)
    for where in moments:
        if moments.is_broken():
            service = make()
            continue
        assert not service._life.driver.led, where
        assert serve(blocking.start(client.call, "add", 1, 2)) == 3, where
    service.close(0)
    assert moments.went_on


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
    client, streams, seen, raised, done = zmqkit.Client(blocking.name), [], 0, 0, False
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
            if client._life.driver.broken:
                client.close()
                client = zmqkit.Client(blocking.name)
    finally:
        done = True
        busy.join()
        signal.signal(signal.SIGALRM, before)
    client.close()
    assert raised == seen == 200
