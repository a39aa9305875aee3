"""Publishers and subscribers under the simulated driver, and how their users behave."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from math import inf
from random import Random
from typing import Protocol

from zmqkit.core.effects import Effect, Tell
from zmqkit.core.membership.membership import key_of
from zmqkit.core.topics.gathering import Gathering, Rows
from zmqkit.core.topics.inbox import Delivery
from zmqkit.core.topics.publisher import PublisherCore
from zmqkit.core.topics.source import State
from zmqkit.core.topics.subscriber import Gap, SubscriberCore
from zmqkit.model import EVERY_PEER, Frames, PeerId, Record, Url
from zmqkit.options import CREDIT_PACKETS
from zmqkit.simulation.network import Lane
from zmqkit.simulation.process import Process, Role, summary
from zmqkit.simulation.subscriptions import TopicDialer, TopicListener, subscription
from zmqkit.wire import packet as wire
from zmqkit.wire import publication

SINGLE, GATHERED, BATCHED = "single", "gathered", "batched"
STYLES = (SINGLE, GATHERED, BATCHED)
"""How a user publishes: at once; as asyncio does, by the end of the turn; or in a batch."""


_PRIVATE_BYTES = len(publication.private(publication.EVERYBODY))
_MAGIC = wire.FIRST.to_bytes(4, "big")[:3]
_HELLO = publication.TALK + (wire.FIRST + wire.HELLO).to_bytes(4, "big")


class Judge(Protocol):
    """Knows every message and judges what becomes of it."""

    def publish(self, role: PublisherRole, topic: str) -> object:
        """Note the next message of a topic; gives its body."""

    def moved(self, role: PublisherRole) -> None:
        """Look at a publisher after each of its steps."""

    def changed(self, role: SubscriberRole, incarnation: int, *, up: bool) -> None:
        """Note that a subscriber has all subscriptions at a publisher, or no longer."""

    def miss(self, role: SubscriberRole, gaps: list[Gap]) -> None:
        """Take what a subscriber is told to be missing."""

    def read(self, role: SubscriberRole, delivery: Delivery) -> None:
        """Judge what a subscriber reads."""

    def emptied(self, role: SubscriberRole) -> None:
        """Judge a subscriber that has read everything there was."""


class PublisherRole(Role):
    """One publisher, and somebody who publishes.

    waiting: packets of a batch that wait for room. blocked_at: since when. joined: who had when
    the judge looked last.
    """

    def __init__(
        self, process: Process, record: Record, core: PublisherCore, judge: Judge, style: str
    ) -> None:
        super().__init__(process, f"publisher-{record.incarnation:x}")
        self.core: PublisherCore = core
        self.record = record
        self.style = style
        self.leaving = False
        self.waiting: deque[Rows] = deque()
        self.blocked_at = inf
        self.joined: set[int] = set()
        self._judge = judge
        self._topics: TopicListener | None = None

    @property
    def topics(self) -> TopicListener:
        """The bound socket."""
        assert self._topics is not None
        return self._topics

    def listen(self, endpoint: str) -> None:
        """Bind an address; what credit lets through finds room, as in the ZeroMQ link."""
        network, host = self.process.network, self.process.host
        room = CREDIT_PACKETS if self.core.audience.waits else 0
        listener = TopicListener(
            network, host, endpoint, self.take, notice=self._noticed, room=room
        )
        self.listener = self._topics = network.bind(listener)

    def publish(self, topics: Iterable[str], now: float) -> None:
        """Publish a message for each of these topics, or up to where it has to wait."""
        if self.closed or self.waiting:
            return
        gathering = Gathering()
        for topic in topics:
            if self.core.blocked:
                break
            body = self._judge.publish(self, topic)
            if self.style == SINGLE:
                self.perform(self.core.publish(topic, body, now))
            elif self.style == BATCHED:
                gathering.add(topic, body)
            elif self.core.gathering.add(topic, body):
                self.perform(self.core.flush(now))
        self.waiting += gathering.take()
        self.touched = True
        self._send_waiting(now)

    def take(self, peer: PeerId, frames: Frames, lane: Lane) -> None:
        """Put what arrived into the process's inbox."""

        def handle(now: float) -> None:
            lane.load -= 1
            if not self.closed and self.topics.admit(peer, frames):
                self._receive(frames, now)

        self.process.post(handle)

    def told(self, frames: Frames) -> str:
        """A message as the diary tells it."""
        return told(frames)

    def perform(self, effects: list[Effect]) -> None:
        """Carry out effects; whoever waits may go on."""
        super().perform(effects)
        self._judge.moved(self)
        if self.waiting and not self.core.blocked:
            self.process.post(self._send_waiting)

    def _receive(self, frames: Frames, now: float) -> None:
        self.process.trace(f"{self.name} < {self.told(frames)}")
        self.perform(self.core.receive(EVERY_PEER, frames, now))

    def _noticed(self, peer: PeerId) -> None:
        def handle(now: float) -> None:
            if not self.closed:
                for frames in self.topics.end(peer):
                    self._receive(frames, now)

        self.process.post(handle)

    def _send(self, peer: PeerId, frames: Frames) -> bool:
        assert peer == EVERY_PEER
        self.topics.publish(frames)
        return True

    def _send_waiting(self, now: float) -> None:
        """Send what waits, packet by packet, as long as there is room."""
        while self.waiting and not self.core.blocked and not self.closed:
            self.perform(self.core.send([self.waiting.popleft()], now))


