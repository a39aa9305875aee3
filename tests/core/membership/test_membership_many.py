"""Who is there, among many: as many are connected to as are used, and the others wait."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests import packets
from tests.core.membership.neighbours import ORDERS, RECORD, US
from zmqkit.core.effects import Connect, Disconnect, Effect
from zmqkit.core.membership.interests import EVERYBODY, key_of
from zmqkit.core.membership.membership import MembershipCore
from zmqkit.core.membership.neighbour import Life, peer_of, process_of
from zmqkit.limits import EVASIVE_S, INSTANCES_MAX, PING_S, MembershipLimits, connections_max
from zmqkit.model import Reach, Record

MANY = 250
FIRST = 1000


def record(n: int) -> Record:
    """One of many processes, each with a service of the same name."""
    return replace(RECORD, process=FIRST + n, incarnation=FIRST + n, control_port=FIRST + n)


class Crowd:
    """A process among many others, which answer as long as they are there."""

    def __init__(self, core: MembershipCore) -> None:
        self.core = core
        self.open: set[bytes] = set()
        self.dead: set[int] = set()
        self.now = 0.0

    def perform(self, effects: list[Effect]) -> None:
        reached: list[bytes] = []
        for effect in effects:
            if isinstance(effect, Connect):
                self.open.add(effect.peer)
                reached.append(effect.peer)
            elif isinstance(effect, Disconnect):
                self.open.remove(effect.peer)
        self.core.check()
        for peer in reached:
            process = process_of(peer)
            if process not in self.dead and peer in self.open:
                row = ("orders", "service", process, 6000)
                frames = packets.directory(process, row, control=process)
                self.perform(self.core.receive(peer, frames, self.now))

    def hear_all(self) -> None:
        for n in range(MANY):
            self.perform(self.core.heard(record(n), "mdns", self.now))

    def wait(self, duration_s: float) -> None:
        until = self.now + duration_s
        while self.core.deadline() < until:
            self.now = max(self.now, self.core.deadline()) + 0.001
            self.perform(self.core.tick(self.now))
            for peer in [*self.open]:
                process = process_of(peer)
                neighbour = self.core.neighbours.at(peer)
                alive = neighbour is not None and neighbour.life is Life.ALIVE
                if alive and process not in self.dead:
                    pong = packets.alive(process, 1, neighbour.token)
                    self.perform(self.core.receive(peer, pong, self.now))
        self.now = until

    def used(self) -> set[int]:
        """The processes that answer."""
        alive = (n for n in self.core.neighbours.values() if n.life is Life.ALIVE)
        return {each.process for each in alive if not each.silent}


@pytest.mark.parametrize("wanted_first", [True, False])
def test_a_client_is_connected_to_as_many_as_it_uses(wanted_first: bool) -> None:
    crowd = Crowd(MembershipCore(US))
    if wanted_first:
        crowd.perform(crowd.core.want(ORDERS, 0.0, Reach.LOCAL))
    crowd.hear_all()
    if not wanted_first:
        crowd.perform(crowd.core.want(ORDERS, 0.0, Reach.LOCAL))
    crowd.wait(5.0)
    assert len(crowd.open) == len(crowd.used()) == INSTANCES_MAX
    crowd.perform(crowd.core.unwant(ORDERS, Reach.LOCAL))
    assert not crowd.open


def test_others_have_a_turn_when_some_are_silent_or_gone() -> None:
    crowd = Crowd(MembershipCore(US))
    crowd.perform(crowd.core.want(ORDERS, 0.0, Reach.LOCAL))
    crowd.hear_all()
    used = crowd.used()
    crowd.dead = set(sorted(used)[:8])
    for process in sorted(crowd.dead)[:4]:
        crowd.perform(crowd.core.disconnected(peer_of(process), 0.0))
    crowd.wait(0.1)
    assert len(crowd.used() - crowd.dead) == INSTANCES_MAX - 4
    crowd.wait(EVASIVE_S + PING_S)
    assert len(crowd.used() - crowd.dead) == INSTANCES_MAX
    crowd.wait(30.0)
    assert len(crowd.used() - crowd.dead) == INSTANCES_MAX


def test_those_who_do_not_answer_give_way_until_one_does() -> None:
    crowd = Crowd(MembershipCore(US))
    crowd.dead = {FIRST + n for n in range(MANY - 1)}
    crowd.perform(crowd.core.want(ORDERS, 0.0, Reach.LOCAL))
    crowd.hear_all()
    crowd.wait(60.0)
    [used] = crowd.used() - crowd.dead
    assert used == FIRST + MANY - 1
    assert len(crowd.open) <= INSTANCES_MAX


def test_nobody_is_connected_to_more_than_the_process_has_descriptors_for() -> None:
    crowd = Crowd(MembershipCore(US, MembershipLimits(connections_max=10)))
    crowd.perform(crowd.core.want(EVERYBODY, 0.0, Reach.LOCAL))
    crowd.perform(crowd.core.want(key_of("publisher", "orders"), 0.0, Reach.LOCAL))
    crowd.hear_all()
    crowd.wait(5.0)
    assert len(crowd.open) == 10


def test_not_everybody_uses_the_same_few() -> None:
    used: set[int] = set()
    for us in range(1, 40, 2):
        crowd = Crowd(MembershipCore(us * 0x9E3779B97F4A7C15 % (1 << 63)))
        for n in range(MANY):
            crowd.core.heard(record(n), "mdns", 0.0)
        crowd.perform(crowd.core.want(ORDERS, 0.0, Reach.LOCAL))
        used |= crowd.used()
    assert len(used) > MANY / 2


def test_half_of_the_descriptors_are_for_others() -> None:
    assert [connections_max(n) for n in (64, 1024, 1 << 20)] == [8, 120, 1000]
