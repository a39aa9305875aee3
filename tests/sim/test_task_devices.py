"""Streamers and sinks in a world that is simulated, each as a scenario."""

from __future__ import annotations

from math import inf

import pytest

from tests.sim.test_tasks import Stage
from zmqkit.core.calls.request import Request
from zmqkit.core.tasks.lease import TASK
from zmqkit.core.tasks.task import OPEN, State
from zmqkit.limits import LINGER_S_MAX, PRIORITY, TURN_S
from zmqkit.simulation.oracle import Broken
from zmqkit.simulation.simulation import run
from zmqkit.simulation.task_ends import judge_end
from zmqkit.simulation.tasks import SinkRole, StreamerRole


def stream_at(stage: Stage, host: str, *, journaled: bool = True) -> StreamerRole:
    """Start a streamer, and wait until the pusher has turned to it."""
    stage.pusher.queue.is_streamed = True
    process = stage.world.processes.get(host) or stage.world.start(host)
    role = stage.users.devices.streamer(process, "mail", journaled=journaled)
    assert role is not None
    stage.world.run(TURN_S + 2.0)
    return role


def sink_at(stage: Stage, host: str) -> SinkRole:
    process = stage.world.processes.get(host) or stage.world.start(host)
    role = stage.users.devices.sink(process, "mail")
    stage.world.run(1.0)
    return role


def test_what_a_streamer_accepted_survives_its_crash() -> None:
    stage = Stage(journaled=False)
    streamer = stream_at(stage, "c")
    pushed = stage.push("hang")
    assert pushed.journal == streamer.queue.id and not pushed.runs
    stage.world.crash("c")
    stage.world.run(10.0)
    assert pushed.state is State.LEASED and not pushed.runs, "it waits for the streamer"
    stream_at(stage, "c")
    stage.worker.free()
    stage.world.run(3.0)
    assert pushed.state is State.DONE
    stage.oracle.judge_all()


def test_a_streamer_without_a_journal_that_leaves_hands_back_what_waits() -> None:
    stage = Stage(concurrency=1)
    streamer = stream_at(stage, "c", journaled=False)
    hanging, waiting = stage.push("hang"), stage.push()
    stage.world.leave(streamer)
    for _ in range(2):  # its last word may be lost
        stage.world.run(LINGER_S_MAX + 1.0)
        stage.worker.free()
    stage.world.run(5.0)
    assert hanging.state is waiting.state is State.DONE and waiting.runs


@pytest.mark.parametrize("streamed", [False, True])
def test_a_result_waits_for_a_sink(streamed: bool) -> None:
    stage = Stage()
    if streamed:
        stream_at(stage, "c")
    pushed = stage.push(to_sink=True)
    assert pushed.state in (State.WAITING, State.LEASED)
    sink_at(stage, "b")
    assert pushed.state is State.DONE


def test_a_sink_that_leaves_gives_back_what_it_did_not_accept() -> None:
    stage = Stage()
    sink = sink_at(stage, "c")
    sink._pace_s = lambda: 0.0 if sink._holds is None else inf
    pushed = stage.push(to_sink=True)
    assert sink._holds is pushed and pushed.state is State.LEASED
    stage.world.leave(sink)
    stage.world.run(2.0)
    assert pushed.state is State.WAITING and not pushed.taken
    sink_at(stage, "c")
    assert pushed.state is State.DONE and pushed.taken == 1


def test_a_result_that_comes_again_after_a_sink_accepted_it_is_broken() -> None:
    stage = Stage()
    sink = sink_at(stage, "c")
    sink._pace_s = lambda: 0.0 if sink._holds is None else 0.1
    pushed = stage.push(to_sink=True, run_s=0.05)
    request = sink.results._taken
    assert request is not None
    stage.world.run(1.0)
    assert pushed.state is State.DONE and pushed.sunk is not None
    request.sequence = pushed.sunk[1]
    with pytest.raises(Broken, match="does not come again"):
        stage.oracle.delivered(sink, request)


def test_a_streamer_may_cancel_what_its_pusher_has_the_result_of() -> None:
    """Found by seed 801054.

    A worker had done the task before the streamer, which had it too. Its result waited for a
    sink at the pusher, and the pusher gave the task up at the streamer.
    """
    stage = Stage()
    streamer = stream_at(stage, "c")
    pushed = stage.push("hang", to_sink=True)
    passing, now = stage.oracle.passing, stage.world.timeline.now
    [copy] = [each for each in passing.kin(pushed) if each is not pushed]
    streamer.core.tasks.cancel(copy.task, now)
    copy.state = copy.task.state
    with pytest.raises(Broken, match="somebody cancelled it"):
        judge_end(passing, streamer, copy, {1}, now)
    pushed.task.is_result = True
    judge_end(passing, streamer, copy, {1}, now)


def test_a_streamer_may_hear_of_a_purge_that_its_pusher_forgot() -> None:
    """Found by seed 8207643: the pusher was killed before its journal had the purge."""
    stage = Stage(seed=2)  # the disk has not taken the append
    stream_at(stage, "c")
    pushed = stage.push("hang")
    [copy] = [each for each in stage.oracle.passing.kin(pushed) if each is not pushed]
    stage.world.pause("c", silent=True)
    stage.pusher.driver.post(lambda now: stage.oracle.ask(pushed, "purge", now))
    stage.world.run(0.005)
    stage.crash()
    assert pushed.state in OPEN
    stage.world.resume("c")
    stage.world.run(3.0)
    assert copy.state is State.CANCELLED


def test_what_a_streamer_cancels_as_it_comes_may_run_for_another_with_its_id() -> None:
    """Found by seed 9000000: two pushers used one id, and the worker ran the cancelled task."""
    stage = Stage()
    streamer = stream_at(stage, "c")
    one = stage.pusher
    stage.users.clocks["d"] = stage.users.clocks["a"]
    other = stage.push_at("d")
    other.queue.is_streamed = True
    stage.world.run(1.0)
    stage.world.pause("c", silent=True)
    stage.world.pause("b", silent=True)
    stage.pusher = one
    first = stage.push(own_id="x")
    stage.ask(first, "cancel")
    stage.pusher = other
    second = stage.push(own_id="x")
    stage.world.resume("c")
    stage.world.run(0.5)
    cancelled, _ = stage.oracle.passing.copies
    assert (cancelled.token, cancelled.state) == (second.token, State.CANCELLED)
    about = {TASK: [cancelled.task.sequence, 1, "x"]}
    request = Request(
        1, streamer.queue.id, 1, "task", [first.token], {}, about, PRIORITY, inf, oneway=False
    )
    assert stage.oracle.begin(stage.worker, request).pushed is cancelled


def test_what_a_streamer_has_of_one_key_says_nothing_of_another_with_the_id() -> None:
    """Found by seed 9694846: the one with the id was not on disk yet when the power was cut."""
    result = run(9694846)
    assert not result.broken and result.ends["task handed over"]


def test_tasks_that_fail_one_after_another_are_given_the_time_to_end() -> None:
    """Found by seed 9811571: forty of them, in order, took over half a minute."""
    result = run(9811571)
    assert not result.broken and result.ends["task dead"]
