"""What a probe and a listener say to each other: lines of JSON, each an object, all bounded.

The probe asks and the listener answers, a line each. `ask` names the question:

    hello  {name}     doctor, wire, at (time of day), hears (whether multicast can come in),
                      name_open, name_local, findings
    clock             at
    heard  {number}   heard: whether this number came in by multicast, within HEAR_S
    say    {number}   nothing, once the number was said by multicast on every interface
    open              ports: a few that take connections for as long as this one lasts
    dial   {ports}    outcomes: what came of connecting to each of these ports of the asker

A listener connects to nobody but the address that asks. What does not fit ends the connection.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import Iterable
from contextlib import suppress
from itertools import islice

from zmqkit.doctor.ask import refusal
from zmqkit.doctor.facts import Outcome
from zmqkit.doctor.findings import Finding, Severity

VERSION = 1
LINE_BYTES_MAX = 128 << 10
ANSWER_S = 10.0
"""How long an answer may take; one about a name that nobody has takes a few seconds."""
HEAR_S = 0.8
DIAL_S = 2.0
PORTS_MAX = 3
FINDINGS_MAX = 16
TEXT_CHARS_MAX = 400

Line = dict[str, object]
_TRIED_MAX = 100
_ID = re.compile(r"[a-z0-9-]{1,40}")


class Garbled(Exception):
    """The other side said what does not fit."""


def written(line: Line) -> bytes:
    """Return an object as a line."""
    return json.dumps(line, ensure_ascii=True, allow_nan=False).encode() + b"\n"


async def read(reader: asyncio.StreamReader) -> Line:
    """Return the next line as an object. Raises Garbled, also at the end of the connection."""
    try:
        text = await reader.readuntil(b"\n")
        line = json.loads(text)
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise Garbled(str(error)) from error
    except (ValueError, RecursionError) as error:
        raise Garbled(f"not JSON: {error}") from error
    if type(line) is not dict:
        raise Garbled("not an object")
    return line


def number_of(line: Line, key: str) -> float:
    """Return a finite number of a line. Raises Garbled."""
    value = line.get(key)
    if type(value) not in (int, float) or not abs(value) < 1e12:  # type: ignore[arg-type] # one
        raise Garbled(f"{key} is {value!r}")
    return float(value)  # type: ignore[arg-type] # it is a number


def text_of(line: Line, key: str) -> str:
    """Return a text of a line, cut to a sane length. Raises Garbled."""
    value = line.get(key)
    if type(value) is not str:
        raise Garbled(f"{key} is {value!r}")
    return value[:TEXT_CHARS_MAX]


def ports_of(line: Line, key: str) -> list[int]:
    """Return the ports of a line, a few at most. Raises Garbled."""
    value = line.get(key)
    if type(value) is not list or len(value) > PORTS_MAX:
        raise Garbled(f"{key} is {value!r}")
    if any(type(each) is not int or not 0 < each < 1 << 16 for each in value):
        raise Garbled(f"{key} is {value!r}")
    return value


def findings_to(found: Iterable[Finding]) -> list[Line]:
    """Return findings as they travel: without evidence, which is for whoever sits there."""
    texts = ((f, f.cause[:TEXT_CHARS_MAX], f.remedy[:TEXT_CHARS_MAX]) for f in found)
    return [
        {"id": f.id, "severity": f.severity.value, "cause": cause, "remedy": remedy}
        for f, cause, remedy in islice(texts, FINDINGS_MAX)
    ]


def findings_of(line: Line, where: str) -> tuple[Finding, ...]:
    """Return the findings in a line, as those of the machine `where`. Raises Garbled."""
    rows = line.get("findings")
    if type(rows) is not list or len(rows) > FINDINGS_MAX:
        raise Garbled("findings")
    return tuple(_finding(row, where) for row in rows)


def _finding(row: object, where: str) -> Finding:
    if type(row) is not dict or not _ID.fullmatch(text_of(row, "id")):
        raise Garbled("a finding")
    is_error = row.get("severity") == Severity.ERROR.value
    severity = Severity.ERROR if is_error else Severity.WARNING
    seen = (f"the doctor on {where} says so",)
    return Finding(
        text_of(row, "id"), severity, text_of(row, "cause"), seen, text_of(row, "remedy"), where
    )


# Ports that are tried


class Doors:
    """Ports of this machine that take connections, and close each at once, until `close`."""

    def __init__(self, allowed: tuple[int, int]) -> None:
        """allowed: the lowest and the highest port; (0, 0) for any."""
        self._allowed = allowed
        self._servers: list[asyncio.Server] = []

    async def open(self) -> list[int]:
        """Return the ports that are open now: the ends and the middle of what is allowed.

        Others are opened in place of those that roles have.
        """
        low, high = self._allowed
        wanted = (low, (low + high) // 2, high, *range(low, min(high, low + _TRIED_MAX)))
        for port in dict.fromkeys(wanted):
            if len(self._servers) < PORTS_MAX:
                with suppress(OSError):
                    opened = listening(port)
                    server = await asyncio.start_server(_turn_away, sock=opened)
                    self._servers.append(server)
        return self.ports

    @property
    def ports(self) -> list[int]:
        """The ports that are open."""
        return [each.sockets[0].getsockname()[1] for each in self._servers]

    async def close(self) -> None:
        """Take no more connections."""
        for server in self._servers:
            server.close()
        for server in self._servers:
            await server.wait_closed()
        self._servers = []


def _turn_away(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


def listening(port: int) -> socket.socket:
    """Return a socket that listens at a port for IPv4 and, where there is that, for IPv6.

    Raises OSError, such as when the port is taken.
    """
    if socket.has_dualstack_ipv6():
        family = socket.AF_INET6
        return socket.create_server(("", port), family=family, dualstack_ipv6=True)
    return socket.create_server(("", port))


async def dial(host: str, port: int) -> tuple[Outcome, str]:
    """Return what comes of connecting to a port."""
    try:
        async with asyncio.timeout(DIAL_S):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return Outcome.TIMED_OUT, f"no connection in {DIAL_S:g} s"
    except OSError as error:
        return refusal(error)
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return Outcome.ANSWERED, ""


def host_of(writer: asyncio.StreamWriter) -> str:
    """Return the address at the other end of a connection."""
    name = writer.get_extra_info("peername")
    host = str(name[0]) if name else ""
    index = name[3] if name and len(name) > 3 else 0
    if index and "%" not in host and host.startswith("fe80:"):
        with suppress(OSError):
            return f"{host}%{socket.if_indextoname(index)}"
    return host.removeprefix("::ffff:")
