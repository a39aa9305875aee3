"""What cores ask of their drivers, and that each core is one."""

from __future__ import annotations

import pytest

from tests.packets import hello
from zmqkit.core.calls.client import ClientCore
from zmqkit.core.calls.request import Request
from zmqkit.core.calls.service import ServiceCore
from zmqkit.core.effects import Core, Note, Send
from zmqkit.core.membership.membership import MembershipCore


def test_effects_are_compared_by_value() -> None:
    assert Send(b"p", (b"x",)) == Send(b"p", (b"x",))
    assert Note("full") == Note("full", {})


def test_an_id_is_client_and_sequence_in_hexadecimal() -> None:
    request = Request(1, 0xAB, 0xCD, "add", [], {}, None, 4, 0.0, False)
    assert request.id == "00000000000000ab00000000000000cd"


@pytest.mark.parametrize(
    "core", [ClientCore("orders", 1), ServiceCore(2, {}, 1), MembershipCore(3)]
)
def test_an_idle_core_wants_nothing(core: Core) -> None:
    assert core.deadline() == float("inf")
    assert core.tick(0.0) == core.flush(0.0) == core.unsent(b"p", hello(1), 0.0) == []
    core.check()
