"""Forwarders in the world of one seed: some worlds have none, some have two of a name.

Subscribers find them beside the publishers, and turn to them and back. A subscriber at the URL
of a forwarder's process reads what comes through that one alone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random

from zmqkit.core.effects import Tell
from zmqkit.core.membership.interests import key_of
from zmqkit.core.topics.forwarder import ForwarderCore
from zmqkit.core.topics.record import Record as HistoryRecord
from zmqkit.drivers.perform import Hooks
from zmqkit.forwarder_limits import ForwarderHistory, ForwarderLimits
from zmqkit.links.profile import Profile
from zmqkit.model import FORWARDER, Reach, Record
from zmqkit.simulation.oracle import expect
from zmqkit.simulation.process import BoundRole, Process
from zmqkit.simulation.subscriptions import TopicListener
from zmqkit.simulation.world import World, about

KEEPS_ALL = 1_000_000
"""A history of so many messages holds everything that a world publishes."""


class ForwarderRole(BoundRole):
    """One forwarder."""

    def __init__(self, process: Process, record: Record, core: ForwarderCore) -> None:
        self.core: ForwarderCore = core
        super().__init__(process, record, core, Profile.FORWARDER, Hooks(finished=list))
        self.keys = (key_of("publisher", record.name),)

    @property
    def topics(self) -> TopicListener:
        """The bound socket."""
        [listener] = self.link.listeners
        assert isinstance(listener, TopicListener)
        return listener

    def hear(self, tell: Tell) -> None:
        """Have the core take membership's news."""
        self.driver.command(partial(self.core.hear, tell))


class Forwarders:
    """The forwarders on the hosts of a world."""

    def __init__(self, world: World, seed: int) -> None:
        """Begin without any."""
        self.world = world
        self.random = Random(f"forwarders {seed}")
        self.placed: dict[str, list[str]] = {}
        self.storming = True
        # For how long they wait for a subscriber that reads nothing.
        self.stall_s = self.random.choice((5.0, 1.0, 0.3))
        self.records: list[tuple[str, HistoryRecord]] = []
        self.history = Random(f"forwarders' history {seed}")
        # How many of them keep what passes, and how much.
        self.keeps = self.history.choice((0.0, 0.5, 1.0, 1.0))
        self.messages = self.history.choice((1, 10, KEEPS_ALL, KEEPS_ALL))

    def place(self, hosts: list[str], publishers: dict[str, list[str]]) -> None:
        """Decide where there are some, of names that somebody publishes."""
        random = self.random
        for name in sorted({name for names in publishers.values() for name in names}):
            if random.random() < 0.4:
                for host in random.sample(hosts, random.choice((1, 1, 2))):
                    self.placed.setdefault(host, []).append(name)

    def start(self, process: Process) -> None:
        """Start the forwarders of a host."""
        there = [role.record.name for role in process.of(ForwarderRole) if not role.leaving]
        for name in self.placed.get(process.host.name, []):
            if name not in there:
                self.forwarder(process, name)

    def forwarder(self, process: Process, name: str) -> ForwarderRole:
        """Start a forwarder."""
        record = self.world.record(process, name, FORWARDER)
        limits = ForwarderLimits(stall_s=self.stall_s)
        history = None
        if self.history.random() < self.keeps:
            history = ForwarderHistory(messages=self.messages, bytes=1 << 50)
        core = ForwarderCore(name, record.incarnation, limits, history=history)
        if core.record is not None:
            self.records.append((name, core.record))
        core.about.update(about(record), seeks=int(max(Reach)))
        role = ForwarderRole(process, record, core)
        role.start()
        process.control.driver.post(lambda now: self.world.feed.announce(record))
        return role

    def all(self, name: str) -> list[ForwarderRole]:
        """Return the forwarders of a name."""
        roles = [r for p in self.world.processes.values() for r in p.of(ForwarderRole)]
        return [role for role in roles if role.record.name == name and not role.leaving]

    def lack(self, name: str) -> bool:
        """Return whether forwarders of a name with a history may lack what publishers keep."""
        records = [record for each, record in self.records if each == name]
        return bool(records) and (
            self.messages != KEEPS_ALL or any(each.counts["abandoned"] for each in records)
        )

    def urls(self, name: str, *, but: Process, publishers: dict[str, list[str]]) -> list[str]:
        """Return where processes listen that have a forwarder of a name and no publisher."""
        return [
            process.control.endpoint
            for host, process in self.world.processes.items()
            if process is not but
            and name in self.placed.get(host, ())
            and name not in publishers.get(host, ())
        ]

    # Faults

    def faults(self) -> list[Callable[[], None]]:
        """Return the kinds of faults that befall forwarders only."""
        return [self._withdraw] * bool(self.placed)

    def _withdraw(self) -> None:
        """Have a forwarder leave. After a while another one starts there."""
        roles = [r for names in self.placed.values() for n in names for r in self.all(n)]
        if roles:
            role = self.random.choice(roles)
            self.leave(role)
            process = role.process
            self.world.timeline.after(
                self.random.uniform(0.0, 3.0), lambda: self._again(process)
            )

    def leave(self, role: ForwarderRole) -> None:
        """Have a forwarder pass on what it holds, say BYE, and close."""
        role.leaving = True
        self.world.feed.withdraw(role.record.incarnation)
        role.driver.command(role.core.leave)
        role.driver.later(0.3, lambda now: role.close())

    def _again(self, process: Process) -> None:
        if process.host.alive and self.storming:
            self.start(process)

    # The end

    def calm(self) -> None:
        """Start missing forwarders again."""
        for process in self.world.processes.values():
            self.start(process)

    def judge(self, name: str, publishers: list[int]) -> int:
        """Judge the forwarders of a name; return how many subscribers they have."""
        count = 0
        for role in self.all(name):
            up = {s.publisher for s in role.core.sources if s.is_open and s.answered}
            expect(up == {*publishers}, "healed, forwarders are up", role.name, up, publishers)
            expect(not role.core.held, "healed, nothing is held", role.name)
            count += role.core.joined_count
        return count

    def close(self) -> None:
        """Have all forwarders leave."""
        for process in self.world.processes.values():
            for role in process.of(ForwarderRole):
                if not role.leaving:
                    self.leave(role)
