"""What a pusher or a streamer may keep of its tasks, at any moment."""

from __future__ import annotations

from zmqkit.core.tasks.task import State
from zmqkit.limits import PRIORITY_MAX
from zmqkit.simulation.oracle import expect
from zmqkit.simulation.tasks import Giver


def judge_memory(role: Giver) -> None:
    """Judge that a pusher or a streamer keeps no more than its limits allow."""
    core, queue = role.tasks, role.queue
    ledger, limits = core.ledger, core.limits
    most = limits.tasks_max
    if queue.file is not None:
        # Plain tasks come in pages. Beyond the limit they come one by one, in place of
        # those that were leased.
        leased = ledger.counts[State.LEASED]
        most = 2 * limits.tasks_max + limits.window_tasks + PRIORITY_MAX + 1 + leased
    open_max = max(most, queue.recovered)
    expect(ledger.open_count <= open_max, "open tasks are bounded", role.name)
    count = len(ledger.tasks)
    count_max = ledger.open_count + len(ledger.dead) + limits.outcomes_max
    expect(count <= count_max, "outcomes are bounded", role.name, count)
    expect(len(ledger.names._by_id) <= count, "ids are bounded", role.name)
    expect(len(ledger.names._by_unique) <= ledger.open_count, "keys are bounded", role.name)
    if queue.file is not None and ledger.changes:
        numbers = queue.file.numbers
        strange = [
            number
            for number, task in ledger.changes.items()
            if task.is_forgotten and not task.journal and task.append < core._appends.count
            and number not in numbers and number not in queue.file.outcomes
        ]  # fmt: skip
        expect(not strange, "what no journal has is not deleted", role.name, strange[:9])
