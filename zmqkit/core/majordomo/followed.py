"""What the journal of a service answers, as commands of the broker."""

from __future__ import annotations

from zmqkit.core.effects import Effect
from zmqkit.core.majordomo.broker import BrokerCore
from zmqkit.core.majordomo.durable_back import DurableBack
from zmqkit.core.tasks.ready import Paged
from zmqkit.errors import JournalError


class FollowedBack:
    """The back of a service, which hears what its journal answers."""

    def __init__(self, core: BrokerCore, name: str, back: DurableBack) -> None:
        self._core = core
        self._name = name
        self._back = back

    def appended(self, number: int, size: int, now: float) -> list[Effect]:
        """Learn that an append is on disk, and how many bytes the journal has now."""
        return self._core.follow(self._name, self._back.appended(number, size, now), now)

    def unwritten(self, number: int, error: JournalError, now: float) -> list[Effect]:
        """Learn that an append failed, and changed nothing on disk."""
        return self._core.follow(self._name, self._back.unwritten(number, error, now), now)

    def paged(self, page: Paged, now: float) -> list[Effect]:
        """Learn what a page of the journal has."""
        return self._core.follow(self._name, self._back.paged(page, now), now)

    def unpaged(self, error: JournalError, now: float) -> list[Effect]:
        """Learn that a page cannot be read."""
        return self._core.follow(self._name, self._back.unpaged(error, now), now)
