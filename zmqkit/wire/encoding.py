"""Encode and decode bodies as msgpack, within limits.

These types may travel: None, bool, int (-2**63 to 2**64-1), float, str, bytes, list, tuple
(arrives as list), dict with str, bytes or int keys, and aware datetime (arrives in UTC). This
module refuses all other types before the codec sees them, so every codec refuses the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import NoReturn

import msgpack

from zmqkit.errors import UsageError
from zmqkit.wire import collisions
from zmqkit.wire.collisions import FEW
from zmqkit.wire.remedies import ALLOWED, key_remedy_of, named, remedy_of

Buffer = bytes | memoryview

DEPTH_MAX = 64

_CLAIMED_BYTES_MAX = 16 << 20
_SEARCHED_BYTES_MAX = 1 << 20
_POINTER_BYTES = 8
_NESTED_MAX = 1024
_SHORT_LIST_ITEMS = _CLAIMED_BYTES_MAX // (_NESTED_MAX * _POINTER_BYTES)
_SHORT_BYTES = min(_SHORT_LIST_ITEMS, 2 * FEW)
_SHOWN_CHARS_MAX = 40
_ARRAY16, _ARRAY32 = b"\xdc", b"\xdd"
SCALARS = frozenset({type(None), bool, int, float, str, bytes})
_KEYS = frozenset({str, bytes, int})
_UNCHANGING: set[type] = {bytes}


def packer(*, fast: bool) -> Callable[[object], bytes]:
    """Return a msgpack encoder.

    If `fast` is true and msgspec is installed, it is msgspec's, which needs half the time. Both
    encoders write the same bytes for all types that may travel. The encoder serves all values:
    msgpack's `packb` builds a new one for each value, which is four times slower.
    """
    pack: Callable[[object], bytes] = msgpack.Packer().pack
    if fast:
        try:
            from msgspec.msgpack import Encoder
        except ImportError:
            return pack
        pack = Encoder().encode
    return pack


pack_plain = packer(fast=True)
"""Encodes values that are known to be plain, for example lists of numbers."""


class Malformed(ValueError):
    """Bytes from outside are not what they claim to be. The text is a reason to count."""


def encode(value: object, where: str = "value") -> bytes:
    """Return the value as msgpack.

    Raises UsageError, which names the part that cannot travel and where it stands.
    """
    if type(value) not in SCALARS:
        _check(value, where, DEPTH_MAX)
    return encode_checked(value, where)


def check(value: object, where: str) -> None:
    """Raise UsageError if the value is of a type that may not travel, or contains one."""
    if type(value) not in SCALARS:
        _check(value, where, DEPTH_MAX)


def encode_checked(value: object, where: str = "value") -> bytes:
    """Return the value as msgpack. The caller knows already that its types may travel.

    Raises UsageError for an int beyond 64 bits and for text that is not Unicode. It says where
    in the value that part stands.
    """
    try:
        return pack_plain(value)
    except TypeError:
        return _encode_with_datetimes(value, where)  # the only checked type that is left
    except (ValueError, OverflowError) as error:
        raise _cannot_travel(value, where, error) from error


def is_unchanging(kind: type) -> None:
    """Register a type whose read-only views show memory that never changes.

    A view of an object of any other type may be read-only while other code writes to its
    memory.
    """
    _UNCHANGING.add(kind)


def raw_of(value: Buffer) -> Buffer:
    """Return a raw value as it travels. If the memory under a view may change, it is copied.

    Raises UsageError for a view with gaps.
    """
    if type(value) is not memoryview:
        return value
    if not value.c_contiguous:
        raise UsageError("a memoryview with gaps cannot travel; send bytes(view)")
    stays = value.readonly and type(value.obj) in _UNCHANGING
    return value.cast("B") if stays else bytes(value)


def decode(data: Buffer) -> object:
    """Return the value that `data` holds. Raise Malformed for anything but one msgpack value.

    Memory: a decoder allocates a pointer for each item that a list claims, before any item has
    come. Lists that wait for their items nest at most 1,024 deep. Short lists allocate no
    harmful amount. For longer lists the claims are checked before any list is built, unless all
    of them together are small. So the memory stays in proportion to the bytes that arrived: 80
    times as much at worst, for small dicts.

    Time: a dict of many keys is built after a check whether its int keys collide. Such a dict
    takes 5 to 15 times as long, 26 times at worst. Small dicts take no longer.

    msgpack decodes even where msgspec is installed. msgspec reads records in 0.6 of the time,
    bare numbers and bytes in 1.1 to 1.2. It also accepts lists as keys, which become tuples,
    and it rounds nanoseconds up. A check for those afterwards would take the time that msgspec
    gains.
    """
    try:
        size = len(data)
        try:
            return msgpack.unpackb(
                data,
                strict_map_key=False,
                timestamp=3,
                ext_hook=_refuse_extension,
                max_array_len=min(_SHORT_LIST_ITEMS, size),
                max_map_len=FEW,
            )
        except ValueError:
            if size <= _SHORT_BYTES:
                raise
        if _is_harmless(data):
            with suppress(ValueError):
                return _unpack(data, max_map_len=FEW)
        scanner = msgpack.Unpacker(max_buffer_size=size, ext_hook=_refuse_extension)
        scanner.feed(data)
        scanner.skip()
        with suppress(ValueError):
            return _unpack(data, max_map_len=FEW)
        return _unpack(data, object_pairs_hook=collisions.build)
    except Exception as error:
        # msgpack raises ValueError, TypeError (unhashable key), OverflowError (timestamps),
        # MemoryError and its own kinds. All mean the same here: the bytes are malformed.
        raise Malformed(f"msgpack: {type(error).__name__}") from error


def _unpack(
    data: Buffer,
    *,
    max_map_len: int = -1,
    object_pairs_hook: Callable[[list[tuple[object, object]]], object] | None = None,
) -> object:
    return msgpack.unpackb(
        data,
        strict_map_key=False,
        timestamp=3,
        ext_hook=_refuse_extension,
        max_map_len=max_map_len,
        object_pairs_hook=object_pairs_hook,
    )


def array(items: Sequence[bytes]) -> bytes:
    """Return one msgpack array of values that are encoded already."""
    return array_head(len(items)) + b"".join(items)


def array_head(count: int) -> bytes:
    """Return the head of a msgpack array of `count` values."""
    if count < 16:
        return bytes((0x90 | count,))
    if count < 1 << 16:
        return _ARRAY16 + count.to_bytes(2, "big")
    return _ARRAY32 + count.to_bytes(4, "big")


def array_of(data: Buffer) -> tuple[int, int]:
    """Return how many values an encoded array says to have, and where the first one begins.

    Raises Malformed for anything else.
    """
    head = data[0] if data else 0
    if 0x90 <= head < 0xA0:
        return head - 0x90, 1
    at = {_ARRAY16[0]: 3, _ARRAY32[0]: 5}.get(head)
    if at is None or len(data) < at:
        raise Malformed("array")
    return int.from_bytes(data[1:at], "big"), at


def values_of(data: Buffer) -> list[bytes]:
    """Return the values of an encoded array, each still encoded. Raise Malformed otherwise."""
    count, at = array_of(data)
    return split(data[at:], count)


def split(data: Buffer, count: int) -> list[bytes]:
    """Return the values that stand in a row, each still encoded.

    Raises Malformed if there are fewer or more.
    """
    scanner = scanner_of(data)
    values: list[bytes] = []
    at = 0
    try:
        for _ in range(count):
            scanner.skip()
            end = scanner.tell()
            values.append(bytes(data[at:end]))
            at = end
    except Exception as error:  # as in `decode`
        raise Malformed(f"msgpack: {type(error).__name__}") from error
    if at != len(data):
        raise Malformed("values")
    return values


def check_values(data: Buffer, count: int) -> None:
    """Raise Malformed unless so many values stand in a row, and nothing else."""
    scanner = scanner_of(data)
    try:
        for _ in range(count):
            scanner.skip()
    except Exception as error:  # as in `decode`
        raise Malformed(f"msgpack: {type(error).__name__}") from error
    if scanner.tell() != len(data):
        raise Malformed("values")


def scanner_of(data: Buffer) -> msgpack.Unpacker:
    """Return what skips from value to value of msgpack, and tells where it stands."""
    scanner = msgpack.Unpacker(max_buffer_size=len(data) or 1, strict_map_key=False)
    scanner.feed(data)
    return scanner


def values_at(data: Buffer, skip: int, count: int) -> Buffer:
    """Return `count` values of those that stand in a row, behind the first `skip` of them.

    Raises ValueError or msgpack's own errors if there are fewer.
    """
    scanner = scanner_of(data)
    for _ in range(skip):
        scanner.skip()
    begin = scanner.tell()
    for _ in range(count):
        scanner.skip()
    return data[begin : scanner.tell()]


def _is_harmless(data: Buffer) -> bool:
    """Return whether all lists together take memory in proportion, whatever lengths they claim.

    Each byte that looks like the head of a list may claim as many items as there are bytes.
    Counting those bytes is fast.
    """
    size = len(data)
    if size > _SEARCHED_BYTES_MAX:
        return False
    held = bytes(data)
    heads = held.count(_ARRAY32) + held.count(_ARRAY16)
    return heads * _POINTER_BYTES * (size + 1) <= _CLAIMED_BYTES_MAX


def _cannot_travel(value: object, where: str, error: Exception) -> UsageError:
    """Return the error for a value that the codec refused although its types may travel."""
    for place, found in _scalars(value, where):
        if type(found) is int and not -(1 << 63) <= found < 1 << 64:
            text = shorten(f"{found:#x}")
            return UsageError(
                f"{place}: an int beyond 64 bits (-2**63 to 2**64-1) cannot travel ({text}); "
                "send it as text"
            )
        if type(found) is str and not _is_unicode(found):
            text = shorten(f"{found!a}")
            return UsageError(
                f"{place}: text that is not Unicode cannot travel ({text}); send bytes"
            )
    return UsageError(f"{where} cannot travel: {error}")


def _scalars(value: object, where: str) -> Iterator[tuple[str, object]]:
    """Yield each scalar that the value is or contains, with its place."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield f"a key of {where}", key
            yield from _scalars(each, f"{where}[{key!r}]")
    elif isinstance(value, list | tuple):
        for at, each in enumerate(value):
            yield from _scalars(each, f"{where}[{at}]")
    else:
        yield where, value


