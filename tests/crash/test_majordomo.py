"""SIGKILL of brokers, of services behind them and of their clients, at any moment under load.

ZMQKIT_CYCLES says how many of them are killed, one after the other, in each of the long tests.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import zmqkit
from tests import spawning
from tests.crash.broker_actor import Line, lines
from tests.crash.stage import BOUND_S, ROOT, Actor, Start, balance, until
from zmqkit.disk.journal import Journal
from zmqkit.disk.rows import DEAD

pytestmark = pytest.mark.slow

CYCLES = int(os.environ.get("ZMQKIT_CYCLES", "6"))
SEED = 20261127
ROUND = 50
"""After so many cycles all begins anew, so that what is on disk does not grow for ever."""
SERVICES = 2
OPEN = ("waiting", "leased")
STATES = (*OPEN, "done", "failed", "dead", "expired", "cancelled", "dropped")


class Scene:
    """A broker, services behind it and a client, each in a process of its own."""

    def __init__(
        self, start: Start, name: str, folder: Path, *, durable: bool, seed: int
    ) -> None:
        self._start = start
        self.name = name
        self._folder = folder
        self._chance = random.Random(seed)
        self.durable = durable
        self._log = folder / "log"
        self.deaths: Counter[str] = Counter()
        # What the journal of a dead broker said has ended, and when that was read.
        self.over: dict[str, float] = {}
        self.actors = {"broker": [self.begin("broker")]}
        self.actors["answering"] = [self.begin("answering") for _ in range(SERVICES)]
        self.actors["caller"] = [self.begin("caller")]

    @property
    def journal(self) -> Path:
        """Where the requests of the service are on disk."""
        return self._folder / "journals" / f"{self.name}.journal"

    def begin(self, role: str) -> Actor:
        """Start one of the three."""
        if role == "broker":
            journal = str(self.journal.parent) if self.durable else None
            return self._start("broker", journal=journal)
        if role == "answering":
            return self._start("answering", log=str(self._log))
        return self._start("caller", log=str(self._log), submits=self.durable)

    def cycle(self) -> None:
        """Kill somebody after a moment, and start another one in its place."""
        role = self._chance.choice(["broker", "answering", "caller"])
        time.sleep(self._chance.uniform(0.0, 0.3))
        self.deaths[role] += 1
        actors = self.actors[role]
        actors.pop(self._chance.randrange(len(actors))).close()
        if role == "broker" and self.durable:
            self._read()
        actors.append(self.begin(role))

    def _read(self) -> None:
        """Note what has ended or is dead, as the dead broker's journal says."""
        copy = self._folder / "copy"
        copy.mkdir()
        for suffix in ("", "-wal"):
            file = self.journal.with_name(f"{self.journal.name}{suffix}")
            if file.exists():
                shutil.copy(file, copy)
        if (copy / self.journal.name).exists():
            journal = Journal(copy / self.journal.name, self.name)
            over = [outcome.own_id for outcome in journal.outcomes()]
            over += [entry.own_id for entry in journal.entries() if entry.flags & DEAD]
            assert not journal.damaged
            journal.close()
            now = time.monotonic()
            for key in over:
                self.over.setdefault(str(key), now)
        shutil.rmtree(copy)

    def close(self) -> None:
        """Kill all, so that nobody is found by those who come next."""
        for actor in itertools.chain(*self.actors.values()):
            actor.close()

    def end(self) -> dict[str, Any]:
        """Ask for no more and wait until all is done; return the counters of the client."""
        [caller], [broker] = self.actors["caller"], self.actors["broker"]
        caller.order("end")
        ended = caller.event("ended", 2 * BOUND_S)
        assert ended["left"] == 0
        if self.durable:
            until(lambda: not any(self.queue()[state] for state in OPEN))
        until(lambda: broker.ask("stats")["in_flight"] == 0)
        stats: dict[str, Any] = ended["stats"]
        return stats

    def queue(self) -> dict[str, Any]:
        """What `zmqkit queue ls` says of the journal."""
        told = spawning.run(
            [sys.executable, "-P", "-m", "zmqkit", "queue", "ls", str(self.journal), "--json"],
            env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True,
        )  # fmt: skip
        assert told.returncode == 0, told.stderr
        [row] = json.loads(told.stdout)
        return dict(row)

    def collect(self) -> None:
        """Have yet another process collect all that was ever submitted."""
        keys = [line.key for line in lines(self._log) if line.event == "submitted"]
        collector = self._start("collector", log=str(self._log))
        for at in range(0, len(keys), 100):
            collector.order("collect", keys[at : at + 100])
            collector.event("collected")
        collector.close()

    def stories(self) -> dict[str, list[Line]]:
        """By request: all that was written of it."""
        stories: dict[str, list[Line]] = defaultdict(list)
        for line in lines(self._log):
            stories[line.key].append(line)
        return stories


