"""Links carry frames from one peer to another: the seam between patterns and transports."""

from __future__ import annotations

from typing import Protocol

from zmqkit.model import Frames, PeerId, Reach


class Link(Protocol):
    """A link carries frames between peers.

    One thread uses it at a time, and no method ever waits.

    A link that binds an address gives the peers that connect to it ids of its own. Such an id
    begins with the number of the bind. A connection that the link opens has the id that the
    caller of `connect` chose.

    On a link for topics, the side that binds sends to EVERY_PEER and receives from EVERY_PEER.
    A message reaches the peers that subscribed to its beginning. A peer subscribes with a frame
    of 01 and that beginning; a frame of 00 and the same beginning takes it back. The side that
    binds receives both frames as messages. When a connection ends, it also receives the end of
    that connection's subscriptions as messages.
    """

    # At least one of these is readable when `receive` or `changes` may return something. When
    # they change, this becomes another tuple.
    descriptors: tuple[int, ...]

    def bind(self, endpoint: str, ports: tuple[int, int]) -> str:
        """Listen at the endpoint and return the address.

        ports: the first and the last port to try, where the endpoint leaves its port open.
        Raises AddressTaken if the address is in use, and ConfigError if it cannot be had at
        all.
        """

    def connect(self, peer: PeerId, endpoint: str) -> None:
        """Open a connection known as `peer`. Close the connection that had this name before."""

    def disconnect(self, peer: PeerId, linger_s: float = 0.0) -> None:
        """Close the connection. What it still holds after `linger_s` is dropped."""

    def send(self, peer: PeerId, frames: Frames) -> bool:
        """Hand over one message. Return false if there is no route to the peer or no room."""

    def receive(self, packets_max: int, bytes_max: int) -> list[tuple[PeerId, Frames]]:
        """Return the messages that have arrived, within the budget."""

    def reach(self, peer: PeerId) -> Reach:
        """Return how far the connection of a peer reaches.

        The answer follows from the address that the connection was opened to, or from the bound
        address that the peer connected to.
        """

    def changes(self) -> list[tuple[PeerId, bool]]:
        """Return the connections that were made (true) or broke (false) since the last call."""

    def pending(self) -> bool:
        """Return whether more has arrived that the descriptors may not show.

        Ask before you wait.
        """

    def fileno(self) -> int:
        """Return a descriptor that stands for all descriptors.

        It stays the same until `close`.
        """

    def close(self, linger_s: float) -> None:
        """Close everything.

        Messages handed over before may still leave for `linger_s` seconds.
        """
