"""Dicts of many keys, built only if their int keys do not collide beyond measure.

Where an int stands in a dict follows from its value, so a sender can choose ints that all walk
past each other: the time to insert them grows with the square of their number. Where str and
bytes stand, no sender knows. A dict of at most `FEW` keys is built without a look: whatever its
keys, it takes some ten times what it should at worst. For more, the walks are followed before
any key is inserted, with a byte for each place. They may have `_STEPS_MAX` steps for each key,
on the average, in each table that the dict grows through. Random ints need less than one,
multiples of a power of two up to 25.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

FEW = 512
"""A dict of so many keys is built without a look at whether they collide."""

_STEPS_MAX = 32
_FIRST_PLACES = 2 * FEW
_WORD = (1 << 64) - 1
_KINDS = frozenset({str, bytes, int})


class Colliding(ValueError):
    """Many keys of one dict that take long to insert, repeat, or are not str, bytes or int."""


def check(keys: Sequence[object]) -> None:
    """Raise Colliding for different keys that `build` refuses."""
    if len(keys) > FEW and _hold_ints(keys):
        for _ in _growth(keys):
            pass


def build(pairs: Sequence[tuple[object, object]]) -> dict[object, object]:
    """The dict of these pairs. Colliding if there are many that take long to insert.

    Of many, with ints among them, no key may repeat: the tables that were looked at would be
    others than those that the dict grows through.
    """
    if len(pairs) <= FEW:
        return dict(pairs)
    keys = [key for key, _ in pairs]
    if not _hold_ints(keys):
        return dict(pairs)
    built: dict[object, object] = {}
    rest = iter(pairs)
    for count in _growth(keys):
        built.update(islice(rest, count - len(built)))
        if len(built) < count:
            raise Colliding
    return built


def _hold_ints(keys: Sequence[object]) -> bool:
    """Whether ints are among the keys. Colliding if something is that may be no key."""
    kinds = set(map(type, keys))
    if not kinds <= _KINDS:
        raise Colliding
    return int in kinds


def _growth(keys: Sequence[object]) -> Iterator[int]:
    """How many of the keys may be inserted, table by table; at last all.

    CPython fills two thirds of a table, then goes on with one of twice the size, into which it
    first inserts what it has. Keys may be chosen so that they collide in one of them only.
    """
    if _follow_each_other(keys):
        yield len(keys)
        return
    hashes = list(map(hash, keys))
    places = _FIRST_PLACES
    while (count := places * 2 // 3) < len(hashes):
        _walk(hashes[:count], places)
        yield count
        places *= 2
    _walk(hashes, places)
    yield len(hashes)


def _follow_each_other(keys: Sequence[object]) -> bool:
    """Whether they are successive ints, of which each finds its place free."""
    first = keys[0]
    return type(first) is int and keys == list(range(first, first + len(keys)))


def _walk(hashes: Sequence[int], places: int) -> None:
    """Take the places that CPython's dict would. Colliding once the way there is too long."""
    taken = bytearray(places)
    mask = places - 1
    left = _STEPS_MAX * len(hashes)
    for each in hashes:
        place = each & mask
        if taken[place]:
            perturb = each & _WORD
            while taken[place]:
                perturb >>= 5
                place = (place * 5 + perturb + 1) & mask
                left -= 1
            if left < 0:
                raise Colliding
        taken[place] = 1
