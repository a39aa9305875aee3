"""What a relay needs of its back: who works for it, and what becomes of requests there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from zmqkit.core.calls.outcome import Outcome
from zmqkit.core.calls.request import Request, StreamRequest
from zmqkit.core.dispatch.window import IsGone
from zmqkit.core.effects import Effect, Tell
from zmqkit.core.majordomo.front import FrontCore
from zmqkit.errors import JournalError
from zmqkit.model import Frames, PeerId


class Back(Protocol):
    """Gives requests to workers, and has the front answer them."""

    # Of the client that workers see.
    incarnation: int

    def at_home(self, process: int, is_gone: IsGone) -> None:
        """Learn the number of this process, which workers are told."""

    @property
    def room(self) -> int:
        """How many more requests may leave the front's line now."""

    @property
    def waiting(self) -> int:
        """How many requests left the line and are at no worker."""

    @property
    def worker_count(self) -> int:
        """How many workers are connected, or may return."""

    @property
    def ready_count(self) -> int:
        """How many workers may get requests now."""

    @property
    def keeps(self) -> int:
        """How many requests and replies are kept, whether anybody waits for them or not."""

    @property
    def fault(self) -> JournalError | None:
        """Why its journal cannot be written any more; None while it can, or if it has none."""

    def news(self) -> frozenset[str] | None:
        """Return the methods that may be sent again, if they may have changed; else None."""

    # What the front wants

    def take(self, request: Request, now: float) -> list[Effect]:
        """Take a request that has left the line."""

    def advance(self, request: StreamRequest, now: float) -> list[Effect]:
        """Begin a stream, or go on with it; one that was given up ends."""

    def give_up(
        self, requests: Iterable[Request], now: float, *, is_asked: bool
    ) -> list[Effect]:
        """Learn that nobody waits for these requests. is_asked: their clients said so."""

    def leave(self, now: float) -> list[Effect]:
        """Give back what no worker has, and what need not be finished here."""

    def settled(self, outcomes: Iterable[Outcome], now: float) -> list[Effect]:
        """Have the front answer what has ended."""

    # Workers

    def place_of(self, incarnation: int) -> str:
        """Return where a worker is known to be; nothing if it is not known."""

    def hear(self, tell: Tell, now: float) -> list[Effect]:
        """Take news of a worker."""

    def receive(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Take a packet from a worker. Never raises for what it sent."""

    def unsent(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Learn that a packet to a worker did not leave; what it said is said again."""

    def tick(self, now: float) -> list[Effect]:
        """Do what is due."""

    def flush(self, now: float) -> list[Effect]:
        """Send what this turn gathered."""

    def deadline(self) -> float:
        """Return when `tick` is due next."""

    def close(self) -> list[Effect]:
        """Close every connection."""

    def check(self, running: Iterable[Request]) -> None:
        """Assert that all is consistent. running: the requests that left the line."""


MakeBack = Callable[[str, FrontCore], Back]
"""Makes the back of a service. Raises JournalError if it has a journal that cannot be had."""
