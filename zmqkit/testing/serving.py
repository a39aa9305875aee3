"""Roles that serve in the background of a test, and are closed at its end.

The fixtures of the plugin `pytest_zmqkit` are the methods of `Roles`.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Protocol, Self

import zmqkit
from zmqkit import asyncio as zmqkit_asyncio
from zmqkit.blocking.ending import Ending
from zmqkit.cli.target import Target, methods_of
from zmqkit.core.effects import Effect
from zmqkit.errors import UsageError

READY_S = 10.0
"""How long a role may take to be found by those that look for it."""

Serves = zmqkit.Service | zmqkit.Worker
ServesOnLoop = zmqkit_asyncio.Service | zmqkit_asyncio.Worker


class Background(ABC):
    """A service or worker with a thread of its own, until `close` or `kill`."""

    role: Serves | ServesOnLoop

    def _begin(self) -> None:
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=self.role.name)
        self._thread.start()

    @property
    def name(self) -> str:
        """The name under which it is found."""
        return self.role.name

    @property
    def url(self) -> str:
        """The address at which it is reached."""
        return self.role.endpoint

    def close(self) -> None:
        """Have it take nothing more, finish what it has, and end.

        Raises what ended its thread, if anything did.
        """
        self.role.stop()
        self._thread.join()
        self._end()
        error, self._error = self._error, None
        if error is not None:
            raise error

    @abstractmethod
    def kill(self) -> None:
        """End it as the death of its process does: it answers nothing and tells nobody.

        Returns once it cannot be reached. A plain handler that runs goes on to its end, and
        what it returns is lost; one that is `async def` is cancelled.
        """

    @abstractmethod
    def _serve(self) -> None:
        """Serve until the role is stopped or killed."""

    @abstractmethod
    def _end(self) -> None:
        """Close what the thread has left open."""

    def _run(self) -> None:
        try:
            self._serve()
        except BaseException as error:  # noqa: BLE001 - raised again by whoever closes it
            self._error = error


class InThread(Background):
    """A blocking role, whose handlers run in its thread."""

    def __init__(self, role: Serves) -> None:
        """Open the role, and have its thread serve."""
        self.role: Serves = role
        role.start()
        self._begin()

    def kill(self) -> None:
        """End it as the death of its process does: it answers nothing and tells nobody."""
        runner = self.role._runner
        end = Ending(int, list, over=lambda left: runner.close(wait=False))
        self.role._life.close(0.0, end)

    def _serve(self) -> None:
        if isinstance(self.role, zmqkit.Service):
            self.role.serve()
        else:
            self.role.work()

    def _end(self) -> None:
        self.role.close()
        self.role._runner.close(wait=True)  # which a death does not wait for


class OnLoop(Background):
    """A role with handlers that are `async def`, on an event loop of its thread."""

    def __init__(self, make: Callable[[], ServesOnLoop]) -> None:
        """Open the role that `make` returns, and have its thread serve.

        Raises the errors of opening it.
        """
        self.role: ServesOnLoop = make()
        self._is_open, self._is_ended = threading.Event(), threading.Event()
        self._work: tuple[asyncio.AbstractEventLoop, asyncio.Task[None]] | None = None
        self._begin()
        self._is_open.wait()
        if self._work is None:
            self.close()

    def kill(self) -> None:
        """End it as the death of its process does: it answers nothing and tells nobody."""
        if self._work is not None and self._thread.is_alive():
            loop, task = self._work
            loop.call_soon_threadsafe(task.cancel)
            self._is_ended.wait()

    def _serve(self) -> None:
        try:
            asyncio.run(self._main())
        finally:
            self._is_open.set()
            self._is_ended.set()

    async def _main(self) -> None:
        role = self.role
        await role.start()
        task = asyncio.ensure_future(self._wait())
        self._work = asyncio.get_running_loop(), task
        self._is_open.set()
        await asyncio.wait([task])
        if task.cancelled():
            await role._life.close(0.0, int, self._hush)
            self._is_ended.set()
        else:
            await role.close()
            task.result()

    async def _wait(self) -> None:
        if isinstance(self.role, zmqkit_asyncio.Service):
            await self.role.serve()
        else:
            await self.role.work()

    def _hush(self) -> list[Effect]:
        """Have handlers that end answer nothing."""
        self.role._runner.stop()
        return []

    def _end(self) -> None:
        """Nothing is left: the loop has closed the role."""


class Roles:
    """Makes roles, and closes them in turn, the last one first."""

    def __init__(self) -> None:
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()

    def service(
        self, target: object, name: str, *, idempotent: bool = False, **options: Any
    ) -> Background:
        """Serve the methods of an object, the functions of a module, or one function.

        idempotent: whether all of them may run twice. options: those of `zmqkit.Service`, such
        as bind="memory://NAME", which several services may share. Where a function is `async
        def`, all run on an event loop of the service's own thread. Raises UsageError for what
        has nothing to serve.
        """
        methods = dict(methods_of(target, getattr(target, "__name__", name)))
        if not methods:
            raise UsageError(f"{target!r} has no public functions to serve")

        def filled(service: Any) -> Any:
            for method, function in methods.items():
                service.handler(function, name=method, idempotent=idempotent)
            return service

        if Target(name, methods).waits:
            made: Background = OnLoop(lambda: filled(zmqkit_asyncio.Service(name, **options)))
        else:
            made = InThread(filled(zmqkit.Service(name, **options)))
        self._open.callback(made.close)
        return made

    def worker(
        self, handler: Callable[..., object], name: str, *, attempts: int = 3, **options: Any
    ) -> Background:
        """Have a function do the tasks that are pushed under a name; it may be `async def`.

        attempts: how many a task has. options: those of `zmqkit.Worker`.
        """

        def filled(worker: Any) -> Any:
            worker.task(handler, attempts=attempts, backoff_s=0.0)
            return worker

        if inspect.iscoroutinefunction(handler):
            made: Background = OnLoop(lambda: filled(zmqkit_asyncio.Worker(name, **options)))
        else:
            made = InThread(filled(zmqkit.Worker(name, **options)))
        self._open.callback(made.close)
        return made

    def client(self, name: str, *, count: int = 1, **options: Any) -> zmqkit.Client:
        """Make a client of a name or URL, once it is connected to `count` instances.

        options: those of `zmqkit.Client`. With count=0 it waits for nobody. Raises UsageError
        if there are fewer within ten seconds.
        """
        client = self._open.enter_context(zmqkit.Client(name, **options))
        if count and (found := client.ready(count, timeout_s=READY_S)) < count:
            raise UsageError(f"{name!r} has {found} instances, not {count}; start them first")
        return client

    def publisher(self, name: str, **options: Any) -> zmqkit.Publisher:
        """Make a publisher, which subscribers find from now on.

        options: those of `zmqkit.Publisher`.
        """
        return self._open.enter_context(zmqkit.Publisher(name, **options))

    def subscriber(
        self, name: str, topics: Iterable[str] = ("",), *, count: int = 1, **options: Any
    ) -> zmqkit.Subscriber:
        """Make a subscriber, once `count` publishers of the name have all its subscriptions.

        options: those of `zmqkit.Subscriber`. With count=0 it waits for nobody. Raises
        UsageError if there are fewer within ten seconds.
        """
        subscriber = self._open.enter_context(zmqkit.Subscriber(name, topics, **options))
        if count and (found := subscriber.ready(count, timeout_s=READY_S)) < count:
            raise UsageError(f"{name!r} has {found} publishers, not {count}; start them first")
        return subscriber


class MakeService(Protocol):
    """What the fixture `zmqkit_service` is; see `Roles.service`."""

    def __call__(
        self, target: object, name: str, *, idempotent: bool = False, **options: Any
    ) -> Background:
        """Serve an object's methods, a module's functions, or one function."""


class MakeWorker(Protocol):
    """What the fixture `zmqkit_worker` is; see `Roles.worker`."""

    def __call__(
        self, handler: Callable[..., object], name: str, *, attempts: int = 3, **options: Any
    ) -> Background:
        """Have a function do the tasks of a name."""


class MakeClient(Protocol):
    """What the fixture `zmqkit_client` is; see `Roles.client`."""

    def __call__(self, name: str, *, count: int = 1, **options: Any) -> zmqkit.Client:
        """Make a client of a name or URL."""


class MakePublisher(Protocol):
    """What the fixture `zmqkit_publisher` is; see `Roles.publisher`."""

    def __call__(self, name: str, **options: Any) -> zmqkit.Publisher:
        """Make a publisher."""


class MakeSubscriber(Protocol):
    """What the fixture `zmqkit_subscriber` is; see `Roles.subscriber`."""

    def __call__(
        self, name: str, topics: Iterable[str] = ("",), *, count: int = 1, **options: Any
    ) -> zmqkit.Subscriber:
        """Make a subscriber to the publishers of a name or URL."""
