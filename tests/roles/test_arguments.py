"""Arguments that a handler does not take are told from what a handler raises."""

from __future__ import annotations

import functools
import math
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

import zmqkit
from tests.roles.kit import AsyncKit, Kit, until

pytestmark = pytest.mark.usefixtures("node")


def price(item: str, quantity: int = 1) -> float:
    return len(item) * quantity / ("x" if item == "odd" else 1)  # type: ignore[operator]  # it raises


async def price_later(item: str) -> float:
    return price(item)


def prices(item: str) -> Iterator[float]:
    yield price(item)


async def prices_later(item: str) -> AsyncIterator[float]:
    yield price(item)


class Shop:
    def price(self, item: str) -> float:
        return price(item)

    def __call__(self, item: str) -> float:
        return price(item)


@functools.wraps(price)
def around(*args: Any, **kwargs: Any) -> float:
    return price(*args, **kwargs)


PLAIN: list[Callable[..., object]] = [
    price, prices, Shop().price, Shop(), functools.partial(price, quantity=2),
    functools.cache(price),
]  # fmt: skip


def assert_told_apart(kit: Kit, handler: Callable[..., object], **options: Any) -> None:
    service = kit.service()
    service.handler(handler, name="price", **options)
    kit.serve(service)
    client = kit.client()
    with pytest.raises(zmqkit.BadArguments, match=r"'price' takes \(item.*: missing") as caught:
        kit.values(client.stream("price"))
    assert caught.value.may_have_run is False
    with pytest.raises(zmqkit.RemoteError, match="TypeError: unsupported") as raised:
        kit.values(client.stream("price", "odd"))
    assert raised.value.may_have_run is True
    assert kit.values(client.stream("price", "tea"))
    assert service.stats()["failed"] == client.stats()["failed"] == 2


@pytest.mark.parametrize("handler", PLAIN)
def test_what_does_not_fit_is_told_from_what_is_raised(
    kit: Kit, caplog: pytest.LogCaptureFixture, handler: Callable[..., object]
) -> None:
    assert_told_apart(kit, handler)
    [record] = caplog.records
    assert record.getMessage() == "handler 'price' raised TypeError"


@pytest.mark.parametrize(
    ("handler", "thread"),
    [(price_later, False), (prices_later, False), (price, True), (prices, True)],
)
def test_so_it_is_in_tasks_and_threads(
    aio: AsyncKit, handler: Callable[..., object], thread: bool
) -> None:
    assert_told_apart(aio, handler, thread=thread)


def test_what_ran_around_the_handler_may_have_done_something(kit: Kit) -> None:
    kit.serving(around)
    with pytest.raises(zmqkit.RemoteError, match=r"TypeError: price\(\) missing"):
        kit.client().call("price")


def test_a_function_in_c_is_as_certain_as_its_signature(kit: Kit) -> None:
    kit.serving(math.sqrt, math.hypot, dict)
    client = kit.client()
    with pytest.raises(zmqkit.BadArguments, match="too many positional arguments"):
        client.call("sqrt", 1, 2)
    with pytest.raises(zmqkit.RemoteError, match="TypeError: must be real number"):
        client.call("sqrt", "tea")
    with pytest.raises(zmqkit.RemoteError, match="TypeError: dict expected"):
        client.call("dict", 1, 2)


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ({"timeout_s": 1}, "client.options(timeout_s=1)"),
        ({"priority": 9, "copy": False}, "client.options(priority=9, copy=False)"),
        ({"headers": {"user": "ada"}}, "client.options(headers=...)"),
    ],
)
def test_an_option_among_the_arguments_is_told_where_it_belongs(
    kit: Kit, given: dict[str, Any], hint: str
) -> None:
    kit.serving(price, prices)
    client = kit.client()
    with pytest.raises(zmqkit.BadArguments) as caught:
        client.call("price", "tea", **given)
    assert str(caught.value).startswith("'price' takes (item, quantity=1): got an unexpected")
    assert str(caught.value).endswith(f"; options are given as {hint}.call('price', ...)")
    with pytest.raises(zmqkit.BadArguments) as caught:
        kit.values(client.stream("prices", "tea", **given))
    assert str(caught.value).endswith(f"{hint}.stream('prices', ...)")


def test_another_argument_has_no_such_hint(kit: Kit) -> None:
    kit.serving(price)
    with pytest.raises(zmqkit.BadArguments) as caught:
        kit.client().call("price", "tea", colour="red")
    assert "options" not in str(caught.value)


def test_a_one_way_message_that_does_not_fit_fails_in_the_log(
    kit: Kit, caplog: pytest.LogCaptureFixture
) -> None:
    kit.serving(price)
    client = kit.client()
    client.notify("price", timeout_s=1)
    until(lambda: client.stats()["failed"] == 1)
    until(lambda: caplog.records)
    [record] = caplog.records
    assert "options(timeout_s=1).notify('price', ...)" in record.getMessage()
