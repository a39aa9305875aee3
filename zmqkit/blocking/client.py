"""The blocking client: calls that wait in the calling thread."""

from __future__ import annotations

from typing import Any

from zmqkit.blocking.role import Life, Role
from zmqkit.blocking.stream import Stream
from zmqkit.core.calls.call import CallOptions
from zmqkit.core.calls.client import ClientCore
from zmqkit.limits import CLOSE_S, TIMEOUT_S, WAIT_S
from zmqkit.roles.handlers import call_body, check_count, instance_rows, seconds_of
from zmqkit.roles.role import Plan
from zmqkit.roles.scheme import Lookup, draw_incarnation, shown
from zmqkit.wire.encoding import Buffer


class BoundClient:
    """A client's calls with options of their own; see `options`."""

    _kind = "zmqkit.Client"

    def __init__(self, life: Life[Lookup], core: ClientCore, options: CallOptions) -> None:
        self._life = life
        self._core = core
        self._options = options

    def __repr__(self) -> str:
        life, options = self._life, self._options
        limits = f"timeout_s={options.timeout_s:g}, priority={options.priority}"
        return shown(self._kind, life.plan.place.name, limits, "closed" if life.closed else "")

    def options(self, **changes: object) -> BoundClient:
        """The same client with other timeout_s, wait_s, priority, attempts, headers or copy.

        priority: 0 to 9, 9 first. attempts: how many instances a call may try. headers: a
        mapping that travels along. copy=False: a bytes reply of 4096 bytes or more is a
        read-only memoryview of what arrived. Raises UsageError for a wrong one.
        """
        return BoundClient(self._life, self._core, self._options.changed(changes))

    def call(self, method: str, /, *args: object, **kwargs: object) -> Any:
        """What the service's method gives for these arguments.

        Raises NoService, CallTimeout, RemoteError, NoMethod, BadArguments, Busy, PeerLost or
        QueueFull, and UsageError for what cannot travel; `error.may_have_run` says whether it
        may have run.
        """
        core, options = self._core, self._options
        body, raw = call_body(method, args, kwargs, options)
        value = self._life.ask(core.submit, core.give_up, method, body, raw, options)
        return bytes(value) if type(value) is memoryview and options.copy else value

    def stream(self, method: str, /, *args: object, **kwargs: object) -> Stream:
        """The values that the service's method gives one by one, as they come.

        Asked for at once. `timeout_s` bounds the wait for the first value, from now on, and
        then each wait for the next. Iterating raises what `call` does, after the values that
        came before it; PeerLost if the instance is lost once it has begun. Leaving the loop
        early, or `close`, ends the generator. A plain method is a stream of one value.
        """
        body, raw = call_body(method, args, kwargs, self._options)
        return self._life.submit(self._stream, method, body, raw)

    def notify(self, method: str, /, *args: object, **kwargs: object) -> None:
        """Send a one-way message; it is repeated until it has run or time is over.

        Returns at once. Those that follow each other closely leave together. What became of it
        is in `stats` and in the log.
        """
        body, raw = call_body(method, args, kwargs, self._options)
        self._life.post(self._core.notify, method, body, raw, self._options)

    def _stream(self, method: str, body: bytes, raw: Buffer | None, now: float) -> Stream:
        call = self._core.stream(method, body, raw, self._options, now)
        return Stream(self._life, self._core, call)


class Client(BoundClient, Role):
    """Calls the service of a name, wherever its instances are, or the one at a URL.

    name: a name, `tcp://host:port[/name]` or `memory://name`. timeout_s: how long a call may
    take. wait_s: how long it waits for a first instance. insecure: use instances on other
    machines, in plain text. Raises UsageError or ConfigError for a wrong value. It looks for
    instances once it is opened: by its `with` block, or else by the first verb.
    """

    def __init__(
        self,
        name: str,
        *,
        timeout_s: float = TIMEOUT_S,
        wait_s: float = WAIT_S,
        insecure: bool | None = None,
    ) -> None:
        options = CallOptions(timeout_s=timeout_s, wait_s=wait_s)
        place = Lookup("service", name, insecure=insecure)
        core = ClientCore(name, draw_incarnation())
        life = Life(Plan(f"client of {name!r}", place, core, hear=core.hear, pace=core.pace))
        super().__init__(life, core, options)

    def ready(self, count: int = 1, timeout_s: float | None = None) -> int:
        """Wait until `count` instances can be called; gives how many can be."""
        check_count(count)
        limit_s = seconds_of(timeout_s)
        ready = self._life.ask(self._await_ready, self._core.give_up, count, limit_s)
        assert isinstance(ready, int)
        return ready

    def instances(self) -> list[dict[str, object]]:
        """The instances in use: label, address, state (`up` is chosen), outstanding calls."""
        return self._life.look(lambda: instance_rows(self.name, self._core.instances))

    def stats(self) -> dict[str, object]:
        """Counters; accepted = delivered + failed + expired + dropped + in flight, always."""
        return self._life.look(self._core.stats)

    def close(self, timeout_s: float = CLOSE_S) -> int:
        """Wait up to `timeout_s` for what is in flight, and let go.

        Gives how many calls were left unsettled; they end with CallCancelled.
        """
        core, life = self._core, self._life
        return life.close(
            timeout_s,
            lambda: core.in_flight,
            core.close,
            leave=core.flush,  # one-way messages may gather
            drain=lambda until: life.wait(lambda: not core.in_flight, until),
            says="with {} calls unsettled".format,
        )

    def _await_ready(self, count: int, limit_s: float, waiter: object, now: float) -> None:
        self._life.perform(self._core.await_ready(count, waiter, limit_s, now))
