"""What membership knows: sightings of roles, other processes, and addresses to ask."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum

from zmqkit.model import LOOPBACK, PeerId, Record, Url, bracketed, is_loopback
from zmqkit.options import HELLO_S
from zmqkit.core.effects import Send
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Malformed, encode
from zmqkit.wire.packet import Packet, fields_of

_ROLES_MAX = 1000


class Life(Enum):
    """Where another process stands.

    CONNECTING: an address is being tried. ALIVE: it answers on its control connection. LOST: that
    connection broke a moment ago. GONE: it stayed away; tried again now and then.
    """

    CONNECTING = "connecting"
    ALIVE = "alive"
    LOST = "lost"
    GONE = "gone"


@dataclass(slots=True)
class Sighting:
    """One role object as its sources describe it, and since when it is known."""

    sources: dict[str, Record]
    since: float

    @property
    def record(self) -> Record:
        """Any source's record; name, role and identity are the same in all."""
        return next(iter(self.sources.values()))

    def places(self) -> list[tuple[str, int]]:
        """Where its process may be asked, (host, control port), this machine first."""
        pairs = {(h, r.control_port) for r in self.sources.values() for h in r.addresses}
        return sorted(pairs, key=lambda pair: (not is_loopback(pair[0]), pair))


@dataclass(slots=True, eq=False)
class Neighbour:
    """Another process that roles here use (or this one): its control connection and its roles.

    told: the incarnations that were announced as found and not withdrawn since.
    """

    process: int
    peer: PeerId
    life: Life = Life.GONE
    places: list[tuple[str, int]] = field(default_factory=list)
    place: tuple[str, int] = (LOOPBACK, 0)
    silent: bool = False
    revision: int = -1
    token: int = 0
    tries: int = 0
    pong_at: float = 0.0
    next_at: float = 0.0
    give_up_at: float = math.inf
    back_off_s: float = HELLO_S
    told: set[int] = field(default_factory=set)

    def endpoint(self, port: int) -> str:
        """A port of the process at the address that answered."""
        return f"tcp://{bracketed(self.place[0])}:{port}"


@dataclass(slots=True, eq=False)
class Seed:
    """An address given by hand: asked who is there until its process is a neighbour.

    key: the URL that a role wants, or empty for a peer of everybody. role: what it must be.
    """

    url: Url
    key: str
    role: str
    peer: PeerId
    process: int = 0
    incarnation: int = 0
    next_at: float = 0.0
    back_off_s: float = HELLO_S


@dataclass(slots=True)
class Directory:
    """What a process says in WELCOME: who it is and which roles it has."""

    process: int
    control_port: int
    revision: int
    roles: list[tuple[str, str, int, int]]

    def pick(self, role: str, name: str) -> tuple[int, str]:
        """The one role meant by a URL, as (incarnation, ""), or (0, why there is not one)."""
        found = [r for r in self.roles if r[1] == role and name in ("", r[0])]
        if len(found) == 1:
            return found[0][2], ""
        names = ", ".join(sorted({r[0] for r in self.roles if r[1] == role})) or "none"
        if name:
            return 0, f"the process there has no {role} {name!r}; it has: {names}"
        return 0, f"the process there has these: {names}; name one behind the port"

    def records(self, host: str) -> list[Record]:
        """Its roles as records, reached through `host`."""
        return [
            Record(name, role, incarnation, self.process, (host,), self.control_port, port)
            for name, role, incarnation, port in self.roles
        ]


def read_directory(packet: Packet) -> Directory:
    """The directory in a WELCOME, else Malformed."""
    fields = fields_of(packet)
    process, control = fields.get("process"), fields.get("control")
    revision, roles = fields.get("revision", 0), fields.get("roles")
    if type(process) is not int or type(control) is not int or type(revision) is not int:
        raise Malformed("directory")
    if type(roles) is not list or len(roles) > _ROLES_MAX:
        raise Malformed("directory")
    for row in roles:
        if type(row) is not list or [type(x) for x in row] != [str, str, int, int]:
            raise Malformed("directory")
    return Directory(process, control, revision, [(r[0], r[1], r[2], r[3]) for r in roles])


class Offers:
    """What this process tells others of its roles: its answers on the control connection."""

    def __init__(self, process: int) -> None:
        self.process = process
        self.control_ports: list[int] = []
        self._own: dict[int, tuple[Record, bool]] = {}
        self._revision = 0

    def add(self, record: Record, *, open: bool) -> None:
        """List a role; beyond this machine only if open."""
        self._own[record.incarnation] = (record, open)
        self._revision += 1

    def remove(self, incarnation: int) -> None:
        """List a role no longer."""
        if self._own.pop(incarnation, None) is not None:
            self._revision += 1

    def welcome(self, peer: PeerId) -> Send:
        """The directory; through any but the first bound address only what is open."""
        bound = peer[0] if peer and peer[0] < len(self.control_ports) else 0
        roles = [
            [record.name, record.role, record.incarnation, record.port]
            for record, open in self._own.values()
            if open or bound == 0
        ]
        fields = {
            "process": self.process,
            "control": self.control_ports[bound] if self.control_ports else 0,
            "revision": self._revision,
            "roles": roles,
        }
        return _send(peer, wire.WELCOME, self.process, fields)

    def pong(self, peer: PeerId, packet: Packet) -> Send:
        """The answer to a ping; its revision tells whether the directory changed."""
        meta = packet.meta
        if type(meta) is not list or len(meta) != 1 or type(meta[0]) is not int:
            raise Malformed("ping")
        return _send(peer, wire.PONG, self.process, [meta[0], self._revision])


def hello(process: int, peer: PeerId) -> Send:
    """Ask a process who it is."""
    return _send(peer, wire.HELLO, process, {})


def ping(process: int, neighbour: Neighbour) -> Send:
    """Ask a neighbour whether it still answers."""
    neighbour.token += 1
    return _send(neighbour.peer, wire.PING, process, [neighbour.token])


def _send(peer: PeerId, kind: int, process: int, meta: object) -> Send:
    return Send(peer, (wire.pack(kind, process, 0, 0, encode(meta)),))
