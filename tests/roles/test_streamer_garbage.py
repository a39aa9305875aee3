"""Whatever arrives at a streamer, from pushers or from workers, it passes on what is right."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

import zmqkit
from tests.roles.fakes import FakeClient, FakeService
from tests.roles.kit import BOUND_S, Kit, until
from tests.roles.test_garbage import BATCH, COUNT, SEED, Memory, malformed, messages, own
from zmqkit.core.effects import News, Tell
from zmqkit.simulation import garbage
from zmqkit.wire import packet as wire
from zmqkit.wire.packet import Packet
from zmqkit.wire.rows import sequences_in

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("node")]


@pytest.fixture
def memory(
    capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> Iterator[Memory]:
    memory = Memory(request.node.name)
    yield memory
    memory.judge(capsys)


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """A million lines of log would be a flood of their own."""
    caplog.set_level(logging.WARNING)


def test_garbage_of_pushers_harms_nobody(
    kit: Kit, fake_client: FakeClient, memory: Memory
) -> None:
    streamer = kit.streamer()
    kit.start(streamer.run)
    pusher = kit.pusher()
    done: list[object] = []
    kit.working(lambda body: done.append(body) or body, backoff_s=0)
    core: Any = streamer._core
    fake_client.connect(streamer.endpoint)
    chance = random.Random(SEED)
    source = messages(chance, core.incarnation)
    for batch in range(0, COUNT, BATCH):
        for _ in range(BATCH):
            if chance.random() < 0.5:
                fake_client.send(*next(source))
            else:
                made = garbage.tasks(chance, fake_client.incarnation, core.incarnation)
                fake_client.send(*(bytes(frame) for frame in made))
        fake_client.drain()
        assert pusher.push(["mine", batch]).result(BOUND_S) == ["mine", batch]
        memory.look()
    until(lambda: malformed_in_front(streamer) > COUNT // 8)
    # The garbage has tasks in it that are right, all with the body 1.
    mine = [body for body in done if body != 1]
    assert mine == [["mine", batch] for batch in range(0, COUNT, BATCH)]
    kit.balanced(streamer)


def malformed_in_front(streamer: Any) -> int:
    counts: dict[str, int] = streamer._core.pushers.malformed
    return sum(counts.values())


def test_garbage_of_workers_harms_nobody(kit: Kit, fake: FakeService, memory: Memory) -> None:
    source = messages(random.Random(SEED), 0)
    fake.welcome |= {"credit": 1, "task": {"places": 1}}

    def answer(peer: bytes, packet: Packet) -> None:
        for _ in range(BATCH):
            frames = next(source)
            # Its own word that it leaves would rightly end its use.
            if frames[0][3:4] != bytes((wire.BYE,)):
                fake.send_frames(peer, own(fake, frames[0]), *frames[1:])
        sequences = sequences_in(packet)
        fake.send_rows(peer, wire.REPLY, [sequences], ["done"] * len(sequences))

    fake.on_request = answer
    streamer = kit.streamer()
    kit.start(streamer.run)
    pusher = kit.pusher()
    fake.start()
    core = streamer._core
    streamer._life.command(core.hear, Tell(News.FOUND, "", fake.incarnation, fake.url))
    for n in range(0, COUNT, BATCH):
        with suppress(zmqkit.PeerError):  # garbage may say that the task failed
            assert pusher.push(n).result(BOUND_S) is not None
        memory.look()
    assert malformed(streamer) > COUNT // 8
    # A worker that speaks well gets what that one had, and all that comes.
    streamer._life.command(core.hear, Tell(News.GONE, "", fake.incarnation))
    kit.working(lambda body: [body])
    until(lambda: any(row["state"] == "up" for row in pusher.instances()))
    assert kit.mapped(pusher, range(100)) == [[n] for n in range(100)]
    kit.balanced(streamer)
