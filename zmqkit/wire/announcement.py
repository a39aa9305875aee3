"""What a role announces in the TXT record of its DNS-SD instance (RFC 6763, section 6).

    txtvers  1
    id       the process, 16 hexadecimal digits
    inc      the role's incarnation, 16 hexadecimal digits
    role     service, …
    ports    data:5557, the role's own socket; the SRV record's port is the control connection
    n        the full name
    space    the role's space; it is left out for the default space

The decoder ignores other keys, since later versions add some. For a malformed record it raises
a `ValueError` with the reason. The listener can count the reason and drop the record.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from ipaddress import ip_address

from zmqkit.errors import UsageError
from zmqkit.model import LOOPBACK, Record, check_name, is_space

VERSION = b"1"
KEY_BYTES_MAX = 9
ITEM_BYTES_MAX = 255
TXT_BYTES_MAX = 1300
ADDRESSES_MAX = 32

_NUMBER = re.compile(rb"[0-9a-f]{16}")
_ROLE = re.compile(rb"[a-z]{1,32}")
_PORTS = re.compile(rb"[a-z]{1,16}:[0-9]{1,5}(?:,[a-z]{1,16}:[0-9]{1,5})*")


def instance(record: Record) -> str:
    """Return the record's label as one DNS label.

    A dot would end a DNS label, so each dot becomes a dash.
    """
    return record.label.replace(".", "-")


def encode(record: Record) -> dict[str, bytes]:
    """Return the TXT properties that announce the record.

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
    if record.space:
        properties["space"] = record.space.encode()
    items = {key.encode(): value for key, value in properties.items()}
    decode(instance(record), items, record.addresses or (LOOPBACK,), record.control_port)
    return properties


def decode(
    label: str,
    properties: Mapping[bytes, bytes | None],
    addresses: Sequence[str],
    control_port: int,
) -> Record:
    """Return the record that an instance announces.

    label: the instance's name without the service type.
    properties: the instance's TXT record. Where keys differ in case alone, the first counts.
    addresses: the addresses of the host, best first.
    control_port: the port in the instance's SRV record.
    Raises ValueError with the reason for malformed input, and no other exception.
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
        space=_space(items),
    )
    if label != instance(record):
        raise ValueError(f"the instance {label!r} announces {record.label!r}")
    return record


def _items(properties: Mapping[bytes, bytes | None]) -> dict[bytes, bytes]:
    """Check the sizes of the properties and return them under lower-case keys."""
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
    """Return the value of a key. Raise ValueError if the key is missing."""
    if key not in items:
        raise ValueError(f"key {key.decode()!r} is missing")
    return items[key]


def _text(items: Mapping[bytes, bytes], key: bytes, pattern: re.Pattern[bytes]) -> str:
    """Return the value of a key as text.

    Raises ValueError if the key is missing or its value does not match the whole pattern.
    """
    value = _value(items, key)
    if not pattern.fullmatch(value):
        raise ValueError(f"{key.decode()} is malformed: {value!r}")
    return value.decode()


def _name(items: Mapping[bytes, bytes]) -> str:
    """Return the full name. Raise ValueError if no role may announce it."""
    value = _value(items, b"n")
    try:
        return check_name(value.decode())
    except UnicodeDecodeError as error:
        raise ValueError(f"n is not UTF-8: {value!r}") from error
    except UsageError as error:
        raise ValueError(f"n is malformed: {error}") from error


def _space(items: Mapping[bytes, bytes]) -> str:
    """Return the space, or an empty text. Raise ValueError for what cannot be one."""
    value = items.get(b"space", b"")
    space = value.decode("ascii", "replace")
    if not is_space(space):
        raise ValueError(f"space is malformed: {value!r}")
    return space


def _data_port(ports: str) -> int:
    """Return the port called `data` from a list such as `data:5557,other:5558`."""
    for each in ports.split(","):
        name, _, number = each.partition(":")
        if name == "data":
            return _port(int(number))
    raise ValueError(f"ports names no data: {ports!r}")


def _port(number: int) -> int:
    """Return the port number. Raise ValueError if nobody can connect to it."""
    if not 0 < number < 65536:
        raise ValueError(f"port {number} is not within 1-65535")
    return number


def _addresses(addresses: Sequence[str]) -> tuple[str, ...]:
    """Return the addresses. Raise ValueError unless each is the address of a host."""
    if not 0 < len(addresses) <= ADDRESSES_MAX:
        raise ValueError(f"{len(addresses)} addresses; from 1 to {ADDRESSES_MAX} are accepted")
    for each in addresses:
        address = ip_address(each)
        if address.is_unspecified or address.is_multicast:
            raise ValueError(f"{each} is not the address of a host")
    return tuple(addresses)
