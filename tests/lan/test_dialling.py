"""A worker dials a streamer on another host, and the cable between them is cut."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lan.network import Host, Lan, until

pytestmark = [pytest.mark.slow, pytest.mark.lan(hosts=2)]

PORT = 5560


class Pipeline:
    """A streamer on the first host, and workers whose commands say where they run."""

    def __init__(self, lan: Lan, name: str, folder: Path) -> None:
        self.near, self.far = lan.hosts
        self.name = name
        self.began = folder / "began"
        self._gate = folder / "gate"
        endpoint = f"tcp://{self.near.address}:{PORT}"
        self._url = f"{endpoint}/{name}"
        line = self._line(
            self.near, "run", "streamer", "--name", name, "--insecure",
            "--set", f"frontend.bind={endpoint}",
        )  # fmt: skip
        assert line.startswith(f"streamer of '{name}' at {endpoint}"), line

    def work(self, host: Host) -> None:
        """Run a worker that dials; its commands wait for the gate on the far host."""
        began, gate = shlex.quote(str(self.began)), shlex.quote(str(self._gate))
        waits = f"until [ -e {gate} ]; do sleep 0.02; done" if host is self.far else ":"
        script = f"echo {host.number} >> {began}; {waits}; echo {host.number}"
        line = self._line(host, "work", self._url, "--insecure", "--", "sh", "-c", script)
        assert line.startswith("working for the streamer at"), line

    def push(self) -> subprocess.Popen[str]:
        """Push a task at the streamer's host, and wait for its result there."""
        return self._start(self.near, "push", self.name, "x", "--wait", "--insecure")

    def hosts(self) -> list[int]:
        """The host of each command, in the order in which they began."""
        return [*map(int, self.began.read_text().split())] if self.began.exists() else []

    def open(self) -> None:
        """Let the commands on the far host go on."""
        self._gate.touch()

    def _line(self, host: Host, *words: str) -> str:
        out = self._start(host, *words).stdout
        assert out is not None
        return out.readline()

    def _start(self, host: Host, *words: str) -> subprocess.Popen[str]:
        return host.start(sys.executable, "-m", "zmqkit", *words)


@pytest.fixture
def pipeline(lan: Lan, name: str, tmp_path: Path) -> Pipeline:
    lan.block_multicast()
    return Pipeline(lan, name, tmp_path)


def result(process: subprocess.Popen[str]) -> int:
    """Wait for a pushed task; the host on which it was done."""
    until(lambda: process.poll() is not None, "the task was not done")
    assert process.stdout is not None
    return int(process.stdout.read())


def test_what_a_worker_has_is_done_elsewhere_after_a_silent_cut_and_it_returns(
    lan: Lan, pipeline: Pipeline, record_property: Callable[[str, object], None]
) -> None:
    pipeline.work(pipeline.far)
    pushed = pipeline.push()
    until(lambda: pipeline.hosts() == [2], "the far worker got no task")
    cut_at = time.monotonic()
    lan.cut(pipeline.far, silent=True)
    pipeline.work(pipeline.near)
    assert result(pushed) == 1
    record_property("done elsewhere after the cut", time.monotonic() - cut_at)
    pipeline.open()
    lan.heal()
    healed_at = time.monotonic()
    returned = False
    while not returned:  # two tasks at a time, so that each of two workers gets one
        assert time.monotonic() < healed_at + 30.0, "the far worker never returned"
        pair = [pipeline.push(), pipeline.push()]
        returned = 2 in [*map(result, pair)]
    record_property("used again after the heal", time.monotonic() - healed_at)


def test_a_short_cut_costs_no_attempt(lan: Lan, pipeline: Pipeline) -> None:
    pipeline.work(pipeline.far)
    pushed = pipeline.push()
    until(lambda: pipeline.hosts() == [2], "the far worker got no task")
    lan.cut(pipeline.far, silent=True)
    time.sleep(2.0)
    lan.heal()
    pipeline.open()
    assert result(pushed) == 2
    assert pipeline.hosts() == [2]
