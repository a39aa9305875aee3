"""The records that mDNS engines of one reach have heard, made of what their browsers see."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import replace
from itertools import islice

from zeroconf import DNSQuestionType, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceInfo

from zmqkit.discovery.addresses import Here, reachable
from zmqkit.discovery.sieve import TYPE, is_instance
from zmqkit.limits import DiscoveryLimits
from zmqkit.model import Reach, Record
from zmqkit.wire.announcement import decode

OnEvent = Callable[[str, Mapping[str, object]], None]
"""A callback that takes what was dropped or failed: the event's name and its fields."""

_DEFAULTS = DiscoveryLimits()
_Role = tuple[int, int, str]


class Known:
    """The table behind `Mdns`: passes on each record that is new, has changed or has ended.

    No packet from the network makes it raise: what cannot be used is noted and dropped.
    """

    def __init__(
        self,
        reach: Reach,
        *,
        heard: Callable[[Record], None],
        vanished: Callable[[Record], None],
        note: OnEvent,
        limits: DiscoveryLimits = _DEFAULTS,
    ) -> None:
        self._reach = reach
        self._limits = limits
        self._heard = heard
        self._vanished = vanished
        self._note = note
        self._ours: list[Here] = []
        # By the instance's name, the one not confirmed for longest first; then by who says it.
        self._records: dict[str, dict[_Role, Record]] = {}
        self._incomplete: dict[str, None] = {}
        self._some_incomplete = asyncio.Event()
        self._missed: set[str] = set()
        self._unfit = 0  # how many records the sieve took out

    def __len__(self) -> int:
        return len(self._records)

    def reset(self) -> None:
        """Forget everything, and tell nothing of it."""
        self._records.clear()
        self._incomplete.clear()

    def move(self, ours: Iterable[Here]) -> None:
        """Take the addresses of this host, by which those of other hosts are judged."""
        self._ours = list(ours)

    def records(self, name: str) -> list[Record]:
        """Return the records of a name, or all records if it is empty."""
        told = (each for told in self._records.values() for each in told.values())
        return [each for each in told if name in ("", each.name)]

    def unfit(self, count: int) -> None:
        """Count records that the sieve took out; note it whenever their number has doubled."""
        before, self._unfit = self._unfit, self._unfit + count
        if self._unfit.bit_length() > before.bit_length():
            self._note("mdns.unfit", {"records": self._unfit})

    def changed(
        self,
        zeroconf: Zeroconf,
        service_type: str,
        name: str,
        state_change: ServiceStateChange,
    ) -> None:
        """Take what a browser saw. The browser passes these arguments by name."""
        if not is_instance(name):
            return  # the sieve takes it out, and counts it
        try:
            if state_change is ServiceStateChange.Removed:
                self._forget(name)
                return
            info = AsyncServiceInfo(service_type, name)
            if info.load_from_cache(zeroconf):
                self._take(info)
            else:
                self._postpone(name)
        except Exception as error:  # noqa: BLE001 - raised in a handler, it ends the browser
            self._note("mdns.failed", {"instance": name, "error": repr(error)})

    def confirm(self, heard: Container[str]) -> None:
        """Forget the instances that were not heard, now nor in the call before.

        heard: all instances that answered, where nothing else tells that one is gone.
        """
        missed = {each for each in self._records if each not in heard}
        for name in missed & self._missed:
            self._forget(name)
        self._missed = missed

    async def complete_forever(self, zeroconf: Zeroconf) -> None:
        """Ask for what incomplete instances lack, a bounded number of them at a time.

        It waits a moment first, because the rest of a burst usually brings what is missing.
        """
        while True:
            await self._some_incomplete.wait()
            await asyncio.sleep(self._limits.complete_after_s)
            names = list(islice(self._incomplete, self._limits.completing_max))
            await asyncio.gather(*(self._complete(zeroconf, name) for name in names))
            for name in names:
                self._incomplete.pop(name, None)
            if not self._incomplete:
                self._some_incomplete.clear()

    async def _complete(self, zeroconf: Zeroconf, name: str) -> None:
        try:
            info, within_ms = AsyncServiceInfo(TYPE, name), self._limits.complete_s * 1000
            if await info.async_request(zeroconf, within_ms, DNSQuestionType.QM):
                self._take(info)
            else:
                self._note("mdns.unresolved", {"instance": name})
        except Exception as error:  # noqa: BLE001 - one instance must not end this for all
            self._note("mdns.failed", {"instance": name, "error": repr(error)})

    def _postpone(self, name: str) -> None:
        incomplete = self._incomplete
        if name not in incomplete and len(incomplete) >= self._limits.incomplete_max:
            self._note("mdns.busy", {"instance": name})
            return
        incomplete[name] = None
        self._some_incomplete.set()

    def _take(self, info: AsyncServiceInfo) -> None:
        """Keep the record of a complete instance, or drop it and note why."""
        addresses = reachable(info.parsed_scoped_addresses(), self._reach, self._ours)
        if not addresses:
            everywhere = info.parsed_addresses()
            self._note("mdns.elsewhere", {"instance": info.name, "addresses": everywhere})
            return
        label = info.name.removesuffix(f".{TYPE}")
        try:
            record = decode(label, info.properties, addresses, info.port or 0)
        except ValueError as error:
            self._note("mdns.malformed", {"instance": info.name, "reason": str(error)})
            return
        self._keep(info.name, record)

    def _keep(self, name: str, record: Record) -> None:
        """Keep a record, and pass it on if it is new or has changed.

        The instance that was not confirmed for longest makes room. Several processes may
        announce the same instance, and at most one of them is right, which need not be the
        last. So what each of them says is kept until the instance is withdrawn.

        A record does not count as changed if it only lacks some addresses: over IPv4 link-local
        addresses come without a scope, and answers may come in parts.
        """
        told = self._records.pop(name, None)
        if told is None and len(self._records) >= self._limits.records_max:
            oldest = next(iter(self._records))
            self._note("mdns.evicted", {"instance": oldest})
            self._forget(oldest)
        told = self._records[name] = told or {}
        before = told.pop(_role(record), None)
        if before is not None:
            still = reachable(before.addresses, self._reach, self._ours)
            if set(record.addresses) < set(still):
                record = replace(record, addresses=still)
        elif len(told) >= self._limits.claims_max:
            self._vanished(told.pop(next(iter(told))))
        told[_role(record)] = record
        if before != record:
            self._heard(record)

    def _forget(self, name: str) -> None:
        self._incomplete.pop(name, None)
        for record in self._records.pop(name, {}).values():
            self._vanished(record)


def _role(record: Record) -> _Role:
    return record.process, record.incarnation, record.name
