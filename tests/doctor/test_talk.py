"""A listener answers a probe, and whatever else comes in ends that connection alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from zmqkit.doctor.facts import WIRE, Facts, Machine, Outcome, Probed, Side
from zmqkit.doctor.findings import Finding, Severity
from zmqkit.doctor.listen import Listener
from zmqkit.doctor.probe import Probe
from zmqkit.doctor.talk import (
    FINDINGS_MAX,
    LINE_BYTES_MAX,
    Garbled,
    findings_of,
    findings_to,
    number_of,
    ports_of,
    read,
    text_of,
)
from zmqkit.errors import AddressTaken
from zmqkit.model import Address

QUIET = Facts(machine=Machine(port_error="these tests send nothing by multicast"))
FULL = Finding("disk-full", Severity.ERROR, "the disk is full", ("0 KiB",), "make room")


@asynccontextmanager
async def listening(
    *found: Finding, ahead_s: float = 0.0
) -> AsyncIterator[tuple[int, list[str]]]:
    """A listener's port, and the lines that it tells."""
    told: list[str] = []
    listener = Listener(QUIET, found, tell=told.append, clock=lambda: ahead_s)
    try:
        yield await listener.open(0), told
    finally:
        await listener.close()


async def probe(port: int, facts: Facts = QUIET) -> Probed:
    """Probe a port of this machine, by a clock that stands still."""
    return await Probe(facts, Address("127.0.0.1", port), clock=lambda: 0.0).run()


def test_a_probe_learns_of_the_other_machine() -> None:
    async def main() -> tuple[Probed, list[str]]:
        async with listening(FULL, ahead_s=60.0) as (port, told):
            return await probe(port), told

    probed, told = asyncio.run(main())
    assert probed.talk.outcome is Outcome.ANSWERED and probed.wire == WIRE
    assert probed.offset_s is not None and 59 < probed.offset_s < 61
    assert [(each.id, each.where) for each in probed.findings] == [("disk-full", "127.0.0.1")]
    assert [each.outcome for each in probed.ports_out] == [Outcome.ANSWERED]
    assert [said for _, said in probed.ports_in] == ["answered"]
    assert (probed.multicast_out, probed.multicast_in) == (None, None)
    assert told == [
        "127.0.0.1: its TCP connections arrive here",
        "127.0.0.1: connections from here to it pass",
    ]


def test_only_the_ports_that_may_be_used_are_tried() -> None:
    async def main() -> Probed:
        with closing(await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)) as server:
            low = server.sockets[0].getsockname()[1]
            facts = Facts(machine=QUIET.machine, side=Side(ports=(low, low)))
            async with listening() as (port, _):
                return await probe(port, facts)

    assert asyncio.run(main()).ports_in == ()


def test_nobody_who_listens_is_no_error() -> None:
    async def main() -> Probed:
        async with listening() as (port, _):
            pass
        return await probe(port)

    assert asyncio.run(main()).talk.outcome is Outcome.REFUSED


def test_a_port_that_is_taken_is_said() -> None:
    async def main() -> None:
        async with listening() as (port, _):
            await Listener(QUIET, [], tell=print).open(port)

    with pytest.raises(AddressTaken, match="choose one with --port"):
        asyncio.run(main())


GARBAGE = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"\n",
    b"[]\n",
    b"{}\n",
    b'{"ask": 1}\n',
    b'{"ask": "hello"}\n',
    b'{"ask": "run"}\n',
    b'{"ask": "say", "number": "../../etc"}\n',
    b'{"ask": "dial", "ports": [1, 2, 3, 4]}\n',
    b'{"ask": "dial", "ports": ["22"]}\n',
    b"[" * 9000 + b"\n",
    b"x" * (2 * LINE_BYTES_MAX),
    b"\xff\0\0\0\0\0\0\0\x01\x7f\n",
]


def test_garbage_ends_its_own_connection_alone() -> None:
    async def main() -> Probed:
        async with listening() as (port, _):
            for each in GARBAGE:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(each)
                with suppress(ConnectionResetError):  # closed with bytes unread
                    assert await reader.read() == b"", each
                writer.close()
            return await probe(port)

    assert asyncio.run(main()).talk.outcome is Outcome.ANSWERED


async def answered_by(said: bytes) -> Probed:
    """Probe a program that says this to everything."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await reader.read(1)
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        return await probe(server.sockets[0].getsockname()[1])


@pytest.mark.parametrize("said", [b"220 ready\r\n", b"{}\n", b'{"doctor": 9}\n', b"\0" * 99])
def test_who_does_not_talk_as_a_doctor_is_no_listener(said: bytes) -> None:
    assert asyncio.run(answered_by(said)).talk.outcome is Outcome.FOREIGN


@given(some.binary(max_size=200))
def test_any_line_is_an_object_or_garbled(data: bytes) -> None:
    async def main() -> None:
        reader = asyncio.StreamReader(limit=LINE_BYTES_MAX)
        reader.feed_data(data)
        reader.feed_eof()
        assert type(await read(reader)) is dict

    with suppress(Garbled):
        asyncio.run(main())


@settings(max_examples=25)
@given(some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=9),
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(some.text(), inner,
                                                                    max_size=4),
))  # fmt: skip
def test_any_field_is_read_or_garbled(value: object) -> None:
    line: dict[str, object] = {"x": value, "findings": value}
    for take in (number_of, text_of, ports_of, findings_of):
        with suppress(Garbled):
            take(line, "x")


def test_findings_travel_without_what_was_seen() -> None:
    sent = json.loads(json.dumps({"findings": findings_to([FULL] * 99)}))
    got = findings_of(sent, "10.0.0.6")
    assert len(got) == FINDINGS_MAX
    assert (got[0].id, got[0].cause, got[0].remedy) == (FULL.id, FULL.cause, FULL.remedy)
    assert got[0].evidence == ("the doctor on 10.0.0.6 says so",)
