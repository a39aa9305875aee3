"""One seed, one world: users at work, faults, the end of the faults, and what must hold then.

`python -m zmqkit.simulation --seed N --trace` replays a run and prints its diary.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import count

from zmqkit.errors import QueueFull
from zmqkit.limits import FORGET_CLIENT_S, STREAM_BYTES, STREAM_ITEMS
from zmqkit.simulation.broker_users import BrokerUsers
from zmqkit.simulation.calls import ClientRole, ServiceRole, Serving
from zmqkit.simulation.feed import Reception
from zmqkit.simulation.garbage import inject
from zmqkit.simulation.network import Weather
from zmqkit.simulation.oracle import METHODS, NOWHERE, Broken, Called, expect
from zmqkit.simulation.process import Process
from zmqkit.simulation.routers import RouterUsers
from zmqkit.simulation.streams import STREAMS
from zmqkit.simulation.task_users import TaskUsers
from zmqkit.simulation.topic_users import TopicUsers
from zmqkit.simulation.world import Plan, World

NAMES = ("orders", "stock")
STORM_S = 8.0
CALM_S = 10.0
LONGEST_CALM = 4
"""How many more halves of that tasks have that wait for one another."""
LONG_S = 12.0
TRY_S = 4.0
IDLE_S = FORGET_CLIENT_S * 1.5
WINDOWS = ((1, 500), (8, 2000), (STREAM_ITEMS, STREAM_BYTES))
"""How many values a stream may have under way, and how many bytes of them."""
IDLE_EVERY = 5
"""One seed in so many goes on until windows must be empty, which takes as long as the rest."""


@dataclass(slots=True)
class Run:
    """What became of a seed."""

    seed: int
    digest: str
    ends: Counter[str]
    runs: int
    broken: str  # the invariant that did not hold; empty if all held
    lines: list[str]


class Simulation:
    """A world of one seed, from its plan to its end."""

    def __init__(self, seed: int, *, keep: bool = False, only: str = "") -> None:
        """Plan the world of a seed. `keep` keeps the lines of the diary.

        only: `tasks` for a world in which nobody calls or publishes, everybody pushes, and
        power is cut often; `brokers` for one in which nobody publishes or pushes, and each
        service registers with brokers; `journals` for one in which brokers have journals too,
        and power is cut often; `routers` for one in which nobody publishes or pushes, and
        routers pass calls on; `topics` for one in which all publish or subscribe, and no
        more.
        """
        self.seed = seed
        self.world = World(seed, keep=keep)
        self.random = self.world.random
        self.world.plan = self._plan()
        self.world.network.weather = self.world.plan.weather
        self.world.oracle.doubles = self.world.plan.weather.duplicate > 0
        self.world.feed.reception = self.world.plan.reception
        self.hosts = [f"h{n}" for n in range(1, self.random.randint(3, 6))]
        self.offered = {
            name: self.random.sample(NAMES, self.random.randint(0, 2)) for name in self.hosts
        }
        self.offered[self.hosts[0]] = [NAMES[0]]
        self.targets = {name: self.random.randint(0, 2) for name in self.hosts}
        self.targets[self.hosts[-1]] = 1
        deaf = self.world.plan.reception.deaf == 1.0
        self.seeded = deaf or self.random.random() < 0.2
        self.hub = self.seeded and self.world.plan.ports_stay and seed % 2 == 0
        self.calls_per_s = self.random.choice((2.0, 5.0, 10.0))
        share = {"": 0.75, "topics": 1.0}.get(only, 0.0)
        self.topics = TopicUsers(self.world, seed, self.hosts, share)
        self.tasks = TaskUsers(
            self.world, seed, self.hosts, self._kill, often=only == "tasks",
            share={"": 0.75, "tasks": 1.0}.get(only, 0.0),
        )  # fmt: skip
        self.brokers = BrokerUsers(
            self.world, seed, self.hosts, self._kill,
            share={"": 0.3, "brokers": 1.0, "journals": 1.0}.get(only, 0.0),
            journals=only == "journals",
        )  # fmt: skip
        self.routers = RouterUsers(
            self.world, seed, self.hosts, self._kill, share=float(only == "routers")
        )
        self._narrow(only)
        # A device takes some seconds to give a worker up and to turn to another.
        self.timeouts_s = (
            0.05,
            0.5,
            2.0,
            5.0,
            *[LONG_S] * (2 * bool(self.brokers.brokers or self.routers.routers)),
        )
        if only in ("tasks", "topics"):
            self.targets = dict.fromkeys(self.hosts, 0)
        others = self.brokers.faults(self.topics.faults(self._faults()))
        others = self.routers.faults(others)
        self.faults = self.tasks.faults(others, quiet=self.topics.oracle.quiet)
        self.storming = True

    def run(self) -> None:
        """Run the world from start to end. Raise Broken if an invariant does not hold."""
        for name in self.hosts:
            self._start(name)
        self._fault_later()
        self.world.run(STORM_S)
        self.storming = self.topics.storming = False
        self.tasks.storming = self.tasks.devices.storming = self.brokers.storming = False
        self.routers.storming = False
        self._calm()
        self._try()
        if self.seed % IDLE_EVERY == 0:
            self._idle()
        self._close()

    # Plan

    def _narrow(self, only: str) -> None:
        """Leave out what a world of that kind has not."""
        if not only:
            return
        if only != "routers" or self.routers.dialling:
            self.offered = {name: [] for name in self.hosts}

    def _plan(self) -> Plan:
        random = self.random
        longest = random.choice((0.002, 0.002, 0.02, 0.2))
        weather = Weather(
            delay_s=(0.0002, longest),
            loss=random.choice((0.0, 0.0, 0.01, 0.1)),
            duplicate=random.choice((0.0, 0.0, 0.05)),
            room=random.choice((1000, 1000, 20)),
            parks=random.random() < 0.7,
        )
        reception = Reception(
            late_s=random.choice(((0.001, 0.05), (0.0, 3.0))),
            deaf=random.choice((0.0, 0.0, 0.0, 0.3, 1.0)),
        )
        return Plan(
            weather,
            reception,
            lan=random.random() < 0.5,
            ports_stay=random.random() < 0.5,
            concurrency=random.choice((1, 2, 8)),
            window=WINDOWS[self.seed % len(WINDOWS)],
        )

    def _faults(self) -> list[Callable[[], None]]:
        """Return the faults that may happen in this world.

        Some kinds are in the list, others are not.
        """
        kinds: list[Callable[[], None]] = [
            self._crash, self._pause, self._cut, self._break, self._leave, self._hang_up,
            self._inject,
        ]  # fmt: skip
        return [kind for kind in kinds for _ in range(self.random.choice((0, 0, 1, 1, 3)))]

    # Users

    def _start(self, name: str) -> Process:
        world = self.world
        process = world.start(name)
        for service in self.offered[name]:
            world.serve(process, service)
        if self.seeded:
            self._seed(process)
        for _ in range(self.targets[name]):
            self._client(process)
        self.topics.start(process)
        self.tasks.start(process)
        self.brokers.start(process)
        self.routers.start(process)
        return process

    def _seed(self, process: Process) -> None:
        """Tell the process addresses of others, as ZMQKIT_PEERS does, or one that all share."""
        shared = [self.world.url_of(self.hosts[0])] if self.hub else []
        for url in shared or self.world.control_urls(but=process):
            self.world.seed(process, url)

    def _client(self, process: Process) -> None:
        offered = {name: None for names in self.offered.values() for name in names}
        offered.update(dict.fromkeys(self.brokers.served))
        if self.routers.dialling:
            offered[NAMES[0]] = None
        strays = self.random.random() > 0.95 and self.world.oracle.runs  # not the first
        name = self.random.choice(NAMES if strays else list(offered))
        urls = self._urls(name, but=process)
        by_url = urls and self.world.plan.ports_stay and self.random.random() < 0.3
        target = f"{self.random.choice(urls)}/{name}" if by_url else name
        self._call_later(self.world.client(process, target))

    def _urls(self, name: str, *, but: Process) -> list[str]:
        """Return where the other processes listen that have one service of that name."""
        urls = self.world.control_urls(but=but, offering=name)
        urls += self.brokers.urls(name, but=but) + self.routers.urls(name, but=but)
        doubled = [
            process.control.endpoint
            for host, process in self.world.processes.items()
            if (name in self.offered[host])
            + self.brokers.has(host, name)
            + (name in self.routers.routers.get(host, ()))
            > 1
        ]
        return [url for url in urls if url not in doubled]

    def _call_later(self, role: ClientRole) -> None:
        delay = self.random.expovariate(self.calls_per_s)
        self.world.timeline.after(delay, lambda: self._calls(role))

    def _calls(self, role: ClientRole) -> None:
        if role.closed or not role.process.host.alive or not self.storming:
            return
        if not role.process.paused and role in role.process.roles:
            for _ in range(self.random.choice((1, 1, 1, 2, 5))):
                self._call(role)
        self._call_later(role)

    def _call(self, role: ClientRole) -> None:
        random = self.random
        if random.random() < 0.15 and self.brokers.keeping is None:
            self._stream(role)
            return
        method = random.choice([*METHODS, "add", "price", NOWHERE])
        try:
            called = self.world.call(
                role,
                method,
                timeout_s=random.choice(self.timeouts_s),
                wait_s=random.choice((0.1, 1.0, 5.0)),
                priority=random.randint(0, 9),
                attempts=random.randint(1, 4),
                oneway=method != NOWHERE and random.random() < 0.15,
                raw=random.random() < 0.1,
                headers={"trace": random.getrandbits(32)} if random.random() < 0.3 else None,
            )
        except QueueFull:
            return
        self._perhaps_cancel(called)

    def _stream(self, role: ClientRole) -> None:
        random = self.random
        try:
            called = self.world.stream(
                role,
                random.choice([*STREAMS, NOWHERE]),
                timeout_s=random.choice(self.timeouts_s),
                wait_s=random.choice((0.1, 1.0, 5.0)),
                attempts=random.randint(1, 4),
            )
        except QueueFull:
            return
        self._perhaps_cancel(called)

    def _perhaps_cancel(self, called: Called) -> None:
        if self.random.random() < 0.1:
            delay = self.random.uniform(0.0, 0.5)
            self.world.timeline.after(delay, partial(self.world.cancel, called))

    # Faults

    def _fault_later(self) -> None:
        if self.faults:
            self.world.timeline.after(self.random.expovariate(1.5), self._fault)

    def _fault(self) -> None:
        if self.storming:
            self.random.choice(self.faults)()
            self._fault_later()

    def _one(self) -> str | None:
        names = list(self.world.processes)
        return self.random.choice(names) if names else None

    def _crash(self) -> None:
        name = self._one()
        if name is not None:
            self._kill(name)

    def _kill(self, name: str) -> None:
        """Kill the process of a host; it starts again after a while."""
        self.world.crash(name)
        delay = self.random.uniform(0.05, 3.0)
        self.world.timeline.after(delay, lambda: self._restart(name))

    def _restart(self, name: str) -> None:
        if name not in self.world.processes:
            self._start(name)

    def _pause(self) -> None:
        name = self._one()
        if name is not None and not self.world.processes[name].paused:
            self.world.pause(name, silent=self.random.random() < 0.5)
            delay = self.random.choice((0.2, 2.5, 6.0)) * self.random.random()
            self.world.timeline.after(delay, lambda: self.world.resume(name))

    def _cut(self) -> None:
        if len(self.world.processes) < 2:
            return
        a, b = self.random.sample(list(self.world.processes.values()), 2)
        self.world.timeline.note(f"{a.host.name} | {b.host.name}")
        self.world.network.cut(a.host, b.host)
        delay = self.random.choice((0.3, 3.0, 8.0)) * self.random.random()
        self.world.timeline.after(delay, lambda: self.world.network.heal(a.host, b.host))

    def _break(self) -> None:
        connections = self.world.network.connections
        if connections:
            connection = self.random.choice(connections)
            self.world.timeline.note(f"a connection of {connection.dialer.host.name} breaks")
            self.world.network.break_(connection)

    def _leave(self) -> None:
        processes = self.world.processes.values()
        roles = [role for p in processes for role in p.of(ServiceRole) if not role.leaving]
        if roles:
            role = self.random.choice(roles)
            self.world.leave(role)
            delay = self.random.uniform(0.0, 3.0)
            self.world.timeline.after(delay, lambda: self._serve_again(role))

    def _serve_again(self, role: ServiceRole) -> None:
        if role.process.host.alive and self.storming:
            self.world.serve(role.process, role.record.name)

    def _hang_up(self) -> None:
        roles = [role for p in self.world.processes.values() for role in p.of(ClientRole)]
        if roles:
            role = self.random.choice(roles)
            self.world.hang_up(role)
            if role.process.host.alive:
                self._client(role.process)

    def _inject(self) -> None:
        connections = self.world.network.connections
        if connections:
            inject(self.random, self.world.network, self.random.choice(connections))

    # The end

    def _calm(self) -> None:
        """End all faults, start every process again, and judge that every call has ended."""
        world = self.world
        world.oracle.stormy = False
        for name in self.hosts:
            self._restart(name)
        world.heal()
        self.tasks.calm()
        self.brokers.calm()
        self.routers.calm()
        world.run(CALM_S)
        for process in world.processes.values():
            for name in self.offered[process.host.name]:
                if not any(
                    r.record.name == name and not r.leaving for r in process.of(ServiceRole)
                ):
                    world.serve(process, name)
        self.topics.calm()
        world.run(CALM_S / 2)
        self._come_to_rest()
        world.oracle.judge_all()
        self.brokers.judge()
        self.routers.judge()

    def _come_to_rest(self) -> None:
        """Run until nothing is left to do, for some time, and on while tasks end."""
        before = 0
        for turn in count():
            left = self.tasks.oracle.in_flight
            if not left and self.topics.at_rest:
                return
            if turn >= LONGEST_CALM and not 0 < left < before:
                return
            before = left
            self.world.run(CALM_S / 2)

    def _try(self) -> None:
        """Judge that new calls succeed for every client."""
        world = self.world
        world.oracle.slow = False
        judge_topics, judge_tasks = self.topics.judge(), self.tasks.judge()
        judge_kept = self.brokers.collect()
        tried: list[Called] = []
        offered = {role.name_served for p in world.processes.values() for role in p.of(Serving)}
        for process in world.processes.values():
            for role in process.of(ClientRole):
                if role.core.name.rpartition("/")[2] in offered:
                    tried += [world.call(role, "add", timeout_s=TRY_S) for _ in range(3)]
                    if self.brokers.keeping is None:
                        tried += [
                            world.stream(role, "count", timeout_s=TRY_S) for _ in range(2)
                        ]
        world.run(TRY_S + 1.0)
        for _ in range(LONGEST_CALM):
            if self.topics.recover:
                world.run(TRY_S)
        for called in tried:
            error = called.failure
            fine = error is None or called.left or self.brokers.excuse(error)
            fine = fine or self.routers.excuse(error)
            expect(fine, "healed, calls succeed", called, repr(error))
        world.oracle.judge_all()
        judge_topics()
        judge_tasks()
        judge_kept()

    def _idle(self) -> None:
        """Judge that idle services keep nothing of calls."""
        self.brokers.thin_out()
        self.world.run(IDLE_S)
        for process in self.world.processes.values():
            for role in process.of(ServiceRole):
                stats = role.core.stats()
                expect(stats["in_flight"] == 0, "idle, nothing runs", role.name, stats)
                expect(stats["retained_bytes"] == 0, "idle, nothing is kept", role.name, stats)
                expect(stats["clients"] == 0, "idle, no window is left", role.name, stats)
        self.tasks.judge_idle()
        self.brokers.judge_idle()
        self.routers.judge_idle()

    def _close(self) -> None:
        """Close all roles, and judge that nothing is left of them."""
        world = self.world
        for process in world.processes.values():
            for role in process.of(ClientRole):
                world.oracle.judge_client(role)
                world.hang_up(role)
            for service in process.of(ServiceRole):
                world.leave(service)
        self.topics.close()
        self.tasks.close()
        self.brokers.close()
        self.routers.close()
        world.run(3.0)
        self.topics.judge_closed()
        for process in world.processes.values():
            membership = process.control.core
            expect(not process.roles, "closed roles are gone")
            expect(not membership.neighbours, "who wants nobody has no neighbours")
        if not self.seeded:
            left = [c for c in world.network.connections if c.dialer.host.alive]
            expect(not left, "nobody is connected at the end", len(left))


def run(seed: int, *, keep: bool = False, only: str = "") -> Run:
    """Run the world of one seed and return what became of it.

    keep: whether the result has the lines of the diary. only: as for `Simulation`.
    """
    simulation = Simulation(seed, keep=keep, only=only)
    broken = ""
    try:
        simulation.run()
    except Exception as error:  # noqa: BLE001 - whatever a core raises is a bug of this seed
        broken = f"{type(error).__name__}: {error}"
        if not isinstance(error, Broken):
            broken += f" at {_place(error)}"
    world = simulation.world
    timeline = world.timeline
    timeline.note(f"ends {broken}")
    ends = world.oracle.ends + simulation.tasks.ends + simulation.brokers.ends
    return Run(seed, timeline.digest, ends, world.oracle.runs, broken, timeline.lines)


def _place(error: BaseException) -> str:
    """Return the function and the line where an assertion failed."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None:
        return "nowhere"
    return f"{traceback.tb_frame.f_code.co_name}:{traceback.tb_lineno}"


def replay(seed: int, *, only: str = "") -> str:
    """Return the command that runs a seed again and prints its diary."""
    option = f" --{only}" if only else ""
    return f"python -m zmqkit.simulation --seed {seed}{option} --trace"
