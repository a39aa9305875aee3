"""Service processes end with whoever started them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from zmqkit.demo.fleet import Fleet
from zmqkit.errors import ZmqkitError

pytestmark = pytest.mark.slow

ARGUMENTS = ("zmqkit", "serve", "math", "--name", "fleet", "--until-eof")


def test_processes_listen_and_end_with_the_context() -> None:
    with Fleet(*ARGUMENTS) as fleet:
        fleet.add()
        fleet.add()
        fleet.check()
        ports = fleet.ports()
        assert sorted(ports.values()) == sorted(fleet.pids)
        fleet.kill(fleet.pids[0])
    for pid in fleet.pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_one_that_ends_at_its_start_is_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    with Fleet("zmqkit", "serve", "zmqkit.no_such_module") as fleet:
        fleet.add()
        assert fleet.ports() == {}
        with pytest.raises(ZmqkitError, match="ended at its start"):
            check_until_it_ends(fleet)
    assert "no module" in capfd.readouterr().err


def check_until_it_ends(fleet: Fleet) -> None:
    while True:
        fleet.check()


def test_processes_end_when_their_parent_is_killed() -> None:
    code = (
        "import sys\nfrom zmqkit.demo.fleet import Fleet\n"
        f"with Fleet{ARGUMENTS} as fleet:\n"
        "    fleet.add()\n    fleet.ports()\n    print('ready', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    pipe = subprocess.PIPE
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdin=pipe, stdout=pipe, stderr=pipe
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"ready\n"
    parent.kill()
    # The child holds the same standard error: its end is the end of both.
    assert parent.communicate(timeout=60)[1] == b""
