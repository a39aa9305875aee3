"""The Majordomo Protocol: messages of RFC 7 (MDP/0.1) and of RFC 18 (MDP/0.2).

    from, to            RFC 7                            RFC 18
    client to broker    ∅ MDPC01    service body...      MDPC02 01 service body...
    broker to client                                     MDPC02 02 service body...   partial
                        ∅ MDPC01    service body...      MDPC02 03 service body...   final
    worker to broker    ∅ MDPW01 01 service              MDPW02 01 service           ready
    broker to worker    ∅ MDPW01 02 address ∅ body...    MDPW02 02 address ∅ body... request
    worker to broker                                     MDPW02 03 address ∅ body... partial
                        ∅ MDPW01 03 address ∅ body...    MDPW02 04 address ∅ body... final
    both                ∅ MDPW01 04                      MDPW02 05                   heartbeat
    both                ∅ MDPW01 05                      MDPW02 06                   disconnect

∅ is an empty frame. A body has at least one frame; a message of FRAMES_MAX frames or more is
not read, since a link keeps no more of them. The same byte means different commands in
the two versions, so the header is read before the command.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from zmqkit.errors import UsageError
from zmqkit.limits import FRAMES_MAX
from zmqkit.model import NAME_BYTES_MAX, Frames, check_name
from zmqkit.wire.encoding import Buffer, Malformed

MMI = "mmi."
"""Services of this beginning are the broker's own; see RFC 8."""
TITANIC = "titanic."
"""Services of this beginning keep requests for clients that are away; see RFC 9."""

_ADDRESS_BYTES_MAX = 255
_HEADER_BYTES = 6
_NAMES_MAX = 1000


class Version(Enum):
    """A version of the protocol."""

    __hash__ = object.__hash__  # that of Enum is Python, and each message looks members up

    # RFC 7, MDP/0.1.
    V1 = 1
    # RFC 18, MDP/0.2.
    V2 = 2


class Kind(Enum):
    """What a message is for."""

    __hash__ = object.__hash__

    READY = "ready"
    REQUEST = "request"
    PARTIAL = "partial"
    # RFC 7 calls it REPLY.
    FINAL = "final"
    HEARTBEAT = "heartbeat"
    DISCONNECT = "disconnect"


@dataclass(slots=True)
class ClientRequest:
    """What a client asks a broker for."""

    version: Version
    service: str
    body: tuple[Buffer, ...]


@dataclass(slots=True)
class ClientReply:
    """What a broker answers a client: a FINAL, or a PARTIAL that others follow."""

    version: Version
    kind: Kind
    service: str
    body: tuple[Buffer, ...]


@dataclass(slots=True)
class WorkerCommand:
    """What a worker tells a broker, or a broker a worker."""

    version: Version
    kind: Kind
    # Of a READY.
    service: str = ""
    # Of a REQUEST, PARTIAL or FINAL: what the broker knows the client by, and the body.
    address: bytes = b""
    body: tuple[Buffer, ...] = ()


_CLIENTS = {Version.V1: b"MDPC01", Version.V2: b"MDPC02"}
_WORKERS = {Version.V1: b"MDPW01", Version.V2: b"MDPW02"}
_DELIMITED = frozenset({_CLIENTS[Version.V1], _WORKERS[Version.V1]})
"""An empty frame precedes these headers."""
_CLIENT_VERSIONS = {header: version for version, header in _CLIENTS.items()}
_WORKER_VERSIONS = {header: version for version, header in _WORKERS.items()}

_BYTES = {
    Version.V1: {
        Kind.READY: b"\x01", Kind.REQUEST: b"\x02", Kind.FINAL: b"\x03",
        Kind.HEARTBEAT: b"\x04", Kind.DISCONNECT: b"\x05",
    },
    Version.V2: {
        Kind.READY: b"\x01", Kind.REQUEST: b"\x02", Kind.PARTIAL: b"\x03",
        Kind.FINAL: b"\x04", Kind.HEARTBEAT: b"\x05", Kind.DISCONNECT: b"\x06",
    },
}  # fmt: skip
"""The bytes between brokers and workers."""
_KINDS = {
    version: {byte: kind for kind, byte in commands.items()}
    for version, commands in _BYTES.items()
}
_ASK, _PARTIAL, _FINAL = b"\x01", b"\x02", b"\x03"
"""The bytes between clients and brokers of RFC 18."""
_BODIES = frozenset({Kind.REQUEST, Kind.PARTIAL, Kind.FINAL})


# What arrives


def read_at_broker(frames: Frames) -> ClientRequest | WorkerCommand:
    """Return what a client or a worker tells a broker. Raise Malformed for anything else.

    A REQUEST of a worker is well formed and makes no sense; the receiver has to decide.
    """
    header, rest = _split(frames)
    if (version := _WORKER_VERSIONS.get(header)) is not None:
        return _worker_command(version, rest)
    version = _version(_CLIENT_VERSIONS, header)
    if version is Version.V2:
        if not rest or rest[0] != _ASK:
            raise Malformed("command")
        rest = rest[1:]
    if len(rest) == 1 and _service(rest[0]).startswith((MMI, TITANIC)):
        rest = (*rest, b"")  # the broker itself answers, as if it were asked for nothing
    service, body = _service_and_body(rest)
    return ClientRequest(version, service, body)


