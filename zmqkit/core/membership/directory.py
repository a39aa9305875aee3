"""What processes say of their roles on the control connection, and how they ask each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from zmqkit.core.effects import Send
from zmqkit.core.membership.exchange import (
    Contact,
    read_addresses,
    read_others,
)
from zmqkit.errors import UsageError
from zmqkit.limits import ROLES_MAX
from zmqkit.model import PeerId, Record, check_name, kinds_of
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Malformed, encode
from zmqkit.wire.packet import Packet, fields_of, sequences_of, space_of

_ROLE_CHARS_MAX = 32
_NOTHING: Mapping[str, object] = MappingProxyType({})

Row = tuple[str, str, int, int]
"""One role of a process in its directory: name, kind of role, incarnation, port."""


@dataclass(slots=True)
class Directory:
    """What a process says in WELCOME: who it is and which roles it has."""

    process: int
    control_port: int
    revision: int  # changes whenever the directory does
    roles: list[Row]
    # Other processes, if the asker registered itself in its HELLO; else None.
    others: list[Contact] | None = None
    space: str = ""  # that of the process, and so of its roles

    def pick(self, role: str, name: str, port: int, before: int = 0) -> tuple[int, str]:
        """Find the role that a URL means.

        name: empty for the only role of that kind. port: that of the URL; a role that listens
        there comes first. before: the incarnation of the role that the URL meant so far, which
        comes next. Returns (incarnation, ""), or (0, reason) when no role or several roles fit.
        """
        fitting = [row for row in self.roles if role in kinds_of(row[1])]
        found = [row for row in fitting if name in ("", row[0])]
        at_port = [row for row in found if row[3] == port]
        same = [row for row in found if row[2] == before]
        for each in (at_port, same, found):
            if len(each) == 1:
                return each[0][2], ""
        names = ", ".join(sorted({row[0] for row in fitting})) or "none"
        if name:
            return 0, f"the process there has no single {role} {name!r}; it has: {names}"
        return 0, f"the process there has these: {names}; name one behind the port"

    def records(self, host: str) -> list[Record]:
        """Return its roles as records with the address `host`."""
        return [
            Record(
                name, role, incarnation, self.process, (host,), self.control_port, port,
                self.space,
            )
            for name, role, incarnation, port in self.roles
        ]  # fmt: skip


def read_directory(packet: Packet) -> Directory:
    """Return the directory in a WELCOME. Raises Malformed if there is none."""
    return directory_of(fields_of(packet))


def directory_of(fields: dict[str, object]) -> Directory:
    """Return the directory that these fields make. Raises Malformed if they make none."""
    process, control = fields.get("process"), fields.get("control")
    revision, roles = fields.get("revision", 0), fields.get("roles")
    if type(process) is not int or type(control) is not int or type(revision) is not int:
        raise Malformed("directory")
    if not (_is_number(process) and _is_port(control)):
        raise Malformed("directory")
    if type(roles) is not list or len(roles) > ROLES_MAX:
        raise Malformed("directory")
    others = read_others(fields["others"]) if "others" in fields else None
    rows = [_row(row) for row in roles]
    return Directory(process, control, revision, rows, others, space_of(fields))


def read_registration(packet: Packet) -> Contact | None:
    """Return what a HELLO says of its sender, or None if the sender only asks.

    Raises Malformed for wrong fields.
    """
    fields = packet.meta if type(packet.meta) is dict else {}
    if "places" not in fields:
        return None
    revision = fields.get("revision", 0)
    if type(revision) is not int or not _is_number(packet.source):
        raise Malformed("hello")
    return Contact(packet.source, revision, read_addresses(fields["places"]))


def read_pong(packet: Packet) -> tuple[int, int]:
    """Return the token and the revision in a PONG. Raises Malformed for a wrong shape."""
    meta = packet.meta
    if type(meta) is not list or [type(each) for each in meta] != [int, int]:
        raise Malformed("pong")
    return meta[0], meta[1]


def read_ends(packet: Packet) -> frozenset[int]:
    """Return the incarnations in a BYE. Raises Malformed for anything else."""
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
    """Whether a value can be a process or an incarnation: 64 bits, and not 0."""
    return 0 < value < 1 << 64


def _is_port(value: int) -> bool:
    return 0 < value < 1 << 16


def hello(
    process: int, peer: PeerId, registration: Mapping[str, object] = _NOTHING, space: str = ""
) -> Send:
    """Ask a process who it is, and with a registration also who else is there.

    space: the one that this process is in.
    """
    return say(peer, wire.HELLO, process, {**wire.named(space), **registration})


def ping(process: int, peer: PeerId, token: int) -> Send:
    """Ask a neighbour whether it still answers."""
    return say(peer, wire.PING, process, [token])


def say(peer: PeerId, kind: int, process: int, meta: object) -> Send:
    """Return the sending of a packet on a control connection."""
    return Send(peer, wire.pack(kind, process, 0, 0, encode(meta)))
