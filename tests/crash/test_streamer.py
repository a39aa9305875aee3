"""SIGKILL of a durable streamer, of its workers and of pushers, at any moment under load.

ZMQKIT_CYCLES says how many of them are killed, one after the other.
"""

from __future__ import annotations

import os
import random
import shutil
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import zmqkit
from tests.crash.stage import BOUND_S, Actor, Start, until
from tests.crash.tasks_actor import begun, leased
from tests.ports import quiet_endpoint
from zmqkit.disk.journal import Journal
from zmqkit.errors import JournalError

pytestmark = pytest.mark.slow

CYCLES = int(os.environ.get("ZMQKIT_CYCLES", "5"))
SEED = 20261127
WORKERS = 2
AGAIN_S = 1.0


def sum_of_states(stats: dict[str, Any]) -> int:
    states = ("waiting", "leased", "done", "failed", "dead", "expired", "cancelled", "dropped")
    return sum(stats[state] for state in states)


class Scene:
    """A streamer, its workers and a pusher, each in a process of its own that may be killed."""

    def __init__(self, start: Start, name: str, folder: Path, *, outbox: bool) -> None:
        self._start = start
        self._name = name
        self._folder = folder
        self._chance = random.Random(SEED)
        self.outbox = outbox
        self.diary, self._acknowledged = folder / "diary", folder / "acknowledged"
        self._journal = folder / "streamer.journal"
        self.deaths: Counter[str] = Counter()
        # By how often the streamer's journal was opened: the tasks that had ended before.
        self.ended: dict[int, set[str | None]] = {}
        self._seen: set[str | None] = set()
        # By which workers know the streamer, once one was killed.
        self.journal_id = 0
        self.actors = {"streamer": [self._begin("streamer")], "pusher": [self._begin("pusher")]}
        self.actors["worker"] = [self._begin("worker") for _ in range(WORKERS)]

    def _begin(self, role: str) -> Actor:
        if role == "streamer":
            return self._start("streamer", journal=str(self._journal))
        if role == "worker":
            return self._start("worker", diary=str(self.diary))
        journal = str(self._folder / "outbox.journal") if self.outbox else None
        return self._start("outbox", journal=journal, acknowledged=str(self._acknowledged))

    def acknowledged(self) -> set[str]:
        """The tasks whose pushes have returned."""
        text = self._acknowledged.read_text() if self._acknowledged.exists() else ""
        return {line for line in text.split("\n")[:-1] if line}

    def cycle(self) -> None:
        """Kill somebody after a moment, and start another one in its place."""
        victims = ["streamer", "worker", "pusher"] if self.outbox else ["streamer", "worker"]
        role = self._chance.choice(victims)
        time.sleep(self._chance.uniform(0.0, 0.3))
        self.deaths[role] += 1
        actors = self.actors[role]
        victim = actors.pop(self._chance.randrange(len(actors)))
        # Without an outbox of its own, a pusher never pushes these again.
        known = set() if self.outbox else self.acknowledged()
        victim.close()
        if role == "streamer":
            left, outcomes = self._read()
            self._seen |= left
            self.ended[len(self.ended) + 2] = (self._seen & known) - left | outcomes
        actors.append(self._begin(role))

    def _read(self) -> tuple[set[str | None], set[str | None]]:
        """The ids of the tasks that the dead streamer's journal has, and of those done."""
        copy = self._folder / "copy"
        copy.mkdir()
        for suffix in ("", "-wal"):
            file = self._folder / f"{self._journal.name}{suffix}"
            if file.exists():
                shutil.copy(file, copy)
        journal = Journal(copy / self._journal.name, self._name)
        left = {entry.own_id for entry in journal.entries()}
        outcomes = {each.own_id for each in journal.outcomes() if each.state == "done"}
        assert not journal.damaged and not left & outcomes
        self.journal_id = journal.id
        journal.close()
        shutil.rmtree(copy)
        return left, outcomes

    def end(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Push no more and wait until all is done; the counters of pusher and streamer."""
        [pusher], [streamer] = self.actors["pusher"], self.actors["streamer"]
        pusher.order("end")
        ended = pusher.event("ended", 2 * BOUND_S)
        assert ended["left"] == 0
        until(lambda: not self._open(streamer))
        return ended["stats"], streamer.ask("stats")

    def _open(self, streamer: Actor) -> int:
        stats = streamer.ask("stats")
        return int(stats["waiting"]) + int(stats["leased"])


@pytest.mark.parametrize("outbox", [False, True], ids=["without an outbox", "with an outbox"])
def test_nothing_acknowledged_is_lost_or_run_after_it_is_done(
    start: Start, name: str, tmp_path: Path, outbox: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = Scene(start, name, tmp_path, outbox=outbox)
    for _ in range(CYCLES):
        scene.cycle()
    pusher, streamer = scene.end()
    acknowledged, runs = scene.acknowledged(), leased(scene.diary)
    ran = Counter(task for task, _, _ in runs)
    twice = sum(count - 1 for count in ran.values())
    with capsys.disabled():
        print(
            f"\n{dict(scene.deaths)} killed, {len(acknowledged)} tasks acknowledged, "
            f"{len(acknowledged - ran.keys())} lost, {twice} runs more than tasks"
        )
    assert len(acknowledged) > CYCLES
    assert acknowledged <= ran.keys()
    assert after_the_end(scene, runs) == []
    for stats in (pusher, streamer):
        assert stats["accepted"] == sum_of_states(stats)
        assert stats["dead"] == stats["expired"] == stats["cancelled"] == 0
    assert max(ran.values()) <= 1 + CYCLES


@pytest.mark.parametrize("when", ["before the restart", "after the restart"])
@pytest.mark.parametrize("way", ["announced", "dialled"])
def test_a_task_at_work_runs_once_though_its_streamer_is_killed_meanwhile(
    start: Start, name: str, tmp_path: Path, way: str, when: str
) -> None:
    diary, journal = tmp_path / "diary", tmp_path / "streamer.journal"
    place = quiet_endpoint()
    streamer = start("streamer", journal=str(journal), bind=place)
    at = f"{place}/{name}" if way == "dialled" else name
    worker = start("worker", at=at, diary=str(diary))
    with zmqkit.Pusher(name, durable=True) as pusher:
        held, waits = pusher.push(["hold", 1]), pusher.push(["wait", 0.0])
        worker.event("came")
        until(lambda: names_a_lease(journal, name, tmp_path / "seen"))
        streamer.close()
        if when == "before the restart":
            worker.order("open")
            until(lambda: worker.ask("stats")["delivered"] == 1)
        streamer = start("streamer", journal=str(journal), bind=place)
        assert streamer.ready == place
        if when == "after the restart":
            until(lambda: streamer.ask("stats")["pushers"] == 1)
            time.sleep(AGAIN_S)
            assert streamer.ask("stats")["leased"] == 1
            worker.order("open")
        assert (held.result(BOUND_S), waits.result(BOUND_S)) == (1, 0.0)
        assert sorted(begun(diary)) == sorted((each.id, 1) for each in (held, waits))
        pusher.close(0)


def names_a_lease(path: Path, name: str, folder: Path) -> bool:
    """Whether a journal that a process has open names a lease of a worker."""
    folder.mkdir()
    try:
        for suffix in ("", "-wal"):
            shutil.copy(path.with_name(path.name + suffix), folder)
        journal = Journal(folder / path.name, name)
        found = bool(journal.held())
        journal.close()
    except JournalError:
        found = False  # it was copied in the middle of a write
    shutil.rmtree(folder)
    return found


def after_the_end(scene: Scene, runs: list[tuple[str, int, int]]) -> list[tuple[str, int]]:
    """The runs of tasks that had ended, as the streamer's journal said before that opening.

    The runs that an outbox gave to workers itself do not count, as the streamer was away: it
    may not have heard of the end. The openings of its journal are others, too. Nor does what an
    outbox pushes again once the streamer has forgotten the end, for it keeps 10,000.
    """
    ended: set[str | None] = set()
    before = {0: ended, 1: ended}
    for opening, these in sorted(scene.ended.items()):
        before[opening] = ended = these if scene.outbox else ended | these
    return [
        (task, opening)
        for task, giver, opening in runs
        if giver == scene.journal_id and task in before[opening]
    ]
