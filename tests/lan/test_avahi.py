"""Open to the LAN, a service is found from other hosts, by us and by avahi; else not."""

from __future__ import annotations

import json
import subprocess
import time
from typing import Any

import pytest

from tests.lan.avahi import Avahi
from tests.lan.network import BOUND_S, Host, Lan

pytestmark = pytest.mark.slow


SERVICE = """
import sys
import zmqkit

name, openness = sys.argv[1:]
with zmqkit.Service(name, insecure=openness == "open") as service:
    @service.handler
    def whose(suffix):
        return name + suffix

    service.start()
    print(f"{service.incarnation:016x}", flush=True)
    service.serve()
"""

CLIENT = """
import json
import sys
import zmqkit

name, openness, wait_s = sys.argv[1:]
with zmqkit.Client(name, insecure=openness == "open", wait_s=float(wait_s)) as client:
    try:
        value = client.call("whose", "!")
    except zmqkit.NoService as error:
        value = None
    addresses = [row["address"] for row in client.instances()]
print(json.dumps([value, addresses]))
"""


def serve(host: Host, name: str, openness: str) -> str:
    """Start a service on the host; gives its label."""
    process = host.python(SERVICE, name, openness)
    assert process.stdout is not None
    return f"{name}-{process.stdout.readline()[:8]}"


def call(host: Host, name: str, openness: str, wait_s: float) -> list[Any]:
    """What a client on the host gets: the value or None, and the addresses it used."""
    process = host.python(CLIENT, name, openness, str(wait_s))
    text, _ = process.communicate(timeout=BOUND_S)
    assert process.returncode == 0
    answer: list[Any] = json.loads(text)
    return answer


def listed(avahi: Avahi, label: str) -> list[list[str]]:
    """The rows that resolve an instance, as soon as there are some."""
    end = time.monotonic() + BOUND_S
    while True:
        rows = avahi.browse("-rt", "_zmqkit._tcp") or []
        found = [row for row in rows if row[0] == "=" and row[3] == label]
        if found:
            return found
        assert time.monotonic() < end, f"{label} is not among {rows}"


@pytest.mark.lan(hosts=2)
@pytest.mark.parametrize("number", [0, 1], ids=["another host", "the same host"])
def test_avahi_browse_lists_a_service_that_is_open_to_the_lan(
    lan: Lan, avahi: Avahi, name: str, number: int
) -> None:
    host = lan.hosts[number]
    label = serve(host, name, "open")
    over_ipv4 = [row for row in listed(avahi, label) if row[2] == "IPv4"]
    assert {row[4] for row in over_ipv4} == {"_zmqkit._tcp"}
    assert {row[7] for row in over_ipv4} == {host.address}
    for row in over_ipv4:
        assert 0 < int(row[8]) < 65536
        assert '"txtvers=1"' in row[9]
        assert '"role=service"' in row[9]
        assert f'"n={name}"' in row[9]


@pytest.mark.lan(hosts=2)
def test_avahi_browse_lists_no_service_that_is_closed(
    lan: Lan, avahi: Avahi, name: str
) -> None:
    hidden = serve(lan.hosts[0], f"{name}-hidden", "closed")
    shown = serve(lan.hosts[0], f"{name}-shown", "open")
    listed(avahi, shown)
    labels = {row[3] for row in avahi.browse("-rt", "_zmqkit._tcp") or []}
    assert shown in labels
    assert hidden not in labels


@pytest.mark.lan(hosts=2)
def test_service_that_was_withdrawn_is_not_listed_any_more(
    lan: Lan, avahi: Avahi, name: str
) -> None:
    process = lan.hosts[0].python(
        SERVICE.replace("service.serve()", "sys.stdin.read()"), name, "open"
    )
    assert process.stdout is not None
    label = f"{name}-{process.stdout.readline()[:8]}"
    listed(avahi, label)
    process.communicate(timeout=BOUND_S)
    end = time.monotonic() + BOUND_S
    while label in {row[3] for row in avahi.browse("-t", "_zmqkit._tcp") or []}:
        assert time.monotonic() < end, "its end went unheard"


@pytest.mark.lan(hosts=2)
def test_name_leads_across_the_lan_when_both_ends_are_open(lan: Lan, name: str) -> None:
    there, here = lan.hosts
    serve(there, name, "open")
    value, [address] = call(here, name, "open", BOUND_S)
    assert value == f"{name}!"
    assert address.startswith(f"tcp://{there.address}:")


@pytest.mark.lan(hosts=2)
@pytest.mark.parametrize(("service", "client"), [("closed", "open"), ("open", "closed")])
def test_nobody_is_found_across_the_lan_when_one_end_is_closed(
    lan: Lan, name: str, service: str, client: str
) -> None:
    there, here = lan.hosts
    serve(there, name, service)
    # By then the news has crossed the LAN: another name of the same host is found.
    serve(there, f"{name}-open", "open")
    assert call(here, f"{name}-open", "open", BOUND_S)[0] == f"{name}-open!"
    assert call(here, name, client, 3.0) == [None, []]
    assert call(there, name, client, BOUND_S)[0] == f"{name}!"


@pytest.mark.lan(hosts=2)
def test_closed_service_listens_on_its_own_host_alone(lan: Lan, name: str) -> None:
    there = lan.hosts[0]
    serve(there, name, "closed")
    ports = subprocess.run(
        ["ip", "netns", "exec", there.namespace, "ss", "-Htln"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert ports
    for line in ports.splitlines():
        assert line.split()[3].rpartition(":")[0].strip("[]") in (
            "127.0.0.1", "::ffff:127.0.0.1",
        )  # fmt: skip


@pytest.mark.lan(hosts=2)
def test_same_host_prefers_its_loopback(lan: Lan, name: str) -> None:
    host = lan.hosts[0]
    serve(host, name, "open")
    end = time.monotonic() + BOUND_S
    while True:
        value, [address] = call(host, name, "open", BOUND_S)
        assert value == f"{name}!"
        if address.startswith("tcp://127.0.0.1:"):
            break
        # On a busy machine a client may hear the service on the LAN first, and wait no longer.
        assert address.startswith(f"tcp://{host.address}:") and time.monotonic() < end
