"""XPUB and XSUB in virtual time."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from zmqkit.model import EVERY_PEER, Frames, PeerId
from zmqkit.simulation.network import Arrival, Connection, Host, Network, Weather
from zmqkit.simulation.subscriptions import NOTICE_S, TopicDialer, TopicListener
from zmqkit.simulation.timeline import Timeline

WHERE = "tcp://127.0.0.1:5000"


@dataclass(eq=False)
class Ears(TopicListener):
    """A listener that notes all that arrives, whether the socket passes it on or not."""

    arrived: list[bytes] = field(default_factory=list)

    def read(self, connection: Connection, frames: Frames) -> list[tuple[PeerId, Frames]]:
        self.arrived.append(bytes(frames[0]))
        return super().read(connection, frames)


class Pair:
    """A publisher and a subscriber, and what each socket passes on."""

    def __init__(self, weather: Weather) -> None:
        self.timeline = Timeline(1)
        self.network = Network(self.timeline, weather)
        self.here, self.there = Host("here", "127.0.0.1"), Host("there", "127.0.0.1")
        self.told: list[bytes] = []
        self.received: list[bytes] = []
        self.listener = self.network.bind(Ears(self.network, self.there, WHERE, self.take))
        self.dialer = self.dial()

    def dial(self) -> TopicDialer:
        return self.network.connect(
            TopicDialer(self.network, self.here, b"p", WHERE, self.receive, None)
        )

    def take(self, arrival: Arrival) -> None:
        for peer, frames in arrival():
            assert peer == EVERY_PEER
            self.told.append(bytes(frames[0]))

    def receive(self, arrival: Arrival) -> None:
        self.received += [bytes(frames[0]) for _, frames in arrival()]

    def run(self, duration_s: float = 1.0) -> None:
        self.timeline.run_until(self.timeline.now + duration_s)

    def send(self, *frames: bytes) -> None:
        for frame in frames:
            self.dialer.send((frame,))
        self.run()

    def publish(self, *frames: bytes) -> list[bytes]:
        for frame in frames:
            assert self.listener.send(EVERY_PEER, (frame,))
        self.run()
        received, self.received = self.received, []
        return received

    def break_(self) -> None:
        self.network.break_(self.network.connections[0])


@pytest.fixture
def pair() -> Pair:
    return Pair(Weather())


def test_what_nobody_wants_is_dropped(pair: Pair) -> None:
    pair.send(b"\x01a", b"\x01b", b"\x00b")
    assert pair.publish(b"abc", b"b", b"c") == [b"abc"]
    assert pair.told == [b"\x01a", b"\x01b", b"\x00b"]


def test_no_weather_loses_or_repeats_a_subscription() -> None:
    pair = Pair(Weather(loss=1.0, duplicate=1.0, room=1, parks=False))
    pair.send(b"\x01a", b"\x01b", b"\x02talk")
    assert pair.told == [b"\x01a", b"\x01b"]
    assert pair.publish(b"a") == []


def test_a_new_connection_is_subscribed_anew_in_the_order_of_bytes(pair: Pair) -> None:
    pair.send(b"\x01b", b"\x01a", b"\x01c", b"\x02first")
    pair.send(b"\x00c")
    pair.break_()
    pair.listener.arrived.clear()
    pair.send(b"\x01d", b"\x02second")
    assert pair.listener.arrived == [b"\x01a", b"\x01b", b"\x01d", b"\x02second"]
    assert pair.publish(b"a", b"d") == [b"a", b"d"]


def test_the_end_of_a_connection_ends_what_it_subscribed_to(pair: Pair) -> None:
    pair.send(b"\x01a", b"\x01b")
    pair.dialer.close()
    pair.run()
    assert pair.told == [b"\x01a", b"\x01b", b"\x00a", b"\x00b"]
    assert pair.publish(b"a") == []


def test_a_prefix_is_told_of_once_for_all_connections(pair: Pair) -> None:
    pair.send(b"\x01a")
    first, pair.dialer = pair.dialer, pair.dial()
    pair.send(b"\x01a", b"\x01b")
    assert pair.told == [b"\x01a", b"\x01b"]
    first.close()
    pair.run()
    assert pair.told == [b"\x01a", b"\x01b"]
    pair.dialer.close()
    pair.run()
    assert pair.told[2:] == [b"\x00a", b"\x00b"]


def test_an_end_behind_a_cut_is_noticed_when_that_heals(pair: Pair) -> None:
    pair.send(b"\x01a")
    pair.network.cut(pair.here, pair.there)
    pair.dialer.close()
    pair.run(60.0)
    assert pair.told == [b"\x01a"]
    pair.network.heal_all()
    pair.run(2 * NOTICE_S)
    assert pair.told == [b"\x01a", b"\x00a"]


def test_who_has_no_room_misses_what_others_receive(pair: Pair) -> None:
    pair.send(b"\x01a")
    pair.listener.room = 2
    pair.break_()
    pair.run()
    assert pair.publish(b"a1", b"a2", b"a3") == [b"a1", b"a2"]
    assert pair.listener.refused == 1