def shorten(text: str) -> str:
    """Return the text for an error message: only its beginning, if it is long."""
    return text if len(text) <= _SHOWN_CHARS_MAX else f"{text[:_SHOWN_CHARS_MAX]}…"


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _encode_with_datetimes(value: object, where: str) -> bytes:
    try:
        packed: bytes = msgpack.packb(value, datetime=True)
        return packed
    except (TypeError, ValueError, OverflowError) as error:
        raise _cannot_travel(value, where, error) from error


def _check(value: object, where: str, depth: int) -> None:
    """Raise UsageError for what may not travel. Rows of scalars are checked at C speed."""
    kind = type(value)
    if kind in SCALARS:
        return
    if depth == 0:
        raise UsageError(f"{where} is nested deeper than {DEPTH_MAX} levels")
    if kind is list or kind is tuple:
        assert isinstance(value, list | tuple)
        _check_items(enumerate(value), value, where, depth)
    elif kind is dict:
        assert isinstance(value, dict)
        if not _KEYS.issuperset(map(type, value)):
            _refuse_key(next(key for key in value if type(key) not in _KEYS), where)
        _check_collisions(value, where)
        _check_items(value.items(), value.values(), where, depth)
    elif kind is datetime:
        assert isinstance(value, datetime)
        if value.utcoffset() is None:
            raise UsageError(
                f"{where} is a datetime without a time zone; add one: it.astimezone() for the "
                "time of this machine, it.replace(tzinfo=UTC) for UTC"
            )
    else:
        _refuse(value, where)


