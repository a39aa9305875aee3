"""Connections for topics in virtual time: XPUB where it binds, XSUB where it dials.

They behave as libzmq's do.

An XSUB takes every subscription. When it has dialed again, it sends all of them again by
itself, in the order of their bytes and before anything else.

An XPUB tells of a prefix when the first of its connections subscribes to it. It tells of the
end when the last such connection has ended its subscription or broke. It notices a break late,
and behind a cut not at all. It silently drops what nobody wants, and what it has no room for.

TCP loses and repeats nothing on a live connection, so a subscription is sure to arrive while
the connection lives. Other packets may get lost as in any weather, which stands for breaks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

from zmqkit.model import EVERY_PEER, Frames, PeerId
from zmqkit.simulation.network import Connection, Dialer, Listener
from zmqkit.wire import packet as wire
from zmqkit.wire.publication import SUBSCRIBE, TALK, UNSUBSCRIBE

NOTICE_S = 0.3
LOOK_S = 0.25

_HELLO = TALK + (wire.FIRST + wire.HELLO).to_bytes(4, "big")


def subscription(frames: Frames) -> tuple[bytes, bytes]:
    """Return what XPUB and XSUB read: SUBSCRIBE or UNSUBSCRIBE, and a prefix.

    For all other messages both parts are empty.
    """
    frame = bytes(frames[0]) if len(frames) == 1 else b""
    return (frame[:1], frame[1:]) if frame[:1] in (SUBSCRIBE, UNSUBSCRIBE) else (b"", b"")


@dataclass(eq=False)
class TopicDialer(Dialer):
    """An end that dials and subscribes."""

    subscribed: dict[bytes, None] = field(default_factory=dict)
    dials: int = 0  # how many connections it has had
    asked: int = 0  # the number of the connection on which it last said HELLO

    def send(self, frames: Frames) -> bool:
        """Hand over one message. A subscription is always taken."""
        verb, prefix = subscription(frames)
        if not verb:
            if frames[0][:5] == _HELLO:
                self.asked = self.dials + (self.connection is None)
            return super().send(frames)
        if verb == SUBSCRIBE:
            self.subscribed[prefix] = None
        else:
            self.subscribed.pop(prefix, None)
        if self.connection is not None:
            self.network.carry(self.connection, frames, back=False, sure=True)
        elif not self.dials:
            self.parked.append(frames)
        return True

    def opened(self, connection: Connection) -> None:
        """Send the parked messages.

        Subscribe again before that, unless it is the first connection.
        """
        self.dials += 1
        if self.dials > 1:
            for prefix in sorted(self.subscribed):
                anew = (SUBSCRIBE + prefix,)
                self.network.carry(connection, anew, back=False, sure=True)
        while self.parked:
            frames = self.parked.popleft()
            sure = bool(subscription(frames)[0])
            self.network.carry(connection, frames, back=False, sure=sure)


@dataclass(eq=False)
class TopicListener(Listener):
    """One bound address that publishes."""

    room: int = 0  # packets that each connection holds; 0 for as many as the weather allows
    # The prefixes of each connection that is not known to have ended.
    pipes: dict[PeerId, dict[bytes, None]] = field(default_factory=dict)
    refused: int = 0  # messages that found no room

    def accept(self, dialer: Dialer, peer: PeerId) -> Connection:
        """Add a connection that is subscribed to nothing yet, and return it."""
        connection = super().accept(dialer, peer)
        self.pipes[peer] = {}
        connection.back.room = self.room
        connection.back.once = connection.there.once = True
        return connection

    def ended(self, connection: Connection) -> None:
        """Note that a connection broke.

        The socket notices after a while, once nothing is cut.
        """
        super().ended(connection)

        def look() -> None:
            if self.network.is_cut(connection):
                timeline.after(LOOK_S, look)
            else:
                self.take(partial(self.end, connection.peer))

        timeline = self.network.timeline
        timeline.after(timeline.random.uniform(0.0, NOTICE_S), look)

    def send(self, peer: PeerId, frames: Frames) -> bool:
        """Send one message to each connection that has subscribed to a beginning of it."""
        if peer != EVERY_PEER:
            return False
        frame = bytes(frames[0])
        for each, prefixes in self.pipes.items():
            connection = self.connections.get(each)
            if connection is not None and frame.startswith(tuple(prefixes)):
                sent = self.network.carry(connection, frames, back=True)
                self.refused += not sent
        return True

    # What the socket does when it is read

    def read(self, connection: Connection, frames: Frames) -> list[tuple[PeerId, Frames]]:
        """Return what to read of a message that has arrived, which may be nothing."""
        connection.there.load -= 1
        admitted = self._admit(connection.peer, frames)
        return [(EVERY_PEER, frames)] if admitted else []

    def end(self, peer: PeerId) -> list[tuple[PeerId, Frames]]:
        """Forget a connection, and return what the socket tells of that."""
        prefixes = self.pipes.pop(peer, {})
        ended = [prefix for prefix in prefixes if not self._holds(prefix)]
        return [(EVERY_PEER, (UNSUBSCRIBE + prefix,)) for prefix in ended]

    def _admit(self, peer: PeerId, frames: Frames) -> bool:
        prefixes = self.pipes.get(peer)
        if prefixes is None:
            return False
        verb, prefix = subscription(frames)
        if verb == SUBSCRIBE:
            known = self._holds(prefix)
            prefixes[prefix] = None
            return not known
        if verb == UNSUBSCRIBE:
            prefixes.pop(prefix, None)
            return not self._holds(prefix)
        return True

    def _holds(self, prefix: bytes) -> bool:
        return any(prefix in prefixes for prefixes in self.pipes.values())
