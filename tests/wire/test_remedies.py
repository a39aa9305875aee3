"""A value that cannot travel is refused with what to send instead, and that travels."""

from __future__ import annotations

import asyncio
import dataclasses
import enum
from collections import Counter, OrderedDict, deque, namedtuple
from collections.abc import Awaitable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from ipaddress import ip_address, ip_network
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any
from uuid import UUID

import msgspec
import numpy
import pydantic
import pytest

from zmqkit.errors import UsageError
from zmqkit.wire.encoding import decode, encode
from zmqkit.wire.remedies import remedy_of


@dataclasses.dataclass
class Order:
    """What a shop is asked for."""

    item: str
    quantity: int = 1


class Model(pydantic.BaseModel):
    """The same, checked."""

    item: str
    at: datetime


class Struct(msgspec.Struct):
    """The same, quick."""

    item: str


class Colour(enum.Enum):
    """Names of colours."""

    RED = "red"


class Level(enum.IntEnum):
    """Numbers with names."""

    HIGH = 2


class Text(str):
    """A kind of text."""


class Moment(datetime):
    """A kind of datetime."""


Point = namedtuple("Point", "x y")
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)

VALUES: list[tuple[object, str, str, object]] = [
    (Order("tea"), "Order", "dataclasses.asdict(it)", {"item": "tea", "quantity": 1}),
    (
        Model(item="tea", at=NOON), "Model", 'it.model_dump(mode="json")',
        {"item": "tea", "at": "2026-01-02T12:00:00Z"},
    ),
    (Struct("tea"), "Struct", "msgspec.to_builtins(it)", {"item": "tea"}),
    (Colour.RED, "Colour", "it.value", "red"),
    (Level.HIGH, "Level", "it.value", 2),
    (numpy.bool(True), "numpy.bool", "it.item()", True),
    (numpy.int64(7), "numpy.int64", "it.item()", 7),
    (numpy.float64(0.5), "numpy.float64", "it.item()", 0.5),
    (numpy.float32(0.5), "numpy.float32", "it.item()", 0.5),
    (numpy.longdouble(0.5), "numpy.longdouble", "float(it)", 0.5),
    (numpy.complex128(1j), "numpy.complex128", "[float(it.real), float(it.imag)]", [0.0, 1.0]),
    (numpy.str_("x"), "numpy.str_", "it.item()", "x"),
    (numpy.bytes_(b"x"), "numpy.bytes_", "it.item()", b"x"),
    (numpy.datetime64("2026-01-02"), "numpy.datetime64", "str(it)", "2026-01-02"),
    (numpy.array([1, 2]), "numpy.ndarray", "it.tolist()", [1, 2]),
    (numpy.array(3), "numpy.ndarray", "it.item()", 3),
    ({1}, "set", "list(it)", [1]),
    (frozenset({1}), "frozenset", "list(it)", [1]),
    (range(2), "range", "list(it)", [0, 1]),
    (iter([1]), "list_iterator", "list(it)", [1]),
    (deque([1]), "collections.deque", "list(it)", [1]),
    ({"a": 1}.keys(), "dict_keys", "list(it)", ["a"]),
    (Counter("a"), "collections.Counter", "dict(it)", {"a": 1}),
    (OrderedDict(a=1), "collections.OrderedDict", "dict(it)", {"a": 1}),
    (MappingProxyType({"a": 1}), "mappingproxy", "dict(it)", {"a": 1}),
    (Point(1, 2), "Point", "tuple(it)", [1, 2]),
    (Decimal("1.50"), "decimal.Decimal", "str(it)", "1.50"),
    (Fraction(1, 3), "fractions.Fraction", "str(it)", "1/3"),
    (UUID(int=1), "uuid.UUID", "str(it)", str(UUID(int=1))),
    (Path("a/b"), "pathlib.PosixPath", "str(it)", "a/b"),
    (PurePosixPath("a"), "pathlib.PurePosixPath", "str(it)", "a"),
    (ip_address("10.0.0.5"), "ipaddress.IPv4Address", "str(it)", "10.0.0.5"),
    (ip_network("fe80::/64"), "ipaddress.IPv6Network", "str(it)", "fe80::/64"),
    (date(2026, 1, 2), "datetime.date", "it.isoformat()", "2026-01-02"),
    (time(12), "datetime.time", "it.isoformat()", "12:00:00"),
    (timedelta(minutes=1), "datetime.timedelta", "it.total_seconds()", 60.0),
    (
        Moment(2026, 1, 2, 12, tzinfo=UTC), "Moment",
        "datetime.fromisoformat(it.isoformat())", NOON,
    ),
    (Text("x"), "Text", "str(it)", "x"),
    (bytearray(b"x"), "bytearray", "bytes(it)", b"x"),
    (1j, "complex", "[it.real, it.imag]", [0.0, 1.0]),
    (ValueError("bad"), "ValueError", "repr(it)", "ValueError('bad')"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "kind", "remedy", "arrives"), VALUES, ids=[kind for _, kind, _, _ in VALUES]
)
def test_what_is_sent_instead_travels(
    value: object, kind: str, remedy: str, arrives: object
) -> None:
    with pytest.raises(UsageError) as caught:
        encode([value], "args")
    own = (
        "" if "." in kind or not type(value).__module__.startswith("tests") else f"{__name__}."
    )
    said = f"args[0] is of type {own}{kind}, which cannot travel here; use {remedy}"
    assert str(caught.value) == said
    names: dict[str, Any] = {
        "it": value, "dataclasses": dataclasses, "msgspec": msgspec, "datetime": datetime,
    }  # fmt: skip
    assert decode(encode(eval(remedy, names))) == arrives  # noqa: S307 - the remedy is ours


