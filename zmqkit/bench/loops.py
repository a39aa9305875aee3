"""The loops of a load: closed, with so many under way, and open, at a rate.

An open loop measures from when a call was to be sent. So while the other side stands still, the
calls that were due meanwhile show it, and not one call alone.
"""

from __future__ import annotations

import asyncio
import time
from asyncio import sleep
from collections.abc import Awaitable, Callable
from dataclasses import replace

from zmqkit.bench.measured import (
    ANSWER_S,
    LOOK_S,
    OUTSTANDING_MAX,
    WARM_UP_S,
    Load,
    Measured,
    clock,
)
from zmqkit.errors import ZmqkitError

Once = Callable[[], Awaitable[object]]

_SPIN_S = 0.0015
"""How long before a call is due a loop looks again and again: so exact are its timers."""
_SLEEP_S = 0.0002
"""The same for a thread that sleeps."""
TIMED, _MANY = 8, 64
"""Of so many calls under way one of so many is timed; where there are fewer, each is."""
_BACK_OFF_S = 0.001
"""How long a closed loop pauses after an error, which may come at once."""


async def run(once: Once, load: Load) -> Measured:
    """Warm up, load and return what was measured. Raises what the first call raises."""
    await once()
    warm = replace(load, seconds=WARM_UP_S, look=lambda part, count: None)
    loop = closed if load.rate is None else opened
    await loop(once, warm)
    return await loop(once, load)


async def closed(once: Once, load: Load) -> Measured:
    """Keep `load.in_flight` under way: each is followed by the next.

    Where many are, one of TIMED is timed, for all wait alike, and those that were are recorded
    now and then, all at once: to time and record each takes a tenth as long as a call.
    """
    measured, running = Measured(), True
    ended: list[float] = []
    step = TIMED if load.in_flight >= _MANY else 1

    async def one_by_one(*, is_timed: bool) -> int:
        count, add, sent_at = 0, ended.append, clock()
        while running:
            try:
                await once()
            except ZmqkitError as error:
                measured.failed[type(error).__name__] += 1
                await sleep(_BACK_OFF_S)
                sent_at = clock()
                continue
            if is_timed:
                now = clock()
                add(sent_at - now)
                sent_at = now
            else:
                count += 1
        return count

    begun = clock()
    tasks = [
        asyncio.ensure_future(one_by_one(is_timed=number % step == 0))
        for number in range(load.in_flight)
    ]
    try:
        while (passed_s := clock() - begun) < load.seconds:
            measured.record_all(ended)
            load.look(passed_s / load.seconds, measured.count * step)
            await sleep(min(LOOK_S, load.seconds - passed_s))
        running = False
        counts = await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
    measured.took_s = clock() - begun
    measured.record_all(ended)
    measured.count += sum(counts)
    return measured


async def opened(once: Once, load: Load) -> Measured:
    """Send `load.rate` each second, whatever becomes of them."""
    assert load.rate is not None
    measured = Measured()
    under_way: set[asyncio.Task[None]] = set()

    async def one(due_at: float) -> None:
        try:
            await once()
        except ZmqkitError as error:
            measured.failed[type(error).__name__] += 1
        else:
            measured.record(clock() - due_at)

    begun, look_at, sent = clock(), 0.0, 0
    try:
        while (due_at := begun + sent / load.rate) < begun + load.seconds:
            now = clock()
            if now < due_at:
                await sleep(max(0.0, due_at - now - _SPIN_S))
                continue
            sent += 1
            if len(under_way) < OUTSTANDING_MAX:
                task = asyncio.ensure_future(one(due_at))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
            else:
                measured.failed["not sent"] += 1
            if now >= look_at:
                load.look((now - begun) / load.seconds, measured.count)
                look_at = now + LOOK_S
                await sleep(0)  # though it is behind, answers are read
        if under_way:
            await asyncio.wait(under_way, timeout=ANSWER_S)
        measured.failed["no answer"] += len(under_way)
    finally:
        for task in [*under_way]:
            task.cancel()
    measured.failed += type(measured.failed)()  # without those that are 0
    measured.took_s = max(load.seconds, clock() - begun)
    return measured


def run_alone(once: Callable[[], object], load: Load) -> Measured:
    """Do the same in this thread, one at a time; at a rate, if there is one."""
    once()
    alone(once, replace(load, seconds=WARM_UP_S, look=lambda part, count: None))
    return alone(once, load)


def alone(once: Callable[[], object], load: Load) -> Measured:
    """Do one after the other."""
    measured, look_at, sent = Measured(), 0.0, 0
    begun = sent_at = clock()
    end_at = begun + load.seconds
    while sent_at < end_at:
        if load.rate is not None:
            sent_at = begun + sent / load.rate
            if sent_at >= end_at:
                break
            wait_until(sent_at)
        sent += 1
        try:
            once()
        except ZmqkitError as error:
            measured.failed[type(error).__name__] += 1
            now = clock()
        else:
            now = clock()
            measured.record(now - sent_at)
        if now >= look_at:
            load.look((now - begun) / load.seconds, measured.count)
            look_at = now + LOOK_S
            now = clock()
        sent_at = now
    took_s = clock() - begun
    measured.took_s = took_s if load.rate is None else max(took_s, load.seconds)
    return measured


def wait_until(due_at: float) -> None:
    """Sleep until shortly before a time, and then look until it has come."""
    left_s = due_at - clock()
    if left_s > _SLEEP_S:
        time.sleep(left_s - _SLEEP_S)
    while clock() < due_at:
        pass
