"""A service on a slow network closes behind a large answer."""

from __future__ import annotations

import pytest

from tests.lan.network import BOUND_S, Lan

pytestmark = pytest.mark.slow

SERVICE = """
import zmqkit

with zmqkit.Service("map", bind="tcp://*:5555", insecure=True) as service:
    @service.handler
    def tile():
        service.stop()
        return bytes(16 << 20)

    service.start()
    print("ready", flush=True)
    service.serve()
    assert service.close(timeout_s=20) == 0
"""

CLIENT = """
import sys
import zmqkit

with zmqkit.Client(f"tcp://{sys.argv[1]}:5555/map", timeout_s=20, insecure=True) as client:
    print(len(client.call("tile")))
"""


@pytest.mark.lan(hosts=2)
def test_a_last_answer_crosses_a_slow_network(lan: Lan) -> None:
    there, here = lan.hosts
    lan.slow(here, delay_s=0.02)
    service = there.python(SERVICE)
    assert service.stdout is not None and service.stdout.readline() == "ready\n"
    client = here.python(CLIENT, there.address)
    assert client.communicate(timeout=BOUND_S)[0] == f"{16 << 20}\n"
    assert service.wait(BOUND_S) == 0
