"""Brokers with journals in a world that is simulated, and what their oracle notices."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import nullcontext
from itertools import count

import pytest

from zmqkit.core.majordomo.durable_back import DurableBack
from zmqkit.core.majordomo.errand import Errand
from zmqkit.core.tasks.appends import Appends
from zmqkit.core.tasks.ledger import Ledger
from zmqkit.core.tasks.task import Task
from zmqkit.errors import UnknownRequest, ZmqkitError
from zmqkit.simulation.keeping_users import KeepingUsers
from zmqkit.simulation.oracle import Broken
from zmqkit.simulation.simulation import replay, run
from zmqkit.simulation.submissions import Asked
from zmqkit.simulation.world import Plan, World

SEEDS = int(os.environ.get("ZMQKIT_SEEDS", "12"))
FIRST = 100
BREAKING = 60


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(FIRST, FIRST + SEEDS))
def test_every_invariant_holds_of_requests_that_brokers_keep(seed: int) -> None:
    result = run(seed, only="journals")
    assert not result.broken, f"seed {seed}: {result.broken}\n{replay(seed, only='journals')}"


@pytest.mark.slow
def test_power_is_cut_and_what_was_submitted_is_collected() -> None:
    result = run(3, only="journals")
    assert not result.broken
    assert result.ends["power cuts"] and result.ends["collect done"]


class Stage:
    """Users who submit and collect, and judge for themselves how that ends."""

    def __init__(self) -> None:
        world = World(1, Plan())
        self.users = KeepingUsers(world, 1, ["user"], world.crash)
        self.role = self.users.submitter(world.start("user"), "orders")
        self.it = self.users.keeper.new("orders", "add", 4, 60.0)

    def ends(self, asked: Asked, error: ZmqkitError) -> None:
        self.users.keeper.settled(self.role, [(asked, None, error)])


@pytest.mark.parametrize("was_acknowledged", [False, True])
def test_whoever_asked_before_the_acknowledgement_may_hear_of_nothing(
    was_acknowledged: bool,
) -> None:
    """Found by seed 307: the answer was on its way while the submission arrived."""
    stage = Stage()
    asked = Asked("collect", stage.it, was_acknowledged)
    stage.it.acknowledged = True
    unlike = pytest.raises(Broken) if was_acknowledged else nullcontext()
    with unlike:
        stage.ends(asked, UnknownRequest("nothing is known"))


def test_no_disk_is_slow_when_all_faults_are_over() -> None:
    """Found by seed 4023: a slow disk let fewer calls pass than were made in the end."""
    users = Stage().users
    users.disks.write_s = (0.02, 0.4)
    begun = users.disks.queue("host", "main", "orders").file
    users.calm()
    later = users.disks.queue("host", "main", "weather").file
    assert begun is not None and later is not None
    assert begun.write_s == later.write_s < (0.001, 0.02)


def answers_before_the_disk(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(DurableBack, "_once", lambda self, change, request, answer: answer)


def acknowledges_before_the_disk(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Appends, "due", lambda self, task: 0)


def forgets_what_has_ended(patch: pytest.MonkeyPatch) -> None:
    keep = Ledger._keep

    def forget(self: Ledger, task: Task, size: int, now: float) -> None:
        keep(self, task, size, now)
        if task.sequence in self.settled.over and not task.waiters:
            self.forget(task)

    patch.setattr(Ledger, "_keep", forget)


def hands_out_again_what_has_ended(patch: pytest.MonkeyPatch) -> None:
    """The next process does, since the end of a task is not written."""
    done = Ledger.done

    def unwritten(self: Ledger, task: Task, value: object, size: int, now: float) -> bool:
        ended = done(self, task, value, size, now)
        if task.sequence <= 5:
            (self.changes or {}).pop(task.sequence, None)
        return ended

    patch.setattr(Ledger, "done", unwritten)


def sends_before_the_disk(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Errand, "must_run_once", False)


BREAKS = [
    answers_before_the_disk, acknowledges_before_the_disk, forgets_what_has_ended,
    hands_out_again_what_has_ended, sends_before_the_disk,
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("breaks", BREAKS)
def test_what_breaks_a_promise_is_noticed(
    breaks: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    breaks(monkeypatch)
    found = next(r for n in count(1) if (r := run(n, only="journals")).broken or n > BREAKING)
    assert "Broken" in found.broken, found.broken
