"""The pipeline in a world that is simulated: what is promised, each as a scenario."""

from __future__ import annotations

import os

import pytest

from zmqkit.core.calls.request import Request
from zmqkit.core.tasks.task import State
from zmqkit.limits import RETRY_S, PusherLimits
from zmqkit.simulation.disk import JournalFile
from zmqkit.simulation.network import Weather
from zmqkit.simulation.oracle import Broken
from zmqkit.simulation.simulation import replay, run
from zmqkit.simulation.task_users import TaskUsers
from zmqkit.simulation.tasks import Pushed, PusherRole, WorkerRole
from zmqkit.simulation.world import Plan, World

SEEDS = int(os.environ.get("ZMQKIT_SEEDS", "25"))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SEEDS))
def test_every_invariant_holds_of_tasks_when_power_is_cut_often(seed: int) -> None:
    result = run(seed, only="tasks")
    command = replay(seed, only="tasks")
    assert not result.broken, f"seed {seed}: {result.broken}\nreplay: {command}"
    assert result.ends["task done"]


def test_a_task_that_is_cancelled_in_the_turn_it_came_in_keeps_its_key_on_disk() -> None:
    """Seed 8000043: the oracle took a streamer's task without its key for what was pushed."""
    result = run(8000043, only="tasks")
    assert not result.broken
    assert result.ends["task recovered"]


class Stage:
    """A world with a pusher and a worker, on a host each, and nobody else."""

    def __init__(self, seed: int = 1, *, journaled: bool = True, concurrency: int = 2) -> None:
        self.world = World(1, Plan(Weather(), concurrency=concurrency, ports_stay=True))
        self.users = TaskUsers(self.world, seed, ["a", "b", "c"], self.world.crash)
        self.users.storming, self.users.limits = False, PusherLimits()
        self.users.write_s = (0.01, 0.01)
        self.oracle = self.users.oracle
        self.journaled = journaled
        self.worker = self.work_at("b")
        self.pusher = self.push_at("a")
        self.world.run(1.0)

    @property
    def file(self) -> JournalFile:
        """The journal of the pusher."""
        file = self.pusher.queue.file
        assert file is not None
        return file

    def work_at(self, host: str) -> WorkerRole:
        process = self.world.processes.get(host) or self.world.start(host)
        return self.users.worker(process, "mail", attempts=3)

    def push_at(self, host: str) -> PusherRole:
        process = self.world.processes.get(host) or self.world.start(host)
        role = self.users.pusher(process, "mail", journaled=self.journaled)
        assert role is not None
        self.pusher = role
        return role

    def push(self, way: str = "return", *, run_s: float = 0.2, **options: object) -> Pushed:
        """Push a task whose handler does what `way` says, and let time pass."""
        made: list[Pushed] = []
        self.pusher.driver.post(
            lambda now: made.append(
                self.oracle.push(self.pusher, way, now, waits=True, **options)
            )
        )
        self.world.run(0.005)
        self.world.run(run_s)
        return made[0]

    def ask(self, pushed: Pushed, what: str) -> None:
        self.pusher.driver.post(lambda now: self.oracle.ask(pushed, what, now))
        self.world.run(0.1)

    def crash(self) -> None:
        """Kill the pusher's process, and start it again."""
        self.world.crash("a")
        self.world.run(1.0)
        self.push_at("a")
        self.world.run(3.0)


@pytest.mark.parametrize("journaled", [False, True])
def test_a_task_is_done(journaled: bool) -> None:
    stage = Stage(journaled=journaled)
    pushed = stage.push()
    assert pushed.state is State.DONE and pushed.acknowledged and not pushed.waits
    stage.oracle.judge_all()


def test_what_was_acknowledged_survives_a_crash() -> None:
    stage = Stage()
    pushed = stage.push("hang")
    assert pushed.acknowledged and pushed.state is State.LEASED
    stage.crash()
    assert pushed.state is State.LEASED and pushed.task.attempt == 1
    stage.worker.free()
    stage.world.run(1.0)
    assert pushed.state is State.DONE and len(pushed.runs) == 1


