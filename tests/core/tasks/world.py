"""One pusher's core and the cores of its workers, with packets carried between them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace

from zmqkit.core.calls.request import Request
from zmqkit.core.calls.service import ServiceCore
from zmqkit.core.dispatch.window import Answer
from zmqkit.core.effects import Effect, Handle, News, Send, Settle, Tell
from zmqkit.core.tasks.lease import TASK
from zmqkit.core.tasks.pusher import PusherCore
from zmqkit.core.tasks.share import Share
from zmqkit.core.tasks.task import Task
from zmqkit.limits import PusherLimits
from zmqkit.model import Frames
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import encode
from zmqkit.wire.packet import ERROR, REPLY
from zmqkit.wire.rows import request_row

PUSHER = 5 << 32
NAME = "thumbnails"


@dataclass(eq=False)
class Worker:
    """A worker and the connection to it."""

    number: int
    concurrency: int = 1
    attempts: int = 3
    handed: deque[Request] = field(default_factory=deque)
    to_worker: deque[Frames] = field(default_factory=deque)
    to_pusher: deque[Frames] = field(default_factory=deque)
    is_cut: bool = False

    def __post_init__(self) -> None:
        self.incarnation = (100 + self.number) << 32
        self.peer = self.incarnation.to_bytes(8, "big")
        self.core = ServiceCore(self.incarnation, {TASK: False}, self.concurrency, shares=Share)
        self.core.about[TASK] = {"attempts": self.attempts, "backoff_s": 1.0}

    def take(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                self.to_pusher.append(effect.frames)
            elif isinstance(effect, Handle):
                self.handed.extend(effect.requests)


class World:
    """One pusher and its workers; packets arrive when `settle` is called."""

    def __init__(self, limits: PusherLimits | None = None) -> None:
        self.now = 100.0
        self.core = PusherCore(
            NAME, PUSHER, lambda: 1.0, replace(limits or PusherLimits(), choice_s=0)
        )
        self.workers: dict[bytes, Worker] = {}
        self.outcomes: list[tuple[object, object, object]] = []

    def worker(self, concurrency: int = 1, attempts: int = 3) -> Worker:
        worker = Worker(len(self.workers), concurrency, attempts)
        self.workers[worker.peer] = worker
        self.tell(News.FOUND, worker)
        self.settle()
        return worker

    def tell(self, news: News, worker: Worker) -> None:
        endpoint = f"tcp://127.0.0.1:{5000 + worker.number}"
        self.perform(self.core.hear(Tell(news, NAME, worker.incarnation, endpoint), self.now))

    def push(self, *bodies: object, **options: object) -> list[Task]:
        tasks = [task(body, **options) for body in bodies]
        for each in tasks:
            self.core.submit(each, self.now)
        self.settle()
        return tasks

    def perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                self.workers[effect.peer].to_worker.append(effect.frames)
            elif isinstance(effect, Settle):
                self.outcomes += effect.outcomes

    def settle(self) -> None:
        """Carry packets to and fro until nothing moves; check all cores."""
        for _ in range(1000):
            self.perform(self.core.flush(self.now))
            moved = False
            for worker in self.workers.values():
                moved = self._carry(worker) or moved
            self.core.check()
            if not moved:
                return
        raise AssertionError("it never came to rest")

    def _carry(self, worker: Worker) -> bool:
        if worker.is_cut:
            worker.to_worker.clear()
            worker.to_pusher.clear()
            return False
        moved = bool(worker.to_worker)
        while worker.to_worker:
            frames = worker.to_worker.popleft()
            worker.take(worker.core.receive(b"p", frames, self.now))
        worker.take(worker.core.flush(self.now))
        worker.core.check()
        moved = moved or bool(worker.to_pusher)
        while worker.to_pusher:
            frames = worker.to_pusher.popleft()
            self.perform(self.core.receive(worker.peer, frames, self.now))
        return moved

    def finish(
        self, worker: Worker, answer: Answer | None = None, *, took_s: float = 0.01
    ) -> None:
        """Have a worker finish the task at hand, which took longer than a round trip."""
        self.now += took_s
        request = worker.handed.popleft()
        made = answer or Answer(REPLY, encode(request.args[0]))
        worker.take(worker.core.handled([(request, made)], self.now))
        self.settle()

    def pass_(self, seconds: float) -> None:
        """Let time pass, and the cores do what is due."""
        until = self.now + seconds
        while self.core.deadline() <= until:
            self.now = max(self.now, self.core.deadline())
            self.perform(self.core.tick(self.now))
            self.settle()
        self.now = until


def task(body: object, priority: int = 4, **options: object) -> Task:
    made = Task(request_row(TASK, None, (body,), {})[2:], None, priority)
    for name, value in options.items():
        setattr(made, name, value)
    return made


def hello() -> Frames:
    return wire.pack(wire.HELLO, PUSHER, 100 << 32, 0, encode({"name": NAME}))


def raised(text: str) -> Answer:
    return Answer(ERROR, encode(["raised", "ValueError", text, "", True]))


def discarded() -> Answer:
    return Answer(ERROR, encode(["discard", "zmqkit.Discard", "never", "", True]))
