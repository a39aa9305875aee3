"""Asks processes for their statistics, page by page, until each has told all."""

from __future__ import annotations

from collections import Counter

from zmqkit.core.effects import Send
from zmqkit.model import Frames, PeerId
from zmqkit.statistics_limits import PAGES_MAX
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Malformed
from zmqkit.wire.statistics import Told, question, read_answer


class Inquiry:
    """One round of questions. A process is a connection, which the driver opens."""

    def __init__(self, process: int, token: int) -> None:
        """process: of who asks. token: tells this round's answers from those before."""
        self._process = process
        self._token = token
        self._open: dict[PeerId, list[Told]] = {}
        # The answers of each process that has told all, as one.
        self.told: dict[PeerId, Told] = {}
        # Why packets were not understood.
        self.malformed: Counter[str] = Counter()

    def begin(self, peer: PeerId) -> Send:
        """Ask a process, from the beginning."""
        self._open[peer] = []
        return Send(peer, question(self._process, self._token))

    def receive(self, peer: PeerId, frames: Frames) -> list[Send]:
        """Take a packet; return the question for the next page. Never raises."""
        pages = self._open.get(peer)
        try:
            packet = wire.unpack(frames)
            if packet.kind != wire.FIGURES or pages is None:
                return []  # what an earlier round asked for, or it speaks of something else
            told = read_answer(packet)
        except Malformed as error:
            self.malformed[str(error)] += 1
            return []
        if told.token != self._token:
            return []
        pages.append(told)
        if told.next is not None and len(pages) < PAGES_MAX:
            return [Send(peer, question(self._process, self._token, told.next))]
        del self._open[peer]
        self.told[peer] = told
        told.rows = [row for page in pages for row in page.rows]
        return []

    def is_over(self, peer: PeerId) -> bool:
        """Return whether a process has told all."""
        return peer in self.told
