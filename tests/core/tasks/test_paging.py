"""Plain tasks that wait on disk only: their order, their tickets, and what memory has."""

from __future__ import annotations

import pytest

from tests.core.tasks.disk import LIMITS, WINDOW, Disk, made
from zmqkit.core.effects import Note
from zmqkit.core.tasks.ready import Paged
from zmqkit.core.tasks.task import Event, State, Task
from zmqkit.errors import JournalError, QueueFull
from zmqkit.limits import OLDEST_EVERY


@pytest.fixture
def disk() -> Disk:
    return Disk()


def leased(disk: Disk) -> list[Task]:
    """Every task, in the order in which workers get them."""
    tasks: list[Task] = []
    for _ in range(10_000):
        task = disk.core.ledger.lease(disk.now)
        if task is None:
            before = disk.core.ledger.line.total
            disk.settle()
            if not disk.core.ledger.line.count and not before:
                return tasks
            continue
        tasks.append(task)
        disk.core.ledger.done(task, None, 0, disk.now)
        disk.core.check()
    raise AssertionError("there is no end of tasks")


def test_memory_is_bounded_and_the_order_is_kept(disk: Disk) -> None:
    for number in range(50):
        disk.push(number)
        disk.settle()
        disk.core.check()
    ledger = disk.core.ledger
    assert len(ledger.tasks) == ledger.open_count == WINDOW
    assert ledger.stats()["waiting"] == disk.core.in_flight == 50
    assert [each.sequence for each in leased(disk)] == list(range(1, 51))
    disk.settle()
    assert disk.rows == {} and disk.core.in_flight == 0


def test_what_was_left_is_read_page_by_page(disk: Disk) -> None:
    for number in range(50):
        disk.push(number, priority=number % 3)
    disk.settle()
    disk.open()
    assert not disk.core.ledger.tasks and disk.core.ledger.accepted == 50
    disk.settle()
    assert len(disk.core.ledger.tasks) == 3 * WINDOW
    tasks = leased(disk)
    for priority in range(3):
        numbers = [each.sequence for each in tasks if each.priority == priority]
        assert numbers == sorted(numbers)
    assert len(tasks) == 50


def test_full_memory_does_not_keep_the_next_task_on_disk(disk: Disk) -> None:
    """Seed 6429: the oldest task was on disk, and no page was read, so nothing was leased."""
    for number in range(2 * WINDOW):
        disk.push(number, priority=9)
    disk.push(99, priority=4, order_by="a")
    disk.settle()
    disk.core._paging._tasks_max = WINDOW
    for _ in range(2 * WINDOW):
        while (task := disk.core.ledger.lease(disk.now)) is None:
            assert disk.core.ledger.line.total, "it waits for a page"
            disk.flush()
            assert disk.works, "and the page is read"
            disk.settle()
        assert task.priority == 9
        disk.core.ledger.check()


def test_a_task_that_is_requeued_does_not_lose_its_body(disk: Disk) -> None:
    """Seed 159: it left memory before the disk had it, and its row was written without it."""
    one = disk.push(0)
    disk.settle()
    disk.now = 1.0
    assert disk.core.ledger.lease(disk.now) is one
    disk.core.ledger.settle(one, Event.EXHAUSTED, disk.now)
    disk.settle()
    for number in range(WINDOW):
        disk.push(number + 1)
    disk.settle()
    disk.push(20, priority=0)
    disk.core.requeue(one, disk.now)
    disk.settle()
    assert not one.is_shelved and disk.rows[one.sequence].body == one.row
    disk.core.check()


def test_a_task_with_a_key_waits_for_what_was_pushed_before_it(disk: Disk) -> None:
    for number in range(20):
        disk.push(number, order_by="a" if number == 12 else None)
    disk.settle()
    assert [each.sequence for each in leased(disk)] == list(range(1, 21))


