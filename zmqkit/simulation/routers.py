"""Routers in the world of one seed: they stand beside the services that clients also find.

A client may call through a router, and through another one or a service directly when that is
gone. Whatever way a call takes, what holds of calls holds. After each of its turns, a router's
room is what its relays hold, and its counters balance.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random

from zmqkit.core.calls.dialling import DiallingCore
from zmqkit.core.devices.router import RouterCore
from zmqkit.core.effects import Tell
from zmqkit.core.majordomo.memory_back import MemoryBack
from zmqkit.core.majordomo.relay import Relay
from zmqkit.core.membership.interests import key_of
from zmqkit.device_limits import RouterLimits
from zmqkit.drivers.perform import Hooks
from zmqkit.errors import Busy, PeerLost, ZmqkitError
from zmqkit.limits import CREDIT
from zmqkit.links.profile import Profile
from zmqkit.model import MAJORDOMO, ROUTED, ROUTER, SERVER, Record
from zmqkit.simulation.brokers import balances
from zmqkit.simulation.calls import RegisteredRole, ServiceRole
from zmqkit.simulation.oracle import METHODS, expect
from zmqkit.simulation.process import OfferingRole, Process
from zmqkit.simulation.streams import STREAMS
from zmqkit.simulation.world import World, about

NAME = "edge"
NAMES = ("orders", "stock")
FEW = 4
FEW_BYTES = 2000


class RouterRole(OfferingRole):
    """One router, which looks for the services of its names."""

    offers = ROUTED

    def __init__(
        self,
        process: Process,
        record: Record,
        core: RouterCore,
        judge: Callable[[RouterRole], None],
    ) -> None:
        self.core: RouterCore = core
        self._judge = judge
        hooks = self.offering(Hooks(finished=list))
        super().__init__(process, record, core, Profile.DEVICES, hooks)
        self.keys = tuple(key_of(SERVER, name) for name in core.relays.by_name)

    @property
    def relays(self) -> dict[str, Relay]:
        """What it has for each of its names."""
        return self.core.relays.by_name

    def hear(self, tell: Tell) -> None:
        """Have the core take membership's news."""
        self.driver.command(partial(self.core.hear, tell))

    def rested(self, now: float) -> None:
        """Have the judge look."""
        self._judge(self)


