"""What peers that are stopped, and ask for much, cost the memory of a service."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.crash.stage import Actor, Start, balance, until

pytestmark = pytest.mark.slow

PAUSE_S = 5.0
SIZE = 4 << 20
COUNT = 400
PEAK_BYTES = 400 << 20
"""It was 1.6 GB with what ZeroMQ had for a client that did not read."""


def peak_bytes(actor: Actor) -> int:
    """The most memory that the process ever had."""
    status = Path(f"/proc/{actor.pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) << 10


@pytest.mark.parametrize(
    ("kind", "method"), [("blocking", "fill"), ("asyncio", "fill"), ("asyncio", "fill_waiting")]
)
def test_client_that_is_stopped_with_much_due_costs_its_service_little(
    start: Start, kind: str, method: str
) -> None:
    service = start("service", kind)
    client = start("puller", "asyncio", method=method, size=SIZE, count=COUNT)
    until(lambda: service.ask("stats")["accepted"] > 0)
    client.send(signal.SIGSTOP)
    time.sleep(PAUSE_S)
    assert peak_bytes(service) < PEAK_BYTES
    client.send(signal.SIGCONT)
    ends = client.event("ended")
    assert peak_bytes(service) < PEAK_BYTES
    assert sum(ends.values()) == COUNT
    # What runs at the same time may be more than may wait; what runs in turn waits for room.
    assert set(ends) <= {"delivered", "PeerLost"}
    assert method == "fill_waiting" or ends == {"delivered": COUNT}
    until(lambda: service.ask("stats")["in_flight"] == 0)
    assert balance(service.ask("stats")) == 0
    until(lambda: service.ask("stats")["unread_bytes"] == 0)
