"""The doctor names each fault that is induced by its own cause, and names no other."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lan.conftest import simulated
from tests.lan.network import ip, until
from tests.lan.ward import (
    DOCTOR,
    FAST,
    FULL,
    GREEDY,
    HELD,
    OLD,
    OTHER_PORT,
    PORT,
    RANGE,
    Ward,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    """Two hosts for all tests of this module; each leaves them as it found them."""
    with simulated(2) as lan:
        ward = Ward(lan, tmp_path_factory.mktemp("ward"))
        with ward.runs(ward.there, *DOCTOR, "listen", ZMQKIT_PORTS=RANGE):
            yield ward


@pytest.fixture
def ward(hosts: Ward) -> Ward:
    """The two hosts once their interfaces are up, which takes the system a moment."""
    for host in hosts.lan.hosts:
        until(lambda host=host: "state UP" in host.ip("link", "show", "eth0"), "it comes up")
    return hosts


pytest_lan = pytest.mark.lan(hosts=2)


# Nothing wrong


@pytest_lan
def test_nothing_is_wrong_where_nothing_is(ward: Ward, name: str) -> None:
    with ward.role(ward.there, name), ward.role(ward.here, name, "Publisher"):
        assert ward.ids() == []
        assert ward.ids(name, "--insecure", "--role", "service", "--wait", "20") == []
        assert ward.probe(name) == []


@pytest_lan
def test_whom_nobody_announces_is_found_as_a_client_finds_them(ward: Ward) -> None:
    broker = ("-P", "-m", "zmqkit", "run", "majordomo", "--name", "m", "--insecure")
    via = (sys.executable, "-P", "-m", "zmqkit", "serve", "math", "--via", "m", "--insecure")
    with ward.runs(ward.there, sys.executable, *broker), ward.runs(ward.there, *via):
        until(
            lambda: ward.ids("math", "--insecure", "--role", "service", "--wait", "0.5") == [],
            "it is registered at the broker",
        )


@pytest_lan
def test_whom_a_static_peer_tells_of_needs_no_multicast(ward: Ward) -> None:
    peers = {"ZMQKIT_PEERS": f"{ward.there.address}:5611"}
    ward.lan.block_multicast()
    try:
        with (
            ward.role(ward.there, "seed", ZMQKIT_PORTS="5610-5613"),
            ward.role(ward.there, "tea", **peers),
        ):
            until(
                lambda: ward.ids("tea", "--insecure", "--wait", "0", **peers) == [],
                "the peer has heard of it",
            )
    finally:
        ward.lan.block_multicast(flood="on")


@pytest_lan
def test_a_report_is_one_file_that_is_never_overwritten(ward: Ward, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    words = ("--wait", "0", "--report", str(report))
    process = ward.here.start(*DOCTOR, *words, ZMQKIT_INSECURE="yes")
    text, _ = process.communicate()
    assert process.returncode == 1
    assert "error: environment-wrong: a variable of the environment is wrong" in text
    [finding] = json.loads(report.read_text())["findings"]
    assert finding["id"] == "environment-wrong"
    process = ward.here.start(*DOCTOR, *words)
    process.communicate()
    assert process.returncode == 73


@pytest_lan
def test_both_sides_say_who_came_and_what_passes(ward: Ward) -> None:
    with ward.listener() as listener:
        words = ("probe", ward.there.address, "--port", OTHER_PORT, "--wait", "0")
        process = ward.here.start(*DOCTOR, *words)
        text, _ = process.communicate()
        listener.send_signal(signal.SIGINT)
        lines = listener.communicate()[0].splitlines()
    assert "multicast passes and 1 of 1 ports let in; from there to here multicast" in text
    assert listener.returncode == 0
    said = ["its TCP connections arrive here", "connections from here to it pass"]
    assert {f"{ward.here.address}: {each}" for each in said} <= {*lines}
    assert any("its multicast arrives here" in each for each in lines)


# This machine


def loopback_down(ward: Ward) -> list[str]:
    with ward.link("lo", "down", back=("lo", "up")):
        return ward.ids("--wait", "0")


def no_network(ward: Ward) -> list[str]:
    ward.lan.unplug(ward.here)
    try:
        return ward.ids("--wait", "0")
    finally:
        ward.lan.plug(ward.here)


def only_container_bridges(ward: Ward) -> list[str]:
    ward.lan.unplug(ward.here)
    ward.here.ip("link", "add", "docker0", "type", "bridge")
    ward.here.ip("addr", "add", "172.17.0.1/16", "dev", "docker0")
    ward.here.ip("link", "set", "docker0", "up")
    try:
        return ward.ids("--wait", "0")
    finally:
        ward.here.ip("link", "del", "docker0")
        ward.lan.plug(ward.here)


def interface_down(ward: Ward) -> list[str]:
    with ward.link("eth0", "down", back=("eth0", "up")):
        return ward.ids("--wait", "0")


def no_carrier(ward: Ward) -> list[str]:
    ward.lan.cut(ward.here)
    until(lambda: "NO-CARRIER" in ward.here.ip("link", "show", "eth0"), "it is noticed")
    try:
        return ward.ids("--wait", "0")
    finally:
        ward.lan.heal()


def no_multicast(ward: Ward) -> list[str]:
    with ward.link("eth0", "multicast", "off", back=("eth0", "multicast", "on")):
        return ward.ids("--wait", "0")


def mdns_port_taken(ward: Ward) -> list[str]:
    with ward.runs(ward.here, sys.executable, "-c", GREEDY):
        return ward.ids("--wait", "0")


def multicast_refused(ward: Ward) -> list[str]:
    def allow(count: int) -> None:
        text = f"echo {count} >/proc/sys/net/ipv4/igmp_max_memberships"
        ip("netns", "exec", ward.here.namespace, "sh", "-c", text)

    allow(0)
    try:
        return ward.ids("--wait", "0")
    finally:
        allow(20)


def mdns_blocked(ward: Ward) -> list[str]:
    with ward.here.drops('iifname "eth0" udp dport 5353'):
        return ward.ids("--wait", "0")


def vpn_default_route(ward: Ward) -> list[str]:
    if not os.path.exists("/dev/net/tun"):
        pytest.skip("a VPN needs /dev/net/tun")
    ward.here.ip("tuntap", "add", "dev", "tun0", "mode", "tun")
    ward.here.ip("addr", "add", "10.66.0.2/24", "dev", "tun0")
    ward.here.ip("link", "set", "tun0", "up")
    ward.here.ip("route", "add", "default", "dev", "tun0")
    try:
        return ward.ids("--wait", "0")
    finally:
        ward.here.ip("link", "del", "tun0")


def few_descriptors(ward: Ward) -> list[str]:
    argv = ("sh", "-c", 'ulimit -n 48; exec "$@"', "sh", *DOCTOR, "--json", "--wait", "0")
    return ward.told(ward.here.start(*argv))


def disk_full(ward: Ward) -> list[str]:
    argv = ("sh", "-c", FULL, "sh", str(ward.folder), sys.executable)
    return ward.told(ward.here.start(*argv))


def ports_taken(ward: Ward) -> list[str]:
    with ward.role(ward.here, "busy", ZMQKIT_PORTS="5600-5604"):
        return ward.ids("--wait", "0", ZMQKIT_PORTS="5600-5604")


def environment_wrong(ward: Ward) -> list[str]:
    return ward.ids("--wait", "0", ZMQKIT_INSECURE="yes")


def stuck_instance(ward: Ward) -> list[str]:
    with ward.role(ward.here, "stuck") as process:
        assert ward.ids("stuck", "--wait", "20") == []  # so it is announced by now
        process.send_signal(signal.SIGSTOP)
        return ward.ids("stuck", "--wait", "0")


def stuck_loop(ward: Ward) -> list[str]:
    with ward.runs(ward.there, sys.executable, "-c", HELD, "held"):
        return ward.ids("held", "--insecure", "--wait", "20")


# What lets through what a firewall drops


@pytest_lan
@pytest.mark.parametrize(
    ("what", "verdict", "begin"),
    [
        ("udp dport 5353", "drop", "nft delete rule inet ward in handle "),
        ("udp dport 5000-6000", "counter reject", "nft insert rule inet ward in position "),
        (
            "iifname { lo, eth0 } udp dport 5353",
            "drop",
            "nft insert rule inet ward in position ",
        ),
    ],
)
def test_the_remedy_against_a_firewall_lets_discovery_through(
    ward: Ward, what: str, verdict: str, begin: str
) -> None:
    with ward.here.drops(what, verdict):
        [finding] = ward.findings("--wait", "0")
        assert (finding["id"], finding["severity"]) == ("mdns-blocked", "error")
        assert str(finding["remedy"]).startswith(begin)
        follow(ward, finding)
        assert ward.ids("--wait", "0") == []


@pytest_lan
def test_the_remedy_against_a_firewall_lets_connections_through(ward: Ward) -> None:
    words = ("probe", ward.there.address, "--wait", "0")
    with ward.here.drops("tcp dport 1024-65535 ct state new"):
        [finding] = ward.findings(*words, ZMQKIT_PORTS=RANGE)
        assert (finding["id"], finding["severity"]) == ("port-blocked", "warning")
        follow(ward, finding)
        assert ward.ids(*words, ZMQKIT_PORTS=RANGE) == []


def follow(ward: Ward, finding: dict[str, object]) -> None:
    """Do what a remedy says, as root of this host."""
    said = str(finding["remedy"]).removeprefix("on this machine: ")
    for command in said.split("; "):
        if command.startswith("nft "):
            ip("netns", "exec", ward.here.namespace, *command.split())


# Static peers


def ipv6_without_scope(ward: Ward) -> list[str]:
    return ward.ids("--wait", "0", ZMQKIT_PEERS="[fe80::1]:5555", ZMQKIT_INSECURE="1")


def nothing_listens(ward: Ward) -> list[str]:
    peer = f"{ward.there.address}:9"
    return ward.ids("--wait", "0", ZMQKIT_PEERS=peer, ZMQKIT_INSECURE="1")


def host_unreachable(ward: Ward) -> list[str]:
    return ward.ids("--wait", "0", ZMQKIT_PEERS="192.0.2.1:5555", ZMQKIT_INSECURE="1")


def not_zmqkit(ward: Ward) -> list[str]:
    peer = f"{ward.there.address}:{PORT}"  # of the doctor
    return ward.ids("--wait", "0", ZMQKIT_PEERS=peer, ZMQKIT_INSECURE="1")


# A name


def this_side_local_only(ward: Ward) -> list[str]:
    with ward.role(ward.there, "open"):
        return ward.ids("open", "--wait", "20")


def name_of_another_role(ward: Ward) -> list[str]:
    with ward.role(ward.there, "news", "Publisher"):
        return ward.ids("news", "--insecure", "--role", "service", "--wait", "20")


def name_in_another_space(ward: Ward) -> list[str]:
    with ward.role(ward.there, "orders", ZMQKIT_SPACE="dev"):
        return ward.ids("orders", "--insecure", "--wait", "5")


def versions_apart(ward: Ward) -> list[str]:
    with ward.runs(ward.there, sys.executable, "-c", OLD, "old"):
        return ward.ids("old", "--insecure", "--wait", "20")


def port_blocked(ward: Ward) -> list[str]:
    low, high = RANGE.split("-")
    with (
        ward.there.drops(f"tcp dport {low}-{high}"),
        ward.role(ward.there, "walled", ZMQKIT_PORTS=RANGE),
    ):
        return ward.ids("walled", "--insecure", "--wait", "20")


def nobody_has_the_name(ward: Ward) -> list[str]:
    return ward.ids("nobody", "--insecure", "--wait", "0.2")


# Between two machines


def other_side_local_only(ward: Ward) -> list[str]:
    with ward.role(ward.there, "shy", reach="here"):
        return ward.probe("shy")


def nobody_listens(ward: Ward) -> list[str]:
    return ward.probe("--port", OTHER_PORT)


def multicast_blocked(ward: Ward) -> list[str]:
    ward.lan.block_multicast()
    try:
        return ward.probe()
    finally:
        ward.lan.block_multicast(flood="on")


def mdns_blocked_there(ward: Ward) -> list[str]:
    with ward.there.drops('iifname "eth0" udp dport 5353'), ward.listener():
        return ward.probe("--port", OTHER_PORT)


def port_blocked_by_range(ward: Ward) -> list[str]:
    low, high = RANGE.split("-")
    with ward.there.drops(f"tcp dport {low}-{high}"):
        return ward.probe()


def port_blocked_for_the_doctor(ward: Ward) -> list[str]:
    with ward.there.drops(f"tcp dport {PORT}"):
        return ward.probe()


def clocks_apart(ward: Ward) -> list[str]:
    with ward.runs(ward.there, sys.executable, "-c", FAST):
        return ward.probe("--port", OTHER_PORT)


FAULTS: dict[str, list[Callable[[Ward], list[str]]]] = {
    "loopback-down": [loopback_down],
    "no-network": [no_network],
    "only-container-bridges": [only_container_bridges],
    "interface-down": [interface_down],
    "no-carrier": [no_carrier],
    "no-multicast": [no_multicast],
    "mdns-port-taken": [mdns_port_taken],
    "multicast-refused": [multicast_refused],
    "mdns-blocked": [mdns_blocked, mdns_blocked_there],
    "vpn-default-route": [vpn_default_route],
    "few-descriptors": [few_descriptors],
    "disk-full": [disk_full],
    "ports-taken": [ports_taken],
    "environment-wrong": [environment_wrong],
    "stuck-instance": [stuck_instance, stuck_loop],
    "ipv6-without-scope": [ipv6_without_scope],
    "nothing-listens": [nothing_listens],
    "host-unreachable": [host_unreachable],
    "not-zmqkit": [not_zmqkit],
    "this-side-local-only": [this_side_local_only],
    "other-side-local-only": [other_side_local_only],
    "name-of-another-role": [name_of_another_role],
    "name-in-another-space": [name_in_another_space],
    "versions-apart": [versions_apart],
    "port-blocked": [port_blocked, port_blocked_by_range, port_blocked_for_the_doctor],
    "nobody-has-the-name": [nobody_has_the_name],
    "nobody-listens": [nobody_listens],
    "multicast-blocked": [multicast_blocked],
    "clocks-apart": [clocks_apart],
}


@pytest_lan
@pytest.mark.parametrize(
    ("id", "induced"),
    [pytest.param(id, each, id=each.__name__) for id in FAULTS for each in FAULTS[id]],
)
def test_a_fault_is_named_by_its_own_cause_and_no_other(
    ward: Ward, id: str, induced: Callable[[Ward], list[str]]
) -> None:
    assert induced(ward) == [id]
