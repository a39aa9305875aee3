"""What discovery hears on this machine and on the network, for as long as it is open.

It announces nothing. It asks by multicast, as every program does that looks for a name.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from zmqkit.discovery.mdns import Mdns
from zmqkit.discovery.sieve import TYPE
from zmqkit.doctor.facts import Unusable
from zmqkit.model import Reach, Record

HEARD_MAX = 1000
"""Roles, and announcements that cannot be used, that are kept."""

SETTLE_S = 0.3
"""How long others of a name may take to answer after the first."""

LOOPBACK, LAN = "mdns:loopback", "mdns:lan"


@dataclass(slots=True)
class Heard:
    """One role, as each source tells of it."""

    by_source: dict[str, Record] = field(default_factory=dict)

    @property
    def record(self) -> Record:
        """What is announced within this machine, or else on the network."""
        return self.by_source.get(LOOPBACK) or self.by_source[LAN]


class Discovery:
    """Hears who is announced, until `close`."""

    def __init__(self, space: str = "") -> None:
        """space: whose roles are looked for."""
        self._space = space
        self.roles: dict[tuple[int, int], Heard] = {}
        self.unreadable: dict[str, Unusable] = {}
        self.elsewhere: dict[str, Unusable] = {}
        self._news = asyncio.Event()
        self._engines = [self._engine(each) for each in Reach]

    def _engine(self, reach: Reach) -> Mdns:
        return Mdns(
            reach,
            heard=self._heard,
            known=self._heard,
            vanished=self._vanished,
            renewed=lambda: None,
            stranded=lambda stranded: None,
            deaf=lambda deaf: None,
            note=self._note,
        )

    async def open(self) -> None:
        """Begin to hear and to ask."""
        for engine in self._engines:
            await engine.open()

    async def listen(self, name: str, wait_s: float) -> float:
        """Wait for `wait_s`, or until a moment after somebody with that name was heard.

        Returns how long that took, in seconds.
        """
        began_at = time.monotonic()
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                while not (name and self._has_heard(name)):
                    self._news.clear()
                    await self._news.wait()
                await asyncio.sleep(SETTLE_S)
        return time.monotonic() - began_at

    def _has_heard(self, name: str) -> bool:
        unusable = [*self.unreadable, *self.elsewhere]
        return bool(self.named(name)) or any(u.rpartition("-")[0] == name for u in unusable)

    async def close(self) -> None:
        """Hear no more."""
        for engine in self._engines:
            await engine.close()

    def named(self, name: str) -> list[Heard]:
        """Return the roles of a name, or all roles of the space if it is empty."""
        ours = (each for each in self.roles.values() if each.record.space == self._space)
        return [each for each in ours if name in ("", each.record.name)]

    def apart(self, name: str) -> list[Record]:
        """Return the roles of a name that are in other spaces."""
        named = (h.record for h in self.roles.values() if h.record.name == name)
        return [each for each in named if each.space != self._space]

    def _heard(self, record: Record, source: str) -> None:
        key = record.process, record.incarnation
        if key in self.roles or len(self.roles) < HEARD_MAX:
            self.roles.setdefault(key, Heard()).by_source[source] = record
            self._news.set()

    def _vanished(self, record: Record, source: str) -> None:
        key = record.process, record.incarnation
        heard = self.roles.get(key)
        if heard is not None:
            heard.by_source.pop(source, None)
            if not heard.by_source:
                del self.roles[key]

    def _note(self, event: str, fields: Mapping[str, object]) -> None:
        label = str(fields.get("instance", "")).removesuffix(f".{TYPE}")
        if event == "mdns.malformed" and len(self.unreadable) < HEARD_MAX:
            self.unreadable[label] = Unusable(label, str(fields["reason"]))
        if event == "mdns.elsewhere" and len(self.elsewhere) < HEARD_MAX:
            self.elsewhere[label] = Unusable(label, listed(fields["addresses"]))
        self._news.set()


def listed(value: object) -> str:
    """Return the items of a list as one text."""
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
