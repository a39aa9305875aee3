"""What a service offers, and what it says to who asks for something else."""

from __future__ import annotations

import pytest

from zmqkit.core.calls.admission import Methods

METHODS = Methods({"add": False, "price": True}, {"count": False, "tell": True})


def test_what_may_run_twice_is_known_of_both() -> None:
    assert METHODS.idempotent() == ["price", "tell"]
    assert METHODS.repeats("tell") and not METHODS.repeats("count")
    assert not METHODS.repeats("nowhere")


@pytest.mark.parametrize(("name", "streams"), [("add", False), ("add", True), ("tell", True)])
def test_what_is_there_is_not_refused(name: str, streams: bool) -> None:
    assert METHODS.refusal(name, streams=streams) is None


@pytest.mark.parametrize(
    ("name", "said"), [("tell", b"client.stream('tell'"), ("x", b"there are add, count, price")]
)
def test_what_is_not_is_refused_with_the_remedy(name: str, said: bytes) -> None:
    refusal = METHODS.refusal(name, streams=False)
    assert refusal is not None and said in refusal.row


def test_many_names_are_cut_short() -> None:
    refusal = Methods({f"m{n:02}": False for n in range(50)}, {}).refusal("x", streams=True)
    assert refusal is not None and b"(50 in all)" in refusal.row
