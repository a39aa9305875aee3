"""Discovery's engines in one process: one for its own machine, and perhaps one for the network.

They are made with the first name that is announced or wanted within their reach. What they hear
goes to membership.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from zmqkit.core.effects import Effect
from zmqkit.core.membership.membership import MembershipCore
from zmqkit.drivers.notes import contained, log
from zmqkit.model import Reach, Record

if TYPE_CHECKING:
    from zmqkit.discovery.mdns import Mdns


class Engines:
    """The engines by reach. All methods run on the node's loop."""

    def __init__(
        self,
        core: MembershipCore,
        perform: Callable[[list[Effect]], None],
        readdressed: Callable[[], None],
    ) -> None:
        """perform: takes what the core answers. readdressed: called before the core is told."""
        self._core = core
        self._perform = perform
        self._moved = readdressed
        self._by_reach: dict[Reach, Mdns] = {}
        self._changing = asyncio.Lock()

    async def listen(self, reach: Reach) -> None:
        """Hear those who are announced within that reach, from now on."""
        async with self._changing:
            await self._open(reach)

    async def announce(self, record: Record, reach: Reach) -> None:
        """Announce a role within that reach."""
        async with self._changing:
            await self._open(reach)
            for within, engine in self._within(reach).items():
                port = self._core.offers.control_ports[within]
                await engine.announce(replace(record, control_port=port))

    async def withdraw(self, incarnation: int) -> None:
        """Announce a role no longer."""
        async with self._changing:
            for engine in self._by_reach.values():
                await engine.withdraw(incarnation)

    def remind(self, name: str) -> None:
        """Tell the core once more what is known of a name, or of all names if it is empty."""
        for engine in self._by_reach.values():
            engine.remind(name)

    def ask(self, reach: Reach) -> None:
        """Ask those within that reach who is there, from ports of our own."""
        for engine in self._within(reach).values():
            engine.ask_directly()

    async def close(self) -> None:
        """Withdraw all roles and close all engines."""
        engines = [engine.close() for engine in self._by_reach.values()]
        await asyncio.gather(*engines, return_exceptions=True)

    def _within(self, reach: Reach) -> dict[Reach, Mdns]:
        return {each: engine for each, engine in self._by_reach.items() if each <= reach}

    async def _open(self, reach: Reach) -> None:
        """Open an engine for each reach within that one."""
        # zeroconf takes 100 ms to import, and many programs never need it.
        from zmqkit.discovery.mdns import Mdns

        for each in Reach:
            if each <= reach and each not in self._by_reach:
                engine = Mdns(
                    each,
                    heard=self._heard,
                    known=self._known,
                    vanished=self._vanished,
                    renewed=self._readdressed,
                    stranded=self._stranded,
                    deaf=partial(self._deaf, each),
                    note=_note,
                )
                await engine.open()
                self._by_reach[each] = engine

    def _heard(self, record: Record, source: str) -> None:
        self._perform(self._core.heard(record, source, time.monotonic()))

    def _known(self, record: Record, source: str) -> None:
        self._perform(self._core.reminded(record, source, time.monotonic()))

    def _vanished(self, record: Record, source: str) -> None:
        self._perform(self._core.vanished(record, source))

    def _readdressed(self) -> None:
        self._moved()
        self._perform(self._core.readdressed(time.monotonic()))

    def _stranded(self, stranded: bool) -> None:
        self._core.search.is_stranded = stranded
        self._perform([])  # so that those who wait are told at the end of the turn

    def _deaf(self, reach: Reach, deaf: bool) -> None:
        (self._core.lacks.deaf.add if deaf else self._core.lacks.deaf.discard)(reach)
        self._perform([])


def _note(event: str, fields: Mapping[str, object]) -> None:
    level = logging.WARNING if event == "mdns.failed" else logging.INFO
    contained(log.log, level, "%s %s", event, dict(fields))
