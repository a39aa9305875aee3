"""The simulated driver: one process of a world, with its membership and its roles.

What happens to a process waits in its inbox until its next turn; in a turn it handles all of
that, ticks what is due, and flushes and checks each core that was touched. A process that is
stopped, or silent because a handler holds the interpreter, takes no turns.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf
from typing import Protocol

from zmqkit.core.calls.client import ClientCore
from zmqkit.core.calls.outcome import Outcome
from zmqkit.core.calls.service import ServiceCore
from zmqkit.core.calls.stream import StreamRequest
from zmqkit.core.dispatch.window import Answer
from zmqkit.core.effects import (
    Abort,
    Advance,
    Connect,
    Core,
    Disconnect,
    Effect,
    Handle,
    Note,
    Request,
    Send,
    Settle,
    Tell,
)
from zmqkit.core.membership.membership import MembershipCore, key_of
from zmqkit.model import Frames, PeerId, Record, Url
from zmqkit.simulation.network import Dialer, Host, Lane, Listener, Network, Watch
from zmqkit.simulation.streams import Generator

TURN_S = 0.002
SPIN_MAX = 50

Event = Callable[[float], None]


class App(Protocol):
    """What users' code does in a simulation: it makes calls and answers requests."""

    def settled(self, role: ClientRole, outcomes: list[Outcome]) -> None:
        """Take the ends of calls."""

    def handle(self, role: ServiceRole, request: Request) -> tuple[float, Answer]:
        """Run a handler: how long it takes, and what it answers."""

    def begin(self, role: ServiceRole, request: StreamRequest) -> Generator:
        """Make the generator of a stream."""


class Role:
    """One core on one link: connections that it dials, and an address where it listens."""

    core: Core

    def __init__(self, process: Process, name: str) -> None:
        self.process = process
        self.name = name
        self.dialers: dict[PeerId, Dialer] = {}
        self.listener: Listener | None = None
        self.watch: Watch | None = None
        self.closed = False
        self.touched = False

    def listen(self, endpoint: str) -> None:
        """Bind an address."""
        self.listener = self.process.network.listen(self.process.host, endpoint, self.take)

    def dial(self, peer: PeerId, endpoint: str) -> Dialer:
        """Connect to an address."""
        network, host = self.process.network, self.process.host
        return network.dial(host, peer, endpoint, self.take, self.watch)

    def told(self, frames: Frames) -> str:
        """A message as the diary tells it."""
        return summary(frames)

    def hear(self, tell: Tell, now: float) -> None:
        """Take membership's news; of interest to whoever looks for that key."""

    def take(self, peer: PeerId, frames: Frames, lane: Lane) -> None:
        """Put what arrived into the process's inbox."""
        dialer = self.dialers.get(peer)

        def handle(now: float) -> None:
            lane.load -= 1
            if not self.closed and self.dialers.get(peer) is dialer:
                self.process.trace(f"{self.name} < {self.told(frames)}")
                self.perform(self.core.receive(peer, frames, now))

        self.process.post(handle)

    def perform(self, effects: list[Effect]) -> None:
        """Carry out effects in order, and what follows from those that fail."""
        self.touched = True
        queue = deque(effects)
        while queue:
            effect = queue.popleft()
            if isinstance(effect, Send):
                self.process.trace(f"{self.name} > {self.told(effect.frames)}")
                if not self._send(effect.peer, effect.frames):
                    now = self.process.network.timeline.now
                    queue.extend(self.core.unsent(effect.peer, effect.frames, now))
            elif isinstance(effect, Connect):
                self._disconnect(effect.peer)
                self.dialers[effect.peer] = self.dial(effect.peer, effect.endpoint)
            elif isinstance(effect, Disconnect):
                self._disconnect(effect.peer)
            elif isinstance(effect, Note):
                self.process.trace(f"{self.name} notes {effect.event}")
            else:
                self._perform_own(effect)

    def _perform_own(self, effect: Effect) -> None:
        raise AssertionError(f"nobody performs {effect}")

    def _send(self, peer: PeerId, frames: Frames) -> bool:
        dialer = self.dialers.get(peer)
        if dialer is not None:
            return dialer.send(frames)
        return self.listener is not None and self.listener.send(peer, frames)

    def _disconnect(self, peer: PeerId) -> None:
        dialer = self.dialers.pop(peer, None)
        if dialer is not None:
            dialer.close()

    def shut(self) -> None:
        """Close the link."""
        self.closed = True
        for peer in list(self.dialers):
            self._disconnect(peer)
        if self.listener is not None:
            self.listener.close()
            self.listener = None


