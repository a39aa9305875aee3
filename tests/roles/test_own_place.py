"""A handler that calls its service's only place, which it holds itself, is warned of."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

import zmqkit
import zmqkit.asyncio
from tests.roles.kit import BOUND_S, AsyncKit, Kit

pytestmark = pytest.mark.usefixtures("node")

TIMEOUT_S = 1.0
"""How long a call takes that nobody can answer."""


def said(name: str) -> str:
    return (
        f"a handler of {name!r} calls {name!r}, whose only place it holds itself, so the call "
        "waits until its time is over; call the function itself, or pass "
        "Service(concurrency=...) above 1"
    )


def answer() -> int:
    return 42


def calling(
    kit: Kit, *, concurrency: int = 1, name: str = "", timeout_s: float = TIMEOUT_S
) -> Any:
    """A service whose handler calls a client of a name, its own unless it is said."""

    def ask() -> object:
        with zmqkit.Client(name or kit.name, timeout_s=timeout_s, wait_s=BOUND_S) as client:
            return client.call("answer")

    return kit.serving(ask, answer, concurrency=concurrency)


def outcome(client: Any) -> object:
    """The value of a call, or the type of the error that the handler raised."""
    try:
        return client.call("ask")
    except zmqkit.RemoteError as error:
        return error.type


def test_a_handler_that_waits_for_its_own_place_is_warned_of(blocking: Kit) -> None:
    client = blocking.client(calling(blocking).endpoint)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert outcome(client) == "zmqkit.errors.CallTimeout"
    [warning] = caught
    assert (str(warning.message), warning.category) == (said(blocking.name), RuntimeWarning)
    assert warning.filename == __file__


@pytest.mark.slow
def test_a_handler_of_a_loop_that_waits_for_its_own_place_is_warned_of(aio: AsyncKit) -> None:
    async def ask() -> object:
        async with zmqkit.asyncio.Client(
            aio.name, timeout_s=TIMEOUT_S, wait_s=BOUND_S
        ) as client:
            return await client.call("answer")

    client = aio.client(aio.serving(ask, answer, concurrency=1).endpoint)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert outcome(client) == "zmqkit.errors.CallTimeout"
    assert [str(each.message) for each in caught] == [said(aio.name)]


def test_a_call_by_its_own_address_is_known(blocking: Kit) -> None:
    service = blocking.service()

    @service.handler
    def ask() -> object:
        with zmqkit.Client(service.endpoint, timeout_s=TIMEOUT_S, wait_s=BOUND_S) as client:
            return client.call("ask")

    client = blocking.client(blocking.serve(service).endpoint)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert outcome(client) == "zmqkit.errors.CallTimeout"
    assert [str(each.message) for each in caught] == [said(service.endpoint)]


def test_a_second_place_answers(blocking: Kit) -> None:
    client = blocking.client(calling(blocking, concurrency=2, timeout_s=BOUND_S).endpoint)
    assert client.call("ask") == 42


def test_another_instance_may_answer(blocking: Kit) -> None:
    client = blocking.client(calling(blocking).endpoint)
    other = Kit()
    other.name = blocking.name
    try:
        other.serving(answer)
        calls_both = blocking.client(count=2)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            outcome(client)
        assert caught == []
        calls_both.close()
    finally:
        other.close()


def test_another_service_may_be_called(blocking: Kit) -> None:
    other = Kit()
    try:
        other.serving(answer)
        client = blocking.client(calling(blocking, name=other.name, timeout_s=BOUND_S).endpoint)
        assert client.options(timeout_s=BOUND_S).call("ask") == 42
    finally:
        other.close()
