"""What processes say of their roles on the control connection, and how they ask each other."""

from __future__ import annotations

from dataclasses import dataclass

from zmqkit.core.effects import Send
from zmqkit.core.membership.exchange import (
    Contact,
    read_addresses,
    read_others,
)
from zmqkit.errors import UsageError
from zmqkit.limits import ROLES_MAX
from zmqkit.model import PeerId, Record, check_name
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
    others: list[Contact] | None = None

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


def read_registration(packet: Packet) -> Contact | None:
    """What a HELLO tells of who says it, nothing if it only asks, else Malformed."""
    fields = packet.meta if type(packet.meta) is dict else {}
    if "places" not in fields:
        return None
    revision = fields.get("revision", 0)
    if type(revision) is not int or not _is_number(packet.source):
        raise Malformed("hello")
    return Contact(packet.source, revision, read_addresses(fields["places"]))


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


def hello(process: int, peer: PeerId, registration: dict[str, object] | None = None) -> Send:
    """Ask a process who it is, and with a registration who else is there."""
    return say(peer, wire.HELLO, process, registration or {})


def ping(process: int, peer: PeerId, token: int) -> Send:
    """Ask a neighbour whether it still answers."""
    return say(peer, wire.PING, process, [token])


def say(peer: PeerId, kind: int, process: int, meta: object) -> Send:
    """A packet on the control connection."""
    return Send(peer, wire.pack(kind, process, 0, 0, encode(meta)))
