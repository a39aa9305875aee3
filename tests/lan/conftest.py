"""What the tests on a simulated LAN ask for; they are skipped where none can be made."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.lan.avahi import Avahi
from tests.lan.network import Lan
from tests.lan.stage import Stage


@contextmanager
def simulated(hosts: int, lacks: Sequence[str] = ()) -> Iterator[Lan]:
    """Enter with a LAN of so many hosts; the test is skipped where none can be made."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("a simulated LAN needs root on Linux")
    if not shutil.which("ip"):
        pytest.skip("a simulated LAN needs the command ip (Debian package iproute2)")
    try:
        lan = Lan(hosts, ipv4="no-ipv4" not in lacks, nic="no-nic" not in lacks)
    except OSError as error:
        pytest.skip(f"no simulated LAN can be made here: {error}")
    with closing(lan):
        yield lan


@pytest.fixture
def lan(request: pytest.FixtureRequest) -> Iterator[Lan]:
    """A LAN as the mark `lan` describes it: how many hosts, and what they lack."""
    mark = request.node.get_closest_marker("lan")
    with simulated(mark.kwargs.get("hosts", 2), mark.kwargs.get("options", ())) as lan:
        yield lan


@pytest.fixture
def name() -> str:
    """A name that nobody else uses."""
    return f"t{secrets.token_hex(6)}"


@pytest.fixture
def stage(lan: Lan, name: str, record_property: Callable[[str, object], None]) -> Stage:
    """Services and clients of one name on the hosts; they end with the LAN."""
    return Stage(lan, name, record_property)


@pytest.fixture
def avahi(lan: Lan, tmp_path: Path) -> Avahi:
    """An avahi daemon on the last host; it ends with the LAN."""
    for command in ("avahi-daemon", "avahi-browse", "dbus-daemon"):
        if not shutil.which(command):
            pytest.skip(f"needs {command} (Debian: avahi-daemon, avahi-utils, dbus-daemon)")
    return Avahi(lan.hosts[-1], tmp_path)
