"""`zmqkit submit` and `collect`, and `zmqkit queue` on the requests that a broker keeps."""

from __future__ import annotations

import json
import re
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import LIMIT_S, Run, Serving, environment, zmqkit
from tests.spawning import Popen

pytestmark = pytest.mark.slow

SHOP = "shop"


class Shop:
    """A broker with journals, and a service that may answer through it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = f"t{secrets.token_hex(6)}"
        self.via = f"{self.name}-m"
        self._serving: Serving | None = None
        self.start()

    @property
    def journal(self) -> str:
        return str(self.folder / f"{self.name}.journal")

    def start(self) -> None:
        """Run the broker, and read its first line."""
        pipe = subprocess.PIPE
        self.broker = Popen(
            zmqkit("run", "majordomo-durable", "--name", self.via,
                   "--set", f"journal.path={self.folder}"),
            stdout=pipe, stderr=pipe, env=environment(),
        )  # fmt: skip
        assert self.broker.stdout is not None
        assert self.broker.stdout.readline().startswith(b"majordomo ")

    def stop(self) -> tuple[int, bytes]:
        """End the broker by a signal; its exit code and what it said."""
        self.broker.terminate()
        _, errors = self.broker.communicate(timeout=LIMIT_S)
        return self.broker.returncode, errors

    def open(self) -> None:
        """Have the service answer."""
        self._serving = Serving(self.name, SHOP, "--via", self.via)
        assert "through" in self._serving.line

    def shut(self) -> None:
        """End the service, which says goodbye."""
        if self._serving is not None:
            self._serving.process.terminate()
            self._serving.process.communicate(timeout=LIMIT_S)
            self._serving = None

    def close(self) -> None:
        self.shut()
        if self.broker.poll() is None:
            self.broker.kill()
        self.broker.communicate()


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path / "requests")
    yield shop
    shop.close()


def test_a_request_is_submitted_and_its_reply_collected(shop: Shop, run: Run) -> None:
    shop.open()
    done = run("submit", shop.name, "echo", "tea", "n=2", "--id", "order-17")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"order-17\n", b"")
    assert (
        run("submit", shop.name, "echo", "tea", "n=2", "--id", "order-17").stdout
        == b"order-17\n"
    )
    for _ in range(2):
        done = run("collect", shop.name, "order-17")
        assert json.loads(done.stdout) == [["tea"], {"n": 2}], done.stderr
    assert run("collect", shop.name, "order-17", "--state").stdout == b"done\n"
    done = run("submit", shop.name, "text", "--json")
    id = json.loads(done.stdout)["id"]
    assert re.fullmatch("[0-9a-f]{32}", id)
    assert run("collect", shop.name, id).stdout == b"plain\ntext\n"
    assert run("collect", shop.name, id, "--json").stdout == b'"plain\\ntext"\n'
    done = run("submit", shop.name, "echo", "--lines", "--wait", stdin=b"1\n2\n")
    assert [json.loads(line) for line in done.stdout.splitlines()] == [[[1], {}], [[2], {}]]
    done = run("submit", shop.name, "text", "--id", "x", "--wait", "--json")
    assert json.loads(done.stdout) == {"id": "x", "result": "plain\ntext"}
    done = run("submit", shop.name, "fail", "no tea", "--wait")
    assert done.returncode == 1 and b"ValueError: no tea" in done.stderr
    done = run("collect", shop.name, "order-18")
    assert done.returncode == 1 and b"no request 'order-18' is known" in done.stderr


def test_what_takes_longer_is_told_with_its_id(shop: Shop, run: Run) -> None:
    shop.open()
    done = run("submit", shop.name, "hold", "--id", "x", "--wait", "--timeout", "5")
    assert done.returncode == 124
    assert f"`zmqkit collect {shop.name} x` waits on".encode() in done.stderr
    assert run("collect", shop.name, "x", "--timeout", "2").returncode == 124


def test_a_service_without_a_broker_keeps_nothing(name: str, run: Run, serve: object) -> None:
    done = run("submit", "--timeout", "1", name, "echo")
    assert done.returncode in (1, 124)
    done = run("submit", name, "echo", "-", "--lines")
    assert done.returncode == 2 and b"both read standard input" in done.stderr
    done = run("submit", name, "echo", "--id", "x", "--lines")
    assert done.returncode == 2 and b"--id is for a single request" in done.stderr
    done = run("collect", name)
    assert done.returncode == 2


def test_queue_shows_what_is_asked_of_a_service_and_changes_it(
    shop: Shop, run: Run, tmp_path: Path
) -> None:
    shop.open()
    assert run("submit", shop.name, "text").returncode == 0  # now the broker has its journal
    shop.shut()
    for id in ("a", "b", "c"):
        done = run("submit", shop.name, "echo", "tea", "n=2", "--id", id, "--timeout", "60")
        assert done.stdout.decode().strip() == id, done.stderr
    [told] = json.loads(run("queue", "ls", shop.name, "--json").stdout)
    assert (told["waiting"], told["journal"]) == (3, shop.journal)
    head, row, below, *_ = run("queue", "peek", shop.name).stdout.decode().splitlines()
    assert head.split()[0] == "ID"
    assert row.split()[:2] == ["a", "waiting"] and '"method": "echo", "args": ["tea"]' in row
    assert below == "    expires in: 23 h"
    told = json.loads(run("queue", "export", shop.name).stdout.splitlines()[0])
    assert told["id"] == "a"
    assert told["body"] == {"method": "echo", "args": ["tea"], "kwargs": {"n": 2}}
    assert run("queue", "cancel", shop.name, "a").stdout == b"1 task cancelled\n"
    assert run("queue", "purge", shop.name, "b", "--yes").stdout == b"1 task purged\n"
    assert run("queue", "dead", shop.name).stderr == b"no task is dead\n"
    backup = str(tmp_path / "x.backup")
    assert run("queue", "backup", shop.name, backup).returncode == 0
    assert b"echo" in run("queue", "peek", backup).stdout
    for id in ("a", "b"):
        done = run("collect", shop.name, id)
        assert done.returncode == 1 and b"the task was" in done.stderr
    assert shop.stop() == (0, b"")
    done = run("queue", "resume", shop.journal)
    assert done.stderr.endswith(b"so 1 request will wait: run the broker again\n")
    assert b"c   waiting" in run("queue", "peek", shop.journal).stdout
    for command in (("queue", "run"), ("push", shop.name, "x", "--journal")):
        done = run(*command, shop.journal)
        assert done.returncode == 2 and b"has requests that a broker keeps" in done.stderr
    shop.start()
    shop.open()
    assert json.loads(run("collect", shop.name, "c").stdout) == [["tea"], {"n": 2}]
