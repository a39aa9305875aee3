"""What a publisher with a history has beside one without: an archive, and heads to repeat."""

from __future__ import annotations

from collections.abc import Sequence

from zmqkit.core.topics.heads import Heads, page_of
from zmqkit.core.topics.history import Archive, Page
from zmqkit.core.topics.numbers import Numbers
from zmqkit.history_limits import History
from zmqkit.wire import history
from zmqkit.wire.encoding import Buffer


class Memory:
    """The messages that one publisher keeps, and the numbers of its quiet topics."""

    def __init__(self, publisher: int, limits: History, numbers: Numbers) -> None:
        """publisher: its incarnation. numbers: those of all its topics."""
        self._publisher = publisher
        self._numbers = numbers
        self._heads: Heads[str] = Heads()
        self._archive: Archive[str] = Archive(limits)

    def __len__(self) -> int:
        """Return how many messages are kept."""
        return len(self._archive)

    @property
    def size(self) -> int:
        """How many bytes the kept messages take."""
        return self._archive.size

    @property
    def due_at(self) -> float:
        """When `quiet` has something to return next."""
        return self._heads.due_at

    def keep(
        self,
        topic: str,
        sequence: int,
        count: int,
        parts: Sequence[Buffer],
        now: float,
        wall_us: int,
        raw: Buffer | None = None,
    ) -> None:
        """Keep messages that are published now; see `Archive.keep`."""
        self._archive.keep(topic, sequence, count, parts, now, wall_us, raw)
        self._heads.changed(topic, sequence + count, now)

    def clear(self, topic: str, sequence: int, now: float, wall_us: int) -> None:
        """Keep the message that clears a topic, and nothing that was before it."""
        self._archive.clear(topic, sequence, now, wall_us)
        self._heads.changed(topic, sequence + 1, now)

    def forget(self, topic: str) -> None:
        """Keep nothing of a topic."""
        self._archive.forget(topic)

    def page(self, ask: history.Ask, now: float) -> Page:
        """Return the page that a subscriber asks for."""
        me = self._publisher
        wants = [(w.topic if w.publisher == me else None, w, w.end) for w in ask.wants]
        return self._archive.page(wants, ask.messages_max, ask.bytes_max, now)

    def heads(self, question: history.HeadsAsk) -> history.Heads:
        """Return the numbers of wanted topics, as many as fit into a page."""
        behind = self._numbers.behind(question.after)
        rows = ((self._publisher, name, t.sequence, t.place) for name, t in behind)
        return page_of(question, rows)

    def quiet(self, now: float) -> dict[history.Key, int]:
        """Return the numbers of topics that have fallen quiet and are to be repeated now."""
        told = self._heads.due(now, self._numbers.of)
        return {(self._publisher, topic): number for topic, number in told.items()}

    def check(self) -> None:
        """Assert that the archive is sound."""
        self._archive.check()
