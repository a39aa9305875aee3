"""The simulated link for the suites of links: time passes with every step."""

from __future__ import annotations

import os

from zmqkit.limits import CREDIT
from zmqkit.links.profile import Profile
from zmqkit.model import Frames, PeerId
from zmqkit.simulation.link import SimulatedLink
from zmqkit.simulation.network import Host, Network, Weather
from zmqkit.simulation.timeline import Timeline

STEP_S = 1.0


def network() -> Network:
    """A network in good weather, where as much may wait as on the other links."""
    return Network(Timeline(1), Weather(room=2 * CREDIT, lingers=1.0))


class SteppingLink(SimulatedLink):
    """What was done has had its effect before the next look, and `pending` tells of it.

    Its descriptor never tells of anything: virtual time waits for nobody.
    """

    def __init__(self, network: Network, profile: Profile = Profile.DATA) -> None:
        self._timeline = network.timeline
        self._read_end, self._write_end = os.pipe()
        host = Host("here", "127.0.0.1")
        super().__init__(network, host, profile, lambda: None, lambda text: None)

    def connect(self, peer: PeerId, endpoint: str) -> None:
        super().connect(peer, endpoint)
        self._step()

    def disconnect(self, peer: PeerId, linger_s: float = 0.0) -> None:
        super().disconnect(peer, linger_s)
        self._step()

    def send(self, peer: PeerId, frames: Frames) -> bool:
        sent = super().send(peer, frames)
        self._step()
        return sent

    def fileno(self) -> int:
        return self._read_end

    def close(self, linger_s: float) -> None:
        super().close(linger_s)
        self._step()
        os.close(self._read_end)
        os.close(self._write_end)

    def _step(self) -> None:
        self._timeline.run_until(self._timeline.now + STEP_S)
