"""An event loop that drives a core."""

from __future__ import annotations

import asyncio
import select
import threading
import time

import zmq

from zmqkit.core.client import ClientCore
from zmqkit.core.publisher import PublisherCore
from zmqkit.drivers.aio import AioDriver
from zmqkit.drivers.perform import Driver
from zmqkit.links.memory import MemoryLink
from zmqkit.links.profile import Profile
from zmqkit.links.zeromq import ZeromqLink
from zmqkit.model import EVERY_PEER
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
