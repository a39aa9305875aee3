"""Which topics have fallen quiet, and when a publisher repeats their numbers.

If the very last message of a topic is lost, no later one shows it. So a publisher with a
history repeats the number of each topic that is quiet: after HEADS_S, and then after pauses
that double, as long as they are no longer than HEADS_S_MAX. Topics that changed within one
pause make a round. A topic that changed again leaves its round for a later one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from math import inf
from typing import Generic, TypeVar

from zmqkit.history_limits import ENTRY_BYTES, HEADS_S, HEADS_S_MAX, PAGE_HISTORY_BYTES
from zmqkit.wire import history
from zmqkit.wire.history import HeadsAsk, Key

K = TypeVar("K", bound=Hashable)


@dataclass(slots=True, eq=False)
class _Round(Generic[K]):
    """Topics to be repeated at the same time, with the numbers that they had."""

    due_at: float
    pause_s: float
    numbers: dict[K, int]


class Heads(Generic[K]):
    """The topics that changed, until their numbers have been repeated often enough."""

    def __init__(self) -> None:
        self.due_at = inf
        self._changed: dict[K, int] = {}
        self._rounds: deque[_Round[K]] = deque()
        self._look_at = inf

    def changed(self, topic: K, number: int, now: float) -> None:
        """Note the number that the next message of a topic will have."""
        if not self._changed:
            self._look_at = now + HEADS_S
            self.due_at = min(self.due_at, self._look_at)
        self._changed[topic] = number

    def due(self, now: float, number_of: Callable[[K], int]) -> dict[K, int]:
        """Return the topics to be repeated now, with their numbers.

        number_of: returns the number of a topic's next message; 0 if the topic was forgotten.
        """
        told: dict[K, int] = {}
        if now >= self._look_at:
            self._rounds.append(_Round(now + HEADS_S, 2 * HEADS_S, self._changed))
            self._changed, self._look_at = {}, inf
        for _ in range(len(self._rounds)):
            each = self._rounds.popleft()
            if now >= each.due_at:
                each.numbers = {t: n for t, n in each.numbers.items() if number_of(t) == n}
                told |= each.numbers
                each.due_at, each.pause_s = now + each.pause_s, 2 * each.pause_s
            if each.numbers and each.pause_s <= 2 * HEADS_S_MAX:
                self._rounds.append(each)
        self.due_at = min((self._look_at, *(each.due_at for each in self._rounds)))
        return told


def in_packets(numbers: dict[Key, int]) -> list[dict[Key, int]]:
    """Return the numbers of topics in as many parts as there are to be packets."""
    packets: list[dict[Key, int]] = []
    room = 0
    for key, number in numbers.items():
        size = len(key[1]) + ENTRY_BYTES
        room -= size
        if room < 0:
            packets.append({})
            room = PAGE_HISTORY_BYTES - size
        packets[-1][key] = number
    return packets


def page_of(question: HeadsAsk, topics: Iterable[tuple[int, str, int, int]]) -> history.Heads:
    """Return the numbers of the topics that a subscriber asks for, as many as fit into a page.

    topics: those behind the place that the question names, in the order of their places: the
    publisher, the topic, its number and its place.
    """
    numbers, room = dict[Key, int](), PAGE_HISTORY_BYTES
    for publisher, topic, number, place in topics:
        if topic.startswith(question.prefixes):
            if room <= 0:
                return history.Heads(question.token, numbers, place - 1)
            numbers[publisher, topic] = number
            room -= len(topic) + ENTRY_BYTES
    return history.Heads(question.token, numbers, 0)
