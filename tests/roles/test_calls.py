"""How calls wait, run, end, and are counted."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import CancelledError
from typing import Any

import pytest

import zmqkit
from tests.roles.fakes import FakeClient, FakeService
from tests.roles.kit import BOUND_S, AsyncKit, Kit, until
from zmqkit.limits import CREDIT, ClientLimits
from zmqkit.wire import packet as wire

pytestmark = pytest.mark.usefixtures("node")

SHORT_S = 0.05
BEGUN_S = 1.0
"""What a call takes whose handler has surely begun by then."""


def double(value: int) -> int:
    return 2 * value


@pytest.mark.parametrize("limits", [{"wait_s": SHORT_S}, {"timeout_s": SHORT_S}])
def test_call_to_nobody_ends_at_the_earlier_of_its_limits(
    kit: Kit, limits: dict[str, float]
) -> None:
    client = kit.client(count=0, timeout_s=BOUND_S, wait_s=BOUND_S)
    with pytest.raises(zmqkit.NoService, match=kit.name) as caught:
        client.options(**limits).call("double", 1)
    assert caught.value.may_have_run is False
    assert client.stats()["failed"] == 1


def test_call_waits_for_its_first_instance(kit: Kit) -> None:
    client = kit.client(count=0, timeout_s=BOUND_S, wait_s=BOUND_S)
    call = kit.start(client.call, "double", 2)
    until(lambda: client.stats()["waiting"] == 1)
    kit.serving(double)
    assert call.result() == 4


def test_call_that_ran_too_long_ends_and_may_have_run(kit: Kit) -> None:
    gate = kit.gate()
    kit.serving(gate.hold)
    client = kit.client()
    with pytest.raises(zmqkit.CallTimeout, match="'hold'") as caught:
        client.options(timeout_s=BEGUN_S).call("hold")
    gate.came()
    assert caught.value.may_have_run is True
    assert client.stats()["expired"] == 1


def test_call_whose_instance_never_welcomed_us_cannot_have_run(
    kit: Kit, fake: FakeService
) -> None:
    # Its process answers on the control connection, but nobody at the role's own address.
    fake.welcome["roles"] = [[fake.name, "service", fake.incarnation, 1]]
    fake.start()
    client = kit.client(fake.url, count=0)
    until(lambda: client.ready(timeout_s=SHORT_S) == 0 and client.instances())
    with pytest.raises(zmqkit.CallTimeout) as caught:
        client.options(timeout_s=SHORT_S, wait_s=BOUND_S).call("double", 1)
    assert caught.value.may_have_run is False


def test_reply_that_comes_late_is_counted_and_harms_nothing(kit: Kit) -> None:
    gate = kit.gate()
    service = kit.serving(gate.hold, double, concurrency=2)
    client = kit.client()
    with pytest.raises(zmqkit.CallTimeout):
        client.options(timeout_s=BEGUN_S).call("hold")
    gate.came()
    gate.open()
    assert client.call("double", 4) == 8
    until(lambda: service.stats()["in_flight"] == 0)
    assert client.stats()["delivered"] == 1


def test_request_that_expired_in_line_is_not_run_and_told_so(
    kit: Kit, fake_client: FakeClient
) -> None:
    gate = kit.gate()
    ran: list[Any] = []
    service = kit.serving(gate.hold, ran.append, concurrency=1)
    fake_client.request(service, 1, "hold")
    gate.came()
    fake_client.request(service, 2, "append", 1, left_ms=0)
    until(lambda: service.stats()["waiting"] == 1)
    gate.open()
    assert fake_client.reply() == (wire.REPLY, [[1], [None]])
    kind, (sequences, [row]) = fake_client.reply()
    assert (kind, sequences, row[0], row[-1]) == (wire.ERROR, [2], "expired", False)
    assert ran == []
    assert service.stats()["expired"] == 1


def cancel(aio: AsyncKit, client: Any, gate: Any, method: str) -> None:
    """Cancel the task of a call once its handler runs."""
    call = aio.submit(client.inner.call(method))
    gate.came()
    call.cancel()
    with pytest.raises(CancelledError):
        call.result(BOUND_S)


def test_cancelled_call_cancels_the_handlers_task(aio: AsyncKit) -> None:
    gate = aio.gate()
    service = aio.serving(gate.hold)
    client = aio.client()
    cancel(aio, client, gate, "hold")
    assert gate.cancelled.wait(BOUND_S)
    until(lambda: service.stats()["dropped"] == {"cancelled": 1})
    assert client.stats()["dropped"] == {"cancelled": 1}


def test_handler_of_a_blocking_service_sees_that_its_call_was_cancelled(
    blocking: Kit, aio: AsyncKit
) -> None:
    gate = blocking.gate()
    service = blocking.serving(gate.hold, double)
    client = aio.client(blocking.name)
    cancel(aio, client, gate, "hold")
    [request] = gate.requests
    until(lambda: request.cancelled)
    gate.open()
    assert client.call("double", 1) == 2
    assert service.stats()["dropped"] == {"cancelled": 1}


def test_handler_in_a_thread_sees_that_its_call_was_cancelled(aio: AsyncKit) -> None:
    seen = threading.Event()
    came = threading.Event()

    def watch() -> None:
        request = zmqkit.current_request()
        came.set()
        until(lambda: request.cancelled)
        seen.set()

    service = aio.service()
    service.handler(watch, thread=True)
    aio.serve(service)
    client = aio.client()
    call = aio.submit(client.inner.call("watch"))
    assert came.wait(BOUND_S)
    call.cancel()
    assert seen.wait(BOUND_S)
    until(lambda: service.stats()["dropped"] == {"cancelled": 1})


def test_call_that_is_cancelled_in_line_never_runs(aio: AsyncKit) -> None:
    gate = aio.gate()
    ran: list[object] = []
    service = aio.serving(gate.hold, ran.append, concurrency=1)
    client = aio.client()
    first = aio.start(client.call, "hold")
    gate.came()
    second = aio.submit(client.inner.call("append", 1))
    until(lambda: service.stats()["waiting"] == 1)
    second.cancel()
    until(lambda: service.stats()["dropped"] == {"cancelled": 1})
    gate.open()
    first.result()
    assert ran == []


def test_call_that_is_cancelled_before_anyone_is_there_is_counted(aio: AsyncKit) -> None:
    client = aio.client(count=0)

    async def scene() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.inner.call("double", 1), SHORT_S)

    aio.submit(scene()).result(BOUND_S)
    assert client.stats()["dropped"] == {"cancelled": 1}


def test_waiting_for_readiness_can_be_cancelled(aio: AsyncKit) -> None:
    client = aio.client(count=0)
    waiting = aio.submit(client.inner.ready())
    waiting.cancel()
    aio.serving(double)
    assert client.ready(timeout_s=BOUND_S) == 1


def test_notification_runs_and_is_acknowledged(kit: Kit) -> None:
    ran: list[Any] = []
    service = kit.serving(ran.append)
    client = kit.client()
    assert client.notify("append", 5) is None
    until(lambda: client.stats()["delivered"] == 1)
    until(lambda: service.stats()["delivered"] == 1)
    assert ran == [5]


def test_notification_is_acknowledged_when_its_handler_is_done(kit: Kit) -> None:
    gate = kit.gate()
    service = kit.serving(gate.hold)
    client = kit.client()
    client.notify("hold")
    gate.came()
    assert client.stats()["in_flight"] == service.stats()["in_flight"] == 1
    gate.open()
    until(lambda: client.stats()["delivered"] == 1)
    assert service.stats()["delivered"] == 1


def test_notification_to_nobody_fails_in_the_log_and_in_the_counters(
    kit: Kit, caplog: pytest.LogCaptureFixture
) -> None:
    client = kit.client(count=0)
    client.options(wait_s=SHORT_S).notify("double", 1)
    until(lambda: client.stats()["failed"] == 1)
    until(lambda: caplog.records)
    [record] = caplog.records
    assert record.levelname == "WARNING" and record.name == "zmqkit"
    assert record.getMessage().startswith("notify-failed ")
    assert f"nobody serves '{kit.name}'" in record.getMessage()


def test_notification_whose_handler_fails_is_counted_on_both_sides_and_told(
    kit: Kit, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(text: str) -> None:
        raise ValueError(text)

    service = kit.serving(fail)
    client = kit.client()
    client.notify("fail", "odd\nvalue")
    until(lambda: client.stats()["failed"] == 1)
    assert client.stats()["delivered"] == 0 and service.stats()["failed"] == 1
    until(lambda: len(caplog.records) == 2)
    told = caplog.records[1]
    assert told.levelname == "WARNING"
    assert told.getMessage().startswith("notify-failed ")
    assert r"ValueError: odd\nvalue" in told.getMessage()


def test_no_more_handlers_run_at_once_than_allowed(kit: Kit) -> None:
    gate = kit.gate()
    service = kit.serving(gate.hold, concurrency=2)
    client = kit.client()
    calls = [kit.start(client.call, "hold", n) for n in range(5)]
    gate.came(2)
    until(lambda: service.stats()["waiting"] == 3)
    assert len(gate.requests) == 2
    gate.open()
    assert [call.result() for call in calls] == list(range(5))


def test_higher_priority_leaves_the_line_first(kit: Kit) -> None:
    gate = kit.gate()
    order: list[int] = []
    service = kit.serving(gate.hold, order.append, concurrency=1)
    client = kit.client()
    calls = [kit.start(client.call, "hold")]
    gate.came()
    for number, priority in enumerate((0, 9, 4, 9), 1):
        view = client.options(priority=priority)
        calls.append(kit.start(view.call, "append", 10 * priority + number))
        until(lambda number=number: service.stats()["waiting"] == number)
    gate.open()
    for call in calls:
        call.result()
    assert order == [92, 94, 43, 1]


@pytest.mark.slow
def test_calls_beyond_the_credit_wait_their_turn(aio: AsyncKit) -> None:
    service = aio.serving(double, concurrency=1)
    client = aio.client()

    async def scene() -> list[int]:
        calls = [client.inner.call("double", n) for n in range(2 * CREDIT + 100)]
        return await asyncio.gather(*calls)

    assert aio.submit(scene()).result(BOUND_S) == [2 * n for n in range(2 * CREDIT + 100)]
    assert service.stats()["delivered"] == 2 * CREDIT + 100


def test_line_of_waiting_calls_is_bounded(aio: AsyncKit) -> None:
    client = aio.client(count=0)
    aio.core(client).limits = ClientLimits(waiting_calls_max=3)

    async def scene() -> list[Any]:
        calls = [client.inner.options(wait_s=SHORT_S).call("double", n) for n in range(5)]
        return await asyncio.gather(*calls, return_exceptions=True)

    ends = aio.submit(scene()).result(BOUND_S)
    assert [type(end) for end in ends] == [zmqkit.NoService] * 5
    assert client.stats()["accepted"] == 5


def test_a_call_waits_for_room_in_line(kit: Kit) -> None:
    client, gate = kit.client(count=0), kit.gate()
    kit.core(client).limits = ClientLimits(waiting_calls_max=1)
    client.notify("hold", 0)
    call = kit.start(client.call, "hold", 1)
    until(lambda: kit.core(client).in_flight == 2)
    with pytest.raises(zmqkit.QueueFull, match="1 calls to"):
        client.notify("hold", 2)
    gate.open()
    kit.serving(gate.hold)
    assert call.result() == 1


def test_a_call_without_room_ends_in_time_and_did_not_run(kit: Kit) -> None:
    client = kit.client(count=0)
    kit.core(client).limits = ClientLimits(waiting_calls_max=1)
    client.notify("double", 0)
    with pytest.raises(zmqkit.CallTimeout, match=r"1 calls to .* wait already") as caught:
        client.options(timeout_s=SHORT_S).call("double", 1)
    assert not caught.value.may_have_run
    client.close(0)


def test_a_call_that_waits_for_room_can_be_cancelled(aio: AsyncKit) -> None:
    client = aio.client(count=0)
    aio.core(client).limits = ClientLimits(waiting_calls_max=1)

    async def scene() -> None:
        calls = [asyncio.ensure_future(client.inner.call("double", n)) for n in range(2)]
        await asyncio.sleep(0)
        assert aio.core(client).in_flight == 2
        calls[1].cancel()
        await asyncio.wait(calls[1:])
        assert calls[1].cancelled() and aio.core(client).in_flight == 1
        calls[0].cancel()
        await asyncio.wait(calls)

    aio.submit(scene()).result(BOUND_S)


def test_request_that_comes_twice_runs_once_and_is_answered_twice(
    kit: Kit, fake_client: FakeClient
) -> None:
    ran: list[Any] = []
    service = kit.serving(ran.append)
    for _ in range(2):
        fake_client.request(service, 5, "append", "x")
        assert fake_client.reply() == (wire.REPLY, [[5], [None]])
    assert ran == ["x"]
    assert service.stats()["duplicates"] == 1
    assert service.stats()["accepted"] == 1


def test_request_that_comes_again_while_it_runs_is_not_run_again(
    kit: Kit, fake_client: FakeClient
) -> None:
    gate = kit.gate()
    service = kit.serving(gate.hold)
    for _ in range(3):
        fake_client.request(service, 5, "hold", 1)
    gate.came()
    until(lambda: service.stats()["duplicates"] == 2)
    gate.open()
    assert fake_client.reply() == (wire.REPLY, [[5], [1]])
    assert len(gate.requests) == 1


def test_answer_is_forgotten_once_its_call_is_settled(
    kit: Kit, fake_client: FakeClient
) -> None:
    ran: list[Any] = []
    service = kit.serving(ran.append)
    fake_client.request(service, 5, "append", 1)
    fake_client.reply()
    assert service.stats()["retained_bytes"] > 0
    fake_client.request(service, 6, "append", 2, settled=6)
    fake_client.reply()
    fake_client.request(service, 5, "append", 1, settled=6)
    until(lambda: service.stats()["duplicates"] == 1)
    assert ran == [1, 2]


def test_request_for_another_incarnation_is_not_run(kit: Kit, fake_client: FakeClient) -> None:
    ran: list[Any] = []
    service = kit.serving(ran.append)
    fake_client.request(service, 5, "append", 1, target=service.incarnation + 1)
    kind, fields = fake_client.reply()
    assert kind == wire.WELCOME
    assert fields["credit"] > 0
    assert ran == []
    assert service.stats()["refused"] == 1


def test_stats_balance_at_any_moment(kit: Kit) -> None:
    gate = kit.gate()
    service = kit.serving(gate.hold, double, concurrency=2)
    client = kit.client()
    held = [kit.start(client.call, "hold", n) for n in range(4)]
    gate.came(2)
    with pytest.raises(zmqkit.CallTimeout):
        client.options(timeout_s=SHORT_S).call("hold")
    until(lambda: service.stats()["in_flight"] >= 4)
    for role in (client, service):
        assert kit.balanced(role)["in_flight"] >= 4
    gate.open()
    for n in range(50):
        client.call("double", n)
        client.notify("double", n)
        kit.balanced(client)
        kit.balanced(service)
    for call in held:
        call.result()
    until(lambda: client.stats()["in_flight"] == service.stats()["in_flight"] == 0)
    assert kit.balanced(client)["accepted"] == 4 + 1 + 100
    assert client.stats()["delivered"] == 104


@pytest.mark.slow
def test_large_bodies_pass_both_ways(kit: Kit) -> None:
    body = bytes(range(256)) * (1 << 16)
    service = kit.service()
    service.handler(lambda value: value, name="same")
    kit.serve(service)
    client = kit.client()
    assert client.call("same", body) == body
    assert client.call("same", [body, "x"]) == [body, "x"]


@pytest.mark.slow
def test_large_replies_of_one_turn_all_arrive(aio: AsyncKit) -> None:
    def much() -> str:
        return "x" * (40 << 20)

    aio.serving(much)
    client = aio.client(timeout_s=BOUND_S)

    async def scene() -> list[str]:
        return await asyncio.gather(*(client.inner.call("much") for _ in range(2)))

    assert [len(reply) for reply in aio.submit(scene()).result(BOUND_S)] == [40 << 20] * 2
    assert client.stats()["retries"] == 0
