"""The router as a process has it: it finds services, is found, and is dialled."""

from __future__ import annotations

import secrets
import sys
import threading
from collections.abc import Iterator
from subprocess import PIPE, Popen

import pytest

import zmqkit
from zmqkit.device.router import Router
from zmqkit.errors import ConfigError, UsageError

pytestmark = pytest.mark.slow


@pytest.fixture
def name() -> str:
    return f"t{secrets.token_hex(6)}"


@pytest.fixture
def service(name: str) -> Iterator[zmqkit.Service]:
    with zmqkit.Service(name) as service:

        @service.handler(idempotent=True)
        def who() -> str:
            return zmqkit.current_request().id

        thread = threading.Thread(target=service.serve)
        thread.start()
        yield service
        service.stop()
        thread.join()


def router(*arguments: str) -> Popen[str]:
    """Start a router in a process of its own, which ends with its standard input."""
    program = [sys.executable, "-m", "zmqkit", "run", "router", "--until-eof", *arguments]
    return Popen(program, stdin=PIPE, stdout=PIPE, text=True)


def address_in(running: Popen[str]) -> str:
    """Where it listens, as its first line says."""
    assert running.stdout is not None
    return running.stdout.readline().split(" at ")[1].split(",")[0]


@pytest.mark.parametrize("is_said", [False, True], ids=["found", "said"])
def test_services_are_called_at_the_address_of_the_router(
    name: str, service: zmqkit.Service, is_said: bool
) -> None:
    said = ["--set", f'backend.names=["{name}"]', "--name", f"{name}-m"]
    where = ["--set", f'backend.connect=["{service.endpoint}"]'] if is_said else []
    with router(*said, *where) as running:
        address = address_in(running)
        with zmqkit.Client(f"{address}/{name}") as client:
            assert client.call("who").endswith(f"{1:016x}")
            [found] = client.instances()
        running.communicate()
    assert found["address"] == address and running.returncode == 0


def test_services_that_cannot_be_dialled_dial_it(name: str) -> None:
    device = f"{name}-m"
    with Router(device, names=[name]), zmqkit.Service(name, via=device) as service:
        service.handler(lambda: 1, name="one")
        thread = threading.Thread(target=service.serve)
        thread.start()
        with zmqkit.Client(name) as client:
            assert client.call("one") == 1
            [found] = client.instances()
        service.stop()
        thread.join()
    assert found["address"] != service.endpoint == ""


def test_serve_says_what_a_router_passes_on_if_it_is_not_this_name(name: str) -> None:
    with router("--name", name) as running:
        address = address_in(running)
        program = [sys.executable, "-m", "zmqkit", "serve", "math", "--name", f"{name}-x"]
        with Popen(
            [*program, "--via", address], stdout=PIPE, stderr=PIPE, text=True
        ) as dialling:
            assert dialling.stderr is not None
            said = dialling.stderr.readline()
            dialling.terminate()
            dialling.communicate()
        running.communicate()
    assert said.startswith("device-refused ")
    assert said.rstrip().endswith(
        f": router {name!r} passes on {name!r}, and not '{name}-x'; add that to its "
        "backend.names, or take a name that it passes on"
    )


def test_wrong_values_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="must not contain"):
        Router(name, names=["a/b"])
    with pytest.raises(ConfigError, match="has to end with a name that is passed on: a, b"):
        Router(name, names=["a", "b"], connect=["tcp://10.0.0.7:5555"])
    with pytest.raises(ConfigError, match="a device has a process of its own"):
        Router(name, bind="memory://x")
