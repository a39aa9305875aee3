"""Ping: how long processes take to answer, and by how much their clocks differ from this one.

The question is one for statistics, from behind all roles on, so the answer has no rows. It goes
over a connection of its own, and the node of the other process answers it, whatever the roles
there do meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from types import TracebackType
from typing import Self

from zmqkit.model import Frames, PeerId, Reach
from zmqkit.node.lines import Lines
from zmqkit.node.listings import Listing
from zmqkit.node.node import Node
from zmqkit.node.statistics import targets
from zmqkit.node.time_of_day import wall_us
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Malformed
from zmqkit.wire.statistics import BEHIND_ALL, question, read_answer

KEPT_MAX = 10_000
"""Of how many answers of a process the times are kept: the last ones."""


@dataclass(slots=True)
class Answer:
    """One answer of a process."""

    # From the question to the answer.
    round_trip_s: float
    # By how much its time of day is ahead of ours, if both ways took the same time.
    ahead_s: float


@dataclass(slots=True)
class Pinged:
    """One process, and what came of the questions to it."""

    process: str  # 16 hexadecimal digits
    # What it says of itself; to other machines only if a role of it tells statistics there.
    pid: int = 0
    host: str = ""
    sent: int = 0
    answered: int = 0
    answers: list[Answer] = field(default_factory=list)

    @property
    def loss(self) -> float:
        """Which part of the questions was not answered."""
        return 1 - self.answered / self.sent if self.sent else 0.0

    def round_trips(self) -> tuple[float, float, float] | None:
        """Return the shortest, the median and the longest, in seconds; None without any."""
        times = [each.round_trip_s for each in self.answers]
        return (min(times), median(times), max(times)) if times else None

    @property
    def ahead_s(self) -> float | None:
        """By how much its clock is ahead: as the quickest answer tells, which is surest."""
        if not self.answers:
            return None
        return min(self.answers, key=lambda each: each.round_trip_s).ahead_s

    def take(self, answer: Answer) -> None:
        """Count an answer."""
        self.answered += 1
        self.answers.append(answer)
        del self.answers[:-KEPT_MAX]


class Pinger:
    """Pings processes, round by round. One thread at a time may use it."""

    def __init__(self, node: Node) -> None:
        """node: of this process, which finds others while somebody wants them."""
        self._node = node
        self._lines = Lines(node.context, node.core.limits.connections_max)
        self._token = 0
        # Every process that was pinged, by its number in 16 hexadecimal digits.
        self.pinged: dict[str, Pinged] = {}
        # Every instance that was seen, by its process and label.
        self.instances: dict[tuple[str, str], Listing] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lines.close()

    def find(self, name: str) -> list[Listing]:
        """Return the instances of a name that are known now; they are pinged from now on."""
        found = [row for row in self._node.listings() if row.name == name]
        self.instances |= {(row.process, row.label): row for row in found}
        return found

    def ping(self, *, reach: Reach = Reach.LOCAL, timeout_s: float = 1.0) -> dict[str, Answer]:
        """Ask the process of each instance once; return who answered in time, and how.

        reach: how far away processes may be.
        """
        wanted = {row.process.encode() for row in self.instances.values()}
        known = targets(self._node, reach)
        self._connect({peer: known[peer] for peer in wanted & known.keys()})
        for peer in sorted(wanted):
            process = peer.decode()
            self.pinged.setdefault(process, Pinged(process)).sent += 1
        return self._round(wanted, time.monotonic() + timeout_s)

    def _connect(self, endpoints: Mapping[PeerId, str]) -> None:
        lines = self._lines
        for peer, endpoint in [*lines.endpoints.items()]:
            if peer in endpoints and endpoints[peer] != endpoint:
                lines.disconnect(peer)
        for peer, endpoint in endpoints.items():
            if peer not in lines.endpoints and not lines.is_full:
                lines.connect(peer, endpoint)

    def _round(self, wanted: set[PeerId], until: float) -> dict[str, Answer]:
        lines, answered = self._lines, dict[str, Answer]()
        self._token += 1
        frames = question(self._node.process, self._token, BEHIND_ALL)
        asked: dict[PeerId, tuple[float, int]] = {}
        while len(answered) < len(wanted):
            for peer in wanted & lines.connected - asked.keys():
                at = time.monotonic(), wall_us()
                if lines.send(peer, frames):
                    asked[peer] = at
            left_s = until - time.monotonic()
            if left_s <= 0:
                break
            lines.wait(left_s, asked.keys() | (lines.connected - wanted))
            for peer, received in lines.receive():
                answer = self._answer(peer, received, asked.get(peer))
                if answer is not None:
                    self.pinged[peer.decode()].take(answer)
                    answered[peer.decode()] = answer
        return answered

    def _answer(
        self, peer: PeerId, frames: Frames, asked: tuple[float, int] | None
    ) -> Answer | None:
        """Return what an answer tells; None for any other packet, or one that came late."""
        now = time.monotonic()
        try:
            packet = wire.unpack(frames)
            if packet.kind != wire.FIGURES or asked is None:
                return None
            told = read_answer(packet)
        except Malformed:
            return None
        if told.token != self._token or told.process != int(peer, 16):
            return None
        pinged = self.pinged[peer.decode()]
        pinged.pid, pinged.host = told.pid, told.host
        sent_at, sent_us = asked
        round_trip_s = now - sent_at
        return Answer(round_trip_s, (told.wall_us - sent_us) / 1e6 - round_trip_s / 2)
