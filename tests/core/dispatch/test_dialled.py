"""Workers that dial a streamer."""

from __future__ import annotations

from random import Random

import pytest

from tests.core.tasks.street import Node, Street
from tests.core.tasks.world import NAME
from zmqkit.core.calls.dialling import DEVICE_PEER, DiallingCore
from zmqkit.core.dispatch.dialled import DIALLED
from zmqkit.core.effects import Disconnect, News, Send, Tell
from zmqkit.core.tasks.lease import STREAMER, TASK
from zmqkit.core.tasks.share import Share
from zmqkit.core.tasks.streamer import StreamerCore
from zmqkit.limits import LEASE_S, READY_COUNT, READY_S, STUCK_S, TURN_S, PusherLimits
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import encode

SILENT_S = READY_COUNT * READY_S
PUSHED_TO = 1 << 40


@pytest.fixture
def street() -> Street:
    made = Street()
    made.answers = made.streamer()
    return made


def core_of(node: Node | None) -> StreamerCore:
    assert node is not None
    assert isinstance(node.core, StreamerCore)
    return node.core


def dialled(street: Street) -> object:
    return core_of(street.answers).stats()["dialled"]


def workers(street: Street) -> list[str]:
    """The state of each worker that the streamer has, or had."""
    return [each.state.value for each in core_of(street.answers).tasks.instances]


def pusher(street: Street) -> Node:
    made = street.pusher()
    street.pass_(TURN_S + 0.1)
    return made


def ready(source: int, **fields: object) -> tuple[bytes | memoryview, ...]:
    return wire.pack(wire.READY, source, 0, 0, encode({"name": NAME, **fields}))


def test_a_worker_that_dials_does_tasks(street: Street) -> None:
    worker = street.dialling()
    assert workers(street) == ["up"]
    tasks = street.push(pusher(street), 1, 2, 3)
    assert street.work(worker) == [1, 2, 3]
    assert [each.value for each in tasks] == [1, 2, 3]


def test_it_shares_them_with_workers_that_are_found(street: Street) -> None:
    found, dialling = street.worker(), street.dialling()
    tasks = street.push(pusher(street), 1, 2)
    assert len(found.handed) == len(dialling.handed) == 1
    street.work(found)
    street.work(dialling)
    assert [each.value for each in tasks] == [1, 2]


def test_it_does_not_matter_who_is_there_first() -> None:
    street = Street()
    worker = street.dialling()
    street.pass_(60.0)
    street.answers = street.streamer()
    street.pass_(SILENT_S + READY_S)
    assert workers(street) == ["up"]
    [one] = street.push(pusher(street), "a")
    street.work(worker)
    assert one.value == "a"


def test_a_worker_without_a_name_takes_that_of_the_streamer(street: Street) -> None:
    street.dialling(name="")
    assert workers(street) == ["up"]


def test_an_idle_worker_stays(street: Street) -> None:
    worker = street.dialling()
    street.pass_(10 * LEASE_S)
    assert workers(street) == ["up"]
    assert worker.connections == 1


def test_a_busy_worker_stays_and_keeps_its_task(street: Street) -> None:
    worker = street.dialling()
    [one] = street.push(pusher(street), "a")
    street.pass_(10 * LEASE_S)
    street.work(worker)
    assert (one.value, one.attempt) == ("a", 1)
    assert worker.connections == 1


def test_the_task_of_a_dead_worker_is_done_by_another(street: Street) -> None:
    doomed = street.dialling()
    [one] = street.push(pusher(street), "a")
    assert doomed.handed
    other = street.worker()
    street.kill(doomed)
    assert not other.handed
    street.pass_(2 * SILENT_S + READY_S + 2.0)  # silent, lost, and the pause before a retry
    assert street.work(other) == ["a"]
    assert one.value == "a"
    assert dialled(street) == 0


def test_a_worker_that_is_silent_gets_no_new_task(street: Street) -> None:
    silent, other = street.dialling(), street.worker()
    silent.is_cut = True
    street.pass_(SILENT_S + 0.1)
    street.push(pusher(street), 1, 2)
    assert street.work(other) == [1, 2]


