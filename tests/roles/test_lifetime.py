"""How roles start, stop and close, and what is left of them afterwards: nothing."""

from __future__ import annotations

import asyncio
import copy
import os
import signal
import threading
import warnings
from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler

import pytest

import zmqkit
import zmqkit.asyncio
from tests.roles.kit import BOUND_S, AsyncKit, Kit, until
from zmqkit.node import node as nodes

SHORT_S = 0.05
ROLES = ("Client", "Publisher", "Pusher", "Service", "Sink", "Subscriber", "Worker")


def double(value: int) -> int:
    return 2 * value


def test_serve_returns_when_its_time_is_over(kit: Kit) -> None:
    service = kit.service()
    assert service.serve(timeout_s=SHORT_S) is None
    assert service.serve(0) is None


def test_serve_returns_on_stop_and_may_be_called_again(kit: Kit) -> None:
    service = kit.service()
    service.handler(double)
    service.start()
    serving = kit.start(service.serve)
    client = kit.client()
    assert client.call("double", 1) == 2
    service.stop()
    assert serving.result() is None
    incarnation = service.incarnation
    kit.start(service.serve)
    assert client.call("double", 2) == 4
    assert service.incarnation == incarnation


def test_stop_before_serve_lets_it_return_at_once(kit: Kit) -> None:
    service = kit.service()
    service.start()
    service.stop()
    assert service.serve() is None


def test_handler_may_stop_its_service_and_is_answered(kit: Kit) -> None:
    service = kit.service()

    def last() -> str:
        service.stop()
        return "the last word"

    service.handler(last)
    service.start()
    serving = kit.start(service.serve)
    client = kit.client()
    assert client.call("last") == "the last word"
    serving.result()


def test_requests_wait_while_nobody_serves(blocking: Kit) -> None:
    service = blocking.service()
    service.handler(double)
    service.start()
    client = blocking.client()
    call = blocking.start(client.call, "double", 1)
    until(lambda: service.stats()["waiting"] == 0 and service.stats()["in_flight"] == 1)
    blocking.serve(service)
    assert call.result() == 2


def test_only_one_thread_serves(blocking: Kit) -> None:
    service = blocking.serving(double)
    client = blocking.client()
    assert client.call("double", 1) == 2
    with pytest.raises(zmqkit.UsageError, match="concurrency="):
        service.serve()
    assert client.call("double", 2) == 4


def test_roles_are_context_managers(blocking: Kit) -> None:
    with zmqkit.Service(blocking.name) as service:
        service.handler(double)
        blocking.serve(service)
        with zmqkit.Client(blocking.name) as client:
            assert client.call("double", 1) == 2
        with pytest.raises(zmqkit.UsageError):
            client.call("double", 1)
    with pytest.raises(zmqkit.UsageError):
        service.start()


def test_asyncio_roles_are_context_managers(aio: AsyncKit) -> None:
    async def scene() -> None:
        async with zmqkit.asyncio.Service(aio.name) as service:
            service.handler(double)
            await service.start()
            async with zmqkit.asyncio.Client(aio.name) as client:
                assert await client.call("double", 1) == 2
            with pytest.raises(zmqkit.UsageError):
                await client.call("double", 1)
        with pytest.raises(zmqkit.UsageError):
            await service.start()

    aio.submit(scene()).result(BOUND_S)


def test_closing_twice_does_no_harm(kit: Kit) -> None:
    service = kit.serving(double)
    client = kit.client()
    client.call("double", 1)
    assert [client.close(), client.close()] == [0, 0]
    assert [service.close(), service.close()] == [0, 0]


def test_roles_that_were_never_used_close(kit: Kit) -> None:
    assert kit.service().close() == 0
    assert kit.client(count=0).close() == 0