class SubscriberRole(Role):
    """One subscriber, and somebody who reads.

    pace_s: at most so long between two deliveries. prefixes: in force. changed: they were not
    always. kept: those that were, until everything from before is read. up: for each
    publisher where it has all subscriptions, the number of dials when it said HELLO. full: how
    many messages it had dropped when it had joined everywhere and read all; None before.
    """

    def __init__(
        self,
        process: Process,
        target: str,
        core: SubscriberCore,
        prefixes: Iterable[str],
        judge: Judge,
    ) -> None:
        super().__init__(process, f"subscriber-{core.incarnation:x}")
        self.core: SubscriberCore = core
        self.target = target
        self.key = target if "://" in target else key_of("publisher", target)
        self.prefixes = dict.fromkeys(prefixes)
        self.changed = False
        self.full: int | None = None
        self.kept: dict[str, None] = {}
        self.latest = False
        self.pace_s = 0.0
        self.rests_until = -inf
        self.random = Random(core.incarnation)
        self.up: dict[int, int] = {}
        self._asked: dict[PeerId, int] = {}
        self._judge = judge
        self._reads = False

    def dial(self, peer: PeerId, endpoint: str) -> TopicDialer:
        """Connect to a publisher."""
        network, host = self.process.network, self.process.host
        return network.connect(TopicDialer(network, host, peer, endpoint, self.take, None))

    def told(self, frames: Frames) -> str:
        """A message as the diary tells it."""
        return told(frames)

    def hear(self, tell: Tell, now: float) -> None:
        """Take membership's news of a publisher."""
        if tell.key == self.key:
            self.perform(self.core.hear(tell, now))

    def perform(self, effects: list[Effect]) -> None:
        """Carry out effects; whoever reads may have something to read."""
        super().perform(effects)
        self._look_at_sources()
        if self.core.has_messages and not self._reads:
            self._reads = True
            self.process.later(self.random.uniform(0.0, self.pace_s), self._read)

    def subscribe(self, prefix: str, now: float) -> None:
        """Subscribe to one more prefix."""
        self.prefixes[prefix], self.changed = None, True
        self.perform(self.core.subscribe([prefix], now))

    def unsubscribe(self, prefix: str) -> None:
        """Subscribe to one prefix less."""
        if self.core.has_messages:
            self.kept[prefix] = None
        self.prefixes.pop(prefix, None)
        self.changed = True
        self.perform(self.core.unsubscribe([prefix]))

    def wants(self, topic: str) -> bool:
        """Whether a topic that is read was wanted when it came."""
        return topic.startswith((*self.prefixes, *self.kept))

    def connection(self, incarnation: int) -> TopicDialer | None:
        """The connection to a publisher that it is up at, if it is the one HELLO went."""
        source = self.core.sources.by_incarnation.get(incarnation)
        dialer = self.dialers.get(source.peer) if source is not None else None
        if not isinstance(dialer, TopicDialer) or dialer.connection is None:
            return None
        return dialer if self.up.get(incarnation) == dialer.dials else None

    def _read(self, now: float) -> None:
        """Read one delivery, and be told first of what is missing."""
        self._reads = False
        if self.closed:
            return
        if now < self.rests_until:
            self._reads = True
            self.process.later(self.rests_until - now, self._read)
            return
        self._judge.miss(self, self.core.gaps())
        delivery, effects = self.core.take()
        if delivery is not None:
            self._judge.read(self, delivery)
        if not self.core.has_messages:
            self._judge.emptied(self)
            self.kept.clear()
        self.perform(effects)

    def _send(self, peer: PeerId, frames: Frames) -> bool:
        dialer = self.dialers.get(peer)
        if isinstance(dialer, TopicDialer) and bytes(frames[0][:5]) == _HELLO:
            self._asked[peer] = dialer.dials + (dialer.connection is None)
        return super()._send(peer, frames)

    def _look_at_sources(self) -> None:
        """Notice where subscriptions came to be in place, or no longer are."""
        sources = self.core.sources.by_incarnation
        now_up = {i: s.peer for i, s in sources.items() if s.state is State.UP}
        for incarnation in [*self.up]:
            if incarnation not in now_up:
                del self.up[incarnation]
                self._judge.changed(self, incarnation, up=False)
        for incarnation, peer in now_up.items():
            if incarnation not in self.up:
                self._judge.changed(self, incarnation, up=True)
                self.up[incarnation] = self._asked.get(peer, 0)


