"""The Majordomo broker as a process has it: the core, its link, and its life."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from pathlib import Path

from zmqkit.blocking.ending import Ending
from zmqkit.blocking.role import Life, Role
from zmqkit.core.majordomo.broker import BrokerCore
from zmqkit.device.journals import Journals
from zmqkit.device.offering import Offering
from zmqkit.device.place import place
from zmqkit.errors import JournalError
from zmqkit.limits import CLOSE_S, LEAVE_S
from zmqkit.majordomo_limits import BrokerLimits
from zmqkit.model import BROKER, MAJORDOMO
from zmqkit.roles.role import BoundShown, Plan
from zmqkit.roles.scheme import Binding, draw_incarnation


class Majordomo(BoundShown, Role):
    """Stands between the clients and the services that register with it.

    name: what services give as `via`. bind: `tcp://host:port` instead of any free port.
    insecure: serve other machines too, in plain text. advertise: the address that other
    machines are told, for containers. journal: the path of a folder on this machine's disk,
    with a file for each service; then a request that was accepted survives the death of the
    broker. leases: by service, how many seconds a worker of RFC 7 or RFC 18 may have a request
    and send nothing, where it is not `limits.rfc_lease_s`. space: the space that it is in, in
    place of that of ZMQKIT_SPACE. statistics: tell other machines that reach it what it counts.
    Raises UsageError or ConfigError for a wrong value. Others find it, and its services, once
    it is opened.
    """

    _kind = "zmqkit.device.Majordomo"

    def __init__(
        self,
        name: str,
        *,
        bind: str | None = None,
        insecure: bool | None = None,
        space: str | None = None,
        statistics: bool = False,
        advertise: str | None = None,
        limits: BrokerLimits | None = None,
        journal: str | Path | None = None,
        leases: Mapping[str, float] | None = None,
    ) -> None:
        binding = place(MAJORDOMO, name, bind, advertise, insecure=insecure, space=space)
        limits = limits or BrokerLimits()
        self._journals = Journals(journal, limits) if journal is not None else None
        core = self._core = BrokerCore(
            name,
            binding.incarnation,
            draw_incarnation,
            limits,
            make_back=self._journals.make_back if self._journals is not None else None,
            leases=leases or {},
        )
        self._stopping = False
        plan = Plan(
            f"majordomo {name!r}", binding, core, about=core.about, statistics=statistics
        )
        plan.hooks.finished = list  # nothing runs here; but what came is passed on at once
        Offering(binding, BROKER, advertise, core.malformed).belong_to(plan.hooks)
        self._life: Life[Binding] = Life(plan)
        if self._journals is not None:
            self._journals.belong_to(core, self._life)
            plan.hooks.append = self._journals.append
            plan.hooks.page = self._journals.page
            plan.opened = self._begin

    def start(self) -> None:
        """Listen and announce the broker, unless that was done already.

        Raises AddressTaken when the address is in use.
        """
        self._life.open()

    def run(self) -> None:
        """Pass requests on until `stop`. Raises JournalError if the disk fails for good."""
        journals = self._journals
        self._life.open()
        self._life.wait(lambda: self._stopping or bool(journals and journals.fault), inf)
        if journals is not None and journals.fault is not None:
            raise journals.fault

    def stop(self) -> None:
        """Have `run` return; any thread may call this."""
        self._stopping = True
        self._life.wake()

    def stats(self) -> dict[str, object]:
        """Return the counters, of all services together and of each."""
        return self._life.look(self._core.stats)

    def close(self, timeout_s: float = CLOSE_S) -> int:
        """Accept no more requests, wait up to `timeout_s` for those at workers, and close.

        What no worker has goes back to its clients, which use another broker if there is one.
        Returns how many requests were left. A `run` in another thread returns.
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
                linger_s=lambda left_s: LEAVE_S,
            ),
        )
        if self._journals is not None:
            self._journals.close()
        return left

    def _begin(self, driver: object) -> None:
        """Go on with the services that have journals."""
        assert self._journals is not None
        try:
            self._journals.hold()
            for name in self._journals.names():
                self._core.begin(name)
            for name, why in self._core.failed.items():
                raise JournalError(f"the journal of {name!r} cannot be had: {why}")
        except BaseException:
            self._journals.close()
            raise
