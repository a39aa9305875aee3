"""Bodies as msgpack: the types that may travel, encoded and decoded within limits.

May travel: None, bool, int (-2**63 to 2**64-1), float, str, bytes, list, tuple (arrives as
list), dict with str, bytes or int keys, and aware datetime (arrives in UTC). Anything else is
refused here, before the codec sees it, so that every codec refuses alike.
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
    """The msgpack encoder: msgspec's, which needs half the time, if `fast` and it is there.

    Both write the same bytes for all that may travel. One for all values: msgpack's `packb`
    builds a new one each time, which is four times slower.
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
"""Encodes what is known to be plain: lists of numbers, say."""


class Malformed(ValueError):
    """Bytes from outside that are not what they claim; the text is the reason to count."""


def encode(value: object, where: str = "value") -> bytes:
    """The value as msgpack. UsageError names what cannot travel and where it stands."""
    if type(value) not in SCALARS:
        _check(value, where, DEPTH_MAX)
    return encode_checked(value, where)


def check(value: object, where: str) -> None:
    """Raise UsageError if the value is, or holds, what may not travel."""
    if type(value) not in SCALARS:
        _check(value, where, DEPTH_MAX)


def encode_checked(value: object, where: str = "value") -> bytes:
    """The value as msgpack when its types are known to be right already.

    Raises UsageError, which says where, for an int beyond 64 bits and text that is not Unicode.
    """
    try:
        return pack_plain(value)
    except TypeError:
        return _encode_with_datetimes(value, where)  # the one type left of those checked
    except (ValueError, OverflowError) as error:
        raise _cannot_travel(value, where, error) from error


def is_unchanging(kind: type) -> None:
    """Know that what read-only views of such objects show never changes.

    A view of anything else may be read-only while others write to what it shows.
    """
    _UNCHANGING.add(kind)


def raw_of(value: Buffer) -> Buffer:
    """A raw value as it travels; what may change under a view is copied.

    Raises UsageError for a view with gaps.
    """
    if type(value) is not memoryview:
        return value
    if not value.c_contiguous:
        raise UsageError("a memoryview with gaps cannot travel; send bytes(view)")
    stays = value.readonly and type(value.obj) in _UNCHANGING
    return value.cast("B") if stays else bytes(value)


def decode(data: Buffer) -> object:
    """The value that `data` holds, whole. Malformed if it is anything but one msgpack value.

    A decoder takes a pointer for each item that a list claims, before any has come; of lists
    that wait for their items it holds one in another, 1,024 deep at most. Short ones take no
    harmful amount. With longer ones, claims are walked before any list is built, unless all of
    them together are small: memory taken stays in proportion to the bytes that arrived, by
    80 at worst, for small dicts.

    Time stays in proportion as well: a dict of many keys is built after a look at whether ints
    among them collide. That takes 5 to 15 times as long, 26 at worst; small dicts as before.

    By msgpack, be msgspec there or not: that reads records in 0.6 of the time, bare numbers and
    bytes in 1.1 to 1.2, and it accepts lists as keys, as tuples, and rounds nanoseconds up. To
    look for those afterwards takes what it gained.
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
        # MemoryError and its own kinds; all mean the same here: not ours.
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
    """One msgpack array of values that are encoded already."""
    return array_head(len(items)) + b"".join(items)


def array_head(count: int) -> bytes:
    """What stands before so many values that make one msgpack array."""
    if count < 16:
        return bytes((0x90 | count,))
    if count < 1 << 16:
        return _ARRAY16 + count.to_bytes(2, "big")
    return _ARRAY32 + count.to_bytes(4, "big")


def _is_harmless(data: Buffer) -> bool:
    """Whether all lists together take memory in proportion, whatever length each claims.

    Each byte that looks like a list's header may claim as many items as there are bytes; to
    count those bytes is fast.
    """
    size = len(data)
    if size > _SEARCHED_BYTES_MAX:
        return False
    held = bytes(data)
    heads = held.count(_ARRAY32) + held.count(_ARRAY16)
    return heads * _POINTER_BYTES * (size + 1) <= _CLAIMED_BYTES_MAX


def _cannot_travel(value: object, where: str, error: Exception) -> UsageError:
    """What to say of a value of right types that the codec refused."""
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
    """All that a value is or holds, with its place."""
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
    """The text as it stands in an error: its beginning, if it is long."""
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
    """Walk lists and dicts; whole rows of scalars are passed at the speed of C."""
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
            odd = next(key for key in value if type(key) not in _KEYS)
            raise UsageError(f"{where} has the key {odd!r}; keys are str, bytes or int")
        _check_collisions(value, where)
        _check_items(value.items(), value.values(), where, depth)
    elif kind is datetime:
        assert isinstance(value, datetime)
        if value.utcoffset() is None:
            raise UsageError(f"{where} is a datetime without a time zone; add one")
    else:
        _refuse(value, where)


def _check_collisions(value: dict[object, object], where: str) -> None:
    """Refuse what `decode` would, on whose side the messages beside this one would be lost."""
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
    remedy = "use None, bool, int, float, str, bytes, list, tuple, dict or an aware datetime"
    if isinstance(value, memoryview):
        remedy = "it may as the only argument or value; use bytes(it) elsewhere"
    elif isinstance(value, bytearray):
        remedy = "use bytes(it)"
    name = type(value).__name__
    raise UsageError(f"{where} is of type {name}, which cannot travel here; {remedy}")


def _refuse_extension(code: int, data: bytes) -> NoReturn:
    raise ValueError(f"extension type {code}")
