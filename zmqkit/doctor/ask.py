"""Asks at an address whether zmqkit answers there, and finds out how far the question came.

A process that is stopped still has connections taken, by the system. One whose interpreter is
held still has ZeroMQ's greeting sent, by libzmq's own thread. So three steps tell three causes
apart: the connection, the greeting, and the answer to a HELLO.
"""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
import socket
import time
from contextlib import suppress

import zmq
import zmq.asyncio

from zmqkit.doctor.facts import Asked, Outcome
from zmqkit.limits import LINGER_S, PACKET_BYTES_MAX
from zmqkit.model import Address
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Malformed, encode

CONNECT_S = 2.0
GREETING_S = 1.0
ANSWER_S = 3.0
ASKED_AT_ONCE = 16
"""Descriptors that questions may take, three each, are few of what a process may have."""

_SIGNATURE_BYTES = 10
_ENDS_OF_LINES = b"\r\n\r\n"
_UNREACHABLE = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN}

_VERSION_AT = 2
_MARK = b"\x00\x5a"


class Asker:
    """Asks at addresses until it is closed; a context manager."""

    def __init__(self) -> None:
        self._context = zmq.asyncio.Context()
        self._room = asyncio.Semaphore(ASKED_AT_ONCE)

    def __enter__(self) -> Asker:
        return self

    def __exit__(self, *_: object) -> None:
        self._context.destroy(linger=0)

    async def ask(self, address: Address) -> Asked:
        """Return what comes of asking at an address. Never raises for what answers there."""
        async with self._room:
            began_at = time.monotonic()
            space = ""
            outcome, detail = await greeted(address)
            if outcome is Outcome.ANSWERED:
                outcome, detail, space = await self._answer(address)
            ms = round(1000 * (time.monotonic() - began_at), 1)
            return Asked(address, outcome, detail, ms, space)

    async def _answer(self, address: Address) -> tuple[Outcome, str, str]:
        asker = self._context.socket(zmq.DEALER)
        try:
            asker.setsockopt(zmq.IPV6, 1)
            asker.setsockopt(zmq.MAXMSGSIZE, PACKET_BYTES_MAX)
            asker.connect(address.endpoint)
            number = secrets.randbits(63) | 1
            [hello] = wire.pack(wire.HELLO, number, 0, 0, encode({}))
            async with asyncio.timeout(ANSWER_S):
                await asker.send(hello)
                frames = await asker.recv_multipart()
                outcome, detail = read_answer(frames)
                if outcome is Outcome.ANSWERED:  # who only asked is no client
                    there = wire.unpack(tuple(frames)).source
                    [bye] = wire.pack(wire.BYE, number, there, 0, encode(None))
                    await asker.send(bye)
                return outcome, detail, space_in(frames)
        except TimeoutError:
            return Outcome.SILENT, f"no answer to a HELLO in {ANSWER_S:g} s", ""
        except zmq.ZMQError as error:
            return Outcome.FOREIGN, str(error), ""
        finally:
            asker.close(round(1000 * LINGER_S))


async def greeted(address: Address) -> tuple[Outcome, str]:
    """Connect, and return whether ZeroMQ greets there: ANSWERED, or what came instead."""
    outcome, detail, writer = Outcome.TIMED_OUT, "", None
    try:
        async with asyncio.timeout(CONNECT_S):
            reader, writer = await asyncio.open_connection(address.host, address.port)
        outcome, detail = await _greeting(reader, writer)
    except TimeoutError:
        detail = f"no connection in {CONNECT_S:g} s"
    except OSError as error:
        outcome, detail = refusal(error)
    finally:
        if writer is not None:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
    return outcome, detail


async def _greeting(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> tuple[Outcome, str]:
    """Return whether ZeroMQ greets. Whoever waits for a first word gets an empty line."""
    said = await _said(reader, _SIGNATURE_BYTES)
    if said is None:
        writer.write(_ENDS_OF_LINES)
        said = await _said(reader, 1)
    if said is None:
        return Outcome.STOPPED, f"connected, and nothing said in {2 * GREETING_S:g} s"
    if len(said) == _SIGNATURE_BYTES and said[0] == 0xFF and said[-1] & 1:
        return Outcome.ANSWERED, ""
    return Outcome.FOREIGN, f"it begins with {said!r}" if said else "it closed the connection"


async def _said(reader: asyncio.StreamReader, count: int) -> bytes | None:
    """Return so many bytes, or fewer at the end of the connection; None if nothing comes."""
    try:
        async with asyncio.timeout(GREETING_S):
            return await reader.readexactly(count)
    except TimeoutError:
        return None
    except asyncio.IncompleteReadError as error:
        return error.partial


def reason(error: OSError) -> str:
    """Return in words of the system why a connection was not made; asyncio has others."""
    if isinstance(error, socket.gaierror) or not error.errno:
        return (error.strerror or str(error)).lower()
    return os.strerror(error.errno).lower()


def refusal(error: OSError) -> tuple[Outcome, str]:
    """Return what it means that a connection was not made, and why in words of the system."""
    why = reason(error)
    if isinstance(error, socket.gaierror):
        return Outcome.UNKNOWN, why
    if error.errno == errno.ECONNREFUSED:
        return Outcome.REFUSED, why
    if error.errno in _UNREACHABLE:
        return Outcome.UNREACHABLE, why
    if error.errno == errno.ETIMEDOUT:
        return Outcome.TIMED_OUT, why
    if error.errno in (errno.ECONNRESET, errno.EPIPE):
        return Outcome.FOREIGN, why
    return Outcome.UNREACHABLE, why


def read_answer(frames: list[bytes]) -> tuple[Outcome, str]:
    """Return what an answer to a HELLO means."""
    first = frames[0] if frames else b""
    try:
        packet = wire.unpack(tuple(frames))
    except Malformed as error:
        if str(error) == "version" and first.startswith(_MARK):
            return Outcome.VERSION, f"version {first[_VERSION_AT]} of the protocol"
        return Outcome.FOREIGN, f"an answer of {len(first)} bytes that is not zmqkit's"
    if packet.kind != wire.WELCOME:
        return Outcome.FOREIGN, f"an answer of kind {packet.kind}"
    return Outcome.ANSWERED, ""


def space_in(frames: list[bytes]) -> str:
    """Return the space that an answer to a HELLO names; empty for none."""
    try:
        return wire.space_of(wire.fields_of(wire.unpack(tuple(frames))))
    except Malformed:
        return ""
