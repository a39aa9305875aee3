"""The list of who is there, as membership knows it."""

from __future__ import annotations

import pytest

from zmqkit.core.membership import EVERYBODY, MembershipCore
from zmqkit.core.neighbour import Life
from zmqkit.drivers.directory import Listing, listings
from zmqkit.model import Record

RECORD = Record("orders", "service", 0xABCD1234 << 32, 7, ("127.0.0.1",), 5001, 5002)


@pytest.fixture
def core() -> MembershipCore:
    core = MembershipCore(1)
    core.heard(RECORD, "mdns:loopback", 10.0)
    return core


def test_what_nobody_asked_is_listed_as_heard(core: MembershipCore) -> None:
    expected = Listing(
        "orders", "service", "orders-abcd1234", "tcp://127.0.0.1:5002", 2.0, "heard"
    )
    assert listings(core, 12.0) == [expected]


@pytest.mark.parametrize(
    ("life", "silent", "state"),
    [
        (Life.CONNECTING, False, "connecting"),
        (Life.ALIVE, False, "up"),
        (Life.ALIVE, True, "evasive"),
        (Life.LOST, True, "lost"),
        (Life.GONE, False, "gone"),
    ],
)
def test_the_state_is_that_of_the_process(
    life: Life, silent: bool, state: str, core: MembershipCore
) -> None:
    core.want(EVERYBODY, 11.0, open=False)
    neighbour = core.neighbours[7]
    neighbour.life, neighbour.silent = life, silent
    assert [row.state for row in listings(core, 12.0)] == [state]


def test_rows_are_in_the_order_of_their_names() -> None:
    core = MembershipCore(1)
    for number, name in enumerate(("b", "a", "c"), 1):
        record = Record(name, "service", number << 32, number, ("127.0.0.1",), 1, 2)
        core.heard(record, "static", 0.0)
    assert [row.name for row in listings(core, 0.0)] == ["a", "b", "c"]
