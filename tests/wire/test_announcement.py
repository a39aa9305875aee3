"""What a role says in its TXT record comes back as it was; all else is a ValueError."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zmqkit.errors import UsageError
from zmqkit.model import NAME_BYTES_MAX, Record, check_name
from zmqkit.wire.announcement import (
    ADDRESSES_MAX,
    ITEM_BYTES_MAX,
    TXT_BYTES_MAX,
    decode,
    encode,
    instance,
)

RECORD = Record("orders", "service", 0x1234_5678_9ABC_DEF0, 7, ("10.0.0.5",), 5555, 5557)


def is_name(text: str) -> bool:
    """Whether a role may bear this name."""
    try:
        return check_name(text) == text
    except UsageError:
        return False


WORDS = st.sampled_from(["orders", "a.b", "..", "-", "Ünï cödé", "x" * NAME_BYTES_MAX])
TEXTS = st.text(st.characters(codec="utf-8"), max_size=NAME_BYTES_MAX).filter(is_name)
NUMBERS = st.integers(0, 2**64 - 1)
PORTS = st.integers(1, 65535)
HOSTS = st.ip_addresses().filter(lambda each: not (each.is_unspecified or each.is_multicast))
RECORDS = st.builds(
    Record,
    name=WORDS | TEXTS,
    role=st.from_regex("[a-z]{1,32}", fullmatch=True),
    incarnation=NUMBERS,
    process=NUMBERS,
    addresses=st.lists(HOSTS.map(str), min_size=1, max_size=ADDRESSES_MAX).map(tuple),
    control_port=PORTS,
    port=PORTS,
    space=st.just("") | st.from_regex("[a-z0-9][a-z0-9._-]{0,31}", fullmatch=True),
)


def properties(**changes: bytes | None) -> dict[bytes, bytes | None]:
    """RECORD's properties, some of them changed."""
    items: dict[bytes, bytes | None] = {
        key.encode(): value for key, value in encode(RECORD).items()
    }
    return items | {key.encode(): value for key, value in changes.items()}


def read(items: dict[bytes, bytes | None], **changes: object) -> Record:
    """RECORD as decoded from these properties."""
    record = replace(RECORD, **changes)
    return decode(instance(RECORD), items, record.addresses, record.control_port)


def test_properties_are_these() -> None:
    assert encode(RECORD) == {
        "txtvers": b"1",
        "id": b"0000000000000007",
        "inc": b"123456789abcdef0",
        "role": b"service",
        "ports": b"data:5557",
        "n": b"orders",
    }


@given(RECORDS)
def test_record_comes_back_as_it_was(record: Record) -> None:
    items: dict[bytes, bytes | None] = {
        key.encode(): value for key, value in encode(record).items()
    }
    assert decode(instance(record), items, record.addresses, record.control_port) == record
    assert sum(len(key) + len(value) + 2 for key, value in encode(record).items()) < 200
    assert len(instance(record).encode()) <= 63
    assert "." not in instance(record)


KEYS = st.sampled_from([key.encode() for key in encode(RECORD)]) | st.binary(max_size=12)
VALUES = (
    st.none()
    | st.sampled_from(list(encode(RECORD).values()))
    | st.binary(max_size=300)
    | st.from_regex(rb"data:[0-9]{1,6}|[0-9a-f]{16}", fullmatch=True)
)


