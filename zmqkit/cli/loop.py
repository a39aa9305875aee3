"""The event loop that commands run on: uvloop's if it is installed, else asyncio's own."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Given = TypeVar("Given")


def on_loop(work: Coroutine[Any, Any, Given]) -> Given:
    """Run the coroutine to its end and return its result."""
    new_loop = asyncio.new_event_loop
    try:
        import uvloop
    except ImportError:
        pass
    else:
        new_loop = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(work)
