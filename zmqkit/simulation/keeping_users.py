"""Users that submit requests to brokers with journals, and what befalls the disks of these."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random

from zmqkit.core.calls.client import ClientCore
from zmqkit.core.majordomo.durable_back import DurableBack
from zmqkit.errors import QueueFull
from zmqkit.majordomo_limits import BrokerLimits
from zmqkit.simulation.broker_disks import BrokerDisks, BrokerJournals
from zmqkit.simulation.brokers import BrokerRole
from zmqkit.simulation.oracle import METHODS
from zmqkit.simulation.process import Process
from zmqkit.simulation.submissions import Keeper, Submitted, SubmittingRole
from zmqkit.simulation.world import World

SUBMISSIONS_MAX = 60
"""How many requests are submitted in one world at most."""
FEW = 5
"""With room for so few requests, a broker refuses some."""
COLLECT_S = 4.0
"""How long a collection in the end may take."""
_QUICK = (0.0005, 0.01)
"""How many seconds an append takes, at least and at most, on a disk that is not slow."""


class KeepingUsers:
    """Those who submit and collect, and the disks of the brokers."""

    def __init__(
        self, world: World, seed: int, hosts: list[str], crash: Callable[[str], None]
    ) -> None:
        """crash: kills the process of a host, which starts again later."""
        self.world = world
        random = self.random = Random(f"submissions {seed}")
        self.storming = True
        self.keeper = Keeper(world.timeline, world.oracle)
        write_s = random.choice((_QUICK, _QUICK, (0.02, 0.4)))
        self.disks = BrokerDisks(world.timeline, random, write_s)
        self.limits = BrokerLimits(
            requests_max=random.choice((100_000, 100_000, FEW)),
            worker_credit_max=random.choice((64, 8, 1)),
            service_idle_s=random.choice((10.0, 1.0)),
            dead_max=random.choice((10_000, 10_000, 3)),
            outcomes_max=random.choice((100_000, 100_000, 5)),
            outcomes_s=random.choice((86_400.0, 86_400.0, 2.0)),
            lease_s=random.choice((10.0, 2.0)),
        )
        self.keeper.forgetful = self.limits.outcomes_s < 10.0 or self.limits.outcomes_max < 10
        self.per_s = random.choice((1.0, 4.0, 10.0))
        self.again = random.choice((0.1, 0.5))
        self.expiring = random.choice((0.0, 0.2))
        self.requeues = random.choice((0.0, 0.3))
        self._crash = crash
        self._hosts = hosts
        # By host: the services to which somebody submits there.
        self.submits: dict[str, list[str]] = {}

    def place(self, names: list[str]) -> None:
        """Plan who submits. names: the services of brokers."""
        for name in names:
            count = min(self.random.choice((1, 2, 3)), len(self._hosts))
            for host in self.random.sample(self._hosts, count):
                self.submits.setdefault(host, []).append(name)

    def start(self, process: Process) -> None:
        """Start the users of a host."""
        for name in self.submits.get(process.host.name, []):
            self.submitter(process, name)

    def submitter(self, process: Process, name: str) -> SubmittingRole:
        """Start a client that submits requests and collects replies."""
        core = ClientCore(name, self.random.getrandbits(63) | 1)
        role = SubmittingRole(process, name, core, self.keeper)
        role.start()
        self._act_later(role)
        return role

    def journals(self, process: Process, via: str) -> BrokerJournals:
        """Return the journals of a broker that is about to start."""
        return BrokerJournals(self.disks, process.host, via, self.limits, self.keeper.opened)

    # Deeds

    def _act_later(self, role: SubmittingRole) -> None:
        delay = self.random.expovariate(self.per_s)
        self.world.timeline.after(delay, partial(self._act, role))

    def _act(self, role: SubmittingRole) -> None:
        if role.closed or not role.process.host.alive or not self.storming:
            return
        if not role.process.paused:
            for _ in range(self.random.choice((1, 1, 2, 5))):
                self.act(role)
        self._act_later(role)

    def act(self, role: SubmittingRole) -> None:
        """Submit something new, or something again, or collect."""
        random, keeper = self.random, self.keeper
        known = [it for it in keeper.by_token.values() if it.target == role.target]
        timeout_s = random.choice((0.05, 0.5, 2.0, 5.0))
        try:
            if known and random.random() < 0.4:
                keeper.collect(role, random.choice(known), timeout_s)
            elif known and random.random() < self.again:
                keeper.submit(role, random.choice(known), timeout_s)
            elif len(keeper.by_token) < SUBMISSIONS_MAX:
                keeper.submit(role, self._new(role.target), timeout_s)
        except QueueFull:
            return

    def _new(self, name: str) -> Submitted:
        random = self.random
        left_s = random.choice((0.05, 1.0, 3.0)) if random.random() < self.expiring else 3600.0
        return self.keeper.new(name, random.choice([*METHODS]), random.randint(0, 9), left_s)

    # Faults

    def faults(self) -> list[Callable[[], None]]:
        """Return the faults of this world."""
        kinds = [self._fill, self._fail, self._requeue]
        own = [k for k in kinds for _ in range(self.random.choice((0, 1, 1, 2)))]
        return own + [self._cut_power] * self.random.choice((2, 6, 12))

    def _fill(self) -> None:
        """Have a disk be full for a while."""
        files = self.disks.files()
        if files:
            host, file = self.random.choice(files)
            self.world.timeline.note(f"the disk of {host} is full")
            file.full_until = self.world.timeline.now + self.random.uniform(0.1, 3.0)

    def _fail(self) -> None:
        """Have a disk fail for good, until its broker starts again."""
        files = self.disks.files()
        if files:
            host, file = self.random.choice(files)
            self.world.timeline.note(f"the disk of {host} fails")
            file.fails = True

    def _cut_power(self) -> None:
        """Kill the process of a journal while its next append is under way."""
        files = self.disks.files()
        if files:
            host, file = self.random.choice(files)
            delay = self.random.uniform(0.0, file.write_s[1])
            file.watch = lambda: self.world.timeline.after(delay, partial(self._kill, host))

    def _kill(self, host: str) -> None:
        if self.storming and host in self.world.processes:
            self.keeper.ends["power cuts"] += 1
            self._crash(host)

    def _requeue(self) -> None:
        """Requeue what is dead at a broker."""
        for process in self.world.processes.values():
            for role in process.of(BrokerRole):
                role.driver.post(partial(self._requeue_at, role))

    def _requeue_at(self, role: BrokerRole, now: float) -> None:
        if role.closed or role.journals is None:
            return
        for name, relay in role.relays.items():
            assert isinstance(relay.back, DurableBack)
            queue, _ = role.journals.opened[name]
            for it in list(self.keeper.by_token.values()):
                if self.random.random() < 0.5:
                    self.keeper.requeue(queue, relay.back, it, now)
            role.driver.perform(role.core.follow(name, [], now))

    # What must hold

    def rested(self, role: BrokerRole) -> None:
        """Judge a broker between two turns."""
        assert role.journals is not None
        for name, relay in role.relays.items():
            assert isinstance(relay.back, DurableBack)
            self.keeper.look(role.journals.opened[name][0], relay.back)

    def calm(self) -> None:
        """Submit nothing more, and have no disk be slow, full, or about to fail.

        Seed 4023: through a slow disk, one at a time, few calls pass in the time of a call.
        """
        self.storming = False
        self.disks.write_s = _QUICK
        for _, file in self.disks.files():
            file.full_until, file.fails, file.watch = -1.0, False, None
            file.write_s = _QUICK

    def collect(self) -> Callable[[], None]:
        """Collect all that was submitted; return what judges how that ended, a while later."""
        keeper = self.keeper
        roles = [r for p in self.world.processes.values() for r in p.of(SubmittingRole)]
        for it in keeper.by_token.values():
            theirs = [role for role in roles if role.target == it.target]
            it.is_collected, it.end = False, None
            if theirs:
                keeper.collect(self.random.choice(theirs), it, COLLECT_S)
        return keeper.judge

    def close(self) -> None:
        """Close all who submit."""
        for process in self.world.processes.values():
            for role in process.of(SubmittingRole):
                role.close_soon()
