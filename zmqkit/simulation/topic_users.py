"""Publish-subscribe in the world of one seed: users that publish and read, and their faults."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random

from zmqkit.core.topics.publisher import PublisherCore
from zmqkit.core.topics.subscriber import SubscriberCore
from zmqkit.limits import STALL_S
from zmqkit.simulation.oracle import expect
from zmqkit.simulation.process import Process
from zmqkit.simulation.topic_oracle import TopicOracle
from zmqkit.simulation.topics import STYLES, PublisherRole, SubscriberRole
from zmqkit.simulation.world import World, about

NAMES = ("weather", "prices")
TOPICS = ("kitchen.celsius", "kitchen.humidity", "cellar", "c", "ça")
PREFIXES = ("", "kitchen.", "kitchen.celsius", "c", "ça", "nothing")


class TopicUsers:
    """Publishers and subscribers on the hosts of a world, from its plan to its end."""

    def __init__(self, world: World, seed: int, hosts: list[str]) -> None:
        """Plan the users.

        Three worlds of four have some; the others run as if there were none.
        """
        self.world = world
        self.oracle = TopicOracle(world.timeline)
        self.random = Random(f"topics {seed}")
        random = self.random
        self.storming = True
        self.publishers: dict[str, list[str]] = {}
        self.listens: dict[str, int] = {}
        if random.random() < 0.75:
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
        self.lossy = world.plan.weather.loss > 0.0

    def faults(self, others: list[Callable[[], None]]) -> list[Callable[[], None]]:
        """Return the faults of this world.

        others: the faults of other users. A quiet world has none of them.
        """
        kinds = [self._withdraw, self._change, self._rest, self._swap]
        own = [k for k in kinds for _ in range(self.random.choice((0, 0, 1, 1, 2)))]
        if self.oracle.quiet:
            return [self._rest] * (self._rest in own)
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
            for _ in range(self.listens.get(host.name, 0)):
                self._subscriber(process)

    def publisher(self, process: Process, name: str) -> PublisherRole:
        """Start a publisher, and a user who publishes."""
        random, world = self.random, self.world
        record = world.record(process, name, "publisher")
        waits = random.random() < self.waits
        core = PublisherCore(record.incarnation, waits=waits, stall_s=self.stall_s)
        core.about.update(about(record))
        role = PublisherRole(process, record, core, self.oracle, random.choice(STYLES))
        heavy = random.random() < self.heavy
        self.oracle.add(role, heavy=heavy, stall_s=self.stall_s)

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
        core = SubscriberCore(target, incarnation, prefixes, latest=latest)
        role = SubscriberRole(process, target, core, prefixes, self.oracle)
        role.latest = latest
        self.oracle.enter(role)
        role.start()
        return role

    def _subscriber(self, process: Process) -> None:
        random = self.random
        name = random.choice(NAMES)
        urls = self.world.control_urls(but=process)
        by_url = urls and self.world.plan.ports_stay and random.random() < 0.2
        target = f"{random.choice(urls)}/{name}" if by_url else name
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
            self.oracle.judge_up(subscriber, self._publishers_of(subscriber, publishers))
        for publisher in publishers:
            expect(not publisher.core.blocked, "healed, nobody waits", publisher.name)
            there = [s for s in subscribers if publisher in self._publishers_of(s, publishers)]
            joined = publisher.core.audience.joined_count
            expect(self.lossy or joined == len(there), "healed, all joined", publisher.name)
            publisher.driver.post(partial(publisher.publish_all, TOPICS))

        def judge() -> None:
            for subscriber in subscribers:
                theirs = self._publishers_of(subscriber, publishers)
                self.oracle.judge_reached(subscriber, theirs, list(TOPICS))

        return judge

    def _publishers_of(
        self, subscriber: SubscriberRole, publishers: list[PublisherRole]
    ) -> list[PublisherRole]:
        """Return the publishers that a subscriber must find."""
        place, _, name = subscriber.target.rpartition("/")
        found = [role for role in publishers if role.record.name == name]
        if not place:
            return found
        return [role for role in found if role.process.control.endpoint == place]

    def close(self) -> None:
        """Have all publishers and subscribers leave."""
        for subscriber in self._all_subscribers():
            subscriber.close_soon()
        for publisher in self._all_publishers():
            self._leave(publisher)

    def judge_closed(self) -> None:
        """Judge that every publisher whose host is alive is closed."""
        for known in self.oracle.published.values():
            if known.role.process.host.alive:
                left = known.role.core.audience.listeners
                expect(known.role.closed, "closed publishers are closed", known.role.name, left)