def test_a_push_that_was_not_acknowledged_is_in_the_journal_as_a_whole_or_not() -> None:
    kept = set()
    for seed in range(8):
        stage = Stage(seed)
        pushed = stage.push("hang", run_s=0.0)
        assert stage.file.busy and not pushed.acknowledged
        stage.crash()
        kept.add(pushed.void)
        assert pushed.task.sequence in stage.file.numbers or pushed.void
        assert stage.file.counts["cuts"] == 1
    assert kept == {True, False}


def test_a_full_disk_refuses_what_is_new_and_the_rest_goes_on() -> None:
    stage = Stage()
    before = stage.push("hang")
    stage.file.full_until = stage.world.timeline.now + 1.0
    assert stage.push("hang").refused
    stage.worker.free()
    stage.world.run(0.5)
    assert before.state is State.DONE and stage.file.plain
    stage.world.run(1.0 + RETRY_S)
    assert not stage.file.numbers
    assert stage.push().state is State.DONE


def test_a_disk_that_fails_is_not_written_until_it_is_opened_anew() -> None:
    stage = Stage()
    stage.file.fails = True
    assert stage.push("hang").doubtful
    assert stage.push().refused
    stage.crash()
    assert stage.push().state is State.DONE


def test_a_pusher_that_was_closed_goes_on_where_it_was() -> None:
    stage = Stage(concurrency=1)
    hanging, waiting = stage.push("hang"), stage.push()
    stage.pusher.close_soon()
    stage.world.run(1.0)
    assert not hanging.waits and not waiting.waits
    stage.push_at("a")
    stage.worker.free()
    stage.world.run(3.0)
    stage.worker.free()
    stage.world.run(3.0)
    assert hanging.state is waiting.state is State.DONE


def test_a_task_of_a_key_waits_for_the_one_before() -> None:
    stage = Stage()
    first = stage.push("hang", order_by="a")
    second, other = stage.push(order_by="a"), stage.push(order_by="b")
    assert (second.runs, other.state) == ([], State.DONE)
    stage.ask(first, "cancel")
    stage.world.run(0.5)
    assert second.state is State.DONE


def test_a_worker_that_is_killed_costs_an_attempt() -> None:
    stage = Stage()
    pushed = stage.push("hang")
    stage.work_at("c")
    stage.world.crash("b")
    stage.world.run(8.0)
    assert len(pushed.runs) == 2 and pushed.failed == 1


def test_a_worker_out_of_reach_may_finish_what_it_had() -> None:
    stage = Stage()
    pushed = stage.push("hang")
    a, b = (stage.world.processes[name].host for name in "ab")
    stage.world.network.cut(a, b)
    stage.world.run(8.0)
    assert pushed.state is State.WAITING and pushed.failed == 1
    stage.world.network.heal(a, b)
    stage.worker.free()
    stage.world.run(5.0)
    assert pushed.state is State.DONE and not pushed.waits


def test_a_clock_that_is_set_moves_what_waits_only_while_nobody_has_the_file() -> None:
    stage = Stage()
    pushed = stage.push(due_at=stage.world.timeline.now + 20.0)
    due_at = pushed.task.due_at
    stage.pusher.queue.clock.step(-3.0)
    stage.world.run(1.0)
    assert pushed.task.due_at == due_at
    stage.crash()
    assert pushed.task.due_at == pytest.approx(due_at + 3.0)
    stage.world.run(30.0)
    assert pushed.state is State.DONE


def test_a_queue_that_is_full_says_so() -> None:
    stage = Stage(journaled=False)
    stage.users.limits = PusherLimits(tasks_max=2)
    stage.push_at("c")
    for _ in range(2):
        assert not stage.push("hang").refused
    assert stage.push("hang").refused


def test_an_abandoned_handler_ends_at_once_if_it_heeds() -> None:
    stage = Stage()
    stage.worker._heeds = True
    pushed = stage.push("hang")
    [run_] = pushed.runs
    stage.ask(pushed, "cancel")
    stage.world.run(0.5)
    assert not run_.goes_on and pushed.state is State.CANCELLED


def test_a_second_run_by_the_same_lease_is_broken() -> None:
    stage = Stage()
    pushed = stage.push("hang")
    request = pushed.runs[0].request
    assert isinstance(request, Request)
    with pytest.raises(Broken, match="a lease runs once"):
        stage.oracle.begin(stage.worker, request)


def test_a_journal_is_opened_by_one_process_at_a_time() -> None:
    stage = Stage()
    assert not stage.file.open(stage.world.processes["b"].host)
