"""The asyncio publisher."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from math import inf
from types import TracebackType
from typing import Self

from zmqkit.asyncio.role import Life, Role
from zmqkit.core.topics.gathering import Gathering
from zmqkit.core.topics.publisher import PublisherCore
from zmqkit.errors import UsageError
from zmqkit.history_limits import History
from zmqkit.limits import CLOSE_S, LEAVE_S, STALL_S
from zmqkit.links.profile import Profile
from zmqkit.node.time_of_day import wall_us
from zmqkit.roles.handlers import check_count, end_of
from zmqkit.roles.messages import JoinWait, Policy, check_history, check_policy, unserved
from zmqkit.roles.role import BoundShown, Plan
from zmqkit.roles.scheme import Binding
from zmqkit.types import PublisherStats


class Batch:
    """Gathers messages that leave together, those of one topic in one packet.

    The messages leave when a packet is full, at 64 KiB, and at the end of the batch. Those of
    one topic stay in order. A message that is published directly leaves before the messages
    that the batch holds then. A batch belongs to one task.
    """

    def __init__(self, send: Callable[[Gathering], Awaitable[None]]) -> None:
        self._send = send
        self._gathering = Gathering()
        self._is_open = False

    async def publish(self, topic: str, body: object) -> None:
        """Add a message to the batch. Raises UsageError as `Publisher.publish` does."""
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
        await self._send(self._gathering)

    async def _publish(self, topic: str, body: object) -> None:
        if not self._is_open:
            raise UsageError("a batch gathers inside its with block alone; begin a new one")
        if self._gathering.add(topic, body):
            await self._send(self._gathering)
            await asyncio.sleep(0)  # others have their turn


class Publisher(BoundShown, Role):
    """Sends messages by topic to all subscribers of its name, which find it by themselves.

    name: what subscribers look up. policy: `drop` never waits. A subscriber that does not keep
    up then loses messages, and counts what it lost. `block` waits for the slowest subscriber,
    but no longer than `stall_s` for a stuck one. history: how many messages of each topic to
    keep for subscribers that ask for them, or a `History` with further limits. bind, insecure
    and advertise: as for a Service. space: the space that it is in, in place of that of
    ZMQKIT_SPACE. statistics: tell other machines that reach it what it counts. Raises
    UsageError or ConfigError for a wrong value. Subscribers can find the publisher once it is
    opened: by its `async with` block, or else by the first verb.
    """

    _kind = "zmqkit.asyncio.Publisher"
    _life: Life[Binding]

    def __init__(
        self,
        name: str,
        *,
        policy: Policy = "drop",
        stall_s: float = STALL_S,
        history: int | History | None = None,
        bind: str | None = None,
        insecure: bool | None = None,
        space: str | None = None,
        statistics: bool = False,
        advertise: str | None = None,
    ) -> None:
        waits = check_policy(policy, stall_s)
        kept = check_history(history)
        profile = Profile.TOPICS_WITH_CREDIT if waits else Profile.TOPICS
        place = Binding(
            "publisher", name, bind, advertise, insecure=insecure, space=space, profile=profile
        )
        self._core = PublisherCore(
            place.incarnation, waits=waits, stall_s=stall_s, history=kept, wall_us=wall_us
        )
        self._quick = self._core.quick
        self._life = Life(
            Plan(
                f"publisher {name!r}",
                place,
                self._core,
                about=self._core.about,
                pace=self._core.pace,
                holds=self._core.holds,
                awake=False,
                statistics=statistics,
            )
        )

    async def publish(self, topic: str, body: object) -> None:
        """Send a message to every subscriber of the topic, with the others of this turn.

        The messages of one turn of the event loop leave together at its end. They leave sooner,
        and other tasks have their turn, when a packet is full: at 64 KiB or 30,000 messages.
        After eight messages that followed each other within 20 µs, several turns leave together
        0.2 ms later, or about 1 ms later when no more are published. topic: text without NUL,
        256 bytes at most. Raises UsageError for a message that cannot travel.
        """
        # After each flush a topic has no room, and only a flush can block the publisher.
        if not self._quick(topic, body):
            await self._publish(topic, body)

    async def clear(self, topic: str) -> None:
        """Send a message that clears the topic: a subscriber reads it with `cleared` True.

        It leaves behind all that was published before. With a history, it is all that is kept
        of the topic. Raises UsageError for a topic that cannot travel.
        """
        if self._core.blocked:
            await self._wait_for_room()
        self._life.command(self._core.clear, topic)

    def batch(self) -> Batch:
        """Return a context manager whose `publish` gathers beyond the end of a turn.

        `async with publisher.batch() as batch: await batch.publish(topic, body)`
        """
        return Batch(self._send)

    async def ready(self, count: int = 1, timeout_s: float | None = None) -> int:
        """Wait until `count` subscribers have joined; return how many have.

        `timeout_s` of None waits for ever. The subscriptions of those that joined are in place,
        so they are sent all that is published from then on. A subscriber that has just closed
        counts until the publisher hears of it. To wait for a certain new subscriber, use the
        `ready` of that subscriber.
        """
        check_count(count)
        self._life.open()
        wait = JoinWait(self._core, count)
        await self._life.wait(wait.is_over, end_of(timeout_s))
        return wait.joined

    def stats(self) -> PublisherStats:
        """Return counters; accepted = handed_over + queued + dropped, always."""
        return self._core.stats()

    async def close(self, timeout_s: float = CLOSE_S) -> int:
        """Wait up to `timeout_s` until all subscribers have received all, then close.

        Returns how many subscribers had not, as far as the publisher knows. What is under way
        to them may still arrive.
        """
        core = self._core
        return await self._life.close(
            timeout_s,
            lambda: core.unreached,
            core.close,
            leave=core.leave,
            drained=lambda: not core.unreached,
            linger_s=lambda left_s: LEAVE_S,
            says=unserved,
        )

    async def _publish(self, topic: str, body: object) -> None:
        if self._core.blocked:
            await self._wait_for_room()
        if self._life.post(self._core.gather, topic, body):
            await asyncio.sleep(0)  # a loop that publishes is no reason for others to wait

    async def _send(self, gathering: Gathering) -> None:
        """Send what a batch gathered; wait for room where there is none."""
        packets = deque(gathering.take())
        try:
            while packets:
                if self._core.blocked:
                    await self._wait_for_room()
                self._life.command(self._core.send_some, packets)
        finally:
            gathering.give_back(packets)  # of a wait that was ended

    async def _wait_for_room(self) -> None:
        """Wait until the slowest subscriber has caught up enough, or is excluded."""
        while self._core.blocked:  # another task may be sooner
            self._life.open().soon()
            await self._life.wait(lambda: not self._core.blocked, inf)
