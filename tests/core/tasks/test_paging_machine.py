"""Tasks that wait on disk only, with any commands in any order."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.core.tasks.disk import LIMITS, Disk
from zmqkit.core.tasks.task import OPEN, State, Task
from zmqkit.errors import QueueFull


class Machine(RuleBasedStateMachine):
    """Any commands in any order, while the disk is as slow as it likes, full, or restarted."""

    def __init__(self) -> None:
        super().__init__()
        self.disk = Disk()
        self.held: dict[int, Task] = {}
        self.numbers: dict[object, int] = {}
        self.keyed: set[int] = set()
        self.ended: set[int] = set()
        self.begun: set[int] = set()
        self.leases: list[Task] = []

    @rule(
        count=st.integers(1, 12),
        priority=st.sampled_from([0, 4, 4, 9]),
        key=st.sampled_from([None, None, None, "a"]),
        holds=st.booleans(),
    )
    def push(self, count: int, priority: int, key: str | None, holds: bool) -> None:
        for _ in range(count):
            number = len(self.numbers)
            try:
                task = self.disk.push(number, priority, key)
            except QueueFull:
                return
            self.numbers[number] = task.sequence
            if key is not None:
                self.keyed.add(task.sequence)
            if holds:
                self.held[task.sequence] = task

    @rule(count=st.integers(1, 6))
    def lease(self, count: int) -> None:
        for _ in range(count):
            task = self.disk.core.ledger.lease(self.disk.now)
            if task is None:
                return
            assert task.row and not task.is_shelved
            assert task.sequence not in self.ended, "it ran after its end"
            first = task.attempt == 1 and task.sequence not in self.begun
            if first and task.sequence not in self.keyed:
                for other in self._waiting(task.priority):
                    assert other >= task.sequence, "the order of a priority"
            self.begun.add(task.sequence)
            self.leases.append(task)

    def _waiting(self, priority: int) -> list[int]:
        """The plain tasks on disk that never ran and that nobody ended."""
        return [
            row.sequence
            for row in self.disk.rows.values()
            if row.priority == priority and row.is_plain and row.sequence not in self.begun
            and row.sequence not in self.ended
        ]  # fmt: skip

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), how=st.sampled_from(["done", "done", "done", "retry", "release"]))
    def finish(self, data: st.DataObject, how: str) -> None:
        task = self.leases.pop(data.draw(st.integers(0, len(self.leases) - 1)))
        ledger, now = self.disk.core.ledger, self.disk.now
        if how == "done":
            ledger.done(task, None, 0, now)
            self.ended.add(task.sequence)
        elif how == "retry":
            ledger.retry(task, "no", 1.0, now)
        else:
            ledger.release(task, now)
        self.disk.flush()

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        task = self.held.pop(data.draw(st.sampled_from(sorted(self.held))))
        if task.state is State.WAITING:
            self.disk.perform(self.disk.core.cancel(task, self.disk.now))
            self.ended.add(task.sequence)
            self.disk.flush()

    @rule(holds=st.booleans())
    def hold(self, holds: bool) -> None:
        """The tasks go to a streamer from now on, or to workers."""
        self.disk.core.ledger.hold(self.disk.now, holds=holds)
        self.disk.flush()

    @rule()
    def let_go(self) -> None:
        self.held.clear()

    @rule(pause_s=st.sampled_from([0.1, 1.0]))
    def wait(self, pause_s: float) -> None:
        self.disk.now += pause_s
        self.disk.core.ledger.tick(self.disk.now)
        self.disk.flush()

    @rule(count=st.integers(1, 3))
    def work(self, count: int) -> None:
        for _ in range(count):
            self.disk.work()

    @rule(count=st.integers(1, 3))
    def answer(self, count: int) -> None:
        for _ in range(count):
            self.disk.answer()

    @rule()
    def settle(self) -> None:
        self.disk.settle()

    @rule(full=st.booleans())
    def fill(self, full: bool) -> None:
        self.disk.full = full

    @rule()
    def restart(self) -> None:
        """The process dies: what the disk has is what there is."""
        self.held.clear()
        self.leases.clear()
        self.ended.clear()  # what was not written runs again
        self.begun.clear()
        lost = [
            n for n, task in self.disk.acknowledged.items()
            if self.numbers[n] not in self.disk.rows and task.state in OPEN
        ]  # fmt: skip
        assert not lost, "acknowledged, and not on disk"
        self.disk.acknowledged.clear()
        self.numbers = {n: s for n, s in self.numbers.items() if s in self.disk.rows}
        self.disk.open()
        self.numbers.update({("again", s): s for s in self.disk.rows})

    @invariant()
    def consistent(self) -> None:
        core = self.disk.core
        core.ledger.check()
        # Rows, and what a worker has or waits for again; the disk is not always quick.
        assert core.ledger.open_count <= 2 * LIMITS.tasks_max

    def teardown(self) -> None:
        """All that was accepted can be done in the end."""
        disk = self.disk
        disk.full = False
        for task in self.leases:
            disk.core.ledger.done(task, None, 0, disk.now)
        for _ in range(1000):
            disk.now += 1.0
            disk.core.ledger.tick(disk.now)
            disk.settle()
            while (task := disk.core.ledger.lease(disk.now)) is not None:
                assert task.row
                disk.core.ledger.done(task, None, 0, disk.now)
            if not disk.core.in_flight:
                break
        disk.now += 1.0
        disk.settle()
        disk.core.ledger.check()
        assert not disk.core.in_flight and not disk.rows


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
