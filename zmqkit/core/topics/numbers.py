"""The topics of one publisher, and the number that the next message of each will have."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from zmqkit.wire import publication


@dataclass(slots=True, eq=False)
class Topic:
    """A topic that has a number."""

    data: bytes  # the topic as it stands in a packet
    sequence: int  # the number of its next message
    place: int  # counts the topics; they stand in this order
    first: int = 0  # the number of its first message


class Numbers:
    """The topics that have numbers; the one known for longest makes room for a new one."""

    def __init__(self, topics_max: int) -> None:
        # No plain dict: to find the first one of that takes longer the more have gone.
        self.topics: OrderedDict[str, Topic] = OrderedDict()
        self._topics_max = topics_max
        self._place = 0
        self._base = 0

    def of(self, name: str) -> int:
        """Return the number that a topic's next message will have; 0 if it has none."""
        topic = self.topics.get(name)
        return topic.sequence if topic is not None else 0

    def add(self, name: str, count: int) -> tuple[Topic, str]:
        """Add a topic that is new or was forgotten, with numbers above all that it ever had.

        count: how many messages there were in all topics. Returns the topic, and the one that
        made room for it. From then on, new topics start above the count of all messages at that
        time, which no topic's number exceeds.
        """
        data, oldest = publication.check_topic(name), ""
        if len(self.topics) >= self._topics_max:
            oldest, _ = self.topics.popitem(last=False)
            self._base = count
        self._place += 1
        first = self._base + 1
        topic = self.topics[name] = Topic(data, first, self._place, first)
        return topic, oldest

    def latest(self, count: int) -> dict[str, int]:
        """Return the numbers of the topics that are new, so many at most."""
        some = islice(reversed(self.topics.items()), count)
        return {name: topic.sequence for name, topic in some}

    def behind(self, place: int) -> Iterator[tuple[str, Topic]]:
        """Yield the topics behind a place, in their order."""
        skipped = max(0, place - (self._place - len(self.topics)))
        yield from islice(self.topics.items(), skipped, None)

    def check(self) -> None:
        """Assert that there are not too many topics."""
        assert len(self.topics) <= self._topics_max
