"""The numbers of topics are repeated once they are quiet, ever less often, and then no more."""

from __future__ import annotations

from math import inf

from zmqkit.core.topics.heads import Heads, in_packets
from zmqkit.history_limits import ENTRY_BYTES, HEADS_S, HEADS_S_MAX, PAGE_HISTORY_BYTES


class Quiet:
    """Heads, and the numbers that topics have."""

    def __init__(self) -> None:
        self.heads: Heads[str] = Heads()
        self.numbers: dict[str, int] = {}
        self.now = 100.0

    def change(self, topic: str) -> None:
        self.numbers[topic] = self.numbers.get(topic, 1) + 1
        self.heads.changed(topic, self.numbers[topic], self.now)

    def told(self, duration_s: float) -> list[tuple[float, dict[str, int]]]:
        """What is told within a time, and when."""
        begun, found = self.now, []
        while self.heads.due_at <= begun + duration_s:
            self.now = self.heads.due_at
            if numbers := self.heads.due(self.now, lambda t: self.numbers.get(t, 0)):
                found.append((self.now - begun, numbers))
            assert self.heads.due_at > self.now
        self.now = begun + duration_s
        return found


def test_a_quiet_topic_is_told_ever_less_often() -> None:
    quiet = Quiet()
    quiet.change("a")
    assert quiet.told(4.0) == [(at * HEADS_S, {"a": 2}) for at in (2, 4, 8, 16)]
    assert quiet.told(10 * HEADS_S_MAX)
    assert quiet.heads.due_at == inf


def test_a_busy_topic_is_not_told() -> None:
    quiet = Quiet()
    for _ in range(100):
        quiet.change("a")
        assert quiet.told(HEADS_S / 2) == []
    assert quiet.told(3 * HEADS_S)[0][1] == {"a": 101}


def test_topics_that_were_quiet_at_the_same_time_are_told_together() -> None:
    quiet = Quiet()
    quiet.change("a")
    quiet.change("b")
    quiet.told(HEADS_S)
    quiet.change("b")
    assert quiet.told(HEADS_S) == [(HEADS_S, {"a": 2})]
    assert quiet.told(HEADS_S) == [(HEADS_S, {"b": 3})]


def test_a_topic_that_was_forgotten_is_not_told() -> None:
    quiet = Quiet()
    quiet.change("a")
    del quiet.numbers["a"]
    assert quiet.told(10 * HEADS_S_MAX) == []


def test_many_topics_are_told_in_several_packets() -> None:
    numbers = {(1, f"{number:032}"): number for number in range(3000)}
    packets = in_packets(numbers)
    assert {t: n for each in packets for t, n in each.items()} == numbers
    fits = PAGE_HISTORY_BYTES // (32 + ENTRY_BYTES)
    assert [len(each) for each in packets] == [fits, fits, 3000 - 2 * fits]
