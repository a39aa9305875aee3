"""A program for the crash tests: a worker or a pusher in a process of its own.

    python tasks_actor.py worker|pusher|outbox|streamer NAME '{"kind": "blocking", ...}'

A worker writes down each task that it begins, in a file that survives it. A pusher pushes under
load until it is told to end, then waits for every result. An outbox is a pusher whose pushes
return once a disk has the task, its own or a streamer's, and that writes down each of them.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmqkit
import zmqkit.asyncio
from tests.crash.actor import burn, hold, obey, orders, snooze, tell
from zmqkit.device.streamer import Streamer

WIDTH = 1000
BOUND_S = 60.0


class Diary:
    """What handlers began, a line each: the task's id, which attempt, and the lease's id."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(self) -> None:
        task = zmqkit.current_task()
        lease = zmqkit.current_request().id
        os.write(self._file, f"{task.id} {task.attempt} {lease}\n".encode())


def begun(path: Path) -> list[tuple[str, int]]:
    """What stands in a diary."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [(line.split()[0], int(line.split()[1])) for line in lines]


def leased(path: Path) -> list[tuple[str, int, int]]:
    """What stands in a diary: the task's id, whose lease it was, and that journal's opening."""
    lines = path.read_text().splitlines() if path.exists() else []
    pairs = [(line.split()[0], line.split()[2]) for line in lines]
    return [(task, int(id[:16], 16), int(id[16:], 16) >> 40) for task, id in pairs]


def handlers(diary: Diary) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """A plain handler, and an `async def` that only waits; the body says what and how long."""

    def wait(seconds: float) -> float:
        time.sleep(seconds)
        return seconds

    def work(body: list[Any]) -> Any:
        diary.note()
        how, value = body
        do = {"wait": wait, "snooze": snooze, "burn": burn, "hold": hold}[how]
        return do(value)

    async def work_waiting(body: list[Any]) -> Any:
        diary.note()
        _, seconds = body
        await asyncio.sleep(seconds)
        return seconds

    return work, work_waiting


def policy(options: dict[str, Any]) -> dict[str, Any]:
    """What the handler declares; no task of these tests is to die of the worker's death."""
    return {"attempts": options.pop("attempts", 1000), "backoff_s": 0.01}


def blocking_worker(name: str, options: dict[str, Any]) -> None:
    work, _ = handlers(Diary(options.pop("diary")))
    declared = policy(options)
    with zmqkit.Worker(options.pop("at", name), **options) as worker:
        worker.task(work, **declared)
        worker.start()
        working = threading.Thread(target=worker.work, daemon=True)
        working.start()
        tell("ready", worker.endpoint)
        obey(worker)


def asyncio_worker(name: str, options: dict[str, Any]) -> None:
    async def main() -> None:
        _, work = handlers(Diary(options.pop("diary")))
        declared = policy(options)
        async with zmqkit.asyncio.Worker(name, **options) as worker:
            worker.task(work, **declared)
            await worker.start()
            tell("ready", worker.endpoint)
            await asyncio.get_running_loop().run_in_executor(None, obey, worker)

    asyncio.run(main())


class Load:
    """The tasks that a pusher pushed, some of them under way."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.over = False
        self._task_s = options["task_s"]
        self._under_way: deque[Any] = deque()
        self._wrong = 0
        self._attempts: dict[str, int] = {}
        self._states: Counter[str] = Counter()

    def body(self) -> list[Any]:
        return ["wait", self._task_s]

    def pushed(self, ticket: Any) -> Any:
        """Note a ticket; return the one to wait for first, if enough are under way."""
        self._under_way.append(ticket)
        return self._under_way.popleft() if len(self._under_way) >= WIDTH else None

    def rest(self) -> list[Any]:
        return list(self._under_way)

    def ended(self, ticket: Any, value: object) -> None:
        self._wrong += value != self._task_s
        self._attempts[ticket.id] = ticket.attempts
        self._states[ticket.state] += 1

    def tell(self, stats: dict[str, object]) -> None:
        told = {"stats": stats, "states": self._states, "wrong": self._wrong}
        tell("ended", told | {"attempts": self._attempts})

    def obey(self, pusher: Any) -> None:
        for order, _ in orders():
            if order == "stats":
                tell("stats", pusher.stats())
            elif order == "end":
                self.over = True
                return


def blocking_pusher(name: str, options: dict[str, Any]) -> None:
    load = Load(options)
    with zmqkit.Pusher(name) as pusher:
        obeying = threading.Thread(target=load.obey, args=(pusher,))
        obeying.start()
        tell("ready")
        while not load.over:
            ticket = load.pushed(pusher.push(load.body()))
            if ticket is not None:
                load.ended(ticket, ticket.result(BOUND_S))
        for ticket in load.rest():
            load.ended(ticket, ticket.result(BOUND_S))
        load.tell(pusher.stats())
        obeying.join()


def asyncio_pusher(name: str, options: dict[str, Any]) -> None:
    async def main() -> None:
        load = Load(options)
        async with zmqkit.asyncio.Pusher(name) as pusher:
            loop = asyncio.get_running_loop()
            obeying = loop.run_in_executor(None, load.obey, pusher)
            tell("ready")
            while not load.over:
                ticket = load.pushed(await pusher.push(load.body()))
                if ticket is not None:
                    load.ended(ticket, await ticket.result(BOUND_S))
            for ticket in load.rest():
                load.ended(ticket, await ticket.result(BOUND_S))
            load.tell(pusher.stats())
            await obeying

    asyncio.run(main())


def outbox(name: str, options: dict[str, Any]) -> None:
    """Push until told to end; note each task whose push has returned."""
    acknowledged = os.open(options["acknowledged"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    over = threading.Event()
    with zmqkit.Pusher(name, journal=options["journal"], durable=True) as pusher:

        def push() -> None:
            while not over.is_set():
                try:
                    ticket = pusher.push(["wait", 0.0], timeout_s=BOUND_S)
                except zmqkit.ConfigError:
                    continue  # the streamer is not back yet
                os.write(acknowledged, f"{ticket.id}\n".encode())

        pushing = [threading.Thread(target=push) for _ in range(4)]
        for each in pushing:
            each.start()
        tell("ready")
        next(orders())
        over.set()
        for each in pushing:
            each.join()
        tell("ended", {"left": pusher.close(BOUND_S), "stats": pusher.stats()})


def streamer(name: str, options: dict[str, Any]) -> None:
    """Pass tasks on, and tell of the counters."""
    with Streamer(name, journal=options["journal"], bind=options.get("bind")) as streamer:
        running = threading.Thread(target=streamer.run, daemon=True)
        running.start()
        tell("ready", streamer.endpoint)
        obey(streamer)


ROLES = {
    ("outbox", "blocking"): outbox,
    ("streamer", "blocking"): streamer,
    ("worker", "blocking"): blocking_worker,
    ("worker", "asyncio"): asyncio_worker,
    ("pusher", "blocking"): blocking_pusher,
    ("pusher", "asyncio"): asyncio_pusher,
}


if __name__ == "__main__":
    role, name, text = sys.argv[1:]
    settings = json.loads(text)
    ROLES[role, settings.pop("kind")](name, settings)
