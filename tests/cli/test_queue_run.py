"""`zmqkit queue run`: a journal at rest is worked off from a shell."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import LIMIT_S, Begin, Run
from tests.roles.kit import Kit, until
from zmqkit.roles.asking import opened

pytestmark = pytest.mark.slow


@pytest.fixture
def kit() -> Iterator[Kit]:
    kit = Kit()
    yield kit
    kit.close()


@pytest.fixture
def journal(tmp_path: Path) -> str:
    return str(tmp_path / "x.journal")


def left(kit: Kit, journal: str, *bodies: object, **options: Any) -> None:
    """Leave a task for each body in a journal at rest."""
    pusher = kit.pusher(count=0, journal=journal)
    pusher.push_many(bodies, **options)
    pusher.close(0)


def counts(journal: str) -> tuple[object, object]:
    """How many tasks wait in a journal at rest, and how many are dead there."""
    with opened(journal) as queue:
        told = queue.ask({"do": "ls"})
    return told["waiting"], told["dead"]


def told(errors: bytes) -> list[bytes]:
    """What it says but that it waits, as it does where finding a worker takes long."""
    return [line for line in errors.splitlines() if not line.startswith(b"waiting with ")]


def test_all_tasks_of_a_journal_are_done(kit: Kit, journal: str, run: Run) -> None:
    left(kit, journal, *range(5))
    order: list[object] = []
    kit.working(order.append)
    done = run("queue", "run", journal)
    assert (done.returncode, done.stdout, told(done.stderr)) == (0, b"5 tasks done\n", [])
    assert order == [*range(5)] and counts(journal) == (0, 0)
    again = run("queue", "run", journal, "--json")
    assert json.loads(again.stdout) == {
        "name": kit.name, "done": 0, "failed": 0, "dead": 0, "expired": 0, "cancelled": 0,
        "dropped": 0, "left": 0,
    }  # fmt: skip


def test_what_was_requeued_at_rest_is_run(kit: Kit, journal: str, run: Run) -> None:
    left(kit, journal, "a", "b")
    broken = True

    def mend(body: str) -> str:
        if broken:
            raise ValueError(f"no {body}")
        return body

    kit.working(mend, attempts=1)
    done = run("queue", "run", journal)
    assert (done.returncode, done.stdout) == (1, b"0 tasks done, 2 dead\n")
    assert f"2 tasks dead in it; `zmqkit queue dead {journal}` says why" in str(done.stderr)
    requeued = run("queue", "requeue", journal, "--all")
    assert requeued.stdout == b"2 tasks requeued\n"
    assert f"no process has {journal} open, so 2 tasks of '{kit.name}' will wait: " in str(
        requeued.stderr
    )
    assert f"`zmqkit queue run {journal}` gives them to workers" in str(requeued.stderr)
    broken = False
    done = run("queue", "run", journal)
    assert (done.returncode, done.stdout, told(done.stderr)) == (0, b"2 tasks done\n", [])


def test_it_says_what_it_waits_for_and_ends_in_time(kit: Kit, journal: str, run: Run) -> None:
    left(kit, journal, 1)
    done = run("queue", "run", journal, "--timeout", "1.2")
    assert (done.returncode, done.stdout) == (124, b"0 tasks done, 1 left\n")
    said = f"waiting with 1 task: nobody works on '{kit.name}'"
    lines = done.stderr.decode().splitlines()
    told = [line for line in lines if line.startswith(said)]
    assert told and len(told) == len(set(told))  # again only where the hint is another one
    assert counts(journal) == (1, 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_workers_finish_and_leaves_the_rest(
    kit: Kit, journal: str, begin: Begin, number: signal.Signals
) -> None:
    left(kit, journal, 1, 2, 3)
    gate = kit.gate()
    kit.working(gate.hold)
    running = begin("queue", "run", journal)
    gate.came()
    running.send_signal(number)
    assert running.stderr is not None
    # It may have said before that it waits for workers.
    said = next(line for line in running.stderr if b"finishing" in line)
    assert b"interrupt again to stop now" in said
    gate.open()
    out, _ = running.communicate(timeout=LIMIT_S)
    assert running.returncode == 130
    waiting, _ = counts(journal)
    assert isinstance(waiting, int) and waiting > 0
    assert out.decode().endswith(f"done, {waiting} left\n")


def test_a_paused_journal_is_refused_and_a_running_one_too(
    kit: Kit, journal: str, run: Run
) -> None:
    left(kit, journal, 1)
    assert run("queue", "pause", journal).returncode == 0
    done = run("queue", "run", journal)
    assert done.returncode == 2 and b"x.journal is paused; `zmqkit queue resume" in done.stderr
    resumed = run("queue", "resume", journal)
    assert resumed.stdout == b"resumed\n" and b"gives them to workers" in resumed.stderr
    pusher = kit.pusher(count=0, journal=journal)
    pusher.ready(timeout_s=0)
    done = run("queue", "run", journal)
    said = f"x.journal is open in process {os.getpid()}, which gives its tasks out itself"
    assert done.returncode == 2 and said in done.stderr.decode()


def test_results_wait_for_a_sink(kit: Kit, journal: str, begin: Begin) -> None:
    left(kit, journal, 20, results="sink")
    kit.working(lambda body: body + 1)
    running = begin("queue", "run", journal)
    assert running.stderr is not None
    until(lambda: b"results wait for a sink" in running.stderr.readline())  # type: ignore[union-attr]  # a pipe
    sink = kit.sink()
    assert sink.receive(LIMIT_S).value == 21
    sink.acknowledge()
    assert running.communicate(timeout=LIMIT_S)[0] == b"1 task done\n"
    assert running.returncode == 0
