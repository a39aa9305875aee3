"""What the tests on a simulated LAN ask for; they are skipped where none can be made."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lan.network import Avahi, Lan


@pytest.fixture
def lan(request: pytest.FixtureRequest) -> Iterator[Lan]:
    """A LAN of as many hosts as the mark `lan` says."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("a simulated LAN needs root on Linux")
    if not shutil.which("ip"):
        pytest.skip("a simulated LAN needs the command ip (Debian package iproute2)")
    mark = request.node.get_closest_marker("lan")
    try:
        lan = Lan(mark.kwargs.get("hosts", 2))
    except OSError as error:
        pytest.skip(f"no simulated LAN can be made here: {error}")
    yield lan
    lan.close()


@pytest.fixture
def avahi(lan: Lan, tmp_path: Path) -> Avahi:
    """An avahi daemon on the last host; it ends with the LAN."""
    for command in ("avahi-daemon", "avahi-browse", "dbus-daemon"):
        if not shutil.which(command):
            pytest.skip(f"needs {command} (Debian: avahi-daemon, avahi-utils, dbus-daemon)")
    return Avahi(lan.hosts[-1], tmp_path)
