"""Roles of all patterns in virtual time, with faults on request.

The cores are those of every program, and so are all decisions: what is sent again, what moves
to another instance, which error a call ends in. Only the network, the clock and discovery are
made up. Time stands still while nothing happens, so an hour takes milliseconds, and the same
seed gives the same run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from zmqkit.core.calls.call import CallOptions
from zmqkit.history_limits import History
from zmqkit.limits import ATTEMPTS, BACKOFF_S, TIMEOUT_S, WAIT_S
from zmqkit.roles.handlers import Handlers, check_concurrency
from zmqkit.roles.messages import check_history, check_reader
from zmqkit.simulation.timeline import START_AT
from zmqkit.testing.calls import Caller, Instance
from zmqkit.testing.place import Stage
from zmqkit.testing.tasks import WorldPusher, WorldWorker
from zmqkit.testing.topics import WorldPublisher, WorldSubscriber


class World:
    """A network of roles, and its clock, which only a wait moves on.

    Each role is a process of its own that can be killed, and whose packets can be lost or late.
    """

    def __init__(self, seed: int = 0) -> None:
        """seed: decides what chance decides, such as the order of things at one time."""
        self._stage = Stage(seed)

    @property
    def elapsed_s(self) -> float:
        """How much virtual time has passed since the world was made."""
        return self._stage.now - START_AT

    def run(self, duration_s: float) -> None:
        """Let everything happen that is due within so much virtual time."""
        self._stage.run(duration_s)

    def run_until(self, holds: Callable[[], bool], limit_s: float) -> bool:
        """Let time pass until this holds; return false if it does not within `limit_s`."""
        return self._stage.run_until(holds, limit_s)

    def service(
        self,
        name: str,
        *handlers: Callable[..., object],
        idempotent: bool = False,
        concurrency: int = 1,
        takes_s: float = 0.0,
    ) -> Instance:
        """Start one instance of a service; a name may have several.

        handlers: plain functions and generators, each under its own name. idempotent: whether
        all of them may run twice. takes_s: how long each of them takes, and a generator for
        each value, in virtual time. Raises UsageError for `async def`.
        """
        check_concurrency(concurrency)
        methods = Handlers(plain=True)
        for each in handlers:
            methods.add(each, None, idempotent=idempotent, copy=True)
        return Instance(self._stage, name, methods, concurrency, takes_s)

    def client(
        self, name: str, *, timeout_s: float = TIMEOUT_S, wait_s: float = WAIT_S
    ) -> Caller:
        """Make a client of the services of a name, those that come later, too."""
        return Caller(self._stage, name, CallOptions(timeout_s=timeout_s, wait_s=wait_s))

    def publisher(self, name: str, *, history: int | History | None = None) -> WorldPublisher:
        """Start a publisher, which does not wait for slow subscribers.

        history: how many messages of each topic to keep, as for `zmqkit.Publisher`. Raises
        UsageError for a wrong value.
        """
        return WorldPublisher(self._stage, name, check_history(history))

    def subscriber(
        self,
        name: str,
        topics: Iterable[str] = ("",),
        *,
        latest: bool = False,
        history: int = 0,
        recover: bool = False,
    ) -> WorldSubscriber:
        """Make a subscriber to the publishers of a name, those that come later, too.

        The options are those of `zmqkit.Subscriber`. Raises UsageError for a wrong one.
        """
        check_reader(latest, True, None, history, recover)
        return WorldSubscriber(
            self._stage, name, topics, latest=latest, history=history, recover=recover
        )

    def worker(
        self,
        name: str,
        handler: Callable[..., object],
        *,
        attempts: int = ATTEMPTS,
        backoff_s: float = BACKOFF_S,
        task_timeout_s: float | None = None,
        concurrency: int = 1,
        takes_s: float = 0.0,
    ) -> WorldWorker:
        """Start one worker of a name, which may have several.

        handler: a plain function, which gets what was pushed. takes_s: how long it takes, in
        virtual time. The other options are those of `zmqkit.Worker` and its `task`. Raises
        UsageError for a wrong one, for a generator and for `async def`.
        """
        return WorldWorker(
            self._stage, name, handler, concurrency, takes_s,
            attempts=attempts, backoff_s=backoff_s, task_timeout_s=task_timeout_s,
        )  # fmt: skip

    def pusher(self, name: str) -> WorldPusher:
        """Make a pusher to the workers of a name, those that come later, too."""
        return WorldPusher(self._stage, name)
