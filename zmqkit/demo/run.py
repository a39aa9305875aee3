"""One run of the demo: start, call, push, submit, kill processes, compare the counts."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from zmqkit.asyncio.client import BoundClient, Client
from zmqkit.asyncio.publisher import Publisher
from zmqkit.demo.fleet import Fleet
from zmqkit.demo.majordomo import REQUESTS, Collected, submit
from zmqkit.demo.pipeline import TASKS, Done, push
from zmqkit.demo.watcher import Watcher
from zmqkit.demo.words import count, cut
from zmqkit.errors import NoService, UsageError, ZmqkitError

PROCESSES = 3
OUTSTANDING = 48
CALLS = 10_000
"""About how many calls a long text makes. They take a few seconds."""
CHUNK_CHARS = 64, 1 << 18
CHUNKS_MIN = 2 * OUTSTANDING
"""With fewer, the process killed half-way might have had nothing left to do."""
TIMEOUT_S = 10.0
FOUND_S = 20.0
LOOK_S = 0.2
TOP = 20
_SERVE = ("zmqkit", "serve", "zmqkit.demo.words:count", "--idempotent", "all", "--until-eof")
STEPS = 100
"""A run has at most so many steps. The publisher publishes each."""


@dataclass(slots=True)
class Result:
    """What came of a run."""

    chars: int
    pids: list[int] = field(default_factory=list)
    killed: int = 0
    # From the start of the first process until the client was connected with all three.
    found_s: float = 0.0
    calls: int = 0
    done: int = 0
    retries: int = 0
    calls_s: float = 0.0  # from the first call until the last one ended
    latencies_s: list[float] = field(default_factory=list)  # of each answered call, sorted
    errors: list[str] = field(default_factory=list)  # of the calls without an answer
    published: int = 0  # steps of the progress
    watched: list[object] = field(default_factory=list)  # steps another process received
    counted: Counter[str] = field(default_factory=Counter)
    expected: Counter[str] = field(default_factory=Counter)
    # The same text as tasks, and as requests to a broker.
    tasks: Done = field(default_factory=Done)
    requests: Collected = field(default_factory=Collected)

    @property
    def ok(self) -> bool:
        """Whether nothing was lost, and each of the three ways counted the words right."""
        lost = self.lost or self.missed or self.tasks.lost or self.requests.lost
        counts = (self.counted, self.tasks.counted, self.requests.counted)
        return not lost and all(each == self.expected for each in counts)

    @property
    def missed(self) -> int:
        """How many steps the subscriber missed."""
        return self.published - len(self.watched)

    @property
    def lost(self) -> int:
        """How many calls got no answer."""
        return self.calls - len(self.latencies_s)

    @property
    def calls_per_s(self) -> float:
        """How many calls ended per second."""
        return self.done / self.calls_s if self.calls_s else 0.0

    def percentile_s(self, percent: int) -> float:
        """Return the latency that `percent` percent of the calls did not exceed."""
        sample = self.latencies_s
        return sample[(len(sample) - 1) * percent // 100] if sample else 0.0

    def summary(self) -> dict[str, object]:
        """Return the run for programs, with the keys of `zmqkit demo --json`."""
        return {
            "ok": self.ok,
            "pids": self.pids,
            "killed": self.killed,
            "found_ms": round(self.found_s * 1e3, 1),
            "calls": self.calls,
            "retries": self.retries,
            "calls_per_s": round(self.calls_per_s, 1),
            "p50_ms": round(self.percentile_s(50) * 1e3, 3),
            "p99_ms": round(self.percentile_s(99) * 1e3, 3),
            "lost": self.lost,
            "published": self.published,
            "missed": self.missed,
            "pipeline": self.tasks.summary(),
            "majordomo": self.requests.summary(),
            "words": {word: self.counted[word] for word, _ in self.expected.most_common(TOP)},
        }


Watch = Callable[[Result], None]
"""The run calls it with the unfinished result whenever there is news."""


async def run(text: str, watch: Watch) -> Result:
    """Have processes of their own count the words of a text, and kill some of them.

    The text goes through calls first, then through tasks, then through a broker.

    watch: called with the unfinished result whenever there is news.
    Raises UsageError, before any process starts, for a text that is too short for that.
    """
    chunks = pieces(text)
    result = Result(len(text))
    name = f"demo-words-{secrets.token_hex(4)}"
    steps = min(STEPS, len(chunks))
    with (
        Fleet(*_SERVE, "--name", name) as fleet,
        Watcher(name, steps) as watcher,
    ):
        async with (
            Client(name, timeout_s=TIMEOUT_S, wait_s=TIMEOUT_S) as client,
            Publisher(name, policy="block") as publisher,
        ):
            await _assemble(fleet, client, result, watch)
            if not await publisher.ready(1, FOUND_S):
                raise NoService(f"the subscriber was not there within {FOUND_S:g} s")
            await _Work(chunks, steps, fleet, client, publisher, result, watch).finish()
            result.watched = await watcher.received()
            retries = client.stats()["retries"]
            assert isinstance(retries, int)
            result.retries = retries
    await push(_cut(text, TASKS), name, result.tasks, lambda: watch(result))
    await submit(_cut(text, REQUESTS), name, result.requests, lambda: watch(result))
    result.expected.update(count(text))
    return result


def pieces(text: str) -> list[str]:
    """Return the text as chunks, one for each call. Raise UsageError if there are too few."""
    low, high = CHUNK_CHARS
    chunks = [*cut(text, min(max(low, len(text) // CALLS), high))]
    if len(chunks) < CHUNKS_MIN:
        raise UsageError(
            f"the text makes {len(chunks)} of the {CHUNKS_MIN} chunks that it takes to lose a "
            "process half-way; give one of 8,000 characters or more, or none for Python's own"
        )
    return chunks


def _cut(text: str, count: int) -> list[str]:
    """Return the text as about so many chunks, fewer if it is short."""
    return [*cut(text, max(CHUNK_CHARS[0], len(text) // count))]


async def _assemble(fleet: Fleet, client: Client, result: Result, watch: Watch) -> None:
    """Start the processes and wait until discovery has found all of them."""
    begun_at = time.monotonic()
    for _ in range(PROCESSES):
        fleet.add()
    result.pids = fleet.pids
    watch(result)
    while (found := await client.ready(PROCESSES, LOOK_S)) < PROCESSES:
        fleet.check()
        if time.monotonic() - begun_at > FOUND_S:
            raise NoService(f"{found} of {PROCESSES} processes were found in {FOUND_S:g} s")
    result.found_s = time.monotonic() - begun_at


class _Work:
    """The calls of a run.

    OUTSTANDING calls are under way at a time. When half are done, one process is killed.
    """

    def __init__(
        self,
        chunks: list[str],
        steps: int,
        fleet: Fleet,
        client: Client,
        publisher: Publisher,
        result: Result,
        watch: Watch,
    ) -> None:
        result.calls = len(chunks)
        self._chunks: Iterator[str] = iter(chunks)
        self._steps = steps
        self._publisher = publisher
        self._fleet = fleet
        self._ports = fleet.ports()
        self._client = client
        self._result = result
        self._watch = watch

    async def finish(self) -> None:
        """Make all calls."""
        begun_at = time.monotonic()
        view = self._client.options()
        async with asyncio.TaskGroup() as group:
            for _ in range(OUTSTANDING):
                group.create_task(self._call_on(view))
        self._result.calls_s = time.monotonic() - begun_at
        self._result.latencies_s.sort()

    async def _call_on(self, view: BoundClient) -> None:
        """Call with one chunk after the other until none is left."""
        result = self._result
        for chunk in self._chunks:
            sent_at = time.monotonic()
            try:
                counts = await view.call("count", chunk)
            except ZmqkitError as error:
                result.errors.append(str(error))
            else:
                result.latencies_s.append(time.monotonic() - sent_at)
                result.counted.update(counts)
            result.done += 1
            if not result.killed and 2 * result.done >= result.calls:
                self._kill()
            while result.published < self._steps * result.done // result.calls:
                result.published += 1
                await self._publisher.publish("progress", result.done)
            self._watch(result)

    def _kill(self) -> None:
        """Kill the process that has most calls in flight, by SIGKILL."""
        busiest = max(self._client.instances(), key=lambda row: row["outstanding"])
        self._result.killed = self._ports[busiest["address"].rpartition(":")[2]]
        self._fleet.kill(self._result.killed)
