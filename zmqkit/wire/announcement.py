"""What a role says of itself in the TXT record of its DNS-SD instance (RFC 6763, section 6).

    txtvers  1
    id       the process, 16 hexadecimal digits
    inc      the role's incarnation, 16 hexadecimal digits
    role     service, …
    ports    data:5557, the role's own socket; the SRV record's port is the control connection
    n        the full name

Other keys are passed over: later versions add some. What is malformed is a `ValueError` that
says why, so that whoever listens can count it and drop it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from ipaddress import ip_address

from zmqkit.errors import UsageError
from zmqkit.model import LOOPBACK, Record, check_name

VERSION = b"1"
KEY_BYTES_MAX = 9
ITEM_BYTES_MAX = 255
TXT_BYTES_MAX = 1300
ADDRESSES_MAX = 32

_NUMBER = re.compile(rb"[0-9a-f]{16}")
_ROLE = re.compile(rb"[a-z]{1,32}")
_PORTS = re.compile(rb"[a-z]{1,16}:[0-9]{1,5}(?:,[a-z]{1,16}:[0-9]{1,5})*")


def instance(record: Record) -> str:
    """The record's label as one label of DNS: a dot would end it, so each becomes a dash."""
    return record.label.replace(".", "-")


def encode(record: Record) -> dict[str, bytes]:
    """The TXT properties that announce the record.

    Raises ValueError for a record that `decode` would refuse.
    """
    properties = {
        "txtvers": VERSION,
        "id": f"{record.process:016x}".encode(),
        "inc": f"{record.incarnation:016x}".encode(),
        "role": record.role.encode(),
        "ports": f"data:{record.port}".encode(),
        "n": record.name.encode(),
    }
    items = {key.encode(): value for key, value in properties.items()}
    decode(instance(record), items, record.addresses or (LOOPBACK,), record.control_port)
    return properties


def decode(
    label: str,
    properties: Mapping[bytes, bytes | None],
    addresses: Sequence[str],
    control_port: int,
) -> Record:
    """The record that an instance announces.

    label: the instance's name without the service type. properties: its TXT record; where keys
    differ in case alone, the first counts. addresses: best first. control_port: that of its SRV
    record.
    Raises ValueError with the reason for whatever is malformed, and nothing else.
    """
    items = _items(properties)
    if items.get(b"txtvers") != VERSION:
        raise ValueError(f"txtvers is {items.get(b'txtvers')!r}, not {VERSION!r}")
    record = Record(
        name=_name(items),
        role=_text(items, b"role", _ROLE),
        incarnation=int(_text(items, b"inc", _NUMBER), 16),
        process=int(_text(items, b"id", _NUMBER), 16),
        addresses=_addresses(addresses),
        control_port=_port(control_port),
        port=_data_port(_text(items, b"ports", _PORTS)),
    )
    if label != instance(record):
        raise ValueError(f"the instance {label!r} announces {record.label!r}")
    return record


def _items(properties: Mapping[bytes, bytes | None]) -> dict[bytes, bytes]:
    """The properties under lower-case keys, once their sizes are known to be right."""
    items: dict[bytes, bytes] = {}
    total = 0
    for key, value in properties.items():
        size = len(key) + (0 if value is None else 1 + len(value))
        total += 1 + size
        if len(key) > KEY_BYTES_MAX or not key.isascii():
            raise ValueError(f"key {key!r} is not ASCII of at most {KEY_BYTES_MAX} bytes")
        if size > ITEM_BYTES_MAX:
            raise ValueError(f"item {key!r} has {size} bytes; {ITEM_BYTES_MAX} at most")
        if value is not None:
            items.setdefault(key.lower(), value)
    if total > TXT_BYTES_MAX:
        raise ValueError(f"the TXT record has {total} bytes; {TXT_BYTES_MAX} at most")
    return items


def _value(items: Mapping[bytes, bytes], key: bytes) -> bytes:
    """The key's value, which must be there."""
    if key not in items:
        raise ValueError(f"key {key.decode()!r} is missing")
    return items[key]


def _text(items: Mapping[bytes, bytes], key: bytes, pattern: re.Pattern[bytes]) -> str:
    """The key's value as text, which must match the whole pattern."""
    value = _value(items, key)
    if not pattern.fullmatch(value):
        raise ValueError(f"{key.decode()} is malformed: {value!r}")
    return value.decode()


def _name(items: Mapping[bytes, bytes]) -> str:
    """The full name, fit to be announced."""
    value = _value(items, b"n")
    try:
        return check_name(value.decode())
    except UnicodeDecodeError as error:
        raise ValueError(f"n is not UTF-8: {value!r}") from error
    except UsageError as error:
        raise ValueError(f"n is malformed: {error}") from error


def _data_port(ports: str) -> int:
    """The port called `data` in a list such as `data:5557,other:5558`."""
    for each in ports.split(","):
        name, _, number = each.partition(":")
        if name == "data":
            return _port(int(number))
    raise ValueError(f"ports names no data: {ports!r}")


def _port(number: int) -> int:
    """The number itself when it can be connected to."""
    if not 0 < number < 65536:
        raise ValueError(f"port {number} is not within 1-65535")
    return number


def _addresses(addresses: Sequence[str]) -> tuple[str, ...]:
    """The addresses when each is that of a host."""
    if not 0 < len(addresses) <= ADDRESSES_MAX:
        raise ValueError(f"{len(addresses)} addresses; from 1 to {ADDRESSES_MAX} are accepted")
    for each in addresses:
        address = ip_address(each)
        if address.is_unspecified or address.is_multicast:
            raise ValueError(f"{each} is not the address of a host")
    return tuple(addresses)
