"""The meter: what is recorded of each part, and how many parts there are."""

from __future__ import annotations

from dataclasses import dataclass

from zmqkit.core.meter import OTHERS, Meter


@dataclass
class Job:
    method: str
    begun_at: float


def counts(meter: Meter) -> dict[str, int]:
    return {name: part.took.count for name, part in meter.parts.items()}


def test_each_name_has_a_histogram_of_its_own() -> None:
    meter = Meter()
    meter.took("price", 0.002)
    meter.took("price", 0.004, 2)
    meter.took("buy", 1.0)
    assert counts(meter) == {"price": 3, "buy": 1}


def test_names_beyond_the_limit_share_a_part() -> None:
    meter = Meter(2)
    for name in "abcd":
        meter.took(name, 0.1)
    meter.part("e").failed += 1
    assert counts(meter) == {"a": 1, "b": 1, OTHERS: 2}
    assert meter.parts[OTHERS].failed == 1


def test_jobs_that_end_together_are_recorded_as_one_by_one() -> None:
    jobs = [Job("a", 0.5), Job("a", 0.75), Job("a", 0.999)]
    together, alone = Meter(), Meter()
    together.took_all(jobs, 1.0)
    for job in jobs:
        alone.took(job.method, 1.0 - job.begun_at)
    assert together.parts["a"].took == alone.parts["a"].took


def test_jobs_of_several_names_that_end_together_are_told_apart() -> None:
    meter = Meter()
    meter.took_all([Job("a", 0.5), Job("b", 0.5), Job("a", 0.5)], 1.0)
    meter.took_all([Job("b", 0.5)], 1.0)
    assert counts(meter) == {"a": 2, "b": 2}
