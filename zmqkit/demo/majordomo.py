"""The demo's third part: requests on the disk of a broker, while the broker is killed."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from zmqkit.asyncio.client import Client
from zmqkit.asyncio.submitted import Submitted
from zmqkit.demo.fleet import Fleet
from zmqkit.errors import PeerLost, ZmqkitError

SERVICES = 2
REQUESTS = 400
UNDER_WAY = 40
"""So many requests are not answered when the broker is killed; the demo waits for no more."""
FOUND_S = 20.0
RESULT_S = 30.0


@dataclass(slots=True)
class Collected:
    """What came of the requests."""

    requests: int = 0
    done: int = 0
    killed: int = 0  # the broker
    took_s: float = 0.0  # from the first submission until the last reply
    counted: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)

    @property
    def lost(self) -> int:
        """How many requests have no reply."""
        return self.requests - self.done

    def summary(self) -> dict[str, object]:
        """Return the requests for programs, with the keys of `zmqkit demo --json`."""
        return {
            "requests": self.requests,
            "lost": self.lost,
            "killed": self.killed,
            "took_ms": round(self.took_s * 1e3, 1),
        }


async def submit(
    chunks: list[str], name: str, collected: Collected, watch: Callable[[], None]
) -> None:
    """Have services count the words of all chunks, through a broker with a journal.

    The broker is killed when half of the replies are here, and starts again on its folder.
    collected: is filled. watch: is called whenever there is news.
    """
    collected.requests = len(chunks)
    with TemporaryDirectory(prefix="zmqkit-demo-") as folder:
        journal = f"journal.path={Path(folder, 'requests')}"
        device = ("zmqkit", "run", "majordomo-durable", "--name", name, "--set", journal)
        with (
            Fleet(*device, "--until-eof") as brokers,
            Fleet("zmqkit.demo.service", name) as services,
        ):
            brokers.add()
            for _ in range(SERVICES):
                services.add()
            async with Client(name, timeout_s=FOUND_S, wait_s=FOUND_S) as client:
                await _Requests(client, brokers, collected, watch).finish(chunks)


class _Requests:
    """The requests of a run, and the broker, which is killed meanwhile."""

    def __init__(
        self, client: Client, brokers: Fleet, collected: Collected, watch: Callable[[], None]
    ) -> None:
        self._client = client
        self._brokers = brokers
        self._collected = collected
        self._watch = watch

    async def finish(self, chunks: list[str]) -> None:
        """Submit all chunks, and collect the replies. The first failure ends that."""
        begun_at = time.monotonic()
        left = iter(enumerate(chunks))

        async def submit_on() -> None:
            for number, chunk in left:
                try:
                    submitted = await self._submit(f"chunk-{number}", chunk)
                    counts = await submitted.result(RESULT_S)
                except ZmqkitError as error:
                    self._collected.errors.append(str(error))
                if self._collected.errors:
                    return
                self._answered(counts)

        async with asyncio.TaskGroup() as group:
            for _ in range(UNDER_WAY):
                group.create_task(submit_on())
        self._collected.took_s = time.monotonic() - begun_at

    async def _submit(self, id: str, chunk: str) -> Submitted:
        client = self._client.options(id=id)
        try:
            return await client.submit("count", chunk)
        except PeerLost:
            # The broker may have it. With the same id it stays one request.
            return await client.submit("count", chunk)

    def _answered(self, counts: dict[str, int]) -> None:
        collected = self._collected
        collected.counted.update(counts)
        collected.done += 1
        if not collected.killed and 2 * collected.done >= collected.requests:
            [collected.killed] = self._brokers.pids
            self._brokers.kill(collected.killed)
            self._brokers.add()
        self._watch()
