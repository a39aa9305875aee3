"""A network in virtual time."""

from __future__ import annotations

import pytest

from zmqkit.model import PeerId
from zmqkit.simulation.network import (
    HEARTBEAT_S,
    Arrival,
    Dialer,
    Host,
    Listener,
    Network,
    Weather,
)
from zmqkit.simulation.timeline import Timeline

WHERE = "tcp://127.0.0.1:5000"


class Inbox:
    """Takes packets and news of connections."""

    def __init__(self) -> None:
        self.packets: list[bytes] = []
        self.changes: list[bool] = []
        self.peers: list[PeerId] = []

    def take(self, arrival: Arrival) -> None:
        for peer, frames in arrival():
            self.packets.append(bytes(frames[0]))
            self.peers.append(peer)

    def watch(self, peer: PeerId, up: bool) -> None:
        self.changes.append(up)


class Pair:
    """One host that listens and one that dials, and has its connection watched."""

    def __init__(self, weather: Weather, *, watched: bool = True) -> None:
        self.timeline = Timeline(1)
        self.network = Network(self.timeline, weather)
        self.here, self.there = Host("here", "127.0.0.1"), Host("there", "127.0.0.1")
        self.ours, self.theirs = Inbox(), Inbox()
        self.listener = self.listen()
        watch = self.ours.watch if watched else None
        dialer = Dialer(self.network, self.here, b"p", WHERE, self.ours.take, watch)
        self.dialer = self.network.connect(dialer)
        self.run(1.0)

    def listen(self) -> Listener:
        listener = Listener(self.network, self.there, WHERE, self.theirs.take)
        return self.network.bind(listener)

    def run(self, duration_s: float) -> None:
        self.timeline.run_until(self.timeline.now + duration_s)

    def send(self, *bodies: bytes) -> list[bool]:
        return [self.dialer.send((body,)) for body in bodies]


@pytest.fixture
def pair() -> Pair:
    return Pair(Weather())


def test_packets_arrive_in_order_and_answers_return(pair: Pair) -> None:
    bodies = [bytes([n]) for n in range(50)]
    assert all(pair.send(*bodies))
    pair.run(1.0)
    assert pair.theirs.packets == bodies
    assert pair.listener.send(pair.theirs.peers[0], (b"back",))
    pair.run(1.0)
    assert pair.ours.packets == [b"back"]


def test_whoever_is_not_connected_cannot_be_sent_to(pair: Pair) -> None:
    assert not pair.listener.send(b"nobody", (b"x",))


def test_a_lane_has_limited_room(pair: Pair) -> None:
    pair.network.weather.room = 2
    assert pair.send(b"a", b"b", b"c") == [True, True, False]
    pair.run(1.0)
    assert pair.send(b"d") == [True]


def test_packets_get_lost(pair: Pair) -> None:
    pair.network.weather.loss = 1.0
    pair.send(b"a")
    pair.run(1.0)
    assert pair.theirs.packets == []


def test_packets_arrive_twice(pair: Pair) -> None:
    pair.network.weather.duplicate = 1.0
    pair.send(b"a")
    pair.run(1.0)
    assert pair.theirs.packets == [b"a", b"a"]


def test_a_broken_connection_is_made_anew_and_has_another_name(pair: Pair) -> None:
    pair.send(b"a")
    pair.run(0.1)
    pair.network.break_(pair.network.connections[0])
    pair.run(1.0)
    pair.send(b"b")
    pair.run(1.0)
    assert pair.ours.changes == [True, False, True]
    assert len(set(pair.theirs.peers)) == 2


def test_what_is_cut_arrives_when_the_cut_heals(pair: Pair) -> None:
    pair.network.cut(pair.here, pair.there)
    pair.send(b"a")
    pair.run(1.0)
    assert pair.theirs.packets == []
    pair.network.heal(pair.here, pair.there)
    pair.run(1.0)
    assert pair.theirs.packets == [b"a"] and pair.ours.changes == [True]


def test_a_watched_connection_does_not_outlive_a_long_cut(pair: Pair) -> None:
    pair.network.cut(pair.here, pair.there)
    pair.run(HEARTBEAT_S + 2.0)
    assert pair.ours.changes == [True, False]
    pair.network.heal_all()
    pair.run(3.0)
    assert pair.ours.changes == [True, False, True]


def test_a_connection_that_nobody_watches_outlives_it() -> None:
    pair = Pair(Weather(), watched=False)
    pair.network.cut(pair.here, pair.there)
    pair.send(b"a")
    pair.run(60.0)
    pair.network.heal_all()
    pair.run(1.0)
    assert pair.theirs.packets == [b"a"]


def test_what_is_cut_arrives_first_though_its_receiver_is_stopped() -> None:
    """Seed 8660: it stayed behind what was sent after the cut had healed."""
    pair = Pair(Weather(), watched=False)
    pair.network.cut(pair.here, pair.there)
    pair.send(b"1")
    pair.run(0.1)
    pair.network.stop(pair.there)
    pair.network.heal(pair.here, pair.there)
    pair.send(b"2")
    pair.run(0.1)
    pair.network.resume(pair.there)
    pair.run(0.1)
    assert pair.theirs.packets == [b"1", b"2"]


@pytest.mark.parametrize("lingers", [0.0, 1.0])
def test_what_was_sent_before_a_close_arrives_or_not(lingers: float) -> None:
    pair = Pair(Weather(lingers=lingers))
    pair.send(b"hello")
    pair.run(0.1)
    [peer] = pair.theirs.peers
    pair.listener.send(peer, (b"last",))
    pair.listener.close()
    pair.run(0.1)
    assert pair.ours.packets == ([b"last"] if lingers else [])


def test_a_stopped_host_answers_no_heartbeats(pair: Pair) -> None:
    pair.network.stop(pair.there)
    pair.run(HEARTBEAT_S + 2.0)
    assert pair.ours.changes == [True, False]
    pair.network.resume(pair.there)
    pair.run(3.0)
    assert pair.ours.changes == [True, False, True]


def test_a_killed_process_is_noticed_at_once(pair: Pair) -> None:
    pair.network.kill(pair.there)
    pair.run(0.01)
    assert pair.ours.changes == [True, False] and WHERE not in pair.network.listeners


@pytest.mark.parametrize("side", ["here", "there"])
def test_a_process_killed_behind_a_cut_is_noticed_when_that_heals(side: str) -> None:
    pair = Pair(Weather(), watched=False)
    pair.network.cut(pair.here, pair.there)
    pair.network.kill(getattr(pair, side))
    pair.run(60.0)
    assert len(pair.network.connections) == 1
    pair.network.heal_all()
    assert pair.network.connections == []


@pytest.mark.parametrize("parks", [True, False])
def test_a_dialer_without_a_connection_parks_packets_or_not(parks: bool) -> None:
    pair = Pair(Weather(parks=parks), watched=False)
    pair.listener.close()
    pair.run(0.1)
    assert pair.send(b"a") == [parks]
    pair.listener = pair.listen()
    pair.run(3.0)
    assert pair.theirs.packets == ([b"a"] if parks else [])


def test_a_closed_dialer_stays_closed(pair: Pair) -> None:
    pair.dialer.close()
    pair.run(5.0)
    assert pair.network.connections == [] and pair.ours.changes == [True]
