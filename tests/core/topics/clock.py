"""The clock of publishers, on which no two packets leave at one time, and who looks at it."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count

from zmqkit.core.effects import Effect, Send
from zmqkit.core.topics.inbox import Delivery
from zmqkit.model import EVERY_PEER, Frames
from zmqkit.wire import publication

BEGIN_US = 1_790_000_000_000_000
STEP_US = 1_000_003


class Clock:
    """Says what time it is, and judges that each message is read with the time it left at."""

    def __init__(self) -> None:
        self._ticks = count(BEGIN_US, STEP_US)
        self._left_at: dict[tuple[int, str, int], list[float]] = {}

    def wall_us(self) -> int:
        """Return the time of day of a publisher; it is later each time."""
        return next(self._ticks)

    def note(self, effects: Iterable[Effect]) -> None:
        """Note the messages that a publisher sends."""
        for effect in effects:
            if isinstance(effect, Send) and effect.peer == EVERY_PEER:
                self.note_packet(effect.frames)

    def note_packet(self, frames: Frames) -> None:
        """Note the messages in a packet, if it has any."""
        head = publication.head_of(frames)
        if head is not None:
            end, source, sequence, _ = head
            messages, topic = publication.messages_of(frames, end), bytes(frames[0][:end])
            for number in range(sequence, sequence + messages.messages):
                key = (source, topic.decode(), number)
                self._left_at.setdefault(key, []).append(messages.wall_us / 1e6)

    def judge(self, delivery: Delivery) -> None:
        """Assert that each message has the time at which it left its publisher."""
        assert len(delivery.times) == len(delivery.bodies)
        for number, time in enumerate(delivery.times, delivery.sequence):
            assert time in self._left_at[delivery.publisher, delivery.topic, number]
