"""Blocking and asyncio roles behind one interface, so that one test can ask both.

What an asyncio role does waits here as a blocking one does: its loop has a thread of its own.
"""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import secrets
import threading
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future
from itertools import islice
from typing import Any

import zmqkit
import zmqkit.asyncio
from zmqkit.asyncio.client import BoundClient as AsyncBoundClient
from zmqkit.core.tasks.task import State
from zmqkit.device.bridge import Bridge
from zmqkit.device.forwarder import Forwarder
from zmqkit.device.streamer import Streamer
from zmqkit.limits import FOLLOW_S, HOLD_S

BOUND_S = 20.0
STEP_S = 0.005


def until(holds: Callable[[], object]) -> None:
    """Look again and again, for what nothing tells of."""
    pause = threading.Event()
    for _ in range(round(BOUND_S / STEP_S)):
        if holds():
            return
        pause.wait(STEP_S)
    raise AssertionError("it never came true")


def loops() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """What makes an event loop, of each kind that is installed."""
    made: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {}
    made["asyncio"] = asyncio.new_event_loop
    if importlib.util.find_spec("uvloop"):
        made["uvloop"] = importlib.import_module("uvloop").new_event_loop
    return made


def received(subscriber: Any, count: int) -> list[Any]:
    """So many messages, read in one go on the loop of a subscriber that has one."""
    if not isinstance(subscriber, OnLoop):
        messages = [subscriber.receive(BOUND_S) for _ in range(count)]
    else:
        messages = subscriber.several("receive", count, BOUND_S)
    assert None not in messages
    return messages


LOOPS = loops()
_WRAPPED = (AsyncBoundClient, zmqkit.asyncio.Submitted, zmqkit.asyncio.Ticket)


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

    @property
    def over(self) -> bool:
        return self._future.done()

    def result(self) -> Any:
        try:
            return self._future.result(BOUND_S)
        finally:
            self._thread.join(BOUND_S)


