"""The receipts of a store, and when its leases are over."""

from __future__ import annotations

from math import inf

from zmqkit.core.tasks.task import State, Task
from zmqkit.stores.leases import Leases

PREFIX = b"12345678"


def leased() -> Task:
    task = Task(b"x", None, 4)
    task.state = State.LEASED
    return task


def test_a_lease_is_over_once_and_at_its_time() -> None:
    leases, task = Leases(PREFIX), leased()
    leases.give(task, 5.0, 3)
    assert leases.deadline() == 5.0
    assert [*leases.lapse(4.9)] == []
    assert [each.task for each in leases.lapse(5.0)] == [task]
    assert [*leases.lapse(9.0)] == []
    assert leases.deadline() == inf


def test_a_lease_that_was_renewed_is_over_later_and_one_that_was_cut_sooner() -> None:
    leases, later, sooner = Leases(PREFIX), leased(), leased()
    for task, until in ((later, 50.0), (sooner, 1.0)):
        lease = leases.find(leases.give(task, 5.0, 3))
        assert lease is not None
        leases.renew(lease, until)
    assert [each.task for each in leases.lapse(1.0)] == [sooner]
    assert [*leases.lapse(49.0)] == []
    assert [each.task for each in leases.lapse(50.0)] == [later]


def test_a_lease_of_a_task_that_ended_otherwise_is_over() -> None:
    leases, task = Leases(PREFIX), leased()
    receipt = leases.give(task, 5.0, 3)
    task.state, task.receipt = State.CANCELLED, 0
    assert leases.find(receipt) is None
    assert [*leases.lapse(9.0)] == []


def test_a_receipt_of_another_store_is_none() -> None:
    receipt = Leases(b"otherone").give(leased(), 5.0, 3)
    leases = Leases(PREFIX)
    leases.give(leased(), 5.0, 3)
    assert leases.find(receipt) is None


def test_deadlines_that_mean_nothing_take_bounded_memory() -> None:
    leases, task = Leases(PREFIX), leased()
    lease = leases.find(leases.give(task, 1.0, 3))
    assert lease is not None
    for n in range(10_000):
        leases.renew(lease, 100.0 + n)
        leases.give(leased(), 1e6, 3)
        other = leases.find(PREFIX + (n + 2).to_bytes(8, "big"))
        assert other is not None
        leases.end(other)
    assert len(leases) <= 2000
    assert [each.task for each in leases.lapse(1e5)] == [task]