def test_two_may_close_a_role_at_once(kit: Kit) -> None:
    gate = kit.gate()
    service = kit.serving(gate.hold)
    client = kit.client()
    kit.start(client.notify, "hold")
    gate.came()
    for role in (client, service):
        closing = [kit.start(role.close, SHORT_S) for _ in range(2)]
        for each in closing:
            each.result()


def test_closed_client_says_so(kit: Kit) -> None:
    kit.serving(double)
    client = kit.client()
    view = client.options(timeout_s=1)
    client.close()
    for use in (
        lambda: client.call("double", 1),
        lambda: client.notify("double", 1),
        lambda: client.ready(),
        lambda: view.call("double", 1),
    ):
        with pytest.raises(zmqkit.UsageError, match=r"closed.*make a new one"):
            use()
    assert client.instances() == []
    assert client.stats()["in_flight"] == 0


def test_closed_service_says_so(kit: Kit) -> None:
    service = kit.serving(double)
    service.close()
    for use in (service.start, service.serve):
        with pytest.raises(zmqkit.UsageError, match=r"closed.*make a new one"):
            use()
    service.stop()
    assert service.stats()["accepted"] == 0


def test_close_ends_the_calls_that_wait_and_says_how_many(kit: Kit) -> None:
    gate = kit.gate()
    kit.serving(gate.hold)
    client = kit.client()
    calls = [kit.start(client.call, "hold", n) for n in range(3)]
    gate.came()
    until(lambda: client.stats()["in_flight"] == 3)
    assert client.close(SHORT_S) == 3
    for call in calls:
        with pytest.raises(zmqkit.CallCancelled) as caught:
            call.result()
        assert caught.value.may_have_run is True
    assert client.stats()["dropped"] == {"closed": 3}


def test_close_ends_the_waits_for_readiness(kit: Kit) -> None:
    client = kit.client(count=0)
    waiting = kit.start(client.ready, 5)
    until(lambda: kit.core(client)._connections._awaited)
    assert client.close(SHORT_S) == 0
    assert waiting.result() == 0


def test_a_pusher_that_closes_ends_the_wait_for_workers(kit: Kit) -> None:
    pusher = kit.pusher(count=0)
    waiting = kit.start(pusher.ready, 5)
    until(lambda: kit.waits(pusher))
    pusher.close(0)
    assert waiting.result() == 0


def test_call_that_found_nobody_when_its_client_closed_cannot_have_run(kit: Kit) -> None:
    client = kit.client(count=0)
    call = kit.start(client.call, "double", 1)
    until(lambda: client.stats()["in_flight"] == 1)
    assert client.close(SHORT_S) == 1
    with pytest.raises(zmqkit.CallCancelled) as caught:
        call.result()
    assert caught.value.may_have_run is False


def test_client_that_closes_waits_for_the_calls_in_flight(kit: Kit) -> None:
    gate = kit.gate()
    kit.serving(gate.hold)
    client = kit.client()
    calls = [kit.start(client.call, "hold", n) for n in range(3)]
    gate.came()
    until(lambda: client.stats()["in_flight"] == 3)
    opening = threading.Timer(SHORT_S, gate.open)
    opening.start()
    assert client.close(BOUND_S) == 0
    assert [call.result() for call in calls] == [0, 1, 2]
    opening.join()


def test_service_that_closes_says_how_much_is_unanswered(kit: Kit) -> None:
    gate = kit.gate()
    service = kit.serving(gate.hold, concurrency=2)
    client = kit.client()
    for n in range(5):
        client.notify("hold", n)
    gate.came(2)
    until(lambda: service.stats()["in_flight"] == 5)
    assert service.close(SHORT_S) == 5
    assert service.stats()["dropped"] == {"closed": 5}


