"""A subscriber that reads slowly, and says so to a publisher that waits."""

from __future__ import annotations

from tests.core.topics.publications import made, mark, publish, take_in
from zmqkit.core.effects import Effect, Send
from zmqkit.limits import READS_S
from zmqkit.wire import packet as wire
from zmqkit.wire import publication


def credits_of(effects: list[Effect]) -> list[object]:
    """The marks that are answered."""
    sent = [effect.frames[0] for effect in effects if isinstance(effect, Send)]
    packets = [wire.unpack((frame[1:],)) for frame in sent if frame[:1] == publication.TALK]
    return [packet.meta for packet in packets if packet.kind == wire.CREDIT]


def test_who_reads_slowly_says_so() -> None:
    core = made(waits=True)
    take_in(core, *(publish("t", 100 * n + 1, *range(100)) for n in range(10)), mark(1))
    now = 1.0
    for _ in range(3):
        assert core.take()[0] is not None
        now = core.deadline()
        assert credits_of(core.tick(now)) == [0]
    for _ in range(3):
        assert core.deadline() == now + READS_S
        now = core.deadline()
        assert credits_of(core.tick(now)) == []
    held = [50]
    core.reading.held = lambda: held[0]
    assert core.take()[0] is not None
    for held[0] in (49, 48):
        now = core.deadline()
        assert credits_of(core.tick(now)) == [0]
    core.check()


def test_a_mark_is_answered_once_what_was_before_it_is_read() -> None:
    core = made(waits=True)
    held = [1]
    core.reading.held = lambda: held[0]
    take_in(core, publish("t", 1, "x"), mark(1), mark(2))
    assert core.take()[0] is not None
    assert credits_of(core.tick(core.deadline())) == []
    held[0] = 0
    assert credits_of(core.tick(core.deadline())) == [2]  # which says the same of 1
    assert core.take() == (None, []) and core.deadline() > 1e9
    core.check()


def test_nobody_is_told_who_does_not_wait() -> None:
    core = made(waits=False)
    take_in(core, publish("t", 1, "x"), publish("t", 2, "y"))
    core.take()
    assert core.deadline() > 1e9