class Kit:
    """Makes blocking roles and closes them."""

    service_class: Any = zmqkit.Service
    client_class: Any = zmqkit.Client
    publisher_class: Any = zmqkit.Publisher
    subscriber_class: Any = zmqkit.Subscriber
    pusher_class: Any = zmqkit.Pusher
    worker_class: Any = zmqkit.Worker
    sink_class: Any = zmqkit.Sink
    follow_s = FOLLOW_S
    hold_s = HOLD_S

    def __init__(self) -> None:
        self.name = f"t{secrets.token_hex(6)}"
        self.roles: list[Any] = []
        self._streamers: list[Streamer] = []
        self._forwarders: list[Forwarder | Bridge] = []
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
        """A client that is connected to so many instances, and as patient as the tests."""
        options.setdefault("timeout_s", BOUND_S)
        client = self._kept(self.client_class, name or self.name, **options)
        if count:
            assert client.ready(count, timeout_s=BOUND_S) >= count
        return client

    def publisher(self, name: str = "", **options: Any) -> Any:
        """A publisher that can be found."""
        publisher = self._kept(self.publisher_class, name or self.name, **options)
        assert publisher.ready(timeout_s=0) >= 0
        return publisher

    def subscriber(self, name: str = "", *topics: str, count: int = 1, **options: Any) -> Any:
        """A subscriber that so many publishers have all subscriptions of."""
        if topics:
            options["topics"] = topics
        subscriber = self._kept(self.subscriber_class, name or self.name, **options)
        limit = BOUND_S if count else 0
        assert subscriber.ready(count or 1, timeout_s=limit) >= count
        return subscriber

    def working(self, handler: Callable[..., object], *, name: str = "", **options: Any) -> Any:
        """A worker that works, in the background, until it is closed.

        attempts, backoff_s, task_timeout_s, thread and copy are the handler's.
        """
        declared = {
            name: options.pop(name)
            for name in ("attempts", "backoff_s", "task_timeout_s", "thread", "copy")
            if name in options
        }
        worker = self._kept(self.worker_class, name or self.name, **options)
        worker.task(handler, **declared)
        worker.start()
        self.start(worker.work)
        return worker

    def pusher(self, *, count: int = 1, **options: Any) -> Any:
        """A pusher that is connected to so many workers."""
        pusher = self._kept(self.pusher_class, self.name, **options)
        if count:
            assert pusher.ready(count, timeout_s=BOUND_S) >= count
        return pusher

    def sink(self, **options: Any) -> Any:
        """A sink that can be found."""
        sink = self._kept(self.sink_class, self.name, **options)
        assert sink.receive(0) is None
        return sink

    def streamer(self, name: str = "", **options: Any) -> Streamer:
        """A streamer, by default of the kit's name, which the node drives."""
        self._streamers.append(Streamer(name or self.name, **options))
        self._streamers[-1].start()
        return self._streamers[-1]

    def forwarder(self, name: str = "", **options: Any) -> Forwarder:
        """A forwarder, by default of the kit's name, which a thread runs."""
        forwarder = Forwarder(name or self.name, **options)
        self._forwarders.append(forwarder)
        forwarder.start()
        self.start(forwarder.run)
        return forwarder

    def bridge(self, name: str = "", **options: Any) -> Bridge:
        """One end of a bridge, by default of the kit's name, which a thread runs."""
        bridge = Bridge(name or self.name, **options)
        self._forwarders.append(bridge)
        bridge.start()
        self.start(bridge.run)
        return bridge

    def mapped(self, pusher: Any, bodies: Iterable[object], **options: Any) -> list[Any]:
        """All results of a map."""
        return list(pusher.map(bodies, **options))

    def publish(self, publisher: Any, *messages: tuple[str, object]) -> None:
        """Publish these in a batch."""
        with publisher.batch() as batch:
            for topic, body in messages:
                batch.publish(topic, body)

    def publish_each(self, publisher: Any, count: int, body: object = None) -> None:
        """Publish one by one, as quickly as it goes; numbers unless told what."""
        for number in range(count):
            publisher.publish("t", number if body is None else body)

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
        for device in (*self._streamers, *self._forwarders):
            device.close()
        for started in self._started:
            started._thread.join(BOUND_S)
            assert not started._thread.is_alive(), "a thread is still in a role's verb"
        for role in (*self.roles, *self._streamers):
            self.balanced(role)

    def values(self, stream: Any, count: int | None = None) -> list[Any]:
        """So many values of a stream, or all."""
        return list(islice(stream, count))

    def ask(self, client: Any, method: str) -> Any:
        """Call the method, or read all of its stream if its name says that it has one."""
        if method.startswith(("streams", "values")):
            return self.values(client.stream(method))
        return client.call(method)

    def shut(self, stream: Any) -> None:
        """Close a stream."""
        stream.close()

    def balanced(self, role: Any) -> dict[str, Any]:
        """The role's counters: every message that it ever took is accounted for, once."""
        stats: dict[str, Any] = role.stats()
        if "dead" in stats:
            states = {each.value for each in State}
            assert stats["accepted"] == sum(stats[each] for each in states), stats
            return stats
        dropped = sum(stats["dropped"].values())
        if "handed_over" in stats:
            assert stats["accepted"] == stats["handed_over"] + stats["queued"] + dropped, stats
            return stats
        if "received" in stats:
            assert stats["received"] == stats["delivered"] + stats["queued"] + dropped, stats
            return stats
        ended = stats["delivered"] + stats["failed"] + stats["expired"]
        ended += dropped
        assert stats["accepted"] == ended + stats["in_flight"], stats
        return stats

    def core(self, role: Any) -> Any:
        """The role's core, to look at what it does not tell."""
        return role._core

    def waits(self, role: Any) -> bool:
        """Whether a verb of the role waits until something holds."""
        driver = role._life.driver
        return driver is not None and bool(driver.attentive)

    def _kept(self, kind: Any, *args: object, **options: Any) -> Any:
        return self._keep(kind(*args, **options))

    def _keep(self, role: Any) -> Any:
        """Close the role at the end; what it sends gathers as the kit says."""
        self.roles.append(role)
        pace = getattr(self.core(role), "pace", None)
        if pace is not None:
            pace.follow_s, pace.hold_s = self.follow_s, self.hold_s
        return role

    def _make_gate(self) -> Gate:
        return Gate()


