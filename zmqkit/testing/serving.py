"""Roles that serve in the background of a test, and are closed at its end.

The fixtures of the plugin `pytest_zmqkit` are the methods of `Roles`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol, Self

import zmqkit
from zmqkit.cli.target import methods_of
from zmqkit.errors import UsageError

READY_S = 10.0
"""How long a role may take to be found by those that look for it."""


class Background:
    """A service or worker with a thread of its own, until `close`."""

    def __init__(
        self, role: zmqkit.Service | zmqkit.Worker, serve: Callable[[], object]
    ) -> None:
        """Open the role; serve: what its thread is to do."""
        self.role = role
        self._error: BaseException | None = None
        role.start()
        self._thread = threading.Thread(target=self._run, args=(serve,), name=role.name)
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
        self.role.close()
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _run(self, serve: Callable[[], object]) -> None:
        try:
            serve()
        except BaseException as error:  # noqa: BLE001 - raised again by whoever closes it
            self._error = error


class Roles:
    """Makes roles, and closes them in turn, the last one first."""

    def __init__(self) -> None:
        self._open: list[Background | zmqkit.Client] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all roles."""
        while self._open:
            self._open.pop().close()

    def service(
        self, target: object, name: str, *, idempotent: bool = False, **options: Any
    ) -> Background:
        """Serve the methods of an object, the functions of a module, or one function.

        idempotent: whether all of them may run twice. options: those of `zmqkit.Service`, such
        as bind="memory://NAME", which several services may share. Raises UsageError for what
        has nothing to serve, and for `async def`.
        """
        methods = dict(methods_of(target, getattr(target, "__name__", name)))
        if not methods:
            raise UsageError(f"{target!r} has no public functions to serve")
        service = zmqkit.Service(name, **options)
        for method, function in methods.items():
            service.handler(function, name=method, idempotent=idempotent)
        return self._keep(Background(service, service.serve))

    def worker(
        self, handler: Callable[..., object], name: str, *, attempts: int = 3, **options: Any
    ) -> Background:
        """Have a function do the tasks that are pushed under a name.

        attempts: how many a task has. options: those of `zmqkit.Worker`.
        """
        worker = zmqkit.Worker(name, **options)
        worker.task(handler, attempts=attempts, backoff_s=0.0)
        return self._keep(Background(worker, worker.work))

    def client(self, name: str, *, count: int = 1, **options: Any) -> zmqkit.Client:
        """Make a client of a name or URL, once it is connected to `count` instances.

        options: those of `zmqkit.Client`. With count=0 it waits for nobody. Raises UsageError
        if there are fewer within ten seconds.
        """
        client = zmqkit.Client(name, **options)
        self._open.append(client)
        if count and (found := client.ready(count, timeout_s=READY_S)) < count:
            raise UsageError(f"{name!r} has {found} instances, not {count}; start them first")
        return client

    def _keep(self, role: Background) -> Background:
        self._open.append(role)
        return role


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