def _check_collisions(value: dict[object, object], where: str) -> None:
    """Raise UsageError for a dict that the receiver's `decode` would refuse.

    The receiver would also lose the other messages of the same packet.
    """
    if len(value) <= FEW:
        return
    try:
        collisions.check(list(value))
    except collisions.Colliding as error:
        raise UsageError(
            f"{where} has {len(value)} keys, of which the ints collide; send them as text"
        ) from error


def _check_items(
    places: Iterable[tuple[object, object]], items: Iterable[object], where: str, depth: int
) -> None:
    if not SCALARS.issuperset(map(type, items)):
        for place, item in places:
            _check(item, f"{where}[{place!r}]", depth - 1)


def _refuse(value: object, where: str) -> NoReturn:
    remedy = f"use {remedy_of(value) or ALLOWED}"
    if isinstance(value, memoryview):
        remedy = "it may as the only argument or value; use bytes(it) elsewhere"
    kind = named(type(value))
    raise UsageError(f"{where} is of type {kind}, which cannot travel here; {remedy}")


def _refuse_key(key: object, where: str) -> NoReturn:
    raise UsageError(
        f"{where} has the key {shorten(repr(key))} of type {named(type(key))}; keys are str, "
        f"bytes or int; use {key_remedy_of(key)}"
    )


def _refuse_extension(code: int, data: bytes) -> NoReturn:
    raise ValueError(f"extension type {code}")
