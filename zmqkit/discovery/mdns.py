"""Who is there, by DNS-SD over multicast DNS: one engine for this machine, or one for the LAN.

Theory of operation. An announcement goes out at once, without probing: the name of an instance
holds a random number, so it is unique. A browser collects what others announce. The browser
stops asking soon after its start. So a query of our own goes out every few seconds, which finds
processes that were announced while a cable was cut. The query lists the instances that are
known, so that nobody repeats them. Announcements are repeated about once a minute, at random
times, so that they never come all at once.

A newcomer asks from ports of its own (RFC 6762, section 6.7), and the answers come straight
back. Other ways are worse. An answer by multicast waits for a second if the same answer has
just been sent. An answer by unicast to port 5353 reaches only one process of a machine, which
may be any of them. That question is asked again when the user of this module wants it. Where a
firewall of this machine drops what comes in at port 5353, it is the only one that is answered.

The system does not tell a program that interfaces came, went or were replaced. So the addresses
of this host are looked at every second. Whenever they have changed, a new engine takes over,
which is a newcomer with the new addresses. If interfaces change all the time, the addresses are
looked at less and less often. A host without any address has no engine until it gets one.

The loopback engine uses only the loopback interface, the LAN engine all others. Both announce a
role that is open to the LAN, under one name. On shared interfaces they would be two hosts that
claim one name, and would flush each other from every cache.

A record is a hint: it does not prove that a peer is alive, and its end does not prove that the
peer died.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable

from zmqkit.discovery.addresses import Here, here
from zmqkit.discovery.engine import Engine
from zmqkit.discovery.known import Known, OnEvent
from zmqkit.limits import LEVEL_PEERS, DiscoveryLimits
from zmqkit.model import Reach, Record
from zmqkit.wire.announcement import encode

_DEFAULTS = DiscoveryLimits()

_WORDS = {Reach.LOCAL: "loopback", Reach.PLAIN: "lan"}
"""The name of each engine in sources and messages."""


class Mdns:
    """Announces roles and hears those of others, within one reach, on the running event loop.

    It calls seven callbacks on the loop, which must not wait. A source is `mdns:loopback` or
    `mdns:lan`.

    heard: gets each record that is new or has changed, our own among them, and its source.
    known: gets each record that is known, and its source, every few seconds: the caller may
    have had no room for it when it was heard.
    vanished: gets each record that was withdrawn or has expired, and its source.
    renewed: is called when addresses of this host changed.
    stranded: gets whether this host has no address in that reach, whenever that changes.
    deaf: gets whether only answers to questions from ports of our own arrive, whenever that
    changes.
    note: gets what was dropped or failed: an event such as `mdns.malformed`, and its fields.
    """

    def __init__(
        self,
        reach: Reach,
        *,
        heard: Callable[[Record, str], None],
        known: Callable[[Record, str], None],
        vanished: Callable[[Record, str], None],
        renewed: Callable[[], None],
        stranded: Callable[[bool], None],
        deaf: Callable[[bool], None],
        note: OnEvent,
        limits: DiscoveryLimits = _DEFAULTS,
    ) -> None:
        source = f"mdns:{_WORDS[reach]}"
        self._renewed = renewed
        self._stranded = stranded
        self._is_stranded = False
        self._deaf = deaf
        self._is_deaf = False
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
        """Start to listen and to ask. If that is impossible, note it, and keep trying."""
        if self._tasks:
            return
        self._known.reset()
        self._tasks = [
            asyncio.create_task(self._watch_forever()),
            asyncio.create_task(self._ask_forever()),
        ]
        await self._look()

    def ask_directly(self) -> None:
        """Ask who is there from ports of our own, to which the answers come back."""
        if self._engine is not None:
            self._engine.ask_directly()

    def remind(self, name: str) -> None:
        """Pass on the known records of a name once more, or all records if it is empty."""
        for record in self._known.records(name):
            self._known_still(record)

    async def announce(self, record: Record) -> None:
        """Announce a record, or that it changed; the first packet leaves at once.

        Within this machine the record is announced at 127.0.0.1. On the LAN it is announced at
        those of its addresses that are not loopback; if it has none, at all addresses of this
        host. Without a network, the announcement waits for one. Does nothing while closed.
        Raises ValueError for a record that cannot be announced.
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
        """Announce that a record is gone; does nothing if it was not announced."""
        async with self._changing:
            record = self._announced.pop(incarnation, None)
            if record is not None and self._engine is not None:
                await self._engine.withdraw(incarnation)

    async def close(self) -> None:
        """Withdraw every record, close sockets and end tasks, in about a quarter second."""
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
        """Start a new engine if the addresses of this host changed; return whether it did.

        While this host has no address, the old engine is kept for what it heard.
        """
        async with self._changing:
            try:
                ours = here(self._reach)
                self._strand(ours)
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

    def _strand(self, ours: list[Here]) -> None:
        """Tell when this host has lost its last address, and when it has one again."""
        if self._is_stranded != (not ours):
            self._is_stranded = not ours
            self._stranded(self._is_stranded)

    async def _renew(self, ours: list[Here]) -> None:
        """Let a new engine take over. If it cannot start, raise, and keep the old engine."""
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
        """Return the seconds between own queries when this many peers are known.

        A query lists every known peer. So with more peers queries are less frequent, and the
        bytes for each second stay the same.
        """
        return self._limits.query_s * excess(peers)

    async def _ask_forever(self) -> None:
        while True:
            await asyncio.sleep(self.query_s(len(self._known)) * random.uniform(0.6, 1.0))
            if self._engine is not None:
                self._judge(self._engine)
                self._engine.ask()
            self.remind("")

    def _judge(self, engine: Engine) -> None:
        """Tell when announcements turn out not to arrive, and when they do again."""
        if self._is_deaf != engine.is_deaf:
            self._is_deaf = engine.is_deaf
            self._deaf(self._is_deaf)

    def _repeat(self, passed_s: float) -> None:
        """Repeat some announcements: each about once in `repeat_s`, among many more seldom.

        passed_s: the time since the last call.
        """
        chance = passed_s / (self._limits.repeat_s * excess(len(self._known)))
        for incarnation in self._announced:
            if self._engine is not None and random.random() < chance:
                self._engine.repeat(incarnation)


def excess(peers: int) -> float:
    """Return the factor by which to slow down: `peers` divided by LEVEL_PEERS, at least 1."""
    return max(1.0, peers / LEVEL_PEERS)
