"""One process of `zmqkit work MODULE:WORKER`: works, and tells the process that started it.

The two are connected by a pair of sockets. When the connection ends, the parent is gone, so
this process ends too, once it has finished what it began. An attempt that takes longer than the
handler's `task_timeout_s` has failed by then; if its handler has not returned a moment later,
this process ends, for nothing else ends a handler. While it can see to that it says every
second what its worker counts; the parent kills a process that falls silent.
"""

from __future__ import annotations

import asyncio
import json
import select
import socket
import threading
import time
from contextlib import suppress

import zmqkit
from zmqkit import asyncio as zmqkit_asyncio
from zmqkit.cli.loop import on_loop
from zmqkit.cli.main import FAILED
from zmqkit.cli.output import several, tell
from zmqkit.cli.stopping import UNFINISHED, stopping
from zmqkit.cli.target import AnyWorker, load_worker
from zmqkit.model import Reach
from zmqkit.roles.stopping import end_with

READY, BEAT, OVERDUE, SPENT = "ready", "beat", "overdue", "spent"
REFUSED = "refused"
"""The words that a process says: it can be found; it lives, and this is what its worker counts;
a handler took too long, so it ends; it has done the tasks that it may; it cannot work, and
writes why as it ends."""

BEAT_S = 1.0
_LOOK_S = 0.1
_RETURN_S = 0.5
"""How long a handler that took too long may take to return."""
_CLOSE_S = 1.0
"""How long the end may take once the parent is gone and the time of the tasks is over."""


def work(target: str, descriptor: int, tasks_max: int | None, drain_s: float) -> int:
    """Do tasks until told to stop, or so many; return the exit code.

    descriptor: of the socket that leads to the process that started this one. drain_s: how long
    what was begun may take at the end.
    """
    parent = Parent(descriptor)
    try:
        return _work(target, parent, tasks_max, drain_s)
    except zmqkit.ZmqkitError:
        parent.tell(REFUSED)
        raise


def _work(target: str, parent: Parent, tasks_max: int | None, drain_s: float) -> int:
    worker = load_worker(target)
    watch = Watch(worker, parent, drain_s)
    with stopping(worker, "task"):
        if isinstance(worker, zmqkit.Worker):
            unfinished = _work_blocking(worker, watch, tasks_max)
        else:
            unfinished = on_loop(_work_asyncio(worker, watch, tasks_max))
        watch.end_if_left(unfinished)
    watch.beat()
    if tasks_max is not None and worker.stats()["accepted"] >= tasks_max:
        parent.tell(SPENT)
    return 0


class Parent:
    """The connection to the process that started this one."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._socket.set_inheritable(False)
        self._lock = threading.Lock()

    def tell(self, word: str, **values: object) -> None:
        """Say a word to the parent, with values; it may be gone."""
        line = json.dumps([word, values]).encode() + b"\n"
        with self._lock, suppress(OSError):
            self._socket.sendall(line)

    def is_gone(self, wait_s: float | None) -> bool:
        """Wait until the parent is gone, or for so long; return whether it is."""
        return bool(select.select([self._socket], [], [], wait_s)[0])


class Watch:
    """Sees to the end of this process: when the parent is gone, or a handler takes too long."""

    def __init__(self, worker: AnyWorker, parent: Parent, drain_s: float) -> None:
        self._worker = worker
        self.drain_s = drain_s
        self._parent = parent
        self._said_at = 0.0
        self._overdue_at: float | None = None

    @property
    def look_s(self) -> float:
        """How often to look at the worker; oftener if an attempt may take only so long."""
        return BEAT_S if self._worker.task_timeout_s is None else _LOOK_S

    def begin(self) -> None:
        """Say that the worker can be found, and watch the parent in a thread."""
        worker, parent = self._worker, self._parent
        parent.tell(
            READY,
            name=worker.name,
            endpoint=worker.endpoint,
            is_open=worker.reach > Reach.LOCAL,
            task_timeout_s=worker.task_timeout_s,
        )
        threading.Thread(target=self._watch, name="watch", daemon=True).start()

    def must_end(self) -> bool:
        """Look at the worker; return whether a handler took too long and does not return."""
        now = time.monotonic()
        if now >= self._said_at + BEAT_S:
            self._said_at = now
            self.beat()
        if not self._worker.stats()["overdue"]:
            self._overdue_at = None
            return False
        if self._overdue_at is None:
            self._overdue_at = now
        if now < self._overdue_at + _RETURN_S:
            return False
        self._parent.tell(OVERDUE)
        return True

    def beat(self) -> None:
        """Say that this process lives, and what its worker counts."""
        self._parent.tell(BEAT, **self._worker.stats())

    def end_if_left(self, unfinished: int) -> None:
        """End the process at once if handlers go on; Python would wait for their threads."""
        if unfinished:
            tell(UNFINISHED(several(unfinished, "task")))
        if unfinished or self._worker.stats()["overdue"]:
            self.beat()
            end_with(FAILED)

    def _watch(self) -> None:
        """Watch the parent, and a blocking worker: its handler may be in the main thread."""
        worker = self._worker
        looks = isinstance(worker, zmqkit.Worker)
        while not self._parent.is_gone(self.look_s if looks else None):
            if looks and self.must_end():
                assert isinstance(worker, zmqkit.Worker)
                self.end_if_left(worker.close(self.drain_s))
        worker.stop()
        time.sleep(self.drain_s + _CLOSE_S)
        end_with(FAILED)


def _work_blocking(worker: zmqkit.Worker, watch: Watch, tasks_max: int | None) -> int:
    """Work in this thread until told to stop; return how many tasks were left unfinished."""
    worker.start()
    watch.begin()
    worker.work(tasks_max=tasks_max)
    return worker.close(watch.drain_s)


async def _work_asyncio(
    worker: zmqkit_asyncio.Worker, watch: Watch, tasks_max: int | None
) -> int:
    """Work on this loop until told to stop; return how many tasks were left unfinished."""
    await worker.start()
    watch.begin()

    async def look() -> None:
        while not watch.must_end():  # noqa: ASYNC110 - nobody tells that a handler hangs
            await asyncio.sleep(watch.look_s)
        worker.stop()

    looking = asyncio.create_task(look())
    await worker.work(tasks_max=tasks_max)
    unfinished = await worker.close(watch.drain_s)
    looking.cancel()
    watch.end_if_left(unfinished)  # here, since the loop would wait for them, too
    return unfinished
