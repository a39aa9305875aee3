"""Streamers that give their tasks to a streamer of another network."""

from __future__ import annotations

import pytest

from tests.core.tasks.street import Node, Street
from zmqkit.core.effects import Effect, Send
from zmqkit.core.tasks.streamer import StreamerCore
from zmqkit.core.tasks.task import State
from zmqkit.limits import TURN_S, PusherLimits
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import encode
from zmqkit.wire.rows import read_errors, request_columns

JOURNAL = 77 << 32
JOURNAL_THERE = 78 << 32


@pytest.fixture
def street() -> Street:
    return Street()


def two(street: Street) -> tuple[Node, Node]:
    """A streamer, and the one of another network to which it gives its tasks."""
    street.network = 1
    far = street.streamer(JOURNAL_THERE)
    street.network = 0
    return street.streamer(JOURNAL, upstream=True), far


def streamer_of(node: Node) -> StreamerCore:
    assert isinstance(node.core, StreamerCore)
    return node.core


def test_a_streamer_that_was_killed_asks_the_one_to_which_it_handed_a_task(
    street: Street,
) -> None:
    near, far = two(street)
    pusher = street.pusher()
    street.pass_(TURN_S + 0.1)
    [task] = street.push(pusher, 1)
    assert task.journal == JOURNAL and streamer_of(far).stats()["accepted"] == 1
    street.kill(far, returns=True)
    near = street.restart(near)
    street.pass_(3)
    assert task.state is State.LEASED
    far = street.restart(far)
    street.network = 1
    worker = street.worker()
    street.pass_(5)
    assert street.work(worker) == [1]
    assert (task.state, task.value) == (State.DONE, 1)
    stats = streamer_of(near).stats()
    assert (stats["accepted"], stats["done"], stats["passed_on"]) == (1, 1, 0)


def test_a_task_that_was_handed_over_is_found_by_its_id_before_its_key(street: Street) -> None:
    near, _ = two(street)
    street.network = 1
    worker = street.worker()
    street.network = 0
    other, pusher = street.pusher(), street.pusher()
    street.pass_(TURN_S + 0.1)
    [task] = street.push(pusher, 1, unique="key")
    street.push(other, 2, unique="key")
    street.kill(near, returns=True)
    assert street.work(worker) == [1]
    street.restart(
        near
    )  # the one whose task was not accepted, as there was that one, asks first
    street.pass_(5)
    assert (task.state, task.value) == (State.DONE, 1)


def test_a_streamer_asks_for_no_more_tasks_than_it_may_have() -> None:
    street = Street(PusherLimits(tasks_max=1))
    core = streamer_of(street.streamer(JOURNAL, upstream=True))
    effects: list[Effect] = []
    for number, each in enumerate(("one", "two"), 1):
        # Its pusher does not wait for the first any more, and has not cancelled it either.
        ping = wire.pack(wire.PING, 5, core.incarnation, 0, encode([1, number, []]))
        push = [each, None, None, 0, True, False]
        row = encode([{"task": [1, 1, None], "push": push}, [], {}])
        columns = request_columns([number], [9000], ["task"], [4], [row])
        asks = wire.pack(wire.REQUEST, 5, core.incarnation, 0, columns, row)
        for frames in (ping, asks):
            core.receive(b"p", frames, street.now)
            effects = core.flush(street.now)
    packets = [wire.unpack(each.frames) for each in effects if isinstance(each, Send)]
    [answer] = [each for each in packets if each.kind == wire.ERROR]
    assert [row[:2] for row in read_errors(answer)] == [(2, "busy")]
    assert core.stats()["accepted"] == 1


def test_what_neither_of_two_streamers_knows_has_failed(street: Street) -> None:
    near, far = two(street)
    pusher = street.pusher()
    street.pass_(TURN_S + 0.1)
    [task] = street.push(pusher, 1)
    street.kill(far)
    street.restart(near)
    street.network = 1
    street.streamer(JOURNAL_THERE)
    street.pass_(5)
    assert task.state is State.FAILED
    assert task.error is not None and "no longer knows" in str(task.error)
