"""A streamer between pushers and workers, as people use it."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import zmqkit
from tests.ports import quiet_endpoint
from tests.roles.kit import BOUND_S, Kit, until
from zmqkit.device.streamer import Streamer
from zmqkit.disk.journal import Journal
from zmqkit.disk.rows import Changes
from zmqkit.limits import CHOICE_S, PusherLimits

MIB = 1 << 20

EVERYTHING: list[object] = [
    None, True, False, 0, -1, 2**64 - 1, -(2**63), 0.5, float("inf"), "", "tëa", b"", b"\xff",
    [], [1, [2, [3]]], {}, {"a": {"b": None}, "c": [b"d"]}, {1: "one", b"two": 2},
    datetime(2026, 11, 27, 12, 30, 0, 5, tzinfo=UTC), bytes(5000), "x" * 5000, [bytes(5000)],
]  # fmt: skip


def double(number: int) -> int:
    return 2 * number


def running(kit: Kit, **options: Any) -> Streamer:
    """A streamer that a thread runs, as `zmqkit run` does."""
    streamer = kit.streamer(**options)
    kit.start(streamer.run)
    return streamer


@pytest.fixture(params=["memory", "disk"])
def streamer(request: pytest.FixtureRequest, kit: Kit, tmp_path: Path) -> Streamer:
    """A running streamer of the kit's name, without and with a journal."""
    if request.param == "memory":
        return running(kit)
    return running(kit, journal=tmp_path / "streamer.journal")


@pytest.fixture
def pusher(kit: Kit, streamer: Streamer) -> Any:
    """A pusher that gives its tasks to the streamer: there is no worker yet."""
    return kit.pusher()


def test_a_task_is_done_and_its_result_comes_back(
    kit: Kit, streamer: Streamer, pusher: Any
) -> None:
    kit.working(double)
    ticket = pusher.push(21)
    assert ticket.result(BOUND_S) == 42
    assert (ticket.state, ticket.attempts, ticket.reasons) == ("done", 1, [])
    assert pusher.ticket(ticket.id).result(0) == 42
    stats = kit.balanced(streamer)
    assert (stats["accepted"], stats["done"], stats["pushers"]) == (1, 1, 1)


def test_all_that_may_travel_travels_through_it(
    kit: Kit, streamer: Streamer, pusher: Any
) -> None:
    seen: list[object] = []

    def same(body: object) -> object:
        seen.append(body)
        return body

    kit.working(same, concurrency=1)
    results = kit.mapped(pusher, EVERYTHING, window=1)
    assert results == EVERYTHING and seen == EVERYTHING
    assert list(map(type, results)) == list(map(type, EVERYTHING))
    assert streamer.stats()["done"] == len(EVERYTHING)


@pytest.mark.parametrize("ordered", [True, False])
def test_map_yields_each_result_once(
    kit: Kit, streamer: Streamer, pusher: Any, ordered: bool
) -> None:
    for _ in range(2):
        kit.working(double)
    results = kit.mapped(pusher, range(300), window=40, ordered=ordered)
    assert (results if ordered else sorted(results)) == [2 * n for n in range(300)]
    assert streamer.stats()["done"] == 300


def test_many_pushers_and_workers_share_it(kit: Kit, streamer: Streamer, pusher: Any) -> None:
    pushers = [pusher, *(kit.pusher() for _ in range(3))]
    for _ in range(3):
        kit.working(lambda body: body, concurrency=2)
    started = [
        kit.start(kit.mapped, each, [[number, n] for n in range(50)], window=20)
        for number, each in enumerate(pushers)
    ]
    for number, each in enumerate(started):
        assert each.result() == [[number, n] for n in range(50)]
    assert streamer.stats()["accepted"] == streamer.stats()["done"] == 200


