"""The asyncio publisher."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from math import inf
from types import TracebackType
from typing import Self

from zmqkit.asyncio.closing import in_thread
from zmqkit.core.topics.gathering import Gathering
from zmqkit.core.topics.publisher import PublisherCore
from zmqkit.drivers.aio import AioDriver
from zmqkit.drivers.fork import current_process
from zmqkit.drivers.perform import Driver, log
from zmqkit.errors import UsageError
from zmqkit.limits import CLOSE_S, LEAVE_S, STALL_S
from zmqkit.links.profile import Profile
from zmqkit.roles.handlers import check_count, end_of
from zmqkit.roles.messages import JoinWait, Policy, check_policy, unserved
from zmqkit.roles.scheme import Binding, shown


class Batch:
    """Messages that leave together: those of a topic in one packet, at 64 KiB or at the end.

    It belongs to one task. Order holds for each topic in it; what is published directly
    before they leave is before them.
    """

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._gathering = Gathering()
        self._is_open = False

    async def publish(self, topic: str, body: object) -> None:
        """Publish with the others of the batch. Raises UsageError as the publisher does."""
        if not self._gathering.quick(topic, body):
            await self._publish(topic, body)

    async def __aenter__(self) -> Self:
        self._is_open = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_open = False
        await self._publisher._send(self._gathering)

    async def _publish(self, topic: str, body: object) -> None:
        if not self._is_open:
            raise UsageError("a batch gathers inside its with block alone; begin a new one")
        if self._gathering.add(topic, body):
            await self._publisher._send(self._gathering)
            await asyncio.sleep(0)  # others have their turn


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
        self._core = PublisherCore(self._place.incarnation, waits=waits, stall_s=stall_s)
        self._gathering = self._core.gathering
        self._driver: AioDriver | None = None
        self._process = current_process()
        self._closing: asyncio.Future[int] | None = None

    def __repr__(self) -> str:
        state = "closed" if self._closing is not None else self.endpoint
        return shown("zmqkit.asyncio.Publisher", self.name, state)

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
        """Where it listens, as another program reaches it; empty before it is first used.

        When it listens on all interfaces, it is the address that is advertised, or the best one
        that this machine had then.
        """
        return self._place.endpoint

    async def publish(self, topic: str, body: object) -> None:
        """Send a message to every subscriber of the topic, with all others of this turn.

        A turn ends by itself where a packet is full, at 64 KiB or 30,000 messages; once eight
        have followed each other within 20 µs some leave together, 0.2 ms later or, when nobody
        publishes, some 1 ms. topic: text without NUL, 256 bytes
        at most. Raises UsageError for what cannot travel.
        """
        # After each flush a topic has no room, and only a flush can block the publisher.
        if not self._gathering.quick(topic, body):
            await self._publish(topic, body)

    def batch(self) -> Batch:
        """A context manager in which `publish` gathers beyond the end of a turn.

        `async with publisher.batch() as batch: await batch.publish(topic, body)`
        """
        return Batch(self)

    async def ready(self, count: int = 1, timeout_s: float | None = None) -> int:
        """Wait until `count` subscribers have joined; gives how many have.

        It waits for ever unless `timeout_s` bounds it. All that is published from then on is
        sent to them: their subscriptions are in place. One that has just closed counts until
        that is heard of; to wait for a certain new one, use that subscriber's own `ready`.
        """
        check_count(count)
        wait = JoinWait(self._core, count)
        await self._usable().drive_until(wait.is_over, end_of(timeout_s))
        return wait.joined

    def stats(self) -> dict[str, object]:
        """Counters; accepted = handed_over + queued + dropped, always."""
        return self._core.stats()

    async def close(self, timeout_s: float = CLOSE_S) -> int:
        """Wait up to `timeout_s` until all subscribers have received everything, and let go.

        Gives how many had not, as far as is known; what is under way to them may still leave.
        """
        if self._closing is None:
            self._process.check()
            self._closing = asyncio.ensure_future(self._close(end_of(timeout_s)))
            return await asyncio.shield(self._closing)  # who ends the wait ends no close
        await asyncio.wait([self._closing])  # however it ended
        return 0

    async def _close(self, until: float) -> int:
        driver = self._driver
        if driver is None:
            return 0
        driver.perform(self._core.leave(time.monotonic()))
        self._place.withdraw()
        try:
            await driver.drive_until(lambda: not self._core.audience.joined_count, until)
        finally:
            left = await self._let_go(driver)  # when it is cancelled, too
        return left

    async def _let_go(self, driver: AioDriver) -> int:
        left, self._driver = self._core.audience.joined_count, None
        driver.driver.perform(self._core.close())
        driver.soon()
        try:
            await asyncio.sleep(0)  # who waits for room or for subscribers learns of it
        finally:
            driver.close()
            driver.driver.link.close(LEAVE_S)
            await in_thread(self._place.release)
        if left:
            log.warning("publisher %r closed before %s", self.name, unserved(left))
        return left

    async def __aenter__(self) -> Self:
        self._usable()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _publish(self, topic: str, body: object) -> None:
        driver, pace = self._usable(), self._core.pace
        if self._core.blocked:
            await self._wait_for_room(driver)
        if pace.due_at == inf:
            driver.soon()
        full, now = self._gathering.add(topic, body), time.monotonic()
        if full or now >= pace.due_at:
            driver.driver.flush(now)
        if full:
            await asyncio.sleep(0)  # a loop that publishes is no reason for others to wait

    async def _send(self, gathering: Gathering) -> None:
        """Send what a batch gathered, waiting for room where there is none."""
        driver = self._usable()
        driver.driver.flush(time.monotonic())  # what was published before it
        packets = deque(gathering.take())
        try:
            while packets:
                if self._core.blocked:
                    await self._wait_for_room(driver)
                driver.perform(self._core.send_some(packets, time.monotonic()))
        finally:
            gathering.give_back(packets)  # of a wait that was ended

    async def _wait_for_room(self, driver: AioDriver) -> None:
        """Wait until the slowest subscriber is near enough, or is excluded."""
        driver.soon()
        while self._core.blocked:  # another task may be sooner
            await driver.drive_until(lambda: not self._core.blocked, end_of(None))
        self._usable()

    def _usable(self) -> AioDriver:
        """The driver, started on the running loop at first use; else UsageError."""
        driver = self._driver
        if driver is not None and self._closing is None and driver.is_here():
            return driver
        if self._closing is not None:
            raise UsageError(f"the publisher {self.name!r} is closed; make a new one")
        self._process.check()
        loop = asyncio.get_running_loop()
        if self._driver is None:
            self._driver = AioDriver(
                Driver(self._core, self._place.open()),
                loop,
                awake=False,
                holds=self._core.holds,
                sent=self._core.pace.sent,
            )
            self._core.about.update(self._place.about())
            self._place.announce()
        elif loop is not self._driver.loop:
            raise UsageError(
                f"the publisher {self.name!r} belongs to another event loop; make one in each"
            )
        return self._driver
