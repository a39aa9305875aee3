"""`zmqkit doctor probe`: finds out what passes between this machine and a listener's."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress

from zmqkit.doctor import multicast
from zmqkit.doctor.ask import refusal
from zmqkit.doctor.facts import Asked, Facts, Interface, Outcome, Probed
from zmqkit.doctor.firewall import Packet, culprits
from zmqkit.doctor.listen import now_of_day
from zmqkit.doctor.multicast import Ear
from zmqkit.doctor.talk import (
    ANSWER_S,
    HEAR_S,
    LINE_BYTES_MAX,
    VERSION,
    Doors,
    Garbled,
    Line,
    dial,
    findings_of,
    host_of,
    number_of,
    ports_of,
    read,
    written,
)
from zmqkit.model import Address

CONNECT_S = 2.0
BEACON_WAIT_S = 1.5
"""How long to hear for the listener's multicast where no connection can be made to it."""
CLOCK_QUESTIONS = 5
SAYINGS = 3
"""How often multicast is tried in each direction: each packet may be lost once."""


class Probe:
    """One conversation with a listener."""

    def __init__(
        self, facts: Facts, address: Address, clock: Callable[[], float] = now_of_day
    ) -> None:
        """facts: of this machine; their `name` is what is asked for over there."""
        self._facts = facts
        self._address = address
        self._clock = clock
        self._wanted = ""  # the number that is to come in
        self._has_come = asyncio.Event()
        self._beacon = asyncio.Event()
        self._theirs: set[str] = set()  # the addresses of the listener

    async def run(self) -> Probed:
        """Return what was found out. Never raises for what the other side does."""
        async with self._ears() as ears:
            self._theirs = await self._resolved()
            try:
                async with asyncio.timeout(CONNECT_S):
                    reader, writer = await asyncio.open_connection(
                        self._address.host, self._address.port, limit=LINE_BYTES_MAX
                    )
            except TimeoutError:
                why = Outcome.TIMED_OUT, f"no connection in {CONNECT_S:g} s"
                return await self._without(why, ears)
            except OSError as error:
                why = refusal(error)
                return await self._without(why, [] if why[0] is Outcome.REFUSED else ears)
            try:
                return await self._converse(Talk(reader, writer), ears)
            except (Garbled, OSError, TimeoutError) as error:
                why = Outcome.FOREIGN, f"it does not talk as a doctor does: {error}"
                return await self._without(why, [])
            finally:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()

    async def _resolved(self) -> set[str]:
        """Return the addresses of the host; none if its name means nothing here."""
        loop = asyncio.get_running_loop()
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(CONNECT_S):
                rows = await loop.getaddrinfo(self._address.host, None)
            return {str(row[4][0]) for row in rows}
        return set()

    async def _without(self, why: tuple[Outcome, str], ears: list[Ear]) -> Probed:
        """Return what can be said without a conversation; with ears, hear for its beacon."""
        passed = bool(ears) and await _within(self._beacon, BEACON_WAIT_S)
        talk = Asked(self._address, *why)
        return Probed(host=self._address.host, talk=talk, multicast_in=passed or None)

    async def _converse(self, talk: Talk, ears: list[Ear]) -> Probed:
        hello = await talk.ask({"ask": "hello", "name": self._facts.name})
        if hello.get("doctor") != VERSION:
            raise Garbled(f"its version is {hello.get('doctor')!r}")
        offset_s, trip_s = await self._offset(talk)
        ears = ears if hello.get("hears") is True else []
        out = await self._multicast_out(talk, ears) if ears else None
        into = await self._multicast_in(talk, ears) if ears else None
        host = talk.host
        ports_out = tuple(await self._ports_out(talk, host))
        ports_in = tuple(await self._ports_in(talk))
        closed = [port for port, said in ports_in if said != Outcome.ANSWERED.value]
        return Probed(
            host=host,
            talk=Asked(self._address, Outcome.ANSWERED, "", round(1000 * trip_s, 1)),
            offset_s=offset_s,
            trip_s=trip_s,
            wire=int(number_of(hello, "wire")),
            multicast_out=out,
            multicast_in=into,
            ports_out=ports_out,
            ports_in=ports_in,
            culprits=await culprits(Packet(protocol="tcp", port=each) for each in closed),
            name_open=int(number_of(hello, "name_open")),
            name_local=int(number_of(hello, "name_local")),
            findings=findings_of(hello, host),
        )

    async def _offset(self, talk: Talk) -> tuple[float, float]:
        """Return how far the other clock is ahead, by the quickest of a few questions."""
        measured = []
        for _ in range(CLOCK_QUESTIONS):
            before, began_at = self._clock(), time.monotonic()
            there = number_of(await talk.ask({"ask": "clock"}), "at")
            trip_s = time.monotonic() - began_at
            measured.append((trip_s, there - before - trip_s / 2))
        trip_s, offset_s = min(measured)
        return offset_s, trip_s

    async def _multicast_out(self, talk: Talk, ears: list[Ear]) -> bool:
        for _ in range(SAYINGS):
            number = secrets.token_hex(8)
            for ear in ears:
                ear.say(number)
            if (await talk.ask({"ask": "heard", "number": number})).get("heard") is True:
                return True
        return False

    async def _multicast_in(self, talk: Talk, ears: list[Ear]) -> bool:
        for _ in range(SAYINGS):
            self._wanted = secrets.token_hex(8)
            await talk.ask({"ask": "say", "number": self._wanted})
            if await _within(self._has_come, HEAR_S):
                return True
        return False

    async def _ports_out(self, talk: Talk, host: str) -> Iterable[Asked]:
        ports = ports_of(await talk.ask({"ask": "open"}), "ports")
        found = await asyncio.gather(*(dial(host, port) for port in ports))
        return [
            Asked(Address(host, port), outcome, detail)
            for port, (outcome, detail) in zip(ports, found, strict=True)
        ]

    async def _ports_in(self, talk: Talk) -> Iterable[tuple[int, str]]:
        doors = Doors(self._facts.side.ports)
        try:
            ports = await doors.open()
            rows = (await talk.ask({"ask": "dial", "ports": ports})).get("outcomes")
            return [_outcome(row) for row in rows] if type(rows) is list else []
        finally:
            await doors.close()

    # Multicast

    @asynccontextmanager
    async def _ears(self) -> AsyncIterator[list[Ear]]:
        """Enter with an ear at each interface that leads to other machines."""
        ears: list[Ear] = []
        machine = self._facts.machine
        found = [] if machine.port_error else multicast.usable(machine.interfaces)
        try:
            for interface in filter(_leads_away, found):
                ear = Ear(interface, self._on_number)
                with suppress(OSError):  # the facts say why
                    await ear.open()
                    ears.append(ear)
            yield ears
        finally:
            for ear in ears:
                ear.close()

    def _on_number(self, number: str, host: str) -> None:
        if number == self._wanted:
            self._has_come.set()
        if host in self._theirs:
            self._beacon.set()


class Talk:
    """Questions over one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.host = host_of(writer)

    async def ask(self, question: Line) -> Line:
        """Return the answer to a question. Raises Garbled, OSError or TimeoutError."""
        self._writer.write(written(question))
        async with asyncio.timeout(ANSWER_S):
            return await read(self._reader)


async def _within(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event, and return whether it came in time."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()


def _leads_away(interface: Interface) -> bool:
    return interface.kind != "loopback"


def _outcome(row: object) -> tuple[int, str]:
    if type(row) is not list or [type(each) for each in row] != [int, str, str]:
        raise Garbled("outcomes")
    port, outcome, detail = row
    return port, outcome if outcome == Outcome.ANSWERED.value else detail or outcome
