"""Tasks that a streamer has on its disk: their pusher waits for it, and for nobody else."""

from __future__ import annotations

import pytest

from tests.core.tasks.street import Node, Street
from tests.core.tasks.world import raised
from zmqkit.core.calls.service import ServiceCore
from zmqkit.core.effects import News
from zmqkit.core.tasks.pusher import PusherCore
from zmqkit.core.tasks.streamer import StreamerCore
from zmqkit.core.tasks.task import State, Task
from zmqkit.limits import RETRY_S, TURN_S, PusherLimits
from zmqkit.wire.encoding import encode
from zmqkit.wire.packet import PING, pack

JOURNAL = 77 << 32


@pytest.fixture
def street() -> Street:
    return Street()


def streamer_of(node: Node) -> StreamerCore:
    assert isinstance(node.core, StreamerCore)
    return node.core


def pusher_of(node: Node) -> PusherCore:
    assert isinstance(node.core, PusherCore)
    return node.core


def hand_over(street: Street, pusher: Node, *bodies: object, **options: object) -> list[Task]:
    """Push tasks that the street's streamer has on its disk."""
    street.pass_(TURN_S + 0.1)
    tasks = street.push(pusher, *bodies, **options)
    assert all(each.journal for each in tasks)
    return tasks


def returned(street: Street, streamer: Node) -> StreamerCore:
    """Return the core that a streamer's next process has, with what its journal kept."""
    kept: list[Task] = []
    for task in streamer_of(streamer).tasks.ledger.tasks.values():
        if not task.is_over:
            again = Task(task.row, task.raw, task.priority)
            again.sequence, again.own_id = task.sequence, task.own_id
            again.unique = task.unique
            kept.append(again)
    incarnation = (900 + len(street.nodes)) << 32
    core = StreamerCore("thumbnails", incarnation, lambda: 1.0, journal=JOURNAL)
    core.tasks.recover(kept, len(kept), 2, street.now)
    return core


def test_a_streamer_that_refuses_to_tell_keeps_its_tasks(street: Street) -> None:
    """The pusher gave them to a worker, without their bodies."""
    streamer, pusher = street.streamer(JOURNAL), street.pusher()
    tasks = hand_over(street, pusher, 1, 2)
    leaving = returned(street, streamer)
    street.kill(streamer)
    leaving.pushers._admission.leaving = True  # it has said WELCOME before
    second = street._add(leaving)
    assert [each.state for each in tasks] == [State.LEASED] * 2
    street.kill(second)
    worker = street.worker()
    street.pass_(TURN_S + 0.1)
    assert not worker.handed
    street._add(returned(street, streamer))
    assert street.work(worker) == [1, 2]
    assert [each.state for each in tasks] == [State.DONE] * 2


def test_a_streamer_that_is_too_busy_to_tell_is_asked_again(street: Street) -> None:
    streamer, pusher = street.streamer(JOURNAL), street.pusher()
    tasks = hand_over(street, pusher, 1, 2)
    busy = returned(street, streamer)
    street.kill(streamer)
    worker = street.worker()
    busy._room.places = 0
    street._add(busy)
    street.pass_(TURN_S + 0.1)
    assert street.work(worker) == [1, 2]
    assert [each.state for each in tasks] == [State.LEASED] * 2
    busy._room.places = 100
    street.pass_(RETRY_S + 0.1)
    assert [each.state for each in tasks] == [State.DONE] * 2


def test_a_lapsed_lease_does_not_count_among_those_of_the_streamer(street: Street) -> None:
    """Two streamers had the task. The pusher forgot that the second one has it."""
    first = street.streamer()
    pusher = street.pusher()
    street.pass_(TURN_S + 0.1)
    [task] = street.push(pusher, 1)
    street.tell(pusher, first, News.LOST)
    second = street.streamer(JOURNAL)
    street.pass_(street.limits.lease_s + 0.1)
    assert task.journal == JOURNAL and task.receipt
    street.kill(first)
    street.pass_(street.limits.lease_s + 0.1)
    assert task.receipt
    core = returned(street, second)
    street.kill(second)
    again = street._add(core)
    [lease] = pusher_of(pusher)._workers.leases.of(task)
    assert lease.instance is not None and lease.instance.incarnation == again.incarnation


def name_nothing(street: Street, streamer: Node, pusher: Node) -> None:
    """Have a pusher's ping come that names no task, as after a connection was lost."""
    said = encode([1, 1 << 50, []])
    ping = pack(PING, pusher.incarnation, streamer.incarnation, 0, said)
    [peer] = [peer for peer, node in streamer.peers.items() if node is pusher]
    street.perform(streamer, streamer_of(streamer).receive(peer, ping, street.now))
    street.settle()


def test_a_pusher_that_does_not_name_a_task_has_not_cancelled_it(street: Street) -> None:
    """Seed 140: the pusher had lost the connection, and was about to ask anew."""
    streamer, pusher = street.streamer(JOURNAL), street.pusher()
    hand_over(street, pusher, 1)
    name_nothing(street, streamer, pusher)
    assert streamer_of(streamer).left == 1
    assert street.work(street.worker()) == [1]


def test_what_somebody_cancelled_is_done_for_whoever_pushes_it_again(street: Street) -> None:
    """The streamer said of a task that it was cancelled, as its twin had been before."""
    street.streamer()
    one, other = street.pusher(), street.pusher()
    street.pass_(TURN_S + 0.1)
    [first] = street.push(one, 1, own_id="x")
    street.perform(one, pusher_of(one).cancel(first, street.now))
    street.settle()
    [second] = street.push(other, 2, own_id="x")
    assert street.work(street.worker()) == [2]
    assert (first.state, second.state) == (State.CANCELLED, State.DONE)


def test_what_died_among_too_many_was_not_cancelled() -> None:
    """Seed 35: the streamer purged a dead task before it told the pusher that it is dead."""
    street = Street(PusherLimits(dead_max=1))
    street.streamer()
    pusher, worker = street.pusher(), street.worker(concurrency=2, attempts=1)
    street.pass_(TURN_S + 0.1)
    tasks = street.push(pusher, 1, 2)
    street.pass_(0.1)
    assert isinstance(worker.core, ServiceCore)
    ends = [(request, raised("no")) for request in worker.handed]
    street.perform(worker, worker.core.handled(ends, street.now))
    street.settle()
    assert len(ends) == 2 and [str(each.error) for each in tasks] == ["ValueError: no"] * 2


def test_tasks_with_one_key_are_one_for_a_streamer_that_returns(street: Street) -> None:
    """Seed 3050: it knew the task by one of their ids only, and said that the other is lost."""
    streamer, one, other = street.streamer(JOURNAL), street.pusher(), street.pusher()
    [first] = hand_over(street, one, 1, unique="k")
    [second] = hand_over(street, other, 2, unique="k")
    core = returned(street, streamer)
    street.kill(streamer)
    street._add(core)
    street.pass_(TURN_S + 0.1)
    assert street.work(street.worker()) == [1]
    assert (first.value, second.value) == (1, 1)
