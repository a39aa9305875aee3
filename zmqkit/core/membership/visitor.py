"""Who asked this process for others, and where each of them may be asked itself."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from zmqkit.core.membership.places import Whereabouts
from zmqkit.model import PeerId, Reach
from zmqkit.options import PING_S, PROCESSES_MAX, VISITOR_S


@dataclass(slots=True, eq=False)
class Visitor:
    """One connection over which a process asked. heard_at: when it last said anything."""

    told: Whereabouts
    heard_at: float


class Visitors:
    """Those who asked, by connection, so that nobody can speak for another.

    revision: changes whenever the answer to who is there does.
    """

    def __init__(self) -> None:
        self.revision = 0
        self._by_peer: dict[PeerId, Visitor] = {}  # the one silent for longest first

    def __len__(self) -> int:
        return len(self._by_peer)

    def __contains__(self, peer: object) -> bool:
        return peer in self._by_peer

    def admit(self, peer: PeerId, told: Whereabouts, now: float) -> bool:
        """Remember what a process tells of itself; false when there is no room for it."""
        before = self._by_peer.pop(peer, None)
        if before is None and len(self._by_peer) >= PROCESSES_MAX:
            return False
        self._by_peer[peer] = Visitor(told, now)
        was = before.told if before is not None and before.told.addresses else None
        self.revision += was != (told if told.addresses else None)
        return True

    def heard(self, peer: PeerId, now: float) -> None:
        """The process said something: it is still there."""
        visitor = self._by_peer.pop(peer, None)
        if visitor is not None:
            visitor.heard_at = now
            self._by_peer[peer] = visitor

    def others(self, reach: Reach) -> dict[int, Whereabouts]:
        """Each process that may be asked."""
        found: dict[int, Whereabouts] = {}
        for visitor in self._by_peer.values():
            told = visitor.told.seen_from(reach)
            if told.addresses:
                found[told.process] = told
        return found

    def tick(self, now: float) -> None:
        """Forget those who are silent, unless it was this process that slept."""
        slept = now - self.deadline() > PING_S
        for peer, visitor in list(self._by_peer.items()):
            if slept:
                visitor.heard_at = now
            elif now < visitor.heard_at + VISITOR_S:
                break
            else:
                del self._by_peer[peer]
                self.revision += bool(visitor.told.addresses)

    def deadline(self) -> float:
        """When `tick` is due next."""
        for visitor in self._by_peer.values():
            return visitor.heard_at + VISITOR_S
        return inf

    def check(self) -> None:
        """No more than there is room for, the one silent for longest first."""
        heard = [visitor.heard_at for visitor in self._by_peer.values()]
        assert len(heard) <= PROCESSES_MAX and heard == sorted(heard)
