"""A worker's core beside a pusher's: what it does with tasks that it has not begun."""

from __future__ import annotations

import pytest

from tests.core.tasks.world import Worker, World
from zmqkit.core.tasks.task import State, Task

QUICK_S = 0.0001


@pytest.fixture
def world() -> World:
    return World()


def quick(world: World) -> Worker:
    """A worker of one place whose tasks are so short that it takes many ahead."""
    worker = world.worker()
    world.push(*range(5))
    for _ in range(5):
        world.finish(worker, took_s=QUICK_S)
    return worker


def counted(tasks: list[Task]) -> dict[State, int]:
    states = [each.state for each in tasks]
    return {state: states.count(state) for state in set(states)}


def test_one_that_leaves_gives_back_what_it_has_not_begun(world: World) -> None:
    worker = quick(world)
    tasks = world.push(*range(10))
    assert worker.core.in_flight == 10 and len(worker.handed) == 1
    worker.take(worker.core.leave())
    world.settle()
    assert counted(tasks) == {State.LEASED: 1, State.WAITING: 9}
    assert worker.core.in_flight == 1
    world.finish(worker, took_s=QUICK_S)
    assert counted(tasks) == {State.DONE: 1, State.WAITING: 9}
    assert [each.attempt for each in tasks] == [1, *[0] * 9]
    other = world.worker()
    for _ in range(9):
        world.finish(other)
    assert counted(tasks) == {State.DONE: 10}


def test_one_that_takes_a_number_of_tasks_takes_no_more(world: World) -> None:
    worker = quick(world)
    worker.core.limit_requests(3, world.now)
    tasks = world.push(*range(10))
    for left in (3, 2, 1):
        assert not worker.core.is_spent and worker.core.in_flight == left
        world.finish(worker, took_s=QUICK_S)
    assert worker.core.is_spent and not worker.handed
    assert counted(tasks) == {State.DONE: 3, State.WAITING: 7}
    world.pass_(5.0)
    assert not worker.handed
    assert [each.attempt for each in tasks] == [*[1] * 3, *[0] * 7]


def test_what_it_has_already_counts(world: World) -> None:
    worker = quick(world)
    tasks = world.push(*range(4))
    worker.core.limit_requests(3, world.now)
    for _ in range(4):
        world.finish(worker, took_s=QUICK_S)
    assert worker.core.is_spent and counted(tasks) == {State.DONE: 4}
    [more] = world.push(9)
    assert more.state is State.WAITING


def test_one_that_takes_a_single_task_is_spent_after_it(
    world: World,
) -> None:
    worker = world.worker()
    worker.core.limit_requests(1, world.now)
    assert not worker.core.is_spent
    one, two = world.push(1, 2)
    world.finish(worker)
    assert worker.core.is_spent and (one.state, two.state) == (State.DONE, State.WAITING)
