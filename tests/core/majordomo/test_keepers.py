"""Several brokers with journals under one name: which of them keeps a request."""

from __future__ import annotations

import pytest

from tests.core.majordomo.town import Node, Town
from zmqkit.core.calls.client import ClientCore
from zmqkit.core.effects import News, Tell
from zmqkit.core.majordomo.broker import BrokerCore
from zmqkit.limits import CHOICE_S
from zmqkit.majordomo_limits import BrokerLimits

IDS = [f"order-{number}" for number in range(12)]


class Pair:
    """Two brokers, and a service that answers through both."""

    def __init__(self, limits: BrokerLimits | None = None) -> None:
        self.town = town = Town(limits)
        self.brokers = [town.durable_broker(77), town.durable_broker(78)]
        self.service = town.service(self.brokers[0], "orders", {"buy": False})
        town.register(self.service, self.brokers[1])

    def client(self, *brokers: Node) -> Node:
        """A client that finds the brokers in this order, without a pause."""
        town = self.town
        first, *others = brokers or self.brokers
        client = town.client(first, "orders")
        for each in others:
            town.meet(client, each, "orders")
        return client

    def at(self, id: str) -> list[int]:
        """Return which brokers keep a request."""
        return [n for n, each in enumerate(self.brokers) if each.backs["orders"].kept(id)]


@pytest.fixture
def pair() -> Pair:
    return Pair()


def test_all_clients_choose_the_same_broker_for_an_id(pair: Pair) -> None:
    one, other = pair.client(), pair.client(*reversed(pair.brokers))
    for id in IDS:
        pair.town.submit(one, "buy", id)
        pair.town.submit(other, "buy", id)
    assert {len(pair.at(id)) for id in IDS} == {1}
    assert {broker for id in IDS for broker in pair.at(id)} == {0, 1}


def test_a_broker_that_starts_again_is_chosen_for_the_same_ids(pair: Pair) -> None:
    one = pair.client()
    for id in IDS:
        pair.town.submit(one, "buy", id)
    before = [pair.at(id) for id in IDS]
    for number, broker in enumerate(pair.brokers):
        pair.town.kill(broker)
        pair.brokers[number] = pair.town.durable_broker(77 + number, broker.files)
        pair.town.register(pair.service, pair.brokers[number])
    other = pair.client(*reversed(pair.brokers))
    for id in IDS:
        pair.town.submit(other, "buy", id)
    assert [pair.at(id) for id in IDS] == before


def test_a_client_that_found_one_broker_looks_for_others_before_it_submits(pair: Pair) -> None:
    town = pair.town
    client = town.add(ClientCore("orders", town.draw()))
    for broker in pair.brokers:
        found = Tell(News.FOUND, "orders", broker.offers["orders"], broker.address)
        town.perform(client, client.core.hear(found, town.now))  # type: ignore[union-attr]  # a client's
        town.settle()
    for id in IDS:
        town.submit(client, "buy", id)
    assert town.values(client) == []
    town.wait(CHOICE_S)
    assert sorted(map(str, town.values(client))) == sorted(IDS)


def test_another_broker_takes_what_one_that_is_gone_would_keep(pair: Pair) -> None:
    town, [first, second] = pair.town, pair.brokers
    client = pair.client()
    town.kill(first)
    gone = Tell(News.GONE, "orders", first.offers["orders"])
    town.perform(client, client.core.hear(gone, town.now))  # type: ignore[union-attr]  # a client's
    for id in IDS:
        town.submit(client, "buy", id)
    assert all(second.backs["orders"].kept(id) for id in IDS)


def test_no_other_broker_takes_what_one_that_is_full_would_keep() -> None:
    pair = Pair(BrokerLimits(requests_max=1))
    town, busy = pair.town, pair.client()
    mine = next(id for id in IDS if not _goes_to_the_second(pair, id))
    town.submit(busy, "buy", mine)
    town.collect(busy, mine)  # takes all the room of the first broker
    full = [id for id in IDS if id != mine and not _goes_to_the_second(pair, id)]
    for id in full:
        town.submit(busy, "buy", id)
        assert town.values(busy)[-1] == "Busy" and not pair.at(id)


def _goes_to_the_second(pair: Pair, id: str) -> bool:
    """Return whether the second broker is chosen for an id: others like these brokers tell."""
    like = Pair()
    like.town.submit(like.client(), "buy", id)
    return like.at(id) == [1]


def test_a_collection_asks_the_broker_that_the_id_chooses_first(pair: Pair) -> None:
    town, client = pair.town, pair.client()
    reader = pair.client(*reversed(pair.brokers))
    for id in IDS:
        town.submit(client, "buy", id)
        town.collect(reader, id)
        town.answer(pair.service, id)
    assert sorted(map(str, town.values(reader))) == sorted(IDS)
    stats = [each.core.stats()["services"] for each in pair.brokers]  # type: ignore[union-attr]  # a broker's
    assert sum(each["orders"]["failed"] for each in stats) == 0  # type: ignore[index]  # its counters


def test_a_collection_tells_that_the_method_of_the_request_is_not_there(pair: Pair) -> None:
    client = pair.client()
    for id in IDS[:4]:
        pair.town.submit(client, "typo", id)
    for id in IDS[:4]:
        pair.town.collect(pair.client(), id)
        pair.town.collect(client, id)
    assert pair.town.values(client)[4:] == ["NoMethod"] * 4


def test_an_id_is_unknown_once_every_broker_has_said_so(pair: Pair) -> None:
    client = pair.client()
    pair.town.collect(client, "nothing")
    assert pair.town.values(client) == ["UnknownRequest"]
    counts = [each.core.stats()["services"]["orders"] for each in pair.brokers]  # type: ignore[union-attr,index]  # brokers'
    assert [each["failed"] for each in counts] == [1, 1]


def test_an_id_is_not_unknown_while_a_broker_does_not_answer(pair: Pair) -> None:
    town, [first, _] = pair.town, pair.brokers
    client = pair.client()
    lost = Tell(News.LOST, "orders", first.offers["orders"])
    town.perform(client, client.core.hear(lost, town.now))  # type: ignore[union-attr]  # a client's
    town.collect(client, "nothing")
    assert town.values(client) == ["Busy"]


def test_a_broker_without_a_journal_is_asked_for_nothing_that_is_kept(pair: Pair) -> None:
    town = pair.town
    plain = town.broker()
    assert isinstance(plain.core, BrokerCore)
    town.register(pair.service, plain)
    client = pair.client(plain, *pair.brokers)
    for id in IDS:
        town.submit(client, "buy", id)
    town.collect(client, "nothing")
    assert town.values(client) == [*IDS, "UnknownRequest"]


def test_what_waits_for_a_full_broker_is_not_called_back_for_an_idle_one() -> None:
    pair = Pair(BrokerLimits(worker_credit_max=1))
    town, client = pair.town, pair.client()
    for id in IDS:
        town.submit(client, "buy", id)
    before = [pair.at(id) for id in IDS]
    town.wait(5.0)
    assert [pair.at(id) for id in IDS] == before
