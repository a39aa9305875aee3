"""Publishers and subscribers under the simulated driver, and how their users behave."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from functools import partial
from math import inf
from random import Random
from typing import Protocol

from zmqkit.core.dispatch.connections import State
from zmqkit.core.topics.gathering import Gathering, Rows
from zmqkit.core.topics.inbox import Delivery
from zmqkit.core.topics.publisher import PublisherCore
from zmqkit.core.topics.subscriber import Gap, SubscriberCore
from zmqkit.drivers.perform import Hooks
from zmqkit.links.profile import Profile
from zmqkit.model import Record
from zmqkit.simulation.process import BoundRole, Process, SeekingRole
from zmqkit.simulation.subscriptions import TopicDialer, TopicListener

SINGLE, CLOSELY, GATHERED, BATCHED = "single", "closely", "gathered", "batched"
STYLES = (SINGLE, CLOSELY, GATHERED, BATCHED)
"""How a user publishes: each message at once; in a loop, where messages gather; as asyncio
does, by the end of the turn; or in a batch."""


class TopicJudge(Protocol):
    """A judge that knows what must be read, and what may be missing."""

    def publish(self, role: PublisherRole, topic: str) -> object:
        """Note the next message of a topic and return its body."""

    def clear(self, role: PublisherRole, topic: str) -> None:
        """Note that the next message of a topic clears it."""

    def moved(self, role: PublisherRole) -> None:
        """Look at a publisher after a turn."""

    def changed(self, role: SubscriberRole, incarnation: int, *, up: bool) -> None:
        """Note that a subscriber has all subscriptions at a publisher, or no longer does."""

    def miss(self, role: SubscriberRole, gaps: list[Gap]) -> None:
        """Take the gaps that a subscriber is told of."""

    def read(self, role: SubscriberRole, delivery: Delivery) -> None:
        """Judge what a subscriber reads."""

    def emptied(self, role: SubscriberRole) -> None:
        """Judge a subscriber that has read everything there was."""


class PublisherRole(BoundRole):
    """One publisher, and its user, who publishes."""

    def __init__(
        self,
        process: Process,
        record: Record,
        core: PublisherCore,
        judge: TopicJudge,
        style: str,
    ) -> None:
        self.core: PublisherCore = core
        profile = Profile.TOPICS_WITH_CREDIT if core.audience.waits else Profile.TOPICS
        super().__init__(process, record, core, profile, Hooks())
        self.style = style
        self.driver.pace = core.pace
        self.waiting: deque[Rows] = deque()  # packets of a batch that wait for room
        self._left: deque[str] = deque()  # topics of messages that are published in any case
        self.blocked_at = inf  # since when the publisher waits
        self.joined: set[int] = set()  # the subscribers joined when the judge last looked
        self._judge = judge

    @property
    def topics(self) -> TopicListener:
        """The bound socket."""
        [listener] = self.link.listeners
        assert isinstance(listener, TopicListener)
        return listener

    def publish(self, topics: Iterable[str], now: float) -> None:
        """Publish a message for each of these topics. Stop where the publisher has to wait."""
        if self.closed or self.waiting:
            return
        gathering = Gathering()
        for topic in topics:
            if self.core.blocked:
                break
            body = self._judge.publish(self, topic)
            if self.style == SINGLE:
                self.driver.perform(self.core.publish(topic, body, now))
            elif self.style == CLOSELY:
                self.driver.perform(self.core.publish_soon(topic, body, now))
                if self.core.pace.due_at <= now:  # a packet is full, which leaves at once
                    self.driver.perform(self.core.flush(now))
            elif self.style == BATCHED:
                gathering.add(topic, body)
            elif self.core.gathering.add(topic, body):
                self.driver.perform(self.core.flush(now))
        self.waiting += gathering.take()
        self._send_waiting(now)

    def clear(self, topic: str, now: float) -> None:
        """Clear a topic, unless the publisher has to wait."""
        if not (self.closed or self.waiting or self.core.blocked or self.core.leaving):
            self._judge.clear(self, topic)
            self.driver.perform(self.core.clear(topic, now))

    def publish_all(self, topics: Iterable[str], now: float) -> None:
        """Publish a message for each of these topics, as soon as there is room for it."""
        self._left += topics
        while self._left and not (self.waiting or self.core.blocked or self.closed):
            self.publish([self._left.popleft()], now)

    def rested(self, now: float) -> None:
        """Have the judge look. Go on with what waits if there is room."""
        self._judge.moved(self)
        if self.waiting and not self.core.blocked:
            self.driver.post(self._send_waiting)
        elif self._left and not (self.core.blocked or self.closed):
            self.driver.post(partial(self.publish_all, ()))

    def _send_waiting(self, now: float) -> None:
        """Send the packets that wait, one by one, as long as there is room."""
        while self.waiting and not self.core.blocked and not self.closed:
            self.driver.perform(self.core.send([self.waiting.popleft()], now))


class SubscriberRole(SeekingRole):
    """One subscriber, and its user, who reads."""

    def __init__(
        self,
        process: Process,
        target: str,
        core: SubscriberCore,
        prefixes: Iterable[str],
        judge: TopicJudge,
    ) -> None:
        self.core: SubscriberCore = core
        super().__init__(
            process,
            f"subscriber-{core.incarnation:x}",
            core,
            ("publisher", target),
            Profile.TOPICS,
            Hooks(),
            receive_all=core.receive_all,
        )
        self.prefixes = dict.fromkeys(prefixes)  # those in force
        self.changed = False  # whether the prefixes in force have ever changed
        # How many messages it had dropped when it had joined everywhere and read all; None
        # before that.
        self.full: int | None = None
        # The prefixes that ended. They are kept until all messages from before are read.
        self.kept: dict[str, None] = {}
        self.latest = False
        self.recovers = False  # what it missed, as far as it is kept
        self.asks = False  # for messages that are kept
        self.rereads = False  # it gets the last messages again if it subscribes again
        self.pace_s = 0.0  # the longest pause between two deliveries
        self.rests_until = -inf
        self.random = Random(core.incarnation)
        # For each publisher where it has all subscriptions: the number of the connection on
        # which it said HELLO.
        self.up: dict[int, int] = {}
        self._judge = judge
        self._reads = False

    def rested(self, now: float) -> None:
        """Have the judge look. Read soon if there are messages."""
        self._look_at_sources()
        self._judge.miss(self, self.core.gaps())  # while it is as it was when they were missed
        if self.core.has_messages and not self._reads:
            self._reads = True
            self.driver.later(self.random.uniform(0.0, self.pace_s), self._read)

    def subscribe(self, prefix: str, now: float) -> None:
        """Subscribe to one more prefix."""
        self.prefixes[prefix], self.changed = None, True
        self.driver.perform(self.core.subscribe([prefix], now))

    def unsubscribe(self, prefix: str) -> None:
        """End the subscription to a prefix."""
        if self.core.has_messages or self.core.queued:  # some may wait behind a gap
            self.kept[prefix] = None
        self.prefixes.pop(prefix, None)
        self.changed = True
        self.driver.perform(self.core.unsubscribe([prefix]))

    def wants(self, topic: str) -> bool:
        """Return whether the subscriber wanted a topic when its message came."""
        return topic.startswith((*self.prefixes, *self.kept))

    def connection(self, incarnation: int) -> TopicDialer | None:
        """Return the connection to a publisher at which the subscriber is up.

        Return None unless it is the connection on which HELLO was said.
        """
        source = self.core.sources.connections.by_incarnation.get(incarnation)
        dialer = self.link.dialers.get(source.peer) if source is not None else None
        if not isinstance(dialer, TopicDialer) or dialer.connection is None:
            return None
        return dialer if self.up.get(incarnation) == dialer.dials else None

    def _read(self, now: float) -> None:
        """Read one delivery. Before it, take the gaps that the core tells."""
        self._reads = False
        if self.closed:
            return
        if now < self.rests_until:
            self._reads = True
            self.driver.later(self.rests_until - now, self._read)
            return
        self._judge.miss(self, self.core.gaps())
        delivery, effects = self.core.take()
        if delivery is not None:
            self._judge.read(self, delivery)
        if not self.core.has_messages:
            self._judge.emptied(self)
            self.kept.clear()
        self.driver.perform(effects)

    def _look_at_sources(self) -> None:
        """Tell the judge where subscriptions have come to be in place, and where no longer."""
        sources = self.core.sources.connections.by_incarnation
        now_up = {i: s.peer for i, s in sources.items() if s.state is State.UP}
        for incarnation in [*self.up]:
            if incarnation not in now_up:
                del self.up[incarnation]
                self._judge.changed(self, incarnation, up=False)
        for incarnation, peer in now_up.items():
            if incarnation not in self.up:
                self._judge.changed(self, incarnation, up=True)
                dialer = self.link.dialers.get(peer)
                self.up[incarnation] = dialer.asked if isinstance(dialer, TopicDialer) else 0
