"""What pushers, and a streamer between, do with what handlers say of their progress."""

from __future__ import annotations

import pytest

from tests.core.tasks.street import Street
from tests.core.tasks.world import Worker, World
from zmqkit.core.calls.service import ServiceCore
from zmqkit.core.effects import News
from zmqkit.core.tasks.task import State
from zmqkit.limits import LEASE_S, PROGRESS_BYTES_MAX, TURN_S
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import encode


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def street() -> Street:
    return Street()


def say(world: World, worker: Worker, value: object) -> None:
    """Have the handler at hand say something."""
    worker.take(worker.core.report(worker.handed[0], encode(value), world.now))
    world.settle()


def receive(world: World, worker: Worker, meta: object) -> None:
    """Have a packet come from a worker."""
    made = wire.pack(wire.PROGRESS, worker.incarnation, world.core.incarnation, 0, encode(meta))
    world.perform(world.core.receive(worker.peer, made, world.now))


def test_the_latest_word_counts(world: World) -> None:
    worker = world.worker()
    [one] = world.push(7)
    assert one.progress is None
    for word in ("a", {"done": 0.5}):
        world.pass_(1.0)
        say(world, worker, word)
        assert one.progress == word
    world.finish(worker)
    assert one.progress == {"done": 0.5}


def test_the_word_of_an_old_attempt_is_ignored(world: World) -> None:
    worker = world.worker()
    [one] = world.push(7)
    old = one.receipt
    worker.is_cut = True
    world.tell(News.LOST, worker)
    other = world.worker()
    world.pass_(LEASE_S + 2.0)
    assert len(other.handed) == 1
    say(world, other, "new")
    receive(world, worker, [old, "old"])
    assert one.progress == "new"


def test_a_streamer_passes_words_on_to_pushers(street: Street) -> None:
    street.streamer()
    pusher = street.pusher()
    worker = street.worker()
    street.pass_(TURN_S + 0.1)
    [one] = street.push(pusher, "cat")
    assert isinstance(worker.core, ServiceCore)
    for word in (1, 2, 3):  # the last two come too soon after the first
        effects = worker.core.report(worker.handed[0], encode(word), street.now)
        street.perform(worker, effects)
        street.settle()
    assert one.progress == 1
    street.finish(worker)
    assert (one.state, one.progress) == (State.DONE, 3)


@pytest.mark.parametrize(
    "meta",
    [None, 7, [], [1], [1, 2, 3], ["1", 2], [None, 2], [1, bytes(PROGRESS_BYTES_MAX + 9)]],
)
def test_garbage_is_counted(world: World, meta: object) -> None:
    worker = world.worker()
    [one] = world.push(7)
    receive(world, worker, meta)
    assert one.progress is None
    assert world.core.stats()["malformed"] == {"progress": 1}


def test_as_much_as_may_be_said_is_read(world: World) -> None:
    worker = world.worker()
    [one] = world.push(7)
    word = bytes(PROGRESS_BYTES_MAX - 3)
    assert len(encode(word)) == PROGRESS_BYTES_MAX
    receive(world, worker, [one.receipt, word])
    assert one.progress == word


def test_a_word_of_what_nobody_has_is_ignored(world: World) -> None:
    worker = world.worker()
    world.push(7)
    receive(world, worker, [99, "x"])
    assert world.core.stats()["malformed"] == {}
