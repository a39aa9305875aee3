"""A broker among foreign peers, whose messages tests write frame by frame."""

from __future__ import annotations

from tests.core.majordomo.town import Node, Town
from zmqkit.core.majordomo.broker import BrokerCore

ANN, BOB, WIL, WES = (b"\x00" + name.encode() for name in ("ann__", "bob__", "wil__", "wes__"))
REQUEST_1, REQUEST_2 = (b"", b"MDPC01", b"echo"), (b"MDPC02", b"\x01", b"echo")
BEATS = ((b"", b"MDPW01", b"\x04"), (b"MDPW02", b"\x05"))
READY_1, READY_2 = (b"", b"MDPW01", b"\x01", b"echo"), (b"MDPW02", b"\x01", b"echo")


class Square:
    """A broker, and what it says to foreign peers."""

    def __init__(self, town: Town, broker: Node) -> None:
        self.town = town
        self.broker = broker
        assert isinstance(broker.core, BrokerCore)
        self.core = broker.core
        town.strangers = {peer: [] for peer in (ANN, BOB, WIL, WES)}

    def send(self, peer: bytes, *frames: bytes) -> None:
        self.town.perform(self.broker, self.core.receive(peer, frames, self.town.now))
        self.town.settle()

    def to(self, peer: bytes) -> list[tuple[bytes, ...]]:
        """Return what was said to a peer, heartbeats left out."""
        told, self.town.strangers[peer] = self.town.strangers[peer], []
        return [frames for frames in told if frames not in BEATS]
