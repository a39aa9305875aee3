"""What the blocking and the asyncio roles share: options, values in and out, handlers."""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from math import inf
from typing import Any, TypeGuard, TypeVar, overload

from zmqkit.core.calls.call import CallOptions
from zmqkit.core.calls.request import Request as CoreRequest
from zmqkit.core.dispatch.connections import State
from zmqkit.core.dispatch.job import Instance
from zmqkit.core.dispatch.window import Answer
from zmqkit.errors import UsageError
from zmqkit.limits import BODY_BYTES_MAX, RAW_BYTES_MIN, TIMEOUT_S_MAX
from zmqkit.roles.failures import CannotTravel, failed
from zmqkit.types import ClientInstance
from zmqkit.types import Instance as Row
from zmqkit.wire.encoding import SCALARS, Buffer, encode, encode_checked, raw_of
from zmqkit.wire.packet import REPLY
from zmqkit.wire.rows import request_row

_NIL = b"\xc0"

Function = Callable[..., object]
AnyFunction = TypeVar("AnyFunction", bound=Function)
Report = Callable[[CoreRequest, bytes], None]


def call_body(
    method: str, args: tuple[object, ...], kwargs: dict[str, object], options: CallOptions
) -> tuple[bytes, Buffer | None]:
    """Encode a call; return its msgpack row and its raw body.

    There is a raw body only if the call's only argument is one. Raises UsageError for arguments
    that cannot travel because of their type or size.
    """
    if type(method) is not str:
        raise UsageError(f"a method's name is text, not {method!r}")
    raw = None
    if len(args) == 1 and not kwargs and is_raw(args[0]):
        raw, args = raw_of(args[0]), ()
    row = request_row(method, options.headers or None, args, kwargs)
    size = len(row) + len(method)
    if raw is not None:
        size += len(raw)
    if size > BODY_BYTES_MAX:
        raise UsageError(
            f"the arguments of {method!r} take {size} bytes; {BODY_BYTES_MAX} at most"
        )
    return row, raw


def is_raw(value: object) -> TypeGuard[Buffer]:
    """Return whether a lone value travels raw: a long bytes value, or any memoryview."""
    kind = type(value)
    return kind is memoryview or (kind is bytes and len(value) >= RAW_BYTES_MIN)  # type: ignore[arg-type]  # bytes


@dataclass(slots=True, frozen=True)
class Handler:
    """A function that answers one method."""

    function: Function
    waits: bool  # The function is `async def`.
    thread: bool  # The function runs in a thread.
    copy: bool  # A long bytes argument becomes bytes; otherwise it is a view of what arrived.
    streams: bool  # The function is a generator.
    report: Report | None = None  # Takes what the function says of its progress.


class Handlers:
    """The methods of a service, by name.

    plain: no handler may be `async def` or ask for a thread.
    """

    def __init__(self, *, plain: bool) -> None:
        self._plain = plain
        self.by_name: dict[str, Handler] = {}
        # Whether a method is idempotent: first the methods that return one value, then the
        # generators.
        self.idempotent: dict[str, bool] = {}
        self.streams: dict[str, bool] = {}

    def add(
        self,
        function: Function,
        name: str | None,
        *,
        idempotent: bool,
        copy: bool,
        thread: bool = False,
        replace: bool = False,
        is_open: bool = False,
        report: Report | None = None,
    ) -> Function:
        """Register a function and return it.

        report: takes what the function says of its progress, encoded, on any thread.
        is_open: clients may know the methods. Raises UsageError for what is no function, for a
        name that has a handler already and for a wrong option.
        """
        if not callable(function):
            raise UsageError(f"a handler is a function, not {function!r}")
        method = name or getattr(function, "__name__", "")
        if method == "<lambda>":
            raise UsageError("a lambda has no name; pass handler(name=...)")
        if not method or type(method) is not str:
            raise UsageError(f"{function!r} has no name; pass handler(name=...)")
        if method in self.by_name and replace is not True:
            raise UsageError(
                f"method {method!r} has a handler already; pass replace=True where code runs "
                "again, as in a notebook"
            )
        options = {"idempotent": idempotent, "copy": copy, "thread": thread, "replace": replace}
        for option, value in options.items():
            if type(value) is not bool:
                raise UsageError(f"{option} of {method!r} is {value!r}; use True or False")
        generates = inspect.isasyncgenfunction(function)
        waits = generates or inspect.iscoroutinefunction(function)
        streams = generates or inspect.isgeneratorfunction(function)
        if self._plain and (waits or thread):
            raise UsageError(
                f"{method!r} is async def; use zmqkit.asyncio.Service, or a plain def here"
                if waits
                else f"thread=True of {method!r} is for zmqkit.asyncio.Service; here pass "
                "Service(concurrency=...) above 1, and all handlers run in threads"
            )
        kind, other = (self.streams, self.idempotent)[:: 1 if streams else -1]
        if is_open and method in self.by_name and kind.get(method) is not idempotent:
            raise UsageError(
                f"method {method!r} is known to clients: whether it is idempotent, and whether "
                "it is a generator, stays as it is; else close the service, and make a new one"
            )
        other.pop(method, None)
        kind[method] = idempotent
        self.by_name[method] = Handler(function, waits, thread, copy, streams, report)
        return function

    def is_idempotent(self, name: str) -> bool:
        """Return whether to run this method twice does no harm."""
        return self.idempotent.get(name, False) or self.streams.get(name, False)


