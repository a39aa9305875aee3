"""What devices without a journal have in common: they start, and run until told to stop."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from zmqkit.blocking.ending import Ending
from zmqkit.blocking.role import Life, Role
from zmqkit.core.effects import Effect
from zmqkit.core.topics.bridge import BridgeCore
from zmqkit.core.topics.forwarder import ForwarderCore
from zmqkit.drivers.perform import Hooks
from zmqkit.limits import LEAVE_S
from zmqkit.roles.crossing import Crossing
from zmqkit.roles.role import BoundShown, Plan


class Running(BoundShown, Role):
    """A device that a thread runs."""

    _life: Life[Crossing]
    _stopping = False

    def start(self) -> None:
        """Listen and announce the device, unless that was done already.

        Raises AddressTaken when an address is in use.
        """
        self._life.open()

    def run(self) -> None:
        """Pass on what comes until `stop`."""
        self._life.open()
        self._life.wait(lambda: self._stopping, inf)

    def stop(self) -> None:
        """Have `run` return; any thread may call this."""
        self._stopping = True
        self._life.wake()


class Passing(Running):
    """A device that passes on what others publish."""

    def _pass_on(
        self,
        what: str,
        crossing: Crossing,
        core: ForwarderCore | BridgeCore,
        *,
        statistics: bool,
    ) -> None:
        """Have a life with this core and this place. what: the device, for messages."""
        plan = Plan(
            what,
            crossing,
            core,
            Hooks(watch=crossing.watch),
            hear=core.hear,
            about=core.about,
            receive_all=core.receive_all,
            awake=False,
            statistics=statistics,
        )
        plan.hooks.finished = list  # nothing runs here; but what came is passed on at once
        self._life = Life(plan)

    def _finish(
        self,
        core: ForwarderCore | BridgeCore,
        unfinished: Callable[[], int],
        awaited: Callable[[], int],
        timeout_s: float,
    ) -> int:
        """Pass on what has arrived by now and nothing after it, and close.

        unfinished: returns how much others have not received. awaited: returns how much of that
        they may still receive, for which this waits up to `timeout_s`. Returns how much is
        unfinished then.
        """
        life = self._life

        def leave(now: float) -> list[Effect]:
            assert life.driver is not None
            life.driver.driver.catch_up(now)
            return core.leave(now)

        self.stop()
        return life.close(
            timeout_s,
            Ending(
                unfinished,
                core.close,
                leave=leave,
                drain=lambda until: life.wait(lambda: not awaited(), until),
                linger_s=lambda left_s: LEAVE_S,
            ),
        )
