"""Waits that an asyncio client began together."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Any

from zmqkit.core.calls.call import Call
from zmqkit.roles.answers import Answer, answers_of, check_gather

if TYPE_CHECKING:
    from zmqkit.asyncio.role import Life
    from zmqkit.core.calls.call import CallOptions
    from zmqkit.core.calls.client import ClientCore
    from zmqkit.errors import ZmqkitError
    from zmqkit.roles.scheme import Lookup
    from zmqkit.wire.encoding import Buffer


async def gather(
    life: Life[Lookup],
    core: ClientCore,
    method: str,
    body: bytes,
    raw: Buffer | None,
    options: CallOptions,
) -> list[Answer]:
    """Ask each instance; see `Client.gather`."""
    check_gather(options)
    begun_at = monotonic()
    await _more(life, core, 1, options.patience_s)
    while (left_s := core.choice_at - monotonic()) > 0:
        await _more(life, core, core.limits.known_max + 1, left_s)
    loop = asyncio.get_running_loop()
    futures: list[asyncio.Future[Any]] = []

    def make() -> Call:
        futures.append(loop.create_future())
        return Call(0, method, body, raw, options, futures[-1], begun_at)

    calls = life.submit(core.call_each, make)
    try:
        await asyncio.wait(futures)
    except asyncio.CancelledError:
        for future in futures:
            future.cancel()
        life.end(core.withdraw, calls)
        raise
    errors: list[ZmqkitError | None] = [future.exception() for future in futures]  # type: ignore[misc]  # the core's
    values = [None if e else f.result() for f, e in zip(futures, errors, strict=True)]
    return answers_of(life.plan.place.name, calls, zip(values, errors, strict=True))


async def _more(life: Life[Lookup], core: ClientCore, count: int, left_s: float) -> None:
    """Wait until so many instances are ready, or the time is over."""

    def await_ready(waiter: object, now: float) -> None:
        life.perform(core.await_ready(count, waiter, left_s, now))

    future, _ = life.ask(await_ready)
    try:
        await future
    except asyncio.CancelledError:
        life.end(core.give_up, future)
        raise
