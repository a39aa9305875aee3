"""The streamer as a process has it: the core, its link, its journal, and its life."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from zmqkit.blocking.ending import Ending
from zmqkit.blocking.role import Life, Role
from zmqkit.core.effects import Effect
from zmqkit.core.tasks.lease import SINK, STREAMER
from zmqkit.core.tasks.streamer import StreamerCore
from zmqkit.device.place import place, upstream
from zmqkit.errors import JournalError, UsageError
from zmqkit.limits import CLOSE_S, LEAVE_S, PusherLimits
from zmqkit.model import label_of
from zmqkit.roles.crossing import Crossing
from zmqkit.roles.role import BoundShown, Command, Plan
from zmqkit.roles.scheme import Lookup
from zmqkit.roles.tasks import jitter

if TYPE_CHECKING:
    from zmqkit.roles.journaled import Journaled
    from zmqkit.roles.queues import Listening


class Streamer(BoundShown, Role):
    """Stands between the pushers and the workers of a name, which use it once it is there.

    name: the name under which tasks are pushed. bind: `tcp://host:port` instead of any free
    port. journal: the path of a file on this machine's disk; then a task that the streamer has
    accepted survives its death. insecure: serve other machines too, in plain text. advertise:
    the address that other machines are told, for containers. limits: of its queue. space: the
    space that it is in, in place of that of ZMQKIT_SPACE. statistics: tell other machines that
    reach it what it counts. Raises UsageError, ConfigError or JournalError for a wrong value.
    Others find it once it is opened.
    """

    _kind = "zmqkit.device.Streamer"

    def __init__(
        self,
        name: str,
        *,
        bind: str | None = None,
        connect: str | None = None,
        journal: str | Path | None = None,
        insecure: bool | None = None,
        space: str | None = None,
        statistics: bool = False,
        advertise: str | None = None,
        limits: PusherLimits | None = None,
    ) -> None:
        binding = place(STREAMER, name, bind, advertise, insecure=insecure, space=space)
        workers = Lookup("worker", name, insecure=insecure, space=space, also=SINK)
        if connect is not None:
            workers = upstream("worker", connect, insecure=insecure, space=space)
        crossing = Crossing(binding, workers)
        self._incarnation = crossing.incarnation
        limits = limits or PusherLimits()
        self._journaled: Journaled | None = None
        if journal is None:
            core = self._core = StreamerCore(
                name, crossing.incarnation, jitter, limits, upstream=connect is not None
            )
        else:
            from zmqkit.roles.journaled import Journaled, open_journal

            opened = open_journal(journal, crossing.name)
            core = self._core = StreamerCore(
                name,
                crossing.incarnation,
                jitter,
                limits,
                journal=opened.id,
                upstream=connect is not None,
            )
            self._journaled = Journaled(opened, core.tasks, self._heard, core)
        # Why the journal cannot be written any more, if that is so.
        self.fault: JournalError | None = None
        self._stopping = False
        self._listening: Listening | None = None
        plan = Plan(
            f"streamer {name!r}",
            crossing,
            core,
            hear=core.hear,
            about=core.about,
            statistics=statistics,
        )
        plan.hooks.finished = list  # nothing runs here; but what came is passed on at once
        plan.opened = self._listen
        if self._journaled is not None:
            plan.hooks.append = self._journaled.append
            plan.hooks.page = self._journaled.page
        self._life: Life[Crossing] = Life(plan)

    def start(self) -> None:
        """Listen and announce the streamer, unless that was done already.

        Raises AddressTaken when the address is in use.
        """
        self._life.open()

    def run(self) -> None:
        """Pass tasks on until `stop`. Raises JournalError if the disk fails for good."""
        self._life.open()
        self._life.wait(lambda: self._stopping or self.fault is not None, inf)
        if self.fault is not None:
            raise self.fault

    def stop(self) -> None:
        """Have `run` return; any thread may call this."""
        self._stopping = True
        self._life.wake()

    def stats(self) -> dict[str, object]:
        """Return the counters; accepted is the sum of the states.

        Beside them: how long the task has waited that has waited longest (`oldest_s`), workers
        by state, and how many more tasks these would take now (`credit`).
        """
        return self._life.look(self._stats)

    def _stats(self) -> dict[str, object]:
        core = self._core
        since = core.tasks.ledger.line.oldest_since()
        workers = core.tasks.instances
        return {
            **core.stats(),
            "in_flight": core.in_flight,
            "oldest_s": max(0.0, time.monotonic() - since) if since < inf else 0.0,
            "workers": dict(Counter(each.word for each in workers)),
            "credit": sum(max(0, each.credit - each.load) for each in workers),
        }

    def close(self, timeout_s: float = CLOSE_S) -> int:
        """Accept no more tasks, wait up to `timeout_s` for those that workers have, and close.

        What no worker has begun goes back to its pushers, or stays in the journal. Returns how
        many tasks were left that workers have. A `run` in another thread returns.
        """
        core, life = self._core, self._life
        self.stop()
        left = life.close(
            timeout_s,
            Ending(
                lambda: core.in_flight,
                core.close,
                leave=core.leave,
                drain=lambda until: life.wait(lambda: not core.in_flight, until),
                linger_s=lambda left_s: max(LEAVE_S, left_s if core.owes else 0.0),
            ),
        )
        if self._listening is not None:
            self._listening.close()
        if self._journaled is not None:
            self._journaled.close()
        return left

    def _listen(self, driver: object) -> None:
        """Answer `zmqkit queue` while the streamer is open."""
        from zmqkit.roles.administration import Administration

        core, life = self._core, self._life

        def perform(effects: list[Effect]) -> None:
            life.perform(core.follow(effects, time.monotonic()))

        label = label_of(self.name, self._incarnation)
        desk = Administration(core.tasks, life.submit, perform, self._journaled, label)
        self._listening = desk.listen(self.name)

    def _heard(self, command: Command, *values: object) -> None:
        """Have the core run a command, on the journal's thread."""
        with suppress(UsageError):  # it is closed
            self._life.command(command, *values)
            self.fault = self._core.tasks.fault
            if self.fault is not None:
                self._life.wake()
