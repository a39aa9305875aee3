"""Calls functions of the program with the changes of a client's instances, on its loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from zmqkit.core.effects import Note
from zmqkit.drivers.notes import contained
from zmqkit.roles.instance_changes import InstanceChanges, check_on_change
from zmqkit.roles.watching import Change

if TYPE_CHECKING:
    from zmqkit.asyncio.role import Life
    from zmqkit.core.calls.client import ClientCore
    from zmqkit.roles.scheme import Lookup

OnChange = Callable[[Change], object]


class Watchers:
    """The functions that one client calls with its changes."""

    def __init__(self, life: Life[Lookup], core: ClientCore) -> None:
        self._life = life
        self._core = core
        self._called: dict[object, OnChange] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changes = InstanceChanges(life.plan.place.name)

    def add(self, callback: OnChange) -> Callable[[], None]:
        """Call the function with each change; return what ends that. See `on_change`."""
        check_on_change(callback)
        driver = self._life.open()
        ticket = object()
        self._called[ticket] = callback
        self._loop = driver.loop
        driver.driver.notes.heard = self._hear
        for change in self._changes.present(self._core.instances):
            driver.loop.call_soon(self._tell, (ticket,), change)
        return partial(self._remove, ticket)

    def _remove(self, ticket: object) -> None:
        self._called.pop(ticket, None)

    def _hear(self, note: Note) -> None:
        """Take an event of the core, in the middle of its work."""
        change = self._changes.of(note)
        if change is not None and self._called:
            assert self._loop is not None
            self._loop.call_soon(self._tell, tuple(self._called), change)

    def _tell(self, tickets: tuple[object, ...], change: Change) -> None:
        """Call the functions that had begun when this changed."""
        called = [c for t, c in self._called.items() if t in tickets]
        for callback in called:
            contained(callback, change)
