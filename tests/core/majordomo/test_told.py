"""What becomes of an error on its way from a device to a client."""

from __future__ import annotations

import pytest

from zmqkit.core.calls.call import Call, CallOptions
from zmqkit.core.calls.outcome import from_row
from zmqkit.core.majordomo.told import answer_of
from zmqkit.errors import (
    BadArguments,
    Busy,
    CallTimeout,
    NoMethod,
    NoService,
    PeerError,
    PeerLost,
    RemoteError,
    UnknownRequest,
)
from zmqkit.wire.encoding import decode


def told(error: PeerError) -> PeerError:
    """What the client's call ends with."""
    call = Call(1, "add", b"", None, CallOptions(), None, 0.0)
    row = decode(answer_of(error).row)
    assert isinstance(row, list)
    found = from_row(call, (1, *row))
    assert isinstance(found, PeerError)
    return found


@pytest.mark.parametrize("kind", [BadArguments, Busy, CallTimeout, NoMethod, UnknownRequest])
def test_what_cannot_have_run_is_told_as_what_it_is(kind: type[PeerError]) -> None:
    error = told(kind("why"))
    assert (type(error), str(error), error.may_have_run) == (kind, "why", False)


def test_nobody_behind_a_device_is_a_question_of_time() -> None:
    assert type(told(NoService("nobody"))) is CallTimeout


def test_a_call_whose_time_is_over_stays_that_if_it_may_have_run() -> None:
    error = told(CallTimeout("in vain", may_have_run=True))
    assert (type(error), str(error), error.may_have_run) == (CallTimeout, "in vain", True)


@pytest.mark.parametrize("kind", [Busy, NoMethod, PeerLost])
def test_all_else_that_may_have_run_is_lost(kind: type[PeerError]) -> None:
    error = told(kind("why", may_have_run=True))
    assert type(error) is PeerLost and error.may_have_run is True


def test_what_a_handler_raised_arrives_as_it_is() -> None:
    error = told(RemoteError("ValueError", "no", "Traceback"))
    assert isinstance(error, RemoteError)
    assert (error.type, error.message, error.traceback) == ("ValueError", "no", "Traceback")
