"""What a service manager hears: words at its socket, by path or in the abstract name space."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from math import inf
from pathlib import Path

import pytest

from zmqkit.cli.notify import Notifier


class Manager:
    """A service manager's socket."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(10)

    def heard(self) -> list[str]:
        """The words of the next datagram."""
        return self.socket.recv(4096).decode().split("\n")


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(str(tmp_path / "notify"))
    yield made
    made.socket.close()


def test_words_and_a_status_are_one_datagram(manager: Manager, tmp_path: Path) -> None:
    environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "OTHER": "1"}
    notifier = Notifier(environ)
    assert notifier.is_heard and notifier.watchdog_s == inf
    notifier.tell("READY=1", status="two\nlines")
    assert manager.heard() == ["READY=1", "STATUS=two lines"]
    assert environ == {"OTHER": "1"}, "a command that a worker runs must not speak for it"
    notifier.close()
    notifier.tell("READY=1")


@pytest.mark.skipif(sys.platform != "linux", reason="abstract sockets are Linux's")
def test_an_abstract_socket_does_as_well() -> None:
    name = f"zmqkit-test-{os.getpid()}"
    manager = Manager(f"\0{name}")
    notifier = Notifier({"NOTIFY_SOCKET": f"@{name}"})
    notifier.tell("STOPPING=1")
    assert manager.heard() == ["STOPPING=1"]
    notifier.close()
    manager.socket.close()


@pytest.mark.parametrize("place", ["", "tcp://x", "/nowhere/at/all"])
def test_without_a_manager_nobody_is_told(place: str) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": place, "WATCHDOG_USEC": "1000000"})
    assert not notifier.is_heard and notifier.watchdog_s == inf
    notifier.tell("READY=1")
    notifier.close()


@pytest.mark.parametrize(
    ("usec", "process", "seconds"),
    [
        ("30000000", "", 30.0),
        ("500000", "own", 0.5),
        ("500000", "1", inf),
        ("0", "", inf),
        ("often", "", inf),
    ],
)
def test_the_watchdog_is_of_the_process_that_is_named(
    manager: Manager, tmp_path: Path, usec: str, process: str, seconds: float
) -> None:
    environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": usec}
    if process:
        environ["WATCHDOG_PID"] = str(os.getpid()) if process == "own" else process
    notifier = Notifier(environ)
    assert notifier.watchdog_s == seconds
    notifier.close()
