"""What drivers share: effects performed, packets fed to a core."""

from __future__ import annotations

from math import inf

from zmqkit.core.calls.request import Request
from zmqkit.core.effects import Effect, Handle, Send
from zmqkit.drivers.perform import Driver, Hooks
from zmqkit.links.memory import MemoryLink
from zmqkit.model import Frames, PeerId

REQUEST = Request(1, 7, 1, "double", [2], {}, {}, 5, inf, False, 1)


class Stalled:
    """A core in which a request waits until the core is due."""

    def __init__(self) -> None:
        self._due_at = 1.0

    def receive(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        return []

    def unsent(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        return []

    def tick(self, now: float) -> list[Effect]:
        self._due_at = inf
        return [Handle([REQUEST])]

    def flush(self, now: float) -> list[Effect]:
        return []

    def deadline(self) -> float:
        return self._due_at

    def check(self) -> None:
        pass


def test_requests_that_a_tick_runs_are_answered_in_it() -> None:
    ran: list[Request] = []

    def finished() -> list[Effect]:
        answers: list[Effect] = [Send(b"p", (each.method.encode(),)) for each in ran]
        ran.clear()
        return answers

    here, there = MemoryLink(1), MemoryLink(2)
    here.connect(b"p", there.bind("memory://tick", (0, 0)))
    driver = Driver(Stalled(), here, Hooks(handle=ran.extend, finished=finished))
    driver.tick(0.0)
    assert there.receive(10, 1000) == []
    driver.tick(1.0)
    assert [frames for _, frames in there.receive(10, 1000)] == [(b"double",)]
    here.close(0)
    there.close(0)
