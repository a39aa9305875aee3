"""Virtual time."""

from __future__ import annotations

from zmqkit.simulation.timeline import START_AT, Timeline


def test_things_happen_in_order_and_at_their_time() -> None:
    timeline, seen = Timeline(1), list[tuple[str, float]]()
    for name, delay in (("b", 2.0), ("a", 1.0), ("c", 2.0)):
        timeline.after(delay, lambda name=name: seen.append((name, timeline.now - START_AT)))  # type: ignore[misc]  # the loop's own
    timeline.run_until(START_AT + 2.0)
    assert seen == [("a", 1.0), ("b", 2.0), ("c", 2.0)]


def test_what_is_due_later_waits() -> None:
    timeline, seen = Timeline(1), list[int]()
    timeline.after(2.0, lambda: seen.append(1))
    timeline.run_until(START_AT + 1.0)
    assert (seen, timeline.now) == ([], START_AT + 1.0)


def test_the_past_is_now() -> None:
    timeline, seen = Timeline(1), list[float]()
    timeline.at(0.0, lambda: seen.append(timeline.now))
    timeline.run_until(START_AT)
    assert seen == [START_AT]


def test_a_digest_stands_for_what_was_noted() -> None:
    one, same, other = Timeline(1), Timeline(2, keep=True), Timeline(1)
    one.note("x")
    same.note("x")
    other.note("y")
    assert one.digest == same.digest != other.digest
    assert (one.lines, same.lines) == ([], ["0.000000 x"])
