"""Processes that static peers tell of: each is asked itself before anything of it counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf

from zmqkit.core.membership.places import Whereabouts
from zmqkit.model import Address, Reach, reach_of
from zmqkit.options import ASKED_MAX, HELLO_S, HELLO_S_MAX, PROCESSES_MAX


@dataclass(slots=True, eq=False)
class Rumour:
    """One process as others tell of it.

    tellers: what each says. news: counts what was new in that. asking, asked: the news when it
    was last asked, and when it last answered. next_at: not to be asked before.
    """

    tellers: dict[int, Whereabouts] = field(default_factory=dict)
    news: int = 0
    asking: int = 0
    asked: int = 0
    next_at: float = 0.0
    pause_s: float = HELLO_S

    def addresses(self, reach: Reach) -> set[Address]:
        """Where it may be asked by those who reach so far."""
        told = (address for each in self.tellers.values() for address in each.addresses)
        return {each for each in told if each.reach <= reach}


class Rumours:
    """All that static peers tell of, by process; a few at a time are asked."""

    def __init__(self, us: int, refused: Counter[str]) -> None:
        """refused: counts what was passed over, by the reason."""
        self._us = us
        self._refused = refused
        self._by_process: dict[int, Rumour] = {}
        self._asking: dict[int, None] = {}
        self._lost: dict[int, float] = {}
        self._next_at = inf

    def __contains__(self, process: object) -> bool:
        return process in self._by_process

    def told(self, teller: int, host: str, others: list[Whereabouts], now: float) -> list[int]:
        """Take all that one process tells; gives those of whom nobody tells any more.

        host: where it tells so. Of this machine it can know only if it is here as well.
        """
        self._lost.pop(teller, None)
        near = [each.seen_from(reach_of(host)) for each in others]
        if near != others:
            self._refused["elsewhere"] += 1
        told = {each.process: each for each in near if each.process != self._us}
        for process, whereabouts in told.items():
            rumour = self._by_process.get(process)
            if rumour is None:
                if len(self._by_process) >= PROCESSES_MAX:
                    self._refused["processes-full"] += 1
                    continue
                rumour = self._by_process[process] = Rumour()
            if rumour.tellers.get(teller) != whereabouts:
                rumour.tellers[teller] = whereabouts
                rumour.news += 1
                rumour.next_at, rumour.pause_s = now, HELLO_S
        return self._forget(teller, but=told)

    def _forget(self, teller: int, but: Iterable[int] = ()) -> list[int]:
        """Drop what a process told of all but these; gives those of whom nobody tells now."""
        ended = []
        for process in self._by_process.keys() - set(but):
            rumour = self._by_process[process]
            rumour.tellers.pop(teller, None)
            if not rumour.tellers:
                ended.append(process)
        for process in ended:
            del self._by_process[process]
            self._asking.pop(process, None)
        return sorted(ended)

    def lost(self, teller: int, until: float) -> None:
        """Whoever told is not there: what it said counts until then, or until it is back."""
        if any(teller in rumour.tellers for rumour in self._by_process.values()):
            self._lost[teller] = until

    def addresses(self, process: int, reach: Reach) -> set[Address]:
        """Where a process may be asked by those who reach so far."""
        rumour = self._by_process.get(process)
        return rumour.addresses(reach) if rumour is not None else set()

    def asks(self, process: int) -> bool:
        """Whether the process is to be asked now."""
        return process in self._asking

    def pick(self, now: float, reach: Reach) -> list[int]:
        """The processes to ask from now on, a few at a time."""
        picked = []
        self._next_at = inf
        for process, rumour in self._by_process.items():
            if rumour.news == rumour.asked or process in self._asking:
                continue
            if not rumour.addresses(reach):
                continue
            if now < rumour.next_at:
                self._next_at = min(self._next_at, rumour.next_at)
            elif len(self._asking) < ASKED_MAX:
                self._asking[process] = None
                rumour.asking = rumour.news
                picked.append(process)
        return picked

    def answered(self, process: int, now: float) -> None:
        """The process said itself which roles it has."""
        rumour = self._by_process.get(process)
        if rumour is not None:
            was_asked = self._asking.pop(process, False) is None
            rumour.asked = rumour.asking if was_asked else rumour.news
            rumour.next_at, rumour.pause_s = now + HELLO_S, HELLO_S

    def missed(self, process: int, now: float, *, kept: bool) -> None:
        """Nobody answers for the process: others have their turn, and it later.

        kept: it is tried again anyway, for what was heard of it.
        """
        rumour = self._by_process.get(process)
        if rumour is not None:
            self._asking.pop(process, None)
            rumour.asked = -1
            rumour.next_at = inf if kept else now + rumour.pause_s
            rumour.pause_s = min(2 * rumour.pause_s, HELLO_S_MAX)

    def release(self, process: int) -> None:
        """The process is not tried any more; it may be asked anew."""
        rumour = self._by_process.get(process)
        if rumour is not None:
            self._asking.pop(process, None)
            rumour.next_at = 0.0

    def tick(self, now: float) -> list[int]:
        """Forget what those told who are away for long; gives whom nobody tells of now."""
        over = [teller for teller, until in self._lost.items() if now >= until]
        ended: list[int] = []
        for teller in over:
            del self._lost[teller]
            ended += self._forget(teller)
        return ended

    def deadline(self, *, asks: bool) -> float:
        """When `tick` is due next, or `pick` if anybody is asked."""
        return min(self._next_at if asks else inf, *self._lost.values(), inf)

    def check(self) -> None:
        """Somebody tells of each, and a few at most are asked."""
        assert all(rumour.tellers for rumour in self._by_process.values())
        assert self._asking.keys() <= self._by_process.keys()
        assert len(self._by_process) <= PROCESSES_MAX and len(self._asking) <= ASKED_MAX
