"""A broker's foreign peers: the clients and workers that speak RFC 7 or RFC 18."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from zmqkit.core.effects import Send
from zmqkit.core.majordomo.feed import INNER, Deed, Notes
from zmqkit.core.majordomo.rfc_clients import RfcClients
from zmqkit.core.majordomo.rfc_workers import RfcWorkers
from zmqkit.core.majordomo.titanic import Titanic
from zmqkit.majordomo_limits import MdpLimits
from zmqkit.model import Frames, PeerId
from zmqkit.wire import mdp
from zmqkit.wire.encoding import Buffer, Malformed


class Foreign:
    """Translates between foreign peers and relays, in both directions."""

    def __init__(
        self,
        incarnation: int,
        limits: MdpLimits,
        target_of: Callable[[str, float], int],
        mmi: Callable[[str, tuple[Buffer, ...]], list[bytes]],
        titanic: Titanic,
        leases: Mapping[str, float],
        is_served: Callable[[str], bool],
    ) -> None:
        """Begin without peers; `RfcClients` and `RfcWorkers` tell of the other arguments.

        is_served: returns whether a service has a worker.
        """
        self.clients = RfcClients(incarnation, limits, target_of, mmi, titanic)
        self.workers = RfcWorkers(incarnation, limits, leases)
        self.malformed: Counter[str] = Counter()
        self._is_served = is_served
        self._notes = Notes()
        # Whether any such peer ever came.
        self.is_used = False

    def receive(self, peer: PeerId, frames: Frames, now: float) -> list[Deed]:
        """Take a message that is no packet of ours. Never raises for what it is."""
        try:
            command = mdp.read_at_broker(frames)
        except Malformed as error:
            self.malformed[str(error)] += 1
            return self.workers.distrust(peer, now)
        self.is_used = True
        if isinstance(command, mdp.ClientRequest):
            deeds = self.clients.receive(peer, command, now)
            return self._not_served(command.service, now) + deeds
        return self.workers.receive(peer, command, now)

    def _not_served(self, service: str, now: float) -> list[Deed]:
        """Return a line if a client asked for what nobody serves, as it is told of no error."""
        if service.startswith((mdp.MMI, mdp.TITANIC)) or self._is_served(service):
            return []
        text = "the request waits for a worker, and is dropped in time without a reply"
        return self._notes.note("mdp-nobody-serves", service, now, text=text)

    def take(self, peer: PeerId, frames: Frames, now: float) -> list[Deed]:
        """Take what a relay sends to one of these peers; `peer` begins with INNER."""
        assert peer.startswith(INNER)
        side = self.clients if peer in self.clients else self.workers
        return side.take(peer, frames, now)

    def unsent(self, peer: PeerId, now: float) -> list[Deed]:
        """Learn that a message did not leave: the peer is gone, or does not read."""
        return [*self.clients.unsent(peer, now), *self.workers.unsent(peer, now)]

    def tick(self, now: float) -> list[Deed]:
        """Do what is due for these peers."""
        deeds = self.clients.tick(now) if now >= self.clients.deadline() else []
        return deeds + (self.workers.tick(now) if now >= self.workers.deadline() else [])

    def deadline(self) -> float:
        """Return when `tick` is due next."""
        return min(self.clients.deadline(), self.workers.deadline())

    def close(self) -> list[Send]:
        """Say DISCONNECT to all workers."""
        return self.workers.close()

    def stats(self) -> dict[str, object]:
        """Return the counters of both sides."""
        return {
            "clients": self.clients.stats(),
            "workers": self.workers.stats(),
            "malformed": dict(self.malformed),
        }

    def check(self) -> None:
        """Assert that both sides are consistent."""
        self.clients.check()
        self.workers.check()
