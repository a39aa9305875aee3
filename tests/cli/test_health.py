"""What a process answers over HTTP about itself, and what it refuses."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from zmqkit.cli.health import CONNECTIONS_MAX, REQUEST_BYTES_MAX, Answers, Health
from zmqkit.cli.metrics import Exposition
from zmqkit.device.place import HealthPlace, health_place, metrics_place
from zmqkit.errors import AddressTaken, ConfigError

LIMIT_S = 30.0


class Process:
    """A process with health, and what it says of itself."""

    def __init__(self) -> None:
        self.wrong = {"livez": "", "readyz": ""}
        self.stats: Callable[[], dict[str, object]] = lambda: {"accepted": 3}
        answers = Answers(
            lambda: self.wrong["livez"], lambda: self.wrong["readyz"], self.metrics
        )
        self.health = Health(HealthPlace("127.0.0.1", 0), answers)
        self.port = int(self.health.url.rpartition(":")[2])

    def metrics(self) -> tuple[str, bytes]:
        exposition = Exposition("service", "shop")
        return exposition.content_type, exposition.text(self.stats())

    def ask(self, path: str, method: str = "GET") -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT_S)
        connection.request(method, path)
        answer = connection.getresponse()
        said = answer.status, answer.read().decode()
        connection.close()
        return said

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), LIMIT_S)


@pytest.fixture
def process() -> Iterator[Process]:
    made = Process()
    yield made
    made.health.close()


def test_life_and_readiness_have_an_answer_each(process: Process) -> None:
    assert process.ask("/livez") == (200, "live\n")
    assert process.ask("/readyz?verbose") == (200, "ready\n")
    process.wrong["readyz"] = "it is about to end"
    assert process.ask("/readyz") == (503, "it is about to end\n")
    assert process.ask("/livez", "HEAD") == (200, "")


def test_counters_are_openmetrics(process: Process) -> None:
    pytest.importorskip("prometheus_client")
    status, text = process.ask("/metrics")
    assert status == 200
    labels = 'name="shop",outcome="accepted",role="service"'
    assert f"zmqkit_messages_total{{{labels}}} 3.0" in text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("POST", "/livez", 405), ("DELETE", "/metrics", 405)],
)
def test_other_requests_are_refused(
    process: Process, method: str, path: str, status: int
) -> None:
    assert process.ask(path, method)[0] == status


def test_a_role_that_hangs_is_asked_once_and_leaves_life_to_be_told(process: Process) -> None:
    pytest.importorskip("prometheus_client")
    asked, go_on = threading.Event(), threading.Event()

    def hang() -> dict[str, object]:
        asked.set()
        go_on.wait(LIMIT_S)
        return {}

    process.stats = hang
    asking = threading.Thread(target=process.ask, args=("/metrics",))
    asking.start()
    assert asked.wait(LIMIT_S)
    assert process.ask("/metrics")[0] == 503
    assert process.ask("/livez") == (200, "live\n")
    go_on.set()
    asking.join()


def test_requests_without_end_and_floods_of_connections_get_none(process: Process) -> None:
    with process.connect() as asker:
        asker.sendall(b"GET /livez HTTP/1.1\r\nX: " + b"x" * 2 * REQUEST_BYTES_MAX)
        assert is_cut(asker)
    held = [process.connect() for _ in range(CONNECTIONS_MAX)]
    with process.connect() as asker:
        assert is_cut(asker)
    for each in held:
        each.close()


def is_cut(asker: socket.socket) -> bool:
    """Whether the other side ends the connection without an answer."""
    try:
        return asker.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize(
    ("bind", "insecure", "said"),
    [
        ("127.0.0.1:9100", None, "is no address; use tcp://127.0.0.1:9100$"),
        ("http://127.0.0.1:9100", None, "use tcp://127.0.0.1:9100$"),
        ("tcp://[::1]:9100/x", None, r"use tcp://\[::1\]:9100$"),
        ("9100", None, "use tcp://127.0.0.1:9100$"),
        ("memory://x", None, "use tcp://HOST:PORT$"),
        ("tcp://127.0.0.1:99999", None, "port 99999 is not a number from 0 to 65535"),
        ("tcp://*:9100", None, "reaches beyond this machine"),
        ("tcp://10.0.0.5:9100", False, "reaches beyond this machine"),
    ],
)
def test_a_place_that_cannot_be_is_refused(bind: str, insecure: bool | None, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        health_place(bind, insecure=insecure)
    assert health_place("tcp://*:9100", insecure=True) == HealthPlace("", 9100)


def test_a_place_of_metrics_has_no_scheme() -> None:
    assert metrics_place("[::1]:0", insecure=None) == HealthPlace("::1", 0)
    for bind in ("9565", "tcp://127.0.0.1:9565", "http://127.0.0.1:9565/metrics"):
        with pytest.raises(ConfigError, match=r"^metrics at .* use 127.0.0.1:9565$"):
            metrics_place(bind, insecure=None)


def test_an_address_that_is_taken_is_named(process: Process) -> None:
    place = HealthPlace("127.0.0.1", process.port)
    with pytest.raises(AddressTaken, match=f"health at tcp://127.0.0.1:{process.port}: "):
        Health(place, Answers(str, str, lambda: ("", b"")))