def test_a_worker_whose_process_stands_still_keeps_its_task_for_long(street: Street) -> None:
    worker, other = street.dialling(), street.worker(concurrency=2)
    stays = pusher(street)
    tasks = street.push(stays, "for other", "for worker", "for other too")
    assert len(worker.handed) == 1
    worker.is_cut = True
    street.pass_(STUCK_S - 1.0)
    worker.is_cut = False
    street.pass_(SILENT_S + READY_S)  # it may dial anew, which does not matter
    assert len(worker.handed) == 1
    assert len(other.handed) == 2
    assert workers(street) == ["up", "up"]
    street.work(worker)
    street.work(other)
    assert [(each.state.value, each.attempt) for each in tasks] == [("done", 1)] * 3
    there = core_of(street.answers).tasks.ledger.tasks.values()
    assert [each.attempt for each in there] == [1, 1, 1]


def test_the_task_of_a_worker_that_stands_still_for_too_long_is_done_by_another(
    street: Street,
) -> None:
    worker = street.dialling()
    [one] = street.push(pusher(street), "a")
    worker.is_cut = True
    other = street.worker()
    street.pass_(STUCK_S + 5.0)
    assert street.work(other) == ["a"]
    assert one.value == "a"
    assert dialled(street) == 0
    worker.is_cut = False
    street.pass_(SILENT_S + READY_S)
    assert workers(street) == ["up", "up"]
    street.work(worker)  # what it has done by now comes too late
    assert one.value == "a"


def test_a_worker_that_dials_anew_keeps_its_task(street: Street) -> None:
    worker = street.dialling()
    [one] = street.push(pusher(street), "a")
    old = worker.name
    street.perform(worker, [Disconnect(DEVICE_PEER)])  # the network drops the connection
    street.pass_(2 * SILENT_S)
    assert worker.name != old
    assert workers(street) == ["up"]
    assert dialled(street) == 1
    street.work(worker)
    assert (one.value, one.attempt) == ("a", 1)


def test_a_streamer_that_returns_finds_its_workers_again(street: Street) -> None:
    worker = street.dialling()
    assert street.answers is not None
    pushes = pusher(street)
    [one] = street.push(pushes, "a")
    street.kill(street.answers)
    street.answers = street.streamer()
    street.pass_(SILENT_S + READY_S + TURN_S)
    assert workers(street) == ["up"]
    while worker.handed:
        street.work(worker)
        street.pass_(1.0)
    assert one.value == "a"


def test_a_worker_that_leaves_finishes_and_is_gone(street: Street) -> None:
    worker = street.dialling()
    first, second = street.push(pusher(street), 1, 2)
    core = worker.core
    assert isinstance(core, DiallingCore)
    street.perform(worker, core.leave())
    street.settle()
    street.pass_(2 * LEASE_S)  # it goes on saying READY while it works
    street.finish(worker)
    assert first.value == 1
    street.perform(worker, core.close())
    street.settle()
    assert workers(street) == []
    assert dialled(street) == 0
    assert core.deadline() > street.now + 10 * LEASE_S
    other = street.worker()
    assert street.work(other) == [2]
    assert second.value == 2


def test_a_wrong_name_is_told_with_the_right_one(street: Street) -> None:
    notes = said(street, street.dialling(name="other"))
    assert notes == [f"its streamer is that of {NAME!r}; end the URL with /{NAME}"]
    assert workers(street) == []
    assert dialled(street) == 0


def test_a_streamer_that_is_full_says_so() -> None:
    street = Street(PusherLimits(instances_max=1))
    street.answers = street.streamer()
    street.dialling()
    [note] = said(street, street.dialling())
    assert "raise its limits.instances_max" in note
    assert dialled(street) == 1


def test_nobody_who_answers_is_told_once() -> None:
    street = Street()
    [note] = said(street, street.dialling())
    assert "zmqkit run streamer" in note


def said(street: Street, worker: Node) -> list[object]:
    """What a worker logs within a while, beside that all is well."""
    core = worker.core
    assert isinstance(core, DiallingCore)
    again = DiallingCore(
        worker.incarnation, {TASK: False}, 1, device=STREAMER, name=core.name, shares=Share
    )
    worker.core = again
    worker.notes.clear()
    street.perform(worker, again.hear(Tell(News.FOUND, "", 0, "tcp://127.0.0.1:5000"), 0.0))
    street.settle()
    street.pass_(60.0)
    return [each.fields["text"] for each in worker.notes if "text" in each.fields]


def test_what_never_answers_a_greeting_is_soon_forgotten(street: Street) -> None:
    core = core_of(street.answers)
    made = core.receive(b"\0none", ready(7), street.now)
    assert {wire.unpack(e.frames).kind for e in made if isinstance(e, Send)} == {
        wire.READY,
        wire.HELLO,
    }
    assert dialled(street) == 1
    street.pass_(SILENT_S + 0.1)
    assert dialled(street) == 0
    assert workers(street) == []
    core.check()


