"""Membership under any order of events, against a model of what its readers were told."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests import packets
from zmqkit.core.effects import Connect, Disconnect, Effect, News, Send, Tell
from zmqkit.core.membership.interests import EVERYBODY, key_of
from zmqkit.core.membership.membership import MembershipCore
from zmqkit.core.membership.neighbour import peer_of, process_of
from zmqkit.model import Reach, Record, parse_url

PROCESSES = st.integers(1, 3)
ROLES = st.integers(1, 6)
URL = "tcp://127.0.0.1:5001/orders"
KEYS = st.sampled_from([key_of("service", "orders"), EVERYBODY, URL])
PLACES = st.lists(st.sampled_from([["127.0.0.1", 5000], ["10.0.0.1", 5001]]), max_size=2)
OTHERS = st.builds(lambda *row: [*row], PROCESSES, st.integers(1, 2), PLACES)
ADDRESSES = st.sampled_from(
    [("127.0.0.1",), ("10.0.0.1",), ("10.0.0.1", "10.0.0.2"), ("10.0.0.3",)]
)
REACHES = st.sampled_from(Reach)
SOURCES = st.sampled_from(["mdns:loopback", "mdns:lan"])


def name_of(role: int) -> str:
    """Even ones serve orders."""
    return "orders" if role % 2 == 0 else "stock"


def kind_of(role: int) -> str:
    """One is a broker, and one a broker's service."""
    return {5: "majordomo", 6: "broker"}.get(role, "service")


def record_of(
    role: int, process: int, addresses: tuple[str, ...], port: int, forged: bool
) -> Record:
    """A role as anybody may announce it, under its own name or, forged, another one's."""
    name = name_of(role + forged)
    return Record(name, kind_of(role), role, process, addresses, port, 6000 + role)


RECORDS = st.builds(
    record_of, ROLES, PROCESSES, ADDRESSES, st.sampled_from([5000, 5001]), st.booleans()
)


def row(role: int) -> tuple[str, str, int, int]:
    """A role as its process lists it; its incarnation is its number."""
    return (name_of(role), kind_of(role), role, 6000 + role)