def told(frames: Frames) -> str:
    """What a publisher or a subscriber sends, in a few words."""
    frame = bytes(frames[0]) if frames else b""
    end = frame.find(b"\0") or _PRIVATE_BYTES
    if frame[:1] == publication.TALK:
        return summary((frame[1:],))
    verb, prefix = subscription(frames)
    if verb and frame[end : end + 3] != _MAGIC:
        name = "SUBSCRIBE" if verb == publication.SUBSCRIBE else "UNSUBSCRIBE"
        return f"{name} {prefix!r}"
    return f"{frame[:end]!r} {summary((frame[end:], *frames[1:]))}"


def start_publisher(role: PublisherRole, endpoint: str, now: float) -> None:
    """Have a publisher listen, and its process list it."""
    control = role.process.control
    role.listen(endpoint)
    role.process.topics.append(role)
    control.perform(control.core.offer(role.record, now, open=True))


def stop_publisher(role: PublisherRole, now: float) -> None:
    """Close a publisher, and list it no longer."""
    if not role.closed:
        control = role.process.control
        control.perform(control.core.retract(role.record.incarnation, now))
        _stop(role, role.core.close())


def start_subscriber(role: SubscriberRole, url: Url | None, now: float, *, open: bool) -> None:
    """Have membership look for the publishers of a name, or of whoever is behind a URL."""
    control = role.process.control
    role.process.topics.append(role)
    control.perform(control.core.want(role.key, now, open=open))
    if url is not None:
        control.perform(control.core.seed(url, role.key, "publisher", now))


def stop_subscriber(role: SubscriberRole, *, open: bool) -> None:
    """Close a subscriber; nobody is looked for on its behalf."""
    if not role.closed:
        _stop(role, role.core.close())
        control = role.process.control
        control.perform(control.core.unwant(role.key, open=open))


def _stop(role: PublisherRole | SubscriberRole, effects: list[Effect]) -> None:
    role.perform(effects)
    role.core.check()
    role.shut()
    role.process.topics.remove(role)
