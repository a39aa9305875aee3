"""What processes say of their roles on the control connection, and how they ask each other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from zmqkit.core.effects import Effect, Send
from zmqkit.core.membership.places import (
    Whereabouts,
    at_first_hand,
    is_shared,
    read_others,
    read_places,
    rows_of,
)
from zmqkit.core.membership.sighting import Place, Sightings
from zmqkit.core.membership.visitor import Visitors
from zmqkit.errors import UsageError
from zmqkit.limits import CALLERS_MAX, PLACES_MAX, PROCESSES_MAX, ROLES_MAX
from zmqkit.model import LOOPBACK, PeerId, Record, check_name, is_loopback
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Malformed, encode
from zmqkit.wire.packet import Packet, fields_of, sequences_of

_ROLE_CHARS_MAX = 32

Row = tuple[str, str, int, int]
"""A role in a directory: name, role, incarnation, port."""


@dataclass(slots=True)
class Directory:
    """What a process says in WELCOME: who it is and which roles it has.

    others: where else to ask, if it tells of others to whoever asks like this.
    """

    process: int
    control_port: int
    revision: int
    roles: list[Row]
    others: list[Whereabouts] | None = None

    def pick(self, role: str, name: str) -> tuple[int, str]:
        """The one role meant by a URL, as (incarnation, ""), or (0, why there is not one)."""
        found = [r for r in self.roles if r[1] == role and name in ("", r[0])]
        if len(found) == 1:
            return found[0][2], ""
        names = ", ".join(sorted({r[0] for r in self.roles if r[1] == role})) or "none"
        if name:
            return 0, f"the process there has no single {role} {name!r}; it has: {names}"
        return 0, f"the process there has these: {names}; name one behind the port"

    def records(self, host: str) -> list[Record]:
        """Its roles as records, reached through `host`."""
        return [
            Record(name, role, incarnation, self.process, (host,), self.control_port, port)
            for name, role, incarnation, port in self.roles
        ]


def read_directory(packet: Packet) -> Directory:
    """The directory in a WELCOME, else Malformed."""
    return directory_of(fields_of(packet))


def directory_of(fields: dict[str, object]) -> Directory:
    """The directory that these fields make, else Malformed."""
    process, control = fields.get("process"), fields.get("control")
    revision, roles = fields.get("revision", 0), fields.get("roles")
    if type(process) is not int or type(control) is not int or type(revision) is not int:
        raise Malformed("directory")
    if not (_is_number(process) and _is_port(control)):
        raise Malformed("directory")
    if type(roles) is not list or len(roles) > ROLES_MAX:
        raise Malformed("directory")
    others = read_others(fields["others"]) if "others" in fields else None
    return Directory(process, control, revision, [_row(row) for row in roles], others)


def read_visit(packet: Packet) -> Whereabouts | None:
    """What a HELLO tells of who says it, nothing if it only asks, else Malformed."""
    fields = packet.meta if type(packet.meta) is dict else {}
    if "places" not in fields:
        return None
    revision = fields.get("revision", 0)
    if type(revision) is not int or not _is_number(packet.source):
        raise Malformed("hello")
    return Whereabouts(packet.source, revision, read_places(fields["places"]))


def read_pong(packet: Packet) -> tuple[int, int]:
    """The token and the revision in a PONG, else Malformed."""
    meta = packet.meta
    if type(meta) is not list or len(meta) != 2 or type(meta[0]) is not int:
        raise Malformed("pong")
    return meta[0], meta[1]


def read_ends(packet: Packet) -> frozenset[int]:
    """The incarnations in a BYE, else Malformed."""
    return frozenset(sequences_of(packet.meta, ROLES_MAX))


def _row(row: object) -> Row:
    if type(row) is not list or [type(x) for x in row] != [str, str, int, int]:
        raise Malformed("directory")
    name, role, incarnation, port = row
    try:
        check_name(name)
    except UsageError as error:
        raise Malformed("directory") from error
    if not (role.isascii() and role.isalpha() and len(role) <= _ROLE_CHARS_MAX):
        raise Malformed("directory")
    if not (_is_number(incarnation) and _is_port(port)):
        raise Malformed("directory")
    return (name, role, incarnation, port)


def _is_number(value: int) -> bool:
    """Whether it can be an incarnation: 64 bits, and not 0, which is nobody."""
    return 0 < value < 1 << 64


def _is_port(value: int) -> bool:
    return 0 < value < 1 << 16


class Offers:
    """What this process tells others of its roles: its answers on the control connection.

    addresses: those of this host beyond loopback, best first, as its driver knows them.
    visitors: who asked for others. Only the first bound address is this machine's own. callers:
    whoever said something, the one silent for longest first.
    """

    def __init__(self, process: int, known: Sightings | None = None) -> None:
        self.process = process
        self._known = known or Sightings()
        self.control_ports: list[int] = []
        self.addresses: tuple[str, ...] = ()
        self.visitors = Visitors()
        self.callers: dict[PeerId, None] = {}
        self._own: dict[int, tuple[Record, bool]] = {}
        self._revision = 0

    def __len__(self) -> int:
        return len(self._own)

    def add(self, record: Record, *, open: bool) -> None:
        """List a role; beyond this machine only if open."""
        self._own[record.incarnation] = (record, open)
        self._revision += 1

    def remove(self, incarnation: int) -> list[Effect]:
        """List a role no longer; of a service that ended everybody is told at once.

        A publisher has told its subscribers itself, behind all that it published.
        """
        record, open = self._own.pop(incarnation, (None, False))
        if record is None:
            return []
        self._revision += 1
        told = self.callers if record.role == "service" else ()
        return [
            _send(peer, wire.BYE, self.process, [incarnation])
            for peer in told
            if open or _is_here(peer)
        ]

    def admit(self, peer: PeerId, packet: Packet, now: float) -> bool:
        """Take a hello; false when there is no room for one who may be asked as well."""
        visit = read_visit(packet)
        self._called(peer)
        if visit is None:
            return True
        return self.visitors.admit(peer, visit.seen_from(beyond=not _is_here(peer)), now)

    def _called(self, peer: PeerId) -> None:
        self.callers.pop(peer, None)
        self.callers[peer] = None
        if len(self.callers) > CALLERS_MAX:
            del self.callers[next(iter(self.callers))]

    def places(self, *, beyond: bool) -> list[Place]:
        """Where those may ask whom it is told to: elsewhere, if a role is open, or here too."""
        here = [(LOOPBACK, self.control_ports[0])] if self._own and not beyond else []
        open = [record for record, open in self._own.values() if open]
        if not open or len(self.control_ports) < 2:
            return here
        given = [a for r in open for a in r.addresses if is_shared(a) and not is_loopback(a)]
        ours = self.addresses if any(not record.addresses for record in open) else ()
        there = [(address, self.control_ports[1]) for address in dict.fromkeys([*given, *ours])]
        return [*here, *there][:PLACES_MAX]

    def visit(self, *, beyond: bool) -> dict[str, object]:
        """What a HELLO carries that asks for others as well."""
        return {"revision": self._revision, "places": rows_of(self.places(beyond=beyond))}

    def welcome(self, peer: PeerId, asker: int = 0, gone: Iterable[int] = ()) -> Send:
        """The directory; through any but the first bound address only what is open.

        A visitor is told of others as well, but for those that are known to be gone.
        """
        bound = peer[0] if peer and peer[0] < len(self.control_ports) else 0
        roles = [
            [record.name, record.role, record.incarnation, record.port]
            for record, open in self._own.values()
            if open or bound == 0
        ]
        fields: dict[str, object] = {
            "process": self.process,
            "control": self.control_ports[bound] if self.control_ports else 0,
            "revision": self._revision_for(peer),
            "roles": roles,
        }
        if peer in self.visitors:
            but = {self.process, asker, *gone}
            fields["others"] = [each.row() for each in self._others(but, beyond=bound > 0)]
        return _send(peer, wire.WELCOME, self.process, fields)

    def _others(self, but: set[int], *, beyond: bool) -> list[Whereabouts]:
        """Whom to tell of: visitors, who speak for themselves, then who is known otherwise."""
        found = self.visitors.others(beyond=beyond)
        for process in self._known.processes():
            if process not in found:
                told = at_first_hand(self._known, process).seen_from(beyond=beyond)
                if told.places:
                    found[process] = told
        return [each for process, each in found.items() if process not in but][:PROCESSES_MAX]

    def pong(self, peer: PeerId, packet: Packet, now: float) -> Send:
        """The answer to a ping; its revision tells whether the directory changed."""
        self.visitors.heard(peer, now)
        self._called(peer)
        meta = packet.meta
        if type(meta) is not list or len(meta) != 1 or type(meta[0]) is not int:
            raise Malformed("ping")
        return _send(peer, wire.PONG, self.process, [meta[0], self._revision_for(peer)])

    def _revision_for(self, peer: PeerId) -> int:
        """Changes with what this peer is told, and when it is forgotten as a visitor."""
        if peer not in self.visitors:
            return self._revision
        others_revision = 1 + self.visitors.revision + self._known.changes
        return self._revision + (others_revision << 32)


def _is_here(peer: PeerId) -> bool:
    """Whether one is on this machine: routing ids begin with the address that they came to."""
    return peer[:1] <= b"\0"


def hello(process: int, peer: PeerId, visit: dict[str, object] | None = None) -> Send:
    """Ask a process who it is, and with a `visit` who else is there."""
    return _send(peer, wire.HELLO, process, visit or {})


def ping(process: int, peer: PeerId, token: int) -> Send:
    """Ask a neighbour whether it still answers."""
    return _send(peer, wire.PING, process, [token])


def _send(peer: PeerId, kind: int, process: int, meta: object) -> Send:
    return Send(peer, wire.pack(kind, process, 0, 0, encode(meta)))
