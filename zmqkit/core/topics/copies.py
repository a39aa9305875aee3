"""Which packets have passed a forwarder: what comes by several ways leaves once."""

from __future__ import annotations

from collections import OrderedDict


class Copies:
    """The first number of the last packet of each topic, by publisher."""

    def __init__(self, publishers_max: int, topics_max: int) -> None:
        self._publishers_max = publishers_max
        self._topics_max = topics_max
        self._last: dict[int, OrderedDict[bytes, int]] = {}

    def has(self, publisher: int, topic: bytes, sequence: int) -> bool:
        """Return whether a packet came before, or one behind it."""
        topics = self._last.get(publisher)
        return topics is not None and sequence <= topics.get(topic, 0)

    def came(self, publisher: int, topic: bytes, sequence: int) -> bool:
        """Return whether a packet came before, or one behind it; take note of it if not.

        Forwarders pass packets on whole, so a copy begins with the same number.
        """
        topics = self._last.get(publisher)
        if topics is None:
            if len(self._last) >= self._publishers_max:
                del self._last[next(iter(self._last))]
            topics = self._last[publisher] = OrderedDict()
        last = topics.get(topic)
        if last is not None and sequence <= last:
            return True
        if last is None and len(topics) >= self._topics_max:
            topics.popitem(last=False)
        topics[topic] = sequence
        return False
