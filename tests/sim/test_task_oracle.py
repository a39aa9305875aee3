"""The oracle of tasks notices what must not be: each breaks a rule of a core on purpose."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.sim.breaking import Break, name_of
from zmqkit.core.calls.work import Work
from zmqkit.core.dispatch.dispatcher import Dispatcher
from zmqkit.core.dispatch.job import Instance
from zmqkit.core.dispatch.window import Window
from zmqkit.core.effects import Effect, News, Tell
from zmqkit.core.tasks import pusher, streamer
from zmqkit.core.tasks.appends import Appends
from zmqkit.core.tasks.leases import Leases, leases_of
from zmqkit.core.tasks.ledger import Ledger
from zmqkit.core.tasks.pusher import PusherCore
from zmqkit.core.tasks.task import Event, Task
from zmqkit.core.tasks.workers import Workers
from zmqkit.disk.rows import Changes, place
from zmqkit.errors import ZmqkitError
from zmqkit.roles import journaled
from zmqkit.roles.results import Results
from zmqkit.simulation import disk
from zmqkit.wire.encoding import Buffer
from zmqkit.wire.packet import Packet

SEEDS = range(200)


def acknowledges_at_once(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Appends, "wait", lambda self, task, waiter: False)


def keeps_the_lease(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        Leases, "release", lambda self, lease, now: self._ledger.release(lease.task, now)
    )


def releases_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Ledger, "release", lambda self, task, now: None)


def retries_for_ever(patch: pytest.MonkeyPatch) -> None:
    settle = Ledger.settle

    def settled(self: Ledger, task: Task, event: Event, now: float, **end: object) -> bool:
        if event is Event.EXHAUSTED:
            self.retry(task, "no", 0.1, now)
            return True
        return settle(self, task, event, now, **end)  # type: ignore[arg-type]  # as it came

    patch.setattr(Ledger, "settle", settled)


def releases_what_a_silent_worker_runs(patch: pytest.MonkeyPatch) -> None:
    hear = Workers.hear

    def hears(self: Workers, tell: Tell, now: float) -> list[Effect]:
        instance = self.instances.connections.by_incarnation.get(tell.incarnation)
        if tell.news is News.SILENT and instance is not None:
            for lease in leases_of(instance):
                self.leases.release(lease, now)
        return hear(self, tell, now)

    patch.setattr(Workers, "hear", hears)


def forgets_ends(patch: pytest.MonkeyPatch) -> None:
    done = Ledger.done

    def is_done(self: Ledger, task: Task, *result: object) -> bool:
        changes, self.changes = self.changes, None
        try:
            return done(self, task, *result)  # type: ignore[arg-type]  # as it came
        finally:
            self.changes = changes

    patch.setattr(Ledger, "done", is_done)


def forgets_what_is_tried_again(patch: pytest.MonkeyPatch) -> None:
    put = journaled._put

    def puts(changes: Changes, task: Task, offset: float) -> None:
        if task.is_plain and task.due_at:
            changes.plain_over.append(place(task.priority, task.sequence))
        else:
            put(changes, task, offset)

    patch.setattr(journaled, "_put", puts)


def forgets_what_the_disk_refused(patch: pytest.MonkeyPatch) -> None:
    failed = Appends.failed

    def fails(self: Appends, *about: object) -> list[tuple[object, Task]]:
        self._under_way = {n: t for n, t in self._under_way.items() if not t.is_over}
        return failed(self, *about)  # type: ignore[arg-type]  # as it came

    patch.setattr(Appends, "failed", fails)


def recovers_some(patch: pytest.MonkeyPatch) -> None:
    recover = PusherCore.recover

    def recovers(
        self: PusherCore, tasks: Iterable[Task], *about: object, **rest: object
    ) -> None:
        kept = [each for each in tasks if each.priority > 2]
        recover(self, kept, *about, **rest)  # type: ignore[arg-type]  # as it came

    patch.setattr(PusherCore, "recover", recovers)


def runs_one_too_many(patch: pytest.MonkeyPatch) -> None:
    dispatch = Work.dispatch
    patch.setattr(Work, "dispatch", lambda self, now, most: dispatch(self, now, most + 1))


def counts_what_is_under_way(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Task, "failures", property(lambda self: self.attempt))


def counts_from_where_the_disk_was(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(disk, "PASSED_OVER", 0)


def leases_under_the_same_numbers(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(pusher, "_OPENING_BITS", 2)


def ignores_keys(patch: pytest.MonkeyPatch) -> None:
    enter = Ledger._enter

    def enters(self: Ledger, task: Task, now: float) -> None:
        task.order_by = None
        enter(self, task, now)

    patch.setattr(Ledger, "_enter", enters)


def ignores_delays(patch: pytest.MonkeyPatch) -> None:
    def wait(self: Ledger, task: Task, now: float, *, first: bool = False) -> None:
        self.line.join(task, first=first)

    patch.setattr(Ledger, "_wait", wait)


def keeps_what_was_refused(patch: pytest.MonkeyPatch) -> None:
    def refuse(self: Ledger, task: Task, error: ZmqkitError, now: float) -> None:
        self.settle(task, Event.PURGED, now, error=error)

    patch.setattr(Ledger, "refuse", refuse)


def reads_no_results(patch: pytest.MonkeyPatch) -> None:
    def reply(self: Workers, instance: Instance, packet: Packet, now: float) -> list[Effect]:
        return []

    patch.setattr(Workers, "_reply", reply)


def tells_nobody(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PusherCore, "_told", lambda self: [])


def keeps_no_answers(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Window, "retain", lambda self, sequence, answer: None)


def gives_nothing_up(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Leases, "abandon", lambda self, leases, now: [])


def waits_for_the_lost(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Leases, "lapse", lambda self, incarnation, now: None)
    patch.setattr(Leases, "lost", lambda self, leases, now: None)


def gives_to_others_what_a_streamer_has(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Leases, "_awaits_streamer", lambda self, lease: False)


def asks_no_streamer(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Leases, "claim", lambda self, instance, now: None)


def accepts_before_the_disk(patch: pytest.MonkeyPatch) -> None:
    wait = Appends.wait

    def waits(self: Appends, task: Task, waiter: object) -> bool:
        return not isinstance(waiter, streamer._Written) and wait(self, task, waiter)

    patch.setattr(Appends, "wait", waits)


def keeps_results_from_sinks(patch: pytest.MonkeyPatch) -> None:
    def returned(self: Ledger, task: Task, row: bytes, raw: Buffer | None, now: float) -> bool:
        return self.done(task, None, 0, now)

    patch.setattr(Ledger, "returned", returned)


def hears_no_sink(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Results, "acknowledge", lambda self, now: [])


def delivers_what_was_pushed(patch: pytest.MonkeyPatch) -> None:
    def turn(self: Task, row: bytes, raw: Buffer | None) -> None:
        self.is_result = True
        self.receipt = self.attempt = self.spared = 0
        self.unique = self.order_by = self.error = None

    patch.setattr(Task, "turn_into_result", turn)


def writes_results_as_tasks(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(journaled, "IS_RESULT", 0)


def gives_out_what_workers_have(patch: pytest.MonkeyPatch) -> None:
    inherit = Workers.inherit

    def inherits(self: Workers, worker: int, had: list[tuple[int, Task]], now: float) -> None:
        inherit(self, worker, had, now - self._limits.lease_s)

    patch.setattr(Workers, "inherit", inherits)


def says_that_what_workers_have_is_over(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Dispatcher, "has_inherited", lambda self: False)


BREAKS = [
    Break(acknowledges_at_once, "what is acknowledged is on disk"),
    Break(keeps_the_lease, "AssertionError"),
    Break(releases_nothing, "AssertionError"),
    Break(retries_for_ever, "attempts are bounded"),
    Break(releases_what_a_silent_worker_runs, "one has a task at a time", 54),
    Break(forgets_ends, "what has ended on disk has ended"),
    Break(forgets_what_is_tried_again, "what was acknowledged is not lost", 8),
    Break(forgets_what_the_disk_refused, "at rest, the journal is right", 39),
    Break(recovers_some, "accepted is the sum"),
    Break(runs_one_too_many, "a worker runs what it can"),
    Break(counts_what_is_under_way, "only failed attempts count"),
    Break(counts_from_where_the_disk_was, "an id names one task"),
    Break(leases_under_the_same_numbers, "a lease runs once"),
    Break(ignores_keys, "the first of a key is leased"),
    Break(ignores_delays, "what is leased is due"),
    Break(keeps_what_was_refused, "an outcome is kept as it was", 21),
    Break(reads_no_results, "healed, a task ends", 3),
    Break(tells_nobody, "a wait ends"),
    Break(keeps_no_answers, "a lease runs once"),
    Break(gives_nothing_up, "AssertionError"),
    Break(waits_for_the_lost, "AssertionError"),
    Break(gives_to_others_what_a_streamer_has, "what a streamer has"),
    Break(asks_no_streamer, "healed, a task ends"),
    Break(accepts_before_the_disk, "what is accepted is on disk"),
    Break(keeps_results_from_sinks, "a sink accepted what it was to have"),
    Break(hears_no_sink, "healed, a task ends", 2),
    Break(delivers_what_was_pushed, "a result is that task's own"),
    Break(gives_out_what_workers_have, "one has a task at a time", 54),
    Break(says_that_what_workers_have_is_over, "what outlives its pusher is taken", 19),
    Break(writes_results_as_tasks, "a journal has what was pushed"),
]


@pytest.mark.slow
@pytest.mark.parametrize("broken", BREAKS, ids=name_of)
def test_a_rule_that_is_broken_is_noticed(
    broken: Break, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert broken.is_noticed(monkeypatch, SEEDS, "tasks")
