"""What the client of a request is told of its end."""

from __future__ import annotations

from zmqkit.core.calls.answers import refuse
from zmqkit.core.calls.outcome import (
    BAD_ARGUMENTS,
    BUSY,
    EXPIRED,
    FORGOTTEN,
    NO_METHOD,
    RAISED,
    UNKNOWN,
)
from zmqkit.core.dispatch.window import Answer
from zmqkit.errors import (
    BadArguments,
    Busy,
    CallTimeout,
    NoMethod,
    NoService,
    PeerError,
    RemoteError,
    UnknownRequest,
    ZmqkitError,
)
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import encode

_NIL = b"\xc0"


def answer_of(error: ZmqkitError) -> Answer:
    """Return what the client of a request is told of the error that ended it here."""
    if isinstance(error, RemoteError):
        row = [RAISED, error.type, error.message, error.traceback, True]
        return Answer(wire.ERROR, encode(row))
    may_have_run = isinstance(error, PeerError) and error.may_have_run
    code = next((code for kind, code in _CODES if isinstance(error, kind)), FORGOTTEN)
    if may_have_run and code != EXPIRED:
        code = FORGOTTEN  # all other codes say that it did not run
    return refuse(code, str(error), may_have_run=may_have_run)


_CODES: tuple[tuple[type[ZmqkitError], str], ...] = (
    (NoMethod, NO_METHOD),
    (BadArguments, BAD_ARGUMENTS),
    (Busy, BUSY),
    (NoService, EXPIRED),
    (CallTimeout, EXPIRED),
    (UnknownRequest, UNKNOWN),
)


def reply_of(value: object) -> Answer:
    """Return a worker's reply as the answer: the bytes of its row, or a raw body."""
    if type(value) is bytes:
        return Answer(wire.REPLY, value)
    assert isinstance(value, memoryview)
    return Answer(wire.REPLY, _NIL, value)


def item_of(value: object) -> Answer:
    """Return a value of a worker's stream as a value of the front's."""
    if type(value) is bytes:
        return Answer(wire.ITEM, value)
    assert isinstance(value, memoryview)
    return Answer(wire.ITEM, _NIL, value)
