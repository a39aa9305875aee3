"""One call on its way, and its options."""

from __future__ import annotations

from typing import Any

import pytest

from zmqkit.core.calls.call import Call, CallOptions
from zmqkit.errors import UsageError


@pytest.fixture
def call() -> Call:
    return Call(1, "add", b"", None, CallOptions(timeout_s=5.0, wait_s=2.0), None, 10.0)


def test_a_call_that_no_link_took_cannot_have_run(call: Call) -> None:
    assert not call.may_have_run


def test_a_call_that_left_may_have_run(call: Call) -> None:
    call.copies = 1
    assert call.may_have_run


def test_what_an_earlier_instance_had_may_have_run(call: Call) -> None:
    call.exposed = True
    assert call.may_have_run


def test_patience_ends_before_the_deadline(call: Call) -> None:
    assert (call.give_up_at, call.deadline_at) == (12.0, 15.0)


def test_patience_is_never_longer_than_the_call() -> None:
    call = Call(1, "add", b"", None, CallOptions(timeout_s=1.0, wait_s=2.0), None, 10.0)
    assert call.give_up_at == call.deadline_at == 11.0


def test_a_call_may_try_as_many_instances_as_it_has_attempts() -> None:
    assert Call(1, "add", b"", None, CallOptions(attempts=3), None, 0.0).attempts == 2


def test_headers_that_change_later_change_nothing() -> None:
    headers = {"trace": 1}
    options = CallOptions(headers=headers)
    headers["trace"] = 2
    assert options.headers == {"trace": 1}


@pytest.mark.parametrize(
    ("headers", "reason"),
    [({1: 2}, "text keys"), ({"x": {1}}, "of type set"), ({"x": "y" * 9000}, "bytes encoded")],
)
def test_headers_that_cannot_travel_are_refused(headers: Any, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        CallOptions(headers=headers)


def test_a_reply_is_copied_or_not() -> None:
    with pytest.raises(UsageError, match="copy is 1; use True or False"):
        CallOptions(copy=1)  # type: ignore[arg-type]  # the point


def test_changed_options_keep_the_others() -> None:
    options = CallOptions(priority=9).changed({"timeout_s": 1.0})
    assert (options.timeout_s, options.priority, options.patience_s) == (1.0, 9, 1.0)


def test_what_follows_from_options_is_not_one() -> None:
    with pytest.raises(UsageError, match="unknown option 'patience_s'; there are timeout_s"):
        CallOptions().changed({"patience_s": 1.0})
