"""The list of who is there, as membership knows it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests import packets
from zmqkit.core.membership.interests import EVERYBODY
from zmqkit.core.membership.membership import MembershipCore
from zmqkit.core.membership.neighbour import Life, peer_of
from zmqkit.limits import MembershipLimits
from zmqkit.model import ROUTED, Reach, Record, parse_url
from zmqkit.node.listings import Listing, StaticPeer, listings, static_peers

RECORD = Record("orders", "service", 0xABCD1234 << 32, 7, ("127.0.0.1",), 5001, 5002)


@pytest.fixture
def core() -> MembershipCore:
    core = MembershipCore(1)
    core.heard(RECORD, "mdns:loopback", 10.0)
    return core


def test_what_nobody_asked_is_listed_as_heard(core: MembershipCore) -> None:
    expected = Listing(
        "orders", "service", "orders-abcd1234", "tcp://127.0.0.1:5002", 2.0, "heard",
        why="not asked: nobody here looks for it", process="0000000000000007",
        sources=("mdns:loopback",), asked_at=("127.0.0.1:5001",),
    )  # fmt: skip
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
    core.want(EVERYBODY, 11.0, Reach.LOCAL)
    neighbour = core.neighbours[7]
    neighbour.life, neighbour.silent = life, silent
    assert [row.state for row in listings(core, 12.0)] == [state]


@pytest.mark.parametrize(("life", "behind"), [(Life.ALIVE, True), (Life.LOST, False)])
def test_who_is_behind_a_device_is_told_while_that_answers(
    life: Life, behind: bool, core: MembershipCore
) -> None:
    router = replace(RECORD, role=ROUTED, incarnation=9 << 32, process=9)
    other = replace(RECORD, name="stock", incarnation=8 << 32, process=8)
    for record in (router, other):
        core.heard(record, "mdns:loopback", 10.0)
    core.want(EVERYBODY, 11.0, Reach.LOCAL)
    core.neighbours[9].life = life
    rows = {(row.name, row.role): row.behind_device for row in listings(core, 12.0)}
    assert rows == {
        ("orders", "service"): behind, ("orders", ROUTED): False, ("stock", "service"): False
    }  # fmt: skip


def test_rows_are_in_the_order_of_their_names() -> None:
    core = MembershipCore(1)
    for number, name in enumerate(("b", "a", "c"), 1):
        record = Record(name, "service", number << 32, number, ("127.0.0.1",), 1, 2)
        core.heard(record, "static", 0.0)
    assert [row.name for row in listings(core, 0.0)] == ["a", "b", "c"]


def test_what_is_on_another_machine_says_why_it_is_not_asked() -> None:
    core = MembershipCore(1)
    core.want(EVERYBODY, 0.0, Reach.LOCAL)
    core.heard(replace(RECORD, addresses=("10.0.0.5", "fe80::1%eth0")), "mdns:lan", 0.0)
    [row] = listings(core, 0.0)
    assert (row.state, row.why) == ("heard", "not asked: it is on another machine")
    assert row.asked_at == ("10.0.0.5:5001", "[fe80::1%eth0]:5001")


def test_each_state_says_why_it_is_not_chosen(core: MembershipCore) -> None:
    peer = peer_of(7)
    core.want(EVERYBODY, 11.0, Reach.LOCAL)
    assert why(core, 11.5) == "no answer yet, after 0.5 s, at 127.0.0.1:5001"
    row = ("orders", "service", RECORD.incarnation, 5002)
    core.receive(peer, packets.directory(7, row, control=5001), 12.0)
    assert why(core, 12.0) == ""
    core.tick(13.02)
    core.tick(14.02)
    assert why(core, 15.0) == "connected, and silent for 3 s"
    core.disconnected(peer, 20.0)
    assert why(core, 21.0) == "its connection broke 1 s ago"
    core.tick(22.0)
    assert why(core, 30.0) == "nobody has answered for 10 s at 127.0.0.1:5001"


def why(core: MembershipCore, now: float) -> str:
    """Of the only role there is."""
    [row] = listings(core, now)
    return row.why


def test_one_that_is_tried_again_is_gone_until_it_answers(core: MembershipCore) -> None:
    core.want(EVERYBODY, 11.0, Reach.LOCAL)
    core.tick(12.1)
    core.tick(13.0)
    assert core.neighbours[7].life is Life.CONNECTING
    assert [row.state for row in listings(core, 13.0)] == ["gone"]


def test_one_that_is_tried_at_each_address_in_turn_is_listed_at_one(
    core: MembershipCore,
) -> None:
    core.heard(replace(RECORD, addresses=("127.0.0.2",)), "mdns:lan", 10.0)
    core.want(EVERYBODY, 11.0, Reach.PLAIN)
    listed = set()
    now = 11.0
    while now < 60.0:
        now = core.deadline() + 0.001
        core.tick(now)
        if core.neighbours[7].given_up:
            listed |= {(row.address, row.asked_at) for row in listings(core, now)}
    assert listed == {("tcp://127.0.0.1:5002", ("127.0.0.1:5001", "127.0.0.2:5001"))}


def test_the_address_in_use_is_told_apart(core: MembershipCore) -> None:
    core.heard(replace(RECORD, addresses=("127.0.0.1", "10.0.0.5")), "mdns:lan", 10.0)
    core.want(EVERYBODY, 11.0, Reach.PLAIN)
    core.receive(peer_of(7), packets.directory(7, control=5001), 11.0)
    core.heard(RECORD, "mdns:lan", 11.0)
    [row] = listings(core, 11.0)
    assert row.in_use in row.asked_at and row.sources == ("mdns:lan", "mdns:loopback")


def test_static_peers_have_rows_of_their_own() -> None:
    core = MembershipCore(1)
    for port in (1, 2):
        core.seed(parse_url(f"tcp://127.0.0.1:{port}"), "", "service", 0.0)
    core.want(EVERYBODY, 0.0, Reach.LOCAL)
    core.seed(parse_url("tcp://127.0.0.1:3/orders"), "tcp://127.0.0.1:3/orders", "service", 0.0)
    core.receive(b"stcp://127.0.0.1:2", packets.directory(7, control=2), 0.0)
    core.receive(peer_of(7), packets.directory(7, control=2), 0.0)
    assert static_peers(core) == [
        StaticPeer("127.0.0.1:1", "", "nobody answers"),
        StaticPeer("127.0.0.1:2", "0000000000000007", "up"),
    ]
    core.unwant(EVERYBODY, Reach.LOCAL)
    assert [row.state for row in static_peers(core)] == ["nobody answers"] * 2


def test_one_that_waits_for_room_says_so() -> None:
    core = MembershipCore(1, MembershipLimits(connections_max=0))
    core.heard(RECORD, "mdns:loopback", 10.0)
    core.want(EVERYBODY, 10.0, Reach.LOCAL)
    [row] = listings(core, 11.0)
    assert row.why == "not asked now: as many others are in use as are used at once"


def test_a_service_of_a_broker_is_listed_with_the_name_of_that(core: MembershipCore) -> None:
    for name, role, number in (("m", "majordomo", 1), ("stock", "broker", 2)):
        core.heard(
            Record(name, role, number << 32, 9, ("127.0.0.1",), 5001, 5555), "mdns", 10.0
        )
    assert [(row.name, row.role, row.via) for row in listings(core, 12.0)] == [
        ("m", "majordomo", ""),
        ("orders", "service", ""),
        ("stock", "broker", "m"),
    ]


def test_roles_of_other_spaces_follow_when_they_are_asked_for() -> None:
    core = MembershipCore(1, space="test")
    core.heard(replace(RECORD, space="test"), "mdns:loopback", 10.0)
    core.heard(replace(RECORD, process=8, space="live"), "mdns:loopback", 11.0)
    assert [row.space for row in listings(core, 12.0)] == ["test"]
    _, other = listings(core, 12.0, all_spaces=True)
    assert (other.space, other.state, other.age_s) == ("live", "heard", 1.0)
    assert other.why == "not asked: it is in the space 'live'"