class OnLoop:
    """An asyncio object whose members are used on its loop, and waited for."""

    def __init__(self, kit: AsyncKit, inner: Any) -> None:
        self._kit = kit
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        member = getattr(self.inner, name)
        if not callable(member) or name in ("handler", "task", "stop"):
            return member

        def use(*args: object, **kwargs: object) -> Any:
            return self._kit.on_loop(member, *args, **kwargs)

        return use

    def several(self, verb: str, count: int, *args: object) -> list[Any]:
        """What a verb that waits gives, so many times, with one change to the loop."""

        async def use() -> list[Any]:
            return [await getattr(self.inner, verb)(*args) for _ in range(count)]

        return list(self._kit.submit(use()).result())


class AsyncKit(Kit):
    """Makes asyncio roles that are used like blocking ones."""

    service_class = zmqkit.asyncio.Service
    client_class = zmqkit.asyncio.Client
    publisher_class = zmqkit.asyncio.Publisher
    subscriber_class = zmqkit.asyncio.Subscriber
    pusher_class = zmqkit.asyncio.Pusher
    worker_class = zmqkit.asyncio.Worker
    sink_class = zmqkit.asyncio.Sink

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.loop = loop
        self._thread = threading.Thread(target=self.loop.run_forever, name="the user's loop")
        self._thread.start()

    def on_loop(self, member: Callable[..., Any], /, *args: object, **kwargs: object) -> Any:
        """What the member gives when it is called on the loop, awaited if need be."""

        async def use() -> Any:
            given = member(*args, **kwargs)
            given = await given if inspect.isawaitable(given) else given
            if type(given) is list:
                return [self._wrapped(each) for each in given]
            return self._wrapped(given)

        return self.submit(use()).result(BOUND_S)

    def _wrapped(self, given: Any) -> Any:
        return OnLoop(self, given) if type(given) in _WRAPPED else given

    def submit(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        """Run this on the loop; cancelling the future cancels the task."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def publish(self, publisher: Any, *messages: tuple[str, object]) -> None:
        async def publish() -> None:
            async with publisher.inner.batch() as batch:
                for topic, body in messages:
                    await batch.publish(topic, body)

        self.submit(publish()).result(BOUND_S)

    def waits(self, role: Any) -> bool:
        driver = role.inner._life.driver
        return driver is not None and bool(driver._after)

    def publish_each(self, publisher: Any, count: int, body: object = None) -> None:
        async def publish() -> None:
            for number in range(count):
                await publisher.inner.publish("t", number if body is None else body)

        self.submit(publish()).result(BOUND_S)

    def core(self, role: Any) -> Any:
        return role.inner._core

    def bridge(self, name: str = "", **options: Any) -> Bridge:
        """One end of a bridge, by default of the kit's name, which a thread runs."""
        bridge = Bridge(name or self.name, **options)
        self._forwarders.append(bridge)
        bridge.start()
        self.start(bridge.run)
        return bridge

    def mapped(self, pusher: Any, bodies: Iterable[object], **options: Any) -> list[Any]:
        async def read() -> list[Any]:
            return [each async for each in pusher.inner.map(bodies, **options)]

        return self.submit(read()).result(BOUND_S)

    def values(self, stream: Any, count: int | None = None) -> list[Any]:
        async def read() -> list[Any]:
            given: list[Any] = []
            while count is None or len(given) < count:
                try:
                    given.append(await anext(stream))
                except StopAsyncIteration:
                    break
            return given

        return self.submit(read()).result(BOUND_S)

    def shut(self, stream: Any) -> None:
        self.submit(stream.close()).result(BOUND_S)

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
        return self._keep(OnLoop(self, self.on_loop(kind, *args, **options)))

    def _make_gate(self) -> Gate:
        return AsyncGate(self.loop)
