"""A request as a task: what its row says to those who look at a queue."""

from __future__ import annotations

import pytest

from zmqkit.core.majordomo.errand import shown
from zmqkit.wire.encoding import Malformed, encode

ARGUMENTS = encode(["tea"]) + encode({"quantity": 3})
ABOUT = encode(["price", {"user": "ada"}])


def test_a_request_has_a_method_and_arguments() -> None:
    assert shown(ARGUMENTS + ABOUT, None) == {
        "method": "price", "args": ["tea"], "kwargs": {"quantity": 3}
    }  # fmt: skip


def test_a_raw_body_is_the_last_argument() -> None:
    found = shown(ARGUMENTS + ABOUT, b"raw")
    assert found is not None and found["args"] == ["tea", b"raw"]


def test_a_task_that_is_no_request_is_not_shown() -> None:
    assert shown(ARGUMENTS, None) is None


@pytest.mark.parametrize(
    "row", [b"", b"\xc1", b"\x93", b"\x90", b"\x80\x80" + ABOUT, ARGUMENTS + b"\x05"]
)
def test_what_cannot_be_read_is_malformed(row: bytes) -> None:
    with pytest.raises(Malformed):
        shown(row, None)
