"""Brokers and those who register with them in the world of one seed, and what befalls them.

The clients are those of all services: they find a broker's service as they find any other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from random import Random

from zmqkit.core.calls.dialling import DiallingCore
from zmqkit.core.majordomo.broker import BrokerCore
from zmqkit.core.majordomo.durable_back import DurableBack
from zmqkit.core.majordomo.memory_back import MemoryBack
from zmqkit.core.tasks.share import Share
from zmqkit.errors import Busy, PeerLost, ZmqkitError
from zmqkit.limits import CREDIT
from zmqkit.majordomo_limits import BrokerLimits
from zmqkit.model import MAJORDOMO
from zmqkit.simulation.brokers import BrokerRole, Turns, balances
from zmqkit.simulation.calls import Judge, RegisteredRole, Serving
from zmqkit.simulation.keeping_users import FEW, KeepingUsers
from zmqkit.simulation.oracle import METHODS, expect
from zmqkit.simulation.process import Process
from zmqkit.simulation.streams import STREAMS
from zmqkit.simulation.world import World, about

NAMES = ("orders", "weather")
VIAS = ("main", "spare")
TIMERS_MAX = 4
"""How many times of its next tick an idle service may have left behind."""
FEW_BYTES = 2000
"""With room for so few bytes of requests, a broker refuses some; with room for so few bytes of
answers it forgets some, and what streams have sent."""


class BrokerUsers:
    """Brokers, and services that register with them, on the hosts of a world."""

    def __init__(
        self,
        world: World,
        seed: int,
        hosts: list[str],
        crash: Callable[[str], None],
        *,
        share: float,
        journals: bool = False,
    ) -> None:
        """Plan who is where.

        crash: kills the process of a host, which starts again later. share: how many worlds
        have brokers. journals: the brokers keep requests on their disks, users submit some, and
        power is cut often.
        """
        self.world = world
        random = self.random = Random(f"brokers {seed}")
        self.crash = crash
        self.keeping = KeepingUsers(world, seed, hosts, crash) if journals else None
        self.storming = True
        # By host: the names of its brokers; and its services, each with its brokers' name.
        self.brokers: dict[str, list[str]] = {}
        self.services: dict[str, list[tuple[str, str]]] = {}
        if random.random() < share:
            self._place(hosts)
        self.limits = BrokerLimits(
            requests_max=random.choice((100_000, 100_000, 100_000, FEW)),
            requests_bytes_max=random.choice((512 << 20, 512 << 20, 512 << 20, FEW_BYTES)),
            client_requests_max=random.choice((CREDIT, CREDIT, 3)),
            worker_credit_max=random.choice((64, 8, 1, 1)),
            retained_bytes_max=random.choice((64 << 20, 64 << 20, FEW_BYTES)),
            service_idle_s=random.choice((10.0, 1.0)),
        )
        self.late_s = random.choice((0.0, 0.0, 3.0))
        # The share of services that give each broker few places.
        self.shared = random.choice((0.0, 0.0, 0.5))
        if self.brokers:
            world.oracle.hanging = random.choice((0.0, 0.01, 0.05))
            world.oracle.forgetful = self.limits.retained_bytes_max <= FEW_BYTES
        if self.keeping is not None:
            self.limits = self.keeping.limits
            world.oracle.all_answer = True
            world.oracle.forgetful = True  # of another attempt a service knows nothing
            self.keeping.place(self.served)

    def _place(self, hosts: list[str]) -> None:
        random = self.random
        for via in VIAS[: random.choice((1, 1, 2))]:
            for host in random.sample(hosts, min(random.choice((1, 2, 2, 3)), len(hosts))):
                self.brokers.setdefault(host, []).append(via)
        used = sorted({via for vias in self.brokers.values() for via in vias})
        vias = {name: random.choice(used) for name in NAMES}
        vias[NAMES[0]] = VIAS[0]
        for name in NAMES[: random.choice((1, 2, 2))]:
            for host in random.sample(hosts, min(random.choice((1, 2, 2, 3)), len(hosts))):
                self.services.setdefault(host, []).append((name, vias[name]))

    def excuse(self, error: ZmqkitError | None) -> bool:
        """Return whether the limits of the brokers are low enough to explain an error."""
        if not self.brokers:
            return False
        if isinstance(error, Busy):
            limits = self.limits
            tight = limits.requests_max <= FEW or limits.requests_bytes_max <= FEW_BYTES
            return tight or self.shared > 0.0
        return isinstance(error, PeerLost) and self.limits.retained_bytes_max <= FEW_BYTES

    @property
    def served(self) -> list[str]:
        """The names of the services, in order."""
        pairs = [pair for each in self.services.values() for pair in each]
        return sorted({name for name, _ in pairs})

    def has(self, host: str, name: str) -> bool:
        """Return whether the host has a broker that has this service."""
        vias = {via for each in self.services.values() for n, via in each if n == name}
        return not vias.isdisjoint(self.brokers.get(host, []))

    def urls(self, name: str, *, but: Process) -> list[str]:
        """Return where the other processes with brokers that have this service listen."""
        return [
            role.process.control.endpoint
            for role in self.all_brokers()
            if role.process is not but and self.has(role.process.host.name, name)
        ]

    # Users

    def start(self, process: Process) -> None:
        """Start the brokers and the services of a host, each after a while."""
        host = process.host.name
        for via in self.brokers.get(host, []):
            self._soon(partial(self._open, process, via))
        for name, via in self.services.get(host, []):
            self._soon(partial(self._register, process, name, via))
        if self.keeping is not None:
            self.keeping.start(process)

    def broker(self, process: Process, name: str) -> BrokerRole:
        """Start a broker and announce it."""
        record = self.world.record(process, name, MAJORDOMO)
        journals = None
        if self.keeping is not None:
            journals = self.keeping.journals(process, name)
        make_back = journals.make_back if journals is not None else None
        core = BrokerCore(
            name, record.incarnation, self._draw, self.limits, make_back=make_back
        )
        core.about.update(about(record))
        role = BrokerRole(process, record, core, self, journals)
        role.start()
        process.control.driver.post(lambda now: self.world.feed.announce(record))
        return role

    def service(self, process: Process, name: str, via: str) -> RegisteredRole:
        """Start a service that registers with the brokers of a name."""
        core = DiallingCore(
            self._draw(),
            METHODS,
            self.world.plan.concurrency,
            STREAMS,
            device=MAJORDOMO,
            name=name,
            shares=Share if self.random.random() < self.shared else None,
        )
        judge: Judge = self.world.oracle if self.keeping is None else self.keeping.keeper
        role = RegisteredRole(process, via, core, judge)
        role.start()
        return role

    def _draw(self) -> int:
        return self.random.getrandbits(63) | 1

    def _soon(self, start: Callable[[], None]) -> None:
        self.world.timeline.after(self.random.uniform(0.0, self.late_s), start)

    def _open(self, process: Process, via: str) -> None:
        there = [role.record.name for role in process.of(BrokerRole)]
        if self.storming and process.host.alive and via not in there:
            self.broker(process, via)

    def _register(self, process: Process, name: str, via: str) -> None:
        there = [role.name_served for role in process.of(RegisteredRole)]
        if self.storming and process.host.alive and name not in there:
            self.service(process, name, via)

    def all_brokers(self) -> list[BrokerRole]:
        """Return the brokers that are there and do not leave."""
        processes = self.world.processes.values()
        return [r for p in processes for r in p.of(BrokerRole) if not r.leaving]

    def all_services(self) -> list[RegisteredRole]:
        """Return the services that are there and do not leave."""
        processes = self.world.processes.values()
        theirs = [r for p in processes for r in p.of(RegisteredRole) if r.target in VIAS]
        return [role for role in theirs if not role.leaving]

    # Faults

    def faults(self, others: list[Callable[[], None]]) -> list[Callable[[], None]]:
        """Return the faults of this world. others: those of other users."""
        if not self.brokers or not others:
            return others
        kinds = [
            self._stop_broker, self._stop_service, self._hang_up, self._kill_busy,
            self._kill_busy,
        ]  # fmt: skip
        own = [k for k in kinds for _ in range(self.random.choice((0, 1, 1, 3)))]
        return others + own + (self.keeping.faults() if self.keeping is not None else [])

    def _stop_broker(self) -> None:
        """Have a broker leave. After a while another one of its name starts there."""
        roles = self.all_brokers()
        if roles:
            role = self.random.choice(roles)
            self.world.leave(role)
            self._later(partial(self._open, role.process, role.record.name))

    def _stop_service(self) -> None:
        """Have a service leave. After a while another one of its name starts there."""
        roles = self.all_services()
        if roles:
            role = self.random.choice(roles)
            self.world.leave(role)
            self._later(partial(self._register, role.process, role.name_served, role.target))

    def _hang_up(self) -> None:
        """Break all connections to a broker at once."""
        roles = self.all_brokers()
        if roles:
            self.world.hang_up_all(self.random.choice(roles))

    def _kill_busy(self) -> None:
        """Kill the process of a service that has requests."""
        busy = [r.process.host.name for r in self.all_services() if r.core.in_flight]
        if busy:
            self.crash(self.random.choice(busy))

    def _later(self, start: Callable[[], None]) -> None:
        self.world.timeline.after(self.random.uniform(0.0, 3.0), start)

    # What must hold

    def rested(self, role: BrokerRole) -> None:
        """Judge a broker between two turns."""
        fronts = [relay.front for relay in role.relays.values()]
        stats = role.core.stats()
        count, size = sum(f.in_flight for f in fronts), sum(f.held_bytes for f in fronts)
        room = (stats["in_flight"], stats["held_bytes"])
        expect(room == (count, size), "a broker's room is what it holds", role.name, room)
        expect(count <= self.limits.requests_max, "a broker's room is kept", role.name, count)
        turns = {r.incarnation: r for r in role.relays.values()}
        role.turns = {n: role.turns.get(n) or Turns() for n in turns}
        for number, relay in turns.items():
            expect(balances(relay.stats()), "a broker's counters balance", role.name, stats)
            if isinstance(relay.back, MemoryBack):
                held = {request.ticket for request in relay.front._work.held()}
                stray = relay.back._passed.keys() - held
                expect(not stray, "what is at a worker is held", role.name, stray)
            for request, client in role.turns[number].look(relay):
                expect(0, "clients take turns", role.name, request.client, f"{client:x}")
        if self.keeping is not None:
            self.keeping.rested(role)
            if role.core.fault is not None and not role.leaving:
                role.leaving = True
                self.world.timeline.note(f"{role.name} ends, as its disk failed")
                self.world.feed.withdraw(role.record.incarnation)
                role.close_soon()
                self._later(partial(self._open, role.process, role.record.name))

    # The end

    def calm(self) -> None:
        """Have what hangs return, and start the services and brokers that are missing."""
        self.storming = False
        self.world.oracle.hanging = 0.0
        if self.keeping is not None:
            self.keeping.calm()
        for process in self.world.processes.values():
            for role in process.of(Serving):
                role.free()
        self.world.timeline.after(2.0, self._complete)

    def _complete(self) -> None:
        for process in self.world.processes.values():
            host = process.host.name
            opened = [r.record.name for r in process.of(BrokerRole) if not r.leaving]
            for via in self.brokers.get(host, []):
                if via not in opened:
                    self.broker(process, via)
            there = [r.name_served for r in process.of(RegisteredRole) if not r.leaving]
            for name, via in self.services.get(host, []):
                if name not in there:
                    self.service(process, name, via)

    def judge(self) -> None:
        """Judge, some seconds after the last fault, that all have found each other."""
        brokers, services = self.all_brokers(), self.all_services()
        for role in brokers:
            theirs = [s for s in services if s.target == role.record.name]
            for name in {s.name_served for s in theirs}:
                relay = role.relays.get(name)
                expect(relay is not None, "healed, a broker has its services", role.name, name)
                assert relay is not None
                count = sum(s.name_served == name for s in theirs)
                ready = relay.back.ready_count
                expect(ready == count, "healed, a broker has its workers", role.name, ready)

    def collect(self) -> Callable[[], None]:
        """Collect what was submitted; return what judges how that ended, a while later."""
        return self.keeping.collect() if self.keeping is not None else lambda: None

    @property
    def ends(self) -> Counter[str]:
        """How submissions and collections ended, and how often a broker's power was cut."""
        return self.keeping.keeper.ends if self.keeping is not None else Counter()

    def thin_out(self) -> None:
        """Have all services of one name leave, so that its brokers have no use for it."""
        for role in self.all_services():
            if role.name_served == self.served[-1]:
                self.world.leave(role)

    def judge_idle(self) -> None:
        """Judge that idle brokers and services keep nothing of calls, and no dead service."""
        for service in self.all_services():
            stats = service.core.stats()
            expect(stats["in_flight"] == 0, "idle, nothing runs", service.name, stats)
            expect(stats["retained_bytes"] == 0, "idle, nothing is kept", service.name, stats)
            expect(stats["streams"] == 0, "idle, no stream is left", service.name, stats)
        for role in self.all_brokers():
            timers = len(role.core.relays._ticks)
            expect(timers <= TIMERS_MAX * len(role.relays), "idle, few timers", role.name)
            for name, relay in role.relays.items():
                held = relay.stats()
                kept = self.keeping is not None or held["workers"]
                expect(kept, "idle, no dead service is left", role.name, name)
                expect(held["in_flight"] == 0, "idle, nothing is held", role.name, held)
                expect(held["retained_bytes"] == 0, "idle, nothing is kept", role.name, held)
                expect(held["clients"] == 0, "idle, no window is left", role.name, held)
                back = relay.back
                assert isinstance(back, MemoryBack | DurableBack)
                owes = 0 if isinstance(back, MemoryBack) else back.core.in_flight
                expect(owes == 0, "idle, nothing is owed", role.name, owes)
                jobs = [job for each in back.core.instances for job in each.occupied]
                expect(not jobs, "idle, no worker is busy", role.name, jobs)

    def close(self) -> None:
        """Have all services leave, and then the brokers."""
        if self.keeping is not None:
            self.keeping.close()
        for service in self.all_services():
            self.world.leave(service)
        for role in self.all_brokers():
            self.world.leave(role)