def faults(scene: Scene) -> Iterator[str]:
    """What should not have happened, a line for each request."""
    for key, story in scene.stories().items():
        begun = [line.at for line in story if line.event == "begun"]
        returned = min([line.at for line in story if line.event == "returned"], default=None)
        over = scene.over.get(key)
        events = {line.event for line in story}
        may_run_twice = key.startswith("add")
        if "wrong" in events:
            yield f"a wrong value: {story}"
        if returned is not None and not begun:
            yield f"a value though nothing ran: {story}"
        if not may_run_twice and len(begun) > 1:
            yield f"run twice: {story}"
        if not may_run_twice and any(begun and at > returned for at in begun if returned):
            yield f"run after its reply was there: {story}"
        if not may_run_twice and any(at > over for at in begun if over is not None):
            yield f"run after its end, at {over}: {story}"
        for line in story:
            if line.event == "failed" and begun and not line.may_have_run:
                yield f"an error denies that it ran: {story}"
            if line.event == "failed" and "UnknownRequest" in line.error:
                yield f"lost: {story}"
        if "submitted" in events and returned is None:
            # Its service was killed while it ran.
            last = story[-1]
            if may_run_twice or "PeerLost" not in last.error or len(begun) > 1:
                yield f"submitted, and without a value: {story}"


@pytest.mark.parametrize("durable", [False, True], ids=["in memory", "durable"])
def test_no_request_is_lost_and_none_runs_twice_that_must_not(
    start: Start, name: str, tmp_path: Path, durable: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    for done in range(0, CYCLES, ROUND):
        folder = tmp_path / str(done)
        folder.mkdir()
        scene = Scene(start, name, folder, durable=durable, seed=SEED + done)
        for _ in range(min(ROUND, CYCLES - done)):
            scene.cycle()
        stats = scene.end()
        with capsys.disabled():
            print(f"\n{dict(scene.deaths)} killed, {judge(scene)}")
        assert balance(stats) == 0
        scene.close()


def judge(scene: Scene) -> dict[str, int]:
    """Assert that all is as promised; return how often each event was written down."""
    if scene.durable:
        scene.collect()
    count = Counter(line.event for story in scene.stories().values() for line in story)
    assert list(faults(scene)) == []
    assert count["returned"] > sum(scene.deaths.values())
    [broker] = scene.actors["broker"]
    assert balance(broker.ask("stats")["services"][scene.name]) == 0
    if scene.durable:
        assert count["submitted"] > sum(scene.deaths.values())
        for _ in range(2):
            queue = scene.queue()
            assert queue["accepted"] == sum(queue[state] for state in STATES)
            assert not any(queue[state] for state in OPEN)
            broker.kill()  # then the journal is at rest
    return count


@pytest.mark.parametrize("durable", [False, True], ids=["in memory", "durable"])
def test_no_call_fails_while_one_of_two_brokers_is_killed_again_and_again(
    start: Start, name: str, tmp_path: Path, durable: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    def begin(number: int) -> Actor:
        journal = str(tmp_path / f"journals-{number}") if durable else None
        broker = start("broker", journal=journal)
        until(lambda: workers(broker, name))
        return broker

    log = str(tmp_path / "log")
    for _ in range(SERVICES):
        start("answering", log=log)
    brokers = [begin(0), begin(1)]
    caller = start("caller", log=log, submits=False, methods=["add"])
    chance = random.Random(SEED)
    for _ in range(CYCLES // 2):
        time.sleep(chance.uniform(0.0, 0.3))
        number = chance.randrange(2)
        brokers[number].close()
        brokers[number] = begin(number)
    caller.order("end")
    ended = caller.event("ended", 2 * BOUND_S)
    events = Counter(line.event for line in lines(Path(log)))
    with capsys.disabled():
        print(f"\n{CYCLES // 2} killed, {dict(events)}")
    assert set(events) == {"asked", "begun", "returned"}
    assert events["asked"] == events["returned"] > CYCLES
    assert ended["left"] == 0
    assert balance(ended["stats"]) == 0
    for broker in brokers:
        assert balance(broker.ask("stats")["services"][name]) == 0


def workers(broker: Actor, name: str) -> int:
    """How many services are ready behind a broker."""
    found = broker.ask("stats")["services"].get(name, {})
    return int(found.get("ready", 0))


def test_a_submitted_request_outlives_two_kills_of_its_broker(
    start: Start, name: str, tmp_path: Path
) -> None:
    journal, log = str(tmp_path / "journals"), str(tmp_path / "log")
    broker = start("broker", journal=journal)
    service = start("answering", log=log)
    with zmqkit.Client(name, timeout_s=BOUND_S, wait_s=BOUND_S) as client:
        assert client.call("add", "add-0") == "ADD-0"
        service.close()
        until(lambda: workers(broker, name) == 0)
        ids = [client.options(id=f"{m}-1").submit(m, f"{m}-1").id for m in ("add", "buy")]
    for _ in range(2):
        broker.close()
        broker = start("broker", journal=journal)
    start("answering", log=log)
    collected = tmp_path / "collected"
    for _ in range(2):
        collector = start("collector", log=str(collected))
        collector.order("collect", ids)
        assert collector.event("collected") == 2
        collector.close()
        broker.close()
        broker = start("broker", journal=journal)
    assert [(line.event, line.key) for line in lines(collected)] == [
        ("returned", id) for id in 2 * ids
    ]
    assert [line.key for line in lines(Path(log))] == ["add-0", *ids]
