"""Runs the generators of blocking and asyncio services, one value at a time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from inspect import GEN_CLOSED, getgeneratorstate
from typing import cast

from zmqkit.core.calls.request import StreamRequest
from zmqkit.core.dispatch.window import Answer
from zmqkit.drivers.notes import contained, log
from zmqkit.roles.failures import failed
from zmqkit.roles.handlers import Handler, current, is_interrupt, value_answer
from zmqkit.wire.packet import REPLY

_WHERE = "the value"


def is_value(answer: Answer | None) -> bool:
    """Return whether a generator yielded a value, and neither ended nor raised."""
    return answer is not None and answer.kind == REPLY


def next_value(handler: Handler, request: StreamRequest) -> Answer | None:
    """Run a plain generator to its next value; return the value or its error as an answer.

    Returns None when the generator has ended. Closes the generator when its value cannot
    travel.
    """
    outside = current.get()
    try:
        current.set(request)
        if request.running is None:
            _begin(handler, request)
        return value_answer(next(_plain(request)), _WHERE)
    except StopIteration:
        return None
    except BaseException as error:
        if is_interrupt(error):
            raise
        close_generator(request)
        return failed(handler.function, request, error)
    finally:
        current.set(outside)


async def next_waiting(handler: Handler, request: StreamRequest) -> Answer | None:
    """Do what `next_value` does for an `async def` generator."""
    current.set(request)
    try:
        if request.running is None:
            _begin(handler, request)
        return value_answer(await anext(_waiting(request)), _WHERE)
    except StopAsyncIteration:
        return None
    except (Exception, SystemExit) as error:  # noqa: BLE001 - it travels to the caller
        await close_waiting(request)
        return failed(handler.function, request, error)


def close_generator(request: StreamRequest) -> None:
    """Close a generator where it stands; log what it raises then."""
    if request.running is None:
        return
    outside, generator = current.get(), _plain(request)
    try:
        current.set(request)
        generator.close()
    except BaseException as error:
        if is_interrupt(error):
            raise
        if isinstance(error, ValueError) and getgeneratorstate(generator) != GEN_CLOSED:
            return  # another thread runs it, and closes it as soon as it yields a value
        _complain(request, error)
    finally:
        current.set(outside)


async def close_waiting(request: StreamRequest) -> None:
    """Do what `close_generator` does for an `async def` generator."""
    if request.running is None:
        return
    try:
        await _waiting(request).aclose()
    except BaseException as error:
        if is_interrupt(error):
            raise
        _complain(request, error)


def _begin(handler: Handler, request: StreamRequest) -> None:
    args = request.args
    if args and type(args[-1]) is memoryview and handler.copy:
        args[-1] = bytes(args[-1])
    request.running = handler.function(*args, **request.kwargs)


def _plain(request: StreamRequest) -> Generator[object, None, None]:
    return cast("Generator[object, None, None]", request.running)


def _waiting(request: StreamRequest) -> AsyncGenerator[object, None]:
    return cast("AsyncGenerator[object, None]", request.running)


def _complain(request: StreamRequest, error: BaseException) -> None:
    text = "generator %r raised while it was closed: %r"
    contained(log.warning, text, request.method, error)
