"""An event loop that drives a core."""

from __future__ import annotations

import asyncio
import select
import threading
import time
from collections.abc import Callable

import pytest
import zmq

from zmqkit.core.calls.client import ClientCore
from zmqkit.core.topics.publisher import PublisherCore
from zmqkit.drivers.aio import AioDriver
from zmqkit.drivers.perform import Driver, Hands
from zmqkit.links.memory import MemoryLink
from zmqkit.links.profile import Profile
from zmqkit.links.zeromq import ZeromqLink
from zmqkit.model import EVERY_PEER, Frames, PeerId
from zmqkit.options import HOLD_STREAK
from zmqkit.wire import publication

BOUND_S = 20.0


def test_here_is_the_loop_that_runs_in_this_thread() -> None:
    loop, link = asyncio.new_event_loop(), MemoryLink(1)
    driver = AioDriver(Driver(ClientCore("orders", 1), link), loop)
    found: list[bool] = []

    async def look() -> None:
        found.append(driver.is_here())
        thread = threading.Thread(target=lambda: found.append(driver.is_here()))
        thread.start()
        thread.join()

    assert not driver.is_here()
    loop.run_until_complete(look())
    assert found == [True, False]
    driver.close()
    loop.close()
    link.close(0)


class Turns:
    """Counts what is to be called in the next turn of a loop."""

    def __init__(self) -> None:
        self.soon: list[Callable[[], None]] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.soon.append(callback)

    def add_reader(self, descriptor: int, callback: Callable[[], None]) -> None:
        pass

    def remove_reader(self, descriptor: int) -> None:
        pass

    def turn(self) -> None:
        due, self.soon = self.soon, []
        for callback in due:
            callback()


@pytest.mark.parametrize("answers", [False, True])
def test_who_sent_all_answers_while_reading_needs_no_further_turn(answers: bool) -> None:
    here, there, turns = MemoryLink(1), MemoryLink(2), Turns()
    there.connect(b"p", here.bind(f"memory://turns-{answers}", (0, 0)))
    hands = Hands(finished=list) if answers else Hands()
    driver = AioDriver(Driver(ClientCore("orders", 1), here, hands), turns, awake=False)  # type: ignore[arg-type]  # all that it needs
    turns.turn()
    there.send(b"p", (b"junk",))
    driver._read()
    assert turns.soon == ([] if answers else [driver._flush])
    driver.close()
    here.close(0)
    there.close(0)


def test_what_came_before_the_loop_drives_is_read_although_the_descriptor_told_already() -> (
    None
):
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    here, there = (ZeromqLink(context, Profile.TOPICS) for _ in range(2))
    there.connect(b"p", here.bind("tcp://127.0.0.1:0", (0, 0)))
    there.send(b"p", (publication.SUBSCRIBE + publication.private(7),))
    port = here._peers[EVERY_PEER]
    while not port.get(zmq.EVENTS) & zmq.POLLIN:  # this is what swallows the edge
        assert select.select([here.fileno()], [], [], BOUND_S)[0]
        here._find_hot()
    core, loop = PublisherCore(1), asyncio.new_event_loop()
    driver = AioDriver(Driver(core, here), loop)
    until = time.monotonic() + BOUND_S
    loop.run_until_complete(driver.drive_until(lambda: bool(core.audience.listeners), until))
    assert list(core.audience.listeners) == [7]
    driver.close()
    loop.close()
    for link in (here, there):
        link.close(0)
    context.term()


class _Recorder(MemoryLink):
    """Counts the messages of each packet that is sent."""

    def __init__(self) -> None:
        super().__init__(1, topics=True)
        self.sent: list[int] = []

    def send(self, peer: PeerId, frames: Frames) -> bool:
        _, packet = publication.read(frames)
        self.sent.append(len(publication.bodies_of(packet)))
        return True


def _publish_in_turns(counts: list[int]) -> list[tuple[int, ...]]:
    """Publish so many messages in each turn; what was sent by the end of each."""
    link, core, loop = _Recorder(), PublisherCore(1), asyncio.new_event_loop()
    gathering = core.gathering
    driver = AioDriver(Driver(core, link), loop, waiting=gathering.__len__)
    sent: list[tuple[int, ...]] = []

    async def publish() -> None:
        await asyncio.sleep(0)  # the first flush, of nothing
        for count in counts:
            for _ in range(count):
                gathering.add("topic", b"body")
                driver.soon()
            await asyncio.sleep(0)
            sent.append(tuple(link.sent))

    loop.run_until_complete(publish())
    driver.close()
    loop.close()
    link.close(0)
    return sent


def test_soon_after_a_packet_the_turns_that_go_on_publishing_share_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("zmqkit.drivers.aio.HOLD_S", BOUND_S)
    few = [2] * (HOLD_STREAK + 1)
    sent = _publish_in_turns([*few, 1, 3, 1, 0, 0, 1, 0])
    for turn in range(len(few)):
        assert sent[turn] == (2,) * (turn + 1), "few leave each at the end of their turn"
    alone, sent = sent[len(few) - 1], sent[len(few) :]
    assert sent[:3] == [alone] * 3
    assert sent[3:5] == [(*alone, 5)] * 2, "a turn that published nothing ends the waiting"
    assert sent[6] == (*alone, 5, 1)


def test_a_packet_waits_for_no_further_turn_once_its_time_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("zmqkit.drivers.aio.HOLD_S", 0.0)
    turns = 2 * HOLD_STREAK
    assert _publish_in_turns([1] * turns)[-1] == (1,) * turns
