"""What the ends of a bridge say to each other is read as it was written."""

from __future__ import annotations

import pytest

from zmqkit.wire import carriage
from zmqkit.wire import packet as wire
from zmqkit.wire.carriage import Beat, Greeting


@pytest.mark.parametrize("kind", [wire.HELLO, wire.WELCOME])
def test_a_greeting_is_read_back(kind: int) -> None:
    said = Greeting(3, "weather", 5, 7, 6, (b"kitchen.", b""), is_far=True)
    packet = wire.unpack(carriage.greeting(kind, 1, 2, said))
    assert (packet.kind, packet.source, packet.target) == (kind, 1, 2)
    assert carriage.greeting_of(packet) == said


@pytest.mark.parametrize("far", [False, True])
def test_packets_are_read_back(far: bool) -> None:
    rows = [(True, (b"a" * 20_000,)), (False, (b"b", memoryview(b"raw")))]
    frames = carriage.carriage(1, 2, 9, rows, far=far)
    assert (len(frames[0]) < 20_000) == far
    packet = wire.unpack(frames)
    assert packet.settled == 9
    assert carriage.rows_of(packet) == rows


def test_a_beat_is_read_back() -> None:
    said = Beat(9, 7, True, [1, 2], leaving=True)
    assert carriage.beat_of(wire.unpack(carriage.beat(1, 2, said))) == said


def test_a_refusal_is_told_from_an_end() -> None:
    assert carriage.refusal_of(wire.unpack(carriage.refusal(1, 2, "why"))) == "why"
    assert carriage.refusal_of(wire.unpack(wire.pack(wire.BYE, 1, 2, 0, b""))) == ""
