"""Wrong use is an error that says what to do instead, and does no harm."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from math import inf, nan
from typing import Any

import pytest

import zmqkit
import zmqkit.asyncio
from tests.roles.kit import Kit
from zmqkit.limits import BODY_BYTES_MAX

pytestmark = pytest.mark.usefixtures("node")


def double(value: Any) -> Any:
    return 2 * value


def test_unknown_option_is_named_with_those_there_are(kit: Kit) -> None:
    client = kit.client(count=0)
    with pytest.raises(zmqkit.UsageError, match=r"'timeout'.*timeout_s, wait_s, priority"):
        client.options(timeout=5)
    with pytest.raises(zmqkit.UsageError, match="'retries'"):
        client.options(timeout_s=1).options(retries=5)


@pytest.mark.parametrize(
    "options",
    [
        {"timeout_s": 0}, {"timeout_s": -1}, {"timeout_s": nan}, {"timeout_s": "5"},
        {"timeout_s": True}, {"timeout_s": None}, {"timeout_s": inf}, {"timeout_s": 1e300},
        {"timeout_s": 1e18}, {"wait_s": 0}, {"wait_s": nan}, {"wait_s": inf},
        {"wait_s": 1e300},
        {"priority": -1}, {"priority": 10}, {"priority": 4.0}, {"priority": True},
        {"attempts": 0}, {"attempts": 1.5}, {"attempts": True},
        {"headers": 5}, {"headers": {1: 2}}, {"headers": {"x": {1, 2}}},
        {"headers": {"x": "y" * 10_000}}, {"headers": [("a", "b")]},
    ],
)  # fmt: skip
def test_option_that_makes_no_sense_is_named(kit: Kit, options: dict[str, Any]) -> None:
    [name] = options
    client = kit.client(count=0)
    with pytest.raises(zmqkit.UsageError, match=name):
        client.options(**options)
    assert client.stats()["accepted"] == 0
    kit.serving(double)
    assert client.call("double", 1) == 2


@pytest.mark.parametrize("options", [{"timeout_s": 0}, {"wait_s": "5"}, {"timeout_s": inf}])
def test_client_checks_its_options_too(kit: Kit, options: dict[str, Any]) -> None:
    [name] = options
    with pytest.raises(zmqkit.UsageError, match=name):
        kit.client(count=0, **options)


def test_a_day_is_a_timeout_like_any_other(kit: Kit) -> None:
    kit.serving(double)
    client = kit.client(timeout_s=86_400, wait_s=86_400.5)
    assert client.call("double", 1) == 2


@pytest.mark.parametrize("concurrency", [0, -1, 1.5, "2", True])
def test_concurrency_is_a_positive_number(kit: Kit, concurrency: Any) -> None:
    with pytest.raises(zmqkit.UsageError, match="concurrency"):
        kit.service(concurrency=concurrency)


class Odd:
    pass


class Text(str):
    __slots__ = ()


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("option", ["idempotent", "copy", "thread"])
def test_options_of_a_handler_are_true_or_false(kit: Kit, option: str) -> None:
    with pytest.raises(zmqkit.UsageError, match=f"{option} of 'double' is 'no'; use True"):
        kit.service().handler(double, **{option: "no"})


def test_blocking_service_says_how_handlers_run_in_threads(blocking: Kit) -> None:
    service = blocking.service()
    with pytest.raises(zmqkit.UsageError, match=r"thread=True of 'double'.*concurrency="):
        service.handler(thread=True)(double)
    service.handler(thread=False)(double)
    blocking.serve(service)
    assert blocking.client().call("double", 1) == 2


def test_function_without_a_name_is_refused_with_the_remedy(kit: Kit) -> None:
    service = kit.service()
    with pytest.raises(zmqkit.UsageError, match=r"lambda has no name; pass handler\(name="):
        service.handler(lambda: 1)
    service.handler(lambda: 1, name="one")
    kit.serve(service)
    assert kit.client().call("one") == 1


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({1, 2}, "set"), (Odd(), "Odd"), (Decimal(1), "Decimal"), (1j, "complex"),
        (date(2026, 1, 1), "date"), (datetime(2026, 1, 1), "time zone"),  # noqa: DTZ001
        (Text("x"), "Text"), (bytearray(b"x"), "bytearray"),
        (2**64, "cannot travel"), (-(2**63) - 1, "cannot travel"), ("\udcff", "cannot travel"),
        ({1.5: 2}, "keys"), ({(1,): 2}, "keys"), ({None: 1}, "keys"), (nested(100), "deep"),
        (range(3), "range"), (double, "function"),
    ],
)  # fmt: skip
def test_value_that_cannot_travel_is_refused_where_it_is_given(
    kit: Kit, value: object, reason: str
) -> None:
    kit.serving(double)
    client = kit.client()
    for argument in (value, [value], {"key": value}):
        with pytest.raises(zmqkit.UsageError, match=reason):
            client.call("double", argument)
    with pytest.raises(zmqkit.UsageError, match=reason):
        client.call("double", value=value)
    with pytest.raises(zmqkit.UsageError, match=reason):
        client.notify("double", value)
    assert client.call("double", 1) == 2
    assert client.stats()["accepted"] == 1


def test_error_names_the_argument_that_cannot_travel(kit: Kit) -> None:
    client = kit.client(count=0)
    with pytest.raises(zmqkit.UsageError, match=r"args\[1\]\[0\] is of type set"):
        client.call("double", 1, [{1}])


@pytest.mark.parametrize(
    "value", [2**64, -(2**63) - 1, 1 << 100_000, "x\udcff"], ids=["large", "low", "huge", "odd"]
)
def test_number_or_text_that_cannot_travel_is_named_by_its_place(kit: Kit, value: Any) -> None:
    client = kit.client(count=0)
    now = datetime.now(UTC)
    for place, args, kwargs in [
        ("args[0]", [value], {}),
        ("args[1][0]", [1, [value]], {}),
        ("args[1]['a'][2]", [now, {"a": ["ä", b"", value]}], {}),
        ("kwargs['k'][1]", [], {"k": (now, value)}),
        ("a key of args[0]", [{value: 1}], {}),
    ]:
        with pytest.raises(zmqkit.UsageError) as caught:
            client.call("double", *args, **kwargs)
        assert str(caught.value).startswith(place) and len(str(caught.value)) < 200


def test_reply_that_cannot_travel_is_named_as_the_reply(kit: Kit) -> None:
    def large() -> list[int]:
        return [1, 2**64]

    def odd() -> str:
        return "\udcff"

    kit.serving(large, odd)
    client = kit.client()
    with pytest.raises(zmqkit.RemoteError, match=r"UsageError: the reply\[1\]: an int beyond"):
        client.call("large")
    with pytest.raises(zmqkit.RemoteError, match="UsageError: the reply: text that is not"):
        client.call("odd")


def test_value_that_holds_itself_is_refused(kit: Kit) -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(zmqkit.UsageError, match="deep"):
        kit.client(count=0).call("double", value)


@pytest.mark.parametrize("kind", [bytes, str, list])
def test_body_that_is_too_large_is_refused_with_its_size(kit: Kit, kind: type) -> None:
    half = bytes(BODY_BYTES_MAX // 2 + 1)
    value = {bytes: half * 2, str: (half * 2).decode(), list: [half, half]}[kind]

    def large() -> object:
        return value

    kit.serving(large)
    client = kit.client()
    with pytest.raises(zmqkit.UsageError, match=f"'large' take .* {BODY_BYTES_MAX} at most"):
        client.call("large", value)
    with pytest.raises(zmqkit.RemoteError, match=f"takes more than {BODY_BYTES_MAX} bytes"):
        client.call("large")


@pytest.mark.parametrize("method", [5, None, b"double"])
def test_method_is_a_name(kit: Kit, method: Any) -> None:
    with pytest.raises(zmqkit.UsageError, match="text, not"):
        kit.client(count=0).call(method)


def test_method_name_that_cannot_travel_is_refused(kit: Kit) -> None:
    with pytest.raises(zmqkit.UsageError, match="cannot travel"):
        kit.client(count=0).call("\udcff")


@pytest.mark.parametrize("count", [1, sys.maxsize])
def test_readiness_can_be_asked_for_without_waiting(kit: Kit, count: int) -> None:
    client = kit.client(count=0)
    assert client.ready(count, timeout_s=0.01) == 0


@pytest.mark.parametrize("name", ["127.0.0.1:5555", "orders:80", "host:5555/orders"])
def test_address_without_its_scheme_is_no_name(name: str) -> None:
    with pytest.raises(zmqkit.UsageError, match=f"did you mean tcp://{name}"):
        zmqkit.Client(name)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:5555", "127.0.0.1:5555", "memory://x"])
def test_a_role_that_listens_has_a_name_and_is_told_of_bind(kit: Kit, address: str) -> None:
    for kind, role in (kit.service_class, "service"), (kit.publisher_class, "publisher"):
        with pytest.raises(zmqkit.UsageError, match=f"a {role} has a name; .*--bind URL"):
            kit._kept(kind, address)


def test_client_of_another_event_loop_says_so() -> None:
    client = zmqkit.asyncio.Client("memory://nobody", wait_s=0.01)

    async def ask() -> None:
        await client.call("anything")

    with asyncio.Runner() as first, asyncio.Runner() as second:
        with pytest.raises(zmqkit.NoService):
            first.run(ask())
        with pytest.raises(zmqkit.UsageError, match="another event loop"):
            second.run(ask())
        first.run(client.close())


def test_number_beyond_64_bits_is_refused_with_the_remedy(kit: Kit) -> None:
    with pytest.raises(zmqkit.UsageError, match=r"64 bits .* send it as text"):
        kit.client(count=0).call("double", 2**70)
