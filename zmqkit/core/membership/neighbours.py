"""The processes that roles here use, by number, and when each of them is looked after."""

from __future__ import annotations

from zmqkit.core.effects import Effect
from zmqkit.core.membership.known import KnownRoles
from zmqkit.core.membership.neighbour import Life, Neighbour, process_of
from zmqkit.core.timers import Wheel
from zmqkit.model import Address, PeerId, Reach, Record


class Neighbours(dict[int, Neighbour]):
    """Neighbours by process; a timer wheel says which of them are due."""

    def __init__(self) -> None:
        super().__init__()
        self._wheel = Wheel()

    def at(self, peer: PeerId) -> Neighbour | None:
        """Return the neighbour that has this connection open, or None."""
        neighbour = self.get(process_of(peer))
        return neighbour if neighbour is not None and peer in neighbour.attempts else None

    def vouch(self, record: Record, known: KnownRoles) -> bool:
        """Whether the record's process is a neighbour and itself said what the record says."""
        neighbour = self.get(record.process)
        return neighbour is not None and neighbour.lists(record, known)

    def wake(self, neighbour: Neighbour) -> None:
        """Have a neighbour looked after when it is due next, unless it was dropped."""
        at = neighbour.due_at()
        if at < neighbour.wake_at and self.get(neighbour.process) is neighbour:
            neighbour.wake_at = at
            self._wheel.add(neighbour.process, at)

    def due(self, now: float) -> list[Neighbour]:
        """Return the neighbours to look after now; the caller then has to `wake` each again."""
        due = []
        for process in self._wheel.due(now):
            neighbour = self.get(process)
            if neighbour is not None and now >= neighbour.wake_at:
                neighbour.wake_at = float("inf")
                due.append(neighbour)
        return due

    def addresses(self, process: int, reach: Reach) -> set[Address]:
        """Return where a neighbour answered last, within that reach; none for others."""
        neighbour = self.get(process)
        answered = neighbour.answered if neighbour is not None else set()
        return {each for each in answered if each.reach <= reach}

    def open_count(self) -> int:
        """Return how many neighbours have connections open."""
        return sum(bool(each.attempts) for each in self.values())

    def gone(self) -> list[int]:
        """Return the processes that do not answer."""
        return [process for process, each in self.items() if each.given_up]

    def greet_all(self, now: float) -> list[Effect]:
        """Tell every static peer that the roles or addresses of this process changed."""
        effects: list[Effect] = []
        for neighbour in self.values():
            effects += neighbour.greet_often(now)
            self.wake(neighbour)
        return effects

    def doubt_all(self, now: float) -> list[Effect]:
        """Try the neighbours that are gone again; see whether those that answer still do."""
        effects: list[Effect] = []
        for neighbour in self.values():
            effects += neighbour.doubt(now, again=True)
            if neighbour.life is Life.GONE:
                neighbour.next_at = now
            self.wake(neighbour)
        return effects

    def deadline(self) -> float:
        """Return when a neighbour is due next."""
        return self._wheel.deadline()

    def check(self) -> None:
        """Assert that each neighbour is in its place, sound, and looked after in time."""
        for process, neighbour in self.items():
            assert neighbour.process == process
            assert neighbour.wake_at <= neighbour.due_at()
            neighbour.check()
        assert len(self._wheel) <= 8 * len(self) + 64


def in_turn(processes: list[int], us: int) -> list[int]:
    """Return the processes in an order that differs from process to process.

    So not everybody uses the same few of many.
    """
    return sorted(processes, key=lambda each: each * (us | 1) % (1 << 64))
