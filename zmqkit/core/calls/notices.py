"""What a service tells its clients of itself: what it grants, that it leaves, what it took."""

from __future__ import annotations

from zmqkit.core.calls.admission import Methods, Share
from zmqkit.core.calls.request import RequestWindow, RequestWindows
from zmqkit.core.calls.work import Work
from zmqkit.core.effects import Effect, Send
from zmqkit.limits import ServiceLimits
from zmqkit.model import PeerId
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Malformed, encode
from zmqkit.wire.packet import Packet


class Notices:
    """Makes the packets of a service that carry no answers."""

    def __init__(
        self,
        incarnation: int,
        windows: RequestWindows,
        work: Work,
        offered: Methods,
        limits: ServiceLimits,
        share: Share | None,
    ) -> None:
        # What each WELCOME also says.
        self.about: dict[str, object] = {}
        self._incarnation = incarnation
        self._windows = windows
        self._work = work
        self._offered = offered
        self._limits = limits
        self._share = share

    def packet(self, window: RequestWindow, kind: int, meta: bytes) -> Send:
        """Return a packet of this kind to a client."""
        frames = wire.pack(kind, self._incarnation, window.client, 0, meta, far=window.far)
        return Send(window.peer, frames)

    def welcome(self, client: int, peer: PeerId) -> Send:
        """Return the WELCOME to a client."""
        names = self._offered.idempotent()
        fields = {
            "credit": self.credit(client), "idempotent": names, "origins": True, **self.about
        }  # fmt: skip
        return Send(peer, wire.pack(wire.WELCOME, self._incarnation, client, 0, encode(fields)))

    def credit(self, client: int) -> int:
        """Return how many requests a client may have here."""
        return self._limits.credit if self._share is None else self._share.of(client)

    def credits(self) -> list[Effect]:
        """Return a CREDIT to each client that is to be told."""
        assert self._share is not None
        windows = self._windows.by_client
        return [
            self.packet(windows[client], wire.CREDIT, encode(credit))
            for client, credit in self._share.told()
        ]

    def pong(self, window: RequestWindow, token: object, progress: object) -> Send:
        """Return the PONG to a client, which names what the service holds of it.

        progress: of streams; nothing if there are none.
        """
        run, wait = list(window.waiting), list[int]()
        for sequence, request in window.held.items():
            (run if self._work.has_begun(request) else wait).append(sequence)
        told: list[object] = [token, self.credit(window.client), [*run, *wait], len(run)]
        if progress:
            told.append(progress)
        return self.packet(window, wire.PONG, encode(told))

    def hear(self, packet: Packet) -> list[Effect]:
        """Take the BYE of a client; nobody answers it. Raises Malformed for all else."""
        if packet.kind != wire.BYE:
            raise Malformed("unexpected")
        self._windows.leave(packet.source)
        return []

    def bye(self, window: RequestWindow) -> Send:
        """Return a BYE that says that the service takes no more."""
        return self.packet(window, wire.BYE, encode(None))

    def byes(self) -> list[Effect]:
        """Return a BYE to each client, also to those that were forgotten."""
        away = [self.tell_away(client, None) for client in self._windows.away]
        return [*map(self.bye, self._windows), *away]

    def farewells(self) -> list[Effect]:
        """Return the last packet to each client, also to those that were forgotten."""
        effects: list[Effect] = [*map(self.farewell, self._windows)]
        for client in self._windows.away:
            below = self._windows.forgotten_below(client)
            effects.append(self.tell_away(client, [below, []]))
        return effects

    def farewell(self, window: RequestWindow) -> Send:
        """Return a BYE that says which ids were taken: all below a number, and a list."""
        below, has_begun = window.forgotten_below, self._work.has_begun
        taken = [number for number in window.answers if not window.is_settled(number)]
        taken += [number for number, request in window.held.items() if has_begun(request)]
        if len(taken) > self._limits.open_ids_max:
            below, taken = max(below, *taken) + 1, []
        return self.packet(window, wire.BYE, encode([below, taken]))

    def tell_away(self, client: int, meta: object) -> Send:
        """Return a BYE to a client that was forgotten and may still be there."""
        frames = wire.pack(wire.BYE, self._incarnation, client, 0, encode(meta))
        return Send(self._windows.away[client], frames)
