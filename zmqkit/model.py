"""The nouns that every layer shares: peers, reach, addresses, records of roles, URLs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from ipaddress import ip_address
from typing import NamedTuple

from zmqkit.errors import ConfigError, UsageError

PeerId = bytes
"""Names one connection of a link: by routing id if it was accepted, by key if it was made."""

EVERY_PEER: PeerId = b"\x00"
"""Stands for all subscribers of a publishing address; the link filters by topic."""

Frames = tuple["bytes | memoryview", ...]
"""One message as the link carries it; ours have one frame, or two with a raw body."""

NAME_BYTES_MAX = 54
"""A name, a dash and eight hexadecimal digits then fit in one DNS label of 63 bytes."""

SPACE_CHARS_MAX = 32
"""How long the name of a space may be."""

_SPACE = re.compile(rf"[a-z0-9][a-z0-9._-]{{0,{SPACE_CHARS_MAX - 1}}}", re.ASCII)

LOOPBACK = "127.0.0.1"


class Reach(IntEnum):
    """How far a role, a connection or an address reaches, the nearest first.

    What may reach far may also reach near.
    """

    LOCAL = 0  # within this machine
    PLAIN = 1  # over the network too, on request, in plain text


class Address(NamedTuple):
    """The host and port of a control connection, unless stated otherwise."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return the address as a URL has it, with IPv6 in brackets."""
        return f"{bracketed(self.host)}:{self.port}"

    @property
    def endpoint(self) -> str:
        """The address as ZeroMQ writes it."""
        return f"tcp://{self}"

    @property
    def reach(self) -> Reach:
        """How far a role has to reach to use this."""
        return reach_of(self.host)


MAJORDOMO = "majordomo"
"""The role of a broker as such; its name is that of the device."""
BROKER = "broker"
"""The role of one service of a broker; its name is that of the service."""
ROUTER = "router"
"""The role of a router as such; its name is that of the device."""
ROUTED = "routed"
"""The role of one name of a router, whose calls it passes on to the servers of that name."""
SERVER = "server"
"""The kind of all that serve a name without a router, which is what routers look for."""

FORWARDER = "forwarder"
"""The role of a device that passes messages of publishers on; its name is theirs."""

_STANDS_FOR = {
    "streamer": "worker", BROKER: "service", ROUTED: "service", ROUTER: MAJORDOMO,
    FORWARDER: "publisher",
}  # fmt: skip
"""Roles of devices, each with the role in whose place it is used under its name."""

DEVICES = frozenset(_STANDS_FOR)
"""The roles of devices."""


def kind_of(role: str) -> str:
    """Return the role that a role is used as: a streamer as a worker, most as themselves."""
    return _STANDS_FOR.get(role, role)


def kinds_of(role: str) -> tuple[str, ...]:
    """Return all that a role is looked for as.

    Routers do not look for what other routers pass on, nor for what they pass on themselves. So
    no call goes round among them.
    """
    kind = kind_of(role)
    return (kind, SERVER) if kind == "service" and role != ROUTED else (kind,)


@dataclass(slots=True, frozen=True)
class Record:
    """What a process says of one of its roles: its name and number, and where it listens."""

    name: str
    role: str
    incarnation: int  # 64 bits, drawn anew for each role object
    process: int  # 64 bits, drawn anew for each process
    addresses: tuple[str, ...]  # IP addresses as text, with scope (`fe80::1%eth0`); best first
    control_port: int  # of the control connection of the process
    port: int  # of the role's own data socket
    space: str = ""  # the one that the role is in; empty for the default space

    @property
    def label(self) -> str:
        """The name of this instance on the network: `NAME-8hex`."""
        return label_of(self.name, self.incarnation)


def label_of(name: str, incarnation: int) -> str:
    """Return what an instance is called on the network: `NAME-8hex`."""
    return f"{name}-{incarnation >> 32:08x}"


