"""Who is there: brokers, whose services nobody announces."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests import packets
from tests.core.bench import kinds, tells
from tests.core.membership.neighbours import HERE, ORDERS, PEER, THEM, US
from zmqkit.core.effects import Connect, Disconnect, Effect, News, Send, Tell
from zmqkit.core.membership.interests import EVERYBODY, key_of, url_key
from zmqkit.core.membership.membership import MembershipCore
from zmqkit.limits import DEVICES_MAX, PACKET_BYTES_MAX, REVISE_S, ROLES_MAX
from zmqkit.model import Reach, Record, parse_url
from zmqkit.wire.packet import BYE, HELLO, PONG

BROKER = Record("m", "majordomo", 0xA, THEM, ("127.0.0.1",), 5000, 5555)
ROW = ("m", "majordomo", 0xA, 5555)
ORDERS_ROW = ("orders", "broker", 0xB, 5555)
STOCK_ROW = ("stock", "broker", 0xC, 5555)
FRONTEND = "tcp://127.0.0.1:5555"
CALLER = b"\0caller"


@pytest.fixture
def core() -> MembershipCore:
    return MembershipCore(US)


def watching(core: MembershipCore, *rows: tuple[str, str, int, int]) -> list[Effect]:
    """Want orders, and reach a broker that has these services."""
    core.want(ORDERS, 0.0, Reach.LOCAL)
    core.heard(BROKER, "mdns", 0.0)
    effects = core.receive(PEER, packets.directory(THEM, ROW, *rows), 0.0)
    core.check()
    return effects


def test_one_url_means_a_role_for_each_kind_that_is_wanted_there(core: MembershipCore) -> None:
    """Seed 6000133: a subscriber was told of the service that a client at its URL had found."""
    url, roles = f"{HERE}/shop", (("shop", "service", 0xD, 5001), ("shop", "worker", 0xE, 5002))
    for kind in ("service", "worker"):
        core.want(url_key(kind, url), 0.0, Reach.LOCAL)
        core.seed(parse_url(url), url_key(kind, url), kind, 0.0)
    core.receive(b"s" + url_key("service", url).encode(), packets.directory(THEM, *roles), 0.0)
    core.receive(b"s" + url_key("worker", url).encode(), packets.directory(THEM, *roles), 0.0)
    effects = core.receive(PEER, packets.directory(THEM, *roles), 0.0)
    found = {e.key: e.incarnation for e in effects if isinstance(e, Tell)}
    assert found == {url_key("service", url): 0xD, url_key("worker", url): 0xE}
    core.check()


# Whoever looks for a service


def test_a_broker_is_asked_by_whoever_wants_a_service(core: MembershipCore) -> None:
    core.want(ORDERS, 0.0, Reach.LOCAL)
    assert core.heard(BROKER, "mdns", 0.0) == [Connect(PEER, HERE)]
    core.check()


def test_a_broker_that_was_heard_is_asked_once_a_service_is_wanted(
    core: MembershipCore,
) -> None:
    core.heard(BROKER, "mdns", 0.0)
    assert core.want(ORDERS, 0.0, Reach.LOCAL) == [Connect(PEER, HERE)]


@pytest.mark.parametrize("key", ["publisher/orders", "worker/orders", "sink/m"])
def test_a_broker_is_left_alone_if_no_service_is_wanted(core: MembershipCore, key: str) -> None:
    core.want(key, 0.0, Reach.LOCAL)
    assert core.heard(BROKER, "mdns", 0.0) == []


def test_a_service_of_a_broker_is_found_where_the_broker_listens(core: MembershipCore) -> None:
    effects = watching(core, ORDERS_ROW, STOCK_ROW)
    assert effects == [Tell(News.FOUND, ORDERS, 0xB, FRONTEND, is_device=True)]


def test_a_service_that_comes_later_is_found(core: MembershipCore) -> None:
    assert watching(core, STOCK_ROW) == []
    assert kinds(core.receive(PEER, packets.alive(THEM, 2, 1), 1.0)) == [HELLO]
    frames = packets.directory(THEM, ROW, STOCK_ROW, ORDERS_ROW, revision=2)
    assert tells(core.receive(PEER, frames, 1.0)) == [(News.FOUND, 0xB)]
    core.check()


def test_a_service_that_ends_is_gone_and_its_broker_is_asked_on(core: MembershipCore) -> None:
    watching(core, ORDERS_ROW)
    effects = core.receive(PEER, packets.ended(THEM, 0xB), 1.0)
    assert effects == [Tell(News.GONE, ORDERS, 0xB)]
    core.check()
    assert kinds(core.receive(PEER, packets.alive(THEM, 2, 1), 1.0)) == [HELLO]


def test_a_broker_that_nobody_needs_any_more_is_left_alone(core: MembershipCore) -> None:
    watching(core, ORDERS_ROW)
    effects = core.unwant(ORDERS, Reach.LOCAL)
    assert [each for each in effects if isinstance(each, Disconnect)] == [Disconnect(PEER)]
    assert list(core.roles) == [(THEM, 0xA)]
    core.check()


def test_a_process_that_is_no_broker_any_more_is_left_alone(core: MembershipCore) -> None:
    watching(core)
    assert core.receive(PEER, packets.ended(THEM, 0xA), 1.0) == [Disconnect(PEER)]
    core.check()


def test_a_broker_on_the_network_is_asked_by_whoever_looks_so_far(core: MembershipCore) -> None:
    core.heard(replace(BROKER, addresses=("10.0.0.1",)), "mdns", 0.0)
    assert core.want(ORDERS, 0.0, Reach.LOCAL) == []
    assert core.want(ORDERS, 0.0, Reach.PLAIN) == [Connect(PEER, "tcp://10.0.0.1:5000")]
    core.check()


def test_whoever_registers_with_brokers_finds_them_by_their_name(core: MembershipCore) -> None:
    key = key_of("majordomo", "m")
    core.want(key, 0.0, Reach.LOCAL)
    core.heard(BROKER, "mdns", 0.0)
    effects = core.receive(PEER, packets.directory(THEM, ROW, ORDERS_ROW), 0.0)
    assert effects == [Tell(News.FOUND, key, 0xA, FRONTEND)]
    core.check()


def test_there_is_a_limit_to_the_brokers_that_are_asked(core: MembershipCore) -> None:
    core.want(ORDERS, 0.0, Reach.LOCAL)
    connected: list[Effect] = []
    for number in range(1, DEVICES_MAX + 10):
        connected += core.heard(replace(BROKER, process=number, incarnation=number), "m", 0.0)
    assert len(connected) == DEVICES_MAX
    direct = Record("orders", "service", 0xD, 1 << 40, ("127.0.0.1",), 5001, 6000)
    assert len(core.heard(direct, "mdns", 0.0)) == 1
    core.check()


def test_whoever_wants_everybody_sees_the_services_of_brokers(core: MembershipCore) -> None:
    core.want(EVERYBODY, 0.0, Reach.LOCAL)
    core.heard(BROKER, "mdns", 0.0)
    core.receive(PEER, packets.directory(THEM, ROW, ORDERS_ROW), 0.0)
    assert {each.record.name for each in core.roles.values()} == {"m", "orders"}
    core.check()


# By URL

URL = f"{FRONTEND}/orders"
SEED = b"s" + URL.encode()


@pytest.fixture
def asked(core: MembershipCore) -> MembershipCore:
    """Looks for orders at the URL of a broker."""
    core.want(URL, 0.0, Reach.LOCAL)
    core.seed(parse_url(URL), URL, "service", 0.0)
    return core


def test_a_url_finds_a_service_of_a_broker(asked: MembershipCore) -> None:
    frames = packets.directory(THEM, ROW, STOCK_ROW, ORDERS_ROW)
    assert asked.receive(SEED, frames, 0.1) == [Disconnect(SEED), Connect(PEER, HERE)]
    assert asked.receive(PEER, frames, 0.1) == [
        Tell(News.FOUND, URL, 0xB, FRONTEND, is_device=True)
    ]
    asked.check()


def test_a_url_finds_a_service_of_a_broker_that_comes_later(asked: MembershipCore) -> None:
    effects = asked.receive(SEED, packets.directory(THEM, ROW), 0.1)
    assert tells(effects) == [(News.HINT, 0)]
    assert effects[1:] == [Disconnect(SEED), Connect(PEER, HERE)]
    asked.receive(PEER, packets.directory(THEM, ROW), 0.1)
    asked.check()
    asked.receive(PEER, packets.alive(THEM, 2, 1), 1.0)
    effects = asked.receive(PEER, packets.directory(THEM, ROW, ORDERS_ROW, revision=2), 1.0)
    assert effects == [Tell(News.FOUND, URL, 0xB, FRONTEND, is_device=True)]
    asked.check()


def test_a_url_without_a_name_means_the_only_service_of_a_broker(core: MembershipCore) -> None:
    core.want(FRONTEND, 0.0, Reach.LOCAL)
    core.seed(parse_url(FRONTEND), FRONTEND, "service", 0.0)
    frames = packets.directory(THEM, ROW, ORDERS_ROW)
    core.receive(b"s" + FRONTEND.encode(), frames, 0.1)
    assert tells(core.receive(PEER, frames, 0.1)) == [(News.FOUND, 0xB)]


# What a broker's process tells


def own(number: int, *, role: str = "broker") -> Record:
    return Record(f"s{number}", role, number, US, (), 5000, 5555)


@pytest.fixture
def called(core: MembershipCore) -> MembershipCore:
    """Was asked by another process."""
    core.offers.control_ports[Reach.LOCAL] = 5000
    core.receive(CALLER, packets.hello(THEM), 0.0, Reach.LOCAL)
    return core


def revisions(effects: list[Effect]) -> list[object]:
    assert set(kinds(effects)) <= {PONG}
    return [packets.read(each)[1] for each in effects if isinstance(each, Send)]


def test_callers_hear_at_once_of_a_service_that_nobody_announces(
    called: MembershipCore,
) -> None:
    called.offer(own(1), 1.0, Reach.LOCAL)
    assert revisions(called.flush(1.0)) == [[0, 1]]
    assert called.flush(1.0) == []


def test_callers_hear_of_many_services_now_and_then(called: MembershipCore) -> None:
    said: list[object] = []
    for number in range(1, 501):
        now = 1.0 + number / 1000
        called.offer(own(number), now, Reach.LOCAL)
        called.tick(now)
        said += revisions(called.flush(now))
    due_at = called.deadline()
    called.tick(due_at)
    said += revisions(called.flush(due_at))
    assert said[-1] == [0, 500]
    assert len(said) <= 2 + 0.5 / REVISE_S
    assert called.deadline() > due_at


def test_what_callers_are_told_at_the_end_of_a_turn_needs_no_timer(
    called: MembershipCore,
) -> None:
    called.offer(own(1), 1.0, Reach.LOCAL)
    called.tick(1.0)
    assert called.deadline() > 1.0
    called.flush(1.0)
    called.offer(own(2), 1.1, Reach.LOCAL)
    assert called.flush(1.1) == []
    assert called.deadline() == 1.0 + REVISE_S


def test_what_is_announced_is_not_told_to_callers(called: MembershipCore) -> None:
    called.offer(own(1, role="service"), 1.0, Reach.LOCAL)
    assert called.flush(1.0) == []


def test_callers_hear_at_once_that_a_service_of_a_broker_ended(called: MembershipCore) -> None:
    called.offer(own(1), 1.0, Reach.LOCAL)
    assert kinds(called.retract(1, 2.0)) == [BYE]


def test_as_many_services_as_a_process_may_have_are_told_and_read(
    called: MembershipCore, core: MembershipCore
) -> None:
    core.offer(own(ROLES_MAX, role="majordomo"), 0.0, Reach.LOCAL)
    for number in range(1, ROLES_MAX):
        called.offer(replace(own(number), name=f"{number:054d}"), 0.0, Reach.LOCAL)
    [welcome] = called.receive(CALLER, packets.hello(THEM), 1.0, Reach.LOCAL)
    assert isinstance(welcome, Send)
    assert sum(map(len, welcome.frames)) < PACKET_BYTES_MAX
    theirs = MembershipCore(THEM)
    theirs.want(key_of("service", f"{7:054d}"), 0.0, Reach.LOCAL)
    theirs.heard(replace(BROKER, process=US, incarnation=ROLES_MAX), "mdns", 0.0)
    peer = b"n" + US.to_bytes(8, "big")
    assert tells(theirs.receive(peer, welcome.frames, 1.0)) == [(News.FOUND, 7)]
    theirs.check()
