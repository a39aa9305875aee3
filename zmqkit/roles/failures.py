"""Turns what a handler raised into an answer for its caller and an entry in the log.

Arguments that the handler does not take are the caller's fault. The service answers them and
does not log them.
"""

from __future__ import annotations

import inspect
import logging
import re
import traceback
from collections.abc import Callable
from dataclasses import fields

from zmqkit.core.calls.answers import refuse
from zmqkit.core.calls.call import CallOptions
from zmqkit.core.calls.outcome import BAD_ARGUMENTS, DISCARD, RAISED, RETRY
from zmqkit.core.calls.request import Request, StreamRequest
from zmqkit.core.dispatch.window import Answer
from zmqkit.core.effects import Note
from zmqkit.core.tasks.lease import TASK, about
from zmqkit.drivers.notes import contained, log
from zmqkit.errors import Discard, Retry, UsageError
from zmqkit.wire.encoding import encode
from zmqkit.wire.packet import ERROR

_TRACEBACK_CHARS_MAX = 16_000
_SIGNATURE_CHARS_MAX = 200
_OPTIONS = tuple(field.name for field in fields(CallOptions) if field.init)

_CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Characters that move the cursor or turn the direction of text; without the line end."""


class CannotTravel(UsageError):
    """What a handler returned cannot travel, by type or by size; callers see a UsageError."""


def failed(function: Callable[..., object], request: Request, error: BaseException) -> Answer:
    """Log what a handler raised, and return it as an answer.

    Arguments that the handler does not take are answered as BadArguments and not logged. What
    a task's handler wishes for is no failure, and not logged either. A result that cannot
    travel ends a task, since no further attempt would help.
    """
    if isinstance(error, Retry | Discard):
        return _wish(error)
    if isinstance(error, TypeError) and not _has_entered(error):
        reason = _misfit(function, request)
        if reason:
            return refuse(BAD_ARGUMENTS, _clean(reason))
    text = _traceback_of(error)
    contained(_log, function, request, error, text)
    is_hopeless = isinstance(error, CannotTravel) and request.method == TASK
    return _answer(error, text, DISCARD if is_hopeless else RAISED)


def held_loop(function: Callable[..., object], request: Request, took_s: float) -> Note:
    """Return what to log of a plain function that held the event loop for so long."""
    text = (
        "nothing else of its event loop runs meanwhile; pass thread=True where it is "
        "registered, or make it async def and await what it waits for"
    )
    return Note(
        "handler-holds-loop",
        {"handler": _title(function, request), "took_s": round(took_s, 3), "text": text},
    )


def _wish(error: Retry | Discard) -> Answer:
    """Return what a task's handler wants to become of its task as an answer."""
    message = _clean(str(error)[:_TRACEBACK_CHARS_MAX])
    if isinstance(error, Discard):
        return Answer(ERROR, encode([DISCARD, "zmqkit.Discard", message, "", True]))
    pause = "" if error.delay_s is None else repr(float(error.delay_s))
    return Answer(ERROR, encode([RETRY, pause, message, "", True]))


def error_answer(error: BaseException) -> Answer:
    """Return what ended a handler from outside as an answer: type, text and traceback."""
    return _answer(error, _traceback_of(error))


def _has_entered(error: TypeError) -> bool:
    """Return whether the handler had begun: the traceback leads out of this package."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is None or trace.tb_frame.f_globals.get("__package__") != __package__


def _misfit(function: Callable[..., object], request: Request) -> str:
    """Return why the function does not take the request's arguments.

    Returns an empty text if the function takes them, or if that cannot be known. A function in
    C may have begun before it raised, and not every such function has a signature.
    """
    try:
        signature = inspect.signature(function)
        shown = _names_of(signature)
    except Exception:  # noqa: BLE001 - a signature may be anything, and raise anything
        return ""
    try:
        signature.bind(*request.args, **request.kwargs)
    except TypeError as error:
        return (
            f"{_title(function, request)!r} takes {shown}: {error}{_hint(signature, request)}"
        )
    return ""


def _names_of(signature: inspect.Signature) -> str:
    empty = inspect.Parameter.empty
    plain = [each.replace(annotation=empty) for each in signature.parameters.values()]
    shown = str(signature.replace(parameters=plain, return_annotation=empty))
    return shown if len(shown) <= _SIGNATURE_CHARS_MAX else f"{shown[:_SIGNATURE_CHARS_MAX]}…"


def _hint(signature: inspect.Signature, request: Request) -> str:
    """Return a hint if the caller passed an option of the client as an argument."""
    given = [
        f"{name}={value!r}" if type(value) in (bool, int, float) else f"{name}=..."
        for name, value in request.kwargs.items()
        if name in _OPTIONS and name not in signature.parameters
    ]
    if not given:
        return ""
    verb = "notify" if request.oneway else "call"
    if isinstance(request, StreamRequest):
        verb = "stream"
    options = f"client.options({', '.join(given)})"
    return f"; options are given as {options}.{verb}({request.method!r}, ...)"


def _answer(error: BaseException, text: str, code: str = RAISED) -> Answer:
    try:
        message = str(error)[:_TRACEBACK_CHARS_MAX]
    except Exception:  # noqa: BLE001 - an exception whose text raises is still an exception
        message = ""
    row = [code, _clean(_name_of(error)), _clean(message), text, True]
    return Answer(ERROR, encode(row))


def _log(
    function: Callable[..., object], request: Request, error: BaseException, text: str
) -> None:
    """Log the traceback, indented and escaped so that none of its text can begin a log line.

    The text may come from the caller. The record holds the exception too, for log handlers that
    look for it.
    """
    if not log.isEnabledFor(logging.ERROR):
        return
    said = "handler %r raised %s"
    values: tuple[object, ...] = (_title(function, request), _name_of(error))
    task = about(request) if request.method == TASK else None
    if task is not None:
        said, values = f"{said} at attempt %d of task %r", (*values, task.attempt, task.id)
    record = log.makeRecord(
        log.name, logging.ERROR, __file__, 0, said, values,
        (type(error), error, error.__traceback__),
    )  # fmt: skip
    lines = _CONTROL.sub(lambda found: repr(found[0])[1:-1], text).rstrip("\n").split("\n")
    record.exc_text = "\n".join(f"    {line}" for line in lines)
    log.handle(record)


def _title(function: Callable[..., object], request: Request) -> str:
    """Return what a handler is called: the name of its method, or of a task's function."""
    if request.method != TASK:
        return request.method
    return getattr(function, "__name__", type(function).__name__)


def _name_of(error: BaseException) -> str:
    kind = UsageError if isinstance(error, CannotTravel) else type(error)
    own = kind.__module__ == "builtins"
    return kind.__qualname__ if own else f"{kind.__module__}.{kind.__qualname__}"


def _traceback_of(error: BaseException) -> str:
    return _clean("".join(traceback.format_exception(error))[-_TRACEBACK_CHARS_MAX:])


def _clean(text: str) -> str:
    """Return the text with what UTF-8 cannot carry escaped."""
    return text.encode("utf-8", "backslashreplace").decode()
