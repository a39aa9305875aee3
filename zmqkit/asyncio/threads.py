"""A pool of threads for slow plain functions; it delays neither the loop nor a close."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

Given = TypeVar("Given")


class Threads:
    """Up to `count` threads; each is started when it is first needed."""

    def __init__(self, count: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(count, name)
        self._jobs: set[Future[Any]] = set()

    async def run(self, function: Callable[..., Given], *args: object) -> Given:
        """Run the function in a thread and return its value.

        When the caller is cancelled, the function may run on, and its value is dropped.
        """
        job = self._pool.submit(function, *args)
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)
        return await asyncio.wrap_future(job)

    @property
    def are_busy(self) -> bool:
        """Whether a function still runs."""
        return bool(self._jobs)

    def close(self) -> None:
        """Let the threads end; wait for them unless a function still runs."""
        self._pool.shutdown(wait=not self._jobs, cancel_futures=True)
