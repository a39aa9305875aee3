"""How frames get from one peer to another: the seam between patterns and transports."""

from __future__ import annotations

from typing import Protocol

from zmqkit.model import Frames, PeerId, Reach


class Link(Protocol):
    """Frames between peers. One thread at a time; nothing here ever waits.

    A bound address gives its peers ids of its own that begin with the number of the bind; a
    connection is known by the id that its owner chose. Of a link for topics, what binds sends
    to EVERY_PEER and receives from it: messages reach those who subscribed to their beginning,
    with a frame of 01 and that beginning, which 00 and the same takes back; both arrive as
    messages, and so does the end of a connection, as the end of what it subscribed to.

    descriptors: of which one becomes readable when `receive` or `changes` may have something;
    another tuple when they change.
    """

    descriptors: tuple[int, ...]

    def bind(self, endpoint: str, ports: tuple[int, int]) -> str:
        """Listen, on a port of the range where the endpoint leaves it open; gives the address.

        Raises AddressTaken, or ConfigError when the address cannot be had at all.
        """

    def connect(self, peer: PeerId, endpoint: str) -> None:
        """Open a connection known as `peer`, in place of one of that name."""

    def disconnect(self, peer: PeerId, linger_s: float = 0.0) -> None:
        """Close the connection; what it still holds after `linger_s` is dropped."""

    def send(self, peer: PeerId, frames: Frames) -> bool:
        """Hand over one message; false when there is no route or no room."""

    def receive(self, packets_max: int, bytes_max: int) -> list[tuple[PeerId, Frames]]:
        """What has arrived, within the budget."""

    def reach(self, peer: PeerId) -> Reach:
        """How far a peer's connection reaches, as the address tells that it was opened to, or
        the bound one that it came to."""

    def changes(self) -> list[tuple[PeerId, bool]]:
        """Connections that were made (true) or broke (false) since the last look."""

    def pending(self) -> bool:
        """Whether more has arrived of which the descriptor may not tell: ask before waiting."""

    def fileno(self) -> int:
        """A descriptor that stands for all of these and stays the same until `close`."""

    def close(self, linger_s: float) -> None:
        """Close everything; what was handed over may still leave for `linger_s` seconds."""
