"""What must hold of all messages of a world. `Broken` says what did not hold.

Of each topic of each publisher, a subscriber reads a part of what was published there. It reads
in order, nothing twice and nothing unwanted. If it skips messages in between, it is told that
they are missing, or its counters say that they were dropped. A subscriber that has joined has
all its subscriptions in place. A publisher that waits is free again in time. It loses nothing
while nothing breaks. A subscriber that recovers misses nothing that its publisher still keeps,
unless that was out of reach for so long that the subscriber gave it up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf

from zmqkit.core.topics.inbox import Delivery
from zmqkit.core.topics.subscriber import Gap
from zmqkit.history_limits import History
from zmqkit.limits import STALL_S
from zmqkit.simulation.forwarders import KEEPS_ALL, Forwarders
from zmqkit.simulation.oracle import SLACK_S, expect
from zmqkit.simulation.process import BoundRole
from zmqkit.simulation.timeline import Timeline
from zmqkit.simulation.topics import PublisherRole, SubscriberRole
from zmqkit.wire.publication import private

HEAVY_BYTES = 1 << 20
_HEAVY = memoryview(bytes(HEAVY_BYTES))
_LONG_CHARS = 3000
_LONG_EVERY = 16


@dataclass(slots=True, eq=False)
class Published:
    """What one publisher has published."""

    role: PublisherRole
    heavy: bool
    stall_s: float = STALL_S
    heard_at: float = -inf  # when a subscriber last told it of reading
    topics: dict[str, list[int]] = field(default_factory=dict)  # each topic's tokens, in order
    begun_at: dict[str, list[float]] = field(default_factory=dict)  # of each message, in order
    history: History | None = None
    cleared: set[int] = field(default_factory=set)  # the tokens of messages that clear a topic

    @property
    def waits_for_all(self) -> bool:
        """Whether the publisher waits for subscribers and has never given up on one."""
        core = self.role.core
        return core.audience.waits and not core.counts["exclusions"]

    @property
    def may_lose(self) -> bool:
        """Whether messages may be missing although no connection broke."""
        return not self.waits_for_all and self.role.topics.refused > 0

    def body(self, token: int) -> object:
        """Return the body that stands for a token.

        The body is small, or long enough to be compressed, or so large that a few fill a
        window.
        """
        if token in self.cleared:
            return None
        if self.heavy:
            return _HEAVY[: HEAVY_BYTES - token]
        return f"{token} " * _LONG_CHARS if token % _LONG_EVERY == 0 else ["token", token]


@dataclass(slots=True, eq=False)
class Track:
    """How far a subscriber has read a topic of a publisher."""

    # Messages up to this number may be from before the subscription was in place.
    floor: float = inf
    # It has read a message above the floor, so all later messages must be accounted for.
    sure: bool = False
    last: int = 0  # the number of the last message that it read
    count: int = 0  # messages that it read
    absent: int = 0  # messages passed over above the floor, which must be accounted for
    possible: int = 0  # all messages passed over
    missing: int = 0  # messages that it was told to be missing

    def read(self, sequence: int, count: int) -> None:
        """Count the messages of a delivery, and the messages passed over before it."""
        if self.last:
            passed = sequence - self.last - 1
            self.possible += passed
            self.absent += passed if self.last > self.floor else 0
        self.last = sequence + count - 1
        self.count += count


class TopicOracle:
    """An oracle that knows every message of the world and judges what becomes of it."""

    def __init__(self, timeline: Timeline, forwarders: Forwarders) -> None:
        self.timeline = timeline
        self.forwarders = forwarders
        self.published: dict[int, Published] = {}
        self.tracks: dict[SubscriberRole, dict[tuple[int, str], Track]] = {}
        self.subscribers: dict[int, SubscriberRole] = {}
        self.counts: Counter[str] = Counter()
        self.quiet = False
        self._token = 0

    def add(
        self,
        role: PublisherRole,
        *,
        heavy: bool,
        stall_s: float,
        history: History | None = None,
    ) -> None:
        """Note a publisher that starts."""
        incarnation = role.record.incarnation
        self.published[incarnation] = Published(role, heavy, stall_s, history=history)

    def keeps_all(self, role: PublisherRole) -> bool:
        """Return whether a publisher keeps everything that it publishes."""
        history = self.published[role.record.incarnation].history
        return history is not None and history.messages == KEEPS_ALL

    def enter(self, role: SubscriberRole) -> None:
        """Note a subscriber that starts."""
        self.tracks[role] = {}
        self.subscribers[role.core.incarnation] = role

    # What publishers do

    def publish(self, role: PublisherRole, topic: str) -> object:
        """Note the next message of a topic and return its body."""
        self._token += 1
        self.counts["published"] += 1
        known = self.published[role.record.incarnation]
        known.topics.setdefault(topic, []).append(self._token)
        known.begun_at.setdefault(topic, []).append(self.timeline.now)
        role.process.trace(f"{role.name} publishes {topic} {self._token}")
        for subscriber in self.tracks:
            self._judge_subscriptions(role, subscriber)
        return known.body(self._token)

    def clear(self, role: PublisherRole, topic: str) -> None:
        """Note that the next message of a topic clears it."""
        self.publish(role, topic)
        self.published[role.record.incarnation].cleared.add(self._token)

    def _judge_subscriptions(self, role: PublisherRole, subscriber: SubscriberRole) -> None:
        """Judge that a subscriber that is up at a publisher has all its prefixes there.

        Only the connection that it has now counts.
        """
        dialer = subscriber.connection(role.record.incarnation)
        if dialer is None or dialer.connection is None:
            return
        prefixes = role.topics.pipes.get(dialer.connection.peer, {})
        for prefix in subscriber.prefixes:
            expect(
                prefix.encode() in prefixes,
                "who has joined has all subscriptions", subscriber.name, role.name, prefix,
            )  # fmt: skip

    def _judge_joined(self, role: PublisherRole, incarnation: int) -> None:
        """Judge that a joined subscriber has all its prefixes, unless they changed since."""
        subscriber = self.subscribers.get(incarnation)
        if subscriber is None:
            return  # a forwarder, whose subscriptions change with those of its subscribers
        prefixes = {prefix.encode() for prefix in subscriber.prefixes}
        own = private(incarnation)
        pipes = [each.keys() for each in role.topics.pipes.values() if own in each]
        expect(
            subscriber.changed or any(prefixes <= pipe for pipe in pipes),
            "who has joined has all subscriptions", subscriber.name, role.name,
        )  # fmt: skip

    def moved(self, role: PublisherRole) -> None:
        """Judge that a publisher that waits is free again in time."""
        now, known = self.timeline.now, self.published[role.record.incarnation]
        listeners = role.core.audience.listeners
        known.heard_at = max([known.heard_at, *(each.read_at for each in listeners.values())])
        if role.blocked_at < inf:
            since = max(role.blocked_at, known.heard_at)
            due_at = max(since + known.stall_s, role.process.resumed_at) + SLACK_S
            expect(now <= due_at, "a publisher waits for stall_s", role.name, now - due_at)
        joined = {subscriber for subscriber, each in listeners.items() if each.joined}
        for subscriber in joined - role.joined:
            self._judge_joined(role, subscriber)
        role.joined = joined
        if not role.core.blocked:
            role.blocked_at = inf
        elif role.blocked_at == inf:
            role.blocked_at = now
            self.counts["blocked"] += 1

    # What subscribers do

    def changed(self, role: SubscriberRole, incarnation: int, *, up: bool) -> None:
        """Note that a subscriber has all subscriptions at a publisher, or no longer has them.

        Messages published from then on must be accounted for, and no earlier ones. When a
        connection is made again, this holds without a break for the topics that the subscriber
        has read since.
        """
        for (publisher, topic), track in self._tracks(role, incarnation).items():
            if publisher != incarnation:
                continue
            if up and not track.sure:
                track.floor = len(self.published[incarnation].topics.get(topic, ()))
            elif not up:
                track.sure = track.last > track.floor
                track.floor = track.floor if track.sure else inf

    def forget(self, role: SubscriberRole, prefix: str) -> None:
        """Note that a subscriber ends a subscription.

        Messages that it is not sent are not missing.
        """
        for incarnation in self.published:
            self._tracks(role, incarnation)
        for (_, topic), track in self.tracks[role].items():
            if topic.startswith(prefix) and not topic.startswith(tuple(role.prefixes)):
                track.sure, track.floor = False, inf

    def miss(self, role: SubscriberRole, gaps: list[Gap]) -> None:
        """Take the gaps that a subscriber is told of."""
        for incarnation, topic, count in gaps:
            role.process.trace(f"{role.name} misses {count} of {topic} of {incarnation:x}")
            self.counts["missing"] += count
            self._track(role, incarnation, topic).missing += count
            known = self.published.get(incarnation)
            expect(known is not None, "who misses something knows of whom", role.name)
            if known is not None and role.recovers and self._is_kept(role, known):
                expect(
                    role.core.counts["abandoned"],
                    "what is kept is recovered", role.name, known.role.name, topic, count,
                )  # fmt: skip
            if self.quiet and known is not None:
                about = role.name, known.role.name, topic, count
                expect(known.may_lose, "nothing is missing where nothing breaks", *about)

    def read(self, role: SubscriberRole, delivery: Delivery) -> None:
        """Judge what a subscriber reads."""
        topic, sequence, count = delivery.topic, delivery.sequence, len(delivery.bodies)
        about = role.name, topic, f"{delivery.publisher:x}", sequence
        role.process.trace(f"{role.name} reads {count} from {sequence} of {about[2]} {topic}")
        known = self.published.get(delivery.publisher)
        expect(known is not None and count, "what is read was published", *about)
        assert known is not None
        tokens = known.topics.get(topic, [])
        expect(0 < sequence <= len(tokens) + 1 - count, "a number travels", *about)
        expect(role.wants(topic), "what is read is wanted", *about)
        bodies = [known.body(token) for token in tokens[sequence - 1 : sequence - 1 + count]]
        expect(all(map(_same, bodies, delivery.bodies)), "a body travels", *about)
        earliest, now = known.begun_at[topic][sequence - 1], self.timeline.now
        expect(
            len(delivery.times) == count and earliest - 1e-6 <= min(delivery.times),
            "a message left after it was published", *about, earliest, delivery.times,
        )  # fmt: skip
        expect(max(delivery.times) <= now + 1e-6, "a message left before it came", *about, now)
        clears = tokens[sequence - 1] in known.cleared
        expect(delivery.cleared == clears, "a cleared topic says so", *about)
        self.counts["recovered"] += count if delivery.recovered else 0
        track = self._track(role, delivery.publisher, topic)
        expect(sequence > track.last, "a topic keeps its order", *about, track.last)
        track.read(sequence, count)
        self.counts["read"] += count
        self._judge_account(role, f"{role.name} {topic}")

    def emptied(self, role: SubscriberRole) -> None:
        """Judge a subscriber that has read everything there was."""
        tracks = self.tracks[role]
        dropped = self.dropped(role)
        for (incarnation, topic), track in tracks.items():
            # Who asks for messages may be told that they are missing long before the next one.
            sent = len(self.published[incarnation].topics.get(topic, ()))
            possible = sent - track.count if role.asks else track.possible
            expect(
                dropped or track.missing <= possible,
                "what is missing was not read", role.name, topic, f"{incarnation:x}", track,
            )  # fmt: skip
        stats = role.core.stats()
        expect(
            stats["missing"] == sum(track.missing for track in tracks.values()),
            "all that is missing is told", role.name, stats,
        )  # fmt: skip
        read = sum(track.count for track in tracks.values())
        expect(stats["delivered"] == read, "delivered counts", role.name, stats)
        published = sum(
            len(tokens) for known in self.published.values() for tokens in known.topics.values()
        )
        # What is not wanted has no position, so it counts by each way that brings it.
        lost = dropped - role.core.dropped["unsubscribed"]
        lost += sum(track.missing for track in tracks.values())
        expect(read + lost <= published, "nothing is lost twice", role.name, stats)

    def dropped(self, role: SubscriberRole) -> int:
        """Return how many messages a subscriber has dropped, for any reason."""
        dropped = role.core.stats()["dropped"]
        assert isinstance(dropped, dict)
        full, sources = dropped.get("full", 0), role.core.sources
        waited_for = all(known.waits_for_all for known in self.published.values())
        if not (self.quiet and waited_for and sources.up_count == len(sources.by_peer)):
            role.full = None  # no publisher waits for a subscriber that has not joined
        elif role.full is None:
            role.full = None if role.core.has_messages else full
        else:
            expect(full == role.full, "who is waited for drops nothing", role.name, dropped)
        return sum(dropped.values())

    def _judge_account(self, role: SubscriberRole, about: str) -> None:
        """Judge that messages passed over were told to be missing, or were dropped."""
        tracks = self.tracks[role].values()
        spare = self.dropped(role)
        for track in tracks:
            spare -= max(0, track.absent - track.missing)
        expect(spare >= 0, "what is not read is accounted for", about, spare)

    # Ends

    def judge_up(
        self,
        role: SubscriberRole,
        publishers: list[PublisherRole],
        forwarders: Sequence[BoundRole] = (),
    ) -> None:
        """Judge that a subscriber has all subscriptions at exactly these publishers.

        It must have them at one of the forwarders, too, if there are any.
        """
        names = [each.name for each in publishers], [each.name for each in forwarders]
        is_up = self.is_up(role, publishers, forwarders)
        expect(is_up, "healed, subscribers are up", role.name, role.up, *names)

    def is_up(
        self,
        role: SubscriberRole,
        publishers: list[PublisherRole],
        forwarders: Sequence[BoundRole],
    ) -> bool:
        """Whether a subscriber is up at these, as `judge_up` says."""
        wanted = {publisher.record.incarnation for publisher in publishers}
        devices = {*role.up} & {forwarder.record.incarnation for forwarder in forwarders}
        return wanted == {*role.up} - devices and len(devices) == bool(forwarders)

    def judge_reached(
        self, role: SubscriberRole, publishers: list[PublisherRole], topics: list[str]
    ) -> None:
        """Judge that a subscriber has read the last message of each topic that it wants.

        A subscriber with `latest` may have read the last message of only one of the publishers.
        """
        for topic in topics:
            behind: list[str] = []
            for publisher in publishers:
                incarnation = publisher.record.incarnation
                last = self._track(role, incarnation, topic).last
                if last != len(self.published[incarnation].topics[topic]):
                    behind.append(f"{publisher.name} {last}")
            wanted = topic.startswith(tuple(role.prefixes))
            few = len(behind) < len(publishers) if role.latest else not behind
            about = role.name, topic, *behind
            expect(not wanted or not behind or few, "healed, messages are read", *about)

    # Inside

    def _is_kept(self, role: SubscriberRole, known: Published) -> bool:
        """Whether what a subscriber missed of a publisher is kept by whom it asks.

        Forwarders with a history recover from a publisher that keeps everything and is there.
        Who hears a publisher by a forwarder without one alone asks nobody.
        """
        name = known.role.record.name
        if not self.keeps_all(known.role) or self.forwarders.lack(name):
            return False
        direct = role.core.sources.find(known.role.record.incarnation)
        if direct is not None and direct.is_open and direct.recovery is not None:
            return True
        devices = [source for source in role.core.publishers if source.forwards]
        alive = known.role.process.host.alive and not known.role.leaving
        return not devices or (alive and all(each.recovery is not None for each in devices))

    def _track(self, role: SubscriberRole, incarnation: int, topic: str) -> Track:
        return self._tracks(role, incarnation).setdefault((incarnation, topic), Track())

    def _tracks(self, role: SubscriberRole, incarnation: int) -> dict[tuple[int, str], Track]:
        """Return all tracks of a subscriber.

        If topics of the given publisher have no track yet, they get one.
        """
        tracks = self.tracks[role]
        known = self.published.get(incarnation)
        # A topic that is new since all subscriptions were in place has 0 as its floor.
        floor = 0 if incarnation in role.up else inf
        for topic in known.topics if known is not None else ():
            if (incarnation, topic) not in tracks:
                tracks[incarnation, topic] = Track(floor)
        return tracks


def _same(sent: object, came: object) -> bool:
    """Return whether a body came as it was sent.

    A heavy body is nothing but zeros. Most heavy bodies come as views of the same bytes that
    were sent. To compare those would take most of the time of a world.
    """
    if type(sent) is memoryview and type(came) is memoryview:
        return len(sent) == len(came) and (sent.obj is came.obj or bytes(sent) == bytes(came))
    return sent == came
