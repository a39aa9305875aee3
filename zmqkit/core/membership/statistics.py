"""What this process tells of its roles' statistics, on the control connection."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from zmqkit.core.effects import Send
from zmqkit.core.membership.observed import Observed
from zmqkit.core.membership.taps import Taps
from zmqkit.model import PeerId, Reach
from zmqkit.statistics_limits import STATISTICS_BYTES
from zmqkit.wire.packet import TAP, Packet
from zmqkit.wire.statistics import (
    About,
    Figures,
    Place,
    answer,
    read_question,
    row_of,
)


class Statistics:
    """The roles of a process that are observed, each with a number that only grows."""

    def __init__(self, process: int) -> None:
        # What answers say of the process; the driver knows more of it.
        self.about = About(process, 0, "")
        # Returns the time of day, in microseconds since 1970; the driver sets it.
        self.wall_us: Callable[[], int] = int
        self._by_number: dict[int, Observed] = {}
        self._taps = Taps(process)
        self._number = 0

    def __len__(self) -> int:
        return len(self._by_number)

    def add(self, observed: Observed) -> None:
        """Tell of a role from now on."""
        self._number += 1
        self._by_number[self._number] = observed

    def remove(self, observed: Observed) -> None:
        """Tell of a role no longer."""
        self._taps.forget(observed)
        for number, each in self._by_number.items():
            if each is observed:
                del self._by_number[number]
                return

    def figures(self, now: float) -> Iterator[Figures]:
        """Return the rows of all roles."""
        for observed in self._by_number.values():
            yield from observed.rows(now)

    def answer(self, peer: PeerId, packet: Packet, now: float, reach: Reach) -> Send:
        """Return the answer to a question, or a tapper's, over a connection of that reach.

        Beyond this machine nothing but the time of day is told of the process either, unless
        one of its roles is told of. Raises Malformed for a wrong question.
        """
        if packet.kind == TAP:
            roles = self._by_number.values()
            return self._taps.answer(peer, packet, roles, now, reach, self.wall_us())
        token, place = read_question(packet)
        rows, then = self._rows(place, now, reach)
        about = self.about
        is_told = reach is Reach.LOCAL or any(
            each.reach >= reach for each in self._by_number.values()
        )
        if not is_told:
            about = About(about.process, 0, "")
        return Send(peer, answer(about, token, int(now * 1000), self.wall_us(), rows, then))

    def _rows(self, place: Place, now: float, reach: Reach) -> tuple[list[bytes], Place | None]:
        """Return as many rows as an answer has, and where the next one has to begin."""
        first, skipped = place
        rows: list[bytes] = []
        size = 0
        for number, observed in self._by_number.items():
            if number < first or observed.reach < reach:
                continue
            if observed.looked is not None:
                observed.looked(now)
            figures = observed.rows(now)
            for at in range(skipped if number == first else 0, len(figures)):
                row = row_of(figures[at])
                size += len(row)
                if size > STATISTICS_BYTES:
                    return rows, (number, at)
                rows.append(row)
        return rows, None

    def tick(self, now: float) -> None:
        """End the taps of those that have gone."""
        self._taps.tick(now)

    def deadline(self) -> float:
        """Return when `tick` is due next."""
        return self._taps.deadline()
