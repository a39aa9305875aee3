"""Taps of devices: what passes a router or a forwarder is shown once."""

from __future__ import annotations

import pytest

from tests.core.majordomo.town import Node, Town
from tests.core.topics.publications import PUBLISHER, publish
from tests.core.topics.test_forwarder import forwarder, join, meet, take
from zmqkit.core.devices.router import RouterCore
from zmqkit.core.tap import Tap
from zmqkit.wire.encoding import decode
from zmqkit.wire.tapping import Wanted


@pytest.fixture
def town() -> Town:
    return Town()


def ask(town: Town, router: Node) -> None:
    """A call of each of the two services, which is answered."""
    for name in ("orders", "stock"):
        service = town.found(name, {"price": True}, router)
        town.call(town.client(router, name), "price", "tea")
        town.answer(service, 4.2)


def test_a_router_shows_the_calls_of_all_names_or_of_one(town: Town) -> None:
    router = town.router("orders", "stock")
    assert isinstance(router.core, RouterCore)
    whole, part = Tap(Wanted("edge")), Tap(Wanted("stock"), is_part=True)
    router.core.tap((whole, part))
    ask(town, router)
    assert (whole.seen, part.seen) == (2, 1)
    row = part.take()
    assert row is not None
    assert (row.what, row.outcome, decode(row.reply)) == ("price", "done", 4.2)
    assert decode(row.body) == [["tea"], {}]


def test_a_forwarder_shows_each_message_that_leaves_once() -> None:
    core, tap = forwarder(), Tap(Wanted("weather"))
    peer = meet(core)
    join(core)
    core.tap((tap,))
    take(core, peer, publish("kitchen", 1, 21.5), 1.0)
    row = tap.take()
    assert row is not None and tap.take() is None
    assert (row.what, row.source, decode(row.body)) == ("kitchen", PUBLISHER, 21.5)
