"""What the tests of links need around them."""

from __future__ import annotations

import pytest
import zmq


@pytest.fixture(autouse=True, scope="session")
def buffers_are_freed() -> None:
    """Send once without a copy: pyzmq then starts the one thread that frees what left so."""
    with zmq.Context() as context, context.socket(zmq.PAIR) as there:
        there.bind("inproc://there")
        with context.socket(zmq.PAIR) as here:
            here.connect("inproc://there")
            here.send(bytes(1 << 20), copy=False)
            there.recv()