class ControlRole(Role):
    """Membership and its control connections."""

    def __init__(self, process: Process, number: int) -> None:
        super().__init__(process, "control")
        self.core: MembershipCore = MembershipCore(number)
        self.watch = self._changed

    def _changed(self, peer: PeerId, up: bool) -> None:
        dialer = self.dialers.get(peer)

        def handle(now: float) -> None:
            if self.dialers.get(peer) is dialer:
                change = self.core.connected if up else self.core.disconnected
                self.perform(change(peer, now))

        self.process.post(handle)

    def _perform_own(self, effect: Effect) -> None:
        assert isinstance(effect, Tell)
        self.process.trace(f"told {effect.news} {effect.incarnation:x} {effect.text}")
        now = self.process.network.timeline.now
        for role in self.process.roles:
            role.hear(effect, now)


class ClientRole(Role):
    """One client: calls to a name, or to whoever is behind a URL."""

    def __init__(
        self, process: Process, target: str, incarnation: int, window: tuple[int, int]
    ) -> None:
        super().__init__(process, f"client-{incarnation:x}")
        self.core: ClientCore = ClientCore(target, incarnation, window)
        self.key = target if "://" in target else key_of("service", target)

    def hear(self, tell: Tell, now: float) -> None:
        """Take membership's news of an instance."""
        if tell.key == self.key:
            self.perform(self.core.hear(tell, now))

    def _perform_own(self, effect: Effect) -> None:
        assert isinstance(effect, Settle)
        self.process.app.settled(self, effect.outcomes)


class ServiceRole(Role):
    """One service: its handlers take virtual time."""

    def __init__(self, process: Process, record: Record, core: ServiceCore) -> None:
        super().__init__(process, f"service-{record.incarnation:x}")
        self.core: ServiceCore = core
        self.record = record
        self.leaving = False

    def _perform_own(self, effect: Effect) -> None:
        if isinstance(effect, Abort):
            return  # generators see it at their next step
        if isinstance(effect, Advance):
            for stream in effect.requests:
                if stream.running is None:
                    stream.running = self.process.app.begin(self, stream)
                assert isinstance(stream.running, Generator)
                stream.running.go_on()
            return
        assert isinstance(effect, Handle)
        done: dict[float, list[tuple[Request, Answer]]] = {}
        for request in effect.requests:
            duration, answer = self.process.app.handle(self, request)
            done.setdefault(duration, []).append((request, answer))
        for duration, results in done.items():
            self.process.later(duration, self._handled(results))

    def _handled(self, results: list[tuple[Request, Answer]]) -> Event:
        return lambda now: self.perform(self.core.handled(results, now))


