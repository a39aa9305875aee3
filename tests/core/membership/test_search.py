"""What is told to those who find nobody."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests import packets
from tests.core.membership.neighbours import ORDERS, RECORD, US
from zmqkit.core.effects import Effect, News, Tell
from zmqkit.core.membership.interests import EVERYBODY, key_of
from zmqkit.core.membership.membership import MembershipCore
from zmqkit.limits import EXPLAIN_S
from zmqkit.model import Reach, parse_url

FAR = replace(RECORD, addresses=("10.0.0.1",))
NEWS = replace(RECORD, role="publisher")


@pytest.fixture
def core() -> MembershipCore:
    return MembershipCore(US)


def texts(effects: list[Effect]) -> list[tuple[Reach | None, str]]:
    """For whom each explanation is, and what it says."""
    assert all(isinstance(each, Tell) and each.news is News.HINT for each in effects)
    return [(each.reach, each.text) for each in effects if isinstance(each, Tell)]


def test_whoever_looks_is_told_how_far_that_was(core: MembershipCore) -> None:
    core.want(ORDERS, 0.0, Reach.LOCAL)
    core.want(ORDERS, 0.0, Reach.PLAIN)
    (near, here), (far, there) = texts(core.flush(0.0))
    assert (near, far) == (Reach.LOCAL, Reach.PLAIN)
    assert here == (
        "none is running: start one with zmqkit.Service or `zmqkit serve`; or it is on "
        "another machine: use insecure=True, --insecure or ZMQKIT_INSECURE=1 on both sides; "
        "searched on this machine only, the network was not searched; `zmqkit doctor orders` "
        "looks closer"
    )
    assert there == (
        "none is running: start one with zmqkit.Service or `zmqkit serve`; or it is not open "
        "to the network: use insecure=True, --insecure or ZMQKIT_INSECURE=1 there too, or "
        "multicast does not pass: set ZMQKIT_PEERS=HOST:PORT; searched on this machine and on "
        "the network; `zmqkit doctor orders` looks closer"
    )
    assert core.flush(9.0) == []


def test_a_machine_without_a_network_is_told_so(core: MembershipCore) -> None:
    core.want(ORDERS, 0.0, Reach.PLAIN)
    core.flush(0.0)
    core.search.is_stranded = True
    [(_, said)] = texts(core.flush(EXPLAIN_S))
    assert said == (
        "none is running: start one with zmqkit.Service or `zmqkit serve`; or it is on another "
        "machine: connect this machine to a network; searched on this machine only, since it "
        "has no address on a network; `zmqkit doctor orders` looks closer"
    )
    assert "only, the network was not searched" in core.search.explain(ORDERS, Reach.LOCAL)
    core.search.is_stranded = False
    [(_, said)] = texts(core.flush(2 * EXPLAIN_S))
    assert "; searched on this machine and on the network; " in said


def test_another_role_of_the_name_is_named_with_its_use(core: MembershipCore) -> None:
    core.heard(NEWS, "mdns", 0.0)
    said = core.search.explain(ORDERS, Reach.LOCAL)
    assert said.startswith(
        "a publisher is called 'orders': use zmqkit.Subscriber or `zmqkit sub`"
    )
    assert "; or none is running: start one with zmqkit.Service" in said
    assert "; searched on this machine only, the network was not searched; " in said
    said = core.search.explain("publisher/orders", Reach.LOCAL)
    assert said.startswith(
        "one was heard of at 127.0.0.1:5000 and does not answer there: it is gone; or a "
        "firewall is in between, see `zmqkit ls -v`; searched on "
    )
    core.heard(replace(RECORD, incarnation=0xB, role="sink", name="x"), "mdns", 0.0)
    assert core.search.explain("service/x", Reach.PLAIN).startswith("a sink is called 'x'; ")


def test_one_on_the_network_is_told_of_to_those_who_may_not_go_there(
    core: MembershipCore,
) -> None:
    core.heard(FAR, "mdns", 0.0)
    said = core.search.explain(ORDERS, Reach.LOCAL)
    assert said.startswith("one is on the network at 10.0.0.1, which this side may not use ")
    assert "insecure=True" in said
    said = core.search.explain(ORDERS, Reach.PLAIN)
    assert said.startswith("one was heard of at 10.0.0.1:5000 and does not answer there")


def test_one_that_can_be_reached_counts_more_than_one_that_cannot(core: MembershipCore) -> None:
    core.heard(replace(FAR, process=8, incarnation=0xB), "mdns", 0.0)
    core.heard(RECORD, "mdns", 0.0)
    assert core.search.explain(ORDERS, Reach.LOCAL).startswith("one was heard of at 127.0.0.1")


def test_what_is_seen_later_is_told_but_not_all_the_time(core: MembershipCore) -> None:
    core.want(ORDERS, 0.0, Reach.LOCAL)
    core.flush(0.0)
    core.heard(NEWS, "mdns", 0.1)
    assert core.flush(0.1) == [] and core.deadline() == EXPLAIN_S
    core.tick(EXPLAIN_S)
    [(_, said)] = texts(core.flush(EXPLAIN_S))
    assert said.startswith("a publisher is called")
    core.heard(replace(NEWS, incarnation=0xB), "mdns", 1.0)
    assert core.flush(1.0) == []  # that says nothing new
    core.vanished(NEWS, "mdns")
    core.vanished(replace(NEWS, incarnation=0xB), "mdns")
    [(_, said)] = texts(core.flush(2.0))
    assert said.startswith("none is running: ")


def test_the_next_who_looks_is_told_as_well(core: MembershipCore) -> None:
    core.want(ORDERS, 0.0, Reach.LOCAL)
    core.flush(0.0)
    core.want(ORDERS, 0.01, Reach.LOCAL)
    assert len(texts(core.flush(0.01))) == 1


def test_a_url_is_explained_by_whoever_answers_there(core: MembershipCore) -> None:
    core.want("tcp://127.0.0.1:1/orders", 0.0, Reach.LOCAL)
    assert core.flush(0.0) == []


@pytest.mark.parametrize("reach", Reach)
def test_a_list_of_everybody_is_explained_too(core: MembershipCore, reach: Reach) -> None:
    said = core.search.explain(EVERYBODY, reach)
    assert said.startswith("searched on this machine") and "--insecure" in said
    assert (
        "; none is running: start a service or publisher; perhaps one is stopped or stuck, and "
        "does not answer; or they are "
    ) in said


def test_whoever_finds_others_alone_is_told_their_names(core: MembershipCore) -> None:
    for number in range(6):
        record = replace(RECORD, name=f"n{number}", incarnation=RECORD.incarnation + number)
        core.heard(record, "mdns", 0.0)
    said = core.search.explain(EVERYBODY, Reach.LOCAL)
    assert (
        "; the names that were found are 'n0', 'n1', 'n2', 'n3', 'n4', …; perhaps one is "
        in said
    )


def test_whoever_misses_a_service_is_told_which_brokers_lack_it(core: MembershipCore) -> None:
    broker = replace(RECORD, name="m", role="majordomo")
    core.want(ORDERS, 0.0, Reach.LOCAL)
    core.heard(broker, "mdns", 0.0)
    assert core.search.explain(ORDERS, Reach.LOCAL).startswith("none is running: ")
    [neighbour] = core.neighbours.values()
    frames = packets.directory(broker.process, ("m", "majordomo", broker.incarnation, 5555))
    core.receive(neighbour.peer, frames, 0.0)
    assert core.search.explain(ORDERS, Reach.LOCAL) == (
        "none is running, and the broker 'm' has no such service: start one with "
        "zmqkit.Service or `zmqkit serve`; or it is on another machine: use insecure=True, "
        "--insecure or ZMQKIT_INSECURE=1 on both sides; searched on this machine only, the "
        "network was not searched; `zmqkit doctor orders` looks closer"
    )


def test_whoever_misses_a_broker_is_told_how_to_start_one(core: MembershipCore) -> None:
    said = core.search.explain(key_of("majordomo", "m"), Reach.LOCAL)
    assert "start one with `zmqkit run majordomo --name m`" in said


def test_whoever_takes_a_broker_for_a_service_is_told_so(core: MembershipCore) -> None:
    core.heard(replace(RECORD, role="majordomo"), "mdns", 0.0)
    said = core.search.explain(ORDERS, Reach.LOCAL)
    assert said.startswith(
        "a majordomo is called 'orders': call its services by their own names"
    )


def test_whoever_misses_a_service_is_told_of_all_brokers(core: MembershipCore) -> None:
    core.want(ORDERS, 0.0, Reach.LOCAL)
    core.heard(replace(RECORD, name="m", role="majordomo"), "mdns", 0.0)
    [neighbour] = core.neighbours.values()
    two = [("m", "majordomo", 0xA, 5555), ("n", "majordomo", 0xB, 5556)]
    core.receive(neighbour.peer, packets.directory(RECORD.process, *two), 0.0)
    said = core.search.explain(ORDERS, Reach.LOCAL)
    assert said.startswith("none is running, and the brokers 'm', 'n' have no such service: ")


ROUTER_BESIDE = {
    "service": "the router 'orders' has no service of that name: start one with zmqkit.Service "
    "or `zmqkit serve`, or call the services behind it by their own names; or it is on ",
    "worker": "a router is called 'orders', which passes on calls only; start one with "
    "zmqkit.Worker or `zmqkit work`; or it is on ",
    "publisher": "a router is called 'orders', which passes on calls only; start one with "
    "zmqkit.Publisher or `zmqkit pub`; or it is on ",
}


@pytest.mark.parametrize("role", ROUTER_BESIDE)
def test_a_router_of_the_name_is_told_of_with_what_it_lacks(
    core: MembershipCore, role: str
) -> None:
    core.heard(replace(RECORD, role="router"), "mdns", 0.0)
    said = core.search.explain(key_of(role, "orders"), Reach.LOCAL)
    assert said.startswith(ROUTER_BESIDE[role])


def test_two_causes_are_named_and_no_more(core: MembershipCore) -> None:
    core.heard(replace(RECORD, name="order"), "mdns", 0.0)
    core.seed(parse_url("tcp://10.0.0.9:5555"), "", "service", 0.0)
    said = core.search.explain(ORDERS, Reach.PLAIN)
    assert said.startswith(
        "perhaps the name is mistyped: there is 'order'; or the static peer 10.0.0.9:5555 does "
        "not answer: see that it runs, and its port; searched on "
    )


def test_a_name_that_is_alike_is_offered_only_to_those_who_can_use_it(
    core: MembershipCore,
) -> None:
    core.heard(replace(NEWS, name="order"), "mdns", 0.0)
    assert "mistyped" not in core.search.explain(ORDERS, Reach.LOCAL)
    assert "mistyped" in core.search.explain(key_of("publisher", "orders"), Reach.LOCAL)


@pytest.mark.parametrize(
    ("other", "is_like"),
    [("order", True), ("Orders", True), ("oders", True), ("ordesr", True), ("ordners", True),
     ("tea", False), ("or", False), ("orders-of-tea", False)],
)  # fmt: skip
def test_names_that_are_alike(core: MembershipCore, other: str, *, is_like: bool) -> None:
    core.heard(replace(RECORD, name=other), "mdns", 0.0)
    assert ("mistyped" in core.search.explain(ORDERS, Reach.LOCAL)) == is_like


def test_a_static_peer_that_answers_is_no_cause_any_more(core: MembershipCore) -> None:
    core.seed(parse_url("tcp://127.0.0.1:5555"), "", "service", 0.0)
    core.want(ORDERS, 0.0, Reach.LOCAL)
    [(_, said)] = texts([each for each in core.flush(0.0) if isinstance(each, Tell)])
    assert said.startswith("the static peer 127.0.0.1:5555 does not answer: ")
    core.receive(b"stcp://127.0.0.1:5555", packets.directory(RECORD.process), 0.0)
    [(_, said)] = texts([each for each in core.flush(EXPLAIN_S) if isinstance(each, Tell)])
    assert said.startswith("none is running: ")


def test_multicast_is_no_cause_where_others_were_heard(core: MembershipCore) -> None:
    core.heard(replace(FAR, name="tea"), "mdns", 0.0)
    said = core.search.explain(ORDERS, Reach.PLAIN)
    assert "it is not open to the network" in said and "multicast" not in said


def test_a_name_of_many_words_can_be_pasted(core: MembershipCore) -> None:
    said = core.search.explain("service/green tea", Reach.LOCAL)
    assert said.endswith("; `zmqkit doctor 'green tea'` looks closer")
