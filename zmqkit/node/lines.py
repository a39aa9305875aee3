"""A tool's own connections to the control addresses of processes, beside membership's."""

from __future__ import annotations

import selectors
from collections.abc import Container
from types import TracebackType
from typing import Self

import zmq

from zmqkit.errors import ConfigError
from zmqkit.limits import DRAIN_BYTES, DRAIN_PACKETS
from zmqkit.links.profile import Profile
from zmqkit.links.zeromq import ZeromqLink
from zmqkit.model import Frames, PeerId

_RETRY_S = 0.005


class Lines:
    """Connections to processes, which are made and broken by hand. One thread may use them."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], connections_max: int) -> None:
        """connections_max: how many there may be at a time."""
        self.connections_max = connections_max
        self._link = ZeromqLink(context, Profile.CONTROL)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._link.fileno(), selectors.EVENT_READ)
        # Where each process is connected or to be connected; and those that are connected.
        self.endpoints: dict[PeerId, str] = {}
        self.connected: set[PeerId] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._selector.close()
        self._link.close(0)

    @property
    def is_full(self) -> bool:
        """Whether there are as many connections as there may be."""
        return len(self.endpoints) >= self.connections_max

    def connect(self, peer: PeerId, endpoint: str) -> bool:
        """Begin to connect to a process; return false if no descriptors are left."""
        try:
            self._link.connect(peer, endpoint)
        except ConfigError:
            return False
        self.endpoints[peer] = endpoint
        return True

    def disconnect(self, peer: PeerId) -> None:
        """Break the connection to a process."""
        del self.endpoints[peer]
        self.connected.discard(peer)
        self._link.disconnect(peer, 0)

    def send(self, peer: PeerId, frames: Frames) -> bool:
        """Send a packet; return false if the connection takes none now."""
        return peer in self.connected and self._link.send(peer, frames)

    def wait(self, timeout_s: float, asked: Container[PeerId]) -> None:
        """Wait until something arrives, or a connection is made or breaks.

        asked: those that need not be sent anything. A connection that was just made may take
        nothing for a moment, so the wait is short while others are connected.
        """
        if self._note_changes() or self._link.pending():
            return
        over = all(peer in asked for peer in self.connected)
        self._selector.select(timeout_s if over else min(timeout_s, _RETRY_S))

    def receive(self) -> list[tuple[PeerId, Frames]]:
        """Return the packets that have arrived."""
        received = self._link.receive(DRAIN_PACKETS, DRAIN_BYTES)
        self._note_changes()
        return received

    def _note_changes(self) -> bool:
        """Note which connections were made, perhaps as soon as they were opened, or broke.

        Returns whether there are any.
        """
        changes = self._link.changes()
        for peer, up in changes:
            if up and peer in self.endpoints:
                self.connected.add(peer)
            else:
                self.connected.discard(peer)
        return bool(changes)