def test_a_lower_priority_waits_for_the_page_of_a_higher_one(disk: Disk) -> None:
    for number in range(10):
        disk.push(number, priority=9)
    disk.push(10, priority=0)
    disk.settle()
    first = [disk.core.ledger.lease(0.0) for _ in range(WINDOW)]
    assert [each.sequence for each in first if each is not None] == [1, 2, 3, 4]
    assert disk.core.ledger.lease(0.0) is None, "there are others of its priority on disk"
    disk.settle()
    following = disk.core.ledger.lease(0.0)
    assert following is not None and following.sequence == 5


def test_now_and_then_it_is_the_oldest_though_it_must_be_read(disk: Disk) -> None:
    disk.push("low", priority=0)
    for number in range(3 * OLDEST_EVERY):
        disk.push(number, priority=9)
    disk.settle()
    disk.open()
    disk.settle()
    assert [each.priority for each in leased(disk)].index(0) == OLDEST_EVERY - 1


def test_an_empty_row_is_filled_before_a_short_one(disk: Disk) -> None:
    disk.push("low", priority=0)
    for number in range(20):
        disk.push(number, priority=9)
    disk.settle()
    disk.open()
    line = disk.core.ledger.line
    assert line.wanted(crowded=False) == (9, 0, WINDOW)
    line.take_in(Paged(9, [], [], 3, is_last=False), [])
    assert line.wanted(crowded=False) == (9, 3, WINDOW)
    row = made(disk.rows[5])
    disk.core.ledger.bring_in(row)
    line.take_in(Paged(9, [row], [], 5, is_last=False), [row])
    assert line.wanted(crowded=False) == (0, 0, WINDOW)


def test_a_ticket_is_of_the_same_task_before_and_after(disk: Disk) -> None:
    tasks = [disk.push(number) for number in range(20)]
    disk.settle()
    assert tasks[-1].is_shelved and tasks[-1].row == b""
    id = f"{disk.core.incarnation:016x}{20:016x}"
    assert disk.core.ledger.find(id, disk.core.incarnation) is tasks[-1]
    assert leased(disk) == tasks
    assert all(each.state is State.DONE for each in tasks)


def test_a_task_on_disk_only_can_be_cancelled_and_is_not_read_again(disk: Disk) -> None:
    tasks = [disk.push(number) for number in range(20)]
    disk.settle()
    for each in (tasks[10], tasks[19]):
        disk.perform(disk.core.cancel(each, 0.0))
        disk.core.check()
        assert each.state is State.CANCELLED
    assert leased(disk) == [each for each in tasks if each.state is not State.CANCELLED]
    assert disk.core.ledger.stats()["cancelled"] == 2


def test_what_went_from_a_tail_to_its_row_is_not_read_again(disk: Disk) -> None:
    for number in range(WINDOW + 3):
        disk.push(number)
    first = disk.core.ledger.lease(0.0)
    assert first is not None and disk.core.ledger.line.count == WINDOW
    disk.settle()
    disk.core.ledger.done(first, None, 0, 0.0)
    assert [each.sequence for each in leased(disk)] == list(range(2, WINDOW + 4))


@pytest.mark.parametrize("under_way", [False, True])
def test_an_end_that_the_disk_does_not_know_yet_counts(disk: Disk, under_way: bool) -> None:
    tasks = [disk.push(number) for number in range(WINDOW + 4)]
    disk.settle()
    for each in leased_in_memory(disk):
        assert each.is_over
    disk.work()  # the append of what was leased
    disk.flush()
    disk.work()  # the page, which is not heard yet
    ended = tasks[-3:]
    for each in ended:
        disk.perform(disk.core.cancel(each, 0.0))
    if under_way:
        disk.answer()
        disk.answer()
    disk.settle()
    assert [each.state for each in ended] == [State.CANCELLED] * 3
    assert leased(disk) == [tasks[WINDOW]] and not disk.core.in_flight


def test_a_failed_attempt_is_not_behind_what_is_on_disk(disk: Disk) -> None:
    for number in range(20):
        disk.push(number)
    disk.settle()
    first = disk.core.ledger.lease(0.0)
    assert first is not None
    disk.core.ledger.retry(first, "no", 1.0, 0.0)
    disk.core.ledger.tick(1.0)
    assert [each.sequence for each in leased_in_memory(disk)] == [2, 3, 4, 1]


