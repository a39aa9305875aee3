"""The blocking subscriber."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from math import inf
from types import TracebackType
from typing import Self

from zmqkit.blocking.closing import is_too_late, keep, let_go
from zmqkit.core.effects import Effect, Tell
from zmqkit.core.topics.subscriber import SubscriberCore
from zmqkit.drivers.blocking import BlockingDriver
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
    is_async,
    label_of,
    name_of,
    publisher_rows,
    stats_of,
)
from zmqkit.roles.scheme import Lookup, draw_incarnation, release_node, shown


class Subscriber:
    """Receives messages by topic from every publisher of a name, wherever these are.

    name: a name, `tcp://host:port` of a publisher, or `memory://name`. topics: beginnings of
    topics; all topics unless told. latest: keep the latest message of each topic alone. copy:
    with False, a long bytes body is a read-only memoryview of what arrived. on_gap: called with
    a Gap, by the thread that reads, before its next message. insecure: use publishers on other
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
        self._driver = BlockingDriver(
            Driver(
                self._core,
                self._place.open(),
                Hooks(watch=self._place.watch),
                receive_all=self._core.receive_all,
            ),
            awake=False,
        )
        self._closing = threading.Lock()
        self._closed = False
        self._stopping = False
        self._keeper = keep(self._driver)
        self._place.listen(self._hear)

    def __repr__(self) -> str:
        return shown("zmqkit.Subscriber", self.name, "closed" if self._closed else "")

    @property
    def name(self) -> str:
        """The name or URL it listens to."""
        return self._place.name

    def __iter__(self) -> Iterator[Message]:
        """Messages as they come, until `stop` or `close`."""
        self._check_open()
        return chain.from_iterable(self._hands())  # in C, but for a packet at a time

    def receive(self, timeout_s: float | None = None) -> Message | None:
        """The next message; None when none came in time, or after `stop`."""
        until = end_of(timeout_s)
        for message in self._prefetch.messages:
            return message
        self._check_open()
        while self._reach(until):
            for message in self._prefetch.messages:
                return message  # unless another reader was sooner
        return None

    def listen(
        self, callback: Callable[[Message], object], timeout_s: float | None = None
    ) -> None:
        """Call back with each message until `stop`, or for `timeout_s`."""
        check_callback(callback)
        if is_async(callback):
            raise UsageError(
                f"the callback {callback!r} is async def; use zmqkit.asyncio.Subscriber, or a "
                "plain def here"
            )
        until = end_of(timeout_s)
        self._check_open()
        while True:
            for message in self._prefetch.messages:
                callback(message)
                if self._stopping or time.monotonic() >= until:
                    break  # the rest is the next reader's
            if time.monotonic() >= until or not self._reach(until):
                return

    def stop(self) -> None:
        """Have one who iterates, listens or waits for a message return; from any thread.

        A loop is given the rest of the packet in hand before it ends. Each stop ends one
        reader; `close` ends all.
        """
        self._stopping = True
        if not self._closed:
            self._driver.wake()  # without the lock: a signal handler may call this

    def subscribe(self, *topics: str) -> None:
        """Receive topics with these beginnings too."""
        self._command(lambda now: self._core.subscribe(topics, now))

    def unsubscribe(self, *topics: str) -> None:
        """Receive topics with these beginnings no longer; what came already is kept."""
        self._command(lambda now: self._core.unsubscribe(topics))

    def ready(self, count: int = 1, timeout_s: float | None = None) -> int:
        """Wait until `count` publishers have all subscriptions; gives how many have."""
        check_count(count)
        self._check_open()
        sources = self._core.sources
        self._driver.drive_until(
            lambda: sources.up_count >= count or self._closed, end_of(timeout_s)
        )
        return sources.up_count

    def publishers(self) -> list[dict[str, object]]:
        """The publishers in use: label, address, state (`up` has all subscriptions)."""
        self._driver.process.check()
        with self._driver.lock:
            return publisher_rows(self._label, self._core)

    def stats(self) -> dict[str, object]:
        """Counters; received = delivered + queued + dropped, always."""
        self._driver.process.check()
        with self._driver.lock:
            return stats_of(self._core, self._prefetch)

    def close(self, timeout_s: float = CLOSE_S) -> int:
        """Let go; gives how many messages nobody has read, which are dropped."""
        self._driver.process.check()
        if is_too_late():
            return 0
        with self._closing:
            if self._closed:
                return 0
            unread = 0

            def close() -> list[Effect]:
                nonlocal unread
                self._closed = True
                in_hand = self._prefetch.drop()
                unread = self._core.queued + in_hand
                return self._core.close(in_hand)

            until = end_of(timeout_s)
            let_go(self._driver, self._keeper, close, until)
            self._place.release()
            release_node(self._keeper)
            return unread

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _hands(self) -> Iterator[Iterator[Message]]:
        while True:
            yield self._prefetch.messages  # what one reader leaves there is the next one's
            if not self._reach(inf):
                return

    def _reach(self, until: float) -> bool:
        """Take messages ahead, waiting for some; false when there will be none."""
        driver = self._driver
        driver.process.check()
        while not (self._stopping or self._closed):
            with driver.lock:
                if self._closed:
                    break
                gaps = self._core.gaps()
                taken = bool(len(self._prefetch))  # by another reader
                if not (taken or gaps):
                    delivery, effects = self._core.take()
                    if effects:
                        driver.command(effects, time.monotonic())
                    if delivery is not None:
                        publisher = label_of(self._label, delivery.publisher)
                        self._prefetch.take(delivery, publisher, copy=self._copy)
                        taken = True
            for publisher_of, topic, count in gaps:
                if self._on_gap is not None:
                    self._on_gap(Gap(topic, label_of(self._label, publisher_of), count))
            if taken:
                return True
            if gaps:
                continue
            if time.monotonic() >= until:
                return False
            driver.drive_until(self._has_news, until)
        self._stopping = False
        return False

    def _has_news(self) -> bool:
        return self._core.has_messages or self._stopping or self._closed

    def _command(self, command: Callable[[float], list[Effect]]) -> None:
        self._driver.process.check()
        with self._driver.lock:
            self._driver.check_open()
            now = time.monotonic()
            self._driver.command(command(now), now)

    def _check_open(self) -> None:
        self._driver.process.check()
        if self._closed:
            raise UsageError(f"the subscriber to {self.name!r} is closed; make a new one")

    def _hear(self, tell: Tell) -> None:
        with self._driver.lock:
            if not self._closed:
                now = time.monotonic()
                self._driver.command(self._core.hear(tell, now), now)
