"""Histograms: how exact they are, how they add up, and how they travel."""

from __future__ import annotations

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as some

from zmqkit.wire.encoding import Malformed, decode, encode
from zmqkit.wire.histogram import BOUNDS, BUCKETS, ERROR_MAX, Histogram, unpacked

DURATIONS = some.lists(some.floats(1e-6, 16_000), max_size=50)


def histogram(durations_s: list[float]) -> Histogram:
    """Return a histogram into which these were recorded one by one."""
    made = Histogram()
    for each in durations_s:
        made.record(each)
    return made


@given(DURATIONS, some.sampled_from([0.0, 1.0, 50.0, 90.0, 99.0, 100.0]))
def test_percentiles_are_off_by_six_percent_at_most(
    durations_s: list[float], percent: float
) -> None:
    found = histogram(durations_s).percentile(percent)
    if not durations_s:
        assert found is None
        return
    rank = max(1, ceil(len(durations_s) * percent / 100))
    exact = sorted(durations_s)[rank - 1]
    assert found == pytest.approx(exact, rel=ERROR_MAX + 1e-9)
    assert ERROR_MAX <= 0.06


@given(DURATIONS)
def test_count_and_sum_are_exact(durations_s: list[float]) -> None:
    made = histogram(durations_s)
    assert made.count == len(durations_s)
    assert made.sum_s == pytest.approx(sum(durations_s))


@given(some.lists(some.integers(1, 1 << 34), min_size=1, max_size=50))
def test_recording_what_ends_together_is_recording_each(durations_us: list[int]) -> None:
    now = float(1 << 16)
    begun = [now - (each + 0.5) * 2**-20 for each in durations_us]  # exact in binary
    durations_s = [now - each for each in begun]
    made = Histogram()
    made.record_since(begun, now)
    assert made.count == len(durations_s)
    assert made.sum_s == pytest.approx(sum(durations_s))
    for percent in (0.0, 50.0, 99.0):
        expected = histogram(durations_s).percentile(percent)
        assert made.percentile(percent) == pytest.approx(expected, rel=2 * ERROR_MAX)


@given(DURATIONS, DURATIONS)
def test_histograms_merge_and_subtract(before: list[float], after: list[float]) -> None:
    both = histogram(before)
    both.add(histogram(after))
    assert both == histogram(before + after)
    assert both.since(histogram(before)) == histogram(after)


def test_what_was_recorded_since_a_restart_is_all() -> None:
    assert histogram([1.0]).since(histogram([2.0, 2.0])) == histogram([1.0])


@given(DURATIONS)
def test_histogram_travels(durations_s: list[float]) -> None:
    made = histogram(durations_s)
    back = unpacked(decode(encode(made.packed())))
    assert back == made
    assert back.sum_s == pytest.approx(made.sum_s, abs=1e-6)


def test_recording_the_same_many_times_is_recording_it_each_time() -> None:
    made = Histogram()
    made.record(0.25, 3)
    assert made == histogram([0.25] * 3)


@pytest.mark.parametrize("duration_s", [-1.0, 0.0, 1e9])
def test_durations_beyond_the_bounds_are_in_the_first_or_last_bucket(duration_s: float) -> None:
    made = histogram([duration_s])
    assert made.counts[0 if duration_s < 1 else -1] == 1


def test_bounds_go_from_microseconds_to_hours() -> None:
    assert BOUNDS[0] == 1e-6
    assert BOUNDS[-1] > 4 * 3600
    assert list(BOUNDS) == sorted(set(BOUNDS))


def test_size_on_the_wire_is_bounded() -> None:
    made = Histogram([(1 << 63) - 1] * BUCKETS, 1e30)
    assert len(encode(made.packed())) < 4096
    assert unpacked(made.packed()) == made


@pytest.mark.parametrize(
    "value",
    [None, [], [0, 1], [0, 1, 1, 1, 1], [0, 2, 1, 1, 1], [0, BUCKETS, 1], [0, -1, 1],
     [0, 1, -1], [0, 1, 1.0], [True], [-1], [0, 0, 1 << 63], [0] * 999],
)  # fmt: skip
def test_what_is_no_histogram_is_malformed(value: object) -> None:
    with pytest.raises(Malformed, match="histogram"):
        unpacked(value)
