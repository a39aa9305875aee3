"""What processes say of their roles on the control connection, and how they ask each other."""

from __future__ import annotations

from dataclasses import dataclass

from zmqkit.core.effects import Send
from zmqkit.errors import UsageError
from zmqkit.model import PeerId, Record, check_name
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Malformed, encode
from zmqkit.wire.packet import Packet, fields_of

_ROLES_MAX = 1000
_ROLE_CHARS_MAX = 32

Row = tuple[str, str, int, int]
"""A role in a directory: name, role, incarnation, port."""


@dataclass(slots=True)
class Directory:
    """What a process says in WELCOME: who it is and which roles it has."""

    process: int
    control_port: int
    revision: int
    roles: list[Row]

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
    fields = fields_of(packet)
    process, control = fields.get("process"), fields.get("control")
    revision, roles = fields.get("revision", 0), fields.get("roles")
    if type(process) is not int or type(control) is not int or type(revision) is not int:
        raise Malformed("directory")
    if not (_is_number(process) and _is_port(control)):
        raise Malformed("directory")
    if type(roles) is not list or len(roles) > _ROLES_MAX:
        raise Malformed("directory")
    return Directory(process, control, revision, [_row(row) for row in roles])


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


def ping(process: int, peer: PeerId, token: int) -> Send:
    """Ask a neighbour whether it still answers."""
    return _send(peer, wire.PING, process, [token])


def _send(peer: PeerId, kind: int, process: int, meta: object) -> Send:
    return Send(peer, wire.pack(kind, process, 0, 0, encode(meta)))
