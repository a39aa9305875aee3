"""What the blocking and the asyncio roles share: options, values in and out, handlers."""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from math import inf
from typing import TypeGuard

from zmqkit.core import effects
from zmqkit.core.calls.call import CallOptions
from zmqkit.core.dispatch.job import Instance
from zmqkit.core.dispatch.window import Answer
from zmqkit.errors import UsageError
from zmqkit.limits import BODY_BYTES_MAX, RAW_BYTES_MIN, TIMEOUT_S_MAX
from zmqkit.roles.failures import failed
from zmqkit.wire.encoding import SCALARS, Buffer, encode, encode_checked, raw_of
from zmqkit.wire.packet import REPLY, request_body

_NIL = b"\xc0"

Function = Callable[..., object]


def call_body(
    method: str, args: tuple[object, ...], kwargs: dict[str, object], options: CallOptions
) -> tuple[bytes, Buffer | None]:
    """A call encoded: its msgpack row, and its raw body when its only argument is one.

    Raises UsageError for what cannot travel, by type or by size.
    """
    if type(method) is not str:
        raise UsageError(f"a method's name is text, not {method!r}")
    raw = None
    if len(args) == 1 and not kwargs and is_raw(args[0]):
        raw, args = raw_of(args[0]), ()
    body = request_body(method, options.priority, options.headers or None, args, kwargs)
    size = len(body)
    if raw is not None:
        size += len(raw)
    if size > BODY_BYTES_MAX:
        raise UsageError(
            f"the arguments of {method!r} take {size} bytes; {BODY_BYTES_MAX} at most"
        )
    return body, raw


def is_raw(value: object) -> TypeGuard[Buffer]:
    """Whether the value, alone, travels raw: a long bytes value, or any memoryview."""
    kind = type(value)
    return kind is memoryview or (kind is bytes and len(value) >= RAW_BYTES_MIN)  # type: ignore[arg-type]  # bytes


@dataclass(slots=True, frozen=True)
class Handler:
    """A function that answers one method.

    waits: it is `async def`. thread: run it in one. copy: it takes a long bytes argument as
    bytes, not as a view of what arrived. streams: it is a generator.
    """

    function: Function
    waits: bool
    thread: bool
    copy: bool
    streams: bool


class Handlers:
    """A service's methods: name to handler, and name to whether it is idempotent.

    idempotent: those that give one value. streams: the generators.
    """

    def __init__(self) -> None:
        self.by_name: dict[str, Handler] = {}
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
    ) -> Function:
        """Register a function; UsageError for what cannot be called or is there already."""
        if not callable(function):
            raise UsageError(f"a handler is a function, not {function!r}")
        method = name or getattr(function, "__name__", "")
        if method == "<lambda>":
            raise UsageError("a lambda has no name; pass handler(name=...)")
        if not method or type(method) is not str:
            raise UsageError(f"{function!r} has no name; pass handler(name=...)")
        if method in self.by_name:
            raise UsageError(f"method {method!r} has a handler already")
        for option, value in (("idempotent", idempotent), ("copy", copy), ("thread", thread)):
            if type(value) is not bool:
                raise UsageError(f"{option} of {method!r} is {value!r}; use True or False")
        generates = inspect.isasyncgenfunction(function)
        waits = generates or inspect.iscoroutinefunction(function)
        streams = generates or inspect.isgeneratorfunction(function)
        self.by_name[method] = Handler(function, waits, thread, copy, streams)
        (self.streams if streams else self.idempotent)[method] = idempotent
        return function

    def remove(self, method: str) -> None:
        """Have no handler of that name."""
        del self.by_name[method]
        self.idempotent.pop(method, None)
        self.streams.pop(method, None)


current: ContextVar[effects.Request] = ContextVar("zmqkit-request")
"""The request that `current_request` gives."""


