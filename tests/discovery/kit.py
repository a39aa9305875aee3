"""What the tests of discovery share: engines that tell what they hear, and a stranger."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager

from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from zmqkit.discovery.mdns import Mdns
from zmqkit.discovery.sieve import TYPE
from zmqkit.limits import DiscoveryLimits
from zmqkit.model import LOOPBACK, Reach, Record
from zmqkit.wire.announcement import encode, instance

BOUND_S = 30.0


class Peer:
    """An engine and what it told, of the instances of this test alone.

    renewals: how often it said that addresses changed.
    stranded: what it said of whether this host has no address.
    deaf: what it said of whether announcements do not arrive.
    """

    def __init__(self, mine: str, **limits: float) -> None:
        self.mine = mine
        self.records: dict[int, Record] = {}
        self.told: list[tuple[str, object]] = []
        self.renewals = 0
        self.stranded: list[bool] = []
        self.deaf: list[bool] = []
        self.reminders: list[Record] = []
        self.engine = Mdns(
            Reach.LOCAL,
            heard=self.heard,
            known=self.known,
            vanished=self.vanished,
            renewed=self.renewed,
            stranded=self.stranded.append,
            deaf=self.deaf.append,
            note=self.note,
            limits=DiscoveryLimits(**limits),
        )
        self._news = asyncio.Event()

    def heard(self, record: Record, source: str) -> None:
        if record.name.startswith(self.mine):
            self.records[record.incarnation] = record
            self.tell(f"heard {source}", record)

    def known(self, record: Record, source: str) -> None:
        if record.name.startswith(self.mine):
            self.reminders.append(record)
            self._news.set()

    def vanished(self, record: Record, source: str) -> None:
        if self.records.pop(record.incarnation, None):
            self.tell(f"vanished {source}", record.incarnation)

    def renewed(self) -> None:
        self.renewals += 1

    def note(self, event: str, fields: Mapping[str, object]) -> None:
        if self.mine in str(fields.get("instance", self.mine)):
            self.tell(event, fields)

    def tell(self, event: str, value: object) -> None:
        self.told.append((event, value))
        self._news.set()

    def events(self, *, unfit: bool = False) -> list[str]:
        """What it was told; of unfit records, which tests beside this one send, on request."""
        return [event for event, _ in self.told if unfit or event != "mdns.unfit"]

    def reasons(self) -> str:
        return "; ".join(str(value) for event, value in self.told if event.startswith("mdns."))

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until the condition holds; it can change only when something was told."""
        async with asyncio.timeout(BOUND_S):
            while not holds():
                self._news.clear()
                await self._news.wait()

    async def hears(self, record: Record) -> None:
        await self.until(lambda: self.records.get(record.incarnation) == record)

    async def misses(self, record: Record) -> None:
        await self.until(lambda: record.incarnation not in self.records)


def record(name: str) -> Record:
    """A service of this machine that nobody serves."""
    drawn = (random.getrandbits(64), random.getrandbits(64))
    return Record(name, "service", *drawn, (LOOPBACK,), 5555, 5557)


def run(scene: Coroutine[object, object, None]) -> None:
    """Play the scene on a loop of its own; no task may outlast it."""

    async def played() -> None:
        await scene
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(played())


@asynccontextmanager
async def peers(mine: str, count: int, **limits: float) -> AsyncIterator[list[Peer]]:
    """This many engines, open, with these limits."""
    found = [Peer(mine, **limits) for _ in range(count)]
    try:
        for each in found:
            await each.engine.open()
        yield found
    finally:
        await asyncio.gather(*(each.engine.close() for each in found))


class Stranger:
    """A plain zeroconf engine, which announces whatever it likes."""

    def __init__(self) -> None:
        self.engine = AsyncZeroconf(interfaces=[LOOPBACK])
        self.registry = self.engine.zeroconf.registry
        self.repeats: list[asyncio.Future[None]] = []

    async def announce(self, info: AsyncServiceInfo) -> None:
        sending = await self.engine.async_register_service(info, cooperating_responders=True)
        self.repeats.append(asyncio.ensure_future(sending))

    async def __aenter__(self) -> Stranger:
        await self.engine.zeroconf.async_wait_for_start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*self.repeats)
        await self.engine.async_close()


def info(record: Record, **changes: object) -> AsyncServiceInfo:
    """What a stranger announces, by default just what we would."""
    fields: dict[str, object] = {
        "port": record.control_port,
        "properties": encode(record),
        "server": f"{record.name}.local.",
        "parsed_addresses": [LOOPBACK],
    }
    return AsyncServiceInfo(TYPE, f"{instance(record)}.{TYPE}", **(fields | changes))
