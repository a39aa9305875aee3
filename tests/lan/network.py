"""A LAN of network namespaces: hosts on one bridge, which is in a namespace of its own.

Nothing is made, changed or reachable in the machine's own network. It needs root and iproute2.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BOUND_S = 30.0
_numbers = itertools.count(1)


def ip(*words: str) -> None:
    """Run iproute2; what it says becomes the error."""
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")


class Host:
    """One host: a namespace with a loopback interface and `eth0`."""

    def __init__(self, namespace: str, address: str) -> None:
        self.namespace = namespace
        self.address = address
        self._processes: list[subprocess.Popen[str]] = []

    def start(self, *argv: str, **environment: str) -> subprocess.Popen[str]:
        """Start a program on this host; it is ended with the test."""
        process = subprocess.Popen(
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

    def close(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.communicate()


class Lan:
    """Hosts 10.97.0.1 and on, each with a cable to the bridge."""

    def __init__(self, count: int) -> None:
        prefix = f"zk{os.getpid()}n{next(_numbers)}"
        self._switch = f"{prefix}sw"
        self._namespaces: list[str] = []
        self.hosts: list[Host] = []
        try:
            self._add_namespace(self._switch)
            ip(
                "-n",
                self._switch,
                "link",
                "add",
                "br0",
                "type",
                "bridge",
                "mcast_snooping",
                "0",
            )
            ip("-n", self._switch, "link", "set", "br0", "up")
            for number in range(1, count + 1):
                self._add_host(f"{prefix}h{number}", number)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        for host in self.hosts:
            host.close()
        for namespace in reversed(self._namespaces):
            ip("netns", "del", namespace)

    def _add_namespace(self, name: str) -> None:
        ip("netns", "add", name)
        self._namespaces.append(name)

    def _add_host(self, name: str, number: int) -> None:
        self._add_namespace(name)
        port, address = f"h{number}", f"10.97.0.{number}"
        ip("-n", self._switch, "link", "add", port, "type", "veth",
           "peer", "name", "eth0", "netns", name)  # fmt: skip
        ip("-n", self._switch, "link", "set", port, "master", "br0", "up")
        ip("-n", name, "link", "set", "lo", "up")
        ip(
            "-n",
            name,
            "addr",
            "add",
            f"{address}/24",
            "broadcast",
            "10.97.0.255",
            "dev",
            "eth0",
        )
        ip("-n", name, "link", "set", "eth0", "up")
        self.hosts.append(Host(name, address))


BUS = """<busconfig>
  <type>system</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/> <allow own="*"/> <allow send_type="method_call"/>
    <allow send_destination="*"/> <allow receive_sender="*"/>
  </policy>
</busconfig>
"""
DAEMON = """[server]
host-name=avahi-test
allow-interfaces=eth0
enable-dbus=yes
[publish]
disable-publishing=no
publish-workstation=no
[wide-area]
enable-wide-area=no
"""
# Its directory for the socket and the process id is fixed, so it gets a /run of its own.
IN_A_RUN_OF_ITS_OWN = (
    "mount -t tmpfs tmpfs /run && mkdir /run/avahi-daemon && exec avahi-daemon --file={file} "
    "--no-drop-root --no-chroot --no-rlimits"
)


class Avahi:
    """An avahi daemon on a host, with a message bus of its own."""

    def __init__(self, host: Host, folder: Path) -> None:
        self._host = host
        self._bus = folder / "bus"
        self._address = f"unix:path={self._bus}"
        bus, daemon = folder / "bus.conf", folder / "avahi.conf"
        bus.write_text(BUS.format(socket=self._bus))
        daemon.write_text(DAEMON)
        host.start("dbus-daemon", f"--config-file={bus}", "--nofork", "--nopidfile")
        self._await(self._bus.exists)
        host.start(
            "unshare", "--mount", "sh", "-c", IN_A_RUN_OF_ITS_OWN.format(file=daemon),
            DBUS_SYSTEM_BUS_ADDRESS=self._address,
        )  # fmt: skip
        self._await(lambda: self.browse("-at") is not None)

    def browse(self, *words: str) -> list[list[str]] | None:
        """What avahi-browse lists, a row of fields each; None while there is no daemon."""
        browser = self._host.start(
            "avahi-browse", "-p", *words, DBUS_SYSTEM_BUS_ADDRESS=self._address
        )
        text, _ = browser.communicate(timeout=BOUND_S)
        return None if browser.returncode else [row.split(";") for row in text.splitlines()]

    def _await(self, holds: Callable[[], bool]) -> None:
        end = time.monotonic() + BOUND_S
        while not holds():
            assert time.monotonic() < end, "avahi did not start"
            time.sleep(0.05)
