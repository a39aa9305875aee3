"""Who taps the roles of this process, on the control connection.

A tapper asks again and again, and is told what passed since. When it has not asked for
TAP_LEASE_S, its taps end: so nothing is left behind by one that has gone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf

from zmqkit.core.effects import Send
from zmqkit.core.membership.observed import Observed
from zmqkit.core.tap import Tap
from zmqkit.model import PeerId, Reach
from zmqkit.tap_limits import TAP_LEASE_S, TAPPED_BYTES, TAPPERS_MAX
from zmqkit.wire.packet import Packet
from zmqkit.wire.tapping import Tapped, Wanted, answer, read_question, row_of


@dataclass(slots=True)
class _Tapper:
    """One tapper, and its taps by role."""

    wanted: Wanted
    ends_at: float
    taps: dict[Observed, Tap] = field(default_factory=dict)


class Taps:
    """The tappers of a process."""

    def __init__(self, process: int) -> None:
        self._process = process
        # By connection, and the number that the tapper gave its tap.
        self._tappers: dict[tuple[PeerId, int], _Tapper] = {}

    def answer(
        self,
        peer: PeerId,
        packet: Packet,
        roles: Iterable[Observed],
        now: float,
        reach: Reach,
        wall_us: int,
    ) -> Send:
        """Tap what a tapper wants, and return what has passed since it asked last.

        roles: all that are observed. reach: of the tapper's connection. Raises Malformed for a
        wrong question. A tapper that finds no role here takes no place, and may ask again.
        """
        token, number, wanted = read_question(packet)
        told = Tapped(token, self._process, int(now * 1e6), wall_us)
        tapper = self._tappers.get((peer, number))
        fitting = [each for each in roles if each.reach >= reach and _fits(each, wanted)]
        if tapper is None or tapper.wanted != wanted:
            if tapper is None and (not fitting or len(self._tappers) >= TAPPERS_MAX):
                told.is_full = bool(fitting)
                return Send(peer, answer(told, []))
            self._end((peer, number))
            tapper = self._tappers[peer, number] = _Tapper(wanted, now)
        tapper.ends_at = now + TAP_LEASE_S
        for observed in fitting:
            if observed not in tapper.taps:
                is_part = observed.name != wanted.name
                tapper.taps[observed] = Tap(wanted, is_part=is_part)
                self._set(observed)
        return Send(peer, answer(told, self._rows(tapper, told)))

    def _set(self, observed: Observed) -> None:
        """Have a role be tapped by those that tap it now."""
        assert observed.tap is not None
        each = (tapper.taps.get(observed) for tapper in self._tappers.values())
        observed.tap(tuple(tap for tap in each if tap is not None))

    def _rows(self, tapper: _Tapper, told: Tapped) -> list[bytes]:
        """Return as many rows as an answer has; sum up what was seen."""
        rows: list[bytes] = []
        size = 0
        for observed, tap in tapper.taps.items():
            while size < TAPPED_BYTES and (row := tap.take()) is not None:
                rows.append(row_of(row, observed.role, observed.name))
                size += len(rows[-1])
            told.roles += 1
            told.seen += tap.seen
            told.skipped += tap.skipped
            told.dropped += tap.dropped
        return rows

    def forget(self, observed: Observed) -> None:
        """Forget a role that is closed."""
        for tapper in self._tappers.values():
            tapper.taps.pop(observed, None)

    def tick(self, now: float) -> None:
        """End the taps of those that have not asked for long."""
        for key in [key for key, each in self._tappers.items() if now >= each.ends_at]:
            self._end(key)

    def deadline(self) -> float:
        """Return when `tick` is due next."""
        return min((each.ends_at for each in self._tappers.values()), default=inf)

    def _end(self, key: tuple[PeerId, int]) -> None:
        tapper = self._tappers.pop(key, None)
        if tapper is not None:
            for observed in tapper.taps:
                self._set(observed)


def _fits(observed: Observed, wanted: Wanted) -> bool:
    """Return whether a role can be tapped and is of that name, or may have a part of it."""
    named = observed.name == wanted.name or observed.has_parts
    return named and observed.tap is not None
