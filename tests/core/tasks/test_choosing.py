"""A pusher that is new waits a moment for a streamer before it gives tasks to workers."""

from __future__ import annotations

import pytest

from tests.core.tasks.street import Node, Street
from zmqkit.core.tasks.pusher import PusherCore
from zmqkit.limits import CHOICE_S, PusherLimits


def pusher_of(node: Node) -> PusherCore:
    assert isinstance(node.core, PusherCore)
    return node.core


@pytest.fixture
def street() -> Street:
    street = Street()
    street.limits = PusherLimits()
    return street


def test_a_streamer_that_is_found_after_a_worker_gets_the_first_task(street: Street) -> None:
    worker = street.worker()
    pusher = street.pusher()
    street.push(pusher, 1)
    street.pass_(CHOICE_S / 2)
    assert not worker.handed
    streamer = street.streamer()
    street.pass_(CHOICE_S / 2)
    assert pusher.core.stats()["passed_on"] == 1
    assert street.work(worker) == [1]
    assert streamer.core.stats()["done"] == 1


def test_without_a_streamer_workers_get_tasks_after_that_moment_and_later_at_once(
    street: Street,
) -> None:
    pusher = street.pusher()
    street.push(pusher, 1)
    street.pass_(10 * CHOICE_S)  # it begins with the first worker
    worker = street.worker(concurrency=2)
    street.pass_(CHOICE_S - 0.01)
    assert not worker.handed and pusher_of(pusher).ready_count == 0
    street.pass_(0.02)
    assert pusher_of(pusher).ready_count == 1
    assert len(worker.handed) == 1
    street.push(pusher, 2)
    assert street.work(worker) == [1, 2]
    assert pusher.core.deadline() > street.now


def test_a_streamer_gives_its_workers_tasks_at_once(street: Street) -> None:
    streamer, worker, pusher = street.streamer(), street.worker(), street.pusher()
    street.push(pusher, 1)
    assert street.work(worker) == [1]
    assert streamer.core.stats()["done"] == 1


def test_a_limit_of_0_waits_for_no_streamer(street: Street) -> None:
    street.limits = PusherLimits(choice_s=0)
    worker, pusher = street.worker(), street.pusher()
    street.push(pusher, 1)
    assert street.work(worker) == [1]