def test_a_role_that_is_given_up_while_it_is_open_is_warned_of(kit: Kit) -> None:
    publisher, client = kit.publisher(), kit.client(count=0)
    given_up, unopened = (getattr(role, "inner", role) for role in (publisher, client))
    unopened.__del__()
    block = "async with" if hasattr(given_up, "__aenter__") else "with"
    remedy = f"{kit.name}.* was not closed; use it in a block, `{block} …:`, or call its close"
    with pytest.warns(ResourceWarning, match=remedy):
        given_up.__del__()
    publisher.close()
    given_up.__del__()


@pytest.mark.parametrize("kind", ROLES)
def test_a_role_that_is_passed_to_another_process_says_what_to_do(kit: Kit, kind: str) -> None:
    module = zmqkit if kit.service_class is zmqkit.Service else zmqkit.asyncio
    made = getattr(module, kind)("orders")
    views = [made, made.options(priority=1)] if kind == "Client" else [made]
    for role in views:
        for use in (ForkingPickler.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(zmqkit.UsageError, match=r"'orders'.*make a new one in"):
                use(role)


@pytest.mark.slow
def test_service_that_closes_answers_what_it_took(kit: Kit) -> None:
    gate = kit.gate()
    service = kit.serving(gate.hold, double)
    client = kit.client()
    call = kit.start(client.call, "hold", 1)
    gate.came()
    closing = kit.start(service.close, BOUND_S)
    # A newcomer finds nobody, or is refused: that takes no longer than the news of the end.
    newcomer = kit.client(count=0)
    until(lambda: not [r for r in client.instances() if r["state"] == "up"])
    with pytest.raises(zmqkit.PeerError) as caught:
        newcomer.options(wait_s=2 * SHORT_S, timeout_s=1.0).call("double", 1)
    assert caught.value.may_have_run is False
    gate.open()
    assert call.result() == 1
    assert closing.result() == 0


@pytest.mark.slow
def test_service_that_nobody_serves_answers_what_it_took_when_it_closes(blocking: Kit) -> None:
    service = blocking.service()
    service.handler(lambda value: value, name="echo")
    service.start()
    client = blocking.client()
    calls = [blocking.start(client.call, "echo", n) for n in range(3)]
    until(lambda: service.stats()["in_flight"] == 3)
    assert service.close() == 0
    assert [call.result() for call in calls] == [0, 1, 2]


def test_idempotent_call_moves_when_its_service_closes_and_keeps_its_id(kit: Kit) -> None:
    gates = [kit.gate() for _ in range(2)]
    services = [kit.serving(gate.hold, idempotent=True) for gate in gates]
    client = kit.client(count=2)
    call = kit.start(client.call, "hold", 7)
    until(lambda: any(gate.requests for gate in gates))
    first = 0 if gates[0].requests else 1
    assert services[first].close(0) == 1
    gates[1 - first].came()
    gates[1 - first].open()
    assert call.result() == 7
    assert gates[0].requests[0].id == gates[1].requests[0].id
    assert client.stats()["retries"] == 1


@pytest.mark.slow
def test_call_ends_with_peer_lost_when_its_service_closes_and_it_is_not_idempotent(
    kit: Kit,
) -> None:
    gate = kit.gate()
    service = kit.serving(gate.hold)
    client = kit.client()
    call = kit.start(client.call, "hold", 7)
    gate.came()
    assert service.close(0) == 1
    with pytest.raises(zmqkit.PeerLost) as caught:
        call.result()
    assert caught.value.may_have_run is True


def test_handler_that_ignores_its_cancellation_does_not_hold_close_up(aio: AsyncKit) -> None:
    release = asyncio.Event()
    came = threading.Event()

    async def stubborn() -> None:
        came.set()
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    service = aio.serving(stubborn)
    client = aio.client()
    client.notify("stubborn")
    assert came.wait(BOUND_S)
    closing = aio.submit(service.inner.close(SHORT_S))
    until(lambda: closing.done() or service.stats()["dropped"])
    try:
        assert closing.result(2.0) == 1
    finally:
        aio.loop.call_soon_threadsafe(release.set)


def in_child(work: Callable[[], object]) -> object:
    """What the work gives in a forked child; a child that hangs is ended by an alarm."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # Python 3.12 and newer warn of any fork in a process with threads.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        signal.alarm(15)
        try:
            answer = repr(work())
        except BaseException as error:  # noqa: BLE001 - it travels to the parent
            answer = f"{type(error).__name__}: {error}"
        os.write(writing, answer.encode()[:4000])
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        answer = pipe.read().decode()
    _, status = os.waitpid(pid, 0)
    return answer if status == 0 else f"the child ended with {status}; it said {answer!r}"


def test_forked_child_is_told_to_make_new_roles(blocking: Kit) -> None:
    service = blocking.serving(double)
    client = blocking.client()
    for use in (
        lambda: client.call("double", 1),
        lambda: client.notify("double", 1),
        lambda: client.ready(),
        lambda: service.serve(timeout_s=SHORT_S),
    ):
        told = in_child(use)
        assert str(told).startswith("UsageError: "), told
        assert "before fork(); make a new one in the child" in str(told)
    assert client.call("double", 2) == 4


def test_forked_child_is_told_to_make_a_new_watch(blocking: Kit) -> None:
    blocking.serving(double)
    with zmqkit.watch(blocking.name) as loop:
        assert next(loop).change == "added"
        told = in_child(lambda: next(loop))
        assert in_child(loop.close) == "None"
    assert "before fork(); make a new one in the child" in str(told)


def test_forked_child_is_told_to_make_new_asyncio_roles(aio: AsyncKit) -> None:
    service = aio.serving(double)
    client = aio.client()

    for use in (
        lambda: client.inner.call("double", 1).send(None),
        lambda: client.inner.notify("double", 1).send(None),
        lambda: client.inner.ready().send(None),
        lambda: service.inner.start().send(None),
        lambda: service.inner.close().send(None),
    ):
        told = in_child(use)
        assert str(told).startswith("UsageError: "), told
        assert "before fork(); make a new one in the child" in str(told)
    assert client.call("double", 2) == 4


def test_a_child_may_open_roles_though_its_parent_opened_one_when_it_forked(
    blocking: Kit,
) -> None:
    blocking.serving(double)
    held, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with nodes._lock:
            held.set()
            assert go_on.wait(BOUND_S)

    holding = blocking.start(hold)
    assert held.wait(BOUND_S)

    def open_one() -> int:
        with zmqkit.Client(blocking.name) as client:
            return len(client.instances())

    try:
        assert in_child(open_one) == "0"
    finally:
        go_on.set()
    holding.result()


@pytest.mark.slow
def test_new_roles_work_in_a_forked_child(blocking: Kit) -> None:
    service = blocking.serving(double)
    client = blocking.client()

    def call() -> object:
        with zmqkit.Client(blocking.name) as fresh:
            return fresh.call("double", 21)

    assert in_child(call) == "42"
    assert client.call("double", 2) == 4
    assert service.stats()["delivered"] == 2


def test_threads_and_descriptors_are_gone_when_close_returns(kit: Kit) -> None:
    def threads() -> set[str]:
        return {thread.name for thread in threading.enumerate()}

    before = threads()
    service = kit.serving(double, concurrency=2)
    client = kit.client()
    client.call("double", 1)
    assert any(name.startswith("zmqkit") for name in threads() - before)
    client.close()
    service.close()
    assert not [name for name in threads() if name.startswith("zmqkit")]


def test_one_node_serves_all_roles_of_a_process(kit: Kit) -> None:
    services = [kit.serving(double, name=f"{kit.name}{n}") for n in range(3)]
    clients = [kit.client(f"{kit.name}{n}") for n in range(3)]
    assert [client.call("double", 1) for client in clients] == [2, 2, 2]
    assert [thread.name for thread in threading.enumerate()].count("zmqkit") == 1
    assert len({service.incarnation for service in services}) == 3
