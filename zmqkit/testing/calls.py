"""Services, workers and clients of a World: handlers run, and calls and streams end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Self

from zmqkit.core.calls.call import CallOptions
from zmqkit.core.calls.client import ClientCore
from zmqkit.core.calls.client_streams import StreamCall
from zmqkit.core.calls.outcome import Outcome
from zmqkit.core.calls.request import Request, StreamRequest
from zmqkit.core.calls.service import ServiceCore
from zmqkit.core.dispatch.window import Answer
from zmqkit.drivers.perform import Hooks
from zmqkit.errors import CallTimeout, ZmqkitError
from zmqkit.roles.answers import value_of
from zmqkit.roles.handlers import Handlers, call_body, run_plain
from zmqkit.roles.streams import close_generator, is_value, next_value
from zmqkit.testing.place import Offering, Seeking, Stage


class Serving(Offering):
    """What runs handlers: it begins them at once, and they answer after `takes_s`."""

    def __init__(
        self,
        stage: Stage,
        kind: str,
        name: str,
        core: ServiceCore,
        handlers: Handlers,
        takes_s: float,
    ) -> None:
        self._core: ServiceCore = core
        self._handlers = handlers
        self._takes_s = takes_s
        hooks = Hooks(handle=self._handle, advance=self._advance, abort=self._abort)
        super().__init__(stage, kind, name, hooks, incarnation=core.incarnation)

    def _handle(self, requests: list[Request]) -> None:
        for request in requests:
            answer = run_plain(self._handlers.by_name[request.method], request)
            self._driver.later(self._takes_s, partial(self._answer, request, answer))

    def _answer(self, request: Request, answer: Answer, now: float) -> None:
        self._driver.perform(self._core.handled([(request, answer)], now))

    def _advance(self, requests: list[StreamRequest]) -> None:
        for request in requests:
            self._driver.later(self._takes_s, partial(self._step, request))

    def _step(self, request: StreamRequest, now: float) -> None:
        """Have a generator yield its next value, or end."""
        core, perform = self._core, self._driver.perform
        if request.cancelled:
            close_generator(request)
            perform(core.ended(request, None, now))
            return
        answer = next_value(self._handlers.by_name[request.method], request)
        if answer is None or not is_value(answer):
            perform(core.ended(request, answer, now))
            return
        perform(core.yielded(request, answer, now))
        if request.goes_on:
            self._advance([request])
        else:
            perform(core.paused(request, now))

    def _abort(self, requests: list[Request]) -> None:
        """Do nothing: a plain handler has run, and a generator looks at its next step."""


class Instance(Serving):
    """One instance of a service, on a host of its own, and the faults that befall it."""

    def __init__(
        self, stage: Stage, name: str, handlers: Handlers, concurrency: int, takes_s: float
    ) -> None:
        core = ServiceCore(stage.draw(), handlers.idempotent, concurrency, handlers.streams)
        super().__init__(stage, "service", name, core, handlers, takes_s)


class Caller(Seeking):
    """A client in virtual time. Its waits move the clock of the world on."""

    def __init__(self, stage: Stage, name: str, options: CallOptions) -> None:
        self._options = options
        self._core: ClientCore = ClientCore(name, stage.draw())
        super().__init__(stage, "service", name, Hooks(settle=self._settled))

    def start(self, method: str, /, *args: object, **kwargs: object) -> Call:
        """Begin a call and return it; no time passes. Raises UsageError for its arguments."""
        self._check_alive()
        body, raw = call_body(method, args, kwargs, self._options)
        call = Call(self._stage, method, self._options)
        submit = partial(self._core.submit, method, body, raw, self._options, call)
        self._driver.post(submit)
        return call

    def call(self, method: str, /, *args: object, **kwargs: object) -> Any:
        """Call a method and return its value, as `zmqkit.Client.call` does; time passes."""
        return self.start(method, *args, **kwargs).result()

    def stream(self, method: str, /, *args: object, **kwargs: object) -> WorldStream:
        """Begin a stream and return an iterator over its values, as `zmqkit.Client.stream`.

        Time passes while a value is waited for. Raises UsageError for its arguments.
        """
        self._check_alive()
        body, raw = call_body(method, args, kwargs, self._options)
        call = self._core.stream(method, body, raw, self._options, self._stage.now)
        self._driver.wake()
        return WorldStream(self, call)

    def next_value(self, call: StreamCall) -> Any:
        """Let time pass until the next value of a stream is there, and return it.

        Raises what ended the stream, or StopIteration.
        """
        if not (call.values or call.over):
            self._core.listen(call, None, self._stage.now)
            self._driver.wake()
            limit_s = self._options.timeout_s + 1.0
            if not self._stage.run_until(lambda: bool(call.values or call.over), limit_s):
                raise CallTimeout(f"{call.method!r} did not go on", may_have_run=True)
        if call.values:
            value = self._core.take(call)
            self._driver.wake()  # it may owe credit
            return value_of(value, self._options)
        error, call.error = call.error, None
        raise error or StopIteration

    def give_up(self, call: StreamCall) -> None:
        """End a stream, and drop the values that nobody has read."""
        if self._host.alive and not call.over:
            self._command(partial(self._core.withdraw, [call]))
        call.values.clear()
        call.error = None

    def _settled(self, outcomes: Sequence[Outcome]) -> None:
        for waiter, value, error in outcomes:
            if isinstance(waiter, Call):
                waiter.settle(value, error)


class Call:
    """A call under way."""

    def __init__(self, stage: Stage, method: str, options: CallOptions) -> None:
        self.is_over = False
        self._stage = stage
        self._method = method
        self._options = options
        self._value: object = None
        self._error: ZmqkitError | None = None

    def settle(self, value: object, error: ZmqkitError | None) -> None:
        """Take its end, which comes once."""
        assert not self.is_over
        self.is_over, self._value, self._error = True, value, error

    def result(self) -> Any:
        """Let time pass until the call is over; return its value or raise its error."""
        limit_s = self._options.timeout_s + 1.0
        if not self._stage.run_until(lambda: self.is_over, limit_s):
            raise CallTimeout(f"{self._method!r} did not end", may_have_run=True)
        if self._error is not None:
            raise self._error
        return value_of(self._value, self._options)


class WorldStream(Iterator[Any]):
    """The values of a generator of a service, in order and each once."""

    def __init__(self, caller: Caller, call: StreamCall) -> None:
        self._caller = caller
        self._call = call

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        return self._caller.next_value(self._call)

    def close(self) -> None:
        """Give up the stream: the service closes the generator, and no value follows."""
        self._caller.give_up(self._call)
