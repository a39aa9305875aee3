"""Build dicts of many keys, but refuse int keys that collide too often.

The value of an int decides where a dict stores it. A sender can therefore choose ints that all
collide, and the time to insert them then grows with the square of their number. No sender can
predict where a dict stores str and bytes.

A dict of at most `FEW` keys is built without a check. At worst it takes some ten times as long
as it should. For a larger dict, `build` simulates the insertion first, with one byte for each
place of the table. The search for free places may take `_STEPS_MAX` steps for each key, on
average, in each table that the dict grows through. Random ints need less than one step,
multiples of a power of two up to 25.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

FEW = 512
"""A dict of at most so many keys is built without a check for collisions."""

_STEPS_MAX = 32
_FIRST_PLACES = 2 * FEW
_WORD = (1 << 64) - 1
_KINDS = frozenset({str, bytes, int})


class Colliding(ValueError):
    """The keys of a large dict collide too often, repeat, or are not str, bytes or int."""


def check(keys: Sequence[object]) -> None:
    """Raise Colliding if `build` would refuse these keys. The keys must differ."""
    if len(keys) > FEW and _hold_ints(keys):
        for _ in _growth(keys):
            pass


def build(pairs: Sequence[tuple[object, object]]) -> dict[object, object]:
    """Return the dict of these pairs.

    Raises Colliding if there are many pairs and their keys collide too often. If there are more
    than `FEW` pairs and ints are among their keys, no key may repeat. With repeated keys the
    dict would grow through other tables than those that were checked.
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
    """Return whether ints are among the keys. Raise Colliding for a key of a forbidden type."""
    kinds = set(map(type, keys))
    if not kinds <= _KINDS:
        raise Colliding
    return int in kinds


def _growth(keys: Sequence[object]) -> Iterator[int]:
    """Yield how many of the keys may be inserted, table by table. The last is their total.

    Raises Colliding for a table in which the keys collide too often.
    CPython fills two thirds of a table. Then it takes a table of twice the size and first
    inserts there what it has. A sender may choose keys that collide in only one of these
    tables.
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
    """Return whether the keys are successive ints. Each of those finds its place free."""
    first = keys[0]
    return type(first) is int and keys == list(range(first, first + len(keys)))


def _walk(hashes: Sequence[int], places: int) -> None:
    """Take the places that CPython's dict would take.

    Raises Colliding if the search for free places is too long.
    """
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
