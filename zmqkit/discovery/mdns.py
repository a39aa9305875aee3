"""Who is there, by DNS-SD over multicast DNS: one engine for this machine, or one for the LAN.

Theory of operation. An announcement goes out at once, without probing: an instance's name holds
a random number, so it is unique. A browser collects what others announce. It stops asking soon
after its start, so a query of our own goes out every few seconds and finds who was announced
while a cable was cut; what is known rides along, and nobody repeats that. Announcements are
repeated about once a minute, at random, so that they never come all at once.

A newcomer asks from ports of its own (RFC 6762, section 6.7), and the answers come straight
back. Those by multicast wait for a second when somebody just had the same, and those by unicast
to port 5353 reach any one process of a machine.

Nobody tells a program that interfaces came, went or were replaced, so this host's addresses are
looked at every second. Whenever they are not what they were, a new engine takes over: that
makes us a newcomer, with new addresses. A host without any has no engine until it gets one.
Where interfaces change all the time this happens less and less often.

The loopback engine uses the loopback interface alone, the LAN engine all others: a role open to
the LAN is announced by both under one name, and two hosts that claim one name would flush each
other from every cache. A record is a hint: neither does it prove that a peer lives, nor its end
that the peer died.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable

from zmqkit.discovery.addresses import Here, here
from zmqkit.discovery.engine import Engine
from zmqkit.discovery.known import Known, OnEvent
from zmqkit.limits import DiscoveryLimits
from zmqkit.model import Reach, Record
from zmqkit.wire.announcement import encode

LEVEL_PEERS = 50

_DEFAULTS = DiscoveryLimits()

_WORDS = {Reach.LOCAL: "loopback", Reach.PLAIN: "lan"}
"""How people are told which engine heard something."""


class Mdns:
    """Announces roles and hears those of others, within one reach, on the running event loop.

    heard: gets each record that is new or has changed, our own among them, and its source:
    `mdns:loopback` or `mdns:lan`. known: gets each that has not, now and then: whoever had no
    room for it when it was heard may have some. vanished: gets one that was withdrawn or
    expired, and the source. renewed: is called when addresses of this host changed. note: gets
    what was dropped or failed, as `mdns.malformed` and the like with fields. All five are
    called on the loop and must not wait.
    """

    def __init__(
        self,
        reach: Reach,
        *,
        heard: Callable[[Record, str], None],
        known: Callable[[Record, str], None],
        vanished: Callable[[Record, str], None],
        renewed: Callable[[], None],
        note: OnEvent,
        limits: DiscoveryLimits = _DEFAULTS,
    ) -> None:
        source = f"mdns:{_WORDS[reach]}"
        self._renewed = renewed
        self._known_still: Callable[[Record], None] = lambda record: known(record, source)
        self._reach = reach
        self._limits = limits
        self._note: OnEvent = lambda event, fields: note(event, {"source": source, **fields})
        self._known = Known(
            reach,
            heard=lambda record: heard(record, source),
            vanished=lambda record: vanished(record, source),
            note=self._note,
            limits=limits,
        )
        self._server = f"zmqkit-{secrets.token_hex(4)}.local."
        self._changing = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self._engine: Engine | None = None
        self._ours: list[Here] | None = None
        self._failure = ""
        self._announced: dict[int, Record] = {}

    async def open(self) -> None:
        """Start to listen and to ask. Where that is impossible it is noted, and tried again."""
        if self._tasks:
            return
        self._known.reset()
        self._tasks = [
            asyncio.create_task(self._watch_forever()),
            asyncio.create_task(self._ask_forever()),
        ]
        await self._look()

    def remind(self, name: str) -> None:
        """Pass on once more what is known of a name, or of all if it is empty."""
        for record in self._known.records(name):
            self._known_still(record)

    async def announce(self, record: Record) -> None:
        """Tell everybody of the record, or that it changed; the first packet leaves at once.

        Within this machine that is at 127.0.0.1, beyond it at those of the record's addresses
        that are not loopback or, without any, at all that this host has. Without a
        network it waits for one. Does nothing while closed. Raises ValueError for a record that
        cannot be announced.
        """
        async with self._changing:
            if not self._tasks:
                return
            if record.incarnation not in self._announced and (
                len(self._announced) >= self._limits.announced_max
            ):
                self._note("mdns.full", {"label": record.label})
                return
            encode(record)
            self._announced[record.incarnation] = record
            if self._engine is not None:
                await self._engine.announce(record)

    async def withdraw(self, incarnation: int) -> None:
        """Tell everybody that the record is gone; does nothing if it was not announced."""
        async with self._changing:
            record = self._announced.pop(incarnation, None)
            if record is not None and self._engine is not None:
                await self._engine.withdraw(incarnation)

    async def close(self) -> None:
        """Withdraw everything and let go of sockets and tasks, in about a quarter second."""
        async with self._changing:
            tasks, engine = self._tasks, self._engine
            self._tasks, self._engine, self._ours, self._failure = [], None, None, ""
            self._announced.clear()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if engine is not None:
                await engine.close(farewell=True)

    async def _watch_forever(self) -> None:
        least_s, most_s = self._limits.watch_s, self._limits.watch_longest_s
        pause_s = least_s
        while True:
            await asyncio.sleep(pause_s)
            renewed = await self._look()
            pause_s = min(2 * pause_s, most_s) if renewed else least_s
            self._repeat(pause_s)

    async def _look(self) -> bool:
        """Have an engine for the addresses that this host has now; whether there is a new one.

        While it has none, the engine before is kept for what it heard.
        """
        async with self._changing:
            try:
                ours = here(self._reach)
                if not ours:
                    raise OSError("no interface beyond loopback has an address")
                if ours == self._ours or not self._tasks:
                    return False
                await self._renew(ours)
            except Exception as error:  # noqa: BLE001 - the next look is taken all the same
                self._ours = None
                if repr(error) != self._failure:
                    self._failure = repr(error)
                    self._note("mdns.failed", {"action": "open", "error": self._failure})
                return False
            self._ours, self._failure = ours, ""
            return True

    async def _renew(self, ours: list[Here]) -> None:
        """Let a new engine take over. Where that is impossible it raises, and
        the one before stays."""
        before = self._engine
        engine = Engine(self._reach, self._server, ours, self._known, self._note)
        self._known.move(ours)
        await engine.start(before)
        self._engine = engine
        if before is not None:
            await before.close(farewell=False)
            self._note("mdns.renewed", {"addresses": [each.text for each in ours]})
        for record in self._announced.values():
            await engine.announce(record)
        if before is not None:
            self._renewed()

    def query_s(self, peers: int) -> float:
        """Seconds between queries, each of which carries every known peer: bytes stay level."""
        return self._limits.query_s * excess(peers)

    async def _ask_forever(self) -> None:
        while True:
            await asyncio.sleep(self.query_s(len(self._known)) * random.uniform(0.6, 1.0))
            if self._engine is not None:
                self._engine.ask()
            self.remind("")

    def _repeat(self, passed_s: float) -> None:
        """Repeat some announcements, each about once in `repeat_s`; among many, less often."""
        chance = passed_s / (self._limits.repeat_s * excess(len(self._known)))
        for incarnation in self._announced:
            if self._engine is not None and random.random() < chance:
                self._engine.repeat(incarnation)


def excess(peers: int) -> float:
    """How many times more peers there are than may all speak at the usual pace; at least 1."""
    return max(1.0, peers / LEVEL_PEERS)
