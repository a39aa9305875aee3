"""Results that go to a sink, and not back to who pushed their tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import zmqkit
from tests.roles.kit import BOUND_S, Kit, until


def double(number: int) -> int:
    return 2 * number


def read(sink: Any, count: int) -> list[object]:
    """The values of so many results, the last one accepted too."""
    found = [sink.receive(BOUND_S) for _ in range(count)]
    sink.acknowledge()
    assert None not in found
    return [each.value for each in found]


@pytest.fixture(params=["direct", "streamer"])
def middle(request: pytest.FixtureRequest, kit: Kit) -> Any:
    """A streamer in the middle, or nothing."""
    return kit.streamer() if request.param == "streamer" else None


def test_results_go_to_the_sink(kit: Kit, middle: Any) -> None:
    kit.working(double)
    pusher = kit.pusher()
    sink = kit.sink()
    tickets = pusher.push_many(range(50), results="sink")
    assert sorted(read(sink, 50), key=str) == sorted((2 * n for n in range(50)), key=str)
    assert [each.result(BOUND_S) for each in tickets] == [None] * 50
    assert pusher.push(4).result(BOUND_S) == 8


def test_a_result_tells_whose_it_is(kit: Kit, middle: Any) -> None:
    kit.working(double)
    pusher = kit.pusher()
    sink = kit.sink()
    ticket = pusher.push(1, results="sink")
    named = pusher.push(2, results="sink", id="order-17")
    found = [sink.receive(BOUND_S), sink.receive(BOUND_S)]
    assert {each.id: each.value for each in found} == {ticket.id: 2, named.id: 4}
    assert [each.attempt for each in found] == [1, 1]


@pytest.mark.parametrize("value", [None, "", b"", bytes(1 << 20), [1, {"a": 2.5}], "x" * 5000])
def test_every_value_arrives_as_it_is(kit: Kit, middle: Any, value: object) -> None:
    kit.working(lambda body: body)
    pusher = kit.pusher()
    sink = kit.sink()
    pusher.push(value, results="sink")
    assert read(sink, 1) == [value]


def test_results_wait_for_a_sink(kit: Kit, middle: Any) -> None:
    kit.working(double)
    pusher = kit.pusher()
    ticket = pusher.push(1, results="sink")
    with pytest.raises(zmqkit.CallTimeout):
        ticket.result(0.05)
    assert read(kit.sink(), 1) == [2]
    assert ticket.result(BOUND_S) is None


def test_what_a_sink_did_not_accept_goes_to_another(kit: Kit, middle: Any) -> None:
    kit.working(double)
    pusher = kit.pusher()
    first = kit.sink()
    pusher.push_many(range(3), results="sink")
    taken = first.receive(BOUND_S)
    first.close()
    assert sorted(map(str, read(kit.sink(), 3))) == ["0", "2", "4"]
    assert taken is not None


def test_sinks_share_the_results(kit: Kit, middle: Any) -> None:
    kit.working(double)
    pusher = kit.pusher()
    sinks = [kit.sink(), kit.sink()]
    pusher.push_many(range(2), results="sink")
    found = [each.receive(BOUND_S) for each in sinks]
    assert sorted(each.value for each in found) == [0, 2]


def test_a_failed_task_does_not_reach_the_sink(kit: Kit, middle: Any) -> None:
    def fail(body: object) -> object:
        raise zmqkit.Discard("no")

    kit.working(fail)
    pusher = kit.pusher()
    sink = kit.sink()
    ticket = pusher.push(1, results="sink")
    with pytest.raises(zmqkit.RemoteError, match="no"):
        ticket.result(BOUND_S)
    assert sink.receive(0) is None


def test_a_reader_that_waits_can_be_stopped(kit: Kit) -> None:
    sink = kit.sink()
    reading = kit.start(sink.receive)
    sink.stop()
    assert reading.result() is None


def test_a_loop_ends_when_it_is_stopped(blocking: Kit) -> None:
    blocking.working(double)
    pusher = blocking.pusher()
    sink = blocking.sink()
    pusher.push_many(range(3), results="sink")
    found: list[object] = []
    for result in sink:
        found.append(result.value)
        if len(found) == 3:
            sink.stop()
    assert sorted(map(str, found)) == ["0", "2", "4"]


@pytest.mark.parametrize("wrong", ["", "sinks", None, 7])
def test_results_go_to_the_ticket_or_to_a_sink(kit: Kit, wrong: object) -> None:
    with pytest.raises(zmqkit.UsageError, match="use 'ticket' or 'sink'"):
        kit.pusher(count=0).push(1, results=wrong)


def test_results_survive_in_the_journal(kit: Kit, tmp_path: Path) -> None:
    journal = str(tmp_path / "tasks.journal")
    kit.working(double)
    first = kit.pusher(journal=journal)
    ids = [each.id for each in first.push_many([1, 2], results="sink")]
    tasks = kit.core(first).ledger.tasks
    until(lambda: all(each.is_result for each in tasks.values()))
    assert first.close(0) == 2
    second = kit.pusher(journal=journal)
    sink = kit.sink()
    found = [sink.receive(BOUND_S), sink.receive(BOUND_S)]
    sink.acknowledge()
    assert [(each.id, each.value) for each in found] == [(ids[0], 2), (ids[1], 4)]
    until(lambda: second.stats()["done"] == 2)


def test_a_task_for_the_sink_is_so_after_a_restart(kit: Kit, tmp_path: Path) -> None:
    journal = str(tmp_path / "tasks.journal")
    first = kit.pusher(count=0, journal=journal)
    first.push(1, results="sink")
    first.close(0)
    kit.working(double)
    kit.pusher(journal=journal)
    assert read(kit.sink(), 1) == [2]
