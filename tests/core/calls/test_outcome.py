"""How calls end."""

from __future__ import annotations

import pytest

from zmqkit.core.calls.call import Call, CallOptions
from zmqkit.core.calls.outcome import (
    BAD_ARGUMENTS,
    BUSY,
    EXPIRED,
    FORGOTTEN,
    LEAVING,
    NO_METHOD,
    RAISED,
    from_row,
    lost,
    nobody,
    timed_out,
)
from zmqkit.core.dispatch.job import Instance
from zmqkit.errors import (
    BadArguments,
    Busy,
    CallTimeout,
    NoMethod,
    PeerError,
    PeerLost,
    RemoteError,
)


@pytest.fixture
def call() -> Call:
    return Call(1, "add", b"", None, CallOptions(), None, 0.0)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (NO_METHOD, NoMethod),
        (BAD_ARGUMENTS, BadArguments),
        (BUSY, Busy),
        (LEAVING, Busy),
        (EXPIRED, CallTimeout),
    ],
)
@pytest.mark.parametrize("exposed", [False, True])
def test_a_refusal_is_only_as_certain_as_earlier_instances_allow(
    call: Call, code: str, kind: type[PeerError], exposed: bool
) -> None:
    call.exposed = exposed
    error = from_row(call, (1, code, "", "why", "", False))
    assert type(error) is kind
    assert isinstance(error, PeerError) and error.may_have_run is exposed


def test_what_was_raised_keeps_type_text_and_traceback(call: Call) -> None:
    error = from_row(call, (1, RAISED, "ValueError", "no", "Traceback …", True))
    assert isinstance(error, RemoteError)
    assert (error.type, error.message, error.traceback) == ("ValueError", "no", "Traceback …")
    assert error.may_have_run and str(error) == "ValueError: no"


def test_what_was_forgotten_may_have_run(call: Call) -> None:
    error = from_row(call, (1, FORGOTTEN, "", "why", "", True))
    assert isinstance(error, PeerLost) and error.may_have_run and str(error) == "why"


def test_a_stream_that_ends_by_a_known_code_is_told_why_alone(call: Call) -> None:
    call.begun = True
    assert str(from_row(call, (1, FORGOTTEN, "", "why", "", True))) == "why"


def test_a_code_that_is_not_known_names_itself(call: Call) -> None:
    error = from_row(call, (1, "odd", "", "why", "", False))
    assert isinstance(error, PeerLost) and str(error) == "add: odd: why"


@pytest.mark.parametrize("make", [lost, lambda call: timed_out(call, 0.0)])
def test_ends_on_this_side_know_whether_the_call_left(call: Call, make: object) -> None:
    assert callable(make)
    assert not make(call).may_have_run
    call.copies = 1
    assert make(call).may_have_run


def test_a_timeout_says_when_waiting_longer_is_no_remedy(call: Call) -> None:
    assert str(timed_out(call, 0.0)).endswith("; give it longer with timeout_s")
    call.exposed = True
    assert (
        str(timed_out(call, 0.0))
        == "the instance that had 'add' was lost, and no other took it over; start another, "
        "and see with `zmqkit ls` who serves"
    )


def test_a_timeout_at_a_device_without_services_says_what_to_start(call: Call) -> None:
    call.instance = Instance(1, b"1", "tcp://127.0.0.1:1", lacks_workers=True)
    assert str(timed_out(call, 0.0)).endswith(
        "the device at tcp://127.0.0.1:1 has no service for it; start one: a router finds it "
        "by itself, and for a broker it needs via="
    )


def test_a_lost_call_says_how_others_may_move(call: Call) -> None:
    assert "idempotent=True, or serve it with --idempotent:" in str(lost(call))


def test_a_lost_call_that_might_have_moved_says_that_its_attempts_are_used_up(
    call: Call,
) -> None:
    call.instance = Instance(1, b"1", "tcp://127.0.0.1:1", idempotent=frozenset({"add"}))
    assert "give it more with attempts=" in str(lost(call))


def test_nobody_says_why_or_what_to_start() -> None:
    assert str(nobody("orders", "it has: stock")).endswith(": it has: stock")
    assert "zmqkit serve" in str(nobody("orders", ""))


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        (
            "tcp://127.0.0.1:5000/orders",
            "no service listens at that port; or its process is stuck",
        ),
        (
            "tcp://10.0.0.1:5000/orders",
            "open to the network, with insecure=True, --insecure or",
        ),
        ("memory://orders", "bind a zmqkit.Service to it, in this process"),
    ],
)
def test_nobody_at_a_url_has_a_remedy_of_its_own(url: str, remedy: str) -> None:
    assert remedy in str(nobody(url, ""))
