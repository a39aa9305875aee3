"""Packets of mDNS as no library would write them, onto loopback."""

from __future__ import annotations

import socket
import struct

from zmqkit.discovery.sieve import TYPE
from zmqkit.model import LOOPBACK

PTR, SRV, IN, ANSWER = 12, 33, 1, 0x8400
TTL_S = 1200
POINTER_TO_TYPE = b"\xc0\x0c"
"""The type's name is the first in each of these packets, right behind the header."""


def dns_name(name: str) -> bytes:
    """A name as it travels."""
    labels = [label.encode() for label in name.strip(".").split(".")]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def label(text: bytes) -> bytes:
    """One label, whatever its bytes are."""
    return bytes([len(text)]) + text


def pointer(target: bytes, ttl_s: int = TTL_S) -> bytes:
    """An answer that says: there is an instance of this name."""
    return dns_name(TYPE) + struct.pack("!HHIH", PTR, IN, ttl_s, len(target)) + target


def server(name: bytes, target: bytes, ttl_s: int = TTL_S) -> bytes:
    """An answer that says: the instance runs on this host."""
    place = struct.pack("!HHH", 0, 0, 5000) + target
    return name + struct.pack("!HHIH", SRV, IN, ttl_s, len(place)) + place


def multicast(*answers: bytes) -> None:
    """Send a packet with these answers to everybody on this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(LOOPBACK))
        header = struct.pack("!HHHHHH", 0, ANSWER, 0, len(answers), 0, 0)
        sender.sendto(header + b"".join(answers), ("224.0.0.251", 5353))