@dataclass(slots=True, frozen=True)
class Url:
    """Where a role connects or binds: `tcp://host:port[/name]` or `memory://name`."""

    scheme: str
    host: str
    port: int
    name: str

    @property
    def endpoint(self) -> str:
        """The address as ZeroMQ writes it."""
        return Address(self.host, self.port).endpoint

    @property
    def reach(self) -> Reach:
        """How far a role has to reach to use this."""
        return Reach.LOCAL if self.scheme == "memory" else reach_of(self.host)


def bracketed(host: str) -> str:
    """Return the host as a URL has it, with IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host


def check_name(name: str) -> str:
    """Return the name if it can be announced; otherwise raise a UsageError that says why."""
    if not isinstance(name, str) or not name:
        raise UsageError(f"a name must be text of at least one character, not {name!r}")
    size = len(name.encode(errors="surrogatepass"))
    if size > NAME_BYTES_MAX:
        raise UsageError(f"name {name!r} has {size} bytes; {NAME_BYTES_MAX} at most")
    if looks_like_an_address(name):
        raise UsageError(f"name {name!r} looks like an address; did you mean tcp://{name}?")
    if "/" in name or not name.isprintable():
        raise UsageError(
            f"name {name!r} must not contain '/', control characters or lone surrogates"
        )
    return name


def is_space(space: str) -> bool:
    """Whether this may be the name of a space; the default space has the empty name."""
    return not space or _SPACE.fullmatch(space) is not None


def check_space(space: str, what: str = "space") -> str:
    """Return the name of a space if it may be one; otherwise raise a ConfigError.

    what: where the name is from, for the message.
    """
    if not isinstance(space, str) or not is_space(space):
        raise ConfigError(
            f"{what} is {space!r}; use 1 to {SPACE_CHARS_MAX} of a-z, 0-9, '.', '_' and '-', "
            "with a letter or digit first, or nothing for the default space"
        )
    return space


def space_shown(space: str) -> str:
    """Return what messages call a space."""
    return f"the space {space!r}" if space else "the default space"


def looks_like_an_address(name: str) -> bool:
    """Whether this is `host:port`, with or without a `/name`, and lacks a scheme only."""
    host, colon, port = name.partition("/")[0].rpartition(":")
    return bool(host and colon and port.isascii() and port.isdigit())


def parse_url(text: str) -> Url:
    """Read `tcp://host:port[/name]` or `memory://name`.

    Port 0 or `*` asks for any free port. Host `*` asks for all interfaces, and only makes sense
    to bind. Raises a ConfigError that names the value and shows the right form.
    """
    scheme, separator, rest = text.partition("://") if type(text) is str else ("", "", "")
    place, _, name = rest.partition("/")
    if separator and scheme == "memory" and place and not name:
        return Url(scheme, "", 0, check_name(place))
    if not separator and looks_like_an_address(scheme):
        raise ConfigError(f"{text!r} is not a URL zmqkit knows; did you mean tcp://{text}?")
    host, colon, port = place.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not separator or scheme != "tcp" or not colon or not host:
        raise ConfigError(
            f"{text!r} is not a URL zmqkit knows; use tcp://host:port, with a client /name "
            "behind it where one process has several, or memory://name"
        )
    number = 0 if port == "*" else int(port) if port.isascii() and port.isdigit() else -1
    if not 0 <= number <= 65535:
        raise ConfigError(f"{text!r}: port {port!r} is not a number from 0 to 65535")
    return Url(scheme, host, number, check_name(name) if name else "")


@lru_cache(maxsize=1024)
def reach_of(host: str) -> Reach:
    """Return how far a role has to reach to use a host, as far as its address tells."""
    if host == "localhost":
        return Reach.LOCAL
    try:
        here = ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        here = False
    return Reach.LOCAL if here else Reach.PLAIN


def reach_of_endpoint(endpoint: str) -> Reach:
    """Return how far a role has to reach to use an endpoint; `memory` is local.

    A worker that dialled has an endpoint too, which says whether it is elsewhere.
    """
    scheme, _, place = endpoint.partition("://")
    host = place.rpartition(":")[0].removeprefix("[").removesuffix("]")
    return reach_of(host) if scheme in ("tcp", "dialled") else Reach.LOCAL
