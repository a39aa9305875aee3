"""What the doctor knows before it judges: plain values, so that rules need no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from zmqkit.doctor.findings import Finding
from zmqkit.doctor.firewall import Culprit
from zmqkit.model import Address, Record
from zmqkit.wire.packet import FIRST

WIRE = FIRST >> 8 & 0xFF
"""The version of the protocol that this zmqkit speaks."""


# What others answer


class Outcome(Enum):
    """What came of asking at an address."""

    ANSWERED = "answered"
    REFUSED = "refused"  # the machine is there, and nothing listens
    UNKNOWN = "unknown"  # the host's name means nothing here
    UNREACHABLE = "unreachable"  # the network says that there is no way
    TIMED_OUT = "timed out"  # nothing came back
    STOPPED = "stopped"  # the system took the connection, and the process does nothing
    SILENT = "silent"  # ZeroMQ answers there, and Python does not
    FOREIGN = "foreign"  # something else listens there
    VERSION = "version"  # zmqkit answers in another version of its protocol


@dataclass(slots=True, frozen=True)
class Asked:
    """An address, and what came of asking there."""

    address: Address
    outcome: Outcome
    detail: str = ""  # the system's reason, or what answered
    ms: float = 0.0
    space: str = ""  # that of the process that answered


# This machine

SPARE_MIN = 128
"""How many descriptors discovery and questions may take; with fewer, the doctor asks nobody."""

NOT_TRIED, HEARD, UNHEARD = "", "heard", "unheard"
"""What became of a packet that an interface sent to itself. Anything else is an error."""
FORBIDDEN = "EPERM"
"""What is in that error where a firewall drops what is sent."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Interface:
    """One network interface of this machine."""

    name: str
    index: int
    kind: str  # `loopback`, `tunnel`, `containers` for a bridge of containers, else `network`
    is_up: bool = True
    has_carrier: bool = True
    is_multicast: bool = True
    addresses: tuple[str, ...] = ()  # each as `10.0.0.5/24`
    # Whether what it sends to the multicast group of discovery comes back.
    echo: str = NOT_TRIED


@dataclass(slots=True, frozen=True, kw_only=True)
class Descriptors:
    """How many descriptors a process may open, and has open."""

    limit: int
    open: int

    @property
    def spare(self) -> int:
        """How many more it may open."""
        return self.limit - self.open


@dataclass(slots=True, frozen=True, kw_only=True)
class Disk:
    """What is left where a journal is."""

    path: str
    free_bytes: int
    # How many files may still be made; None where the file system has no such number.
    free_files: int | None = None


@dataclass(slots=True, frozen=True, kw_only=True)
class Program:
    """A process of this machine that uses ZeroMQ and discovery, so very likely zmqkit."""

    pid: int
    command: str
    state: str  # what the system says that it does, such as `sleeping` or `stopped`
    asked: tuple[Asked, ...] = ()  # at ports where it listens, until one answered
    descriptors: Descriptors | None = None


@dataclass(slots=True, frozen=True, kw_only=True)
class Machine:
    """This machine. What a system does not tell is empty, and no rule speaks of it."""

    interfaces: tuple[Interface, ...] = ()
    outward: str = ""  # the interface that leads to machines outside its own networks
    port_error: str = ""  # why the port of multicast DNS cannot be had
    port_holders: tuple[str, ...] = ()  # the programs that have that port
    listening: frozenset[int] = frozenset()  # the TCP ports at which a program listens
    descriptors: Descriptors | None = None
    disks: tuple[Disk, ...] = ()
    programs: tuple[Program, ...] = ()
    culprits: tuple[Culprit, ...] = ()  # what drops the packets of interfaces to themselves


# Whom discovery told of


@dataclass(slots=True, frozen=True, kw_only=True)
class Instance:
    """A role that discovery told of, and what its process answered."""

    record: Record
    is_here: bool  # on this machine
    is_open: bool  # whether other machines may use it
    control: tuple[Asked, ...] = ()  # at each address of its process; empty if not asked
    data: Asked | None = None  # at its own port
    pid: int = 0  # of its process, if that is known
    sources: tuple[str, ...] = ()  # who told of it, as in `zmqkit ls -v`


@dataclass(slots=True, frozen=True)
class Unusable:
    """An announcement that cannot be used."""

    label: str  # `NAME-8hex`
    reason: str


# This side


@dataclass(slots=True, frozen=True, kw_only=True)
class Side:
    """How this side is set up."""

    error: str = ""  # why its environment cannot be used
    insecure: bool = False
    space: str = ""  # empty for the default space
    ports: tuple[int, int] = (0, 0)
    peers: tuple[str, ...] = ()  # `host:port` of each static peer
    asked: tuple[Asked, ...] = ()  # those of the static peers that were asked
    packages: tuple[tuple[str, str], ...] = ()  # name and version
    wire: int = WIRE  # the version of the protocol


# Between two machines


@dataclass(slots=True, frozen=True, kw_only=True)
class Probed:
    """What was found out between this machine and another one that runs `zmqkit doctor listen`.

    Directions are seen from here. None stands for what was not tried.
    """

    host: str
    talk: Asked  # whether the listener answers
    offset_s: float | None = None  # how far the other clock is ahead
    trip_s: float = 0.0  # how long a question and its answer took
    wire: int | None = None  # the version of the protocol over there
    multicast_out: bool | None = None
    multicast_in: bool | None = None
    ports_out: tuple[Asked, ...] = ()  # ports over there
    ports_in: tuple[tuple[int, str], ...] = ()  # ports here, and what came of it over there
    culprits: tuple[Culprit, ...] = ()  # what drops connections to those ports
    # Of the roles over there that have the wanted name, how many are open and how many not.
    name_open: int = 0
    name_local: int = 0
    findings: tuple[Finding, ...] = ()  # of the machine over there


@dataclass(slots=True, frozen=True, kw_only=True)
class Facts:
    """All that was gathered."""

    machine: Machine = Machine()
    side: Side = Side()
    name: str = ""  # whom the user looks for; empty for nobody
    role: str = ""  # as what; empty for any role
    listened_s: float = 0.0
    instances: tuple[Instance, ...] = ()  # of that name, or all
    names: tuple[str, ...] = ()  # all that were heard of somebody of use as that role
    apart: tuple[Record, ...] = ()  # of that name, in other spaces
    unreadable: tuple[Unusable, ...] = ()
    elsewhere: tuple[Unusable, ...] = ()
    at_url: Asked | None = None  # where the user's URL leads
    probed: Probed | None = None
