"""One client of an RFC, with its open requests and what it says to the front of a relay."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

from zmqkit.core.majordomo.feed import Feed
from zmqkit.model import Frames, PeerId
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Buffer, encode
from zmqkit.wire.mdp import Version


@dataclass(slots=True)
class OpenRequest:
    """A request that is not answered."""

    # Of one that is to be kept: its id, which the answer says once it is on disk.
    kept: str = ""
    # How many items came.
    have: int = 0
    # The last of them, if it has not left yet.
    last: Frames | None = None


@dataclass(slots=True, eq=False)
class RfcClient:
    """A client of an RFC, as the front of one service knows it."""

    peer: PeerId
    version: Version
    service: str
    incarnation: int
    inner: PeerId
    # The front's incarnation.
    target: int
    # The number of the next request, and those that are not answered, lowest first.
    next: int = 1
    open: dict[int, OpenRequest] = field(default_factory=dict)
    # How many answers came of which the front was not told that they were read; their bytes.
    untold: int = 0
    untold_bytes: int = 0
    # The last PING, and the number of the next request at that time; the last PONG.
    token: int = 0
    pinged: int = 1
    ponged: int = 0
    # Since when it has no open requests.
    idle_at: float = -inf

    def say(self, kind: int, meta: bytes, rows: bytes = b"", raw: Buffer | None = None) -> Feed:
        """Return a packet to the front, which also says what is settled."""
        settled = next(iter(self.open), self.next)
        frames = wire.pack(kind, self.incarnation, self.target, settled, meta, rows, raw)
        return Feed(self.service, self.inner, frames, is_for_front=True)

    def ping(self) -> Feed:
        """Return a PING, which says which requests are open."""
        self.token += 1
        self.pinged = self.next
        return self.say(wire.PING, encode([self.token, self.next, list(self.open)]))
