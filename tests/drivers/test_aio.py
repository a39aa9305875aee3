"""An event loop that drives a core."""

from __future__ import annotations

import asyncio
import math
import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import zmq

from tests.drivers.turns import Loop
from zmqkit.core.calls.client import ClientCore
from zmqkit.core.topics.publisher import PublisherCore
from zmqkit.drivers.aio import AioDriver
from zmqkit.drivers.perform import Driver, Hooks
from zmqkit.limits import FOLLOW_STREAK, HOLD_S, PublisherLimits
from zmqkit.links.memory import MemoryLink
from zmqkit.links.profile import Profile
from zmqkit.links.zeromq import ZeromqLink
from zmqkit.model import EVERY_PEER, Frames, PeerId
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


@pytest.mark.parametrize("answers", [False, True])
def test_who_sent_all_answers_while_reading_needs_no_further_turn(answers: bool) -> None:
    here, there, turns = MemoryLink(1), MemoryLink(2), Loop()
    there.connect(b"p", here.bind(f"memory://turns-{answers}", (0, 0)))
    hooks = Hooks(finished=list) if answers else Hooks()
    driver = AioDriver(Driver(ClientCore("orders", 1), here, hooks), turns, awake=False)  # type: ignore[arg-type]  # all that it needs
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


class _Turns:
    """A publisher's core on a loop of its own; `publish` adds so many messages in each turn."""

    def __init__(self, hold_s: float) -> None:
        limits = PublisherLimits(follow_s=BOUND_S, hold_s=hold_s)
        self.link, self.core = _Recorder(), PublisherCore(1, limits)
        self.loop = asyncio.new_event_loop()
        self.driver = AioDriver(Driver(self.core, self.link), self.loop, holds=self.core.holds)
        self.run(lambda: None)  # the first flush, of nothing

    def run(self, turn: Callable[[], None], until: Callable[[], bool] = lambda: True) -> None:
        """Have a turn, and further empty ones until this holds."""

        async def run() -> None:
            turn()
            await asyncio.sleep(0)
            while not until():  # noqa: ASYNC110 - each is a turn
                await asyncio.sleep(0)

        self.loop.run_until_complete(asyncio.wait_for(run(), BOUND_S))

    def publish(self, count: int) -> None:
        for _ in range(count):
            if self.core.pace.due_at == math.inf:
                self.driver.soon()
            self.core.gathering.add("topic", b"body")


@contextmanager
def turning(hold_s: float) -> Iterator[_Turns]:
    """Turns that follow each other closely, however slow the machine is."""
    made = _Turns(hold_s)
    yield made
    made.driver.close()
    made.loop.close()
    made.link.close(0)


@pytest.fixture
def turns() -> Iterator[_Turns]:
    with turning(HOLD_S) as made:
        yield made


@pytest.fixture
def held() -> Iterator[_Turns]:
    """What gathers is not due during the test."""
    with turning(BOUND_S) as made:
        yield made


def test_after_some_turns_the_next_ones_share_a_packet(held: _Turns) -> None:
    few = [2] * FOLLOW_STREAK
    for number, count in enumerate(few, 1):
        held.run(lambda count=count: held.publish(count))  # type: ignore[misc]  # the loop's own
        assert held.link.sent == few[:number], "few leave each at the end of their turn"
    for count in (1, 3, 0, 1):
        held.run(lambda count=count: held.publish(count))  # type: ignore[misc]  # the loop's own
        assert held.link.sent == few
    held.run(held.driver.soon)
    assert held.link.sent == [*few, 5], "whoever wants a flush gets it"


def test_what_waits_for_further_turns_leaves_though_none_comes(turns: _Turns) -> None:
    for _ in range(FOLLOW_STREAK + 1):
        turns.run(lambda: turns.publish(1))
    turns.run(lambda: None, lambda: len(turns.link.sent) > FOLLOW_STREAK)
    assert turns.link.sent == [1] * (FOLLOW_STREAK + 1)


def test_what_waits_when_the_process_ends_is_sent(held: _Turns) -> None:
    for _ in range(FOLLOW_STREAK + 2):
        held.run(lambda: held.publish(1))
    held.driver._exit()
    assert held.link.sent == [*[1] * FOLLOW_STREAK, 2]