def test_a_delay_that_is_over_does_not_wait_for_what_was_pushed_later(disk: Disk) -> None:
    late = Task(b"late", None, 4)
    late.due_at = 5.0
    disk.core.submit_safely(late, "late", 0.0)
    for number in range(20):
        disk.push(number)
    disk.settle()
    disk.core.ledger.tick(5.0)
    assert late in leased_in_memory(disk)


def test_a_task_without_a_stub_is_found_again(disk: Disk) -> None:
    for number in range(20):
        disk.push(number)
    disk.settle()
    disk.acknowledged.clear()
    line = disk.core.ledger.line
    assert line.stub(20) is None and line.reveal(1, 4) is None and line.reveal(20, 5) is None
    stub = line.reveal(20, 4)
    assert stub is not None and line.stub(20) is stub
    assert leased(disk)[-1] is stub


def test_tasks_that_were_damaged_are_dropped(disk: Disk) -> None:
    tasks = [disk.push(number) for number in range(20)]
    disk.settle()
    page = Paged(4, [made(disk.rows[5]), made(disk.rows[7])], [6], 7, is_last=False)
    [note] = disk.core.paged(page, 0.0)
    assert isinstance(note, Note)
    disk.core.check()
    assert tasks[5].state is State.DROPPED and isinstance(tasks[5].error, JournalError)
    assert disk.core.ledger.stats()["dropped"] == 1


@pytest.mark.parametrize("keeps", [True, False])
def test_tasks_that_are_missing_on_disk_are_dropped(disk: Disk, keeps: bool) -> None:
    tasks = [disk.push(number) for number in range(20)]
    disk.settle()
    disk.acknowledged.clear()
    if not keeps:
        del tasks[WINDOW:]
    disk.perform(disk.core.paged(Paged(4, [made(disk.rows[5])], [], 5, is_last=True), 0.0))
    disk.core.check()
    assert disk.core.ledger.stats()["dropped"] == 15 and disk.core.in_flight == 5
    assert all(each.state is State.DROPPED for each in tasks[5:])


def test_a_journal_that_cannot_be_read_leaves_what_is_in_memory(disk: Disk) -> None:
    for number in range(20):
        disk.push(number, order_by="a" if number == 12 else None)
    disk.settle()
    disk.perform(disk.core.unpaged(JournalError("the disk failed"), 0.0))
    disk.core.check()
    assert [each.sequence for each in leased_in_memory(disk)] == [1, 2, 3, 4, 13]
    assert disk.core.in_flight == 15


def leased_in_memory(disk: Disk) -> list[Task]:
    tasks = []
    while (task := disk.core.ledger.lease(0.0)) is not None:
        tasks.append(task)
        disk.core.ledger.done(task, None, 0, 0.0)
    return tasks


def test_a_quota_of_the_disk_is_an_answer(disk: Disk) -> None:
    disk.push(1)
    disk.settle()
    disk.core.ledger.journal_bytes = LIMITS.journal_bytes_max
    assert not disk.core.ledger.has_room(Task(b"x", None, 4))
    with pytest.raises(QueueFull, match="in a journal"):
        disk.push(2)


def test_plain_tasks_have_room_where_tasks_with_keys_have_not(disk: Disk) -> None:
    for number in range(LIMITS.tasks_max):
        disk.push(number, order_by="a")
    with pytest.raises(QueueFull):
        disk.push("keyed", order_by="a")
    for number in range(100):
        disk.push(f"plain {number}")
        disk.settle()
    assert disk.core.in_flight == LIMITS.tasks_max + 100


def test_a_page_may_have_a_task_that_is_in_memory_by_now(disk: Disk) -> None:
    """Seed 1071: all tasks before it were cancelled while the page was on its way."""
    disk.push(1)
    disk.settle()
    disk.open()
    disk.push(2)
    first = disk.core.ledger.line.reveal(1, 4)
    assert first is not None
    disk.perform(disk.core.cancel(first, disk.now))
    disk.settle()
    disk.core.check()
    assert [each.sequence for each in leased_in_memory(disk)] == [2]
