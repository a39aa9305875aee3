"""The Majordomo programs of the ZeroMQ guide, which speak RFC 7, and ours."""

from __future__ import annotations

import pytest

import zmqkit
from tests.interop.conftest import (
    ASYNC_CLIENT,
    CLIENT,
    OUR_SERVICE,
    WORKER,
    Program,
    ended,
    line,
)

pytestmark = [pytest.mark.live, pytest.mark.slow]

COUNT = "300"
CLIENTS = {"client": CLIENT, "async client": ASYNC_CLIENT}
BOUND_S = 20.0


def working(program: Program, which: str, broker: str, name: str) -> None:
    """Start whoever works for a broker."""
    if which == "their worker":
        process = program(WORKER, broker, name)
    elif which == "our service":
        process = program(OUR_SERVICE, broker, name, "mdp1")
    else:
        process = program(OUR_SERVICE, broker, name)
    assert line(process) == "ready"


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("worker", ["their worker", "our service"])
def test_clients_of_the_guide_get_their_replies(
    program: Program, broker: str, name: str, client: str, worker: str
) -> None:
    working(program, worker, broker, name)
    ended(program(CLIENTS[client], broker, name, COUNT))


@pytest.mark.parametrize("client", CLIENTS)
def test_clients_of_the_guide_ask_a_service_that_speaks_our_protocol(
    program: Program, our_broker: str, name: str, client: str
) -> None:
    working(program, "zmqkit's own", our_broker, name)
    ended(program(CLIENTS[client], our_broker, name, COUNT))


@pytest.mark.parametrize("worker", ["their worker", "our service"])
def test_our_client_gets_its_replies(
    program: Program, broker: str, name: str, worker: str
) -> None:
    working(program, worker, broker, name)
    with zmqkit.Client(f"{broker}/{name}", protocol="mdp1", timeout_s=BOUND_S) as client:
        for number in range(int(COUNT)):
            assert client.call("mdp", b"%d" % number, "x") == [b"x", b"%d" % number]
        assert client.stats()["malformed"] == {}


@pytest.mark.parametrize("worker", ["their worker", "our service"])
def test_a_client_that_speaks_our_protocol_calls_them(
    program: Program, our_broker: str, name: str, worker: str
) -> None:
    working(program, worker, our_broker, name)
    with zmqkit.Client(f"{our_broker}/{name}", timeout_s=BOUND_S) as client:
        for number in range(int(COUNT)):
            assert client.call("mdp", b"%d" % number, "x") == [b"x", b"%d" % number]


def test_a_request_of_the_guide_survives_the_worker_that_had_it(
    program: Program, our_broker: str, name: str
) -> None:
    stuck = program(WORKER, our_broker, name, "stuck")
    assert line(stuck) == "ready"
    client = program(CLIENT, our_broker, name, "1")
    assert line(stuck) == "asked"
    stuck.kill()
    working(program, "their worker", our_broker, name)
    ended(client)


def test_a_late_reply_of_the_guide_s_broker_is_nobody_s(
    program: Program, their_broker: str, name: str
) -> None:
    address = f"{their_broker}/{name}"
    with zmqkit.Client(address, protocol="mdp1", timeout_s=BOUND_S) as client:
        with pytest.raises(zmqkit.CallTimeout):
            client.options(timeout_s=0.2).call("mdp", b"early")
        working(program, "their worker", their_broker, name)
        assert client.call("mdp", b"late") == b"late"