def test_a_coroutine_is_to_be_awaited() -> None:
    async def answer() -> int:
        return 42

    async def send() -> object:
        waits: Awaitable[int] = answer()
        assert remedy_of(waits) == "await it"
        return await waits

    assert asyncio.run(send()) == 42


@pytest.mark.parametrize("value", [object(), print, int, Ellipsis])
def test_others_are_refused_with_what_travels(value: object) -> None:
    with pytest.raises(
        UsageError, match=r"cannot travel here; use None, bool, int, float, str"
    ):
        encode([value])


@pytest.mark.parametrize("remedy", [datetime.astimezone, lambda it: it.replace(tzinfo=UTC)])
def test_a_naive_datetime_travels_once_it_has_a_time_zone(remedy: Any) -> None:
    noon = datetime(2026, 1, 2, 12)  # noqa: DTZ001 - the point
    with pytest.raises(UsageError) as caught:
        encode(noon, "at")
    assert str(caught.value) == (
        "at is a datetime without a time zone; add one: it.astimezone() for the time of this "
        "machine, it.replace(tzinfo=UTC) for UTC"
    )
    assert decode(encode(remedy(noon))) == remedy(noon)


KEYS: list[tuple[Any, str, str, object]] = [
    (Colour.RED, "Colour", "it.value", "red"),
    (UUID(int=1), "uuid.UUID", "str(it)", str(UUID(int=1))),
    (None, "NoneType", "str(it)", "None"),
    (True, "bool", "str(it)", "True"),
    (0.5, "float", "str(it)", "0.5"),
    ((1, 2), "tuple", "str(it)", "(1, 2)"),
    (Text("x"), "Text", "str(it)", "x"),
    (numpy.int64(7), "numpy.int64", "it.item()", 7),
    (numpy.bytes_(b"x"), "numpy.bytes_", "it.item()", b"x"),
]


@pytest.mark.parametrize(
    ("key", "kind", "remedy", "arrives"), KEYS, ids=[kind for _, kind, _, _ in KEYS]
)
def test_a_key_that_cannot_travel_has_a_remedy(
    key: Any, kind: str, remedy: str, arrives: object
) -> None:
    with pytest.raises(UsageError) as caught:
        encode({key: 1})
    text = str(caught.value)
    assert f"{kind}; keys are str, bytes or int; use {remedy}" in text
    assert decode(encode({eval(remedy, {"it": key}): 1})) == {arrives: 1}  # noqa: S307 - ours
