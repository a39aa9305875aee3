"""What the tests of membership have in common: another process, and how it is reached."""

from __future__ import annotations

from tests import packets
from zmqkit.core.effects import News, Tell
from zmqkit.core.membership.interests import key_of
from zmqkit.core.membership.membership import MembershipCore
from zmqkit.model import Reach, Record

US, THEM, OTHERS = 1, 9, 8
ORDERS = key_of("service", "orders")
RECORD = Record("orders", "service", 0xA, THEM, ("127.0.0.1",), 5000, 6000)
ROW = ("orders", "service", 0xA, 6000)
NEXT_ROW = ("orders", "service", 0xB, 6001)
PEER = b"n" + THEM.to_bytes(8, "big")
HERE = "tcp://127.0.0.1:5000"
FOUND = Tell(News.FOUND, ORDERS, 0xA, "tcp://127.0.0.1:6000")


def alive(core: MembershipCore, *rows: tuple[str, str, int, int], now: float = 0.0) -> None:
    """Want, hear and reach the other process, which has these roles."""
    core.want(ORDERS, now, Reach.LOCAL)
    core.heard(RECORD, "mdns", now)
    core.receive(PEER, packets.directory(THEM, *(rows or (ROW,))), now)
    core.check()
