"""What is kept of topics: how much, which goes first, and how it is read by pages."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zmqkit.core.topics.history import Archive, Page
from zmqkit.errors import ConfigError
from zmqkit.history_limits import KEPT_BYTES, RAW_SHARED_BYTES_MAX, History
from zmqkit.wire.encoding import decode, encode
from zmqkit.wire.history import Want

ALL = 1_000_000


def archive(messages: int = 100, *, size: int = ALL, age_s: float = inf) -> Archive[str]:
    return Archive(History(messages=messages, bytes=size, age_s=age_s))


def keep(
    kept: Archive[str], topic: str, first: int, count: int = 1, now: float = 0.0, size: int = 0
) -> None:
    """Keep messages whose bodies are their numbers, or text of a size."""
    bodies = [number if not size else "x" * size for number in range(first, first + count)]
    kept.keep(topic, first, count, [encode(body) for body in bodies], now, first)
    kept.check()


def found(page: Page) -> list[tuple[str, int, list[object]]]:
    """The entries of a page, with their bodies."""
    bodies = [decode(b"\x91" + row) for rows in page.rows for row in _single(bytes(rows))]
    entries = []
    for entry in page.entries:
        mine, bodies = bodies[: entry.messages], bodies[entry.messages :]
        entries.append((entry.topic, entry.sequence, [body[0] for body in mine]))  # type: ignore[index]  # lists of one
    assert not bodies
    return entries


def _single(rows: bytes) -> list[bytes]:
    """Rows that are small numbers, one by one."""
    return [rows[at : at + 1] for at in range(len(rows))]


def read(kept: Archive[str], *wants: Want, messages: int = ALL, now: float = 0.0) -> Page:
    return kept.page([(want.topic, want, want.end) for want in wants], messages, ALL, now)


def numbers(kept: Archive[str], topic: str = "t", now: float = 0.0) -> list[object]:
    """All that is kept of a topic."""
    return [
        body
        for _, _, bodies in found(read(kept, Want(1, topic, 1, ALL), now=now))
        for body in bodies
    ]


def test_the_last_messages_of_each_topic_are_kept() -> None:
    kept = archive(3)
    for number in range(1, 6):
        keep(kept, "t", number)
    keep(kept, "u", 1)
    assert numbers(kept) == [3, 4, 5]
    assert numbers(kept, "u") == [1]


def test_a_packet_beyond_the_limit_keeps_its_end() -> None:
    kept = archive(2)
    keep(kept, "t", 1, 5)
    assert numbers(kept) == [4, 5]
    assert len(kept) == 2


def test_exactly_as_many_are_given_though_a_packet_has_more() -> None:
    kept = archive(4)
    keep(kept, "t", 1, 3)
    keep(kept, "t", 4, 3)
    assert numbers(kept) == [3, 4, 5, 6]


def test_a_packet_that_others_followed_for_longest_goes_first() -> None:
    kept = archive(size=4 * (KEPT_BYTES + 1))
    keep(kept, "still", 1)
    for number in range(1, 6):
        keep(kept, "busy", number)
    assert numbers(kept, "still") == [1]
    assert numbers(kept, "busy") == [3, 4, 5]


def test_last_values_go_if_there_is_nothing_else() -> None:
    kept = archive(size=2 * (KEPT_BYTES + 1))
    for topic in ("a", "b", "a", "c"):
        keep(kept, topic, len(numbers(kept, topic)) + 1)
    assert [numbers(kept, topic) for topic in "abc"] == [[2], [], [1]]


def test_a_message_larger_than_the_limit_is_kept_alone() -> None:
    kept = archive(size=KEPT_BYTES)
    keep(kept, "a", 1)
    keep(kept, "t", 1, size=10_000)
    assert len(kept) == 1


def test_what_is_too_old_is_given_to_nobody() -> None:
    kept = archive(age_s=10.0)
    keep(kept, "t", 1, now=0.0)
    keep(kept, "t", 2, now=5.0)
    assert numbers(kept, now=10.0) == [1, 2]
    assert numbers(kept, now=12.0) == [2]
    keep(kept, "u", 1, now=30.0)
    assert len(kept) == 1


def test_a_cleared_topic_has_only_the_message_that_cleared_it() -> None:
    kept = archive()
    keep(kept, "t", 1, 3)
    kept.clear("t", 4, 0.0, 7)
    kept.check()
    page = read(kept, Want(1, "t", 1, 5))
    assert [tuple(entry) for entry in page.entries] == [(1, "t", 4, 1, True, [1, 7])]
    keep(kept, "t", 5)
    page = read(kept, Want(1, "t", 1, 6))
    assert [tuple(entry) for entry in page.entries] == [
        (1, "t", 4, 1, True, [1, 7]),
        (1, "t", 5, 1, False, [1, 5]),
    ]


def test_what_is_wanted_is_cut_out_of_packets() -> None:
    kept = archive()
    keep(kept, "t", 1, 4)
    keep(kept, "t", 5, 4)
    assert found(read(kept, Want(1, "t", 3, 7))) == [("t", 3, [3, 4, 5, 6])]
    assert found(read(kept, Want(1, "t", 2, 4))) == [("t", 2, [2, 3])]
    page = read(kept, Want(1, "t", 2, 9), messages=5)
    assert [entry.times for entry in page.entries] == [[3, 1, 2, 5]]  # each packet has its own
    assert found(page) == [("t", 2, [2, 3, 4, 5, 6])]


def test_a_topic_of_which_nothing_is_kept_says_so() -> None:
    kept = archive(2)
    keep(kept, "t", 7, 3)
    assert found(read(kept, Want(1, "t", 1, 5), Want(1, "u", 1, 3))) == [
        ("t", 5, []),
        ("u", 3, []),
    ]


def test_a_page_ends_at_its_bytes_and_the_first_message_may_be_larger() -> None:
    kept = archive()
    keep(kept, "a", 1, size=1000)
    keep(kept, "b", 1, size=10)
    wants = [("a", Want(1, "a", 1, 2), 2), ("b", Want(1, "b", 1, 2), 2)]
    assert [entry.topic for entry in kept.page(wants, ALL, 100, 0.0).entries] == ["a"]
    assert [entry.topic for entry in kept.page(wants[::-1], ALL, 100, 0.0).entries] == ["b"]


def test_a_large_raw_body_is_alone_in_its_page_and_small_ones_share_one() -> None:
    kept, large = archive(), bytes(RAW_SHARED_BYTES_MAX + 1)
    for number, body in enumerate([b"raw", b"more", large, b"last"], 1):
        kept.keep("t", number, 1, [], 0.0, 0, memoryview(body))
    page = read(kept, Want(1, "t", 1, 5))
    assert page.rows == [encode(b"raw"), encode(b"more")] and page.raw is None
    page = read(kept, Want(1, "t", 3, 5))
    assert page.raw == large and page.messages == 1
    assert read(kept, Want(1, "t", 4, 5)).rows == [encode(b"last")]


@pytest.mark.parametrize("limit", ["messages", "bytes"])
def test_a_limit_that_cannot_work_is_refused(limit: str) -> None:
    with pytest.raises(ConfigError, match=limit):
        History(**{limit: 0})  # type: ignore[arg-type]  # a limit


@pytest.mark.slow
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9)), max_size=60),
    st.integers(1, 8),
    st.integers(1, 20),
)
def test_what_is_kept_goes_on_to_the_newest(
    steps: list[tuple[str, int]], messages: int, packets: int
) -> None:
    kept = archive(messages, size=packets * (KEPT_BYTES + 9))
    ends = dict.fromkeys("abc", 1)
    for topic, count in steps:
        if count:
            keep(kept, topic, ends[topic], count)
        else:
            kept.clear(topic, ends[topic], 0.0, 0)
            kept.check()
        ends[topic] += count or 1
        for each, end in ends.items():
            page = read(kept, Want(1, each, 1, ALL))
            there = [e.sequence + at for e in page.entries for at in range(e.messages)]
            assert there == list(range(end - len(there), end))
            assert len(there) <= messages
