"""The pipeline in the world of one seed: users that push and work, and what befalls them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from random import Random

from zmqkit.core.calls.service import ServiceCore
from zmqkit.core.tasks.lease import TASK
from zmqkit.core.tasks.pusher import PusherCore
from zmqkit.core.tasks.share import Share
from zmqkit.core.tasks.task import State
from zmqkit.limits import PusherLimits
from zmqkit.simulation.disk import JournalFile
from zmqkit.simulation.oracle import expect
from zmqkit.simulation.process import Process
from zmqkit.simulation.task_bodies import WAYS
from zmqkit.simulation.task_devices import TaskDevices
from zmqkit.simulation.task_oracle import TaskOracle
from zmqkit.simulation.tasks import Clock, Pushed, PusherRole, Queue, WorkerRole
from zmqkit.simulation.world import World, about

NAMES = ("thumbnails", "mail")
KEYS = ("a", "b")
PUSHES_MAX = 80
"""How many tasks are pushed in one queue at most, so that all are done before the end."""


class TaskUsers:
    """Pushers and workers on the hosts of a world, from its plan to its end."""

    def __init__(
        self,
        world: World,
        seed: int,
        hosts: list[str],
        crash: Callable[[str], None],
        *,
        share: float = 0.75,
        often: bool = False,
    ) -> None:
        """Plan the users.

        share: how many worlds have some; the others run as if there were none. crash: kills the
        process of a host, which starts again later. often: most have many power cuts.
        """
        self.world = world
        self.random = Random(f"tasks {seed}")
        random = self.random
        self.oracle = TaskOracle(world.timeline, random)
        self.storming = True
        self.crash = crash
        # By host: the names worked on, and the names pushed to with and without a journal.
        self.works: dict[str, list[str]] = {}
        self.pushes: dict[str, list[tuple[str, bool]]] = {}
        self.often = often
        if random.random() < share:
            self._place(hosts)
        self.clocks = {host: Clock() for host in hosts}
        self.files: dict[tuple[str, str], Queue] = {}
        self.write_s = random.choice(((0.0005, 0.01), (0.0005, 0.01), (0.02, 0.4)))
        self.limits = PusherLimits(
            tasks_max=random.choice((100_000, 20)),
            dead_max=random.choice((10_000, 3)),
            outcomes_max=random.choice((10_000, 5)),
            outcomes_s=random.choice((3600.0, 2.0)),
            lease_s=random.choice((10.0, 2.0)),
            window_tasks=random.choice((10_000, 2, 2)),
        )
        self.pushes_per_s = random.choice((1.0, 4.0, 10.0))
        self.backoff_s = random.choice((0.05, 0.3))
        self.keyed = random.choice((0.0, 0.3, 0.9))
        self.named = random.choice((0.0, 0.3))
        self.delayed = random.choice((0.0, 0.2))
        self.expiring = random.choice((0.0, 0.2))
        self.ways = [*WAYS, *["return"] * random.choice((2, 10, 40))]
        self.devices = TaskDevices(world, seed, self.oracle, self.clocks, self.limits)
        self.devices.write_s = self.write_s
        names = sorted({name for pushes in self.pushes.values() for name, _ in pushes})
        self.devices.place(hosts, names)

    def _place(self, hosts: list[str]) -> None:
        random = self.random
        self.works = {h: random.sample(NAMES, random.randint(0, 2)) for h in hosts}
        offered = random.choice(NAMES)
        self.works[random.choice(hosts)] = [offered]
        there = sorted({name for names in self.works.values() for name in names})
        self.pushes = {
            host: [(name, random.random() < 0.6) for name in there if random.random() < 0.5]
            for host in hosts
        }
        self.pushes[random.choice(hosts)] = [(offered, True)]

    def faults(
        self, others: list[Callable[[], None]], *, quiet: bool
    ) -> list[Callable[[], None]]:
        """Return the faults of this world.

        others: the faults of other users. quiet: no process may be killed.
        """
        kinds = [self._stop, self._hang_up, self._fill, self._fail, self._set_clock]
        kinds += [self._cut_power] * (not quiet)
        own = [k for k in kinds for _ in range(self.random.choice((0, 0, 1, 1, 2)))]
        own += [self._cut_power] * (12 * self.often)
        own += [k for k in self.devices.faults() for _ in range(self.random.choice((0, 1, 3)))]
        return others + own if self.pushes and (others or self.often) else others

    # Users

    def start(self, process: Process) -> None:
        """Start the users of a host, once its process has started."""
        self.world.timeline.after(0.0, lambda: self._start(process))

    def _start(self, process: Process) -> None:
        host = process.host.name
        if self.world.processes.get(host) is process:
            for name in self.works.get(host, []):
                self.worker(process, name)
            for name, journaled in self.pushes.get(host, []):
                self.pusher(process, name, journaled=journaled)
            self.devices.start(process)

    def worker(self, process: Process, name: str, attempts: int | None = None) -> WorkerRole:
        """Start a worker, whose handler declares so many attempts, or any number of them."""
        random, world = self.random, self.world
        record = world.record(process, name, "worker")
        concurrency = world.plan.concurrency
        core = ServiceCore(record.incarnation, {TASK: False}, concurrency, shares=Share)
        attempts = attempts or random.randint(1, 4)
        self.oracle.attempts.setdefault(name, set()).add(attempts)
        core.about.update(about(record))
        core.about[TASK] = {
            "attempts": attempts, "backoff_s": self.backoff_s, "places": concurrency,
        }  # fmt: skip
        role = WorkerRole(process, record, core, self.oracle, heeds=random.random() < 0.5)
        role.start()
        process.control.driver.post(lambda now: world.feed.announce(record))
        return role

    def pusher(self, process: Process, name: str, *, journaled: bool) -> PusherRole | None:
        """Start a pusher, and a user who pushes; None while another process has its journal."""
        queue = self._queue(process, name, journaled=journaled)
        if queue.file is not None and not queue.file.open(process.host):
            return None
        core = PusherCore(name, queue.id, lambda: self.random.uniform(0.5, 1.5), self.limits)
        target = name
        urls = self.world.control_urls(but=process, offering=name)
        if urls and self.world.plan.ports_stay and self.random.random() < 0.2:
            target = f"{self.random.choice(urls)}/{name}"
        role = PusherRole(process, target, core, queue, self.oracle)
        if queue.file is not None:
            found = role.following.recover(self.world.timeline.now)
            self.oracle.recovered(role, found)
        role.start()
        self._push_later(role)
        return role

    def _queue(self, process: Process, name: str, *, journaled: bool) -> Queue:
        host, oracle = process.host.name, self.oracle
        known = self.files.get((host, name)) if journaled else None
        if known is None:
            id, clock = self.world.random.getrandbits(63) | 1, self.clocks[host]
            streamed = name in self.devices.streamed
            known = oracle.queues[id] = Queue(name, id, clock, is_streamed=streamed)
            if journaled:
                self.files[host, name] = known
                known.file = JournalFile(self.world.timeline, self.random, id, self.write_s)
        return known

    def _push_later(self, role: PusherRole) -> None:
        delay = self.random.expovariate(self.pushes_per_s)
        self.world.timeline.after(delay, lambda: self._pushes(role))

    def _pushes(self, role: PusherRole) -> None:
        if role.closed or not role.process.host.alive or not self.storming:
            return
        if not role.process.paused:
            count = self.random.choice((1, 1, 1, 2, 5))
            role.driver.post(partial(self._push, role, count))
            if self.random.random() < 0.3:
                role.driver.post(partial(self._ask, role))
        self._push_later(role)

    def _push(self, role: PusherRole, count: int, now: float) -> None:
        for _ in range(count):
            if not role.closed and len(role.queue.ids) < PUSHES_MAX:
                self.push(role, now)

    def push(self, role: PusherRole, now: float) -> Pushed:
        """Push a task of any kind. Call it within a turn of the role."""
        random = self.random
        options: dict[str, object] = {"priority": random.randint(0, 9)}
        if random.random() < self.delayed:
            options["due_at"] = now + random.uniform(0.0, 4.0)
        if random.random() < self.expiring:
            options["expires_at"] = now + random.choice((0.01, 0.5, 3.0)) * random.random()
        if random.random() < self.keyed:
            options["order_by"] = random.choice(KEYS)
        if random.random() < self.named:
            options["own_id"] = f"id {random.randint(1, 20)}"
        if random.random() < self.named:
            options["unique"] = f"key {random.randint(1, 9)}"
        if role.queue.name in self.devices.sunk and random.random() < 0.4:
            options["to_sink"] = True
        way = random.choice(self.ways)
        return self.oracle.push(role, way, now, waits=random.random() < 0.3, **options)

    def _ask(self, role: PusherRole, now: float) -> None:
        """Cancel or purge a task that is not over, or requeue a dead one."""
        left = list(role.queue.open.values())
        if left and not role.closed:
            pushed = self.random.choice(left)
            dead = pushed.task.state is State.DEAD
            what = self.random.choice(
                ("requeue", "requeue", "purge") if dead else ("cancel", "purge")
            )
            self.oracle.ask(pushed, what, now)

    # Faults

    def _all_workers(self) -> list[WorkerRole]:
        processes = self.world.processes.values()
        return [r for p in processes for r in p.of(WorkerRole) if not r.leaving]

    def _all_pushers(self) -> list[PusherRole]:
        return [r for p in self.world.processes.values() for r in p.of(PusherRole)]

    def _journals(self) -> list[tuple[str, JournalFile]]:
        files = [*self.files.items(), *self.devices.files.items()]
        return [(host, queue.file) for (host, _), queue in files if queue.file is not None]

    def _stop(self) -> None:
        """Have a worker leave. After a while another one of its name starts there."""
        roles = self._all_workers()
        if roles:
            role = self.random.choice(roles)
            self.world.leave(role)
            delay = self.random.uniform(0.0, 3.0)
            self.world.timeline.after(delay, lambda: self._work_again(role))

    def _work_again(self, role: WorkerRole) -> None:
        if role.process.host.alive and self.storming:
            self.worker(role.process, role.record.name)

    def _hang_up(self) -> None:
        """Close a pusher. After a while another one pushes there, with the same journal."""
        roles = self._all_pushers()
        if roles:
            role = self.random.choice(roles)
            role.close_soon()
            delay = self.random.uniform(0.0, 2.0)
            self.world.timeline.after(delay, lambda: self._push_again(role))

    def _push_again(self, role: PusherRole) -> None:
        if not role.process.host.alive or not self.storming:
            return
        queue = role.queue
        if role.closed and queue.role is role:
            self.pusher(role.process, queue.name, journaled=queue.file is not None)

    def _fill(self) -> None:
        """Have a disk be full for a while."""
        journals = self._journals()
        if journals:
            host, file = self.random.choice(journals)
            self.world.timeline.note(f"the disk of {host} is full")
            file.full_until = self.world.timeline.now + self.random.uniform(0.1, 3.0)

    def _fail(self) -> None:
        """Have a disk fail for good, as far as the present pusher is concerned."""
        journals = self._journals()
        if journals:
            host, file = self.random.choice(journals)
            self.world.timeline.note(f"the disk of {host} fails")
            file.fails = True

    def _cut_power(self) -> None:
        """Kill the process of a journal while its next append is under way."""
        journals = self._journals()
        if journals:
            host, file = self.random.choice(journals)
            delay = self.random.uniform(0.0, file.write_s[1])
            file.watch = lambda: self.world.timeline.after(delay, partial(self._kill, host))

    def _kill(self, host: str) -> None:
        if self.storming and host in self.world.processes:
            self.crash(host)

    def _set_clock(self) -> None:
        host = self.random.choice(list(self.clocks))
        seconds = self.random.choice((-3.0, -0.1, 0.5, 3.0))
        self.world.timeline.note(f"the clock of {host} steps by {seconds}")
        self.clocks[host].step(seconds)

    # The end

    @property
    def ends(self) -> Counter[str]:
        """How tasks have ended, and what the disks did."""
        ends = Counter(self.oracle.ends)
        for _, file in self._journals():
            ends.update({f"journal {what}": count for what, count in file.counts.items()})
        return ends

    def calm(self) -> None:
        """Mend all disks, start missing workers and pushers, and let what hangs return."""
        self.oracle.slow = False
        for _, file in self._journals():
            file.full_until, file.fails, file.watch = 0.0, False, None
        self.devices.calm()
        for role in self._all_workers():
            role.free()
        for pusher in self._all_pushers():
            if pusher.queue.file is not None and pusher.queue.file.broken:
                pusher.close_soon()
        self.world.timeline.after(2.0, self._complete)

    def _complete(self) -> None:
        self.devices.complete()
        for process in self.world.processes.values():
            host = process.host.name
            working = [r.record.name for r in self._all_workers() if r.process is process]
            for name in self.works.get(host, []):
                if name not in working:
                    self.worker(process, name)
            pushing = [r.queue.name for r in process.of(PusherRole)]
            for name, journaled in self.pushes.get(host, []):
                if name not in pushing:
                    role = self.pusher(process, name, journaled=journaled)
                    expect(role is not None, "a closed journal can be opened", name)

    def judge(self) -> Callable[[], None]:
        """Judge that all tasks have ended. Push further ones to all pushers.

        Return a function that judges whether they were done. Call it some seconds later.
        """
        self.oracle.judge_all()
        tried: list[Pushed] = []

        def push(role: PusherRole, now: float) -> None:
            tried.extend(self.oracle.push(role, "return", now) for _ in range(3))

        roles = self._all_pushers()
        for role in roles:
            role.driver.post(partial(push, role))

        def judge() -> None:
            self.oracle.judge_all()
            expect(len(tried) == 3 * len(roles), "healed, everybody can push")
            for pushed in tried:
                expect(pushed.state is State.DONE, "healed, tasks are done", pushed)

        return judge

    def judge_idle(self) -> None:
        """Judge that idle workers and pushers keep nothing of tasks that are forgotten."""
        self.devices.judge_idle()
        for process in self.world.processes.values():
            for worker in process.of(WorkerRole):
                stats = worker.core.stats()
                expect(stats["in_flight"] == 0, "idle, nothing runs", worker.name, stats)
                expect(stats["retained_bytes"] == 0, "idle, nothing is kept", worker.name)
                expect(stats["clients"] == 0, "idle, no window is left", worker.name, stats)
            for role in process.of(PusherRole):
                core = role.core
                jobs = [job for each in core.instances for job in (*each.jobs, *each.occupied)]
                expect(not jobs, "idle, no lease is left", role.name, jobs)
                settled = self.limits.outcomes_s > 60.0 or not core.ledger.settled.over
                expect(settled, "idle, outcomes are forgotten", role.name)

    def close(self) -> None:
        """Have all pushers and workers leave."""
        self.devices.close()
        for role in self._all_pushers():
            role.close_soon()
        for worker in self._all_workers():
            self.world.leave(worker)
