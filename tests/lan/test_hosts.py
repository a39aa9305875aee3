"""A program on a host sees that host's network, whoever starts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.lan.network import ROOT, Lan
from tests.spawning import Popen

LOOK = """
import json, os, socket
print(json.dumps([
    os.stat("/proc/self/ns/net").st_ino, [name for _, name in socket.if_nameindex()],
    sorted(os.listdir("/sys/class/net")), "tests.zygote" in __import__("sys").modules,
]))
"""


@pytest.mark.lan
@pytest.mark.slow
def test_the_zygote_goes_to_a_host_as_ip_does(lan: Lan) -> None:
    def seen(kind: Any, namespace: str) -> list[Any]:
        command = ["ip", "netns", "exec", namespace, sys.executable, "-c", LOOK]
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        with kind(command, stdout=subprocess.PIPE, env=environ) as process:
            found: list[Any] = json.loads(process.stdout.read())
        return found

    here, there = (host.namespace for host in lan.hosts)
    for namespace in (here, there):
        assert seen(Popen, namespace) == [*seen(subprocess.Popen, namespace)[:3], True]
    assert seen(Popen, here)[0] != seen(Popen, there)[0]
    assert "eth0" in seen(Popen, here)[2]