class RouterUsers:
    """Routers on the hosts of a world, what befalls them, and what must hold of them."""

    def __init__(
        self,
        world: World,
        seed: int,
        hosts: list[str],
        crash: Callable[[str], None],
        *,
        share: float,
    ) -> None:
        """Plan who is where.

        crash: kills the process of a host, which starts again later. share: how many worlds
        have routers.
        """
        self.world = world
        self.crash = crash
        random = self.random = Random(f"routers {seed}")
        self.storming = True
        # By host, the names that its router passes on.
        self.routers: dict[str, list[str]] = {}
        # The hosts with services that dial the routers, and are found by nobody.
        self.dialling: list[str] = []
        if random.random() < share:
            for host in random.sample(hosts, min(random.choice((1, 2, 2, 3)), len(hosts))):
                self.routers[host] = [*random.choice((NAMES[:1], NAMES))]
            if random.random() < 0.5:
                self.dialling = random.sample(hosts, min(random.choice((1, 1, 2)), len(hosts)))
        self.limits = RouterLimits(
            requests_max=random.choice((100_000, 100_000, 100_000, FEW)),
            client_requests_max=random.choice((CREDIT, CREDIT, 3)),
            service_credit_max=random.choice((CREDIT, CREDIT, 8, 1)),
            retained_bytes_max=random.choice((64 << 20, 64 << 20, FEW_BYTES)),
            idle_s=random.choice((10.0, 1.0)),
        )
        if self.routers:
            forgetful = self.limits.retained_bytes_max <= FEW_BYTES
            world.oracle.forgetful = world.oracle.forgetful or forgetful

    def excuse(self, error: ZmqkitError | None) -> bool:
        """Return whether the limits of the routers are low enough to explain an error."""
        if not self.routers:
            return False
        if isinstance(error, Busy):
            return self.limits.requests_max <= FEW
        return isinstance(error, PeerLost) and self.limits.retained_bytes_max <= FEW_BYTES

    def start(self, process: Process) -> None:
        """Start the router of a host, if it has one, and the service that dials routers."""
        if process.host.name in self.dialling and not process.of(RegisteredRole):
            self._dial(process)
        names = self.routers.get(process.host.name)
        if names is None or process.of(RouterRole):
            return
        record = self.world.record(process, NAME, ROUTER)
        core = RouterCore(NAME, record.incarnation, self._draw, names, self.limits)
        core.about.update(about(record))
        RouterRole(process, record, core, self.rested).start()
        process.control.driver.post(lambda now: self.world.feed.announce(record))

    def _dial(self, process: Process) -> None:
        core = DiallingCore(
            self._draw(), METHODS, self.world.plan.concurrency, STREAMS,
            device=MAJORDOMO, name=NAMES[0],
        )  # fmt: skip
        RegisteredRole(process, NAME, core, self.world.oracle).start()

    def urls(self, name: str, *, but: Process) -> list[str]:
        """Return where the routers in other processes listen that pass this name on."""
        roles = (role for role in self.all() if role.process is not but)
        return [role.process.control.endpoint for role in roles if name in role.relays]

    def all(self) -> list[RouterRole]:
        """Return the routers that are there and do not leave."""
        processes = self.world.processes.values()
        return [r for p in processes for r in p.of(RouterRole) if not r.leaving]

    def faults(self, others: list[Callable[[], None]]) -> list[Callable[[], None]]:
        """Return the faults of this world. others: those of other users."""
        if not self.routers or not others:
            return others
        kinds = (self._stop, self._hang_up, self._kill_busy, self._kill_busy)
        return others + [k for k in kinds for _ in range(self.random.choice((0, 1, 1, 3)))]

    def _stop(self) -> None:
        """Have a router leave. After a while another one starts there."""
        if roles := self.all():
            role = self.random.choice(roles)
            self.world.leave(role)
            delay = self.random.uniform(0.0, 3.0)
            self.world.timeline.after(delay, partial(self._again, role.process))

    def _again(self, process: Process) -> None:
        if self.storming and process.host.alive:
            self.start(process)

    def _hang_up(self) -> None:
        """Break all connections to a router at once."""
        if roles := self.all():
            self.world.hang_up_all(self.random.choice(roles))

    def _kill_busy(self) -> None:
        """Kill the process of a router that has requests."""
        busy = [role.process.host.name for role in self.all() if role.core.in_flight]
        if busy:
            self.crash(self.random.choice(busy))

    def _draw(self) -> int:
        return self.random.getrandbits(63) | 1

    # What must hold

    def rested(self, role: RouterRole) -> None:
        """Judge a router between two turns."""
        fronts = [relay.front for relay in role.relays.values()]
        count = sum(front.in_flight for front in fronts)
        expect(role.core.in_flight == count, "a router's room is what it holds", role.name)
        expect(count <= self.limits.requests_max, "a router's room is kept", role.name, count)
        for relay in role.relays.values():
            stats = relay.stats()
            expect(balances(stats), "a router's counters balance", role.name, stats)

    def calm(self) -> None:
        """Start the routers that are missing, once those that leave are gone."""
        self.storming = False
        self.world.timeline.after(4.0, self._complete)

    def _complete(self) -> None:
        for process in self.world.processes.values():
            self.start(process)

    def judge(self) -> None:
        """Judge, some seconds after the last fault, that routers have found the services."""
        processes = self.world.processes.values()
        services = [r for p in processes for r in p.of(ServiceRole) if not r.leaving]
        dialling = [r for p in processes for r in p.of(RegisteredRole)]
        for role in self.all():
            for name, relay in role.relays.items():
                ready = relay.back.ready_count
                there = sum(each.record.name == name for each in services)
                there += sum(each.name_served == name for each in dialling)
                expect(ready >= there, "healed, a router has its services", role.name, ready)

    def judge_idle(self) -> None:
        """Judge that idle routers keep nothing of calls."""
        for role in self.all():
            for relay in role.relays.values():
                stats, back = relay.stats(), relay.back
                for what in ("in_flight", "retained_bytes", "clients"):
                    expect(stats[what] == 0, "idle, a router keeps nothing", role.name, stats)
                assert isinstance(back, MemoryBack)
                jobs = [job for each in back.core.instances for job in each.occupied]
                expect(not jobs, "idle, no service is busy", role.name, jobs)

    def close(self) -> None:
        """Have all routers leave, and the services that dial them."""
        for process in self.world.processes.values():
            for service in process.of(RegisteredRole):
                self.world.leave(service)
        for role in self.all():
            self.world.leave(role)
