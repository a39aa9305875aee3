"""Publish-subscribe in the world of one seed: users that publish and read, and their faults."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random

from zmqkit.core.topics.publisher import PublisherCore
from zmqkit.core.topics.subscriber import SubscriberCore
from zmqkit.history_limits import History
from zmqkit.limits import STALL_S
from zmqkit.simulation.forwarders import KEEPS_ALL, Forwarders
from zmqkit.simulation.oracle import expect
from zmqkit.simulation.process import BoundRole, Process
from zmqkit.simulation.topic_oracle import TopicOracle
from zmqkit.simulation.topics import STYLES, PublisherRole, SubscriberRole
from zmqkit.simulation.world import World, about

NAMES = ("weather", "prices")
TOPICS = ("kitchen.celsius", "kitchen.humidity", "cellar", "c", "ça")
PREFIXES = ("", "kitchen.", "kitchen.celsius", "c", "ça", "nothing")

CLEARS = 0.05
"""How often a publisher that does not keep everything clears a topic, for each turn."""


class TopicUsers:
    """Publishers and subscribers on the hosts of a world, from its plan to its end."""

    def __init__(self, world: World, seed: int, hosts: list[str], share: float = 1.0) -> None:
        """Plan the users.

        share: of the worlds that have some; the others run as if there were none.
        """
        self.world = world
        self.forwarders = Forwarders(world, seed)
        self.oracle = TopicOracle(world.timeline, self.forwarders)
        self.random = Random(f"topics {seed}")
        self.history = Random(f"history {seed}")
        self.keeps = self.history.choice((0.0, 0.5, 1.0))
        random = self.random
        self.storming = True
        self.publishers: dict[str, list[str]] = {}
        self.listens: dict[str, int] = {}
        if random.random() < share:
            self.publishers = {h: random.sample(NAMES, random.randint(0, 2)) for h in hosts}
            self.publishers[random.choice(hosts)] = [NAMES[0]]
            self.listens = {h: random.randint(0, 2) for h in hosts}
            self.listens[random.choice(hosts)] = 1
        self.waits = random.choice((0.0, 0.5, 1.0))
        self.stall_s = random.choice((STALL_S, 1.0, 0.3))
        self.heavy = random.choice((0.0, 0.0, 0.5, 1.0))
        self.turns_per_s = random.choice((1.0, 3.0, 10.0))
        self.pace_s = random.choice((0.0, 0.01, 0.3))
        self.oracle.quiet = bool(self.publishers) and random.random() < 0.2
        if self.oracle.quiet:
            world.plan.weather.loss = 0.0
            self.waits = random.choice((0.5, 1.0))
            self.keeps = 0.0  # what is recovered would hide what was dropped
        if self.publishers and not self.oracle.quiet:
            # What a forwarder holds up is missing to who hears its publisher directly, too.
            self.forwarders.place(hosts, self.publishers)
        self.lossy = world.plan.weather.loss > 0.0

    def faults(self, others: list[Callable[[], None]]) -> list[Callable[[], None]]:
        """Return the faults of this world.

        others: the faults of other users. A quiet world has none of them.
        """
        kinds = [self._withdraw, self._change, self._rest, self._swap]
        own = [k for k in kinds for _ in range(self.random.choice((0, 0, 1, 1, 2)))]
        if self.oracle.quiet:
            return [self._rest] * (self._rest in own)
        own += self.forwarders.faults()
        return others + own if self.publishers else others

    # Users

    def start(self, process: Process) -> None:
        """Start the users of a host, once its process has started."""
        self.world.timeline.after(0.0, lambda: self._start(process))

    def _start(self, process: Process) -> None:
        host = process.host
        if self.world.processes.get(host.name) is process:
            for name in self.publishers.get(host.name, []):
                self.publisher(process, name)
            self.forwarders.start(process)
            for _ in range(self.listens.get(host.name, 0)):
                self._subscriber(process)

    def publisher(self, process: Process, name: str) -> PublisherRole:
        """Start a publisher, and a user who publishes."""
        random, world = self.random, self.world
        record = world.record(process, name, "publisher")
        waits = random.random() < self.waits
        history = None
        if self.history.random() < self.keeps:
            history = History(messages=self.history.choice((1, 10, KEEPS_ALL)), bytes=1 << 50)
        core = PublisherCore(
            record.incarnation,
            waits=waits,
            stall_s=self.stall_s,
            history=history,
            wall_us=lambda: round(world.timeline.now * 1e6),
        )
        core.about.update(about(record))
        role = PublisherRole(process, record, core, self.oracle, random.choice(STYLES))
        heavy = random.random() < self.heavy
        self.oracle.add(role, heavy=heavy, stall_s=self.stall_s, history=history)

        role.start()
        # It is announced only after the process lists it.
        process.control.driver.post(lambda now: world.feed.announce(record))
        self._publish_later(role)
        return role

    def subscriber(
        self, process: Process, target: str, prefixes: list[str], *, latest: bool = False
    ) -> SubscriberRole:
        """Start a subscriber of a name or a URL, and a user who reads."""
        world = self.world
        incarnation = world.random.getrandbits(63) | 1
        recovers = self.history.random() < self.keeps
        history = self.history.choice((0, 0, 1, 20, 1000))
        core = SubscriberCore(
            target, incarnation, prefixes, latest=latest, history=history, recover=recovers
        )
        role = SubscriberRole(process, target, core, prefixes, self.oracle)
        role.latest, role.recovers = latest, recovers
        role.asks, role.rereads = recovers or history > 0, history > 0
        self.oracle.enter(role)
        role.start()
        return role

    def _subscriber(self, process: Process) -> None:
        random = self.random
        name = random.choice(NAMES)
        both = [h for h in self.publishers if name in self.publishers[h]]
        both = [h for h in both if name in self.forwarders.placed.get(h, ())]
        unclear = [p.control.endpoint for h, p in self.world.processes.items() if h in both]
        urls = [u for u in self.world.control_urls(but=process) if u not in unclear]
        by_url = urls and self.world.plan.ports_stay and random.random() < 0.2
        target = f"{random.choice(urls)}/{name}" if by_url else name
        at = self.forwarders.urls(name, but=process, publishers=self.publishers)
        if at and self.world.plan.ports_stay and self.forwarders.random.random() < 0.5:
            target = f"{self.forwarders.random.choice(at)}/{name}"
        prefixes = random.sample(PREFIXES, random.randint(1, 3))
        role = self.subscriber(process, target, prefixes, latest=random.random() < 0.2)
        role.pace_s = self.pace_s * random.random()

    def _publish_later(self, role: PublisherRole) -> None:
        delay = self.random.expovariate(self.turns_per_s)
        self.world.timeline.after(delay, lambda: self._publishes(role))

    def _publishes(self, role: PublisherRole) -> None:
        if role.closed or not role.process.host.alive or not self.storming:
            return
        if not role.process.paused and role in role.process.roles:
            count = self.random.choice((1, 1, 3, 20, 200))
            topics = self.random.choices(TOPICS, k=count)
            role.driver.post(lambda now: role.publish(topics, now))
            if self.history.random() < CLEARS and not self.oracle.keeps_all(role):
                topic = self.history.choice(TOPICS)
                role.driver.post(lambda now: role.clear(topic, now))
        self._publish_later(role)

    # Faults

    def _all_publishers(self) -> list[PublisherRole]:
        processes = self.world.processes.values()
        return [r for p in processes for r in p.of(PublisherRole) if not r.leaving]

    def _all_subscribers(self) -> list[SubscriberRole]:
        return [r for p in self.world.processes.values() for r in p.of(SubscriberRole)]

    def _withdraw(self) -> None:
        """Have a publisher leave. After a while another of its name starts there."""
        roles = self._all_publishers()
        if roles:
            role = self.random.choice(roles)
            self._leave(role)
            delay = self.random.uniform(0.0, 3.0)
            self.world.timeline.after(delay, lambda: self._publish_again(role))

    def _leave(self, role: PublisherRole) -> None:
        role.leaving = True
        role.driver.post(lambda now: self.world.feed.withdraw(role.record.incarnation))
        role.close_soon()

    def _publish_again(self, role: PublisherRole) -> None:
        if role.process.host.alive and self.storming:
            self.publisher(role.process, role.record.name)

    def _change(self) -> None:
        """Have a subscriber subscribe to more, or to less for a while."""
        roles = self._all_subscribers()
        if roles:
            role = self.random.choice(roles)
            had = self.random.random() < 0.7
            prefix = self.random.choice([*role.prefixes] if had and role.prefixes else PREFIXES)
            role.driver.post(lambda now: self._toggle(role, prefix, now))

    def _toggle(self, role: SubscriberRole, prefix: str, now: float) -> None:
        if role.closed:
            return
        role.process.trace(f"{role.name} changes {prefix!r}")
        if prefix not in role.prefixes:
            role.subscribe(prefix, now)
            return
        if role.rereads:
            return
        role.unsubscribe(prefix)
        self.oracle.forget(role, prefix)
        delay = self.random.uniform(0.0, 1.0)
        role.driver.later(delay, lambda now: self._toggle(role, prefix, now))

    def _rest(self) -> None:
        """Have a subscriber's user stop reading for a while."""
        roles = self._all_subscribers()
        if roles:
            role = self.random.choice(roles)
            duration_s = self.random.choice((0.5, 3.0, 8.0))
            role.rests_until = self.world.timeline.now + duration_s

    def _swap(self) -> None:
        """Have a subscriber close, and start another."""
        roles = self._all_subscribers()
        if roles:
            role = self.random.choice(roles)
            role.close_soon()
            self._subscriber(role.process)

    # The end

    def calm(self) -> None:
        """Start missing publishers again, and let all subscribers read without a pause."""
        self.forwarders.storming = False
        self.forwarders.calm()
        for role in self._all_subscribers():
            role.rests_until = self.world.timeline.now
            role.pace_s = 0.0
        for process in self.world.processes.values():
            there = [r.record.name for r in self._all_publishers() if r.process is process]
            for name in self.publishers.get(process.host.name, []):
                if name not in there:
                    self.publisher(process, name)

    def judge(self) -> Callable[[], None]:
        """Publish to all subscribers.

        Return a function that judges whether everything arrived. Call it some seconds later.
        """
        publishers, subscribers = self._all_publishers(), self._all_subscribers()
        for subscriber in subscribers:
            self.oracle.judge_up(subscriber, *self._heard_by(subscriber))
        for publisher in publishers:
            expect(not publisher.core.blocked, "healed, nobody waits", publisher.name)
            name = publisher.record.name
            same = [p.record.incarnation for p in publishers if p.record.name == name]
            joined = sum(self._is_heard(subscriber, publisher) for subscriber in subscribers)
            joined += self.forwarders.judge(name, same)
            about = publisher.name, publisher.core.joined_count, joined
            everybody = publisher.core.joined_count == joined
            expect(self.lossy or everybody, "healed, all joined", *about)
            publisher.driver.post(partial(publisher.publish_all, TOPICS))

        def judge() -> None:
            for subscriber in subscribers:
                theirs = self._publishers_of(subscriber, publishers)
                self.oracle.judge_reached(subscriber, theirs, list(TOPICS))

        return judge

    @property
    def at_rest(self) -> bool:
        """Whether all subscribers are where they belong, and no publisher waits for one.

        Who recovers leaves nobody before. Who lost an answer hears of it by the next mark.
        """
        if any(publisher.core.blocked for publisher in self._all_publishers()):
            return False
        return all(
            self.oracle.is_up(role, *self._heard_by(role)) for role in self._all_subscribers()
        )

    def _heard_by(
        self, subscriber: SubscriberRole
    ) -> tuple[list[PublisherRole], list[BoundRole]]:
        """Return the publishers and the forwarders that a subscriber must hear."""
        name = subscriber.target.rpartition("/")[2]
        devices = [r for r in self.forwarders.all(name) if self._is_at(subscriber, r)]
        return [p for p in self._all_publishers() if self._is_heard(subscriber, p)], [*devices]

    @property
    def recover(self) -> bool:
        """Whether any subscriber still gets what it missed, a page for each large message."""
        return any(role.core._recovering._busy for role in self._all_subscribers())

    def _publishers_of(
        self, subscriber: SubscriberRole, publishers: list[PublisherRole]
    ) -> list[PublisherRole]:
        """Return the publishers whose messages must reach a subscriber."""
        name = subscriber.target.rpartition("/")[2]
        if any(self._is_at(subscriber, role) for role in self.forwarders.all(name)):
            return [role for role in publishers if role.record.name == name]
        return [role for role in publishers if self._is_at(subscriber, role)]

    def _is_heard(self, subscriber: SubscriberRole, publisher: PublisherRole) -> bool:
        """Return whether a subscriber must hear a publisher itself.

        Who uses a forwarder of the name leaves publishers, unless it wants a history that the
        forwarder does not have.
        """
        forwarders = self.forwarders.all(publisher.record.name)
        used = [each for each in forwarders if each.record.incarnation in subscriber.up]
        asks = subscriber.recovers or subscriber.rereads
        leaves = any(each.core.record is not None or not asks for each in used)
        return self._is_at(subscriber, publisher) and not leaves

    def _is_at(self, subscriber: SubscriberRole, role: BoundRole) -> bool:
        """Return whether a subscriber must find a publisher or forwarder."""
        place, _, name = subscriber.target.rpartition("/")
        return role.record.name == name and place in ("", role.process.control.endpoint)

    def close(self) -> None:
        """Have all publishers and subscribers leave."""
        for subscriber in self._all_subscribers():
            subscriber.close_soon()
        self.forwarders.close()
        for publisher in self._all_publishers():
            self._leave(publisher)

    def judge_closed(self) -> None:
        """Judge that every publisher whose host is alive is closed."""
        for known in self.oracle.published.values():
            if known.role.process.host.alive:
                left = known.role.core.audience.listeners
                expect(known.role.closed, "closed publishers are closed", known.role.name, left)
