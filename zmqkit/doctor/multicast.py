"""Packets to the multicast group of discovery that say a number only, and who hears them.

Each is a question of multicast DNS for a name that nobody has, so responders pass over it. It
is sent from the port of multicast DNS, for a firewall may let pass nothing else.
"""

from __future__ import annotations

import asyncio
import errno
import re
import socket
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress

from zmqkit.discovery.engine import IP_MULTICAST_ALL
from zmqkit.doctor.facts import HEARD, UNHEARD, Interface
from zmqkit.doctor.machine import MDNS_PORT

GROUP, GROUP_6 = "224.0.0.251", "ff02::fb"
NUMBER = re.compile(r"[0-9a-f]{16}")
ECHO_S = 0.7
ECHOES = 3
"""How often an interface may try to hear itself, and how long each time."""

_HEAD = struct.pack(">6H", 0, 0, 1, 0, 0, 0)
_MARK = b"\x0dzmqkit-doctor\x05local\x00\x00\x10\x00\x01"
_PACKET = re.compile(re.escape(_HEAD) + rb"\x10([0-9a-f]{16})" + re.escape(_MARK))

OnNumber = Callable[[str, str], None]
"""A callback that takes a number that was heard, and the address of its sender."""


def packet(number: str) -> bytes:
    """Return the packet that says a number, of 16 hexadecimal digits."""
    return _HEAD + b"\x10" + number.encode() + _MARK


def number_in(data: bytes) -> str:
    """Return the number in a packet; empty for any other packet."""
    found = _PACKET.fullmatch(data)
    return found[1].decode() if found else ""


class Ear(asyncio.DatagramProtocol):
    """Hears the numbers that come in at one interface, and says numbers there."""

    def __init__(self, interface: Interface, on_number: OnNumber) -> None:
        """Open nothing yet."""
        self.interface = interface
        self._on_number = on_number
        self._transport: asyncio.DatagramTransport | None = None
        self._opened: socket.socket | None = None
        has_ipv4 = any("." in each for each in interface.addresses)
        self._target = (GROUP, MDNS_PORT) if has_ipv4 else (GROUP_6, MDNS_PORT)

    async def open(self) -> None:
        """Hear from now on. Raises OSError where that is impossible."""
        opened = self._socket()
        try:
            loop = asyncio.get_running_loop()
            made, _ = await loop.create_datagram_endpoint(lambda: self, sock=opened)
        except BaseException:
            opened.close()
            raise
        self._transport, self._opened = made, opened

    def say(self, number: str) -> str:
        """Say a number once. Returns why the system refuses that, empty if it does not."""
        assert self._opened is not None
        try:
            # Not by the transport, which tells of errors later, and of some never.
            self._opened.sendto(packet(number), self._target)
        except BlockingIOError:
            return ""
        except OSError as error:
            return _why(error)
        return ""

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Pass on the number in a packet, if it has one."""
        if number := number_in(data):
            self._on_number(number, addr[0])

    def error_received(self, exc: Exception) -> None:
        """Pass over what becomes of single packets."""

    def close(self) -> None:
        """Hear no more."""
        if self._transport is not None:
            self._transport.close()

    def _socket(self) -> socket.socket:
        is_ipv4 = self._target[0] == GROUP
        made = socket.socket(socket.AF_INET if is_ipv4 else socket.AF_INET6, socket.SOCK_DGRAM)
        try:
            made.setblocking(False)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if hasattr(socket, "SO_REUSEPORT"):
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if is_ipv4:
                self._join(made)
            else:
                self._join_6(made)
        except BaseException:
            made.close()
            raise
        return made

    def _join(self, made: socket.socket) -> None:
        ours = next(each for each in self.interface.addresses if "." in each).partition("/")[0]
        place = socket.inet_aton(ours)
        made.bind(("", MDNS_PORT))
        group = socket.inet_aton(GROUP)
        made.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group + place)
        made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, place)
        made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
        with suppress(OSError):  # Linux alone has it, and needs it
            made.setsockopt(socket.IPPROTO_IP, IP_MULTICAST_ALL, 0)

    def _join_6(self, made: socket.socket) -> None:
        index = struct.pack("@I", self.interface.index)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(("::", MDNS_PORT))
        group = socket.inet_pton(socket.AF_INET6, GROUP_6)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group + index)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)


def usable(found: Iterable[Interface]) -> list[Interface]:
    """Return the interfaces by which discovery can send."""
    return [each for each in found if each.is_up and each.is_multicast | _is_lo(each)
            and each.addresses]  # fmt: skip


def _is_lo(interface: Interface) -> bool:
    """Whether it is the loopback interface, which passes multicast without saying so."""
    return interface.kind == "loopback"


async def echo(interface: Interface, number: str) -> str:
    """Return whether an interface hears what it sends: HEARD, UNHEARD, or an error."""
    heard = asyncio.Event()
    ear = Ear(interface, lambda said, _: heard.set() if said == number else None)
    try:
        await ear.open()
    except OSError as error:
        return _why(error)
    try:
        refused = ""
        for _ in range(ECHOES):
            refused = ear.say(number)
            with suppress(TimeoutError):
                async with asyncio.timeout(ECHO_S):
                    await heard.wait()
                return HEARD
        return refused or UNHEARD
    finally:
        ear.close()


def port_error() -> str:
    """Return why the port of multicast DNS cannot be shared; empty if it can."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "SO_REUSEPORT"):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            probe.bind(("", MDNS_PORT))
        except OSError as error:
            return _why(error)
    return ""


def _why(error: OSError) -> str:
    name = errno.errorcode.get(error.errno or 0, "")
    return f"{(error.strerror or str(error)).lower()} ({name})" if name else str(error)
