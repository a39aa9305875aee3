"""Closing without holding up the loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress


async def in_thread(work: Callable[[], None]) -> None:
    """Wait for what would block the loop, on a thread that ends with it."""
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def run() -> None:
        try:
            work()
        finally:
            with suppress(RuntimeError):  # the loop was closed, and nobody waits any more
                loop.call_soon_threadsafe(done.set)

    thread = threading.Thread(target=run, name="zmqkit-close")
    thread.start()
    await done.wait()
    thread.join()
