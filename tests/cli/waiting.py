"""A module with an `async def`, so that it is served on an event loop."""

from __future__ import annotations

import asyncio
import threading


async def patient() -> str:
    await asyncio.sleep(0)
    return "waited"


def plain() -> bool:
    """Whether it runs off the loop's thread."""
    return threading.current_thread() is not threading.main_thread()
