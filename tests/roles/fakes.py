"""The other end of a role's connection, played by the test: a service, or a client."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import zmq

from tests.packets import content, pack_rows
from tests.ports import quiet_endpoint
from tests.roles.kit import BOUND_S, until
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import encode
from zmqkit.wire.packet import Packet
from zmqkit.wire.rows import arguments_of, read_requests, sequences_in


class FakeService:
    """A process that speaks the protocol and does as the test says.

    welcome: what it answers to hello. on_request: called with the peer and each packet of
    requests; it may answer with `send`. held: the ids that its pongs name, all of them begun.
    It listens for control and for data at one address.
    """

    def __init__(self, name: str, number: int = 1) -> None:
        self.name = name
        self.incarnation = number << 32 | 1
        self.packets: list[Packet] = []
        self.held: list[int] = []
        self.on_request: Callable[[bytes, Packet], None] = lambda peer, packet: None
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._make_socket()
        self.url = quiet_endpoint()
        self.port = int(self.url.rpartition(":")[2])
        self._socket.bind(self.url)
        self.welcome: dict[str, Any] = {
            "process": number, "control": self.port, "revision": 1, "roles": [self.row()],
            "credit": 1000, "idempotent": [],
        }  # fmt: skip
        self._todo: deque[Callable[[], None]] = deque()
        self._over = threading.Event()
        self._came = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, name="fake service")

    def row(self, **changes: object) -> list[object]:
        """What its directory says of its one role."""
        fields = {
            "name": self.name, "role": "service", "incarnation": self.incarnation,
            "port": self.port,
        }  # fmt: skip
        return list((fields | changes).values())

    def start(self) -> FakeService:
        self._thread.start()
        return self

    def came(self, count: int = 1) -> None:
        """Wait for so many packets of requests."""
        for _ in range(count):
            assert self._came.acquire(timeout=BOUND_S), "no request came"

    def has_come(self) -> bool:
        """Whether there is a packet of requests to take now."""
        return self._came.acquire(blocking=False)

    def requests(self) -> list[Packet]:
        """The packets of requests that came."""
        return [each for each in self.packets if each.kind in (wire.REQUEST, wire.NOTIFY)]

    def answer(self, peer: bytes, packet: Packet) -> None:
        """For `on_request`: the reply to each request is the sum of its arguments."""
        heads, rows = read_requests(packet)
        values = [sum(each[1]) for each in arguments_of(rows) if each]  # type: ignore[arg-type]
        self.send_rows(peer, wire.REPLY, [[head[0] for head in heads]], values)

    def refuse(self, code: str) -> Callable[[bytes, Packet], None]:
        """For `on_request`: refuse each request unrun, with this code."""

        def refuse(peer: bytes, packet: Packet) -> None:
            sequences = sequences_in(packet)
            rows = [[code, "", f"it says {code}", "", False] for _ in sequences]
            self.send_rows(peer, wire.ERROR, [sequences], rows)

        return refuse

    def send(self, peer: bytes, kind: int, meta: object, rows: bytes = b"") -> None:
        """Send a packet; from within `on_request` or `do`."""
        self.send_frames(peer, *wire.pack(kind, self.incarnation, 0, 0, encode(meta), rows))

    def send_rows(
        self,
        peer: bytes,
        kind: int,
        columns: list[object],
        values: list[Any],
        raw: bytes | None = None,
    ) -> None:
        """Send a packet of rows; from within `on_request` or `do`."""
        frames = pack_rows(kind, self.incarnation, 0, columns, values, raw)
        self.send_frames(peer, *frames)

    def send_frames(self, peer: bytes, *frames: bytes) -> None:
        self._socket.send_multipart([peer, *frames])

    def do(self, work: Callable[[], None]) -> None:
        """Have its thread do this soon: `send`, for one."""
        self._todo.append(work)

    def die(self) -> None:
        """Be gone at once, as if killed."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join(BOUND_S)
        self._socket.close()

    def live_again(self) -> None:
        """Listen again where it did before, as the same process."""
        self._over.clear()
        self._socket = self._make_socket()

        def bound() -> bool:
            with suppress(zmq.ZMQError):  # libzmq gives ports back in the background
                self._socket.bind(self.url)
                return True
            return False

        until(bound)
        self._thread = threading.Thread(target=self._run, name="fake service")
        self._thread.start()

    def close(self) -> None:
        self.die()
        self._context.term()

    def _make_socket(self) -> zmq.Socket[bytes]:
        socket = self._context.socket(zmq.ROUTER)
        socket.linger = 0
        return socket

    def _run(self) -> None:
        while not self._over.is_set():
            while self._todo:
                self._todo.popleft()()
            if self._socket.poll(10):
                peer, *frames = self._socket.recv_multipart()
                self._take(peer, wire.unpack(tuple(frames)))

    def _take(self, peer: bytes, packet: Packet) -> None:
        self.packets.append(packet)
        meta = packet.meta
        if packet.kind == wire.HELLO:
            self.send(peer, wire.WELCOME, self.welcome)
        elif packet.kind == wire.PING:
            assert isinstance(meta, list)
            control = [meta[0], self.welcome["revision"]]
            data = [meta[0], self.welcome["credit"], self.held, len(self.held)]
            self.send(peer, wire.PONG, control if len(meta) == 1 else data)
        elif packet.kind in (wire.REQUEST, wire.NOTIFY):
            self.on_request(peer, packet)
            self._came.release()


class FakeClient:
    """A raw connection to a service, which sends what the test wants."""

    def __init__(self, *, incarnation: int = 0x8765432100000001) -> None:
        self.incarnation = incarnation
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.linger = 0
        self._endpoint = ""

    def connect(self, endpoint: str) -> None:
        if endpoint != self._endpoint:
            self._socket.connect(endpoint)
            self._endpoint = endpoint

    def request(
        self, service: Any, sequence: int, method: str, *args: object, **header: int
    ) -> None:
        """Send a request; header: its `target`, `settled` and `left_ms`."""
        self.connect(service.endpoint)
        columns = [[sequence], [header.get("left_ms", 60_000)], [method], [4]]
        target = header.get("target", service.incarnation)
        self.send_requests(
            target, columns, [[None, args, {}]], settled=header.get("settled", 0)
        )

    def send_requests(
        self, target: int, columns: list[Any], values: list[Any], settled: int = 0
    ) -> None:
        """Send a packet of requests: sequence numbers, times left, methods, priorities, and
        for each headers and arguments."""
        own = self.incarnation
        self.send(*pack_rows(wire.REQUEST, own, target, columns, values, settled=settled))

    def send(self, *frames: bytes) -> None:
        self._socket.send_multipart(frames)

    def reply(self) -> tuple[int, Any]:
        """The kind and the values of the next packet."""
        assert self._socket.poll(BOUND_S * 1000), "no answer"
        packet = wire.unpack(tuple(self._socket.recv_multipart()))
        return content(packet)

    def drain(self) -> None:
        """Throw away what was answered up to now."""
        while self._socket.poll(0):
            self._socket.recv_multipart()

    def close(self) -> None:
        self._socket.close()
        self._context.term()
