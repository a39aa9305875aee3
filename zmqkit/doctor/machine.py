"""Gathers what the system says of this machine: interfaces, ports, descriptors, disks.

Each function returns what it can find out, and nothing where the system does not tell. None of
them sends anything.
"""

from __future__ import annotations

import fcntl
import os
import re
import resource
import socket
import struct
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import ifaddr

from zmqkit.doctor.facts import Descriptors, Disk, Interface

MDNS_PORT = 5353
OUTSIDE = "203.0.113.1", "2001:db8::1"
"""Addresses for documentation: routes lead there as to any machine outside, and nobody is."""

_GET_FLAGS = 0x8913  # SIOCGIFFLAGS of Linux
_UP, _POINT_TO_POINT, _RUNNING, _MULTICAST = 0x1, 0x10, 0x40, 0x1000
_LISTENING = "0A"
_CONTAINERS = re.compile(
    r"docker\d*|br-[0-9a-f]{12}|virbr\d+|cni\d+|podman\d+|lxcbr\d+|lxdbr\d+|flannel.*|cali.*"
)
_TUNNEL = re.compile(r"(tun|tap|wg|ppp|utun|ipsec|tailscale|nordlynx)\d*|zt\w{8}")
_ZEROMQ = "ZMQbg/IO"
COMMAND_CHARS_MAX = 200
_NET = Path("/sys/class/net")


def interfaces() -> list[Interface]:
    """Return the interfaces of this machine that are up or have an address."""
    addresses: dict[str, list[str]] = {}
    for adapter in ifaddr.get_adapters():
        for each in adapter.ips:
            text = each.ip if isinstance(each.ip, str) else each.ip[0]
            addresses.setdefault(adapter.name, []).append(f"{text}/{each.network_prefix}")
    found = [
        _interface(name, index, tuple(addresses.get(name, ())))
        for index, name in socket.if_nameindex()
    ]
    return [each for each in found if each.is_up or each.addresses or each.kind == "loopback"]


def _interface(name: str, index: int, addresses: tuple[str, ...]) -> Interface:
    flags = _flags(name)
    if flags is None:
        kind = "loopback" if name.startswith("lo") else kind_of(name, 0)
        return Interface(name=name, index=index, kind=kind, addresses=addresses)
    return Interface(
        name=name,
        index=index,
        kind=kind_of(name, flags),
        is_up=bool(flags & _UP),
        has_carrier=bool(flags & _RUNNING),
        is_multicast=bool(flags & _MULTICAST),
        addresses=addresses,
    )


def _flags(name: str) -> int | None:
    """Return the flags of an interface; None where they have other numbers than on Linux."""
    if sys.platform != "linux":
        return None
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        request = struct.pack("16sH14x", name.encode(), 0)
        flags: int = struct.unpack("16xH", fcntl.ioctl(asker, _GET_FLAGS, request)[:18])[0]
        return flags
    return None


def kind_of(name: str, flags: int) -> str:
    """Return what an interface leads to, in a word of `Interface`."""
    if flags & 0x8 or name == "lo":
        return "loopback"
    tunnel = flags & _POINT_TO_POINT or (_NET / name / "tun_flags").exists()
    if tunnel or _TUNNEL.fullmatch(name):
        return "tunnel"
    return "containers" if _CONTAINERS.fullmatch(name) else "network"


def outward(found: Iterable[Interface]) -> str:
    """Return the interface by which machines outside are reached; empty if there is no way."""
    owners = {each.partition("/")[0]: one.name for one in found for each in one.addresses}
    for outside in OUTSIDE:
        if (source := source_towards(outside)) in owners:
            return owners[source]
    return ""


def source_towards(host: str) -> str:
    """Return the address from which this machine would send to a host; empty if there is none.

    It asks the routes of the system, and sends nothing.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as asker:
        asker.connect((host, MDNS_PORT))
        return str(asker.getsockname()[0]).partition("%")[0]
    return ""


def descriptors() -> Descriptors:
    """Return how many descriptors this process may open, and has open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = sys.maxsize if soft == resource.RLIM_INFINITY else soft
    folder = "/proc/self/fd" if os.path.exists("/proc/self/fd") else "/dev/fd"
    return Descriptors(limit=limit, open=len(os.listdir(folder)) - 1)


