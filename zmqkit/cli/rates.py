"""Rates: how many messages of each topic came within a second."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from zmqkit.cli.output import escaped, several

RATE_S = 1.0

_SILENT_TOPICS_MAX = 100
"""At most so many topics stay listed when no message of them came."""


@dataclass(slots=True)
class Rate:
    """How many messages of a topic came, and in what time."""

    topic: str
    hz: float | None  # messages a second; None if the time was too short to say
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
    """Counts the messages of each second from `now` on.

    The first message counts too. A topic stays in the list when no more messages of it come,
    except where there are very many topics.
    """

    def __init__(self, now: float) -> None:
        self.due_at = now + RATE_S  # when the second is over and `take` is due
        self._begun_at = now
        self._counts: Counter[str] = Counter()

    def add(self, topic: str) -> None:
        """Count a message."""
        self._counts[topic] += 1

    def take(self, now: float) -> list[Rate]:
        """Return what came of each topic since the last call, most messages first.

        Before `due_at` the result has counts but no rates.
        """
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
