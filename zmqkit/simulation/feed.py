"""Discovery in virtual time. As with multicast, news of roles comes late or never."""

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
    """How news travels."""

    late_s: tuple[float, float] = (0.001, 0.05)  # the least and the most delay
    deaf: float = 0.0  # the chance that a process never hears a piece of news
    answers: bool = False  # whether who asks from a port of its own hears all that it has not


@dataclass(slots=True, eq=False)
class Feed:
    """The records that are announced, and which process has heard of each."""

    timeline: Timeline
    reception: Reception
    records: dict[int, Record] = field(default_factory=dict)
    heard: dict[Process, dict[int, Record]] = field(default_factory=dict)

    def join(self, process: Process) -> None:
        """Have a process hear what is announced from now on, and what was announced before."""
        self.heard[process] = {}
        process.control.ask = partial(self._answer, process)
        for record in list(self.records.values()):
            self._send(process, record)

    def leave(self, process: Process) -> None:
        """Tell a process nothing any more.

        What the process announced stays announced, since nobody hears of a death.
        """
        self.heard.pop(process, None)

    def announce(self, record: Record) -> None:
        """Let every process hear of a role."""
        self.records[record.incarnation] = record
        for process in list(self.heard):
            self._send(process, record)

    def withdraw(self, incarnation: int) -> None:
        """Let every process hear that a role is gone."""
        self.records.pop(incarnation, None)
        for process in list(self.heard):
            self._somewhen(self._vanish(process, incarnation))

    def complete(self) -> None:
        """Let every process hear of all that is announced, and forget all that is not."""
        self.reception = Reception()
        for process, heard in self.heard.items():
            for record in self._unheard(process):
                self._send(process, record)
            for incarnation in heard.keys() - self.records.keys():
                self._somewhen(self._vanish(process, incarnation))

    def _answer(self, process: Process) -> None:
        """Let a process that asks hear of all that it has not heard."""
        process.trace("asks who is there")
        if self.reception.answers:
            for record in self._unheard(process):
                self._later(self._hear(process, record))

    def _unheard(self, process: Process) -> list[Record]:
        heard = self.heard.get(process, {})
        return [each for each in self.records.values() if each.incarnation not in heard]

    def _send(self, process: Process, record: Record) -> None:
        self._somewhen(self._hear(process, record))

    def _hear(self, process: Process, record: Record) -> Callable[[], None]:
        def hear() -> None:
            heard = self.heard.get(process)
            if heard is not None and record.incarnation in self.records:
                heard[record.incarnation] = record
                process.control.driver.command(tell)

        def tell(now: float) -> list[Effect]:
            process.trace(f"hears of {record.label}")
            return process.control.core.heard(record, SOURCE, now)

        return hear

    def _vanish(self, process: Process, incarnation: int) -> Callable[[], None]:
        def tell(record: Record, now: float) -> list[Effect]:
            process.trace(f"hears the end of {incarnation:x}")
            return process.control.core.vanished(record, SOURCE)

        def vanish() -> None:
            heard = self.heard.get(process, {})
            if incarnation in heard:
                process.control.driver.command(partial(tell, heard.pop(incarnation)))

        return vanish

    def _somewhen(self, action: Callable[[], None]) -> None:
        if self.timeline.random.random() >= self.reception.deaf:
            self._later(action)

    def _later(self, action: Callable[[], None]) -> None:
        self.timeline.after(self.timeline.random.uniform(*self.reception.late_s), action)
