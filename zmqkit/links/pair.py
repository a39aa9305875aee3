"""Two links as one, for a device that speaks to two kinds of peers by sockets of two kinds."""

from __future__ import annotations

import selectors

from zmqkit.links import Link
from zmqkit.model import Frames, PeerId, Reach


class Pair:
    """A `Link` of two. The names of the second one's peers begin with a mark of their own."""

    def __init__(self, first: Link, second: Link, mark: bytes) -> None:
        """mark: one byte, with which no name of the first link's peers begins."""
        self._first, self._second = first, second
        self._mark = mark
        self._selector = selectors.DefaultSelector()
        for link in (first, second):
            self._selector.register(link.fileno(), selectors.EVENT_READ)
        self.descriptors: tuple[int, ...] = (self.fileno(),)

    def bind(self, endpoint: str, ports: tuple[int, int]) -> str:
        """Listen on the first link; the second one was bound before."""
        return self._first.bind(endpoint, ports)

    def connect(self, peer: PeerId, endpoint: str) -> None:
        """Open a connection on the link that the name of the peer tells."""
        link, name = self._of(peer)
        link.connect(name, endpoint)

    def disconnect(self, peer: PeerId, linger_s: float = 0.0) -> None:
        """Close a connection."""
        link, name = self._of(peer)
        link.disconnect(name, linger_s)

    def send(self, peer: PeerId, frames: Frames) -> bool:
        """Hand over one message; return false if there is no route or no room."""
        link, name = self._of(peer)
        return link.send(name, frames)

    def receive(self, packets_max: int, bytes_max: int) -> list[tuple[PeerId, Frames]]:
        """Return what has arrived on both links, half of the budget each."""
        packets_max, bytes_max = max(1, packets_max // 2), max(1, bytes_max // 2)
        arrived = self._first.receive(packets_max, bytes_max)
        for peer, frames in self._second.receive(packets_max, bytes_max):
            arrived.append((self._mark + peer, frames))
        return arrived

    def reach(self, peer: PeerId) -> Reach:
        """Return how far the connection of a peer reaches."""
        link, name = self._of(peer)
        return link.reach(name)

    def changes(self) -> list[tuple[PeerId, bool]]:
        """Return the connections that were made or broke."""
        marked = [(self._mark + peer, up) for peer, up in self._second.changes()]
        return self._first.changes() + marked

    def pending(self) -> bool:
        """Return whether more has arrived that the descriptors may not show."""
        return self._first.pending() or self._second.pending()

    def fileno(self) -> int:
        """Return the descriptor of a selector over both links."""
        descriptor = self._selector.fileno()
        assert isinstance(descriptor, int)
        return descriptor

    def close(self, linger_s: float) -> None:
        """Close both links."""
        self._selector.close()
        self._first.close(linger_s)
        self._second.close(linger_s)

    def _of(self, peer: PeerId) -> tuple[Link, PeerId]:
        if peer[:1] == self._mark:
            return self._second, peer[1:]
        return self._first, peer
