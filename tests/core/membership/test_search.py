"""What is told to those who find nobody."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.core.membership.neighbours import ORDERS, RECORD, US
from zmqkit.core.effects import Effect, News, Tell
from zmqkit.core.membership.interests import EVERYBODY
from zmqkit.core.membership.membership import MembershipCore
from zmqkit.limits import EXPLAIN_S
from zmqkit.model import Reach

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
        "searched on this machine only, the network was not searched; start one with "
        "zmqkit.Service or `zmqkit serve`, or for other machines use insecure=True, --insecure "
        "or ZMQKIT_INSECURE=1 on both sides"
    )
    assert there == (
        "searched on this machine and on the network; start one with zmqkit.Service or `zmqkit "
        "serve`, on another machine with insecure=True, --insecure or ZMQKIT_INSECURE=1 there "
        "too"
    )
    assert core.flush(9.0) == []


def test_a_machine_without_a_network_is_told_so(core: MembershipCore) -> None:
    core.want(ORDERS, 0.0, Reach.PLAIN)
    core.flush(0.0)
    core.search.is_stranded = True
    [(_, said)] = texts(core.flush(EXPLAIN_S))
    assert said == (
        "searched on this machine only, since it has no address on a network; start one with "
        "zmqkit.Service or `zmqkit serve`, or connect this machine to a network"
    )
    assert core.search.explain(ORDERS, Reach.LOCAL).startswith("searched on this machine only,")
    core.search.is_stranded = False
    [(_, said)] = texts(core.flush(2 * EXPLAIN_S))
    assert said.startswith("searched on this machine and on the network")


def test_another_role_of_the_name_is_named_with_its_use(core: MembershipCore) -> None:
    core.heard(NEWS, "mdns", 0.0)
    said = core.search.explain(ORDERS, Reach.LOCAL)
    assert said.startswith(
        "a publisher is called 'orders': use zmqkit.Subscriber or `zmqkit sub`"
    )
    assert said.endswith("searched on this machine only, the network was not searched")
    said = core.search.explain("publisher/orders", Reach.LOCAL)
    assert said.startswith("one was heard of at 127.0.0.1:5000 and does not answer there")
    core.heard(replace(RECORD, incarnation=0xB, role="worker", name="x"), "mdns", 0.0)
    assert core.search.explain("service/x", Reach.PLAIN).startswith("a worker is called 'x'; ")


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
    assert said.startswith("searched on this machine only")


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
