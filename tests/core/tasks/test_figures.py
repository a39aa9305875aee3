"""What a pusher tells of its queue."""

from __future__ import annotations

import pytest

from tests.core.tasks.world import World


def test_a_queue_tells_how_long_tasks_wait_and_how_long_workers_have_them() -> None:
    world = World()
    world.push(1)
    world.now += 3.0
    whole, queue = world.core.statistics(world.now)
    assert (whole.waiting, whole.oldest_ms, queue.oldest_ms) == (1, 3000, 3000)
    worker = world.worker()
    world.now += 0.5
    world.finish(worker)
    whole, queue = world.core.statistics(world.now)
    assert (queue.part, queue.of, queue.delivered) == ("queue", world.core.name, 1)
    assert queue.waited is not None and queue.waited.count == 1
    assert queue.waited.sum_s == pytest.approx(3.0, rel=0.05)
    assert queue.took is not None and queue.took.sum_s == pytest.approx(0.5, rel=0.05)
    assert (whole.peers, whole.credit) == ({"up": 1}, 1)
