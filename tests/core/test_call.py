"""One call on its way."""

from __future__ import annotations

from zmqkit.core.call import Call


def test_a_call_that_no_link_took_cannot_have_run() -> None:
    assert not Call(1, "add", b"", None, 5.0, 5.0, 4, 2, False, None).may_have_run


def test_a_call_that_left_may_have_run() -> None:
    assert Call(1, "add", b"", None, 5.0, 5.0, 4, 2, False, None, copies=1).may_have_run


def test_what_an_earlier_instance_had_may_have_run() -> None:
    assert Call(1, "add", b"", None, 5.0, 5.0, 4, 2, False, None, exposed=True).may_have_run