class MembershipMachine(RuleBasedStateMachine):
    """Discovery says anything of anybody, and processes contradict it."""

    def __init__(self) -> None:
        super().__init__()
        self.core = MembershipCore(99)
        self.core.offers.control_ports |= {Reach.LOCAL: 5000, Reach.PLAIN: 5001}
        self.now = 100.0
        self.connected: set[bytes] = set()
        self.wanted: list[tuple[str, bool]] = []
        self.told: dict[tuple[str, int], News] = {}

    def perform(self, effects: list[Effect]) -> None:
        """What a driver does, and a reader who believes each word."""
        for effect in effects:
            if isinstance(effect, Connect):
                self.connected.add(effect.peer)
            elif isinstance(effect, Disconnect):
                self.connected.remove(effect.peer)
            elif isinstance(effect, Tell) and effect.news is not News.HINT:
                self.hear(effect)
            elif isinstance(effect, Send):
                assert effect.peer in self.connected or effect.peer[0] in (0, 1)

    def hear(self, tell: Tell) -> None:
        pair = (tell.key, tell.incarnation)
        assert any(key == tell.key for key, _ in self.wanted)
        if tell.news is News.GONE:
            del self.told[pair]
        elif tell.news is News.FOUND:
            assert tell.endpoint
            self.told[pair] = News.FOUND
        else:
            assert pair in self.told
            self.told[pair] = tell.news

    @precondition(lambda self: len(self.wanted) < 4)
    @rule(key=KEYS, reach=REACHES)
    def want(self, key: str, reach: Reach) -> None:
        self.wanted.append((key, reach))
        self.perform(self.core.want(key, self.now, reach))
        if key == URL:
            self.perform(self.core.seed(parse_url(URL), URL, "service", self.now))

    @precondition(lambda self: self.wanted)
    @rule(data=st.data())
    def unwant(self, data: st.DataObject) -> None:
        key, reach = data.draw(st.sampled_from(self.wanted))
        self.wanted.remove((key, reach))
        self.perform(self.core.unwant(key, reach))
        if not any(key == each for each, _ in self.wanted):
            self.told = {pair: news for pair, news in self.told.items() if pair[0] != key}

    @rule(port=st.integers(5001, 5002))
    def seed(self, port: int) -> None:
        url = parse_url(f"tcp://127.0.0.1:{port}")
        self.perform(self.core.seed(url, "", "service", self.now))

    @rule(record=RECORDS, source=SOURCES)
    def heard(self, record: Record, source: str) -> None:
        self.perform(self.core.heard(record, source, self.now))

    @rule(record=RECORDS, source=SOURCES)
    def vanished(self, record: Record, source: str) -> None:
        self.perform(self.core.vanished(record, source))

    @precondition(lambda self: self.connected)
    @rule(data=st.data(), process=PROCESSES, roles=st.sets(ROLES), revision=st.integers(1, 2))
    def welcome(
        self, data: st.DataObject, process: int, roles: set[int], revision: int
    ) -> None:
        peer = data.draw(st.sampled_from(sorted(self.connected)))
        frames = packets.directory(process, *map(row, sorted(roles)), revision=revision)
        self.perform(self.core.receive(peer, frames, self.now))

    @precondition(lambda self: self.connected)
    @rule(data=st.data(), roles=st.sets(ROLES), others=st.none() | st.lists(OTHERS))
    def welcome_by_itself(
        self, data: st.DataObject, roles: set[int], others: list[object] | None
    ) -> None:
        peer = data.draw(st.sampled_from(sorted(self.connected)))
        process = process_of(peer) or 1
        frames = packets.directory(process, *map(row, sorted(roles)), others=others)
        self.perform(self.core.receive(peer, frames, self.now))

    @rule(role=ROLES, reach=REACHES)
    def offer(self, role: int, reach: Reach) -> None:
        kind = kind_of(role)
        record = Record(name_of(role), kind, 100 + role, 99, (), 5000, 6000 + role)
        self.perform(self.core.offer(record, self.now, reach))

    @rule(role=ROLES)
    def retract(self, role: int) -> None:
        self.perform(self.core.retract(100 + role, self.now))

    @rule(asker=st.sampled_from([b"\0a", b"\0b", b"\1c"]), process=PROCESSES, places=PLACES)
    def visited(self, asker: bytes, process: int, places: list[object]) -> None:
        frames = packets.hello(process, revision=len(places), places=places)
        self.perform(self.core.receive(asker, frames, self.now))

    @rule(asker=st.sampled_from([b"\0a", b"\1c"]))
    def pinged(self, asker: bytes) -> None:
        self.perform(self.core.receive(asker, packets.ask(1), self.now))

    @precondition(lambda self: self.connected)
    @rule(data=st.data(), revision=st.integers(1, 2), token=st.integers(1, 5))
    def pong(self, data: st.DataObject, revision: int, token: int) -> None:
        peer = data.draw(st.sampled_from(sorted(self.connected)))
        self.perform(self.core.receive(peer, packets.alive(1, revision, token), self.now))

    @precondition(lambda self: self.connected)
    @rule(data=st.data(), roles=st.sets(ROLES))
    def ended(self, data: st.DataObject, roles: set[int]) -> None:
        peer = data.draw(st.sampled_from(sorted(self.connected)))
        self.perform(self.core.receive(peer, packets.ended(1, *sorted(roles)), self.now))

    @rule()
    def end_turn(self) -> None:
        self.perform(self.core.flush(self.now))
        assert self.core.flush(self.now) == []

    @rule()
    def readdressed(self) -> None:
        self.perform(self.core.readdressed(self.now))

    @precondition(lambda self: self.connected)
    @rule(data=st.data(), up=st.booleans())
    def change(self, data: st.DataObject, up: bool) -> None:
        peer = data.draw(st.sampled_from(sorted(self.connected)))
        change = self.core.connected if up else self.core.disconnected
        self.perform(change(peer, self.now))

    @rule(duration_s=st.sampled_from([0.01, 0.3, 0.6, 1.1, 6.0]))
    def wait(self, duration_s: float) -> None:
        self.now += duration_s
        self.perform(self.core.tick(self.now))
        assert self.core.deadline() > self.now

    @invariant()
    def is_sound(self) -> None:
        self.core.check()
        believed = {pair for n in self.core.neighbours.values() for pair in n.told}
        assert {(key, role) for role, key in believed} == set(self.told)

    def teardown(self) -> None:
        for key, reach in self.wanted[:]:
            self.wanted.remove((key, reach))
            self.perform(self.core.unwant(key, reach))
        for role in range(1, 7):
            self.perform(self.core.retract(100 + role, self.now))
        self.core.check()
        assert not self.core.neighbours
        assert all(peer[:1] == b"s" for peer in self.connected)


class PeersMachine(MembershipMachine):
    """The same with a static peer that is there, and tells of others."""

    PEER = 3

    def __init__(self) -> None:
        super().__init__()
        self.want(EVERYBODY, True)
        self.seed(5003)
        for peer in (b"stcp://127.0.0.1:5003", peer_of(self.PEER)):
            frames = packets.directory(self.PEER, control=5003)
            self.perform(self.core.receive(peer, frames, self.now))

    @rule(others=st.lists(OTHERS, max_size=3), revision=st.integers(1, 2))
    def tell(self, others: list[object], revision: int) -> None:
        peer = peer_of(self.PEER)
        frames = packets.directory(self.PEER, others=others, revision=revision)
        if peer in self.connected:
            self.perform(self.core.receive(peer, frames, self.now))

    @rule(process=PROCESSES, roles=st.sets(ROLES))
    def answer(self, process: int, roles: set[int]) -> None:
        for peer in sorted(self.connected):
            if process_of(peer) == process:
                frames = packets.directory(process, *map(row, sorted(roles)))
                self.perform(self.core.receive(peer, frames, self.now))
                break


TestMembershipMachine = pytest.mark.slow(MembershipMachine.TestCase)
TestPeersMachine = pytest.mark.slow(PeersMachine.TestCase)
TestMembershipMachine.settings = TestPeersMachine.settings = settings(
    max_examples=settings().max_examples // 2, stateful_step_count=40
)
