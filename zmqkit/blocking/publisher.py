"""The blocking publisher."""

from __future__ import annotations

import threading
import time
from collections import deque
from types import TracebackType
from typing import Self

from zmqkit.blocking.closing import is_too_late, keep, let_go
from zmqkit.core.effects import Effect
from zmqkit.core.topics.gathering import Gathering
from zmqkit.core.topics.publisher import PublisherCore
from zmqkit.drivers.blocking import BlockingDriver
from zmqkit.drivers.perform import Driver, log
from zmqkit.errors import UsageError
from zmqkit.limits import CLOSE_S, LEAVE_S, LENT_MESSAGES, STALL_S
from zmqkit.links.profile import Profile
from zmqkit.roles.handlers import check_count, end_of
from zmqkit.roles.messages import JoinWait, Policy, check_policy, unserved
from zmqkit.roles.scheme import Binding, release_node, shown


class Batch:
    """Messages that leave together: those of a topic in one packet, at 64 KiB or at the end.

    It belongs to one thread. Order holds for each topic in it; what is published directly
    before they leave is before them.
    """

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._gathering = Gathering()
        self._is_open = False

    def publish(self, topic: str, body: object) -> None:
        """Publish with the others of the batch. Raises UsageError as the publisher does."""
        if not self._gathering.quick(topic, body):
            self._publish(topic, body)

    def __enter__(self) -> Self:
        self._is_open = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_open = False
        self._publisher._send(self._gathering)

    def _publish(self, topic: str, body: object) -> None:
        if not self._is_open:
            raise UsageError("a batch gathers inside its with block alone; begin a new one")
        if self._gathering.add(topic, body):
            self._publisher._send(self._gathering)


class Publisher:
    """Sends messages by topic to all subscribers of its name, who find it by themselves.

    name: what subscribers look up. policy: `drop` never waits, so a subscriber that does not
    keep up loses messages, counted at its side; `block` waits for the slowest, and no longer
    than `stall_s` for one that is stuck. bind, insecure and advertise are those of a Service.
    Raises UsageError or ConfigError for a wrong value.
    """

    def __init__(
        self,
        name: str,
        *,
        policy: Policy = "drop",
        stall_s: float = STALL_S,
        bind: str | None = None,
        insecure: bool | None = None,
        advertise: str | None = None,
    ) -> None:
        waits = check_policy(policy, stall_s)
        profile = Profile.TOPICS_WITH_CREDIT if waits else Profile.TOPICS
        self._place = Binding(
            "publisher", name, bind, advertise, insecure=insecure, profile=profile
        )
        self._core = PublisherCore(
            self._place.incarnation, waits=waits, stall_s=stall_s, lent_max=LENT_MESSAGES
        )
        self._audience = self._core.audience
        self._quick = self._core.gathering.quick
        self._driver = BlockingDriver(
            Driver(self._core, self._place.open()), awake=False, pace=self._core.pace
        )
        self._core.about.update(self._place.about())
        self._closing = threading.Lock()
        self._closed = False
        self._keeper = keep(self._driver)
        self._place.announce()

    def __repr__(self) -> str:
        state = "closed" if self._closed else self.endpoint
        return shown("zmqkit.Publisher", self.name, state)

    @property
    def name(self) -> str:
        """What subscribers look up."""
        return self._place.name

    @property
    def incarnation(self) -> int:
        """The number that tells this object from all others of its name."""
        return self._place.incarnation

    @property
    def endpoint(self) -> str:
        """Where it listens, as another program reaches it.

        When it listens on all interfaces, it is the address that is advertised, or the best one
        that this machine had then.
        """
        return self._place.endpoint

    def publish(self, topic: str, body: object) -> None:
        """Send a message to every subscriber of the topic; it leaves at once.

        After eight that followed each other within 20 µs the next ones gather, for 0.2 ms or
        until a packet is full. topic: text without NUL, 256 bytes at most. Raises UsageError
        for what cannot travel.
        """
        driver = self._driver
        if driver.process.forked:
            driver.process.check()
        # After each flush a topic has no room, and only a flush blocks or closes the publisher.
        with driver.lock:
            if self._quick(topic, body):
                return
        if self._audience.load >= self._audience.limit:
            self._wait_for_room()
        with driver.lock:
            if driver.retired:
                driver.check_open()
            now = time.monotonic()
            driver.post(self._core.publish_soon(topic, body, now), now)

    def batch(self) -> Batch:
        """A context manager in which `publish` gathers, which is several times as fast.

        `with publisher.batch() as batch: batch.publish(topic, body)`
        """
        return Batch(self)

    def ready(self, count: int = 1, timeout_s: float | None = None) -> int:
        """Wait until `count` subscribers have joined; gives how many have.

        It waits for ever unless `timeout_s` bounds it. All that is published from then on is
        sent to them: their subscriptions are in place. One that has just closed counts until
        that is heard of; to wait for a certain new one, use that subscriber's own `ready`.
        """
        check_count(count)
        self._driver.process.check()
        with self._driver.lock:
            self._driver.check_open()
            self._driver.command([], time.monotonic())  # what gathers leaves before the wait
        wait = JoinWait(self._core, count)
        self._driver.drive_until(wait.is_over, end_of(timeout_s))
        return wait.joined

    def stats(self) -> dict[str, object]:
        """Counters; accepted = handed_over + queued + dropped, always."""
        self._driver.process.check()
        with self._driver.lock:
            return self._core.stats()

    def close(self, timeout_s: float = CLOSE_S) -> int:
        """Wait up to `timeout_s` until all subscribers have received everything, and let go.

        Gives how many had not, as far as is known; what is under way to them may still leave.
        """
        self._driver.process.check()
        if is_too_late():
            return 0
        left = 0
        with self._closing:
            if not self._closed:
                until = end_of(timeout_s)
                driver, audience = self._driver, self._audience
                with driver.lock:
                    now = time.monotonic()
                    driver.driver.flush(now)
                    driver.command(self._core.leave(now), now)
                self._place.withdraw()
                driver.drive_until(lambda: not audience.joined_count, until)
                left = audience.joined_count
                let_go(self._driver, self._keeper, self._close, until, linger_s=LEAVE_S)
                self._place.release()
                release_node(self._keeper)
        if left:
            log.warning("publisher %r closed before %s", self.name, unserved(left))
        return left

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _close(self) -> list[Effect]:
        self._closed = True
        return self._core.close()

    def _send(self, gathering: Gathering) -> None:
        """Send what a batch gathered, waiting for room where there is none."""
        driver, packets = self._driver, deque(gathering.take())
        driver.process.check()
        try:
            while packets:
                with driver.lock:
                    driver.check_open()
                    now = time.monotonic()
                    driver.driver.flush(now)  # what was published before it
                    driver.post(self._core.send_some(packets, now), now)
                if packets:
                    self._wait_for_room()
        finally:
            gathering.give_back(packets)  # of a wait that was ended

    def _wait_for_room(self) -> None:
        """Drive until the slowest subscriber is near enough, or is excluded."""
        self._driver.drive_until(lambda: not self._core.blocked, end_of(None))
