"""The blocking client: calls that wait in the calling thread."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any, Unpack

from zmqkit.blocking.begun import gather
from zmqkit.blocking.ending import Ending
from zmqkit.blocking.futures import Futures
from zmqkit.blocking.mapped import Mapped
from zmqkit.blocking.places import await_ready, check_place
from zmqkit.blocking.role import Life, Role
from zmqkit.blocking.stream import Stream
from zmqkit.blocking.submitted import Submitted
from zmqkit.blocking.watchers import Watchers
from zmqkit.core.calls.call import CallOptions
from zmqkit.core.calls.client import ClientCore
from zmqkit.errors import PeerError
from zmqkit.limits import CLOSE_S, TIMEOUT_S, WAIT_S
from zmqkit.roles.answers import Answer, value_of
from zmqkit.roles.foreign import changed_of, client_parts
from zmqkit.roles.handlers import call_body, check_count, current, seconds_of, service_rows
from zmqkit.roles.mapping import Items
from zmqkit.roles.role import Plan, StaysHere
from zmqkit.roles.scheme import Lookup, shown
from zmqkit.roles.submitting import explained, for_submission
from zmqkit.roles.watching import Change
from zmqkit.types import ClientInstance, ClientOptions, ClientStats
from zmqkit.wire.encoding import Buffer
from zmqkit.wire.submission import COLLECT, STATE, SUBMIT


class BoundClient(StaysHere):
    """The calls of a client with options of their own: what `client.options` returns.

    It shares the connections of its client, which has to stay open, and is cheap to make.
    """

    _kind = "zmqkit.Client"

    def __init__(
        self, life: Life[Lookup], core: ClientCore, options: CallOptions, futures: Futures
    ) -> None:
        self._life = life
        self._futures = futures
        self._core = core
        self._options = options

    def _bound(self, options: CallOptions) -> BoundClient:
        return BoundClient(self._life, self._core, options, self._futures)

    def __repr__(self) -> str:
        life, options = self._life, self._options
        limits = f"timeout_s={options.timeout_s:g}, priority={options.priority}"
        return shown(self._kind, life.plan.place.name, limits, "closed" if life.closed else "")

    def options(self, **changes: Unpack[ClientOptions]) -> BoundClient:
        """Return this client with other options, such as timeout_s, wait_s or headers.

        priority: 0 to 9; the service runs 9 first. attempts: how many instances a call may try.
        headers: a mapping that travels with each call. copy=False: a bytes reply of 4096 bytes
        or more is a read-only memoryview of what arrived. instance: the label of the one
        instance to call, as `instances` returns it; such a call never moves to another, and
        raises NoService if it is not found within wait_s, and PeerLost if it is gone. For
        `submit` alone: id is the id of the request, 32 random digits unless given; a request
        that no worker has begun within expires_s, a day unless given, does not run. Raises
        UsageError for a wrong option.
        """
        return self._bound(self._options.changed(changes))

    def call(self, method: str, /, *args: object, **kwargs: object) -> Any:
        """Call the service's method with these arguments and return its value.

        It waits for room if 10,000 calls wait already; its time runs meanwhile.
        Raises NoService, CallTimeout, RemoteError, NoMethod, BadArguments, Busy or PeerLost.
        Raises UsageError for arguments that cannot travel. `error.may_have_run` says
        whether the method may have run.
        """
        if current.get() is not None:
            check_place(self._life, self._core)
        core, options = self._core, self._options
        body, raw = call_body(method, args, kwargs, options)
        value = self._life.ask(core.call, core.give_up, method, body, raw, options)
        return value_of(value, options)

    def begin(self, method: str, /, *args: object, **kwargs: object) -> Future[Any]:
        """Begin a call and return its Future; any number of calls may be begun.

        Waits for room while 10,000 calls of this client that were begun are open. The Future
        has the value or the error of `call`, within `timeout_s`. Cancelling it cancels the
        call, and the service is told. Its callbacks run on a thread of this client, without
        order; those that take long delay other Futures. Raises UsageError for arguments that
        cannot travel.
        """
        body, raw = call_body(method, args, kwargs, self._options)
        return self._futures.begin(method, body, raw, self._options)

    def gather(self, method: str, /, *args: object, **kwargs: object) -> list[Answer]:
        """Call the method at all instances, and return the answer of each instance.

        An instance that has not answered within `timeout_s` has CallTimeout as its error.
        Waits for a first instance as `call` does, and 250 ms for others after the last one
        that was found. Those are asked that the client uses: 16 at most; devices of the name in
        place of what is behind them; at a URL that one. Raises NoService if there is none, and
        UsageError for arguments that cannot travel.
        """
        body, raw = call_body(method, args, kwargs, self._options)
        return gather(self._life, self._core, method, body, raw, self._options)

    def map(
        self,
        method: str,
        items: Iterable[object],
        *,
        window: int = 100,
        return_errors: bool = False,
    ) -> Mapped:
        """Return an iterator over the method's values for these items, in their order.

        Each item is the only argument of a call. window: how many calls are begun and not
        returned yet, up to 10,000; items are read only as there is room. The time of a call
        runs from when it is begun. Raises the error of a call at its item, and cancels the
        calls that are under way then; return_errors: return each error in its place instead.
        Leaving the loop early, or `close`, cancels the calls, too. What `items` raises comes
        at once.
        """
        reading = Items(method, items, self._options, window)
        return Mapped(
            self._life, self._core, method, reading, self._options, return_errors=return_errors
        )

    def submit(self, method: str, /, *args: object, **kwargs: object) -> Submitted:
        """Have a broker with a journal keep a request, and return once it is on its disk.

        Any process may collect the reply, after any crash, by the `id` of what this returns, or
        the one given with `options`. A request with an id that is there already is not accepted
        again: of several brokers the id chooses the same one, as long as that is there. Raises
        the errors of `call`; after PeerLost with `may_have_run`, submit it again with the same
        id.
        Raises NoMethod if no broker with a journal serves the name.
        """
        options, id = for_submission(self._options, method)
        client = self._bound(options)
        try:
            client.call(SUBMIT, *args, **kwargs)
        except PeerError as error:
            raise explained(error, SUBMIT, self._life.plan.place.name, id) from None
        return self.submitted(id)

    def collect(self, id: str, timeout_s: float | None = None) -> Any:
        """Return the value of a request that was submitted, once there is one.

        timeout_s: how long to wait; None is the client's own time. Raises what ended the
        request, CallTimeout if it has not ended by then, or UnknownRequest. A reply may be
        collected more than once, as long as the broker keeps it.
        """
        changes: ClientOptions = {"id": id}
        if timeout_s is not None:
            changes["timeout_s"] = timeout_s
        return self._ask(self.options(**changes), COLLECT, id)

    def submitted(self, id: str) -> Submitted:
        """Return the request that was submitted with this id; no broker is asked yet."""
        return Submitted(id, self.collect, self._state)

    def _state(self, id: str) -> str:
        state = self._ask(self.options(id=id), STATE, id)
        return str(state)

    def _ask(self, client: BoundClient, method: str, id: str) -> Any:
        """Ask for a request that was submitted."""
        try:
            return client.call(method, id)
        except PeerError as error:
            raise explained(error, method, self._life.plan.place.name, id) from None

    def stream(self, method: str, /, *args: object, **kwargs: object) -> Stream:
        """Return an iterator over the values that the service's method yields, as they come.

        The client sends the request at once. `timeout_s` bounds the wait for the first value,
        counted from now, and then each wait for the next value. Iterating raises the errors of
        `call`, after the values that came before the error. It raises PeerLost if the instance
        is lost after the stream has begun. Leaving the loop early, or `close`, ends the
        generator. A plain method is a stream of one value.
        """
        body, raw = call_body(method, args, kwargs, self._options)
        return self._life.submit(self._stream, method, body, raw)

    def notify(self, method: str, /, *args: object, **kwargs: object) -> None:
        """Send a one-way message; the client repeats it until it has run or time is over.

        Returns at once. Messages that follow each other closely leave together. `stats` and the
        log tell what became of the message.
        """
        body, raw = call_body(method, args, kwargs, self._options)
        self._life.post(self._core.notify, method, body, raw, self._options)

    def _stream(self, method: str, body: bytes, raw: Buffer | None, now: float) -> Stream:
        call = self._core.stream(method, body, raw, self._options, now)
        return Stream(self._life, self._core, call)


class Client(BoundClient, Role):
    """Calls the service of a name, wherever its instances are, or the service at a URL.

    name: a name, `tcp://host:port[/name]` or `memory://name`. timeout_s: how long a call may
    take. wait_s: how long a call waits for a first instance. insecure: use instances on other
    machines, in plain text. protocol: "mdp1" or "mdp2" if the URL, then
    `tcp://host:port/service`, is that of a broker which speaks RFC 7 or RFC 18 alone; the one
    method is then `mdp`. space: the space that it is in, in place of that of ZMQKIT_SPACE.
    statistics: tell other machines that reach it what it counts. Raises UsageError or
    ConfigError for a wrong value. The client looks for instances once it is opened: by its
    `with` block, or else by the first verb.
    """

    def __init__(
        self,
        name: str,
        *,
        timeout_s: float = TIMEOUT_S,
        wait_s: float = WAIT_S,
        insecure: bool | None = None,
        space: str | None = None,
        statistics: bool = False,
        protocol: str | None = None,
    ) -> None:
        options = CallOptions(timeout_s=timeout_s, wait_s=wait_s)
        place, core = client_parts(name, protocol, insecure=insecure, space=space)
        life = Life(
            Plan(
                f"client of {name!r}", place, core,
                hear=core.hear, changed=changed_of(core), pace=core.pace, statistics=statistics,
            )
        )  # fmt: skip
        super().__init__(life, core, options, Futures(life, core))
        self._watchers = Watchers(life, core)

    def ready(self, count: int = 1, timeout_s: float | None = None) -> int:
        """Wait until `count` instances can be called; return how many can be."""
        check_count(count)
        return await_ready(self._life, self._core, count, seconds_of(timeout_s))

    def instances(self) -> list[ClientInstance]:
        """Return a row for each instance in use: label, address, state, outstanding, served.

        Calls go to instances whose state is `up`. outstanding: calls that the instance has.
        served: False for a device that has nobody for the name now.
        """
        return self._life.look(lambda: service_rows(self.name, self._core.instances))

    def on_change(self, callback: Callable[[Change], object]) -> Callable[[], None]:
        """Call a function with each Change of the instances that this client uses.

        It begins with those that are there, as `added`. Returns a function that ends it; so
        does `close`. callback: a plain function. All run on one thread of the client, so a slow
        one delays the next changes, and nothing else. What one raises is written to standard
        error.
        """
        return self._watchers.add(callback)

    def stats(self) -> ClientStats:
        """Return the counters.

        Always accepted = delivered + failed + expired + dropped + in flight.
        """
        return self._life.look(self._core.stats)

    def close(self, timeout_s: float = CLOSE_S) -> int:
        """Wait up to `timeout_s` for the calls in flight, then close the client.

        Returns how many calls were left unsettled; those end with CallCancelled.
        """
        core, life = self._core, self._life
        left = life.close(
            timeout_s,
            Ending(
                lambda: core.in_flight,
                core.close,
                leave=core.flush,  # one-way messages may gather
                drain=lambda until: life.wait(lambda: not core.in_flight, until),
                says="with {} calls unsettled".format,
            ),
        )
        life.after_close(self._end_threads)
        return left

    def _end_threads(self) -> None:
        self._futures.close()
        self._watchers.close()
