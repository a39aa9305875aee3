"""What another machine is told of the statistics here."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.lan.network import BOUND_S, Host, Lan

pytestmark = [pytest.mark.slow, pytest.mark.lan(hosts=2)]

PROGRAM = """
import sys, zmqkit
name = sys.argv[1]
with (
    zmqkit.Service(f"{name}-told", insecure=True, statistics=True) as told,
    zmqkit.Service(f"{name}-open", insecure=True),
    zmqkit.Service(f"{name}-here", insecure=False, statistics=True),
):
    print("ready", flush=True)
    sys.stdin.readline()
"""


def names(host: Host, *options: str) -> set[str]:
    """The roles of which `zmqkit stats` hears there, once it hears of any."""
    for wait_s in ("1", "3", "9"):
        asking = host.start(
            sys.executable, "-m", "zmqkit", "stats", "--json", "--wait", wait_s, *options
        )
        rows = json.loads(asking.communicate(timeout=BOUND_S)[0])
        if rows:
            return {row["name"].rpartition("-")[2] for row in rows}
    return set()


def test_other_machines_hear_of_open_roles_alone_that_want_it(lan: Lan, name: str) -> None:
    there, here = lan.hosts
    process: subprocess.Popen[str] = there.python(PROGRAM, name)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    assert names(here, "--insecure") == {"told"}
    assert names(there) == {"told", "open", "here"}
    process.terminate()
    process.wait(BOUND_S)
