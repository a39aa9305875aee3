"""The asyncio subscriber."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from math import inf
from types import TracebackType
from typing import Self

from zmqkit.asyncio.closing import in_thread
from zmqkit.core.effects import Tell
from zmqkit.core.topics.subscriber import SubscriberCore
from zmqkit.drivers.aio import AioDriver
from zmqkit.drivers.fork import current_process
from zmqkit.drivers.perform import Driver, Hooks
from zmqkit.errors import UsageError
from zmqkit.limits import CLOSE_S
from zmqkit.links.profile import Profile
from zmqkit.roles.handlers import check_count, end_of
from zmqkit.roles.messages import (
    Gap,
    Message,
    Prefetch,
    check_callback,
    check_reader,
    label_of,
    name_of,
    publisher_rows,
    stats_of,
)
from zmqkit.roles.scheme import Lookup, draw_incarnation, shown


class Subscriber:
    """Receives messages by topic from every publisher of a name, wherever these are.

    name: a name, `tcp://host:port` of a publisher, or `memory://name`. topics: beginnings of
    topics; all topics unless told. latest: keep the latest message of each topic alone. copy:
    with False, a long bytes body is a read-only memoryview of what arrived. on_gap: called with
    a Gap, by the task that reads, before its next message. insecure: use publishers on other
    machines, in plain text. Raises UsageError or ConfigError for a wrong value.
    """

    def __init__(
        self,
        name: str,
        topics: Iterable[str] = ("",),
        *,
        latest: bool = False,
        copy: bool = True,
        on_gap: Callable[[Gap], object] | None = None,
        insecure: bool | None = None,
    ) -> None:
        check_reader(latest, copy, on_gap)
        self._place = Lookup("publisher", name, insecure=insecure, profile=Profile.TOPICS)
        self._label = name_of(name)
        self._core = SubscriberCore(name, draw_incarnation(), topics, latest=latest)
        self._copy = copy
        self._on_gap = on_gap
        self._prefetch = Prefetch()
        self._core.held = self._prefetch.__len__
        self._driver: AioDriver | None = None
        self._process = current_process()
        self._closing: asyncio.Future[int] | None = None
        self._stopping = False

    def __repr__(self) -> str:
        return shown(
            "zmqkit.asyncio.Subscriber",
            self.name,
            "closed" if self._closing is not None else "",
        )

    @property
    def name(self) -> str:
        """The name or URL it listens to."""
        return self._place.name

    def __aiter__(self) -> Self:
        """Messages as they come, until `stop` or `close`."""
        self._usable()
        return self

    async def __anext__(self) -> Message:
        while True:
            for message in self._prefetch.messages:
                return message
            if not await self._reach(inf):
                raise StopAsyncIteration

    async def receive(self, timeout_s: float | None = None) -> Message | None:
        """The next message; None when none came in time, or after `stop`."""
        until = end_of(timeout_s)
        for message in self._prefetch.messages:
            return message
        self._usable()
        while await self._reach(until):
            for message in self._prefetch.messages:
                return message  # unless another reader was sooner
        return None

    async def listen(
        self, callback: Callable[[Message], object], timeout_s: float | None = None
    ) -> None:
        """Call back with each message until `stop`, or for `timeout_s`; awaits the callback."""
        check_callback(callback)
        until = end_of(timeout_s)
        self._usable()
        while True:
            for message in self._prefetch.messages:
                called = callback(message)
                if called is not None and inspect.isawaitable(called):
                    await called
                if self._stopping or time.monotonic() >= until:
                    break  # the rest is the next reader's
            if time.monotonic() >= until or not await self._reach(until):
                return

    def stop(self) -> None:
        """Have one who iterates, listens or waits for a message return; from any thread.

        A loop is given the rest of the packet in hand before it ends. Each stop ends one
        reader; `close` ends all.
        """
        self._stopping = True
        if self._driver is not None:
            with suppress(RuntimeError):  # its loop is closed, and nobody reads there
                self._driver.loop.call_soon_threadsafe(self._driver.soon)

    async def subscribe(self, *topics: str) -> None:
        """Receive topics with these beginnings too."""
        driver = self._usable()
        driver.perform(self._core.subscribe(topics, time.monotonic()))

    async def unsubscribe(self, *topics: str) -> None:
        """Receive topics with these beginnings no longer; what came already is kept."""
        self._usable().perform(self._core.unsubscribe(topics))

    async def ready(self, count: int = 1, timeout_s: float | None = None) -> int:
        """Wait until `count` publishers have all subscriptions; gives how many have."""
        check_count(count)
        sources = self._core.sources
        await self._usable().drive_until(
            lambda: sources.up_count >= count or self._closing is not None, end_of(timeout_s)
        )
        return sources.up_count

    def publishers(self) -> list[dict[str, object]]:
        """The publishers in use: label, address, state (`up` has all subscriptions)."""
        return publisher_rows(self._label, self._core)

    def stats(self) -> dict[str, object]:
        """Counters; received = delivered + queued + dropped, always."""
        return stats_of(self._core, self._prefetch)

    async def close(self, timeout_s: float = CLOSE_S) -> int:
        """Let go; gives how many messages nobody has read, which are dropped."""
        if self._closing is None:
            self._process.check()
            left_s = end_of(timeout_s) - time.monotonic() + CLOSE_S
            self._closing = asyncio.ensure_future(self._close())
            waiting = asyncio.shield(self._closing)  # who ends the wait ends no close
            return await asyncio.wait_for(waiting, None if left_s == inf else left_s)
        await asyncio.wait([self._closing])  # however it ended
        return 0

    async def _close(self) -> int:
        driver = self._driver
        if driver is None:
            return 0
        in_hand = self._prefetch.drop()
        unread = self._core.queued + in_hand
        driver.driver.perform(self._core.close(in_hand))
        driver.soon()
        try:
            await asyncio.sleep(0)  # who waits for a message learns of it
        finally:
            self._driver = None
            driver.close()
            driver.driver.link.close(0)
            await in_thread(self._place.release)
        return unread

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

    async def _reach(self, until: float) -> bool:
        """Take messages ahead, waiting for some; false when there will be none."""
        while not (self._stopping or self._closing is not None):
            driver = self._usable()
            for publisher, topic, missing in self._core.gaps():
                if self._on_gap is not None:
                    self._on_gap(Gap(topic, label_of(self._label, publisher), missing))
            if len(self._prefetch):
                return True  # another task was sooner
            delivery, effects = self._core.take()
            if effects:
                driver.perform(effects)
            if delivery is not None:
                label = label_of(self._label, delivery.publisher)
                self._prefetch.take(delivery, label, copy=self._copy)
                return True
            if time.monotonic() >= until:
                return False
            await driver.drive_until(self._has_news, until)
        self._stopping = False
        return False

    def _has_news(self) -> bool:
        return self._core.has_messages or self._stopping or self._closing is not None

    def _usable(self) -> AioDriver:
        """The driver, started on the running loop at first use; else UsageError."""
        driver = self._driver
        if driver is not None and self._closing is None and driver.is_here():
            return driver
        if self._closing is not None:
            raise UsageError(f"the subscriber to {self.name!r} is closed; make a new one")
        self._process.check()
        loop = asyncio.get_running_loop()
        if self._driver is None:
            self._driver = AioDriver(
                Driver(
                    self._core,
                    self._place.open(),
                    Hooks(watch=self._place.watch),
                    receive_all=self._core.receive_all,
                ),
                loop,
                awake=False,
            )
            self._place.listen(self._hear)
        elif loop is not self._driver.loop:
            raise UsageError(
                f"the subscriber to {self.name!r} belongs to another event loop; make one in "
                "each"
            )
        return self._driver

    def _hear(self, tell: Tell) -> None:
        """Take the node's news, from its thread to the loop."""
        driver = self._driver
        if driver is not None:
            with suppress(RuntimeError):  # its loop is closed
                driver.loop.call_soon_threadsafe(self._take, tell)

    def _take(self, tell: Tell) -> None:
        if self._driver is not None:
            self._driver.perform(self._core.hear(tell, time.monotonic()))
