"""Who is there: addresses given by hand, and whatever else is sent."""

from __future__ import annotations

import math

import pytest

from tests import packets
from tests.core.bench import kinds, tells
from tests.core.membership.neighbours import (
    HERE,
    NEXT_ROW,
    ORDERS,
    OTHERS,
    PEER,
    RECORD,
    ROW,
    THEM,
    US,
)
from zmqkit.core.effects import Connect, Disconnect, News
from zmqkit.core.membership.membership import MembershipCore
from zmqkit.limits import HELLO_S, HELLO_S_MAX, PING_S
from zmqkit.model import Reach, parse_url
from zmqkit.wire.packet import HELLO, PONG, WELCOME

URL = f"{HERE}/orders"
SEED = b"s" + URL.encode()


@pytest.fixture
def core() -> MembershipCore:
    return MembershipCore(US)


def alive(core: MembershipCore, *rows: tuple[str, str, int, int], now: float = 0.0) -> None:
    """Want, hear and reach the other process, which has these roles."""
    core.want(ORDERS, now, Reach.LOCAL)
    core.heard(RECORD, "mdns", now)
    core.receive(PEER, packets.directory(THEM, *(rows or (ROW,))), now)
    core.check()


# Addresses given by hand


def test_a_url_is_asked_until_it_answers(core: MembershipCore) -> None:
    core.want(URL, 0.0, Reach.LOCAL)
    assert core.seed(parse_url(URL), URL, "service", 0.0) == [Connect(SEED, HERE)]
    assert kinds(core.connected(SEED, 0.0)) == [HELLO]
    assert kinds(core.tick(HELLO_S)) == [HELLO]
    effects = core.receive(SEED, packets.directory(THEM, ROW), 0.6)
    assert effects == [Disconnect(SEED), Connect(PEER, HERE)]
    core.check()


def by_url(core: MembershipCore, now: float = 0.0) -> None:
    """Find a role by its URL, and reach its process."""
    core.want(URL, now, Reach.LOCAL)
    core.seed(parse_url(URL), URL, "service", now)
    core.receive(SEED, packets.directory(THEM, ROW), now)
    core.receive(PEER, packets.directory(THEM, ROW), now)
    core.check()


def test_a_url_that_means_none_gives_a_hint_and_is_asked_again(core: MembershipCore) -> None:
    core.want(URL, 0.0, Reach.LOCAL)
    core.seed(parse_url(URL), URL, "service", 0.0)
    assert tells(core.receive(SEED, packets.directory(THEM), 0.0)) == [(News.HINT, 0)]
    assert core.deadline() <= HELLO_S_MAX


def test_a_process_that_said_less_at_a_url_than_as_a_neighbour_is_asked_again(
    core: MembershipCore,
) -> None:
    """Seed 8205284: the answer at the URL was sent first and came last."""
    alive(core, ROW)
    url, stock = f"{HERE}/stock", ("stock", "service", 0xB, 5002)
    core.receive(PEER, packets.directory(THEM, ROW, stock, revision=4), 0.1)
    core.want(url, 0.1, Reach.LOCAL)
    core.seed(parse_url(url), url, "service", 0.1)
    effects = core.receive(b"s" + url.encode(), packets.directory(THEM, ROW, revision=3), 0.2)
    assert tells(effects) == [(News.HINT, 0)]
    assert kinds(core.receive(PEER, packets.alive(THEM, 4), 1.0)) == [HELLO]
    effects = core.receive(PEER, packets.directory(THEM, ROW, stock, revision=4), 1.0)
    assert tells(effects) == [(News.FOUND, 0xB)]
    core.check()


def test_a_url_finds_the_role_that_comes_after_its_own(core: MembershipCore) -> None:
    by_url(core)
    effects = core.receive(PEER, packets.directory(THEM, NEXT_ROW), 10.0)
    assert tells(effects) == [(News.GONE, 0xA), (News.FOUND, 0xB)]
    core.check()


