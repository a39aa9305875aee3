"""A LAN of network namespaces: hosts with cables to bridges in a namespace of their own.

Nothing is made, changed or reachable in the machine's own network. It needs root and iproute2,
and for a slow cable /dev/net/tun. A cable that is cut at the host takes the carrier away; one
that is cut further off, behind a switch, is noticed by nobody.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.spawning import Popen

ROOT = Path(__file__).resolve().parents[2]
SHAPER = Path(__file__).with_name("shaper.py")
BOUND_S = 30.0
_numbers = itertools.count(1)


def ip(*words: str) -> str:
    """What iproute2 says; its complaint becomes the error."""
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def until(holds: Callable[[], object], what: str = "it never came true") -> None:
    """Look again and again, for what nothing tells of."""
    end = time.monotonic() + BOUND_S
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.02)


class Host:
    """One host: a namespace with a loopback interface, and `eth0` unless it has to do without.

    number: the last part of its IPv4 addresses. address: the one on `eth0`.
    """

    def __init__(self, namespace: str, number: int) -> None:
        self.namespace = namespace
        self.number = number
        self.address = f"10.97.0.{number}"
        self._processes: list[subprocess.Popen[str]] = []

    def ip(self, *words: str) -> str:
        """Run iproute2 on this host."""
        return ip("-n", self.namespace, *words)

    def addresses(self, nic: str = "eth0") -> list[str]:
        """The addresses of an interface, those that may be used already."""
        rows = json.loads(self.ip("-j", "addr", "show", "dev", nic))
        return [a["local"] for row in rows for a in row["addr_info"] if not a.get("tentative")]

    def start(self, *argv: str, **environment: str) -> subprocess.Popen[str]:
        """Start a program on this host; it is ended with the test."""
        process: subprocess.Popen[str] = Popen(
            ["ip", "netns", "exec", self.namespace, *argv],
            env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._processes.append(process)
        return process

    def python(self, program: str, *argv: str) -> subprocess.Popen[str]:
        """Start a program that is given as text."""
        return self.start(sys.executable, "-c", program, *argv)

    @contextmanager
    def drops(self, what: str, verdict: str = "drop") -> Iterator[None]:
        """While entered, a firewall of this host drops what comes in, or does as told."""
        if not shutil.which("nft"):
            pytest.skip("a firewall needs the command nft (Debian package nftables)")
        rules = (
            "add table inet ward;"
            "add chain inet ward in { type filter hook input priority 0; };"
            f"add rule inet ward in {what} {verdict}"
        )
        ip("netns", "exec", self.namespace, "nft", rules)
        try:
            yield
        finally:
            ip("netns", "exec", self.namespace, "nft", "delete table inet ward")

    def close(self) -> None:
        for process in self._processes:
            end(process)


def end(process: subprocess.Popen[str]) -> None:
    """End a process and close its pipes, paused or not."""
    if process.poll() is None:
        process.kill()
    process.communicate()


@dataclass(slots=True)
class Cable:
    """From a host's interface to a port of the switch.

    net: which of the networks it belongs to. island: part of a partitioned network, 0 for all
    of it. shaper: the process that makes it slow.
    """

    port: str
    net: int
    island: int = 0
    cut: bool = False
    shaper: subprocess.Popen[str] | None = None


@dataclass(slots=True)
class Switch:
    """A namespace of bridges, one for each island of each network."""

    namespace: str
    bridges: set[str] = field(default_factory=set)

    def ip(self, *words: str) -> str:
        """Run iproute2 among the bridges."""
        return ip("-n", self.namespace, *words)

    def bridge(self, name: str) -> str:
        """The bridge of this name, made if need be."""
        if name not in self.bridges:
            self.ip("link", "add", name, "type", "bridge", "mcast_snooping", "0")
            self.ip("link", "set", name, "up")
            self.bridges.add(name)
        return name

    def put(self, port: str, bridge: str) -> None:
        """Have a port in a bridge, whichever it was in before."""
        self.ip("link", "set", port, "master", self.bridge(bridge))
        self.ip("link", "set", port, "up")


class Lan:
    """Hosts 10.97.0.1 and on, each with a cable to the bridge of network 0.

    ipv4: whether the hosts have IPv4 addresses; IPv6 they have of the link alone. nic: whether
    they have `eth0` from the start.
    """

    def __init__(self, count: int, *, ipv4: bool = True, nic: bool = True) -> None:
        prefix = f"zk{os.getpid()}n{next(_numbers)}"
        self._ipv4 = ipv4
        self._namespaces = ExitStack()
        self._switch = Switch(f"{prefix}sw")
        self._cables: dict[tuple[Host, str], Cable] = {}
        self.hosts: list[Host] = []
        try:
            self._add_namespace(self._switch.namespace)
            for number in range(1, count + 1):
                host = Host(f"{prefix}h{number}", number)
                self._add_namespace(host.namespace)
                self._namespaces.callback(host.close)
                self.hosts.append(host)
                host.ip("link", "set", "lo", "up")
                if nic:
                    self.plug(host)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """End what runs on the hosts and remove everything, whatever fails on the way."""
        with self._namespaces:
            for cable in self._cables.values():
                if cable.shaper is not None:
                    end(cable.shaper)

    def plug(self, host: Host, nic: str = "eth0", *, net: int = 0, number: int = 0) -> None:
        """Give a host one more interface, 10.97.NET.NUMBER, its own number if none is given."""
        port = f"h{host.number}{nic}"
        self._switch.ip("link", "add", port, "type", "veth",
                        "peer", "name", nic, "netns", host.namespace)  # fmt: skip
        self._cables[host, nic] = Cable(port, net)
        self._lead(self._cables[host, nic])
        if self._ipv4:
            self._add_address(host, nic, f"10.97.{net}.{number or host.number}")
        host.ip("link", "set", nic, "up")

    def unplug(self, host: Host, nic: str = "eth0") -> None:
        """Take an interface out of a host, as one pulls a USB adapter; its cable stays away."""
        cable = self._cables.pop((host, nic))
        if cable.shaper is not None:
            end(cable.shaper)
        host.ip("link", "del", nic)

    def readdress(self, host: Host, number: int, nic: str = "eth0") -> None:
        """Give the interface another IPv4 address instead of the one that it has."""
        host.ip("-4", "addr", "flush", "dev", nic)
        net = self._cables[host, nic].net
        self._add_address(host, nic, f"10.97.{net}.{number}")
        host.address = f"10.97.{net}.{number}"

    def cut(self, *hosts: Host, silent: bool = False) -> None:
        """Cut the cables of hosts: the carrier is lost or, silently, both ends keep it."""
        for cable in self._of(hosts):
            cable.cut = True
            words = ["nomaster"] if silent else ["down"]
            self._switch.ip("link", "set", self._end(cable), *words)

    def heal(self, *hosts: Host) -> None:
        """Mend the cables of these hosts or, without any, all of them and the partition too."""
        for cable in self._of(hosts or self.hosts):
            cable.cut = False
            cable.island = cable.island if hosts else 0
            self._lead(cable)

    def partition(self, *islands: list[Host]) -> None:
        """Split the networks: a host reaches those of its own island only."""
        for island, hosts in enumerate(islands, 1):
            for cable in self._of(hosts):
                cable.island = island
                self._lead(cable)

    def block_multicast(self, *, flood: str = "off") -> None:
        """Pass no multicast on, as some access points do. IPv6 does not work without.

        flood: "on" to pass it again.
        """
        for cable in self._cables.values():
            self._switch.ip("link", "set", self._end(cable), "type", "bridge_slave",
                            "mcast_flood", flood)  # fmt: skip

    def slow(self, host: Host, *, loss: float = 0.0, delay_s: float = 0.0) -> None:
        """Lose and delay what the host's cable carries, in each direction."""
        if not os.path.exists("/dev/net/tun"):
            pytest.skip("a slow cable needs /dev/net/tun")
        for cable in self._of([host]):
            near, far = f"{cable.port}n", f"{cable.port}f"
            cable.shaper = subprocess.Popen(
                ["ip", "netns", "exec", self._switch.namespace, sys.executable, str(SHAPER),
                 near, far, str(loss), str(delay_s)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            assert cable.shaper.stdout is not None
            assert cable.shaper.stdout.readline() == "ready\n", "no TAP interface can be made"
            self._switch.put(near, f"{cable.port}b")
            self._switch.put(cable.port, f"{cable.port}b")
            self._lead(cable)

    def _of(self, hosts: list[Host] | tuple[Host, ...]) -> Iterator[Cable]:
        for (host, _), cable in self._cables.items():
            if host in hosts:
                yield cable

    def _end(self, cable: Cable) -> str:
        """The port that belongs in a bridge of the network."""
        return cable.port if cable.shaper is None else f"{cable.port}f"

    def _lead(self, cable: Cable) -> None:
        """Have the cable lead where it should."""
        if not cable.cut:
            self._switch.put(self._end(cable), f"br{cable.net}i{cable.island}")

    def _add_address(self, host: Host, nic: str, address: str) -> None:
        words = ["broadcast", "+", "dev", nic]
        host.ip("addr", "add", f"{address}/24", *words)

    def _add_namespace(self, name: str) -> None:
        ip("netns", "add", name)
        self._namespaces.callback(ip, "netns", "del", name)
