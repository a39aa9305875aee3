"""Calls functions of the program with the changes of a client's instances.

Theory of operation. A change happens under the role's lock, maybe on the node's thread, where
no code of the program may run. So it goes into a queue, and a thread of the client calls the
functions, one change after the other. The thread lives from the first function to the last.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING

from zmqkit.core.effects import Note
from zmqkit.drivers.notes import contained
from zmqkit.limits import LEAVE_S
from zmqkit.roles.instance_changes import InstanceChanges, check_on_change
from zmqkit.roles.watching import Change

if TYPE_CHECKING:
    from zmqkit.blocking.role import Life
    from zmqkit.core.calls.client import ClientCore
    from zmqkit.roles.scheme import Lookup

OnChange = Callable[[Change], object]


class Watchers:
    """The functions that one client calls with its changes."""

    def __init__(self, life: Life[Lookup], core: ClientCore) -> None:
        self._life = life
        self._core = core
        # Guards the two below.
        self._lock = threading.Lock()
        self._called: dict[object, OnChange] = {}
        self._thread: threading.Thread | None = None
        # These two belong to the role's lock: who is there, and which functions know that.
        self._changes = InstanceChanges(life.plan.place.name)
        self._begun: set[object] = set()
        # Each change is for the functions that had begun then; None ends the thread.
        self._queue: SimpleQueue[tuple[tuple[object, ...], Change] | None] = SimpleQueue()

    def add(self, callback: OnChange) -> Callable[[], None]:
        """Call the function with each change; return what ends that. See `on_change`."""
        check_on_change(callback)
        driver = self._life.open()
        ticket = object()
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="zmqkit-changes", daemon=True)
                thread.start()
                self._thread = thread
            self._called[ticket] = callback

        def begin() -> None:
            driver.notes.heard = self._hear
            for change in self._changes.present(self._core.instances):
                self._queue.put(((ticket,), change))
            self._begun.add(ticket)

        self._life.look(begin)
        return partial(self._remove, ticket)

    def close(self) -> None:
        """End the calls, once the client is closed; one that is under way may take longer."""
        with self._lock:
            self._called.clear()
            thread = self._thread
        self._queue.put(None)
        if thread is not None and thread is not threading.current_thread():
            thread.join(LEAVE_S)

    def _remove(self, ticket: object) -> None:
        with self._lock:
            self._called.pop(ticket, None)
            self._begun.discard(ticket)
            is_last = not self._called
        if is_last:
            self._queue.put(None)

    def _hear(self, note: Note) -> None:
        """Take an event of the core, under the role's lock."""
        change = self._changes.of(note)
        if change is not None and self._begun:
            self._queue.put((tuple(self._begun), change))

    def _run(self) -> None:
        while True:
            each = self._queue.get()
            if each is None:
                with self._lock:
                    if not self._called:
                        self._thread = None
                        return
                continue
            tickets, change = each
            with self._lock:
                called = [c for t, c in self._called.items() if t in tickets]
            for callback in called:
                contained(callback, change)
