"""A small Majordomo broker, written from RFC 7 and RFC 18 alone, which misbehaves when told to.

It shares no code with zmqkit. A thread of its own serves one ROUTER socket; what a test tells
it to do, it does on that thread. Workers without a connection are gone; a request that such a
one has is lost.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import zmq

BOUND_S = 20.0
STEP_MS = 5

# RFC 7: an empty frame in front; RFC 18: none, and other numbers.
READY, REQUEST, PARTIAL, REPLY, HEARTBEAT, DISCONNECT = (
    "ready", "request", "partial", "reply", "heartbeat", "disconnect",
)  # fmt: skip
WORKER = {
    1: {
        READY: b"\x01", REQUEST: b"\x02", REPLY: b"\x03", HEARTBEAT: b"\x04",
        DISCONNECT: b"\x05",
    },
    2: {
        READY: b"\x01", REQUEST: b"\x02", PARTIAL: b"\x03", REPLY: b"\x04", HEARTBEAT: b"\x05",
        DISCONNECT: b"\x06",
    },
}  # fmt: skip
CLIENT = {2: {PARTIAL: b"\x02", REPLY: b"\x03"}}


@dataclass
class Worker:
    """A worker, what it serves, and for which client it works."""

    identity: bytes
    service: bytes
    client: bytes | None = None


@dataclass
class RfcBroker:
    """The broker. `version`: 1 for RFC 7, 2 for RFC 18. It begins at once."""

    version: int
    endpoint: str = "tcp://127.0.0.1:*"
    # What misbehaves: it answers nobody; it keeps replies until `release`.
    silent: bool = False
    holding: bool = False
    workers: dict[bytes, Worker] = field(default_factory=dict)
    # Each event that came: the identity, and the command or b"request" of a client.
    log: list[tuple[bytes, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._context = zmq.Context()
        self._requests: dict[bytes, deque[tuple[bytes, list[bytes]]]] = {}
        self._held: list[list[bytes]] = []
        self._orders: queue.SimpleQueue[tuple[Callable[[], object], Future[Any]]] = (
            queue.SimpleQueue()
        )
        self._stopping = False
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.linger = 100
        self._socket.router_mandatory = 1
        self._bind()
        self.endpoint = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self._thread = threading.Thread(target=self._run, name="a broker of an RFC")
        self._thread.start()

    def _bind(self) -> None:
        pause = threading.Event()
        for _ in range(round(BOUND_S * 1000 / STEP_MS)):
            try:
                self._socket.bind(self.endpoint)
                return
            except zmq.ZMQError:  # the broker before has not let go of it yet
                pause.wait(STEP_MS / 1000)
        raise AssertionError(f"{self.endpoint} is still in use")

    # What tests tell it

    @property
    def stopped(self) -> bool:
        """Whether it was closed."""
        return self._stopping

    def close(self) -> None:
        """End it, without a word to anybody."""
        self._stopping = True
        self._thread.join(BOUND_S)
        assert not self._thread.is_alive()
        self._socket.close()
        self._context.term()

    def do(self, order: Callable[[], object]) -> Any:
        """Have its thread do something, and wait for that."""
        done: Future[Any] = Future()
        self._orders.put((order, done))
        return done.result(BOUND_S)

    def disconnect(self) -> None:
        """Say DISCONNECT to all workers."""

        def order() -> None:
            for identity in list(self.workers):
                self._to_worker(identity, DISCONNECT)
            self.workers.clear()

        self.do(order)

    def beat(self) -> None:
        """Say HEARTBEAT to all workers."""
        self.do(lambda: [self._to_worker(identity, HEARTBEAT) for identity in self.workers])

    def say(self, identity: bytes, *frames: bytes) -> None:
        """Send anything to anybody."""
        self.do(lambda: self._send([identity, *frames]))

    def hold(self) -> None:
        """Keep replies from now on."""
        self.do(lambda: setattr(self, "holding", True))

    def release(self) -> None:
        """Send the replies that were kept, and keep none any more."""

        def order() -> None:
            self.holding = False
            for frames in self._held:
                self._send(frames)
            self._held.clear()

        self.do(order)

    def came(self, command: str) -> list[bytes]:
        """Return who sent such a command, in order."""
        return self.do(lambda: [who for who, what in self.log if what == command])

    # What it does

    def _run(self) -> None:
        while not self._stopping:
            while not self._orders.empty():
                order, done = self._orders.get()
                try:
                    done.set_result(order())
                except Exception as error:  # noqa: BLE001 - raised again in `do`
                    done.set_exception(error)
            if self._socket.poll(STEP_MS):
                identity, *frames = self._socket.recv_multipart()
                if not self.silent:
                    self._take(identity, frames)

    def _take(self, identity: bytes, frames: list[bytes]) -> None:
        if self.version == 1:
            assert frames.pop(0) == b""
        header = frames.pop(0)
        if header == b"MDPC0%d" % self.version:
            if self.version == 2:
                assert frames.pop(0) == b"\x01"
            service, *body = frames
            assert body
            self.log.append((identity, REQUEST))
            self._requests.setdefault(service, deque()).append((identity, body))
            self._dispatch(service)
            return
        assert header == b"MDPW0%d" % self.version
        byte = frames.pop(0)
        [command] = [name for name, each in WORKER[self.version].items() if each == byte]
        self.log.append((identity, command))
        if command == READY:
            [service] = frames
            assert identity not in self.workers
            self.workers[identity] = Worker(identity, service)
            self._dispatch(service)
        elif command == DISCONNECT:
            self.workers.pop(identity, None)
        elif identity not in self.workers:
            self._to_worker(identity, DISCONNECT)
        elif command in (PARTIAL, REPLY):
            self._reply(self.workers[identity], command, frames)

    def _reply(self, worker: Worker, command: str, frames: list[bytes]) -> None:
        client, empty, *body = frames
        assert client == worker.client and not empty and body
        head = [b"", b"MDPC01"] if self.version == 1 else [b"MDPC02", CLIENT[2][command]]
        message = [client, *head, worker.service, *body]
        if self.holding:
            self._held.append(message)
        else:
            self._send(message)
        if command == REPLY:
            worker.client = None
            self._dispatch(worker.service)

    def _dispatch(self, service: bytes) -> None:
        waiting = self._requests.setdefault(service, deque())
        for worker in list(self.workers.values()):
            if waiting and worker.service == service and worker.client is None:
                client, body = waiting[0]
                if self._to_worker(worker.identity, REQUEST, client, b"", *body):
                    worker.client = client
                    waiting.popleft()
                else:
                    del self.workers[worker.identity]

    def _to_worker(self, identity: bytes, command: str, *frames: bytes) -> bool:
        head = [b"", b"MDPW01"] if self.version == 1 else [b"MDPW02"]
        return self._send([identity, *head, WORKER[self.version][command], *frames])

    def _send(self, frames: list[bytes]) -> bool:
        try:
            self._socket.send_multipart(frames)
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            return False
        return True
