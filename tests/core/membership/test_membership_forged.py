"""Who is there, though somebody forges records: whoever answers with the right numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests import packets
from tests.core.bench import tells
from tests.core.membership.neighbours import (
    FOUND,
    NEXT_ROW,
    ORDERS,
    PEER,
    RECORD,
    ROW,
    THEM,
    US,
)
from zmqkit.core.effects import Connect, Disconnect, Effect, News, Tell
from zmqkit.core.membership.interests import EVERYBODY
from zmqkit.core.membership.membership import MembershipCore
from zmqkit.core.membership.neighbour import Life, peer_of, process_of
from zmqkit.limits import CLAIMS_MAX, GONE_S, RIVALS_MAX
from zmqkit.model import Reach, Record

HONEST = RECORD
DEAD = 1
"""A port where nobody answers."""
FORGER = 666
FORGED = {
    "another name and process": replace(
        HONEST, name="other", process=FORGER, control_port=DEAD
    ),
    "another process": replace(HONEST, process=FORGER, control_port=DEAD),
    "another name": replace(HONEST, name="other", control_port=DEAD),
    "another port": replace(HONEST, control_port=DEAD),
}
ELSEWHERE = replace(HONEST, addresses=("127.0.0.9",))
"""As if the honest process had moved, which it may."""


@pytest.fixture
def core() -> MembershipCore:
    return MembershipCore(US)


class Network:
    """Performs connections: the honest process answers at its place, elsewhere nobody."""

    def __init__(self, core: MembershipCore) -> None:
        self.core = core
        self.told: list[tuple[str, int, str]] = []
        self.open: dict[bytes, str] = {}
        self.now = 0.0

    def perform(self, effects: list[Effect]) -> None:
        """What a driver does; who was reached answers after that."""
        reached: list[bytes] = []
        for effect in effects:
            if isinstance(effect, Tell):
                self.told.append((effect.news, effect.incarnation, effect.endpoint))
            elif isinstance(effect, Disconnect):
                del self.open[effect.peer]
            elif isinstance(effect, Connect):
                self.open[effect.peer] = effect.endpoint
                reached.append(effect.peer)
        self.core.check()
        for peer in reached:
            if self.open.get(peer) == "tcp://127.0.0.1:5000":
                self.perform(self.core.receive(peer, packets.directory(THEM, ROW), self.now))

    def wait(self, duration_s: float) -> None:
        """Let time pass; the honest process answers each ping."""
        until = self.now + duration_s
        while self.core.deadline() < until:
            self.now = max(self.now, self.core.deadline()) + 0.001
            self.perform(self.core.tick(self.now))
            for peer, endpoint in list(self.open.items()):
                neighbour = self.core.neighbours.at(peer)
                alive = neighbour is not None and peer == neighbour.peer
                if alive and endpoint == "tcp://127.0.0.1:5000":
                    self.perform(self.core.receive(peer, packets.alive(THEM, 1, 1), self.now))
        self.now = until


def found(network: Network) -> bool:
    """Whether the honest role is told as found, and nothing else was."""
    news = {(news, incarnation) for news, incarnation, _ in network.told}
    endpoints = {endpoint for _, _, endpoint in network.told}
    return news == {(News.FOUND, 0xA)} and endpoints == {FOUND.endpoint}


@pytest.mark.parametrize("wanted_first", [True, False])
@pytest.mark.parametrize("order", [(0, 1), (1, 0), (0, 1, 0)])
@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
@pytest.mark.parametrize("key", [ORDERS, EVERYBODY])
def test_forged_record_hides_nobody(
    core: MembershipCore, key: str, forged: Record, order: tuple[int, ...], wanted_first: bool
) -> None:
    network = Network(core)
    if wanted_first:
        network.perform(core.want(key, 0.0, Reach.LOCAL))
    for which in order:
        network.perform(core.heard([forged, HONEST][which], "mdns", network.now))
        network.wait(0.01)
    if not wanted_first:
        network.perform(core.want(key, 0.0, Reach.LOCAL))
    network.wait(5.0)
    assert found(network)
    assert core.neighbours[THEM].life is Life.ALIVE


@pytest.mark.parametrize("forged", [*FORGED.values(), ELSEWHERE])
def test_one_that_was_cut_off_is_found_again_whatever_was_forged_meanwhile(
    core: MembershipCore, forged: Record
) -> None:
    network = Network(core)
    network.perform(core.want(ORDERS, 0.0, Reach.LOCAL))
    network.perform(core.heard(HONEST, "mdns", 0.0))
    network.perform(core.heard(forged, "mdns", 0.0))
    network.told.clear()
    network.perform(core.disconnected(core.neighbours[THEM].peer, network.now))
    network.now += 3 * GONE_S
    network.perform(core.tick(network.now))
    network.wait(10.0)
    assert [news for news, _, _ in network.told] == [News.LOST, News.GONE, News.FOUND]


def test_the_end_of_a_forged_record_is_not_that_of_the_role(core: MembershipCore) -> None:
    for forged in FORGED.values():
        core.heard(HONEST, "mdns", 0.0)
        core.heard(forged, "mdns", 0.0)
        if forged.label != HONEST.label:
            core.vanished(forged, "mdns")
            assert core.roles[THEM, 0xA].addresses() == [("127.0.0.1", 5000)]
            core.check()


def test_many_forged_records_are_not_kept_and_who_answered_is(core: MembershipCore) -> None:
    network = Network(core)
    network.perform(core.want(ORDERS, 0.0, Reach.LOCAL))
    network.perform(core.heard(HONEST, "mdns", 0.0))
    for n in range(1, 200):
        forged = replace(HONEST, name=f"other{n}", control_port=n)
        network.perform(core.heard(forged, "mdns", 0.0))
        network.perform(core.heard(replace(HONEST, process=FORGER + n), "mdns", 0.0))
    assert len(core.roles) <= RIVALS_MAX + 1
    assert len(core.roles[THEM, 0xA].claims) <= CLAIMS_MAX + 1
    network.perform(core.disconnected(core.neighbours[THEM].peer, 0.0))
    network.now = 3 * GONE_S
    network.perform(core.tick(network.now))
    network.wait(10.0)
    assert core.neighbours[THEM].life is Life.ALIVE


def test_who_comes_behind_many_forged_records_is_found(core: MembershipCore) -> None:
    network = Network(core)
    network.perform(core.want(ORDERS, 0.0, Reach.LOCAL))
    for n in range(1, 200):
        forged = replace(HONEST, control_port=n)
        network.perform(core.heard(forged, "mdns", network.now))
        network.perform(core.heard(replace(forged, process=FORGER + n), "mdns", network.now))
        network.wait(0.01)
    network.perform(core.heard(HONEST, "mdns", network.now))
    network.wait(1.0)
    assert found(network)


def test_who_was_crowded_out_is_found_when_discovery_reminds_of_it(
    core: MembershipCore,
) -> None:
    core.heard(HONEST, "mdns", 0.0)
    for n in range(1, RIVALS_MAX + 3):
        core.heard(replace(HONEST, process=FORGER + n, control_port=n), "mdns", 0.0)
    network = Network(core)
    network.perform(core.want(ORDERS, 0.0, Reach.LOCAL))
    assert THEM not in core.neighbours
    network.perform(core.reminded(HONEST, "mdns", 0.0))
    assert core.reminded(HONEST, "mdns", 0.0) == []
    network.wait(5.0)
    assert core.neighbours[THEM].life is Life.ALIVE


def test_nobody_else_is_asked_once_a_process_said_that_the_role_is_its_own(
    core: MembershipCore,
) -> None:
    core.want(ORDERS, 0.0, Reach.LOCAL)
    core.heard(FORGED["another process"], "mdns", 0.0)
    core.heard(HONEST, "mdns", 0.0)
    assert core.neighbours.keys() == {THEM, FORGER}
    effects = core.receive(PEER, packets.directory(THEM, ROW), 0.0)
    assert effects == [Disconnect(peer_of(FORGER)), FOUND]
    core.check()
    effects = core.disconnected(PEER, 1.0) + core.tick(1.1 + GONE_S)
    effects += core.tick(1.2 + GONE_S)
    connects = [process_of(each.peer) for each in effects if isinstance(each, Connect)]
    assert FORGER in connects
    core.check()


def test_a_role_that_another_neighbour_was_said_to_have_is_told_where_it_answers(
    core: MembershipCore,
) -> None:
    core.want(ORDERS, 0.0, Reach.LOCAL)
    core.heard(replace(HONEST, incarnation=0xB, process=FORGER), "mdns", 0.0)
    core.receive(peer_of(FORGER), packets.directory(FORGER, NEXT_ROW), 0.0)
    assert tells(core.heard(replace(HONEST, process=FORGER), "mdns", 0.0)) == [
        (News.FOUND, 0xA)
    ]
    core.heard(replace(HONEST, control_port=5005), "mdns", 0.0)
    effects = core.receive(PEER, packets.directory(THEM, ROW), 0.1)
    assert tells(effects) == [(News.GONE, 0xA), (News.FOUND, 0xA)]
    core.check()


def test_who_claims_a_role_that_another_process_has_is_not_believed(
    core: MembershipCore,
) -> None:
    core.want(ORDERS, 0.0, Reach.LOCAL)
    core.heard(replace(HONEST, incarnation=0xB, process=FORGER), "mdns", 0.0)
    core.heard(HONEST, "mdns", 0.0)
    core.receive(PEER, packets.directory(THEM, ROW), 0.0)
    effects = core.receive(peer_of(FORGER), packets.directory(FORGER, NEXT_ROW, ROW), 0.0)
    assert tells(effects) == [(News.FOUND, 0xB)] and core.malformed == {"conflict": 1}
    core.check()
