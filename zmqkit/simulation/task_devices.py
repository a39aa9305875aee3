"""Streamers and sinks in the world of one seed, and what befalls them.

A streamer with a journal returns with what its disk kept. One without is another streamer each
time. Some worlds have none, some have two of a name.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random

from zmqkit.core.tasks.lease import SINK, STREAMER
from zmqkit.core.tasks.streamer import StreamerCore
from zmqkit.limits import PusherLimits
from zmqkit.roles.results import sink_core
from zmqkit.simulation.disk import JournalFile
from zmqkit.simulation.oracle import expect
from zmqkit.simulation.process import Process
from zmqkit.simulation.task_oracle import TaskOracle
from zmqkit.simulation.tasks import Clock, Queue, SinkRole, StreamerRole
from zmqkit.simulation.world import World, about


class TaskDevices:
    """The streamers and the sinks on the hosts of a world."""

    def __init__(
        self,
        world: World,
        seed: int,
        oracle: TaskOracle,
        clocks: dict[str, Clock],
        limits: PusherLimits,
    ) -> None:
        """Begin without any. clocks: those of the hosts. limits: of each streamer's queue."""
        self.world = world
        self.random = Random(f"devices {seed}")
        self.oracle = oracle
        self.clocks = clocks
        self.limits = limits
        self.write_s = (0.0005, 0.01)
        self.storming = True
        # By host: the names that are streamed, with and without a journal, and those that sinks
        # take the results of.
        self.streams: dict[str, list[tuple[str, bool]]] = {}
        self.sinks: dict[str, list[str]] = {}
        self.files: dict[tuple[str, str], Queue] = {}
        # How late streamers and sinks start, and how long sinks take with a result.
        self.late_s = self.random.choice((0.0, 3.0))
        self.pace_s = self.random.choice((0.01, 0.3))

    def place(self, hosts: list[str], names: list[str]) -> None:
        """Decide where there are some, of names that somebody pushes to."""
        random = self.random
        for name in names:
            if random.random() < 0.7:
                journaled = random.random() < 0.7
                for host in random.sample(hosts, random.choice((1, 1, 2))):
                    self.streams.setdefault(host, []).append((name, journaled))
            if random.random() < 0.5:
                for host in random.sample(hosts, random.choice((1, 1, 2))):
                    self.sinks.setdefault(host, []).append(name)

    @property
    def sunk(self) -> set[str]:
        """The names that have sinks."""
        return {name for names in self.sinks.values() for name in names}

    @property
    def streamed(self) -> set[str]:
        """The names that have streamers."""
        return {name for names in self.streams.values() for name, _ in names}

    # Users

    def start(self, process: Process) -> None:
        """Start the streamers and the sinks of a host, each after a while."""
        host = process.host.name
        for name, journaled in self.streams.get(host, []):
            self._soon(partial(self._stream, process, name, journaled=journaled))
        for name in self.sinks.get(host, []):
            self._soon(partial(self._sink, process, name))

    def streamer(self, process: Process, name: str, *, journaled: bool) -> StreamerRole | None:
        """Start a streamer; None while another process has its journal."""
        record = self.world.record(process, name, STREAMER)
        queue = self._queue(process, name, record.incarnation, journaled=journaled)
        if queue.file is not None and not queue.file.open(process.host):
            return None
        core = StreamerCore(
            name,
            record.incarnation,
            lambda: self.random.uniform(0.5, 1.5),
            self.limits,
            journal=queue.id if queue.file is not None else 0,
        )
        core.about.update(about(record))
        role = StreamerRole(process, record, core, queue, self.oracle)
        if queue.file is not None:
            self.oracle.recovered(role, role.following.recover(self.world.timeline.now))
        role.start()
        process.control.driver.post(lambda now: self.world.feed.announce(record))
        return role

    def sink(self, process: Process, name: str) -> SinkRole:
        """Start a sink, whose reader takes and accepts results."""
        record = self.world.record(process, name, SINK)
        core = sink_core(record.incarnation)
        role = SinkRole(
            process, record, core, self.oracle, lambda: self.random.uniform(0.0, self.pace_s)
        )
        core.about.update(about(record))
        role.start()
        process.control.driver.post(lambda now: self.world.feed.announce(record))
        return role

    def _queue(self, process: Process, name: str, id: int, *, journaled: bool) -> Queue:
        host = process.host.name
        known = self.files.get((host, name)) if journaled else None
        if known is None:
            id = self.world.random.getrandbits(63) | 1 if journaled else id
            known = Queue(name, id, self.clocks[host], is_streamer=True, is_streamed=True)
            self.oracle.queues[id] = known
            if journaled:
                self.files[host, name] = known
                known.file = JournalFile(self.world.timeline, self.random, id, self.write_s)
        return known

    def _soon(self, start: Callable[[], None]) -> None:
        self.world.timeline.after(self.random.uniform(0.0, self.late_s), start)

    def _stream(self, process: Process, name: str, *, journaled: bool) -> None:
        there = [r.record.name for r in process.of(StreamerRole)]
        if self.storming and process.host.alive and name not in there:
            self.streamer(process, name, journaled=journaled)

    def _sink(self, process: Process, name: str) -> None:
        there = [r.record.name for r in process.of(SinkRole)]
        if self.storming and process.host.alive and name not in there:
            self.sink(process, name)

    # Faults

    def faults(self) -> list[Callable[[], None]]:
        """Return the kinds of faults that befall streamers and sinks only."""
        stops = [self._stop_streamer] * bool(self.streams)
        return stops + [self._stop_sink] * bool(self.sinks)

    def streamers(self) -> list[StreamerRole]:
        """Return the streamers that are there and do not leave."""
        processes = self.world.processes.values()
        return [r for p in processes for r in p.of(StreamerRole) if not r.leaving]

    def _stop_streamer(self) -> None:
        """Have a streamer leave. After a while another one of its name starts there."""
        roles = self.streamers()
        if roles:
            self.stop(self.random.choice(roles))

    def stop(self, role: StreamerRole) -> None:
        """Have a streamer leave, and return after a while."""
        self.world.leave(role)
        process, queue = role.process, role.queue
        start = partial(self._stream, process, queue.name, journaled=queue.file is not None)
        self.world.timeline.after(self.random.uniform(0.0, 3.0), start)

    def _stop_sink(self) -> None:
        """Have a sink leave. After a while another one of its name starts there."""
        processes = self.world.processes.values()
        roles = [r for p in processes for r in p.of(SinkRole) if not r.leaving]
        if roles:
            role = self.random.choice(roles)
            self.world.leave(role)
            start = partial(self._sink, role.process, role.record.name)
            self.world.timeline.after(self.random.uniform(0.0, 3.0), start)

    # The end

    def calm(self) -> None:
        """Have streamers whose disk has failed leave."""
        for role in self.streamers():
            if role.queue.file is not None and role.queue.file.broken:
                self.world.leave(role)

    def complete(self) -> None:
        """Start all sinks and streamers that are missing."""
        for process in self.world.processes.values():
            host = process.host.name
            sinking = [r.record.name for r in process.of(SinkRole) if not r.leaving]
            for name in self.sinks.get(host, []):
                if name not in sinking:
                    self.sink(process, name)
            streaming = [r.record.name for r in process.of(StreamerRole)]
            for name, journaled in self.streams.get(host, []):
                if name not in streaming:
                    role = self.streamer(process, name, journaled=journaled)
                    expect(role is not None, "a closed journal can be opened", name)

    def judge_idle(self) -> None:
        """Judge that idle streamers and sinks keep nothing of tasks that are forgotten."""
        for role in self.streamers():
            stats = role.core.pushers.stats()
            expect(not role.core._held, "idle, nobody waits", role.name)
            expect(stats["retained_bytes"] == 0, "idle, nothing is kept", role.name)
        for process in self.world.processes.values():
            for sink in process.of(SinkRole):
                stats = sink.core.stats()
                expect(stats["in_flight"] == 0, "idle, no result is left", sink.name, stats)

    def close(self) -> None:
        """Have all streamers and sinks leave."""
        for process in self.world.processes.values():
            for sink in process.of(SinkRole):
                if not sink.leaving:
                    self.world.leave(sink)
        for role in self.streamers():
            self.world.leave(role)