class Registers:
    """The `handler` method of both services, which registers handlers."""

    _handlers: Handlers
    _life: Any

    @overload
    def handler(
        self,
        function: AnyFunction,
        /,
        *,
        name: str | None = None,
        idempotent: bool = False,
        copy: bool = True,
        thread: bool = False,
        replace: bool = False,
    ) -> AnyFunction: ...

    @overload
    def handler(
        self,
        function: None = None,
        /,
        *,
        name: str | None = None,
        idempotent: bool = False,
        copy: bool = True,
        thread: bool = False,
        replace: bool = False,
    ) -> Callable[[AnyFunction], AnyFunction]: ...

    def handler(
        self,
        function: AnyFunction | None = None,
        /,
        *,
        name: str | None = None,
        idempotent: bool = False,
        copy: bool = True,
        thread: bool = False,
        replace: bool = False,
    ) -> AnyFunction | Callable[[AnyFunction], AnyFunction]:
        """Have a function answer the method of its name; a decorator, bare or called.

        A generator streams its values to the caller. name: the method's name, if it is not the
        function's. idempotent: to run the function twice does no harm, so a call whose instance
        died may move to another instance. copy=False: a single bytes argument of 4096 bytes or
        more is a read-only memoryview of what arrived, which saves a copy. thread: run a slow
        plain function in a thread, off the loop. `thread` and `async def` are for
        zmqkit.asyncio; zmqkit raises UsageError for them. replace=True: take the place of a
        handler of this name, for a cell of a notebook that runs again; calls that have not
        begun run the new function. Once the service is open, the new one has to be idempotent,
        or a generator, if the old one was.
        """

        def add(function: AnyFunction) -> AnyFunction:
            self._handlers.add(
                function, name, idempotent=idempotent, copy=copy, thread=thread,
                replace=replace, is_open=self._life.is_open,
            )  # fmt: skip
            return function

        return add if function is None else add(function)


current: ContextVar[CoreRequest | None] = ContextVar("zmqkit-request", default=None)
"""The request that `current_request` returns.

Who sets it in a thread that goes on puts back what was there, not by a token: an interrupt may
come between the call of `set` and the line that keeps its token.
"""


class Request:
    """The request that a handler works on."""

    __slots__ = ("_request",)

    def __init__(self, request: CoreRequest) -> None:
        self._request = request

    def __repr__(self) -> str:
        return f"<zmqkit.Request {self.method!r}, {self.id}>"

    @property
    def id(self) -> str:
        """The id of the message: 32 hexadecimal digits, the same on each attempt."""
        return self._request.id

    @property
    def method(self) -> str:
        """The name of the method."""
        return self._request.method

    @property
    def headers(self) -> dict[str, object]:
        """The headers that the caller sent; they may hold a trace context."""
        return dict(self._request.headers or {})

    @property
    def priority(self) -> int:
        """The priority, 0 to 9; the service runs 9 first."""
        return self._request.priority

    @property
    def cancelled(self) -> bool:
        """Whether the caller has given up; the result will then be thrown away."""
        return self._request.cancelled

    def time_left_s(self) -> float:
        """Return the seconds until the caller gives up; 0.0 once it has.

        In a generator these are the seconds until the caller gives up waiting for the first
        value; after the first value they are infinite.
        """
        return max(0.0, self._request.deadline_at - time.monotonic())


def current_request() -> Request:
    """Return the request that the calling handler works on; UsageError outside a handler."""
    request = current.get()
    if request is None:
        raise UsageError("there is no request here; call this inside a handler")
    return Request(request)


