"""Waits of a blocking client for instances, and the warning if it can reach itself alone."""

from __future__ import annotations

from zmqkit.blocking.role import Life
from zmqkit.core.calls.client import ClientCore
from zmqkit.drivers.misuse import warn
from zmqkit.roles.places import held_place, reached, said
from zmqkit.roles.scheme import Lookup
from zmqkit.warning_limits import OTHERS_S


def await_ready(life: Life[Lookup], core: ClientCore, count: int, limit_s: float) -> int:
    """Wait until `count` instances can be called, or for `limit_s`; return how many can be."""

    def submit(waiter: object, now: float) -> None:
        life.perform(core.await_ready(count, waiter, limit_s, now))

    ready = life.ask(submit, core.give_up)
    assert isinstance(ready, int)
    return ready


def check_place(life: Life[Lookup], core: ClientCore) -> None:
    """Warn if the calling handler is about to wait for the place that it holds itself."""
    own = held_place(life.plan.place)
    if own and (reached(core.instances) or await_ready(life, core, 1, OTHERS_S)):
        only = reached(core.instances) == [own] and await_ready(life, core, 2, OTHERS_S) < 2
        if only:
            warn(said(life.plan.place.name))
