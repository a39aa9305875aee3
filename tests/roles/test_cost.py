"""What one more client of a process costs; all else it shares with the roles that are there."""

from __future__ import annotations

import os
import threading

import pytest

from tests.roles.kit import Kit, until

pytestmark = pytest.mark.usefixtures("node")

DESCRIPTORS = 4 if hasattr(os, "eventfd") else 5
"""A connection and what libzmq wakes it by, the selector of the link, and a waker."""


def descriptors() -> int:
    return len(os.listdir("/dev/fd"))


def test_ten_clients_of_a_service_share_the_node_and_its_threads(blocking: Kit) -> None:
    endpoint = blocking.serving(len).endpoint
    # The service accepts connections in this same process, which are not the clients' cost.
    accepted = 1
    blocking.client(endpoint).call("len", b"")
    held, threads = descriptors(), {*threading.enumerate()}
    for _ in range(9):
        assert blocking.client(endpoint).call("len", b"a") == 1
    # A command of another test may ask this process who it is, and end.
    until(lambda: descriptors() - held <= 9 * (DESCRIPTORS + accepted))
    until(lambda: {*threading.enumerate()} <= threads)