@pytest.mark.parametrize("base", [{}, properties()], ids=["from nothing", "from a record"])
@given(
    changes=st.dictionaries(KEYS, VALUES, max_size=9),
    label=st.just(instance(RECORD)) | st.text(max_size=70),
    addresses=st.lists(st.just("10.0.0.5") | st.ip_addresses().map(str) | st.text()),
    port=st.integers(),
)
def test_whatever_is_announced_raises_nothing_but_value_errors(
    base: dict[bytes, bytes | None],
    changes: dict[bytes, bytes | None],
    label: str,
    addresses: list[str],
    port: int,
) -> None:
    with suppress(ValueError):
        record = decode(label, base | changes, addresses, port)
        assert instance(record) == label
        assert [ip_address(each) for each in record.addresses]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"txtvers": b"2"}, "txtvers"),
        ({"txtvers": None}, "txtvers"),
        ({"id": b"7"}, "id"),
        ({"id": b"000000000000000G"}, "id"),
        ({"inc": b"0x23456789abcdef"}, "inc"),
        ({"inc": None}, "inc"),
        ({"inc": b"0000000000000001"}, "announces 'orders-00000000'"),
        ({"role": b""}, "role"),
        ({"role": b"Service"}, "role"),
        ({"role": b"s" * 33}, "role"),
        ({"ports": b"data"}, "ports"),
        ({"ports": b"data:"}, "ports"),
        ({"ports": b"data:5557,"}, "ports"),
        ({"ports": b"other:5557"}, "no data"),
        ({"ports": b"data:0"}, "port 0"),
        ({"ports": b"data:65536"}, "port 65536"),
        ({"n": b"others"}, "announces 'others-12345678'"),
        ({"n": b"\xff"}, "UTF-8"),
        ({"n": b"a/b"}, "must not contain"),
        ({"n": b"x" * 55}, "55 bytes"),
        ({"x": b"x" * (ITEM_BYTES_MAX - 1)}, "256 bytes"),
        ({"tenletters": b""}, "at most 9 bytes"),
        ({"ü": b""}, "not ASCII"),
        ({f"x{n}": b"x" * 250 for n in range(5)}, f"{TXT_BYTES_MAX} at most"),
    ],
)
def test_malformed_properties_are_named(changes: dict[str, bytes | None], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read(properties(**changes))


@pytest.mark.parametrize("key", [*encode(RECORD)])
def test_missing_keys_are_named(key: str) -> None:
    items = properties()
    del items[key.encode()]
    with pytest.raises(ValueError, match=key):
        read(items)


@pytest.mark.parametrize(
    "addresses",
    [(), ("10.0.0.5",) * 33, ("host.local",), ("0.0.0.0",), ("::",), ("224.0.0.251",), ("",)],
)
def test_addresses_must_be_those_of_hosts(addresses: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="address"):
        read(properties(), addresses=addresses)


def test_addresses_may_name_their_link() -> None:
    assert read(properties(), addresses=("fe80::1%eth0",)).addresses == ("fe80::1%eth0",)


@pytest.mark.parametrize("port", [-1, 0, 65536])
def test_control_port_must_be_one(port: int) -> None:
    with pytest.raises(ValueError, match="not within 1-65535"):
        read(properties(), control_port=port)


def test_unknown_keys_and_ports_leave_room_for_later() -> None:
    later = {"realm": b"home", "sig": b"\xff\x00", "flag": None, "ports": b"in:1,data:5557"}
    assert read(properties(**later)) == RECORD


def test_keys_count_in_either_case() -> None:
    items = {key.upper(): value for key, value in properties().items()}
    assert read({**items, b"n": b"too late"}) == RECORD


@pytest.mark.parametrize(
    "change",
    [
        {"incarnation": 2**64},
        {"process": -1},
        {"port": 0},
        {"control_port": 0},
        {"role": "two words"},
        {"name": "a/b"},
        {"addresses": ("host.local",)},
    ],
)
def test_what_nobody_would_accept_is_not_announced(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        encode(replace(RECORD, **change))


def test_record_without_addresses_leaves_them_to_discovery() -> None:
    assert encode(replace(RECORD, addresses=())) == encode(RECORD)


def test_the_default_space_is_not_announced() -> None:
    assert "space" not in encode(RECORD)
    assert encode(replace(RECORD, space="dev"))["space"] == b"dev"


@pytest.mark.parametrize("space", [b"Dev", b"a b", "dév".encode(), b"x" * 33, b"-"])
def test_what_cannot_be_a_space_is_refused(space: bytes) -> None:
    with pytest.raises(ValueError, match="space is malformed"):
        read(properties(space=space))
