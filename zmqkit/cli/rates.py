"""Rates: how many messages of each topic came within a second."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from zmqkit.cli.output import escaped, several

RATE_S = 1.0

_SILENT_TOPICS_MAX = 100
"""So many topics are still listed when nothing of them came."""


@dataclass(slots=True)
class Rate:
    """What came of a topic. hz: a second; None for a time too short to say."""

    topic: str
    hz: float | None
    messages: int
    seconds: float

    def __str__(self) -> str:
        topic = escaped(self.topic)
        if self.hz is None:
            return (
                f"{topic} {several(self.messages, 'message')} in {self.seconds * 1e3:,.1f} ms"
            )
        return f"{topic} {self.hz:,.1f}/s"


class Rates:
    """Counts messages from `now` on, the first among them, a second at a time.

    due_at: when the second is over, and `take` due. Topics stay in the list when nothing more
    comes of them, except where there are very many.
    """

    def __init__(self, now: float) -> None:
        self.due_at = now + RATE_S
        self._begun_at = now
        self._counts: Counter[str] = Counter()

    def add(self, topic: str) -> None:
        """Count a message."""
        self._counts[topic] += 1

    def take(self, now: float) -> list[Rate]:
        """What came since the last time, most first; before it is due, no rates but counts."""
        passed_s, is_whole = now - self._begun_at, now >= self.due_at
        rows = self._counts.most_common()
        self._counts = Counter(
            dict.fromkeys((name for name, _ in rows[:_SILENT_TOPICS_MAX]), 0)
        )
        self._begun_at = now
        self.due_at += RATE_S
        if self.due_at <= now:  # this process was kept from looking
            self.due_at = now + RATE_S
        return [
            Rate(topic, round(number / passed_s, 2) if is_whole else None, number, passed_s)
            for topic, number in rows
            if is_whole or number
        ]
