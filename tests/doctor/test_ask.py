"""Each way not to answer at an address is told apart from the others."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing

import pytest
import zmq
import zmq.asyncio

import zmqkit
from tests.roles.kit import until
from zmqkit.doctor.ask import Asker, read_answer
from zmqkit.doctor.facts import Asked, Outcome
from zmqkit.model import Address, parse_url
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import encode

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def ask(port: int) -> Asked:
    """Ask at a port of this machine."""

    async def asked() -> Asked:
        with Asker() as asker:
            return await asker.ask(Address("127.0.0.1", port))

    return asyncio.run(asked())


@pytest.fixture
def taken() -> Iterator[socket.socket]:
    """A port that takes connections, by the system alone."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server


@pytest.mark.slow
def test_a_role_answers_and_counts_no_client_afterwards() -> None:
    service = zmqkit.Service(f"t{id(ask)}", bind="tcp://127.0.0.1:0")
    service.handler(abs)
    with service:
        assert ask(parse_url(service.endpoint).port).outcome is Outcome.ANSWERED
        until(lambda: service.stats()["clients"] == 0)


def test_a_port_where_nothing_listens_refuses(taken: socket.socket) -> None:
    port = taken.getsockname()[1]
    taken.close()
    asked = ask(port)
    assert (asked.outcome, asked.detail) == (Outcome.REFUSED, "connection refused")


def test_a_name_that_means_nothing_is_told() -> None:
    async def asked() -> Asked:
        with Asker() as asker:
            return await asker.ask(Address("no such host", 5555))

    assert asyncio.run(asked()).outcome is Outcome.UNKNOWN


@pytest.mark.slow
def test_a_process_that_is_stopped_says_nothing(taken: socket.socket) -> None:
    assert ask(taken.getsockname()[1]).outcome is Outcome.STOPPED


@pytest.mark.slow
def test_one_whose_interpreter_is_held_greets_and_does_not_answer() -> None:
    context = zmq.Context()
    try:
        held = context.socket(zmq.ROUTER)
        port = held.bind_to_random_port("tcp://127.0.0.1")
        assert ask(port).outcome is Outcome.SILENT
    finally:
        context.destroy(linger=0)


@pytest.mark.parametrize("said", [b"SSH-2.0-OpenSSH_9.2\r\n", b""])
def test_another_program_is_foreign(said: bytes) -> None:
    async def asked() -> Asked:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(said)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        async with server:
            with Asker() as asker:
                return await asker.ask(Address(*server.sockets[0].getsockname()[:2]))

    assert asyncio.run(asked()).outcome is Outcome.FOREIGN


WELCOME = wire.pack(wire.WELCOME, 1, 0, 0, encode({}))[0]


@pytest.mark.parametrize(
    ("frames", "outcome"),
    [
        ([WELCOME], Outcome.ANSWERED),
        ([WELCOME[:2] + b"\x07" + WELCOME[3:]], Outcome.VERSION),
        ([b"\x07" + WELCOME[1:]], Outcome.FOREIGN),
        ([WELCOME[:9]], Outcome.FOREIGN),
        ([], Outcome.FOREIGN),
        ([wire.pack(wire.BYE, 1, 0, 0, encode(None))[0]], Outcome.FOREIGN),
    ],
)
def test_an_answer_is_read(frames: list[bytes], outcome: Outcome) -> None:
    assert read_answer(frames)[0] is outcome


def test_another_version_is_named() -> None:
    assert read_answer([WELCOME[:2] + b"\x07" + WELCOME[3:]])[1] == "version 7 of the protocol"
