"""What a service's handlers get, and what becomes of what they give or raise."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

import zmqkit
from tests.roles.kit import AsyncKit, Kit
from zmqkit.core.dispatch.connections import State
from zmqkit.core.dispatch.job import Instance
from zmqkit.roles.handlers import instance_rows

pytestmark = pytest.mark.usefixtures("node")


def echo(*args: object, **kwargs: object) -> list[object]:
    return [list(args), kwargs]


def test_handlers_are_named_by_function_or_by_hand(kit: Kit) -> None:
    service = kit.service()

    @service.handler
    def bare() -> str:
        return "bare"

    @service.handler()
    def called() -> str:
        return "called"

    @service.handler(name="named", idempotent=True)
    def unnamed() -> str:
        return "named"

    service.handler(partial(echo, 1), name="partial")
    service.handler("x".join)
    kit.serve(service)
    client = kit.client()
    assert [client.call(each) for each in ("bare", "called", "named")] == [
        "bare",
        "called",
        "named",
    ]
    assert client.call("partial", 2) == [[1, 2], {}]
    assert client.call("join", ["a", "b"]) == "axb"
    assert bare() == "bare"
    assert called() == "called"
    assert unnamed() == "named"


def test_arguments_arrive_by_position_and_by_name(kit: Kit) -> None:
    kit.serving(echo)
    client = kit.client()
    assert client.call("echo", 1, "two", timeout_s=3, self=4, method=5) == [
        [1, "two"],
        {"timeout_s": 3, "self": 4, "method": 5},
    ]


WHEN = datetime(2026, 11, 23, 22, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        None, True, 0, -(2**63), 2**64 - 1, 1.5, "", "ü\0", b"", b"\xff" * 5000, [], [[1], {}],
        {"a": {1: b"x", b"k": None}}, WHEN, "x" * 100_000, b"y" * 300_000,
    ],
)  # fmt: skip
def test_values_return_as_they_went(kit: Kit, value: object) -> None:
    kit.serving(identity)
    client = kit.client()
    assert client.call("identity", value) == value
    assert client.call("identity", value=value) == value


def identity(value: object) -> object:
    return value


def test_tuple_arrives_as_list(kit: Kit) -> None:
    kit.serving(identity)
    assert kit.client().call("identity", (1, (2, 3))) == [1, [2, 3]]


def test_argument_changed_after_the_call_began_does_no_harm(aio: AsyncKit) -> None:
    aio.serving(identity)
    client = aio.client()

    async def scene() -> object:
        value = [1]
        task = asyncio.ensure_future(client.inner.call("identity", value))
        await asyncio.sleep(0)
        value.append(2)
        return await task

    assert aio.submit(scene()).result(20) == [1]


def test_what_a_handler_raises_arrives_with_its_type_text_and_traceback(kit: Kit) -> None:
    def fail(text: str) -> None:
        raise ValueError(text)

    service = kit.serving(fail)
    client = kit.client()
    with pytest.raises(zmqkit.RemoteError, match="ValueError: odd value") as caught:
        client.call("fail", "odd value")
    assert caught.value.type == "ValueError"
    assert caught.value.message == "odd value"
    assert "in fail" in caught.value.traceback
    assert "raise ValueError(text)" in caught.value.traceback
    assert caught.value.may_have_run is True
    assert service.stats()["failed"] == client.stats()["failed"] == 1


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_error_of_a_library_is_named_with_its_module(kit: Kit) -> None:
    def fail(kind: str) -> None:
        raise {"own": Unprintable(), "bytes": ValueError("\udcff")}[kind]

    kit.serving(fail)
    client = kit.client()
    with pytest.raises(zmqkit.RemoteError) as caught:
        client.call("fail", "own")
    assert caught.value.type.endswith(".Unprintable")
    assert caught.value.message == ""
    with pytest.raises(zmqkit.RemoteError) as caught:
        client.call("fail", "bytes")
    assert caught.value.message == "\\udcff"


def test_long_error_is_cut_and_arrives(kit: Kit) -> None:
    def fail() -> None:
        raise ValueError("x" * 1_000_000)

    kit.serving(fail)
    with pytest.raises(zmqkit.RemoteError) as caught:
        kit.client().call("fail")
    assert 1000 < len(caught.value.message) < 100_000


@pytest.mark.parametrize("error", [SystemExit(3), asyncio.CancelledError(), GeneratorExit()])
def test_handler_that_raises_what_is_no_exception_answers_too(
    kit: Kit, error: BaseException
) -> None:
    def fail() -> None:
        raise error

    kit.serving(fail, identity)
    client = kit.client()
    with pytest.raises(zmqkit.RemoteError, match=type(error).__name__):
        client.call("fail")
    assert client.call("identity", 1) == 1


def test_wrong_arguments_are_the_callers_error(kit: Kit) -> None:
    kit.serving(identity)
    client = kit.client()
    with pytest.raises(zmqkit.BadArguments, match=r"'identity' takes \(value\): missing"):
        client.call("identity")


def test_value_that_cannot_travel_is_an_error_that_says_so(kit: Kit) -> None:
    def odd() -> object:
        return [{1, 2}]

    kit.serving(odd, identity)
    client = kit.client()
    with pytest.raises(zmqkit.RemoteError, match=r"set.*cannot travel"):
        client.call("odd")
    assert client.call("identity", 1) == 1


def test_unknown_method_is_named_with_those_there_are(kit: Kit) -> None:
    service = kit.serving(identity, echo)
    client = kit.client()
    with pytest.raises(zmqkit.NoMethod, match=r"'prize'.*echo, identity") as caught:
        client.call("prize")
    assert caught.value.may_have_run is False
    assert service.stats()["accepted"] == 0
    assert service.stats()["refused"] == 1


def test_handler_that_is_added_while_serving_answers(kit: Kit) -> None:
    service = kit.serving()
    client = kit.client()
    service.handler(identity)
    assert client.call("identity", 1) == 1


def test_handler_learns_about_its_request(kit: Kit) -> None:
    seen: list[Any] = []

    def look() -> None:
        request = zmqkit.current_request()
        seen.append(
            (
                request.id, request.method, request.headers, request.priority,
                request.time_left_s(), request.cancelled,
            )
        )  # fmt: skip

    kit.serving(look)
    client = kit.client()
    headers = {"traceparent": "00-1-2-3", "n": [1, {"deep": b"x"}]}
    client.options(timeout_s=7.5, priority=9, headers=headers).call("look")
    client.call("look")
    (first, method, given, priority, left_s, cancelled), other = seen
    assert (method, given, priority, cancelled) == ("look", headers, 9, False)
    assert 0 < left_s <= 7.5
    assert other[1:4] == ("look", {}, 4)
    assert len(first) == len(other[0]) == 32
    assert int(first, 16) != int(other[0], 16)


def test_handlers_at_once_each_see_their_own_request(kit: Kit) -> None:
    gate = kit.gate()
    kit.serving(gate.hold, concurrency=3)
    client = kit.client()
    calls = [kit.start(client.options(headers={"n": n}).call, "hold", n) for n in range(3)]
    gate.came(3)
    assert sorted(request.headers["n"] for request in gate.requests) == [0, 1, 2]
    assert len({request.id for request in gate.requests}) == 3
    gate.open()
    assert [call.result() for call in calls] == [0, 1, 2]


def test_there_is_no_current_request_outside_of_a_handler(kit: Kit) -> None:
    kit.serving(identity)
    kit.client().call("identity", 1)
    with pytest.raises(zmqkit.UsageError, match="inside a handler"):
        zmqkit.current_request()


def test_async_def_is_refused_by_a_blocking_service_with_the_remedy(blocking: Kit) -> None:
    service = blocking.service()

    async def wait() -> None: ...

    with pytest.raises(zmqkit.UsageError, match=r"'wait' is async def; use zmqkit\.asyncio"):
        service.handler(wait)
    with pytest.raises(zmqkit.UsageError, match="async def"):
        service.handler(name="other")(wait)
    service.handler(identity, name="wait")
    blocking.serve(service)
    assert blocking.client().call("wait", 1) == 1


def test_async_and_plain_and_threaded_handlers_live_together(aio: AsyncKit) -> None:
    service = aio.service()
    threads: dict[str, str] = {}

    def note() -> str:
        method = zmqkit.current_request().method
        threads[method] = threading.current_thread().name
        return method

    @service.handler
    def plain() -> str:
        return note()

    @service.handler
    async def waiting() -> str:
        await asyncio.sleep(0)
        return note()

    @service.handler(thread=True)
    def threaded() -> str:
        return note()

    aio.serve(service)
    client = aio.client()
    methods = ["plain", "waiting", "threaded"]
    assert [client.call(method) for method in methods] == methods
    assert threads["plain"] == threads["waiting"] == "the user's loop"
    assert threads["threaded"] != "the user's loop"


def test_slow_handler_in_a_thread_does_not_hold_the_others_up(aio: AsyncKit) -> None:
    release = threading.Event()

    def slow() -> bool:
        return release.wait(20)

    service = aio.service()
    service.handler(slow, thread=True)
    service.handler(identity)
    aio.serve(service)
    client = aio.client()
    call = aio.start(client.call, "slow")
    assert client.call("identity", 1) == 1
    release.set()
    assert call.result() is True


async def stream() -> Any:
    yield 1


def test_a_blocking_service_refuses_an_async_generator(blocking: Kit) -> None:
    service = blocking.service()
    with pytest.raises(zmqkit.UsageError, match=r"'stream' is async def; use zmqkit.asyncio"):
        service.handler(stream)
    service.handler(identity, name="stream")


def test_name_is_taken_once(kit: Kit) -> None:
    service = kit.service()
    service.handler(identity)
    with pytest.raises(zmqkit.UsageError, match="'identity' has a handler already"):
        service.handler(identity)


@pytest.mark.parametrize(
    ("handler", "message"), [(5, "a function, not 5"), (partial(identity, 1), "handler.name=")]
)
def test_what_has_no_name_or_cannot_be_called_is_refused(
    kit: Kit, handler: Any, message: str
) -> None:
    with pytest.raises(zmqkit.UsageError, match=message):
        kit.service().handler(handler)


@pytest.mark.parametrize(
    ("state", "silent", "shown"),
    [
        (State.UP, False, "up"), (State.UP, True, "evasive"), (State.LEAVING, True, "leaving"),
        (State.LOST, True, "lost"), (State.OPENING, True, "opening"),
    ],
)  # fmt: skip
def test_an_instance_is_evasive_while_it_is_up_and_silent(
    state: State, silent: bool, shown: str
) -> None:
    instance = Instance(1, b"1", "tcp://127.0.0.1:5000", silent=silent, state=state)
    [row] = instance_rows("orders", [instance])
    assert row["state"] == shown


def test_a_handler_that_is_defined_again_replaces_the_first_if_asked_to(kit: Kit) -> None:
    service = kit.service()

    def price() -> int:
        return 1

    def generates() -> Iterator[int]:
        yield 2

    service.handler(price)
    with pytest.raises(zmqkit.UsageError, match=r"pass replace=True where code runs again"):
        service.handler(price)
    service.handler(generates, name="price", replace=True)
    kit.serve(service)
    assert kit.values(kit.client().stream("price")) == [2]


def test_a_handler_is_replaced_while_the_service_serves(kit: Kit) -> None:
    service = kit.serving(str.upper, idempotent=True)
    client = kit.client()
    assert client.call("upper", "Tea") == "TEA"
    service.handler(str.lower, name="upper", idempotent=True, replace=True)
    assert client.call("upper", "Tea") == "tea"


def test_what_clients_know_of_a_handler_cannot_be_replaced(kit: Kit) -> None:
    service = kit.serving(str.upper, idempotent=True)

    def generates(text: str) -> Iterator[str]:
        yield text

    for function, idempotent in ((str.lower, False), (generates, True)):
        with pytest.raises(zmqkit.UsageError, match="'upper' is known to clients"):
            service.handler(function, name="upper", idempotent=idempotent, replace=True)
    assert kit.client().call("upper", "Tea") == "TEA"
