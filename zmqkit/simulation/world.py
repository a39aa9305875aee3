"""A world of processes. They start, stop, crash and pause in virtual time."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from zmqkit.core.calls.call import CallOptions
from zmqkit.core.calls.service import ServiceCore
from zmqkit.model import LOOPBACK, Record, parse_url, reach_of
from zmqkit.simulation.calls import Answering, ClientRole, ServiceRole
from zmqkit.simulation.feed import Feed, Reception
from zmqkit.simulation.network import Host, Network, Weather
from zmqkit.simulation.oracle import METHODS, Called, Oracle
from zmqkit.simulation.process import BoundRole, OfferingRole, Process
from zmqkit.simulation.streams import STREAMS
from zmqkit.simulation.tasks import StreamerRole
from zmqkit.simulation.timeline import Timeline

PORT = 5000
LEAVE_S = 1.0


@dataclass(slots=True)
class Plan:
    """What a world is like."""

    weather: Weather = field(default_factory=Weather)
    reception: Reception = field(default_factory=Reception)
    lan: bool = False  # hosts have addresses of their own; otherwise all are on loopback
    ports_stay: bool = False  # a process or role that starts again listens where it did before
    concurrency: int = 2  # of each service
    window: tuple[int, int] = (8, 2000)  # values and bytes of a stream that may be under way


class World:
    """Processes that find and call each other, and an oracle that watches them."""

    def __init__(self, seed: int, plan: Plan | None = None, *, keep: bool = False) -> None:
        """Make a world without processes. `keep` keeps the diary's lines for people to read."""
        self.plan = plan or Plan()
        self.timeline = Timeline(seed, keep=keep)
        self.random = self.timeline.random
        self.network = Network(self.timeline, self.plan.weather)
        self.feed = Feed(self.timeline, self.plan.reception)
        self.oracle = Oracle(self.timeline)
        self.processes: dict[str, Process] = {}
        self._homes: dict[str, int] = {}
        self._ports: dict[str, int] = {}
        self._port = 0

    # Processes

    def start(self, name: str) -> Process:
        """Start a process on the host of that name, for the first time or again."""
        number = self._homes.setdefault(name, len(self._homes) + 1)
        host = Host(name, f"10.0.0.{number}" if self.plan.lan else LOOPBACK)
        number, reach = self._draw(), reach_of(host.address)
        process = Process(self.network, host, number, self.timeline.note, reach)
        port = self._port_of(host.address, name)
        process.control.link.bind(f"tcp://{host.address}:{port}", (0, 0))
        offers = process.control.core.offers
        offers.control_ports[reach] = port
        offers.hosts = (host.address,)
        self.processes[name] = process
        self.feed.join(process)
        self.timeline.note(f"{name} starts")
        return process

    def crash(self, name: str) -> None:
        """Kill a process. It settles, withdraws and closes nothing."""
        process = self.processes.pop(name)
        self.timeline.note(f"{name} crashes")
        self.oracle.void(process.of(ClientRole))
        self.feed.leave(process)
        self.network.kill(process.host)

    def pause(self, name: str, *, silent: bool) -> None:
        """Stop a process. If `silent`, a handler holds its interpreter instead."""
        process = self.processes[name]
        self.timeline.note(f"{name} pauses {silent}")
        if silent:
            process.silent = True
        else:
            self.network.stop(process.host)

    def resume(self, name: str) -> None:
        """Let a paused process run on."""
        process = self.processes.get(name)
        if process is not None and process.paused:
            self.timeline.note(f"{name} resumes")
            process.silent = False
            self.network.resume(process.host)
            process.run_on()

    def readdress(self, name: str) -> None:
        """Give the host of a process another address.

        The process notices it and announces it.
        """
        process = self.processes[name]
        before, self._homes[name] = process.host.address, max(self._homes.values()) + 100
        address = f"10.0.0.{self._homes[name]}"
        self.timeline.note(f"{name} is at {address} now")
        self.network.readdress(process.host, address)
        control = process.control
        control.driver.command(control.core.readdressed)
        for record in [*self.feed.records.values()]:
            if record.process == control.core.process:
                # What others remember of the old address is not out of date yet.
                self.feed.announce(replace(record, addresses=(before, address)))

    # Roles

    def serve(self, process: Process, name: str) -> ServiceRole:
        """Start a service and announce it."""
        record = self.record(process, name, "service")
        core = ServiceCore(record.incarnation, METHODS, self.plan.concurrency, STREAMS)
        core.about.update(about(record))
        role = ServiceRole(process, record, core, self.oracle)
        role.start()
        self.feed.announce(record)
        return role

    def record(self, process: Process, name: str, role: str) -> Record:
        """Return the record of a role that a process is about to start."""
        [control_port] = process.control.core.offers.control_ports.values()
        address, number = process.host.address, process.control.core.process
        port = self._port_of(address, f"{process.host.name}/{role}/{name}")
        return Record(name, role, self._draw(), number, (address,), control_port, port)

    def seed(self, process: Process, url: str) -> None:
        """Give a process the address of another process, as ZMQKIT_PEERS does."""
        core, address = process.control.core, parse_url(url)
        process.control.driver.command(lambda now: core.seed(address, "", "service", now))

    def leave(self, role: Answering | StreamerRole | OfferingRole) -> None:
        """Stop a service, a worker, a sink or a device as its users do.

        It says that it leaves. It finishes its requests, for one second at most, and closes.
        """
        role.leaving = True
        process = role.process
        end_at = self.timeline.now + LEAVE_S

        def finish() -> None:
            if role.closed or not process.host.alive:
                return
            waits = role.core.in_flight and self.timeline.now < end_at
            if waits or process.paused:
                self.timeline.after(0.05, finish)
            else:
                if isinstance(role, BoundRole):
                    self.feed.withdraw(role.record.incarnation)
                role.close_soon()

        role.driver.command(role.leave)
        self.timeline.after(0.05, finish)

    def client(self, process: Process, target: str) -> ClientRole:
        """Start a client of a name or a URL."""
        role = ClientRole(process, target, self._draw(), self.plan.window, self.oracle)
        role.start()
        return role

    def hang_up(self, role: ClientRole) -> None:
        """Close a client."""

        def close(now: float) -> None:
            role.close()
            self.oracle.judge_client(role)

        role.driver.post(close)

    def hang_up_all(self, role: BoundRole) -> None:
        """Break all connections that others have made to a role."""
        self.timeline.note(f"connections of {role.name} break")
        for listener in role.link.listeners:
            for connection in list(listener.connections.values()):
                self.network.break_(connection)

    def control_urls(self, *, but: Process, offering: str = "") -> list[str]:
        """Return where the other processes listen.

        offering: if it is given, only the processes with a service of that name count.
        """
        return [
            process.control.endpoint
            for process in self.processes.values()
            if process is not but
            and (not offering or offering in [r.record.name for r in process.of(ServiceRole)])
        ]

    def call(
        self,
        role: ClientRole,
        method: str,
        *,
        timeout_s: float = 5.0,
        wait_s: float = 5.0,
        **options: object,
    ) -> Called:
        """Make a call now, and have its process take a turn."""
        called = self.oracle.call(role, method, timeout_s=timeout_s, wait_s=wait_s, **options)  # type: ignore[arg-type]  # the oracle's own options
        role.driver.wake()
        return called

    def stream(
        self,
        role: ClientRole,
        method: str,
        *,
        timeout_s: float = 5.0,
        wait_s: float = 5.0,
        attempts: int = 3,
    ) -> Called:
        """Ask for a stream now, and have a reader read it."""
        options = CallOptions(timeout_s, wait_s, attempts=attempts)
        called = self.oracle.stream(role, method, options)
        assert called.reader is not None
        role.driver.post(called.reader.read_on)
        return called

    def cancel(self, called: Called) -> None:
        """Give a call up."""
        role = called.role

        role.driver.command(lambda now: role.core.cancel(called.sequence, now))

    def url_of(self, name: str) -> str:
        """Return where the process of that name listens.

        If ports stay, it is also where a crashed process listened.
        """
        address = f"10.0.0.{self._homes[name]}" if self.plan.lan else LOOPBACK
        return f"tcp://{address}:{self._ports[name]}"

    # Time

    def run(self, duration_s: float) -> None:
        """Let time pass."""
        self.timeline.run_until(self.timeline.now + duration_s)

    def heal(self) -> None:
        """End every fault. Cuts heal, paused processes run on, and all news is heard."""
        self.timeline.note("all heals")
        weather = self.plan.weather
        weather.loss = weather.duplicate = 0.0
        weather.delay_s = (0.0002, 0.002)
        for name in list(self.processes):
            self.resume(name)
        self.network.heal_all()
        alive = {p.control.core.process for p in self.processes.values()}
        for record in list(self.feed.records.values()):
            if record.process not in alive:
                self.feed.withdraw(record.incarnation)
        self.feed.complete()

    # Inside

    def _draw(self) -> int:
        return self.random.getrandbits(63) | 1

    def _port_of(self, address: str, place: str) -> int:
        """Return a free port. Where ports stay, a place gets the same port each time."""
        port = self._ports.get(place, 0)
        if not port or not self.plan.ports_stay or self._is_taken(address, port):
            self._port += 1
            port = self._ports[place] = PORT + self._port
        return port

    def _is_taken(self, address: str, port: int) -> bool:
        return f"tcp://{address}:{port}" in self.network.listeners


def about(record: Record) -> dict[str, object]:
    """Return what a role says of itself and its process in WELCOME."""
    row = [record.name, record.role, record.incarnation, record.port]
    return {"process": record.process, "control": record.control_port, "roles": [row]}
