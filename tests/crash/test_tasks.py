"""What becomes of tasks whose workers are killed, stopped or busy: each is done and counted."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

import zmqkit
from tests.crash.stage import BOUND_S, Start, balance, until
from tests.crash.tasks_actor import begun
from zmqkit.limits import PREFETCH_TASK_S

pytestmark = pytest.mark.slow

KILLS = 15
PAUSE_S = 10.0
BUSY_S = 7.0
KINDS = pytest.mark.parametrize("kind", ["blocking", "asyncio"])


@pytest.fixture
def pusher(name: str) -> Iterator[zmqkit.Pusher]:
    """A blocking pusher of the test's name in this process."""
    with zmqkit.Pusher(name) as pusher:
        yield pusher
        pusher.close(0)


@pytest.fixture
def diary(tmp_path: Path) -> Path:
    """Where workers write down which tasks they begin."""
    return tmp_path / "diary"


def sum_of_states(stats: dict[str, object]) -> int:
    return sum(n for name, n in stats.items() if name != "accepted" and isinstance(n, int))


@KINDS
@pytest.mark.parametrize("ahead", [False, True], ids=["one at a time", "taken ahead"])
def test_every_task_is_done_though_workers_are_killed_at_any_moment(
    start: Start, diary: Path, kind: str, ahead: bool
) -> None:
    task_s, places = (0.0, 4) if ahead else (3 * PREFETCH_TASK_S, 1)
    chance = random.Random(17)
    options = {"kind": kind, "diary": str(diary), "concurrency": places}
    workers = [start("worker", **options) for _ in range(3)]
    load = start("pusher", kind, task_s=task_s)
    for _ in range(KILLS):
        victim = workers.pop(chance.randrange(len(workers)))
        time.sleep(chance.uniform(0.0, 0.05))
        victim.close()
        workers.append(start("worker", **options))
    load.order("end")
    ended = load.event("ended")
    stats, attempts = ended["stats"], ended["attempts"]
    assert stats["accepted"] == stats["done"] == sum_of_states(stats) == len(attempts) > KILLS
    assert (ended["wrong"], ended["states"]) == (0, {"done": stats["accepted"]})
    # No attempt ran twice, and none that the pusher does not count.
    runs = begun(diary)
    assert len(runs) == len(set(runs))
    ran = Counter(task for task, _ in runs)
    assert ran.keys() == attempts.keys()
    assert all(attempts[task] >= count for task, count in ran.items())
    if not ahead:  # so no worker had more than the one that it was killed in
        assert sum(attempts.values()) - len(attempts) <= KILLS


@KINDS
def test_no_task_is_lost_while_a_worker_is_stopped_and_goes_on(
    start: Start, diary: Path, kind: str
) -> None:
    workers = [start("worker", kind, diary=str(diary)) for _ in range(2)]
    load = start("pusher", kind, task_s=0.005)
    stopped = workers[0]
    until(lambda: stopped.ask("stats")["delivered"] > 20)
    stopped.send(signal.SIGSTOP)
    time.sleep(PAUSE_S)
    stopped.send(signal.SIGCONT)
    before = stopped.ask("stats")["delivered"]
    until(lambda: stopped.ask("stats")["delivered"] > before + 20)
    load.order("end")
    ended = load.event("ended")
    stats = ended["stats"]
    assert stats["accepted"] == stats["done"] == sum_of_states(stats)
    assert (ended["wrong"], ended["states"]) == (0, {"done": stats["accepted"]})
    runs = begun(diary)
    assert len(runs) == len(set(runs))
    assert {task for task, _ in runs} == ended["attempts"].keys()
    for worker in workers:
        until(lambda worker=worker: worker.ask("stats")["in_flight"] == 0)
        assert balance(worker.ask("stats")) == 0


@pytest.mark.parametrize("how", ["snooze", "burn"])
def test_a_task_that_keeps_its_worker_busy_for_long_runs_once(
    start: Start, pusher: zmqkit.Pusher, diary: Path, how: str
) -> None:
    for _ in range(2):
        start("worker", diary=str(diary))
    assert pusher.ready(2, timeout_s=BOUND_S) == 2
    ticket = pusher.push([how, BUSY_S])
    seen: set[object] = set()
    while ticket.state != "done":
        seen.update(row["state"] for row in pusher.instances())
        with suppress(zmqkit.CallTimeout):
            ticket.result(0.25)
    assert ticket.result(0) == BUSY_S
    assert (ticket.attempts, ticket.reasons, len(begun(diary))) == (1, [], 1)
    assert seen == {"up"} if how == "snooze" else seen <= {"up", "evasive"}


@pytest.mark.parametrize("warm", [False, True], ids=["new", "after quick ones"])
def test_long_tasks_of_four_pushers_run_at_once_as_many_as_there_are_places(
    start: Start, name: str, diary: Path, warm: bool
) -> None:
    counts = (3, 1, 1, 1)
    workers = [start("worker", diary=str(diary)) for _ in range(sum(counts))]
    with ExitStack() as stack:
        pushers = [stack.enter_context(zmqkit.Pusher(name)) for _ in counts]
        for pusher in pushers:
            assert pusher.ready(len(workers), timeout_s=BOUND_S) == len(workers)
        if warm:  # tasks that are so short are taken ahead
            for pusher in pushers:
                assert sum(pusher.map([["wait", 0]] * 2000, window=500)) == 0
        before = len(begun(diary))
        tickets = [
            pusher.push(["hold", n])
            for pusher, count in zip(pushers, counts, strict=True)
            for n in range(count)
        ]
        until(lambda: len(begun(diary)) == before + len(tickets))
        for worker in workers:
            worker.event("came")
        for worker in workers:
            worker.order("open")
        for ticket in tickets:
            ticket.result(BOUND_S)
            assert ticket.attempts == 1