class Process:
    """One operating-system process and its driver."""

    def __init__(
        self,
        network: Network,
        host: Host,
        number: int,
        app: App,
        trace: Callable[[str], None],
    ) -> None:
        self.network = network
        self.host = host
        self.app = app
        self.control = ControlRole(self, number)
        self.clients: list[ClientRole] = []
        self.services: list[ServiceRole] = []
        self.topics: list[Role] = []
        self.silent = False
        self.resumed_at = -inf
        self._trace = trace
        self._inbox: deque[Event] = deque()
        self._turn_at = inf
        self._spins = 0

    @property
    def paused(self) -> bool:
        """Whether it takes no turns now."""
        return self.silent or self.host.stopped or not self.host.alive

    @property
    def roles(self) -> list[Role]:
        """Every role, membership first."""
        return [self.control, *self.clients, *self.services, *self.topics]

    def trace(self, text: str) -> None:
        """Write into the diary of the world."""
        self._trace(f"{self.host.name} {text}")

    def post(self, event: Event) -> None:
        """Have something handled in the next turn."""
        self._inbox.append(event)
        timeline = self.network.timeline
        self._wake(timeline.now + timeline.random.uniform(0.0, TURN_S))

    def later(self, delay_s: float, event: Event) -> None:
        """Have something handled in a turn after a while; 0 is the next turn."""
        if delay_s <= 0.0:
            self.post(event)
        else:
            self.network.timeline.after(delay_s, lambda: self.post(event))

    def run_on(self) -> None:
        """Take turns again after a pause."""
        self.resumed_at = self.network.timeline.now
        self._turn_at = inf
        self._wake(self.resumed_at)

    def add_client(self, role: ClientRole, url: Url | None, *, open: bool) -> None:
        """Start a client and have membership look for its service."""
        now = self.network.timeline.now
        self.clients.append(role)
        membership = self.control.core
        self.control.perform(membership.want(role.key, now, open=open))
        if url is not None:
            self.control.perform(membership.seed(url, role.key, "service", now))

    def remove_client(self, role: ClientRole, *, open: bool) -> None:
        """Close a client; nobody is looked for on its behalf."""
        role.perform(role.core.close())
        role.core.check()
        role.shut()
        self.clients.remove(role)
        self.control.perform(self.control.core.unwant(role.key, open=open))

    def add_service(self, role: ServiceRole, endpoint: str) -> None:
        """Start a service and list it in the process's directory."""
        role.listen(endpoint)
        self.services.append(role)
        now = self.network.timeline.now
        self.control.perform(self.control.core.offer(role.record, now, open=True))

    def remove_service(self, role: ServiceRole) -> None:
        """Close a service and list it no longer."""
        if role.closed:
            return
        now = self.network.timeline.now
        self.control.perform(self.control.core.retract(role.record.incarnation, now))
        role.perform(role.core.close())
        role.core.check()
        role.shut()
        self.services.remove(role)

    def _wake(self, at: float) -> None:
        if at < self._turn_at and not self.paused:
            self._turn_at = at
            self.network.timeline.at(at, lambda: self._turn_if(at))

    def _turn_if(self, at: float) -> None:
        if self._turn_at == at and not self.paused:
            self._turn_at = inf
            self._turn(self.network.timeline.now)

    def _turn(self, now: float) -> None:
        """Handle the inbox, tick, flush, check, and remember when to wake."""
        idle = not self._inbox
        ticks_first = self.network.timeline.random.random() < 0.5
        if ticks_first:
            self._tick(now)
        for _ in range(len(self._inbox)):
            self._inbox.popleft()(now)
        if not ticks_first:
            self._tick(now)
        roles = self.roles
        for role in roles:
            if role.touched:
                role.perform(role.core.flush(now))
                role.core.check()
                role.touched = False
        wake_at = min(role.core.deadline() for role in roles)
        self._spins = self._spins + 1 if idle and wake_at <= now else 0
        assert self._spins < SPIN_MAX, "a core is due for ever"
        if self._inbox or wake_at < inf:
            self._wake(max(now + 1e-6, now if self._inbox else wake_at))

    def _tick(self, now: float) -> None:
        for role in self.roles:
            if role.core.deadline() <= now:
                role.perform(role.core.tick(now))


_KINDS = {
    1: "HELLO", 2: "WELCOME", 3: "PING", 4: "PONG", 5: "BYE",
    8: "REQUEST", 9: "REPLY", 10: "ERROR", 11: "NOTIFY", 12: "CANCEL",
    16: "PUBLISH", 17: "MARK", 18: "CREDIT",
    48: "STREAM", 49: "ITEM", 50: "END", 51: "GRANT",
}  # fmt: skip


def summary(frames: Frames) -> str:
    """The message in a few words: its kind and its bytes."""
    first = frames[0] if frames else b""
    kind = _KINDS.get(first[3], "?") if len(first) > 3 else "?"
    return f"{kind} {bytes(first[34:]).hex() if len(first) < 200 else len(first)}"
