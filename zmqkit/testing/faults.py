"""A network in virtual time that loses and delays packets where a test says so."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from zmqkit.errors import UsageError
from zmqkit.model import Frames
from zmqkit.simulation.diary import head_bytes, kind_of
from zmqkit.simulation.network import Connection, Network, Weather
from zmqkit.simulation.subscriptions import TopicListener
from zmqkit.simulation.timeline import Timeline
from zmqkit.wire import packet as wire

_ELSEWHERE = {
    wire.STATISTICS, wire.FIGURES, wire.TAP, wire.TAPPED, wire.NOTIFY, wire.ACCEPT, wire.READY
}  # fmt: skip
"""Kinds of packets that no role of a World sends."""
_KINDS = {
    name.lower(): kind for kind, name in wire.KIND_NAMES.items() if kind not in _ELSEWHERE
}
_ANY = 0
"""Stands for packets of every kind."""


@dataclass(slots=True)
class Faults:
    """What befalls the packets to and from one host."""

    delay_s: float = 0.0  # each takes so much longer
    _lost: Counter[int] = field(default_factory=Counter)  # how many more are lost, by kind

    def lose(self, count: int, name: str | None) -> None:
        """Have the next so many packets lost, of the kind of that name or of any kind.

        Raises UsageError for a kind that no packet of a World has.
        """
        kind = _ANY if name is None else _KINDS.get(name)
        if kind is None:
            raise UsageError(f"kind is {name!r}; use one of {', '.join(_KINDS)}")
        self._lost[kind] += count

    def befalls(self, kind: int) -> bool:
        """Return whether a packet of that kind is lost, and count it then."""
        for each in (kind, _ANY):
            if self._lost[each] > 0:
                self._lost[each] -= 1
                return True
        return False


class FaultyNetwork(Network):
    """A network in good weather, but for the faults of its hosts."""

    def __init__(self, timeline: Timeline) -> None:
        super().__init__(timeline, Weather())
        self.faults: dict[str, Faults] = {}  # by the name of the host

    def carry(
        self, connection: Connection, frames: Frames, *, back: bool, sure: bool = False
    ) -> bool:
        """Send one message along a connection, unless a fault says that it is lost."""
        for host in (connection.listener.host, connection.dialer.host):
            faults = self.faults.get(host.name)
            if faults is None:
                continue
            if not sure and faults.befalls(_kind_along(connection, frames)):
                return True
            lane = connection.back if back else connection.there
            lane.clear_at = max(lane.clear_at, self.timeline.now + faults.delay_s)
        return super().carry(connection, frames, back=back, sure=sure)


def _kind_along(connection: Connection, frames: Frames) -> int:
    """Return the kind of a packet, which on a connection for topics has more in front."""
    if not isinstance(connection.listener, TopicListener):
        return kind_of(frames[0])
    frame = bytes(frames[0])
    return kind_of(frame[head_bytes(frame) :])
