"""A network in virtual time: connections like ZeroMQ's over TCP, under every fault but lies.

Packets of one connection arrive in order or not at all. Packets of different connections may
overtake each other. A dialer connects again by itself. When a connection breaks, the packets
under way are lost, or the listening side reads them late. Hosts that are cut from each other
keep what they send until the cut heals. Watched connections break before that, as heartbeats
would break them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from zmqkit.model import Frames, PeerId
from zmqkit.simulation.timeline import Timeline

HEARTBEAT_S = 3.0
REDIAL_S = 0.1
REDIAL_S_MAX = 1.0


@dataclass(slots=True)
class Weather:
    """How a network treats packets."""

    delay_s: tuple[float, float] = (0.0002, 0.002)  # the least and the most
    loss: float = 0.0  # the chance of each packet to be lost
    duplicate: float = 0.0  # the chance of each packet to arrive twice
    room: int = 1000  # packets that one direction of a connection holds
    parks: bool = True  # a dialer without a connection keeps what is sent
    lingers: float = 0.8  # the chance that the last packets of a closed address arrive


@dataclass(slots=True, eq=False)
class Host:
    """A machine with one process."""

    name: str
    address: str
    stopped: bool = False  # it runs nothing, not even its heartbeats
    alive: bool = True


@dataclass(slots=True, eq=False)
class Lane:
    """One direction of a connection."""

    load: int = 0  # packets sent and not yet handled
    room: int = 0  # packets that it holds; 0 for as many as the weather allows
    once: bool = False  # no packet of it arrives twice
    clear_at: float = 0.0  # when the last packet sent arrives
    drains: bool = False  # its packets arrive although the connection broke
    held: list[Frames] = field(default_factory=list)  # what a cut holds back


Arrival = Callable[[], list[tuple[PeerId, Frames]]]
"""Something that has arrived. The receiver calls it to read, and it returns the messages."""

Take = Callable[[Arrival], None]
"""Keeps what arrives until it is read."""

Watch = Callable[[PeerId, bool], None]
"""Takes the news that a connection was made (true) or broke (false)."""


@dataclass(slots=True, eq=False)
class Connection:
    """A connection. The listening side calls it `peer`."""

    dialer: Dialer
    listener: Listener
    peer: PeerId
    there: Lane = field(default_factory=Lane)
    back: Lane = field(default_factory=Lane)
    alive: bool = True
    severed: bool = False  # an address of it is gone: nothing passes, and nobody is told
    epoch: int = 0


@dataclass(slots=True, eq=False)
class Dialer:
    """An end that connects, and connects again whenever the connection broke."""

    network: Network
    host: Host
    peer: PeerId
    endpoint: str
    take: Take
    watch: Watch | None
    connection: Connection | None = None
    parked: deque[Frames] = field(default_factory=deque)
    redial_s: float = REDIAL_S
    closed: bool = False

    def send(self, frames: Frames) -> bool:
        """Hand over one message. Return false if there is no route or no room."""
        if self.connection is not None:
            return self.network.carry(self.connection, frames, back=False)
        if self.watch is not None or not self.network.weather.parks:
            return False
        if len(self.parked) >= self.network.weather.room:
            return False
        self.parked.append(frames)
        return True

    def read(self, connection: Connection, frames: Frames) -> list[tuple[PeerId, Frames]]:
        """Return what to read of a message that has arrived."""
        connection.back.load -= 1
        return [] if self.closed else [(self.peer, frames)]

    def opened(self, connection: Connection) -> None:
        """Send the parked messages along a new connection."""
        while self.parked:
            self.network.carry(connection, self.parked.popleft(), back=False)

    def close(self) -> None:
        """Stop connecting. Packets that are under way are dropped."""
        self.closed = True
        if self.connection is not None:
            self.network.break_(self.connection)


@dataclass(slots=True, eq=False)
class Listener:
    """One bound address and the connections to it."""

    network: Network
    host: Host
    endpoint: str
    take: Take
    number: int = 0  # of the bind; the names of its connections begin with it
    connections: dict[PeerId, Connection] = field(default_factory=dict)

    def send(self, peer: PeerId, frames: Frames) -> bool:
        """Hand over one message. Return false if there is no route or no room."""
        connection = self.connections.get(peer)
        return connection is not None and self.network.carry(connection, frames, back=True)

    def read(self, connection: Connection, frames: Frames) -> list[tuple[PeerId, Frames]]:
        """Return what to read of a message that has arrived."""
        connection.there.load -= 1
        return [(connection.peer, frames)]

    def accept(self, dialer: Dialer, peer: PeerId) -> Connection:
        """Add a connection under a name that no connection had before, and return it."""
        connection = self.connections[peer] = Connection(dialer, self, peer)
        return connection

    def ended(self, connection: Connection) -> None:
        """Forget a connection that broke."""
        self.connections.pop(connection.peer, None)

    def close(self) -> None:
        """Unbind and break the connections. The last packets sent may still arrive."""
        if self.network.listeners.get(self.endpoint) is self:
            del self.network.listeners[self.endpoint]
        for connection in list(self.connections.values()):
            connection.back.drains = self.network.lingers()
            self.network.break_(connection)


D = TypeVar("D", bound=Dialer)
L = TypeVar("L", bound=Listener)


class Network:
    """All hosts, connections and cuts of one world."""

    def __init__(self, timeline: Timeline, weather: Weather) -> None:
        self.timeline = timeline
        self.weather = weather
        self.listeners: dict[str, Listener] = {}
        self._cuts: set[frozenset[str]] = set()
        self._connections: dict[Connection, None] = {}
        self._number = 0

    @property
    def connections(self) -> list[Connection]:
        """The live connections, oldest first."""
        return list(self._connections)

    # What processes do

    def bind(self, listener: L) -> L:
        """Let dialers connect to a listener. Its address must be free."""
        assert listener.endpoint not in self.listeners
        self.listeners[listener.endpoint] = listener
        return listener

    def connect(self, dialer: D) -> D:
        """Have a dialer make its connection, now or as soon as its address is bound."""
        self._later(self.weather.delay_s, lambda: self._dial(dialer))
        return dialer

    def carry(
        self, connection: Connection, frames: Frames, *, back: bool, sure: bool = False
    ) -> bool:
        """Send one message along a connection. Return false if the lane is full.

        sure: the message is not refused, and it is lost only together with the connection.
        """
        lane = connection.back if back else connection.there
        if not sure and lane.load >= (lane.room or self.weather.room):
            return False
        lane.load += 1
        random, weather = self.timeline.random, self.weather
        if weather.loss and not sure and random.random() < weather.loss:
            lane.load -= 1
            return True
        delay = random.uniform(*weather.delay_s)
        lane.clear_at = max(lane.clear_at, self.timeline.now + delay)
        arrive = partial(self._arrive, connection, lane, frames)
        self.timeline.at(lane.clear_at, arrive)
        if weather.duplicate and not lane.once and random.random() < weather.duplicate:
            lane.load += 1
            again_at = lane.clear_at + random.uniform(0.0, 0.5)
            self.timeline.at(again_at, arrive)
        return True

    # What befalls it

    def inject(self, connection: Connection, frames: Frames, *, back: bool) -> None:
        """Have a message arrive that nobody sent."""
        lane = connection.back if back else connection.there
        lane.load += 1
        self._arrive(connection, lane, frames)

    def cut(self, a: Host, b: Host) -> None:
        """Let nothing pass between two hosts."""
        self._cuts.add(frozenset((a.name, b.name)))
        self._stall(c for c in self._connections if self.is_cut(c))

    def heal(self, a: Host, b: Host) -> None:
        """Let packets pass between two hosts again, those that were held back too."""
        self._cuts.discard(frozenset((a.name, b.name)))
        for connection in self.connections:
            self._revive(connection)

    def heal_all(self) -> None:
        """End every cut."""
        self._cuts.clear()
        for connection in self.connections:
            self._revive(connection)

    def readdress(self, host: Host, address: str) -> None:
        """Give a host another address in place of its present one."""
        before, host.address = host.address, address
        for listener in [x for x in self.listeners.values() if x.host is host]:
            del self.listeners[listener.endpoint]
            listener.endpoint = listener.endpoint.replace(before, address)
            self.listeners[listener.endpoint] = listener
        for connection in self._connections:
            connection.severed |= host in (connection.dialer.host, connection.listener.host)
        self._stall(c for c in self._connections if c.severed)

    def stop(self, host: Host) -> None:
        """Stop a process. Its kernel still takes packets, but nothing answers heartbeats."""
        host.stopped = True
        self._stall(c for c in self._connections if host in (c.dialer.host, c.listener.host))

    def resume(self, host: Host) -> None:
        """Let a stopped process run on."""
        host.stopped = False
        for connection in self.connections:
            self._revive(connection)

    def kill(self, host: Host) -> None:
        """End a process.

        Its kernel closes the sockets, and every peer that is not cut off learns that.
        """
        host.alive = host.stopped = False
        for listener in [x for x in self.listeners.values() if x.host is host]:
            del self.listeners[listener.endpoint]
        for connection in self.connections:
            if host in (connection.dialer.host, connection.listener.host):
                connection.dialer.closed |= connection.dialer.host is host
                if not self.is_cut(connection):
                    self._later((0.001, 0.006), partial(self.break_, connection))

    def break_(self, connection: Connection) -> None:
        """Break a connection. The side that dialed notices and dials again."""
        if not connection.alive:
            return
        connection.alive = False
        del self._connections[connection]
        connection.listener.ended(connection)
        # The listening side may still read what its kernel holds already, perhaps after the
        # first packets of the new connection.
        connection.there.drains = self.timeline.random.random() < 0.5
        dialer = connection.dialer
        dialer.connection = None
        if not dialer.closed:
            if dialer.watch is not None:
                dialer.watch(dialer.peer, False)
            self._later((0.02, 0.2), lambda: self._dial(dialer))

    def is_cut(self, connection: Connection) -> bool:
        """Return whether nothing passes between the two hosts of a connection."""
        pair = frozenset((connection.dialer.host.name, connection.listener.host.name))
        return connection.severed or pair in self._cuts

    def lingers(self) -> bool:
        """Decide by chance whether the last packets of a closed address arrive."""
        return self.timeline.random.random() < self.weather.lingers

    # Inside

    def _is_stalled(self, connection: Connection) -> bool:
        hosts = (connection.dialer.host, connection.listener.host)
        return self.is_cut(connection) or any(h.stopped or not h.alive for h in hosts)

    def _stall(self, connections: Iterator[Connection]) -> None:
        """Break the watched connections if they stay stalled as long as heartbeats allow."""
        for connection in list(connections):
            connection.epoch += 1
            if connection.dialer.watch is not None:
                lapse = partial(self._lapse, connection, connection.epoch)
                self._later((HEARTBEAT_S, HEARTBEAT_S + 1.0), lapse)

    def _lapse(self, connection: Connection, epoch: int) -> None:
        if connection.alive and connection.epoch == epoch and self._is_stalled(connection):
            self.break_(connection)

    def _revive(self, connection: Connection) -> None:
        """Deliver what a cut held back.

        A stopped process gets it too, since its kernel takes it.
        """
        hosts = (connection.dialer.host, connection.listener.host)
        if self.is_cut(connection):
            return
        if not all(host.alive for host in hosts):
            self.break_(connection)  # the dead process's kernel has ended it
            return
        if not any(host.stopped for host in hosts):
            connection.epoch += 1
        for lane in (connection.there, connection.back):
            held, lane.held = lane.held, []
            for frames in held:
                self.timeline.after(0.0, partial(self._arrive, connection, lane, frames))

    def _arrive(self, connection: Connection, lane: Lane, frames: Frames) -> None:
        dialer, listener = connection.dialer, connection.listener
        back = lane is connection.back
        if not connection.alive and not lane.drains:
            lane.load -= 1
        elif self.is_cut(connection):
            lane.held.append(frames)
        elif back and not dialer.closed:
            dialer.take(partial(dialer.read, connection, frames))
        elif not back and listener.host.alive:
            listener.take(partial(listener.read, connection, frames))
        else:
            lane.load -= 1

    def _dial(self, dialer: Dialer) -> None:
        if dialer.closed or not dialer.host.alive or dialer.connection is not None:
            return
        listener = self.listeners.get(dialer.endpoint)
        if listener is None or not self._reachable(dialer.host, listener.host):
            dialer.redial_s = min(2 * dialer.redial_s, REDIAL_S_MAX)
            self._later((dialer.redial_s / 2, dialer.redial_s), lambda: self._dial(dialer))
            return
        self._number += 1
        peer = bytes((listener.number,)) + self._number.to_bytes(4, "big")
        connection = dialer.connection = listener.accept(dialer, peer)
        self._connections[connection] = None
        dialer.redial_s = REDIAL_S
        dialer.opened(connection)
        if dialer.watch is not None:
            dialer.watch(dialer.peer, True)

    def _reachable(self, a: Host, b: Host) -> bool:
        cut = frozenset((a.name, b.name)) in self._cuts
        return not (cut or a.stopped or b.stopped) and b.alive

    def _later(self, delay_s: tuple[float, float], action: Callable[[], None]) -> None:
        self.timeline.after(self.timeline.random.uniform(*delay_s), action)
