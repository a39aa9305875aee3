"""What publishers that wait are told of how far the user of a subscriber has read.

A MARK of such a publisher waits in its inbox, and is answered once everything before it was
read. A subscriber whose user reads slowly answers the last MARK once more every READS_S, so
that the publisher does not take it for stuck.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from zmqkit.core.dispatch.connections import State
from zmqkit.core.effects import Effect
from zmqkit.core.topics.inbox import Delivery
from zmqkit.core.topics.inboxes import Inboxes
from zmqkit.core.topics.source import Source
from zmqkit.core.topics.sources import Sources
from zmqkit.limits import READS_S
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Malformed
from zmqkit.wire.packet import Packet


class Reading:
    """The marks of publishers that wait, and when each is answered."""

    def __init__(
        self, sources: Sources, inboxes: Inboxes, read: Callable[[], int], *, latest: bool
    ) -> None:
        """read: returns how many messages the user took, including those not read yet.

        latest: marks are answered as they come.
        """
        # Returns how many messages were taken and are not read yet; the role sets it.
        self.held: Callable[[], int] = int
        self._sources = sources
        self._inboxes = inboxes
        self._taken = read
        self._latest = latest
        self._read = 0
        self._looked_at = -inf

    @property
    def due_at(self) -> float:
        """When to see whether anything was read; infinity if no publisher may wait."""
        idle = all(inbox.is_empty for inbox in self._inboxes.own.values())
        return inf if idle else self._looked_at + READS_S

    def marked(self, source: Source, packet: Packet) -> list[Effect]:
        """Take a MARK: have it wait behind what came before it, or answer it."""
        if type(packet.meta) is not int or packet.meta <= 0:
            raise Malformed("mark")
        delivery = Delivery("", source.peer, source.publisher, 0, [], [], 0, packet.meta)
        if self._latest or not source.waits or source.peer not in self._inboxes.own:
            return self.credit(delivery)
        self._inboxes.put(self._inboxes.of(source), delivery)
        return []

    def tick(self, now: float) -> list[Effect]:
        """Answer the marks at the front of inboxes, and tell publishers that the user reads.

        A publisher is told by one more answer to the last mark, if something was read and its
        inbox is not empty.
        """
        if now < self.due_at:
            return []
        self._looked_at = now
        effects: list[Effect] = []
        held = self.held()
        read, self._read = self._read, self._taken() - held
        for peer, inbox in self._inboxes.own.items():
            while not held and (mark := inbox.take_mark()):
                effects += self.credit(mark)
            source = self._sources.by_peer.get(peer)
            if source is not None and not inbox.is_empty and self._read != read:
                effects += self._answer(source, source.credited)
        return effects

    def credit(self, delivery: Delivery) -> list[Effect]:
        """Answer a mark that waited: all before it was read."""
        source = self._sources.by_peer.get(delivery.peer)
        if source is None or source.publisher != delivery.publisher:
            return []
        source.credited = delivery.mark
        return self._answer(source, delivery.mark)

    def _answer(self, source: Source, mark: int) -> list[Effect]:
        if source.state is State.LOST:
            return []
        return [self._sources.say(source, wire.CREDIT, mark)]
