"""`zmqkit doctor listen`: answers the probe of another machine, for as long as it runs.

It is open to everybody who reaches its port. It says what is wrong with this machine's network,
whether a name is open here, and what time it is; it runs nothing and keeps nothing.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress

from zmqkit.doctor import multicast
from zmqkit.doctor.facts import WIRE, Facts
from zmqkit.doctor.findings import Finding
from zmqkit.doctor.heard import Discovery
from zmqkit.doctor.look import instances_of, unannounced
from zmqkit.doctor.multicast import NUMBER, Ear
from zmqkit.doctor.talk import (
    HEAR_S,
    LINE_BYTES_MAX,
    VERSION,
    Doors,
    Garbled,
    Line,
    dial,
    findings_to,
    host_of,
    listening,
    ports_of,
    read,
    text_of,
    written,
)
from zmqkit.errors import AddressTaken
from zmqkit.model import Reach
from zmqkit.node.time_of_day import offset_s

CONNECTIONS_MAX = 8
QUESTIONS_MAX = 64
CONVERSATION_S = 30.0
BEACON_S = 1.0
NAME_S = 1.0
"""How long to listen for a name that nobody was heard to have."""
NUMBERS_MAX = 256
CALLERS_MAX = 256
"""Addresses of which it says once that they came; the rest it answers without a word."""


def now_of_day() -> float:
    """Return the time of day, in seconds since 1970."""
    return offset_s() + time.monotonic()


class Listener:
    """Answers at a port, and by multicast, until `close`."""

    def __init__(
        self,
        facts: Facts,
        findings: Sequence[Finding],
        *,
        tell: Callable[[str], None],
        clock: Callable[[], float] = now_of_day,
    ) -> None:
        """facts, findings: of this machine. tell: takes a line for whoever sits here."""
        self._facts = facts
        self._findings = findings
        self._tell = tell
        self._clock = clock
        self._heard: dict[str, asyncio.Event] = {}
        self._told: set[str] = set()
        self._ends = AsyncExitStack()
        self._ears: list[Ear] = []
        self._discovery = Discovery()
        self._count = 0
        self._ours = {
            text.partition("/")[0] for i in facts.machine.interfaces for text in i.addresses
        }

    async def open(self, port: int) -> int:
        """Begin to answer, and return the port. Raises AddressTaken."""
        try:
            opened = listening(port)
        except OSError as error:
            raise AddressTaken(
                f"port {port}: {(error.strerror or str(error)).lower()}; choose one with --port"
            ) from error
        server = await asyncio.start_server(self._serve, sock=opened, limit=LINE_BYTES_MAX)
        self._ends.callback(server.close)
        if not self._facts.machine.port_error:
            self._ends.push_async_callback(self._discovery.close)
            await self._discovery.open()
            await self._listen()
        bound: int = server.sockets[0].getsockname()[1]
        return bound

    async def close(self) -> None:
        """Answer no more."""
        await self._ends.aclose()

    async def _listen(self) -> None:
        for interface in multicast.usable(self._facts.machine.interfaces):
            if interface.kind == "loopback":
                continue
            ear = Ear(interface, self._on_number)
            with suppress(OSError):  # the facts say why
                await ear.open()
                self._ends.callback(ear.close)
                self._ears.append(ear)
        beacon = asyncio.create_task(self._beacon())
        self._ends.callback(beacon.cancel)

    async def _beacon(self) -> None:
        """Say a number again and again, so that a probe that cannot connect hears something."""
        while True:
            self._say(secrets.token_hex(8))
            await asyncio.sleep(BEACON_S)

    def _say(self, number: str) -> None:
        for ear in self._ears:
            ear.say(number)

    def _on_number(self, number: str, host: str) -> None:
        if host.partition("%")[0] in self._ours:
            return
        self._once(f"{host}: its multicast arrives here")
        self._event(number).set()

    def _event(self, number: str) -> asyncio.Event:
        while len(self._heard) >= NUMBERS_MAX:
            del self._heard[next(iter(self._heard))]
        return self._heard.setdefault(number, asyncio.Event())

    def _once(self, line: str) -> None:
        if line not in self._told and len(self._told) < CALLERS_MAX:
            self._told.add(line)
            self._tell(line)

    # Those who connect

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host = host_of(writer)
        self._count += 1
        doors = Doors(self._facts.side.ports)
        try:
            if self._count <= CONNECTIONS_MAX:
                self._once(f"{host}: its TCP connections arrive here")
                async with asyncio.timeout(CONVERSATION_S):
                    await self._converse(reader, writer, host, doors)
        except (Garbled, OSError, TimeoutError):
            pass  # whoever talks like that gets no answer
        finally:
            self._count -= 1
            await doors.close()
            writer.close()

    async def _converse(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        host: str,
        doors: Doors,
    ) -> None:
        for _ in range(QUESTIONS_MAX):
            line = await read(reader)
            writer.write(written(await self._answer(line, host, doors)))
            await writer.drain()

    async def _answer(self, line: Line, host: str, doors: Doors) -> Line:
        ask = text_of(line, "ask")
        if ask == "hello":
            return await self._hello(text_of(line, "name"))
        if ask == "clock":
            return {"at": self._clock()}
        if ask == "open":
            return {"ports": doors.ports or await doors.open()}
        if ask == "dial":
            return {"outcomes": await self._dial(host, ports_of(line, "ports"))}
        number = text_of(line, "number")
        if not NUMBER.fullmatch(number):
            raise Garbled("number")
        if ask == "say":
            self._say(number)
            return {}
        if ask == "heard":
            return {"heard": await self._has_heard(number, host)}
        raise Garbled(ask)

    async def _hello(self, name: str) -> Line:
        if name:  # it may have been asked as soon as this listener began
            await self._discovery.listen(name, NAME_S)
        machine = self._facts.machine
        named = instances_of(name, self._discovery, machine) if name else []
        if name and not named:
            named = await unannounced(name, Reach.LOCAL, machine)
        is_open = [each.is_open for each in named]
        return {
            "doctor": VERSION,
            "wire": WIRE,
            "at": self._clock(),
            "hears": bool(self._ears),
            "name_open": sum(is_open),
            "name_local": len(is_open) - sum(is_open),
            "findings": findings_to(self._findings),
        }

    async def _has_heard(self, number: str, host: str) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(HEAR_S):
                await self._event(number).wait()
            return True
        self._once(f"{host}: its multicast does not arrive here")
        return False

    async def _dial(self, host: str, ports: list[int]) -> list[list[object]]:
        outcomes = await asyncio.gather(*(dial(host, port) for port in ports))
        rows: list[list[object]] = []
        for port, (outcome, detail) in zip(ports, outcomes, strict=True):
            rows.append([port, outcome.value, detail])
            said = f"do not pass: {detail}" if detail else "pass"
            self._once(f"{host}: connections from here to it {said}")
        return rows