def test_long_bodies_and_results_pass_as_they_are(
    kit: Kit, streamer: Streamer, pusher: Any
) -> None:
    kit.working(lambda body: body[::-1])
    body = bytes(range(256)) * (MIB // 256)
    tickets = [pusher.push(body) for _ in range(3)]
    assert [each.result(BOUND_S) == body[::-1] for each in tickets] == [True] * 3
    text = "tea" * MIB
    assert pusher.push(text).result(BOUND_S) == text[::-1]
    assert streamer.stats()["done"] == 4


def test_an_error_comes_back_with_its_reason(kit: Kit, streamer: Streamer, pusher: Any) -> None:
    def fail(body: object) -> None:
        if body == "discard":
            raise zmqkit.Discard("never")
        raise ValueError(f"no {body}")

    kit.working(fail, attempts=2, backoff_s=0.01)
    ticket = pusher.push("cat")
    with pytest.raises(zmqkit.RemoteError, match="ValueError: no cat") as raised:
        ticket.result(BOUND_S)
    assert "Traceback" in raised.value.traceback and ticket.state == "dead"
    ticket = pusher.push("discard")
    with pytest.raises(zmqkit.RemoteError, match="never"):
        ticket.result(BOUND_S)
    assert ticket.state == "failed"
    stats = kit.balanced(streamer)
    assert (stats["dead"], stats["failed"]) == (1, 1)


def test_a_dead_task_may_be_pushed_again(kit: Kit, streamer: Streamer, pusher: Any) -> None:
    heals = threading.Event()

    def fail(body: object) -> object:
        if not heals.is_set():
            raise ValueError("ill")
        return body

    kit.working(fail, attempts=1)
    with pytest.raises(zmqkit.RemoteError):
        pusher.push("cat").result(BOUND_S)
    [dead] = pusher.dead()
    assert dead.state == "dead"
    with pytest.raises(zmqkit.UsageError, match="died at a streamer; requeue it there"):
        dead.requeue()
    heals.set()
    dead.purge()
    assert pusher.dead() == []
    assert pusher.push("cat").result(BOUND_S) == "cat"


def test_a_body_that_the_handler_does_not_take_fails_at_once(
    kit: Kit, streamer: Streamer, pusher: Any
) -> None:
    def nothing() -> None: ...

    kit.working(nothing)
    ticket = pusher.push(1)
    with pytest.raises(zmqkit.PeerError, match="takes"):
        ticket.result(BOUND_S)
    assert ticket.state == "failed" and streamer.stats()["failed"] == 1


def test_a_higher_priority_is_first_among_all_pushers(
    kit: Kit, streamer: Streamer, pusher: Any
) -> None:
    order: list[object] = []
    for each, priority in ((pusher, 1), (kit.pusher(), 9), (pusher, 5)):
        each.push(priority, priority=priority)
    until(lambda: streamer.stats()["waiting"] == 3)
    kit.working(order.append, concurrency=1)
    until(lambda: streamer.stats()["done"] == 3)
    assert order == [9, 5, 1]


def test_a_task_that_expired_never_runs(kit: Kit, streamer: Streamer, pusher: Any) -> None:
    ticket = pusher.push(1, expires_s=0.05)
    with pytest.raises(zmqkit.CallTimeout, match="ran out"):
        ticket.result(BOUND_S)
    assert ticket.state == "expired"
    ran: list[object] = []
    kit.working(ran.append)
    pusher.push(2).result(BOUND_S)
    assert ran == [2] and streamer.stats()["expired"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("way", ["delay_s", "deliver_at"])
def test_a_delayed_task_waits_in_the_streamer(
    kit: Kit, streamer: Streamer, pusher: Any, way: str
) -> None:
    began: list[float] = []
    kit.working(lambda body: began.append(time.monotonic()))
    pushed = time.monotonic()
    when = datetime.now(UTC) + timedelta(seconds=0.4)
    options: dict[str, Any] = {way: 0.4 if way == "delay_s" else when}
    ticket = pusher.push(1, **options)
    until(lambda: streamer.stats()["accepted"] == 1)
    ticket.result(BOUND_S)
    assert began[0] - pushed >= 0.35


def test_tasks_of_one_key_of_two_pushers_never_run_at_the_same_time(
    kit: Kit, streamer: Streamer, pusher: Any
) -> None:
    at_it = threading.Semaphore(1)
    order: list[int] = []

    def alone(number: int) -> None:
        assert at_it.acquire(blocking=False), "two at once"
        order.append(number)
        threading.Event().wait(0.002)
        at_it.release()

    tickets = pusher.push_many(range(15), order_by="account-1")
    until(lambda: streamer.stats()["accepted"] == 15)
    tickets += kit.pusher().push_many(range(15, 30), order_by="account-1")
    for _ in range(2):
        kit.working(alone, concurrency=2)
    for each in tickets:
        each.result(BOUND_S)
    assert order == list(range(30))


def test_an_id_and_a_unique_key_are_one_task_among_pushers(
    kit: Kit, streamer: Streamer, pusher: Any
) -> None:
    other, third = kit.pusher(), kit.pusher()
    first = [pusher.push(1, id="order-17"), pusher.push(2, unique="cat.png")]
    until(lambda: streamer.stats()["accepted"] == 2)
    second = [other.push(3, id="order-17"), other.push(4, unique="cat.png")]
    kit.working(double)
    assert [each.result(BOUND_S) for each in first + second] == [2, 4, 2, 4]
    assert streamer.stats()["accepted"] == 2
    assert third.push(5, id="order-17").result(BOUND_S) == 2


def test_a_cancelled_task_that_waits_never_runs(
    kit: Kit, streamer: Streamer, pusher: Any
) -> None:
    ticket = pusher.push(1)
    until(lambda: streamer.stats()["accepted"] == 1)
    assert ticket.cancel() and not ticket.cancel()
    with pytest.raises(zmqkit.CallCancelled):
        ticket.result(BOUND_S)
    until(lambda: streamer.stats()["cancelled"] == 1)
    ran: list[object] = []
    kit.working(ran.append)
    pusher.push(2).result(BOUND_S)
    assert ran == [2]


def test_the_handler_of_a_cancelled_task_is_told(blocking: Kit) -> None:
    streamer = running(blocking)
    pusher = blocking.pusher()
    begun, seen = threading.Event(), threading.Event()

    def long(body: object) -> None:
        task = zmqkit.current_task()
        begun.set()
        until(lambda: task.cancelled)
        seen.set()

    blocking.working(long)
    ticket = pusher.push(1)
    assert begun.wait(BOUND_S)
    assert ticket.cancel()
    assert seen.wait(BOUND_S)
    until(lambda: streamer.stats()["cancelled"] == 1)


def test_a_handler_reads_the_id_that_the_pusher_gave(
    kit: Kit, streamer: Streamer, pusher: Any
) -> None:
    kit.working(lambda body: [zmqkit.current_task().id, zmqkit.current_task().attempt])
    plain, own = pusher.push(1), pusher.push(2, id="order-17")
    assert plain.result(BOUND_S) == [plain.id, 1]
    assert own.result(BOUND_S) == ["order-17", 1]


def test_a_full_streamer_refuses_and_nothing_is_lost(kit: Kit) -> None:
    streamer = running(kit, limits=PusherLimits(tasks_max=10))
    pusher = kit.pusher()
    tickets = pusher.push_many(range(40))
    until(lambda: streamer.stats()["accepted"] == 10)
    kit.working(double)
    assert [each.result(BOUND_S) for each in tickets] == [2 * n for n in range(40)]
    assert streamer.stats()["done"] == 40


def test_a_disk_without_room_refuses_and_nothing_is_lost(
    kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    streamer = running(kit, journal=tmp_path / "x.journal")
    pusher = kit.pusher()
    commit, full = Journal.commit, threading.Event()
    refused = threading.Event()

    def refuse(self: Journal, changes: Changes) -> None:
        if full.is_set():
            refused.set()
            raise zmqkit.JournalError("the disk is full", may_retry=True)
        commit(self, changes)

    monkeypatch.setattr(Journal, "commit", refuse)
    full.set()
    tickets = pusher.push_many(range(5))
    assert refused.wait(BOUND_S)
    kit.working(double)
    full.clear()
    assert [each.result(BOUND_S) for each in tickets] == [0, 2, 4, 6, 8]
    assert streamer.stats()["done"] == 5


def test_a_streamer_whose_disk_failed_ends_and_its_pushers_go_on(
    kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    streamer = kit.streamer(journal=tmp_path / "x.journal")
    run = kit.start(streamer.run)
    pusher = kit.pusher()

    def fail(self: Journal, changes: Changes) -> None:
        raise zmqkit.JournalError("the disk failed")

    monkeypatch.setattr(Journal, "commit", fail)
    ticket = pusher.push(21)
    with pytest.raises(zmqkit.JournalError, match="the disk failed"):
        run.result()
    streamer.close(0)
    kit.working(double)
    assert ticket.result(BOUND_S) == 42


def test_a_streamer_and_its_users_may_be_open_to_the_network(kit: Kit) -> None:
    streamer = running(kit, insecure=True)
    pusher = kit.pusher(insecure=True)
    kit.working(double, insecure=True)
    assert pusher.push(21).result(BOUND_S) == 42
    assert streamer.stats()["done"] == 1


@pytest.mark.parametrize("named", [False, True])
def test_a_pusher_may_dial_a_streamer(kit: Kit, streamer: Streamer, named: bool) -> None:
    kit.working(double)
    url = f"{streamer.endpoint}/{kit.name}" if named else streamer.endpoint
    pusher = kit._kept(kit.pusher_class, url)
    assert pusher.push(21).result(BOUND_S) == 42
    assert streamer.stats()["done"] == 1


def test_only_by_name_a_pusher_waits_for_a_streamer(kit: Kit) -> None:
    names = kit.name, f"memory://{kit.name}", "tcp://127.0.0.1:1"
    pushers = [kit._kept(kit.pusher_class, name) for name in names]
    waits = [getattr(each, "inner", each)._core.limits.choice_s for each in pushers]
    assert waits == [CHOICE_S, 0, 0]


def test_a_pusher_finds_the_streamer_that_follows_at_its_url(kit: Kit) -> None:
    first = running(kit, bind=quiet_endpoint())
    for _ in range(2):  # in the same process, so the URL could mean either of them, too
        kit.working(double)
    pusher = kit._kept(kit.pusher_class, f"{first.endpoint}/{kit.name}")
    assert pusher.push(1).result(BOUND_S) == 2
    first.close(BOUND_S)
    ticket = pusher.push(2)
    second = running(kit, bind=first.endpoint)
    assert ticket.result(BOUND_S) == 4
    assert second.stats()["done"] == 1


@pytest.mark.parametrize("key", ["unique", "order_by"])
def test_a_key_is_refused_where_two_streamers_would_keep_it(kit: Kit, key: str) -> None:
    kit.streamer()
    kit.streamer()
    pusher = kit.pusher(count=2)
    with pytest.raises(zmqkit.UsageError, match=f"2 streamers .* {key}= holds within one"):
        pusher.push(1, **{key: "account"})
    assert pusher.push(2).state in ("waiting", "leased")
