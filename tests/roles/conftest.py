"""Blocking and asyncio roles behind one interface, so that one test can ask both.

`kit` is either kind, `blocking` and `aio` are the two; each makes services and clients that are
closed at the end, when their counters must balance. What an asyncio role does waits here as a
blocking one does: its loop has a thread of its own.
"""

from __future__ import annotations

import asyncio
import inspect
import secrets
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from typing import Any

import pytest
import zmq

import zmqkit
import zmqkit.asyncio
from zmqkit.asyncio.client import BoundClient as AsyncBoundClient
from zmqkit.drivers import node as nodes
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import encode
from zmqkit.wire.packet import Packet

BOUND_S = 20.0


class Gate:
    """A handler that holds whoever comes until the gate opens; each learns what passed."""

    def __init__(self) -> None:
        self.requests: list[zmqkit.Request] = []
        self._came = threading.Semaphore(0)
        self._open = threading.Event()

    def hold(self, value: object = None) -> object:
        self.came_in()
        assert self._open.wait(BOUND_S), "nobody opened the gate"
        return value

    def came_in(self) -> None:
        self.requests.append(zmqkit.current_request())
        self._came.release()

    def came(self, count: int = 1) -> None:
        """Wait until so many more have come."""
        for _ in range(count):
            assert self._came.acquire(timeout=BOUND_S), "nobody came to the gate"

    def open(self) -> None:
        self._open.set()


class AsyncGate(Gate):
    """The same for handlers of an event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        self._opened = asyncio.Event()
        self.cancelled = threading.Event()

    async def hold(self, value: object = None) -> object:  # type: ignore[override]
        self.came_in()
        try:
            await self._opened.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return value

    def open(self) -> None:
        self._loop.call_soon_threadsafe(self._opened.set)


class Started:
    """A function under way in a thread of its own."""

    def __init__(
        self, function: Callable[..., Any], /, *args: object, **kwargs: object
    ) -> None:
        self._future: Future[Any] = Future()

        def run() -> None:
            try:
                self._future.set_result(function(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - raised again in `result`
                self._future.set_exception(error)

        self._thread = threading.Thread(target=run)
        self._thread.start()

    def result(self) -> Any:
        try:
            return self._future.result(BOUND_S)
        finally:
            self._thread.join(BOUND_S)


class Kit:
    """Makes blocking roles and closes them."""

    service_class: Any = zmqkit.Service
    client_class: Any = zmqkit.Client

    def __init__(self) -> None:
        self.name = f"t{secrets.token_hex(6)}"
        self.roles: list[Any] = []
        self._gates: list[Gate] = []
        self._started: list[Started] = []

    def service(self, name: str = "", **options: Any) -> Any:
        """A service that nobody serves yet."""
        return self._kept(self.service_class, name or self.name, **options)

    def serve(self, service: Any) -> Any:
        """Have the service serve, in the background, until it is closed."""
        service.start()
        self.start(service.serve)
        return service

    def serving(self, *handlers: Callable[..., object], **options: Any) -> Any:
        """A service with these handlers, each idempotent or not as `idempotent` says."""
        idempotent = options.pop("idempotent", False)
        service = self.service(**options)
        for handler in handlers:
            service.handler(handler, idempotent=idempotent)
        return self.serve(service)

    def client(self, name: str = "", *, count: int = 1, **options: Any) -> Any:
        """A client that is connected to so many instances."""
        client = self._kept(self.client_class, name or self.name, **options)
        if count:
            assert client.ready(count, timeout_s=BOUND_S) >= count
        return client

    def gate(self) -> Any:
        """A gate for handlers; opened at the end, if not before."""
        self._gates.append(self._make_gate())
        return self._gates[-1]

    def start(
        self, function: Callable[..., Any], /, *args: object, **kwargs: object
    ) -> Started:
        """Call the function in a thread of its own; waited for at the end."""
        self._started.append(Started(function, *args, **kwargs))
        return self._started[-1]

    def close(self) -> None:
        for gate in self._gates:
            gate.open()
        for role in reversed(self.roles):
            role.close()
        for started in self._started:
            started._thread.join(BOUND_S)
            assert not started._thread.is_alive(), "a thread is still in a role's verb"
        for role in self.roles:
            self.balanced(role)

    def balanced(self, role: Any) -> dict[str, Any]:
        """The role's counters: every message that it ever took is accounted for, once."""
        stats: dict[str, Any] = role.stats()
        ended = stats["delivered"] + stats["failed"] + stats["expired"]
        ended += sum(stats["dropped"].values())
        assert stats["accepted"] == ended + stats["in_flight"], stats
        return stats

    def core(self, role: Any) -> Any:
        """The role's core, to look at what it does not tell."""
        return role._core

    def _kept(self, kind: Any, *args: object, **options: Any) -> Any:
        self.roles.append(kind(*args, **options))
        return self.roles[-1]

    def _make_gate(self) -> Gate:
        return Gate()


