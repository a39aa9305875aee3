"""A worker that dials a streamer, instead of being found.

It connects, and says READY on that connection. The streamer answers, greets it, and then uses
it as any worker. The worker says READY each READY_S as long as it lives. If READY_COUNT of
these words stay without any answer, it dials anew: the streamer may be gone, or may have
restarted elsewhere, or the network may have dropped the connection without a word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf

from zmqkit.core.calls.admission import Share
from zmqkit.core.calls.request import RequestWindows
from zmqkit.core.calls.service import ServiceCore
from zmqkit.core.effects import Connect, Disconnect, Effect, News, Note, Send, Tell
from zmqkit.limits import READY_COUNT, READY_S
from zmqkit.model import Frames, PeerId, Reach, reach_of_endpoint
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Malformed, encode

STREAMER_PEER: PeerId = b"streamer"


class DiallingCore(ServiceCore):
    """The core of a worker that dials: a service of leases that keeps one connection."""

    def __init__(
        self,
        incarnation: int,
        methods: Mapping[str, bool],
        concurrency: int,
        *,
        name: str,
        shares: Callable[[int, RequestWindows], Share],
    ) -> None:
        """Begin without a connection; `hear` learns where the streamer is.

        name: that of the tasks, or nothing for that of the streamer, whatever it is.
        """
        super().__init__(incarnation, methods, concurrency, shares=shares)
        self.name = name
        self._endpoint = ""
        # When the next READY is due, and how many of them nothing answered.
        self._ready_at = inf
        self._unanswered = 0
        # What was said of the streamer last, for it is said once.
        self._said = ""

    def hear(self, tell: Tell, now: float) -> list[Effect]:
        """Learn where the streamer is, and dial it."""
        if tell.news is not News.FOUND or self._ready_at < inf:
            return []
        self._endpoint = tell.endpoint
        return self._dial(now)

    def receive(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Take one packet from the streamer. Never raises for what it sent."""
        self._unanswered = 0
        try:
            packet = wire.unpack(frames)
            if packet.kind == wire.READY and packet.target == self.incarnation:
                return self._answered(wire.fields_of(packet))
        except Malformed:
            pass  # it is counted where all packets are read
        return super().receive(peer, frames, now)

    def tick(self, now: float) -> list[Effect]:
        """Do what is due: say READY, or dial anew."""
        effects = super().tick(now)
        if now < self._ready_at:
            return effects
        if self._unanswered < READY_COUNT:
            return [*effects, self._ready(now)]
        text = (
            "a streamer has to listen there, since nobody else takes workers that dial: "
            "zmqkit run streamer --name NAME --set frontend.bind=URL"
        )
        return [*effects, *self._say("streamer-unreachable", text), *self._dial(now)]

    def deadline(self) -> float:
        """Return when `tick` is due next."""
        return min(super().deadline(), self._ready_at)

    def close(self) -> list[Effect]:
        """Drop every request that is not answered, and say so."""
        self._ready_at = inf
        return super().close()

    def _dial(self, now: float) -> list[Effect]:
        self._unanswered = 0
        return [
            Disconnect(STREAMER_PEER),
            Connect(STREAMER_PEER, self._endpoint),
            self._ready(now),
        ]

    def _ready(self, now: float) -> Send:
        self._ready_at = now + READY_S
        self._unanswered += 1
        fields: dict[str, object] = {"name": self.name}
        if reach_of_endpoint(self._endpoint) > Reach.LOCAL:
            fields["lz4"] = True
        return Send(
            STREAMER_PEER, wire.pack(wire.READY, self.incarnation, 0, 0, encode(fields))
        )

    def _answered(self, fields: Mapping[str, object]) -> list[Effect]:
        """Take a streamer's answer to READY; say what is wrong, if anything is."""
        theirs = fields.get("name")
        if self.name and theirs != self.name:
            text = f"its streamer is that of {theirs!r}; end the URL with /{theirs}"
            return self._say("streamer-refused", text)
        if fields.get("full") is True:
            text = "it has as many workers as it takes; raise its limits.instances_max"
            return self._say("streamer-refused", text)
        return self._say("streamer-found", "")

    def _say(self, event: str, text: str) -> list[Effect]:
        if self._said == event:
            return []
        self._said = event
        fields = {"name": self.name, "endpoint": self._endpoint}
        return [Note(event, {**fields, "text": text} if text else fields)]