def test_a_connection_leads_to_one_worker(street: Street) -> None:
    core = core_of(street.answers)
    for number in range(1, 1000):
        core.receive(b"\0none", ready(number), street.now)
    assert dialled(street) == 1
    assert len(core.tasks.instances) == 1
    core.check()


def test_many_connections_take_no_more_than_there_may_be_workers() -> None:
    street = Street(PusherLimits(instances_max=3))
    street.answers = street.streamer()
    core = core_of(street.answers)
    for number in range(1, 100):
        core.receive(b"\0" + bytes((number,)), ready(number), street.now)
        core.check()
    assert dialled(street) == 3
    street.pass_(SILENT_S + 0.1)
    assert dialled(street) == 0
    street.dialling()
    assert workers(street) == ["up"]


def test_nobody_takes_the_place_of_a_worker_that_is_announced(street: Street) -> None:
    worker = street.worker()
    core = core_of(street.answers)
    assert core.receive(b"\0none", ready(worker.incarnation), street.now) == []
    assert dialled(street) == 0
    street.push(pusher(street), "a")
    assert street.work(worker) == ["a"]


def test_whom_membership_tells_of_counts_as_announced(street: Street) -> None:
    core = core_of(street.answers)
    core.receive(b"\0none", ready(100 + len(street.nodes) << 32), street.now)
    assert dialled(street) == 1
    worker = street.worker()
    assert dialled(street) == 0
    street.push(pusher(street), "a")
    assert street.work(worker) == ["a"]


@pytest.mark.parametrize(
    "frames",
    [
        wire.pack(wire.READY, 7, 0, 0, encode([1])),
        wire.pack(wire.READY, 0, 0, 0, encode({"name": NAME})),
        wire.pack(wire.READY, 7, 8, 0, encode({"name": NAME})),
        wire.pack(wire.READY, 7, 0, 0, encode({"name": 3})),
        wire.pack(wire.READY, 7, 0, 0, encode({})),
        (b"\0\x5a\1\x22",),
    ],
)
def test_an_odd_ready_makes_no_worker(
    street: Street, frames: tuple[bytes | memoryview, ...]
) -> None:
    core = core_of(street.answers)
    effects = core.receive(b"\0none", frames, street.now)
    assert all(isinstance(each, Send) for each in effects)
    assert dialled(street) == 0
    core.check()


def test_packets_of_an_old_connection_are_not_taken_for_those_of_another(
    street: Street,
) -> None:
    worker = street.dialling()
    assert worker.connections == 1
    core = core_of(street.answers)
    core.receive(b"\0new", ready(worker.incarnation), street.now)
    [instance] = core.tasks.instances
    assert instance.endpoint == DIALLED + "localhost:" + b"\0new".hex()
    bye = wire.pack(wire.BYE, worker.incarnation, PUSHED_TO, 0, encode([0, []]))
    core.receive(worker.name, bye, street.now)
    assert dialled(street) == 1
    core.check()


@pytest.mark.slow
def test_whatever_happens_tasks_are_done_once_all_is_well() -> None:
    for seed in range(8):
        _any_life(Random(seed))


def _any_life(random: Random) -> None:
    """Cuts, deaths and returns of a streamer and its workers; then all tasks get done."""
    street = Street()
    street.answers = street.streamer()
    pushes = pusher(street)
    workers = [street.dialling(concurrency=2) for _ in range(3)]
    tasks = street.push(pushes, *range(20))
    for _ in range(40):
        worker = random.choice(workers)
        happens = random.randrange(6)
        if happens == 0:
            worker.is_cut = not worker.is_cut
        elif happens == 1:
            street.kill(worker)
            workers[workers.index(worker)] = street.dialling(concurrency=2)
        elif happens == 2 and worker.handed:
            street.finish(worker)
        elif happens == 3:
            street.perform(worker, [Disconnect(DEVICE_PEER)])
        elif happens == 4 and random.random() < 0.3:
            assert street.answers is not None
            street.kill(street.answers)
            street.answers = street.streamer()
        street.pass_(random.uniform(0.0, 6.0))
    for worker in workers:
        worker.is_cut = False
    for _ in range(20):
        street.pass_(STUCK_S / 2)
        for worker in workers:
            street.work(worker)
    assert {each.state.value for each in tasks} <= {"done", "dead"}
    core_of(street.answers).check()