def run_plain(handler: Handler, request: CoreRequest) -> Answer:
    """Run a plain handler in this thread; return its value or its error as an answer."""
    outside = current.get()
    request.report = handler.report
    args = request.args
    try:
        current.set(request)
        if args and type(args[-1]) is memoryview and handler.copy:
            args[-1] = bytes(args[-1])
        return value_answer(handler.function(*args, **request.kwargs))
    except BaseException as error:
        if is_interrupt(error):
            raise
        return failed(handler.function, request, error)
    finally:
        current.set(outside)


async def run_waiting(handler: Handler, request: CoreRequest) -> Answer:
    """Run an `async def` handler; return its value or its error as an answer."""
    current.set(request)
    request.report = handler.report
    args = request.args
    try:
        if args and type(args[-1]) is memoryview and handler.copy:
            args[-1] = bytes(args[-1])
        return value_answer(await handler.function(*args, **request.kwargs))  # type: ignore[misc]  # waits
    except (Exception, SystemExit) as error:  # noqa: BLE001 - it travels to the caller
        return failed(handler.function, request, error)


def is_interrupt(error: BaseException) -> bool:
    """Return whether the error is a KeyboardInterrupt in the main thread.

    Python raises it there, to end this program, so it is no answer for a caller. In any other
    thread it would not end the program, and is an error like any other.
    """
    main = threading.main_thread().ident
    return isinstance(error, KeyboardInterrupt) and threading.get_ident() == main


def value_answer(value: object, where: str = "the reply") -> Answer:
    """Return a handler's value as an answer; CannotTravel when the value cannot travel."""
    if is_raw(value):
        answer = Answer(REPLY, _NIL, raw_of(value))
    else:
        plain = type(value) in SCALARS
        encoder = encode_checked if plain else encode
        try:
            answer = Answer(REPLY, encoder(value, where))
        except UsageError as error:
            raise CannotTravel(str(error)) from error
    if answer.size > BODY_BYTES_MAX:
        raise CannotTravel(f"{where} takes more than {BODY_BYTES_MAX} bytes")
    return answer


def instance_rows(name: str, instances: Iterable[Instance]) -> list[Row]:
    """Return the rows of `instances()`, one for each instance."""
    return [
        {
            "label": f"{name}-{instance.incarnation >> 32:08x}",
            "address": instance.endpoint,
            "state": instance.word,
            "outstanding": instance.load,
        }
        for instance in instances
    ]


def service_rows(name: str, instances: Iterable[Instance]) -> list[ClientInstance]:
    """Return the rows of a client's `instances()`, which say whether anybody serves there."""
    instances = list(instances)
    rows = instance_rows(name, instances)
    return [
        {**row, "served": instance.state is State.UP and not instance.lacks_workers}
        for row, instance in zip(rows, instances, strict=True)
    ]


def seconds_of(timeout_s: float | None) -> float:
    """Return how many seconds a wait may last; infinity for None and for ages.

    Raises UsageError for a value that is not a number.
    """
    if timeout_s is None:
        return inf
    if type(timeout_s) not in (int, float) or timeout_s != timeout_s:  # NaN never ends
        raise UsageError(f"timeout_s is {timeout_s!r}; use seconds, or None to wait on and on")
    return inf if timeout_s > TIMEOUT_S_MAX else timeout_s


def end_of(timeout_s: float | None) -> float:
    """Return when a wait of `timeout_s` is over; checks the value as `seconds_of` does."""
    return time.monotonic() + seconds_of(timeout_s)


def check_count(count: object) -> None:
    """Raise UsageError unless `count` is a number of peers to wait for: 1 or more."""
    if type(count) is not int or count < 1:
        raise UsageError(f"count is {count!r}; use a whole number, 1 or more")


importing = ""
"""The module that a command imports now, for the role that it has; nothing at other times."""


@contextmanager
def while_importing(module: str) -> Iterator[None]:
    """Have roles refuse to serve while a command imports a module for its role."""
    global importing
    importing = module
    try:
        yield
    finally:
        importing = ""


def check_imported(verb: str) -> None:
    """Raise UsageError if a module serves while a command imports it."""
    if importing:
        raise UsageError(
            f"{importing!r} calls {verb}() while it is imported; put that call under "
            "`if __name__ == '__main__':`"
        )


def check_concurrency(concurrency: object) -> None:
    """Raise UsageError unless this is a number of handlers at once: 1 or more."""
    if type(concurrency) is not int or concurrency < 1:
        raise UsageError(f"concurrency is {concurrency!r}; use 1 or more")
