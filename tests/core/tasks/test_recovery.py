"""What a pusher with a journal does when the disk refuses, and when it starts again."""

from __future__ import annotations

import pytest

from tests.core.tasks.file import OFFSET, File
from tests.core.tasks.world import World, raised, task
from zmqkit.core.effects import Append
from zmqkit.core.tasks.lease import TASK
from zmqkit.core.tasks.task import State, Task
from zmqkit.errors import JournalError
from zmqkit.limits import RETRY_S, PusherLimits
from zmqkit.roles.journaled import changes_of, tasks_of

FULL = JournalError("the disk is full", may_retry=True)


@pytest.fixture
def world() -> World:
    """A pusher whose journal is new."""
    world = World()
    world.core.recover([], 0, 1, world.now)
    return world


def push(world: World, body: object, **options: object) -> Task:
    """Push a task whose waiter is its body."""
    made = task(body, **options)
    world.core.submit_safely(made, body, world.now)
    return made


def append(world: World) -> Append:
    """The append that follows from what was pushed."""
    effects = world.core.flush(world.now)
    world.perform(effects)
    [found] = [each for each in effects if isinstance(each, Append)]
    return found


def refuse(world: World, number: int) -> None:
    world.perform(world.core.unwritten(number, FULL, world.now))


def restored(one: Task) -> Task:
    """The task as the next process finds it in the journal."""
    changes = changes_of(Append(1, [one], one.sequence), 1e9)
    [found] = tasks_of(changes.entries, changes.outcomes, 1e9)
    return found


@pytest.mark.parametrize("way", ["leased", "spared", "failed"])
def test_a_journal_counts_the_attempts_that_have_failed(world: World, way: str) -> None:
    """Seed 4: what a worker had as the append was written counted after a crash."""
    worker = world.worker(concurrency=1)
    one = push(world, 1, order_by="a")
    world.settle()
    if way == "failed":
        world.finish(worker, raised("no"))
    elif way == "spared":
        world.core.ledger.spare(one, world.now)
    assert restored(one).attempt == (way == "failed")


def test_what_the_disk_refused_leaves_nothing_to_write(world: World) -> None:
    """Seed 16: each refused push left a deletion, as long as the disk was full."""
    for body in range(5):
        push(world, body)
        refuse(world, append(world).number)
        world.pass_(RETRY_S)
    assert not world.core.ledger.changes


def test_what_is_forgotten_before_the_disk_had_it_leaves_nothing_to_write() -> None:
    """Seed 13: a task that had ended was deleted on disk, where it had not been."""
    world = World(PusherLimits(outcomes_max=2))
    world.core.recover([], 0, 1, world.now)
    for body in range(5):
        world.perform(world.core.cancel(push(world, body), world.now))
    refuse(world, append(world).number)
    assert world.core.ledger.changes is not None and len(world.core.ledger.changes) == 2


def test_a_refused_push_may_be_tried_again_with_its_id(world: World) -> None:
    refused = push(world, 1, own_id="order-17")
    refuse(world, append(world).number)
    world.pass_(RETRY_S)
    again = push(world, 2, own_id="order-17")
    assert again.twin is None and refused.state is State.DROPPED
    world.perform(world.core.appended(append(world).number, 0, world.now))
    assert world.outcomes == [(1, refused, refused.error), (2, again, None)]


def test_a_push_whose_task_is_dead_before_the_disk_refuses_it_is_refused(world: World) -> None:
    worker = world.worker(attempts=1)
    worker.core.about[TASK] = {"attempts": 1}
    one = push(world, 1)
    number = append(world).number
    world.settle()
    world.finish(worker, raised("no"))
    assert one.state is State.DEAD
    refuse(world, number)
    assert one.state is State.DROPPED and isinstance(one.error, JournalError)
    assert world.outcomes == [(1, one, one.error)]


def test_a_dead_task_that_is_requeued_and_handed_over_leaves_nothing(world: World) -> None:
    """Seed 134: if one append had both, a dead task without a body was found afterwards."""
    worker = world.worker(attempts=1)
    worker.core.about[TASK] = {"attempts": 1}
    one, file = push(world, 1), File()
    world.settle()
    world.finish(worker, raised("no"))
    assert one.state is State.DEAD
    file.write(Append(1, [one], one.sequence))
    world.core.requeue(one, world.now)
    assert world.core.ledger.lease(world.now) is one
    world.core.ledger.hand_over(one, 7)
    file.write(Append(2, [one], one.sequence))
    assert not [*tasks_of(file.entries.values(), file.outcomes.values(), OFFSET)]


def test_a_push_returns_though_its_task_was_purged_before_the_disk_refused_it(
    world: World,
) -> None:
    """Seed 3523: it raised what the purge says, and the next push with its id returned it."""
    one = push(world, 1, own_id="order-17")
    number = append(world).number
    world.perform(world.core.purge(one, world.now))
    refuse(world, number)
    assert world.outcomes == [(1, one, None)]


def test_a_twin_of_a_push_that_was_given_up_waits_for_the_disk(world: World) -> None:
    one = push(world, 1, own_id="order-17")
    world.perform(world.core.await_append_no_more(1, world.now))
    refuse(world, append(world).number)
    twin = push(world, 2, own_id="order-17")
    world.now += RETRY_S
    refuse(world, append(world).number)
    assert twin.twin is one and isinstance(world.outcomes[0][2], JournalError)


def test_whoever_waits_for_an_append_that_never_comes_is_told(world: World) -> None:
    """The next append was to have the second push; its sender waited for ever."""
    one = push(world, 1)
    number = append(world).number
    two = push(world, 2)
    world.perform(world.core.unwritten(number, JournalError("the disk failed"), world.now))
    assert [each.state for each in (one, two)] == [State.DROPPED, State.DROPPED]
    assert world.outcomes == [(1, one, one.error), (2, two, two.error)]
    assert isinstance(two.error, JournalError)
    world.core.check()


def test_a_closed_pusher_has_no_lease(world: World) -> None:
    """Seed 1: leases were left in no place."""
    world.worker()
    push(world, 1)
    world.settle()
    world.perform(world.core.close())
    world.core.check()
