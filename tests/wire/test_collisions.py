"""Dicts of many keys, and keys that are chosen to collide in them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import islice

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zmqkit.errors import UsageError
from zmqkit.wire.collisions import FEW, Colliding, build, check
from zmqkit.wire.encoding import Malformed, decode, encode

PRIME = (1 << 61) - 1
"""Ints that differ by so much have the same hash."""


@cache
def colliding(keys_count: int, places: int, *, seed: int = 1) -> list[int]:
    """Keys of which half walk past a growing row of the others, in a table of so many places.

    One half stands side by side in the order in which walks end, i = 5 * i + 1. The others come
    to the first quarter of that row, over places that are all taken.
    """
    mask, chance = places - 1, random.Random(seed)
    row = list(islice(walk(0, mask), places))
    keys, end = row[: keys_count // 2], keys_count // 2
    taken, first = set(keys), set(keys[: keys_count // 8])
    found: set[int] = set()
    while len(keys) < keys_count:
        key = chance.randrange(places, places << 8)
        if key & mask not in taken or key in found:
            continue
        steps = list(islice(walk(key, mask), 5))
        if steps[-1] in first and taken.issuperset(steps):
            found.add(key)
            keys.append(key)
            taken.add(row[end])
            end += 1
    return keys


def walk(number: int, mask: int) -> Iterator[int]:
    """The places at which CPython's dict looks for a hash, one after the other."""
    place, perturb = number & mask, number & (1 << 64) - 1
    while True:
        yield place
        perturb >>= 5
        place = (place * 5 + perturb + 1) & mask


def steps_of(keys: Sequence[object]) -> int:
    """How many places CPython's dict looks at in vain while it takes these keys and grows."""
    slots: dict[int, object] = {}
    places, steps, held = 8, 0, list[object]()
    for key in keys:
        if len(held) == places * 2 // 3:
            places, slots = places * 2, {}
            steps += sum(settle(slots, each, places) for each in held)
        steps += settle(slots, key, places)
        if len(slots) > len(held):
            held.append(key)
    return steps


def settle(slots: dict[int, object], key: object, places: int) -> int:
    """Take the key's place in a table; how many were passed on the way."""
    for steps, place in enumerate(walk(hash(key), places - 1)):
        if slots.setdefault(place, key) == key:
            return steps
    raise AssertionError


def packed(keys: Sequence[object]) -> bytes:
    """A map with these keys, whether they repeat or not."""
    head = b"\xdf" + len(keys).to_bytes(4, "big")
    return head + b"".join(msgpack.packb(key) + b"\xc0" for key in keys)


def few_in_a_row() -> list[int]:
    return colliding(600, 1024)


def row() -> list[int]:
    return colliding(2000, 4096)


# Functions, for each process of a test run collects these tests and few run them.
ATTACKS: dict[str, Callable[[], list[object]]] = {
    "in the last table": lambda: [*row()],
    "while it grows": lambda: [*row(), *range(1 << 20, (1 << 20) + 6000)],
    "behind texts": lambda: [*map(str, range(50)), *row()],
    "beside the prime": lambda: [each + PRIME * (each % 3) for each in row()],
    "one that repeats": lambda: [*few_in_a_row(), *few_in_a_row()[-1:] * 3000],
    "repeated to look like more": lambda: [
        *[*range(1 << 20, (1 << 20) + 700), *row()[:1]] * 2, *row()
    ],
}  # fmt: skip


@pytest.mark.parametrize("keys", ATTACKS.values(), ids=ATTACKS)
def test_keys_that_collide_are_malformed(keys: Callable[[], list[object]]) -> None:
    for data in (packed(keys()), b"\x92\x01\x81\xa1a" + packed(keys())):
        with pytest.raises(Malformed, match="Colliding"):
            decode(data)


@pytest.mark.parametrize("name", ["in the last table", "while it grows", "beside the prime"])
def test_what_would_be_malformed_there_is_refused_here(name: str) -> None:
    value = dict.fromkeys(ATTACKS[name]())
    with pytest.raises(
        UsageError, match=r"value\['a'\] has \d+ keys, of which the ints collide"
    ):
        encode({"a": value})


def test_the_attack_is_one() -> None:
    assert steps_of(few_in_a_row()) > 50 * len(few_in_a_row())
    assert steps_of(random.Random(1).sample(range(1 << 60), 5000)) < 4 * 5000