def descriptors_of(pid: int) -> Descriptors | None:
    """Return how many descriptors another process may open, and has open, if that is known."""
    with suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/limits").read_text().splitlines():
            if line.startswith("Max open files"):
                limit = int(line.split()[3])
                return Descriptors(limit=limit, open=len(os.listdir(f"/proc/{pid}/fd")))
    return None


def disks(files: Iterable[Path]) -> list[Disk]:
    """Return what is left on the disk of each file."""
    found = []
    for file in files:
        with suppress(OSError):
            left = os.statvfs(file if file.exists() else file.parent)
            free_files = left.f_favail if left.f_files else None
            free = left.f_bavail * left.f_frsize
            found.append(Disk(path=str(file), free_bytes=free, free_files=free_files))
    return found


# Sockets


@dataclass(slots=True, frozen=True)
class Socket:
    """One socket of this machine, whosever it is."""

    host: str
    port: int
    inode: str


def listeners() -> list[Socket]:
    """Return the TCP sockets that listen; none where the system is not Linux."""
    return [*_sockets("tcp", _LISTENING), *_sockets("tcp6", _LISTENING)]


def holders(port: int) -> tuple[str, ...]:
    """Return the programs that have a UDP port, each as `name (process 4711)`."""
    theirs = {s.inode for each in ("udp", "udp6") for s in _sockets(each) if s.port == port}
    pids = sorted(owners(theirs).values())
    return tuple(f"{_program(pid)} (process {pid})" for pid in dict.fromkeys(pids))


def owners(inodes: Iterable[str]) -> dict[str, int]:
    """Return the process that has each of these sockets, as far as this user may see that."""
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    found: dict[str, int] = {}
    if not wanted:
        return found
    for folder in Path("/proc").glob("[0-9]*/fd"):
        with suppress(OSError):
            for each in folder.iterdir():
                with suppress(OSError):
                    if (inode := wanted.get(os.readlink(each))) is not None:
                        found[inode] = int(folder.parent.name)
    return found


def programs() -> dict[int, list[int]]:
    """Return the processes that use ZeroMQ and discovery, each with the ports it listens at."""
    theirs = {
        s.inode for each in ("udp", "udp6") for s in _sockets(each) if s.port == MDNS_PORT
    }
    found: dict[int, list[int]] = {p: [] for p in owners(theirs).values() if _has_zeromq(p)}
    if found:
        ports = {each.inode: each.port for each in listeners()}
        for inode, pid in owners(ports).items():
            if pid in found:
                found[pid].append(ports[inode])
    return {pid: ports for pid, ports in found.items() if ports}


def _has_zeromq(pid: int) -> bool:
    """Whether libzmq's threads run in a process; they bear its name."""
    with suppress(OSError):
        for each in Path(f"/proc/{pid}/task").iterdir():
            if (each / "comm").read_text().startswith(_ZEROMQ):
                return True
    return False


def command_of(pid: int) -> str:
    """Return the command line of a process, cut to a sane length."""
    with suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return b" ".join(words).decode(errors="replace").strip()[:COMMAND_CHARS_MAX]
    return ""


def state_of(pid: int) -> str:
    """Return what a process is doing, in a word of the system; empty if that is not known."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("State:"):
                return line.partition("(")[2].rstrip(")")
    return ""


def _program(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return "a program"


def _sockets(protocol: str, state: str = "") -> Iterator[Socket]:
    with suppress(OSError):
        for line in Path(f"/proc/net/{protocol}").read_text().splitlines()[1:]:
            words = line.split()
            if state in ("", words[3]):
                host, _, port = words[1].partition(":")
                yield Socket(_host(host), int(port, 16), words[9])


def _host(digits: str) -> str:
    """Return an address that the system wrote as words in its own order of bytes."""
    words = [int(digits[at : at + 8], 16) for at in range(0, len(digits), 8)]
    packed = struct.pack(f"={len(words)}I", *words)
    if len(words) == 1:
        return str(IPv4Address(packed))
    address = IPv6Address(packed)
    return str(address.ipv4_mapped or address)
