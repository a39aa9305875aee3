"""A network in virtual time that loses and delays packets where a test says so."""

from __future__ import annotations

from dataclasses import dataclass

from zmqkit.model import Frames
from zmqkit.simulation.network import Connection, Network, Weather
from zmqkit.simulation.timeline import Timeline


@dataclass(slots=True)
class Faults:
    """What befalls the packets to and from one host."""

    lost: int = 0  # so many more are lost
    delay_s: float = 0.0  # each takes so much longer


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
            if faults.lost and not sure:
                faults.lost -= 1
                return True
            lane = connection.back if back else connection.there
            lane.clear_at = max(lane.clear_at, self.timeline.now + faults.delay_s)
        return super().carry(connection, frames, back=back, sure=sure)
