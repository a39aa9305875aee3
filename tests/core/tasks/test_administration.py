"""What an operator learns of a queue, and what becomes of tasks that one changes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tests.core.tasks.world import World, raised
from zmqkit.core.effects import News, Note
from zmqkit.core.tasks.administration import administer
from zmqkit.core.tasks.task import State, Task
from zmqkit.errors import UsageError
from zmqkit.limits import PAGE_TASKS, PusherLimits
from zmqkit.wire.encoding import encode


@pytest.fixture
def world() -> World:
    return World()


def ask(world: World, do: str, **keys: object) -> Any:
    answer, effects = administer(world.core, {"do": do, **keys}, world.now)
    world.perform(effects)
    world.settle()
    return answer


def ids(answer: Any) -> list[str]:
    return [each["id"] for each in answer["tasks"]]


def dead(world: World, count: int) -> list[Task]:
    """Tasks whose only attempt failed."""
    worker = world.worker(attempts=1)
    tasks = world.push(*range(count))
    for _ in range(count):
        world.finish(worker, raised("no"))
    world.tell(News.GONE, worker)
    return tasks


def test_ls_tells_what_waits_what_runs_and_for_how_long(world: World) -> None:
    worker = world.worker()
    [running, *_] = world.push(1, 2, 3)
    world.now += 7
    told = ask(world, "ls")
    assert (told["name"], told["waiting"], told["leased"], told["ready"]) == (
        "thumbnails", 2, 1, 2,
    )  # fmt: skip
    assert (told["oldest_s"], told["workers"]) == (7, 1)
    assert told["longest"] == {
        "id": world.core.id_of(running), "attempt": 1, "running_s": 7,
        "worker": f"tcp://127.0.0.1:{5000 + worker.number}",
    }  # fmt: skip


def test_of_attempts_of_an_earlier_process_it_is_unknown_when_they_began(world: World) -> None:
    kept = Task(encode([[1], {}]), None, 4)
    kept.sequence = 1
    world.core.recover([kept], 1, 2, world.now, leases={7 << 32: [(1, 1)]})
    told = ask(world, "ls")
    assert (told["leased"], told["longest"]) == (1, None)


def test_what_may_not_run_yet_does_not_make_the_queue_old(world: World) -> None:
    world.push(1, due_at=world.now + 60)
    world.now += 10
    assert ask(world, "ls")["oldest_s"] is None
    world.pass_(55)
    assert ask(world, "ls")["oldest_s"] == 5


def test_peek_shows_tasks_in_the_order_of_their_numbers(world: World) -> None:
    world.push(1, 2, own_id=None)
    world.push("cat", own_id="order-17", unique="cat", order_by="animals", priority=9)
    told = ask(world, "peek", states=["waiting"], bodies=100)
    assert ids(told)[2] == "order-17" and told["next"] is None
    last = told["tasks"][2]
    assert (last["priority"], last["unique"], last["order_by"]) == (9, "cat", "animals")
    assert last["row"].endswith(encode("cat") + encode({}))


def test_a_leased_task_is_shown_with_its_worker(world: World) -> None:
    world.worker()
    world.push(1)
    world.now += 3
    [told] = ask(world, "peek", states=["leased"])["tasks"]
    assert (told["worker"], told["running_s"]) == ("tcp://127.0.0.1:5000", 3)


def test_bodies_that_are_too_long_are_left_out(world: World) -> None:
    world.push("short", "x" * 50)
    told = ask(world, "peek", states=["waiting"], bodies=20)["tasks"]
    assert ["row" in each for each in told] == [True, False]


def test_a_page_ends_at_so_many_tasks_and_the_next_goes_on(world: World) -> None:
    world.push(*range(5))
    first = ask(world, "peek", states=["waiting"], count=3)
    second = ask(world, "peek", states=["waiting"], count=3, after=first["next"])
    assert (len(ids(first)), len(ids(second)), second["next"]) == (3, 2, None)
    assert not set(ids(first)) & set(ids(second))


def test_a_page_ends_at_so_many_bytes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zmqkit.core.tasks.administration.PAGE_BYTES", 1000)
    world.push(*["x" * 400] * 5)
    first = ask(world, "peek", states=["waiting"], bodies=10_000)
    assert len(ids(first)) == 2
    assert len(ids(ask(world, "peek", states=["waiting"], bodies=10_000, after=4))) == 1


def test_dead_tasks_wait_again(world: World) -> None:
    tasks = dead(world, 3)
    [told, *_] = ask(world, "peek", states=["dead"])["tasks"]
    assert told["reasons"] == ["ValueError: no"]
    assert ask(world, "requeue", ids=[world.core.id_of(tasks[0]), "nope"]) == {
        "changed": 1, "missed": {"nope": "not here, or forgotten"}, "next": None,
    }  # fmt: skip
    assert ask(world, "requeue", all=True)["changed"] == 2
    assert [each.state for each in tasks] == [State.WAITING] * 3


def test_requeue_says_that_there_is_no_room() -> None:
    world = World(PusherLimits(tasks_max=2))
    worker = world.worker(attempts=1)
    for _ in range(3):
        world.push(1)
        world.finish(worker, raised("no"))
    world.tell(News.GONE, worker)
    told = ask(world, "requeue", all=True)
    assert told["changed"] == 2 and "no room" in told["full"] and told["next"] is None


def test_purging_those_that_wait_leaves_the_others(world: World) -> None:
    world.worker()
    [running, waiting] = world.push(1, 2)
    assert ask(world, "purge", states=["waiting"])["changed"] == 1
    assert (running.state, waiting.state) == (State.LEASED, State.DROPPED)


def test_purging_more_than_a_page_goes_on(world: World) -> None:
    tasks = world.push(*range(PAGE_TASKS + 1))
    first = ask(world, "purge", states=["waiting", "dead"])
    assert (first["changed"], first["next"]) == (PAGE_TASKS, tasks[-2].sequence)
    assert ask(world, "purge", states=["waiting"], after=first["next"])["changed"] == 1
    assert world.core.stats()["dropped"] == PAGE_TASKS + 1


def test_a_worker_is_told_of_a_task_that_is_given_up(world: World) -> None:
    worker = world.worker()
    [running, waiting] = world.push(1, 2)
    named = [world.core.id_of(each) for each in (running, waiting)]
    assert ask(world, "cancel", ids=named)["changed"] == 2
    assert worker.handed[0].cancelled
    assert ask(world, "cancel", ids=named)["missed"] == dict.fromkeys(named, "cancelled")


def test_a_paused_queue_takes_tasks_and_gives_none_out(world: World) -> None:
    worker = world.worker(concurrency=2)
    [first] = world.push(1)
    assert ask(world, "pause") == {"changed": 1}
    assert ask(world, "pause") == {"changed": 0}
    [second] = world.push(2)
    world.finish(worker)
    assert (first.state, second.state) == (State.DONE, State.WAITING)
    assert ask(world, "ls")["paused"]
    assert ask(world, "resume") == {"changed": 1}
    assert second.state is State.LEASED


def test_a_pause_is_noted(world: World) -> None:
    _, effects = administer(world.core, {"do": "pause"}, world.now)
    assert effects == [Note("queue-paused", {"name": "thumbnails"})]


def test_what_expires_does_so_in_a_paused_queue(world: World) -> None:
    ask(world, "pause")
    [task] = world.push(1, expires_at=world.now + 5)
    world.pass_(6)
    assert task.state is State.EXPIRED


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ({}, "knows no None"),
        ({"do": "explode"}, "knows no 'explode'; there are ls, peek"),
        ({"do": "peek"}, "states are None"),
        ({"do": "peek", "states": ["done"]}, "no task stays 'done'"),
        ({"do": "peek", "states": ["dead"], "count": 0}, "count is 0"),
        ({"do": "peek", "states": ["dead"], "after": "x"}, "after is 'x'"),
        ({"do": "cancel"}, "needs the ids"),
        ({"do": "requeue", "ids": [7]}, "ids are a list"),
    ],
)
def test_a_wrong_question_is_refused(
    world: World, question: dict[str, object], text: str
) -> None:
    with pytest.raises(UsageError, match=text):
        administer(world.core, question, world.now)


_ANYTHING = some.one_of(
    some.none(), some.booleans(), some.integers(), some.floats(), some.text(), some.binary(),
    some.lists(some.one_of(some.text(), some.integers(), some.sampled_from(["waiting", "dead"]),
                           some.lists(some.integers()))),
    some.dictionaries(some.text(), some.integers()),
)  # fmt: skip
_KEYS = some.sampled_from(["ids", "states", "after", "count", "bodies", "all", "other"])
_DO = some.one_of(
    some.sampled_from(["ls", "peek", "requeue", "purge", "cancel", "pause", "resume"]),
    _ANYTHING,
)


@given(_DO, some.dictionaries(_KEYS, _ANYTHING))
def test_no_question_breaks_the_queue(do: object, keys: dict[str, object]) -> None:
    world = World()
    world.worker()
    world.push(1, 2)
    try:
        answer, effects = administer(world.core, {"do": do, **keys}, world.now)
    except UsageError:
        return
    world.perform(effects)
    world.settle()
    assert encode(answer)
