"""An event loop that drives a core."""

from __future__ import annotations

import asyncio
import threading

from zmqkit.core.client import ClientCore
from zmqkit.drivers.aio import AioDriver
from zmqkit.drivers.perform import Driver
from zmqkit.links.memory import MemoryLink


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
