"""Which histories a subscriber makes use of: those of publishers, and that of a forwarder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from zmqkit.core.topics.origins import Origins
from zmqkit.core.topics.positions import Position
from zmqkit.core.topics.recovery import Holding, Recovery
from zmqkit.core.topics.source import Source
from zmqkit.forwarder_limits import WAY_S


@dataclass(slots=True)
class Shared:
    """What several `Sources` have in common: how far publishers are, and what is held."""

    origins: Origins
    holding: Holding


class Histories:
    """Who is asked for what was published before, and for what is lacking."""

    def __init__(
        self,
        holding: Holding,
        find: Callable[[int], Source | None],
        *,
        history: int,
        recovers: bool,
    ) -> None:
        """find: returns the publisher in use of an incarnation. The others: see `Recovery`."""
        # Whether anybody is asked for anything.
        self.asks = bool(history or recovers)
        self._holding = holding
        self._find = find
        self._history = history
        self._recovers = recovers
        # The forwarder with a history that is in use.
        self._forwarder: Source | None = None
        # When publishers that are found by then will have answered.
        self.met_at = inf

    def use(self, source: Source) -> None:
        """Make use of the history of a publisher or forwarder, if that is wanted."""
        if not self.asks:
            return
        if source.recovery is None:
            source.recovery = Recovery(
                source, self._holding, history=self._history, recovers=self._recovers
            )
        if source.forwards:
            self._forwarder = source

    def meet(self, now: float) -> None:
        """Note that somebody was found."""
        self.met_at = min(self.met_at, now + WAY_S)

    def are_hidden_by(self, source: Source, now: float) -> bool:
        """Whether messages by a source would come ahead of what publishers keep.

        That is so of a forwarder without a history, as long as publishers have yet to answer.
        """
        keeps = source.recovery is not None
        return self.asks and source.is_device and not keeps and now < self.met_at

    def recoverer(self, source: Source, position: Position) -> Source | None:
        """Return who is asked for what a topic lacks, or None if nobody keeps it.

        source: by which its messages come.
        """
        if not self.asks:
            return None
        if position.hole is None:
            return self.keeper(source, position)
        keeper = position.hole.keeper
        assert isinstance(keeper, Source)
        return keeper

    def keeper(self, source: Source, position: Position) -> Source | None:
        """Return who is to be asked from now on for what a topic lacks, or None.

        That is the publisher itself, or a forwarder with a history while the publisher is out
        of reach or keeps nothing. source: by which its messages come, or who was asked before;
        if nobody is in reach, it may return.
        """
        origin, forwarder = self._find(position.publisher), self._forwarder
        if origin is not None and origin.recovery is not None and origin.is_open:
            return origin
        if forwarder is not None and forwarder.recovery is not None and forwarder.is_open:
            return forwarder
        keeps = source.recovery is not None and (source is origin or source.forwards)
        return source if keeps else None

    def are_in(self, forwarder: Source) -> bool:
        """Whether a forwarder keeps what publishers would have to be asked for, if anything.

        That is unknown until it has answered.
        """
        return not self.asks or forwarder.waits is None or forwarder.recovery is not None

    def forgot(self, origin: Source | None) -> None:
        """Have those that keep a publisher's topics know that some were forgotten here."""
        for source in (origin, self._forwarder):
            if source is not None and source.recovery is not None:
                source.recovery.forget()
