"""Rates of topics, by a clock of the test's own."""

from __future__ import annotations

from zmqkit.cli.rates import Rate, Rates


def test_the_first_message_counts() -> None:
    rates = Rates(10.0)
    for _ in range(500):
        rates.add("t")
    assert rates.due_at == 11.0
    assert rates.take(11.0) == [Rate("t", 500.0, 500, 1.0)]


def test_a_topic_that_stops_has_the_rate_zero() -> None:
    rates = Rates(0.0)
    rates.add("t")
    rates.take(1.0)
    assert [str(row) for row in rates.take(2.0)] == ["t 0.0/s"]


def test_the_most_frequent_is_first() -> None:
    rates = Rates(0.0)
    for topic in ("a", "b", "b"):
        rates.add(topic)
    assert [str(row) for row in rates.take(1.0)] == ["b 2.0/s", "a 1.0/s"]


def test_a_second_cut_short_has_counts_and_no_rate() -> None:
    rates = Rates(0.0)
    rates.add("silent")
    rates.take(1.0)
    rates.add("t")
    [row] = rates.take(1.25)
    assert row == Rate("t", None, 1, 0.25)
    assert str(row) == "t 1 message in 250.0 ms"


def test_seconds_do_not_drift_but_after_a_pause() -> None:
    rates = Rates(0.0)
    rates.take(1.125)
    assert rates.due_at == 2.0
    rates.take(5.5)
    assert rates.due_at == 6.5


def test_very_many_silent_topics_are_forgotten() -> None:
    rates = Rates(0.0)
    for number in range(1000):
        rates.add(str(number))
    assert len(rates.take(1.0)) == 1000
    assert len(rates.take(2.0)) == 100


def test_a_topic_cannot_forge_a_line() -> None:
    assert str(Rate("a\n\x1b", 1.0, 1, 1.0)) == "a\\n\\x1b 1.0/s"