class Request:
    """The request that a handler works on."""

    __slots__ = ("_request",)

    def __init__(self, request: effects.Request) -> None:
        self._request = request

    def __repr__(self) -> str:
        return f"<zmqkit.Request {self.method!r}, {self.id}>"

    @property
    def id(self) -> str:
        """The message id, 32 hexadecimal digits, the same on each attempt."""
        return self._request.id

    @property
    def method(self) -> str:
        """The method's name."""
        return self._request.method

    @property
    def headers(self) -> dict[str, object]:
        """What the caller gave as headers, trace context among them."""
        return dict(self._request.headers or {})

    @property
    def priority(self) -> int:
        """0 to 9; 9 is served first."""
        return self._request.priority

    @property
    def cancelled(self) -> bool:
        """Whether the caller has given up, so that the result will be thrown away."""
        return self._request.cancelled

    def time_left_s(self) -> float:
        """Seconds until the caller gives up; 0.0 when it has.

        In a generator until it gives up for want of a first value; infinity after that.
        """
        return max(0.0, self._request.deadline_at - time.monotonic())


def current_request() -> Request:
    """The request that the calling handler works on; UsageError outside of a handler."""
    try:
        return Request(current.get())
    except LookupError as error:
        raise UsageError("there is no request here; call this inside a handler") from error


def run_plain(handler: Handler, request: effects.Request) -> Answer:
    """Run a plain handler here and now; its value, or what it raised, as an answer."""
    token = current.set(request)
    args = request.args
    try:
        if args and type(args[-1]) is memoryview and handler.copy:
            args[-1] = bytes(args[-1])
        return value_answer(handler.function(*args, **request.kwargs))
    except BaseException as error:
        if is_interrupt(error):
            raise
        return failed(handler.function, request, error)
    finally:
        current.reset(token)


async def run_waiting(handler: Handler, request: effects.Request) -> Answer:
    """Run an `async def` handler; its value, or what it raised, as an answer."""
    current.set(request)
    args = request.args
    try:
        if args and type(args[-1]) is memoryview and handler.copy:
            args[-1] = bytes(args[-1])
        return value_answer(await handler.function(*args, **request.kwargs))  # type: ignore[misc]  # waits
    except (Exception, SystemExit) as error:  # noqa: BLE001 - it travels to the caller
        return failed(handler.function, request, error)


def is_interrupt(error: BaseException) -> bool:
    """Whether it is a KeyboardInterrupt where Python raises it: for this program, not a caller.

    In other threads, where it would end no program, it is an error as others are.
    """
    main = threading.main_thread().ident
    return isinstance(error, KeyboardInterrupt) and threading.get_ident() == main


def value_answer(value: object, where: str = "the reply") -> Answer:
    """A handler's value as an answer; UsageError when it cannot travel."""
    if is_raw(value):
        answer = Answer(REPLY, _NIL, raw_of(value))
    else:
        plain = type(value) in SCALARS
        encoder = encode_checked if plain else encode
        answer = Answer(REPLY, encoder(value, where))
    if answer.size > BODY_BYTES_MAX:
        raise UsageError(f"{where} takes more than {BODY_BYTES_MAX} bytes")
    return answer


def instance_rows(name: str, instances: Iterable[Instance]) -> list[dict[str, object]]:
    """What `instances()` gives: a row each, for people and programs."""
    return [
        {
            "label": f"{name}-{instance.incarnation >> 32:08x}",
            "address": instance.endpoint,
            "state": "silent" if instance.silent else instance.state.value,
            "outstanding": instance.load,
        }
        for instance in instances
    ]


def end_of(timeout_s: float | None) -> float:
    """The point in time when a wait of `timeout_s` is over; infinity for None and for ages.

    Raises UsageError for what is not a number.
    """
    if timeout_s is None:
        return inf
    if type(timeout_s) not in (int, float) or timeout_s != timeout_s:  # NaN never ends
        raise UsageError(f"timeout_s is {timeout_s!r}; use seconds, or None to wait on and on")
    return inf if timeout_s > TIMEOUT_S_MAX else time.monotonic() + timeout_s


def check_count(count: object) -> None:
    """Raise UsageError for what cannot be a number of others to wait for."""
    if type(count) is not int or count < 1:
        raise UsageError(f"count is {count!r}; use a whole number, 1 or more")
