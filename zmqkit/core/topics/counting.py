"""How many packets of each topic pass a device, while somebody looks.

A device opens no packet, and to count by topic would take 6 % of what its core takes for a
small one. So it counts from a look until LOOKED_S after the last look. What it has counted is
forgotten then: a number that stood still in between would say that nothing passed.
"""

from __future__ import annotations

from collections.abc import Iterable

from zmqkit.core.effects import Effect, Send
from zmqkit.core.meter import OTHERS
from zmqkit.limits import TOPIC_BYTES_MAX
from zmqkit.model import EVERY_PEER
from zmqkit.statistics_limits import LOOKED_S, PARTS_MAX

_NUL, _OTHERS = b"\0", OTHERS.encode()


class Counting:
    """The packets of each topic since a look. Topics beyond PARTS_MAX are counted together."""

    __slots__ = ("counts", "until")

    def __init__(self, now: float) -> None:
        self.counts: dict[bytes, int] = {}
        self.until = now + LOOKED_S

    def saw(self, effects: Iterable[Effect], now: float) -> bool:
        """Count the packets that leave now for all subscribers; return false if it is over."""
        if now >= self.until:
            return False
        counts = self.counts
        for effect in effects:
            if type(effect) is not Send or effect.peer != EVERY_PEER:
                continue
            frame = effect.frames[0]
            if type(frame) is not bytes:
                frame = bytes(frame[: TOPIC_BYTES_MAX + 1])
            end = frame.find(_NUL)
            if end <= 0:
                continue  # it is no message, but says something to subscribers
            topic = frame[:end]
            if topic in counts:
                counts[topic] += 1
            else:
                topic = topic if len(counts) < PARTS_MAX else _OTHERS
                counts[topic] = counts.get(topic, 0) + 1
        return True

    @property
    def topics(self) -> dict[str, int]:
        """How many packets each topic had; those of all others come last.

        What of a topic is no Unicode is replaced, as no device refuses it.
        """
        topics: dict[str, int] = {}
        for topic, count in list(self.counts.items()):
            name = topic.decode(errors="replace")
            topics[name] = topics.get(name, 0) + count
        return topics


def looked(counting: Counting | None, now: float) -> Counting:
    """Return what counts from a look on: this one, or a new one if that is over."""
    if counting is None or now >= counting.until:
        return Counting(now)
    counting.until = now + LOOKED_S
    return counting
