"""What a handler raised: an answer for its caller, and an error in the service's log."""

from __future__ import annotations

import logging
import re
import traceback

from zmqkit.core import effects
from zmqkit.core.calls.outcome import RAISED
from zmqkit.core.dispatch.window import Answer
from zmqkit.drivers.perform import log
from zmqkit.wire.encoding import encode
from zmqkit.wire.packet import ERROR

_TRACEBACK_CHARS_MAX = 16_000

_CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""What moves the cursor, or turns the direction of what follows; the line end is not in it."""


def failed(request: effects.Request, error: BaseException) -> Answer:
    """What a handler raised as an answer, once the log has it."""
    text = _traceback_of(error)
    _log(request.method, error, text)
    return _answer(error, text)


def error_answer(error: BaseException) -> Answer:
    """What ended a handler from outside as an answer: its type, its text, its traceback."""
    return _answer(error, _traceback_of(error))


def _answer(error: BaseException, text: str) -> Answer:
    try:
        message = str(error)[:_TRACEBACK_CHARS_MAX]
    except Exception:  # noqa: BLE001 - an exception whose text raises is still an exception
        message = ""
    row = [RAISED, _clean(_name_of(error)), _clean(message), text, True]
    return Answer(ERROR, encode(row))


def _log(method: str, error: BaseException, text: str) -> None:
    """Log the traceback so that nothing in it, the caller's text above all, begins a line.

    The record has the exception too, for handlers of the log that look for it.
    """
    if not log.isEnabledFor(logging.ERROR):
        return
    record = log.makeRecord(
        log.name, logging.ERROR, __file__, 0, "handler %r raised %s",
        (method, _name_of(error)), (type(error), error, error.__traceback__),
    )  # fmt: skip
    lines = _CONTROL.sub(lambda found: repr(found[0])[1:-1], text).rstrip("\n").split("\n")
    record.exc_text = "\n".join(f"    {line}" for line in lines)
    log.handle(record)


def _name_of(error: BaseException) -> str:
    kind = type(error)
    own = kind.__module__ == "builtins"
    return kind.__qualname__ if own else f"{kind.__module__}.{kind.__qualname__}"


def _traceback_of(error: BaseException) -> str:
    return _clean("".join(traceback.format_exception(error))[-_TRACEBACK_CHARS_MAX:])


def _clean(text: str) -> str:
    """The text without what UTF-8 cannot carry."""
    return text.encode("utf-8", "backslashreplace").decode()
