"""A journal's file in memory, for one core after the other."""

from __future__ import annotations

from zmqkit.core.effects import Append
from zmqkit.core.tasks.pusher import PusherCore
from zmqkit.core.tasks.ready import Paged
from zmqkit.core.tasks.task import Task
from zmqkit.disk.rows import Entry, Held, Outcome, Plain
from zmqkit.roles.journaled import (
    changes_of,
    numbers_of,
    places_of,
    plain_task,
    tasks_of,
    without,
)

OFFSET = 1e9


class File:
    """What the appends of a core have written."""

    def __init__(self) -> None:
        self.opening = 0
        self.last = 0
        self.entries: dict[int, Entry] = {}
        self.plain: dict[int, Plain] = {}
        self.outcomes: dict[int, Outcome] = {}
        self.held: dict[int, Held] = {}

    def write(self, append: Append) -> None:
        changes = changes_of(append, OFFSET)
        self.last = max(self.last, changes.last)
        self.entries.update((each.sequence, each) for each in changes.entries)
        self.plain.update((each.place, each) for each in changes.plain)
        self.outcomes.update((each.sequence, each) for each in changes.outcomes)
        self.held.update((each.worker, each) for each in changes.held)
        for number in changes.over:
            self.entries.pop(number, None)
        for place in changes.plain_over:
            self.plain.pop(place, None)
        for number in changes.forgotten:
            self.outcomes.pop(number, None)
        self.held = {worker: held for worker, held in self.held.items() if held.leases}

    def page(self, priority: int, after: int, count_max: int) -> Paged:
        """Return the plain tasks of a priority that follow a number."""
        found = [
            each
            for _, each in sorted(self.plain.items())
            if each.priority == priority and each.sequence > after
        ]
        read = found[:count_max]
        upto = read[-1].sequence if read else after
        return Paged(priority, [*map(plain_task, read)], [], upto, len(found) < count_max)

    def open(self, core: PusherCore, now: float) -> list[Task]:
        """Have a core begin with what is here; return its tasks in memory."""
        self.opening += 1
        held = list(self.held.values())
        plain = [self.plain[at] for at in places_of(held) if at in self.plain]
        tasks = [
            *tasks_of(self.entries.values(), self.outcomes.values(), OFFSET),
            *map(plain_task, plain),
        ]
        counts: dict[int, int] = {}
        for each in self.plain.values():
            counts[each.priority] = counts.get(each.priority, 0) + 1
        core.recover(
            tasks, self.last, self.opening, now, on_disk=without(counts, plain),
            leases=numbers_of(held),
        )  # fmt: skip
        return tasks
