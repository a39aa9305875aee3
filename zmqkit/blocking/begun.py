"""Waits that a blocking client began together, and that one thread ends one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from zmqkit.core.calls.call import Call
from zmqkit.drivers.blocking import Waiter
from zmqkit.roles.answers import Answer, Outcome, answers_of, check_gather

if TYPE_CHECKING:
    from zmqkit.blocking.role import Life
    from zmqkit.core.calls.call import CallOptions
    from zmqkit.core.calls.client import ClientCore
    from zmqkit.core.effects import Effect
    from zmqkit.roles.scheme import Lookup
    from zmqkit.wire.encoding import Buffer

GiveUp = Callable[[object, float], list["Effect"]]


def outcome_of(life: Life[Lookup], waiter: Waiter, give_up: GiveUp) -> Outcome:
    """Wait until the waiter has its value or error, and return both.

    If the wait ends early, `give_up` tells the core.
    """
    driver = life.driver
    assert driver is not None
    try:
        driver.wait(waiter)
    except BaseException:
        driver.locked(driver.leave, waiter)
        life.end(give_up)
        raise
    return waiter.value, waiter.error


def gather(
    life: Life[Lookup],
    core: ClientCore,
    method: str,
    body: bytes,
    raw: Buffer | None,
    options: CallOptions,
) -> list[Answer]:
    """Ask each instance; see `Client.gather`."""
    check_gather(options)
    begun_at = time.monotonic()
    wait_s = options.patience_s

    def await_more(count: int, left_s: float, waiter: object, now: float) -> None:
        life.perform(core.await_ready(count, waiter, left_s, now))

    life.ask(await_more, core.give_up, 1, wait_s)
    while (left_s := core.choice_at - time.monotonic()) > 0:
        life.ask(await_more, core.give_up, core.limits.known_max + 1, left_s)

    def make() -> Call:
        return Call(0, method, body, raw, options, Waiter(), begun_at)

    calls = life.submit(core.call_each, make)

    def withdraw(waiter: object, now: float) -> list[Effect]:
        return core.withdraw(calls, now)

    outcomes = []
    for call in calls:
        assert isinstance(call.waiter, Waiter)
        outcomes.append(outcome_of(life, call.waiter, withdraw))
    return answers_of(life.plan.place.name, calls, outcomes)
