"""Bodies as msgpack, written by either encoder."""

from __future__ import annotations

import enum
import sys
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from uuid import UUID

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zmqkit.errors import UsageError
from zmqkit.wire import encoding
from zmqkit.wire.encoding import (
    DEPTH_MAX,
    Malformed,
    array,
    array_of,
    check,
    decode,
    encode,
    packer,
    raw_of,
)

INTEGERS = st.integers(-(1 << 63), (1 << 64) - 1)
SCALARS = st.one_of(
    st.none(), st.booleans(), INTEGERS, st.floats(allow_nan=False), st.text(), st.binary(),
    st.datetimes(timezones=st.just(UTC)),
)  # fmt: skip
KEYS = st.one_of(st.text(), st.binary(), INTEGERS)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner), max_leaves=30
)


@pytest.fixture(autouse=True, scope="module", params=["msgpack", "msgspec"])
def encoder(request: pytest.FixtureRequest) -> Iterator[None]:
    """Encode by msgpack alone, then by msgspec where it is installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "pack_plain", packer(fast=request.param == "msgspec"))
        yield


class Text(str):
    """A kind of text."""


class Whole(int):
    """A kind of number."""


class Colour(enum.IntEnum):
    """Numbers with names."""

    RED = 1


class Nowhere(tzinfo):
    """A time zone that does not know its offset."""

    def utcoffset(self, when: datetime | None) -> timedelta | None:
        return None


def nested(levels: int) -> list[object]:
    """A list in a list, so many times."""
    value: list[object] = []
    for _ in range(levels - 1):
        value = [value]
    return value


def circle() -> list[object]:
    """A list that holds itself."""
    value: list[object] = []
    value.append(value)
    return value


@pytest.mark.slow
@given(VALUES)
def test_what_travels_arrives(value: object) -> None:
    assert decode(encode(value)) == value


@pytest.mark.slow
@given(VALUES)
def test_memory_that_is_not_bytes_is_read_as_well(value: object) -> None:
    assert decode(memoryview(encode(value))) == value


@pytest.mark.slow
@given(VALUES)
def test_either_packer_writes_the_same(value: object) -> None:
    try:
        plain = packer(fast=False)(value)
    except TypeError:
        return  # holds a datetime, which goes another way
    assert plain == packer(fast=True)(value)


@pytest.mark.parametrize(
    ("value", "reason"),
    [(1 << 64, "64 bits"), (-(1 << 63) - 1, "64 bits"), ("\udcff", "cannot")],
)
def test_either_packer_refuses_the_same(value: object, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        encode([value])


def test_either_packer_takes_points_in_time() -> None:
    when = datetime(2026, 1, 2, 3, 4, 5, 6, UTC)
    assert encode([when]) == msgpack.packb([when], datetime=True)


def test_without_msgspec_it_is_msgpack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "msgspec.msgpack", None)
    assert type(packer(fast=True).__self__) is msgpack.Packer  # type: ignore[attr-defined]  # bound


def test_a_tuple_arrives_as_a_list() -> None:
    assert decode(encode((1, (2,)))) == [1, [2]]


def test_a_datetime_arrives_in_utc() -> None:
    noon = datetime(2026, 11, 1, 12, 0, 0, 5, tzinfo=timezone(timedelta(hours=2)))
    arrived = decode(encode({"at": [noon]}))
    assert isinstance(arrived, dict)
    assert arrived["at"] == [noon] and arrived["at"][0].tzinfo is UTC


@pytest.mark.parametrize(
    "value",
    [
        {1, 2}, frozenset(), Decimal(1), UUID(int=1), 1j, object(), range(3), bytearray(b"x"),
        memoryview(b"x"), Text("x"), Whole(1), Colour.RED, date(2026, 1, 1), timedelta(1),
        Ellipsis, int, print, iter([]),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_other_types_are_refused_with_a_remedy(value: object) -> None:
    with pytest.raises(UsageError, match=r"args\[1\]\['a'\] is of type .*; .*use \S"):
        check([1, {"a": value}], "args")


def test_a_naive_datetime_is_refused_with_a_remedy() -> None:
    with pytest.raises(UsageError, match="value is a datetime without a time zone; add one"):
        encode(datetime(2026, 1, 1))  # noqa: DTZ001 - the point


def test_a_datetime_whose_zone_knows_nothing_is_naive() -> None:
    with pytest.raises(UsageError, match="without a time zone"):
        encode(datetime(2026, 1, 1, tzinfo=Nowhere()))


@pytest.mark.parametrize("key", [0.5, None, True, (1,), Text("x"), datetime.now(UTC)])
def test_other_keys_are_refused(key: object) -> None:
    with pytest.raises(UsageError, match=r"value has the key .*; keys are str, bytes or int"):
        encode({"a": 1, key: 2})


@pytest.mark.parametrize("number", [1 << 64, -(1 << 63) - 1, 1 << 1000])
def test_numbers_beyond_64_bits_are_refused(number: int) -> None:
    with pytest.raises(UsageError, match="cannot travel"):
        encode(number)
    with pytest.raises(UsageError, match="cannot travel"):
        encode([datetime.now(UTC), number])
    with pytest.raises(UsageError, match="cannot travel"):
        encode({number: None})


@pytest.mark.parametrize("value", ["\ud800", {"\ud800": 1}, [datetime.now(UTC), "\ud800"]])
def test_text_that_is_not_unicode_is_refused(value: object) -> None:
    with pytest.raises(UsageError, match="cannot travel"):
        encode(value)


def test_a_refusal_leaves_no_trace() -> None:
    with pytest.raises(UsageError):
        encode(["x" * 100, 1 << 64])
    assert decode(encode(1)) == 1


def test_deep_nesting_has_an_end() -> None:
    assert decode(encode(nested(DEPTH_MAX))) == nested(DEPTH_MAX)
    with pytest.raises(UsageError, match=f"deeper than {DEPTH_MAX} levels"):
        encode(nested(DEPTH_MAX + 1))


def test_a_circle_is_refused() -> None:
    with pytest.raises(UsageError, match="nested deeper"):
        encode(circle())


@pytest.mark.slow
@given(st.lists(VALUES, max_size=20))
def test_encoded_values_join_into_an_array(values: list[object]) -> None:
    assert decode(array([encode(value) for value in values])) == values


@pytest.mark.parametrize("count", [0, 15, 16, 65535, 65536])
def test_an_array_of_any_length_is_one(count: int) -> None:
    assert decode(array([b"\xc0"] * count)) == [None] * count


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\xc1", b"\x91", b"\x01\x01", b"\xa1\xff", b"\xc7\x01\x05\x00", b"\xd4\x01\x00",
        b"\x81\x90\x01", b"\x81\x80\x01", b"\xc7\x0c\xff" + b"\xff" * 12,
        b"\xdb\xff\xff\xff\xff", b"\x91" * 5000, b"\xc9\xff\xff\xff\xff\x01",
    ],
    ids=bytes.hex,
)  # fmt: skip
def test_what_is_not_one_value_of_ours_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed, match="msgpack"):
        decode(data)


@given(st.binary(max_size=200))
def test_garbage_is_malformed_or_a_value(data: bytes) -> None:
    try:
        value = decode(data)
    except Malformed:
        return
    assert msgpack.packb(value, datetime=True) is not None


@pytest.mark.parametrize("size", [100, 1000, 4000, 5000, 100_000, 2_000_000])
@pytest.mark.parametrize("header", [b"\xdd", b"\xdc", b"\xdf", b"\xde"])
def test_claims_take_no_memory(size: int, header: bytes) -> None:
    width = 4 if header in b"\xdd\xdf" else 2
    claim = header + min(size, (1 << 8 * width) - 1).to_bytes(width, "big")
    bomb = claim * (size // len(claim))
    assert peak_bytes(bomb) < (20 << 20) + 2 * size


@pytest.mark.parametrize("items", [15, 2000, 2048, 2049, 65_535])
def test_claims_one_in_another_take_no_memory(items: int) -> None:
    assert peak_bytes((b"\xdc" + items.to_bytes(2, "big")) * 5000) < 20 << 20


@pytest.mark.parametrize(
    "packed", [b"\xdc" * 60_000, b"\xdd" * 60_000, bytes(range(256)) * 300]
)
@pytest.mark.parametrize("items", [2, 2047, 2048, 2049, 5000])
def test_bytes_that_look_like_heads_of_lists_are_no_obstacle(packed: bytes, items: int) -> None:
    values = [packed, [1] * items, {"rows": list(range(items))}, packed.hex()]
    assert decode(encode(values)) == values


def test_claims_behind_harmless_bytes_take_no_memory() -> None:
    claim = b"\xdd" + (50_000).to_bytes(4, "big")
    bomb = b"\x92" + encode(bytes(60_000)) + claim * 900
    assert peak_bytes(bomb) < 20 << 20


def peak_bytes(bomb: bytes) -> int:
    """How much memory is taken to refuse it."""
    tracemalloc.start()
    try:
        with pytest.raises(Malformed):
            decode(bomb)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_view_of_what_may_change_is_copied() -> None:
    changing, view = bytearray(b"before"), memoryview(b"-still-")[1:6]
    raw = raw_of(memoryview(changing).toreadonly())
    changing[:] = b"behind"
    assert bytes(raw) == b"before"
    assert type(raw_of(view)) is memoryview and raw_of(view) == b"still"


@pytest.mark.parametrize("count", [0, 1, 15, 16, 70_000])
def test_the_values_of_an_array_stay_encoded(count: int) -> None:
    values = [encode([1, "x"]), encode(2)] * (count // 2) + [encode(None)] * (count % 2)
    packed = array(values)
    found, at = array_of(packed)
    assert found == count and encoding.values_of(packed) == values
    assert encoding.split(memoryview(packed)[at:], count) == values
    encoding.check_values(packed[at:], count)


@pytest.mark.parametrize(
    "packed",
    [b"", b"\xc0", b"\x92\x01", b"\x91\x01\x02", b"\xdc\x00", b"\xdd\xff\xff\xff\xff\x01"],
)
def test_what_is_no_array_of_so_many_values_is_malformed(packed: bytes) -> None:
    with pytest.raises(Malformed):
        encoding.values_of(packed)
    with pytest.raises(Malformed):
        encoding.check_values(packed[1:], 7)