def test_few_keys_collide_at_a_bounded_price() -> None:
    keys = few_in_a_row()[:FEW]
    assert decode(packed(keys)) == dict.fromkeys(keys)
    assert decode(b"\xdc\x00\x64" + packed(keys) * 100) == [dict.fromkeys(keys)] * 100
    assert steps_of(keys) < FEW * FEW


@pytest.mark.parametrize("key", [0.5, None, True, msgpack.Timestamp(1)], ids=repr)
def test_many_keys_are_text_bytes_or_ints(key: object) -> None:
    with pytest.raises(Malformed):
        decode(packed([*range(FEW), key]))


def test_many_keys_with_ints_do_not_repeat() -> None:
    with pytest.raises(Malformed, match="Colliding"):
        decode(packed([*range(FEW), 5]))
    assert decode(packed(["a", b"a"] * FEW)) == {"a": None, b"a": None}


HONEST = {
    "successive": range(N := 3000),
    "negative": range(-N, 0),
    "backwards": range(N, 0, -1),
    "64 bits": [random.Random(each).getrandbits(64) for each in range(N)],
    "signed": [random.Random(each).getrandbits(63) - (1 << 62) for each in range(N)],
    "sparse": random.Random(1).sample(range(3 * N), N),
    "nanoseconds": [1_700_000_000_000_000_000 + each * 1_000_000 for each in range(N)],
    "seconds in nanoseconds": [each * 1_000_000_000 for each in range(N)],
    "addresses": [(10 << 24) + each for each in range(N)],
    "networks": [each << 8 for each in range(N)],
    "addresses, bytes swapped": [int.from_bytes((10 << 24 | i).to_bytes(4), "little")
                                 for i in range(N)],
    "snowflakes": [(1_700_000_000_000 + each) << 22 | each % 4 for each in range(N)],
    "texts and ints": [*map(str, range(N)), *range(N)],
    "texts": [str(each) for each in range(N)],
    "bytes": [b"%d" % each for each in range(N)],
    **{f"multiples of 2**{bits}": [each << bits for each in range(N)] for bits in range(1, 51)},
}  # fmt: skip


@pytest.mark.parametrize("keys", HONEST.values(), ids=HONEST)
def test_many_keys_that_mean_no_harm_arrive(keys: Sequence[object]) -> None:
    value = {key: at for at, key in enumerate(keys)}
    arrived = decode(encode([{"a": value}, value]))
    assert arrived == [{"a": value}, value]
    assert isinstance(arrived, list) and list(arrived[1]) == list(keys)


@pytest.mark.slow
@pytest.mark.parametrize("bits", [0, 12, 28, 44])
def test_a_hundred_thousand_multiples_arrive(bits: int) -> None:
    value = dict.fromkeys(each << bits for each in range(100_000))
    assert decode(encode(value)) == value


@pytest.mark.parametrize("size", [FEW - 1, FEW, FEW + 1, 682, 683, 1365, 1366])
def test_no_count_of_keys_is_an_obstacle(size: int) -> None:
    for value in (dict.fromkeys(range(size)), {each * 7: [each] for each in range(size)}):
        assert decode(encode(value)) == value
        assert decode(encode([value, [1] * 5000])) == [value, [1] * 5000]


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(
    st.integers(-(1 << 40), 1 << 40), st.integers(0, 20), st.integers(0, 1 << 22),
    st.integers(FEW, 3 * FEW), st.randoms(),
)  # fmt: skip
def test_what_is_accepted_takes_bounded_work_and_arrives(
    first: int, bits: int, spread: int, size: int, chance: random.Random
) -> None:
    keys = list(dict.fromkeys(
        first + (each << bits) + chance.randint(0, spread) for each in range(size)
    ))  # fmt: skip
    try:
        check(keys)
    except Colliding:
        with pytest.raises(Colliding):
            build([(key, None) for key in keys])
        return
    assert steps_of(keys) < FEW * FEW + 3 * 33 * len(keys)
    assert decode(encode(dict.fromkeys(keys))) == dict.fromkeys(keys)


def test_claims_of_long_maps_take_no_memory() -> None:
    with pytest.raises(Malformed):
        decode(b"\xdf\x00\x10\x00\x00\x01" * 100_000)
