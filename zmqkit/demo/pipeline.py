"""The demo's second part: tasks on a disk, while a worker and the streamer are killed."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from zmqkit.asyncio.pusher import Pusher, Ticket
from zmqkit.demo.fleet import Fleet
from zmqkit.errors import ZmqkitError

WORKERS = 2
TASKS = 400
UNDER_WAY = 40
"""So many tasks are not done when the first process is killed; the demo waits for no more."""
FOUND_S = 20.0
RESULT_S = 30.0


@dataclass(slots=True)
class Done:
    """What came of the tasks."""

    tasks: int = 0
    done: int = 0
    attempts: int = 0
    killed: list[int] = field(default_factory=list)  # a worker, and the streamer
    took_s: float = 0.0  # from the first push until the last result
    counted: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)

    @property
    def lost(self) -> int:
        """How many tasks have no result."""
        return self.tasks - self.done

    def summary(self) -> dict[str, object]:
        """Return the tasks for programs, with the keys of `zmqkit demo --json`."""
        return {
            "tasks": self.tasks,
            "lost": self.lost,
            "killed": self.killed,
            "took_ms": round(self.took_s * 1e3, 1),
        }


async def push(chunks: list[str], name: str, done: Done, watch: Callable[[], None]) -> None:
    """Have workers count the words of all chunks, through a streamer with a journal.

    A worker is killed when a third is done, and the streamer at two thirds; it starts again
    with its journal. done: is filled. watch: is called whenever there is news.
    """
    done.tasks = len(chunks)
    with TemporaryDirectory(prefix="zmqkit-demo-") as folder:
        journal = f"journal.path={Path(folder, 'tasks.journal')}"
        device = ("zmqkit", "run", "streamer-durable", "--name", name, "--set", journal)
        with (
            Fleet(*device, "--until-eof") as streamers,
            Fleet("zmqkit.demo.worker", name) as workers,
        ):
            streamers.add()
            for _ in range(WORKERS):
                workers.add()
            workers.await_first_lines()
            async with Pusher(name, durable=True) as pusher:
                await _Tasks(pusher, streamers, workers, done, watch).finish(chunks)


class _Tasks:
    """The tasks of a run, and the processes that are killed meanwhile."""

    def __init__(
        self,
        pusher: Pusher,
        streamers: Fleet,
        workers: Fleet,
        done: Done,
        watch: Callable[[], None],
    ) -> None:
        self._pusher = pusher
        self._streamers = streamers
        self._workers = workers
        self._done = done
        self._watch = watch

    async def finish(self, chunks: list[str]) -> None:
        """Push all chunks, and wait for their results."""
        begun_at = time.monotonic()
        left = iter(chunks)

        async def push_on() -> None:
            for chunk in left:
                await self._result(await self._pusher.push(chunk, timeout_s=FOUND_S))

        async with asyncio.TaskGroup() as group:
            for _ in range(UNDER_WAY):
                group.create_task(push_on())
        self._done.took_s = time.monotonic() - begun_at

    async def _result(self, ticket: Ticket) -> None:
        done = self._done
        try:
            done.counted.update(await ticket.result(RESULT_S))
        except ZmqkitError as error:
            done.errors.append(str(error))
            return
        done.done += 1
        if not done.killed and 3 * done.done >= done.tasks:
            self._kill(self._workers)
        if len(done.killed) == 1 and 3 * done.done >= 2 * done.tasks:
            self._kill(self._streamers)
            self._streamers.add()
        self._watch()

    def _kill(self, fleet: Fleet) -> None:
        self._done.killed.append(fleet.pids[-1])
        fleet.kill(fleet.pids[-1])