def test_a_url_returns_to_the_role_that_listens_there(core: MembershipCore) -> None:
    by_url(core)
    there = ("orders", "service", 0xC, parse_url(URL).port)
    effects = core.receive(PEER, packets.directory(THEM, NEXT_ROW), 10.0)
    assert tells(effects) == [(News.GONE, 0xA), (News.FOUND, 0xB)]
    effects = core.receive(PEER, packets.directory(THEM, NEXT_ROW, there, revision=2), 11.0)
    assert tells(effects) == [(News.GONE, 0xB), (News.FOUND, 0xC)]
    core.check()


def test_a_url_is_asked_again_when_its_role_is_gone(core: MembershipCore) -> None:
    by_url(core)
    effects = core.receive(PEER, packets.directory(THEM), 10.0)
    assert tells(effects)[-1] == (News.GONE, 0xA) and Connect(SEED, HERE) in effects
    core.check()


def test_a_url_is_asked_again_when_its_process_is_gone(core: MembershipCore) -> None:
    by_url(core)
    core.disconnected(PEER, 10.0)
    effects = core.tick(12.0)
    assert tells(effects) == [(News.GONE, 0xA)] and Connect(SEED, HERE) in effects
    core.check()


def test_a_peer_of_everybody_is_a_neighbour_whatever_it_has(core: MembershipCore) -> None:
    core.seed(parse_url(HERE), "", "service", 0.0)
    seed = b"s" + HERE.encode()
    core.want(ORDERS, 0.0, Reach.LOCAL)
    effects = core.receive(seed, packets.directory(THEM), 0.0)
    assert effects == [Disconnect(seed), Connect(PEER, HERE)] and not core.roles
    assert core.receive(PEER, packets.directory(THEM), 0.0) == []
    assert tells(core.receive(PEER, packets.directory(THEM, ROW), 5.0)) == [(News.FOUND, 0xA)]
    core.check()


def test_a_peer_of_everybody_is_asked_when_something_is_wanted(core: MembershipCore) -> None:
    core.seed(parse_url(HERE), "", "service", 0.0)
    assert core.deadline() == math.inf
    assert kinds(core.want(ORDERS, 9.0, Reach.LOCAL)) == [HELLO]


# Whatever is sent


def test_whoever_asks_is_answered(core: MembershipCore) -> None:
    core.offers.control_ports[Reach.LOCAL] = 5000
    assert kinds(core.receive(b"\0x", packets.hello(THEM), 0.0, Reach.LOCAL)) == [WELCOME]
    assert core.receive(b"\0x", packets.alive(THEM), 0.0, Reach.LOCAL) == []
    assert core.malformed == {"unexpected": 1}


def test_a_ping_is_answered(core: MembershipCore) -> None:
    alive(core)
    [ping] = core.tick(PING_S + 0.02)
    other = MembershipCore(THEM)
    assert kinds(other.receive(b"\0x", ping.frames, 0.0)) == [PONG]  # type: ignore[union-attr]  # a Send


@pytest.mark.parametrize("frames", [(b"x",), (b"x", b"y"), ()])
def test_garbage_is_counted(core: MembershipCore, frames: tuple[bytes, ...]) -> None:
    assert core.receive(b"\0x", frames, 0.0, Reach.LOCAL) == []
    assert sum(core.malformed.values()) == 1


def test_a_directory_that_claims_anothers_role_is_counted(core: MembershipCore) -> None:
    alive(core)
    elsewhere = "tcp://127.0.0.1:5001/orders"
    core.want(elsewhere, 0.0, Reach.LOCAL)
    core.seed(parse_url(elsewhere), elsewhere, "service", 0.0)
    core.receive(b"s" + elsewhere.encode(), packets.directory(OTHERS, ROW), 1.0)
    assert core.malformed == {"conflict": 1}
    assert core.roles[THEM, 0xA].record.process == THEM
    core.check()
