"""What processes say of their roles on the control connection, and how they ask each other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from zmqkit.core.effects import Effect, Send
from zmqkit.core.membership.places import (
    Whereabouts,
    at_first_hand,
    means_one_host,
    read_addresses,
    read_others,
    rows_of,
)
from zmqkit.core.membership.sighting import Sightings
from zmqkit.core.membership.visitor import Visitors
from zmqkit.errors import UsageError
from zmqkit.model import LOOPBACK, Address, PeerId, Reach, Record, check_name, reach_of
from zmqkit.options import CALLERS_MAX, PLACES_MAX, PROCESSES_MAX, ROLES_MAX
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
    return Whereabouts(packet.source, revision, read_addresses(fields["places"]))


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

    control_ports: where it can be asked, for each reach. hosts: addresses of this host beyond
    loopback, best first, as its driver knows them. visitors: who asked for others. callers:
    whoever said something, with the reach of that connection, the one silent for longest first.
    """

    def __init__(self, process: int, known: Sightings | None = None) -> None:
        self.process = process
        self._known = known or Sightings()
        self.control_ports: dict[Reach, int] = {}
        self.hosts: tuple[str, ...] = ()
        self.visitors = Visitors()
        self.callers: dict[PeerId, Reach] = {}
        self._own: dict[int, tuple[Record, Reach]] = {}
        self._revision = 0

    def __len__(self) -> int:
        return len(self._own)

    def add(self, record: Record, reach: Reach) -> None:
        """List a role, for those who are within its reach."""
        self._own[record.incarnation] = (record, reach)
        self._revision += 1

    def remove(self, incarnation: int) -> list[Effect]:
        """List a role no longer; of a service that ended everybody is told at once.

        A publisher has told its subscribers itself, behind all that it published.
        """
        if incarnation not in self._own:
            return []
        record, reach = self._own.pop(incarnation)
        self._revision += 1
        told = self.callers.items() if record.role == "service" else ()
        return [
            _send(peer, wire.BYE, self.process, [incarnation])
            for peer, theirs in told
            if theirs <= reach
        ]

    def admit(self, peer: PeerId, packet: Packet, now: float, reach: Reach) -> bool:
        """Take a hello; false when there is no room for one who may be asked as well."""
        visit = read_visit(packet)
        self._called(peer, reach)
        return visit is None or self.visitors.admit(peer, visit.seen_from(reach), now)

    def _called(self, peer: PeerId, reach: Reach) -> None:
        self.callers.pop(peer, None)
        self.callers[peer] = reach
        if len(self.callers) > CALLERS_MAX:
            del self.callers[next(iter(self.callers))]

    def addresses(self, reach: Reach) -> list[Address]:
        """Where this process may be asked, as it says over a connection of that reach."""
        told: dict[Address, None] = {}
        for within, port in self.control_ports.items():
            roles = [record for record, theirs in self._own.values() if theirs >= within]
            if within >= reach and roles:
                told.update((Address(host, port), None) for host in self._hosts(roles, within))
        return [*told][:PLACES_MAX]

    def _hosts(self, roles: list[Record], reach: Reach) -> list[str]:
        """Where others find these roles, of which one may name an address of its own."""
        if reach is Reach.LOCAL:
            return [LOOPBACK]
        given = [each for record in roles for each in record.addresses]
        ours = self.hosts if any(not record.addresses for record in roles) else ()
        shared = [a for a in given if means_one_host(a) and reach_of(a) is reach]
        return [*shared, *ours]

    def visit(self, reach: Reach) -> dict[str, object]:
        """What a HELLO carries that asks for others as well."""
        return {"revision": self._revision, "places": rows_of(self.addresses(reach))}

    def welcome(
        self, peer: PeerId, reach: Reach, asker: int = 0, gone: Iterable[int] = ()
    ) -> Send:
        """The directory, for one whose connection reaches so far.

        A visitor is told of others as well, but for those that are known to be gone.
        """
        roles = [
            [record.name, record.role, record.incarnation, record.port]
            for record, theirs in self._own.values()
            if theirs >= reach
        ]
        fields: dict[str, object] = {
            "process": self.process,
            "control": self.control_ports.get(reach, 0),
            "revision": self._revision_for(peer),
            "roles": roles,
        }
        if peer in self.visitors:
            but = {self.process, asker, *gone}
            fields["others"] = [each.row() for each in self._others(but, reach)]
        return _send(peer, wire.WELCOME, self.process, fields)

    def _others(self, but: set[int], reach: Reach) -> list[Whereabouts]:
        """Whom to tell of: visitors, who speak for themselves, then who is known otherwise."""
        found = self.visitors.others(reach)
        for process in self._known.processes():
            if process not in found:
                told = at_first_hand(self._known, process).seen_from(reach)
                if told.addresses:
                    found[process] = told
        return [each for process, each in found.items() if process not in but][:PROCESSES_MAX]

    def pong(self, peer: PeerId, packet: Packet, now: float, reach: Reach) -> Send:
        """The answer to a ping; its revision tells whether the directory changed."""
        self.visitors.heard(peer, now)
        self._called(peer, reach)
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


def hello(process: int, peer: PeerId, visit: dict[str, object] | None = None) -> Send:
    """Ask a process who it is, and with a `visit` who else is there."""
    return _send(peer, wire.HELLO, process, visit or {})


def ping(process: int, peer: PeerId, token: int) -> Send:
    """Ask a neighbour whether it still answers."""
    return _send(peer, wire.PING, process, [token])


def _send(peer: PeerId, kind: int, process: int, meta: object) -> Send:
    return Send(peer, wire.pack(kind, process, 0, 0, encode(meta)))
