"""The journals of simulated brokers: a file for each service of each broker of a host."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from zmqkit.core.effects import Append, Page
from zmqkit.core.majordomo.broker import BrokerCore
from zmqkit.core.majordomo.durable_back import DurableBack
from zmqkit.core.majordomo.followed import FollowedBack
from zmqkit.core.majordomo.front import FrontCore
from zmqkit.errors import JournalError
from zmqkit.majordomo_limits import BrokerLimits
from zmqkit.simulation.disk import JournalFile
from zmqkit.simulation.driver import SimulatedDriver
from zmqkit.simulation.network import Host
from zmqkit.simulation.tasks import Clock, Following, Queue
from zmqkit.simulation.timeline import Timeline


class BrokerDisks:
    """The files of all brokers. They stay when a broker ends."""

    def __init__(
        self, timeline: Timeline, random: Random, write_s: tuple[float, float]
    ) -> None:
        """Begin without files. write_s: how long an append takes until it is synced."""
        self.queues: dict[tuple[str, str, str], Queue] = {}
        self.random = random
        self.write_s = write_s
        self._timeline = timeline

    @property
    def now(self) -> float:
        """The time."""
        return self._timeline.now

    def names(self, host: str, via: str) -> list[str]:
        """Return the services of which a broker has a file."""
        return sorted(n for h, v, n in self.queues if (h, v) == (host, via))

    def queue(self, host: str, via: str, name: str) -> Queue:
        """Return the queue of a service of a broker, with its file."""
        key = (host, via, name)
        if key not in self.queues:
            id = self.random.getrandbits(63) | 1
            file = JournalFile(self._timeline, self.random, id, self.write_s)
            self.queues[key] = Queue(name, id, Clock(), file)
        return self.queues[key]

    def files(self) -> list[tuple[str, JournalFile]]:
        """Return all files, each with the host that has it."""
        return [(host, q.file) for (host, _, _), q in self.queues.items() if q.file is not None]


class BrokerJournals:
    """The journals of one broker, as `zmqkit.device.journals` has them in real life."""

    def __init__(
        self,
        disks: BrokerDisks,
        host: Host,
        via: str,
        limits: BrokerLimits,
        opened: Callable[[Queue, DurableBack], None],
    ) -> None:
        """opened: is called with each back that has begun with the tasks of its file."""
        self.opened: dict[str, tuple[Queue, Following]] = {}
        self._disks = disks
        self._host = host
        self._via = via
        self._limits = limits
        self._told = opened

    def belong_to(self, core: BrokerCore, driver: SimulatedDriver) -> None:
        """Follow the services of this broker, and go on with those that have a file."""
        self._core, self._driver = core, driver
        for name in self._disks.names(self._host.name, self._via):
            driver.command(lambda now, name=name: core.begin(name))  # type: ignore[misc]  # the name of this turn of the loop

    def make_back(self, name: str, front: FrontCore) -> DurableBack:
        """Open the journal of a service, or make it. Raises JournalError."""
        queue = self._disks.queue(self._host.name, self._via, name)
        assert queue.file is not None
        if not queue.file.open(self._host):
            raise JournalError("it is open already")
        jitter, now = self._disks.random.uniform, self._disks.now
        back = DurableBack(name, queue.id, lambda: jitter(0.5, 1.5), self._limits, front)
        followed = FollowedBack(self._core, name, back)
        following = Following(queue, back.core, _unheeded, followed)
        following.driver = self._driver
        following.recover(now)
        self.opened[name] = queue, following
        self._told(queue, back)
        return back

    def append(self, effect: Append) -> None:
        """Write changes to the journal of a service."""
        self.opened[effect.queue][1].append(effect)

    def page(self, effect: Page) -> None:
        """Read a page of the journal of a service."""
        self.opened[effect.queue][1].page(effect)

    def close(self) -> None:
        """Close all files, each once what was handed over is written."""
        for queue, _ in self.opened.values():
            assert queue.file is not None
            queue.file.close()


def _unheeded(queue: Queue, numbers: list[int]) -> None:
    """Heed no pages: requests have ids, and such tasks are in memory."""
