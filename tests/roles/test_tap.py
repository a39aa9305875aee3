"""What `zmqkit tap` shows of real roles, asked for as the command asks."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import zmqkit
from tests.roles.kit import BOUND_S, Kit, received, until
from tests.roles.watched import Watched, count
from zmqkit.device.router import Router
from zmqkit.node.node import Node
from zmqkit.node.tap import Tapper, value_of
from zmqkit.tap_limits import TAP_ROWS_MAX
from zmqkit.wire.tapping import Passed, Wanted

LOCAL = "tcp://127.0.0.1:0"

pytestmark = pytest.mark.slow


def double(number: int) -> int:
    return 2 * number


def fail(number: int) -> None:
    raise ValueError(f"not {number}")


class Tapping:
    """A tap of one name, begun before anything passes; a thread asks again and again.

    A tap ends for which nobody asks for two seconds, whatever the test waits for. Those of the
    tests before last as long, and a process has room for four.
    """

    def __init__(self, tapper: Tapper, roles: int) -> None:
        self.tapper = tapper
        self.rows: list[Passed] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

        def has_begun() -> bool:
            """Whether this process taps its roles; others may have some that fit, too."""
            told = tapper._last.get(b"%016x" % tapper._node.process)
            return told is not None and told.roles >= roles and not told.is_full

        try:
            until(has_begun)
        except BaseException:
            self.close()
            raise

    def _run(self) -> None:
        while not self._over.wait(0.01):
            self.rows += [seen.row for seen in self.tapper.poll()]

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        self.tapper.__exit__(None, None, None)

    def shown(self, number: int, *roles: str) -> list[tuple[str, str, object]]:
        """Once so many rows of these roles, or of all, have come: what, outcome and reply."""

        def fit() -> list[Passed]:
            return [row for row in self.rows if not roles or row.role in roles]

        until(lambda: len(fit()) >= number)
        return [(row.what, row.outcome, reply_of(row)) for row in fit()]


def reply_of(row: Passed) -> object:
    body = row.reply or row.body
    return value_of(body)[0] if body else None


@pytest.fixture
def tap(node: Node) -> Iterator[Any]:
    """Begins a tap of a name that so many roles have."""
    tappings: list[Tapping] = []

    def begin(name: str, roles: int = 1, **wanted: Any) -> Tapping:
        tappings.append(Tapping(Tapper(node, Wanted(name, **wanted)), roles))
        return tappings[-1]

    yield begin
    for tapping in tappings:
        tapping.close()


def test_each_value_of_a_stream_is_shown_and_its_end(kit: Kit, tap: Any) -> None:
    service = kit.serving(count)
    client = kit.client(service.name)
    tapping = tap(service.name)
    assert kit.values(client.stream("count", 3)) == [0, 1, 2]
    values = [("count", "value", number) for number in range(3)]
    assert tapping.shown(4) == [*values, ("count", "streamed", 3)]
    last = tapping.rows[-1]
    assert value_of(last.body) == ([[3], {}], True)
    assert (last.reply_size, last.source) == (3, kit.core(client).incarnation)


def test_the_end_of_a_stream_that_its_client_closes_passes_too(kit: Kit, tap: Any) -> None:
    watched = Watched()
    service = kit.serving(watched.watched)
    tapping = tap(service.name, only="watched")
    stream = kit.client(service.name).stream("watched")
    assert kit.values(stream, 5) == [*range(5)]
    kit.shut(stream)
    assert watched.closed.wait(BOUND_S)
    until(lambda: service.stats()["dropped"] == {"cancelled": 1})
    until(lambda: tapping.tapper.counts().seen == watched.given + 1)


def test_a_request_that_is_refused_is_shown_with_its_reason(kit: Kit, tap: Any) -> None:
    service = kit.serving(double)
    client = kit.client(service.name)
    tapping = tap(service.name)
    with pytest.raises(zmqkit.NoMethod):
        client.call("triple", 1)
    with pytest.raises(zmqkit.BadArguments):
        client.call("double", 1, 2)
    (what, outcome, reply), (other, misfit, _) = tapping.shown(2)
    assert (what, outcome) == ("triple", "no-method")
    assert str(reply).startswith("no method 'triple'; there are double")
    assert (other, misfit) == ("double", "bad-arguments")
    assert [value_of(row.body)[0] for row in tapping.rows] == [[[1], {}], [[1, 2], {}]]


def test_a_request_that_finds_no_room_is_shown_as_busy(kit: Kit, tap: Any) -> None:
    gate = kit.gate()
    service = kit.serving(gate.hold)
    client = kit.client(service.name)
    tapping = tap(service.name)
    admission = kit.core(service)._admission
    admission._limits = replace(admission._limits, requests_max=1)
    call = kit.start(client.call, "hold", 1)
    gate.came()
    with pytest.raises(zmqkit.Busy):
        client.call("hold", 2)
    [(what, outcome, _)] = tapping.shown(1)
    assert (what, outcome) == ("hold", "busy")
    gate.open()
    assert call.result() == 1
    assert tapping.shown(2)[1:] == [("hold", "done", 1)]


def test_a_request_whose_time_is_over_in_line_is_shown_as_expired(
    blocking: Kit, tap: Any
) -> None:
    gate = blocking.gate()
    service = blocking.serving(gate.hold)
    client = blocking.client(service.name)
    tapping = tap(service.name)
    client.notify("hold", 1)
    gate.came()
    client.options(timeout_s=0.01).notify("hold", 2)
    until(lambda: service.stats()["waiting"] == 1)
    [late] = blocking.core(service)._work.queue
    until(lambda: time.monotonic() > late.deadline_at)
    gate.open()
    assert [row[:2] for row in tapping.shown(2)] == [("hold", "done"), ("hold", "expired")]


def test_a_router_shows_a_stream_that_passes_it(blocking: Kit, tap: Any) -> None:
    service = blocking.serving(count)
    with Router(f"{service.name}-edge", names=[service.name]) as router:
        tapping = tap(router.name)
        with zmqkit.Client(f"{router.endpoint}/{service.name}") as client:
            assert list(client.stream("count", 2)) == [0, 1]
        assert tapping.shown(3)[-1] == ("count", "streamed", 2)


@pytest.mark.parametrize("place", ["memory", "disk"])
def test_the_tasks_of_a_queue_are_shown_as_they_end(
    kit: Kit, tap: Any, tmp_path: Path, place: str
) -> None:
    journal = tmp_path / "queue.journal" if place == "disk" else None
    streamer = kit.streamer(journal=journal)
    kit.start(streamer.run)
    pusher = kit.pusher()
    kit.working(double)
    tapping = tap(kit.name, 3)
    assert pusher.push(21).result(BOUND_S) == 42
    for role in ("pusher", "streamer", "worker"):
        assert tapping.shown(1, role) == [("task", "done", 42)]
    [row] = [row for row in tapping.rows if row.role == "streamer"]
    assert value_of(row.body) == ([[21], {}], True)
    assert row.source == kit.core(pusher).incarnation


def test_each_attempt_of_a_task_is_shown_at_its_pusher(kit: Kit, tap: Any) -> None:
    kit.working(fail, attempts=2, backoff_s=0.001)
    pusher = kit.pusher()
    tapping = tap(kit.name, 2)
    with pytest.raises(zmqkit.RemoteError):
        pusher.push(7).result(BOUND_S)
    rows = tapping.shown(2, "pusher")
    assert [row[:2] for row in rows] == [("task", "retry"), ("task", "dead")]
    assert all("not 7" in str(reply) for _, _, reply in rows)


def test_a_task_that_is_cancelled_or_expires_is_shown(kit: Kit, tap: Any) -> None:
    pusher = kit.pusher(count=0)
    assert pusher.ready(timeout_s=0) == 0
    tapping = tap(kit.name)
    pusher.push(1).cancel()
    pusher.push(2, expires_s=0.001)
    rows = tapping.shown(2)
    assert [row[:2] for row in rows] == [("task", "cancelled"), ("task", "expired")]
    assert [value_of(row.body)[0] for row in tapping.rows] == [[[1], {}], [[2], {}]]


def test_a_result_is_shown_on_its_way_to_a_sink(kit: Kit, tap: Any) -> None:
    sink = kit.sink()
    kit.working(double)
    pusher = kit.pusher()
    tapping = tap(kit.name, 2)
    pusher.push(21, results="sink")
    assert sink.receive(BOUND_S).value == 42
    sink.acknowledge()
    rows = tapping.shown(2, "pusher")
    assert rows[0] == ("task", "returned", 42) and rows[1][:2] == ("result", "done")


def test_both_ends_of_a_bridge_show_what_passes(kit: Kit, tap: Any) -> None:
    far = f"{kit.name}-2"
    here = kit.bridge(listen=LOCAL)
    there = kit.bridge(far, connect=here.endpoint)
    until(lambda: here.stats()["connected"] and there.stats()["connected"])
    publisher, subscriber = kit.publisher(), kit.subscriber(far)
    assert publisher.ready(timeout_s=BOUND_S) == 1
    near, other = tap(kit.name, 2), tap(far)
    publisher.publish("kitchen", 21.5)
    [message] = received(subscriber, 1)
    assert message.body == 21.5
    assert near.shown(1, "bridge") == [("kitchen", "carried", 21.5)]
    assert other.shown(1) == [("kitchen", "published", 21.5)]
    assert {row.source for row in (*near.rows, *other.rows)} == {publisher.incarnation}


def test_all_that_passes_is_shown_or_counted(kit: Kit, tap: Any) -> None:
    service = kit.serving(count)
    client = kit.client(service.name)
    tapping = tap(service.name)
    number = 3 * TAP_ROWS_MAX
    assert len(kit.values(client.stream("count", number))) == number
    until(lambda: tapping.tapper.counts().seen == number + 1)
    counts = tapping.tapper.counts()
    until(lambda: counts.seen == len(tapping.rows) + counts.skipped + counts.dropped)
