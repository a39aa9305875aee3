"""Discovery in virtual time: news of roles that comes late, or never, as multicast's does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from zmqkit.core.effects import Effect
from zmqkit.model import Record
from zmqkit.simulation.process import Process
from zmqkit.simulation.timeline import Timeline

SOURCE = "mdns"


@dataclass(slots=True)
class Reception:
    """How news travels. late_s: least and most. deaf: the chance that one is never heard."""

    late_s: tuple[float, float] = (0.001, 0.05)
    deaf: float = 0.0


@dataclass(slots=True, eq=False)
class Feed:
    """Who announced what, and which process has heard of it."""

    timeline: Timeline
    reception: Reception
    records: dict[int, Record] = field(default_factory=dict)
    heard: dict[Process, dict[int, Record]] = field(default_factory=dict)

    def join(self, process: Process) -> None:
        """Have a process hear what is announced, and what was."""
        self.heard[process] = {}
        for record in list(self.records.values()):
            self._send(process, record)

    def leave(self, process: Process) -> None:
        """Tell a process nothing any more. What it announced stays: nobody hears of a death."""
        self.heard.pop(process, None)

    def announce(self, record: Record) -> None:
        """Let every process hear of a role."""
        self.records[record.incarnation] = record
        for process in list(self.heard):
            self._send(process, record)

    def withdraw(self, incarnation: int) -> None:
        """Let every process hear that a role is no more."""
        self.records.pop(incarnation, None)
        for process in list(self.heard):
            self._somewhen(process, self._vanish(process, incarnation))

    def complete(self) -> None:
        """Let every process hear at last of what is announced, and forget what is not."""
        self.reception = Reception()
        for process, heard in self.heard.items():
            for record in self.records.values():
                if record.incarnation not in heard:
                    self._send(process, record)
            for incarnation in heard.keys() - self.records.keys():
                self._somewhen(process, self._vanish(process, incarnation))

    def _send(self, process: Process, record: Record) -> None:
        def hear() -> None:
            heard = self.heard.get(process)
            if heard is not None and record.incarnation in self.records:
                heard[record.incarnation] = record
                process.control.driver.command(tell)

        def tell(now: float) -> list[Effect]:
            process.trace(f"hears of {record.label}")
            return process.control.core.heard(record, SOURCE, now)

        self._somewhen(process, hear)

    def _vanish(self, process: Process, incarnation: int) -> Callable[[], None]:
        def tell(record: Record, now: float) -> list[Effect]:
            process.trace(f"hears the end of {incarnation:x}")
            return process.control.core.vanished(record, SOURCE)

        def vanish() -> None:
            heard = self.heard.get(process, {})
            if incarnation in heard:
                process.control.driver.command(partial(tell, heard.pop(incarnation)))

        return vanish

    def _somewhen(self, process: Process, action: Callable[[], None]) -> None:
        random, reception = self.timeline.random, self.reception
        if random.random() >= reception.deaf:
            self.timeline.after(random.uniform(*reception.late_s), action)