class OnLoop:
    """An asyncio object whose members are used on its loop, and waited for."""

    def __init__(self, kit: AsyncKit, inner: Any) -> None:
        self._kit = kit
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        member = getattr(self.inner, name)
        if not callable(member) or name in ("handler", "stop"):
            return member

        def use(*args: object, **kwargs: object) -> Any:
            return self._kit.on_loop(member, *args, **kwargs)

        return use


class AsyncKit(Kit):
    """Makes asyncio roles that are used like blocking ones."""

    service_class = zmqkit.asyncio.Service
    client_class = zmqkit.asyncio.Client

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="the user's loop")
        self._thread.start()

    def on_loop(self, member: Callable[..., Any], /, *args: object, **kwargs: object) -> Any:
        """What the member gives when it is called on the loop, awaited if need be."""

        async def use() -> Any:
            given = member(*args, **kwargs)
            given = await given if inspect.isawaitable(given) else given
            bound = isinstance(given, AsyncBoundClient)
            return OnLoop(self, given) if bound else given

        return self.submit(use()).result(BOUND_S)

    def submit(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        """Run this on the loop; cancelling the future cancels the task."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def core(self, role: Any) -> Any:
        return role.inner._core

    def close(self) -> None:
        try:
            super().close()
            left = self.submit(self._left()).result(BOUND_S)
        finally:
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join(BOUND_S)
            self.loop.close()
        assert not left, f"tasks left on the loop: {left}"

    async def _left(self) -> set[asyncio.Task[Any]]:
        # What was ended this moment may need a turn to go.
        for _ in range(100):
            left = asyncio.all_tasks() - {asyncio.current_task()}
            if not left:
                break
            await asyncio.sleep(0)
        return left  # type: ignore[return-value]

    def _kept(self, kind: Any, *args: object, **options: Any) -> Any:
        role = OnLoop(self, self.on_loop(kind, *args, **options))
        self.roles.append(role)
        return role

    def _make_gate(self) -> Gate:
        return AsyncGate(self.loop)


class FakeService:
    """A process that speaks the protocol and does as the test says.

    welcome: what it answers to hello. on_request: called with the peer and each packet of
    requests; it may answer with `send`. held: the ids that its pongs name. It listens for
    control and for data at one address.
    """

    def __init__(self, name: str, number: int = 1) -> None:
        self.name = name
        self.incarnation = number << 32 | 1
        self.packets: list[Packet] = []
        self.held: list[int] = []
        self.on_request: Callable[[bytes, Packet], None] = lambda peer, packet: None
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._make_socket()
        self.port = self._socket.bind_to_random_port("tcp://127.0.0.1")
        self.url = f"tcp://127.0.0.1:{self.port}"
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
        rows = wire.request_rows(packet)
        values = [sum(row[5]) for row in rows]  # type: ignore[arg-type]
        self.send(peer, wire.REPLY, [[row[0] for row in rows], values])

    def refuse(self, code: str) -> Callable[[bytes, Packet], None]:
        """For `on_request`: refuse each request unrun, with this code."""

        def refuse(peer: bytes, packet: Packet) -> None:
            sequences = [row[0] for row in wire.request_rows(packet)]
            rows = [[code, "", f"it says {code}", "", False] for _ in sequences]
            self.send(peer, wire.ERROR, [sequences, rows])

        return refuse

    def send(self, peer: bytes, kind: int, meta: object, raw: bytes | None = None) -> None:
        """Send a packet; from within `on_request` or `do`."""
        self.send_frames(peer, wire.pack(kind, self.incarnation, 0, 0, encode(meta), raw))

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
        while True:
            try:
                self._socket.bind(self.url)
                break
            except zmq.ZMQError:
                self._over.wait(0.005)  # libzmq gives ports back in the background
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
                peer, frame = self._socket.recv_multipart()
                self._take(peer, wire.unpack(frame))

    def _take(self, peer: bytes, packet: Packet) -> None:
        self.packets.append(packet)
        meta = packet.meta
        if packet.kind == wire.HELLO:
            self.send(peer, wire.WELCOME, self.welcome)
        elif packet.kind == wire.PING:
            assert isinstance(meta, list)
            control = [meta[0], self.welcome["revision"]]
            data = [meta[0], self.welcome["credit"], self.held]
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
        body = wire.request_body(method, 4, None, args, {})
        meta = wire.request_columns([sequence], [header.get("left_ms", 60_000)], [body])
        target = header.get("target", service.incarnation)
        settled = header.get("settled", 0)
        self.send(wire.pack(wire.REQUEST, self.incarnation, target, settled, meta))

    def send(self, *frames: bytes) -> None:
        self._socket.send_multipart(frames)

    def reply(self) -> tuple[int, Any]:
        """The kind and the values of the next packet."""
        assert self._socket.poll(BOUND_S * 1000), "no answer"
        packet = wire.unpack(self._socket.recv())
        return packet.kind, packet.meta

    def close(self) -> None:
        self._socket.close()
        self._context.term()


@pytest.fixture(scope="module")
def node() -> Iterator[nodes.Node]:
    """This process's node with its discovery, for all tests of a module: it takes a moment."""
    node = nodes.acquire()
    kit = Kit()
    kit.serving()
    kit.client()
    kit.close()

    async def settled() -> None:
        asker = node._engines["loopback"]._tasks[0]
        await asyncio.wait([asker])

    asyncio.run_coroutine_threadsafe(settled(), node._loop).result(BOUND_S)
    yield node
    nodes.release(node)


@pytest.fixture(autouse=True, scope="session")
def buffers_are_freed() -> None:
    """Send once without a copy: pyzmq then starts the one thread that frees what left so."""
    with zmq.Context() as context, context.socket(zmq.PAIR) as there:
        there.bind("inproc://there")
        with context.socket(zmq.PAIR) as here:
            here.connect("inproc://there")
            here.send(bytes(1 << 20), copy=False)
            there.recv()


@pytest.fixture(autouse=True)
def nothing_raised_on_a_loop(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail the test during which a callback raised, on the node's loop or on the user's."""
    yield
    records = [each for phase in ("setup", "call") for each in caplog.get_records(phase)]
    raised = [each.getMessage() for each in records if each.name == "asyncio"]
    assert not raised


@pytest.fixture
def blocking(fakes: object) -> Iterator[Kit]:
    """Makes blocking roles."""
    kit = Kit()
    yield kit
    kit.close()


@pytest.fixture
def aio(fakes: object) -> Iterator[AsyncKit]:
    """Makes asyncio roles."""
    kit = AsyncKit()
    yield kit
    kit.close()


@pytest.fixture(params=["blocking", "aio"])
def kit(request: pytest.FixtureRequest) -> Kit:
    """Either kind of roles."""
    kit: Kit = request.getfixturevalue(request.param)
    return kit


@pytest.fixture
def fakes() -> Iterator[Callable[[str], FakeService]]:
    """Makes fake services of a name; each is to be started. They outlive the kit's roles."""
    made: list[FakeService] = []

    def fake(name: str) -> FakeService:
        made.append(FakeService(name, len(made) + 1))
        return made[-1]

    yield fake
    for each in made:
        each.close()


@pytest.fixture
def fake(fakes: Callable[[str], FakeService], kit: Kit) -> FakeService:
    """A fake service of the kit's name."""
    return fakes(kit.name)


@pytest.fixture
def fake_client() -> Iterator[FakeClient]:
    """A raw connection of somebody who speaks the protocol."""
    fake = FakeClient()
    yield fake
    fake.close()
