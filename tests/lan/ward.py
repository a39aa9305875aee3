"""Two hosts on which the doctor is tried, and the programs that are its patients."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from tests.lan.network import Host, Lan, end

PORT, OTHER_PORT = "5650", "5651"
DOCTOR = (sys.executable, "-P", "-m", "zmqkit", "doctor")
RANGE = "5600-5609"
BEGUN = re.compile(r"^ready|listens at| at tcp://| through ")

OPEN = """
import sys, zmqkit
name, kind, insecure = sys.argv[1:]
role = getattr(zmqkit, kind)(name, insecure=insecure == "open")
if kind == "Service":
    role.handler(abs)
with role:
    role.publish("t", 1) if kind == "Publisher" else None
    print("ready", flush=True)
    role.serve() if kind == "Service" else sys.stdin.read()
"""
HELD = """
import asyncio, sys, threading
from zmqkit.asyncio import Service

async def main():
    async with Service(sys.argv[1], insecure=True) as service:
        await service.start()
        print("ready", flush=True)
        threading.Event().wait()  # nothing of this loop turns any more

asyncio.run(main())
"""
OLD = """
import asyncio, sys
from zeroconf import ServiceInfo
from zeroconf.asyncio import AsyncZeroconf

async def main():
    zeroconf = AsyncZeroconf(interfaces=["10.97.0.2"])
    kind = "_zmqkit._tcp.local."
    label = f"{sys.argv[1]}-0000000a.{kind}"
    info = ServiceInfo(kind, label, 5555, properties={"txtvers": "2"}, server="old.local.",
                       parsed_addresses=["10.97.0.2"])
    await zeroconf.async_register_service(info, cooperating_responders=True)
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""
GREEDY = """
import socket, sys
taken = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
taken.bind(("", 5353))
print("ready", flush=True)
sys.stdin.read()
"""
FAST = """
import asyncio
from zmqkit.doctor.listen import Listener, now_of_day
from zmqkit.doctor.look import Request, gather

async def main():
    facts = await gather(Request(insecure=True, wait_s=0))
    listener = Listener(facts, [], tell=print, clock=lambda: now_of_day() + 3600)
    await listener.open(5651)
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""
FULL = """
set -e
mount -t tmpfs -o size=2m none "$1"
"$2" -P -m zmqkit run streamer-durable --name full --set journal.path="$1/j" >"$1/log" &
trap 'kill $!' EXIT
until grep -q full "$1/log"; do sleep 0.05; done
"$2" -P -m zmqkit doctor --json
"""


class Ward:
    """Two hosts, and what is done to them."""

    def __init__(self, lan: Lan, folder: Path) -> None:
        self.lan = lan
        self.here, self.there = lan.hosts
        self.folder = folder

    def ids(self, *words: str, **environment: str) -> list[str]:
        """The findings of a doctor here, by their ids."""
        return self.told(self.here.start(*DOCTOR, *words, "--json", **environment))

    def findings(self, *words: str, **environment: str) -> list[dict[str, object]]:
        """The findings of a doctor here."""
        return self.written(self.here.start(*DOCTOR, *words, "--json", **environment))

    def told(self, process: subprocess.Popen[str]) -> list[str]:
        """The findings that a doctor writes, by their ids."""
        return [str(each["id"]) for each in self.written(process)]

    def written(self, process: subprocess.Popen[str]) -> list[dict[str, object]]:
        """The findings that a doctor writes; its exit code is what they say."""
        text, _ = process.communicate(timeout=60)
        found: list[dict[str, object]] = json.loads(text)["findings"]
        assert process.returncode == bool(found)
        for each in found:
            print(each)  # for whoever reads why the test failed
            assert each["cause"] and each["evidence"] and each["remedy"]
        return found

    @contextmanager
    def runs(
        self, host: Host, *argv: str, **environment: str
    ) -> Iterator[subprocess.Popen[str]]:
        """While entered, a program runs there, and is ready."""
        process = host.start(*argv, **environment)
        assert process.stdout is not None
        try:
            while (line := process.stdout.readline()) and not BEGUN.search(line):
                pass
            assert line, "it ended"
            yield process
        finally:
            end(process)

    def role(
        self, host: Host, name: str, kind: str = "Service", reach: str = "open", **environ: str
    ) -> AbstractContextManager[subprocess.Popen[str]]:
        """A role of that name runs there."""
        return self.runs(host, sys.executable, "-c", OPEN, name, kind, reach, **environ)

    def listener(self) -> AbstractContextManager[subprocess.Popen[str]]:
        """A doctor listens there, at OTHER_PORT."""
        return self.runs(self.there, *DOCTOR, "listen", "--port", OTHER_PORT)

    def probe(self, *words: str) -> list[str]:
        """What a probe finds at the doctor that listens there throughout, by ids."""
        return self.ids("probe", self.there.address, *words, "--wait", "0")

    @contextmanager
    def link(self, *words: str, back: tuple[str, ...]) -> Iterator[None]:
        """While entered, a link of this host is as `ip link set` was told."""
        self.here.ip("link", "set", *words)
        try:
            yield
        finally:
            self.here.ip("link", "set", *back)
            self.here.ip("addr", "replace", f"{self.here.address}/24", "dev", "eth0")