def read_at_worker(frames: Frames) -> WorkerCommand:
    """Return what a broker tells a worker. Raise Malformed for anything else."""
    header, rest = _split(frames)
    command = _worker_command(_version(_WORKER_VERSIONS, header), rest)
    if command.kind not in (Kind.REQUEST, Kind.HEARTBEAT, Kind.DISCONNECT):
        raise Malformed("command")
    return command


def read_at_client(frames: Frames) -> ClientReply:
    """Return what a broker answers a client. Raise Malformed for anything else."""
    header, rest = _split(frames)
    version, kind = _version(_CLIENT_VERSIONS, header), Kind.FINAL
    if version is Version.V2:
        if not rest or rest[0] not in (_PARTIAL, _FINAL):
            raise Malformed("command")
        kind = Kind.PARTIAL if rest[0] == _PARTIAL else Kind.FINAL
        rest = rest[1:]
    return ClientReply(version, kind, *_service_and_body(rest))


def _split(frames: Frames) -> tuple[bytes, Frames]:
    """Return the header, and the frames behind it."""
    at = 1 if frames and not frames[0] else 0
    if not at < len(frames) < FRAMES_MAX:
        raise Malformed("frames")
    if len(frames[at]) != _HEADER_BYTES:
        raise Malformed("header")
    header = bytes(frames[at])
    if at != (header in _DELIMITED):
        raise Malformed("header")
    return header, frames[at + 1 :]


def _version(versions: dict[bytes, Version], header: bytes) -> Version:
    version = versions.get(header)
    if version is None:
        raise Malformed("header")
    return version


def _worker_command(version: Version, frames: Frames) -> WorkerCommand:
    if not frames or len(frames[0]) != 1:
        raise Malformed("command")
    kind = _KINDS[version].get(bytes(frames[0]))
    if kind is None:
        raise Malformed("command")
    if kind in _BODIES:
        if len(frames) < 4 or frames[2]:
            raise Malformed("frames")
        if len(frames[1]) > _ADDRESS_BYTES_MAX:
            raise Malformed("address")
        return WorkerCommand(version, kind, "", bytes(frames[1]), frames[3:])
    if len(frames) != 1 + (kind is Kind.READY):
        raise Malformed("frames")
    return WorkerCommand(version, kind, _service(frames[1]) if frames[1:] else "")


def _service_and_body(frames: Frames) -> tuple[str, Frames]:
    if len(frames) < 2:
        raise Malformed("frames")
    return _service(frames[0]), frames[1:]


def _service(frame: Buffer) -> str:
    """Return the name of a service, which is one that may be announced, or a reserved one."""
    if len(frame) > NAME_BYTES_MAX:
        raise Malformed("service")
    return _checked(bytes(frame))


@lru_cache(_NAMES_MAX)
def _checked(frame: bytes) -> str:
    """Return the same; names come again and again."""
    try:
        name = frame.decode()
        if name.startswith((MMI, TITANIC)) and name.isprintable():
            return name
        return check_name(name)
    except (UnicodeDecodeError, UsageError) as error:
        raise Malformed("service") from error


# What leaves


def request(version: Version, service: str, body: Frames) -> Frames:
    """Return the request of a client."""
    command = () if version is Version.V1 else (_ASK,)
    return (*_client_head(version), *command, service.encode(), *body)


def partial(service: str, body: Frames) -> Frames:
    """Return a part of a reply to a client of RFC 18; RFC 7 has no parts."""
    return (*_client_head(Version.V2), _PARTIAL, service.encode(), *body)


def final(version: Version, service: str, body: Frames) -> Frames:
    """Return the reply to a client, or its last part."""
    command = () if version is Version.V1 else (_FINAL,)
    return (*_client_head(version), *command, service.encode(), *body)


def worker_ready(version: Version, service: str) -> Frames:
    """Return the message by which a worker offers itself."""
    return (*_worker_head(version, Kind.READY), service.encode())


def worker_request(version: Version, address: bytes, body: Frames) -> Frames:
    """Return a request to a worker; its replies have to bear the address."""
    return (*_worker_head(version, Kind.REQUEST), address, b"", *body)


def worker_partial(address: bytes, body: Frames) -> Frames:
    """Return a part of a worker's reply, of RFC 18; RFC 7 has no parts."""
    return (*_worker_head(Version.V2, Kind.PARTIAL), address, b"", *body)


def worker_final(version: Version, address: bytes, body: Frames) -> Frames:
    """Return a worker's reply, or its last part."""
    return (*_worker_head(version, Kind.FINAL), address, b"", *body)


def heartbeat(version: Version) -> Frames:
    """Return the word that the sender, a worker or its broker, is there."""
    return _worker_head(version, Kind.HEARTBEAT)


def disconnect(version: Version) -> Frames:
    """Return the last word of a worker or of its broker."""
    return _worker_head(version, Kind.DISCONNECT)


def _client_head(version: Version) -> Frames:
    header = _CLIENTS[version]
    return (b"", header) if version is Version.V1 else (header,)


def _worker_head(version: Version, kind: Kind) -> Frames:
    header, command = _WORKERS[version], _BYTES[version][kind]
    return (b"", header, command) if version is Version.V1 else (header, command)
