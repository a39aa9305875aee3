"""Between hosts, what shrinks travels compressed, both ways."""

from __future__ import annotations

import pytest

from tests.lan.network import BOUND_S, Host, Lan

pytestmark = pytest.mark.slow

SERVICE = """
import zmqkit

with zmqkit.Service("echo", bind="tcp://*:5555", insecure=True) as service:
    @service.handler
    def echo(value):
        return value

    service.start()
    print("ready", flush=True)
    service.serve()
"""

CLIENT = """
import sys
import zmqkit

lines = [f"line {number} of a text that shrinks" for number in range(25_000)]
with zmqkit.Client(f"tcp://{sys.argv[1]}:5555/echo", insecure=True) as client:
    assert client.call("echo", lines) == lines
    print(sum(map(len, lines)), client.stats()["malformed"])
"""


def carried(host: Host) -> tuple[int, int]:
    """How many bytes the host's cable has carried, to it and from it."""
    counts = []
    for way in ("rx", "tx"):
        reader = host.start("cat", f"/sys/class/net/eth0/statistics/{way}_bytes")
        counts.append(int(reader.communicate(timeout=BOUND_S)[0]))
    return counts[0], counts[1]


@pytest.mark.lan(hosts=2)
def test_requests_and_replies_between_hosts_are_compressed(lan: Lan) -> None:
    there, here = lan.hosts
    service = there.python(SERVICE)
    assert service.stdout is not None and service.stdout.readline() == "ready\n"
    before = carried(here)
    client = here.python(CLIENT, there.address)
    size, malformed = client.communicate(timeout=BOUND_S)[0].split()
    assert client.returncode == 0 and malformed == "{}"
    for bytes_before, bytes_after in zip(before, carried(here), strict=True):
        assert 0 < bytes_after - bytes_before < int(size) / 2
