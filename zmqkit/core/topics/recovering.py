"""How a subscriber recovers: it asks for what is lacking, and delivers that before the rest.

`Recovery` holds what is lacking that one publisher or forwarder may keep. This module knows all
that are asked for anything, and moves messages from there to where they wait to be read. When
one of them is out of reach, another that has a history is asked in its place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from math import inf
from typing import Protocol

from zmqkit.core.dispatch.connections import State
from zmqkit.core.effects import Effect, Send
from zmqkit.core.topics.origins import Origins
from zmqkit.core.topics.positions import Held, Hole, Position
from zmqkit.core.topics.recovery import Holding, Part, Recovery
from zmqkit.core.topics.source import Source
from zmqkit.history_limits import RETURN_S
from zmqkit.wire.encoding import Malformed
from zmqkit.wire.history import BodiesIn
from zmqkit.wire.packet import Packet
from zmqkit.wire.publication import bodies_in


class Put(Protocol):
    """Puts the next messages of a topic where they wait to be read."""

    def __call__(
        self,
        source: Source,
        position: Position,
        bodies: list[object],
        times: list[float],
        size: int,
        *,
        cleared: bool = False,
        recovered: bool = False,
    ) -> None:
        """Put messages whose first number is the position's next one.

        times: when each was published, in seconds since 1970.
        """


class Room(Protocol):
    """Where messages wait to be read."""

    messages: int

    def fits(self, messages: int, size: int) -> bool:
        """Whether so many messages and bytes more would drop nothing."""

    def spare(self) -> tuple[int, int]:
        """Return how many messages and bytes to ask for; 0 while it is more than half full."""


class Rooms(Protocol):
    """Where the messages of all publishers wait to be read."""

    def of(self, source: Source) -> Room:
        """Return where those of a publisher wait."""

    def at(self, position: Position, source: Source) -> Room:
        """Return where a topic's next messages wait, which a source brings."""


class Keepers(Protocol):
    """Those who may keep what is lacking."""

    holding: Holding
    origins: Origins

    @property
    def all(self) -> list[Source]:
        """The publishers and forwarders in use, reachable or not."""

    def wants(self, topic: bytes) -> bool:
        """Whether a topic is subscribed to."""

    def recoverer(self, source: Source, position: Position) -> Source | None:
        """Return who is asked for what a topic lacks, or None if nobody keeps it."""

    def keeper(self, source: Source, position: Position) -> Source | None:
        """Return who is to be asked from now on for what a topic lacks, or None."""

    def say(self, source: Source, kind: int, meta: object) -> Send:
        """Return the sending of a packet."""


class Recovering:
    """The publishers and forwarders that are asked for what a subscriber lacks."""

    def __init__(
        self,
        sources: Keepers,
        counts: Counter[str],
        *,
        inboxes: Rooms,
        put: Put,
        miss: Callable[[Position, int], None],
        bodies_in: BodiesIn = bodies_in,
    ) -> None:
        """inboxes: where messages wait. miss: counts a gap. bodies_in: reads their bodies."""
        self.due_at = inf
        self.holding: Holding = sources.holding
        self._sources = sources
        self._counts = counts
        self._inboxes = inboxes
        self._put = put
        self._miss = miss
        self._bodies_in = bodies_in
        self._busy: dict[Source, None] = {}
        self._blocked = False  # something waits until there is room to read

    # What comes

    def hold(
        self, source: Source, recovery: Recovery, hole: Hole, held: Held, now: float
    ) -> list[Effect]:
        """Hold messages that came behind a hole, if there is room for them.

        Without room they are passed over, to be recovered in turn. If nobody is left to ask,
        the hole is given up instead, and they are delivered.
        """
        fits = self.holding.fits(len(held.bodies), held.size)
        gives_up = not fits and not self._may_come(source, hole.position)
        if fits or gives_up:
            self._counts["received"] += len(held.bodies)
        recovery.hold(hole, held, taken=fits or gives_up)
        if gives_up:
            self._counts["abandoned"] += 1
            self._give_up(source, recovery, hole)
        else:
            self._release(source, recovery, hole)
        return self.go_on(source, now)

    def heads(self, source: Source, packet: Packet, now: float) -> list[Effect]:
        """Take the numbers that the next messages of topics will have.

        Whoever has not all subscriptions yet is asked for the numbers once it has. What it says
        unasked before that may be older than the subscription.
        """
        recovery = source.recovery
        told = recovery.heads(packet) if recovery is not None else None
        if recovery is None or told is None:
            return []
        if not source.forwards and any(each != source.publisher for each, _ in told.next):
            raise Malformed("heads")  # it speaks for nobody else
        if not told.token and not (recovery.recovers and source.state is State.UP):
            return []
        asked = {source: None}
        for (publisher, name), number in told.next.items():
            topic = name.encode()
            if self._sources.wants(topic):
                position = self._sources.origins.position(publisher, topic, source)
                keeper = self._sources.recoverer(source, position) or source
                self._ends(keeper, position, number)
                asked[keeper] = None
        if told.token:
            recovery.learnt()
        return [effect for each in asked for effect in self.go_on(each, now)]

    def ends(self, source: Source, position: Position, number: int) -> bool:
        """Note the number behind a topic's last message; return whether that is recovered."""
        recovery = source.recovery
        if recovery is None or not (recovery.recovers or position.hole is not None):
            return False
        self._ends(source, position, number)
        return True

    def page(self, source: Source, packet: Packet, now: float) -> list[Effect]:
        """Take messages that were asked for, unless there is no room left for them."""
        recovery = source.recovery
        if recovery is None:
            return []
        try:
            parts = recovery.page(packet, self._bodies_in)
        except Malformed:
            self._wait_for(recovery, now)
            raise
        if parts is None:
            return []
        messages = sum(len(part.bodies) for part in parts)
        inboxes = {self._inboxes.at(part.hole.position, source): None for part in parts}
        recovery.refused = not all(each.fits(messages, packet.size) for each in inboxes)
        if recovery.refused:
            if not self._inboxes.of(source).messages:
                recovery.rest(now)  # there is no room where messages came another way
        else:
            moved = [self._fill(source, part) for part in parts]
            for hole in {part.hole: None for part in parts}:
                # Not before all of the page is put: what is held would take its room.
                if hole.position.hole is hole and hole.keeper is source:
                    self._release(source, recovery, hole)
            if any(moved):
                recovery.give_up_at = inf
            else:  # a forwarder may get it later
                recovery.rest(now)
                self._wait_for(recovery, now)
        return self.go_on(source, now)

    # What follows

    def go_on(self, source: Source, now: float) -> list[Effect]:
        """Ask a publisher for what is lacking, if there is room for it."""
        recovery = source.recovery
        if recovery is None:
            return []
        effects: list[Effect] = []
        if source.state is State.UP:
            inbox = self._inboxes.of(source)
            messages_max, bytes_max = inbox.spare()
            if recovery.refused and inbox.messages:
                messages_max = 0  # the page that comes may be too large for what is free
            question = recovery.question(now, messages_max, bytes_max)
            if question is not None:
                effects.append(self._sources.say(source, *question))
            self._blocked |= bool(recovery.lacking) and not messages_max
        elif not recovery.is_idle:
            recovery.pause()
            self._wait_for(recovery, now)
        self._blocked |= bool(recovery.waiting)
        if recovery.is_idle:
            recovery.give_up_at = inf  # what is lacking later has a time of its own
            self._busy.pop(source, None)
        else:
            self._busy[source] = None
            self.due_at = min(self.due_at, recovery.due_at)
        return effects

    def read(self, inbox: Room) -> None:
        """Note that something was read; what waited for room goes on with the next tick."""
        if self._blocked and inbox.spare()[0]:
            self.due_at = -inf

    def tick(self, now: float) -> list[Effect]:
        """Repeat questions that were not answered, and go on where there is room."""
        if now < self.due_at:
            return []
        self.due_at, self._blocked = inf, False
        effects: list[Effect] = []
        for source in list(self._busy):
            recovery = source.recovery
            if recovery is None:
                del self._busy[source]
                continue
            if now >= recovery.give_up_at:
                self.abandon(source)
            for hole in list(recovery.waiting):
                self._release(source, recovery, hole)
            question = recovery.repeated(now)
            if question is not None and source.state is State.UP:
                effects.append(self._sources.say(source, *question))
            effects += self.go_on(source, now)
        return effects

    def away(self, source: Source, now: float) -> None:
        """Note that a publisher is out of reach; what is held waits for it, for RETURN_S."""
        recovery = source.recovery
        if recovery is not None:
            recovery.away(now, RETURN_S)
            self.due_at = min(self.due_at, recovery.due_at)

    def rehome(self, now: float) -> list[Effect]:
        """Ask others for what was asked of those that are out of reach, if they may keep it."""
        asked: dict[Source, None] = {}
        for source in [each for each in self._busy if not each.is_open]:
            recovery = source.recovery
            for hole in recovery.holes() if recovery is not None else []:
                keeper = self._sources.keeper(source, hole.position)
                if keeper is not None and keeper is not source:
                    assert recovery is not None and keeper.recovery is not None
                    recovery.hand_over(hole)
                    keeper.recovery.take_over(hole)
                    asked[keeper] = asked[source] = None
        return [effect for each in asked for effect in self.go_on(each, now)]

    def abandon(self, source: Source) -> None:
        """Ask one publisher for nothing any more: what is lacking is missing."""
        recovery = source.recovery
        if recovery is not None:
            recovery.give_up_at = inf
            recovery.end_question()
            for hole in recovery.holes():
                self._counts["abandoned"] += 1
                self._give_up(source, recovery, hole)

    def unwanted(self) -> None:
        """Lack nothing of topics that are not subscribed to; deliver what came of them."""
        for source in self._busy:
            recovery = source.recovery
            for hole in recovery.holes() if recovery is not None else []:
                if recovery is not None and not self._sources.wants(hole.position.topic):
                    hole.free = max(hole.tail, hole.known)  # what is not wanted is not missing
                    self._give_up(source, recovery, hole)

    def clear(self) -> None:
        """Forget everything."""
        self._busy.clear()
        self.holding.messages = self.holding.size = 0
        self.due_at = inf

    def check(self) -> None:
        """Assert that what is held is counted, and that every hole is looked after."""
        held = [
            each
            for source in self._busy
            if source.recovery is not None
            for hole in source.recovery.holes()
            for each in hole.held
        ]
        assert self.holding.messages == sum(len(each.bodies) for each in held)
        assert all(len(each.times) == len(each.bodies) for each in held)
        assert self.holding.size == sum(each.size for each in held)
        for source, recovery in [(each, each.recovery) for each in self._busy]:
            for hole in recovery.holes() if recovery is not None else []:
                assert hole.keeper is source
                assert recovery is not None and hole.position.hole is hole
                assert hole.lacks == (hole in recovery.lacking)
                assert hole.held or hole.lacks

    # Inside

    def _wait_for(self, recovery: Recovery, now: float) -> None:
        """Give up what is lacking unless something comes in time."""
        recovery.give_up_at = min(recovery.give_up_at, now + RETURN_S)
        self.due_at = min(self.due_at, recovery.due_at)

    def _may_come(self, source: Source, position: Position) -> bool:
        """Whether what a topic lacks may still be recovered.

        Who is gone is not expected back, but another that has yet to answer may keep it.
        """
        return source.state is not State.OVER or any(
            each.state is State.OPENING
            and (each.is_device or each.publisher == position.publisher)
            for each in self._sources.all
        )

    def _ends(self, keeper: Source, position: Position, number: int) -> None:
        recovery = keeper.recovery
        assert recovery is not None
        if not position.next:
            recovery.place(position, number)
        elif (hole := position.hole) is not None:
            hole.tail = max(hole.tail, number)
            recovery.settle(hole)
        elif number > position.next and recovery.recovers:
            recovery.open(position, number, free=number if position.begins else 0)
        # These numbers are told once all subscriptions are in place.
        position.fresh = position.anew = False

    def _fill(self, source: Source, part: Part) -> bool:
        """Deliver messages of one topic that were lacking; return whether any were."""
        hole, position = part.hole, part.hole.position
        if position.hole is not hole or not hole.lacks or hole.keeper is not source:
            return False  # it was given up meanwhile, or another is asked
        before, end = position.next, hole.end
        if part.sequence > position.next:
            self._skip(source, hole, min(part.sequence, end))
        skipped = position.next - part.sequence
        lacked = slice(skipped, end - part.sequence) if skipped >= 0 else slice(0)
        bodies, times = part.bodies[lacked], part.times[lacked]
        if bodies:
            self._counts["received"] += len(bodies)
            self._counts["recovered"] += len(bodies)
            size, cleared = part.size, part.cleared
            self._put(source, position, bodies, times, size, cleared=cleared, recovered=True)
        return position.next > before

    def _release(self, source: Source, recovery: Recovery, hole: Hole) -> None:
        """Deliver what is held behind nothing that is lacking, as far as there is room."""
        inbox = self._inboxes.at(hole.position, source)
        while hole.held and not hole.lacks:
            first = hole.held[0]
            if not inbox.fits(len(first.bodies), first.size):
                if inbox.messages:
                    break
                recovery.split(hole, inbox.spare()[0])  # more than there will ever be room for
            self._deliver(source, recovery, hole)
        if hole.held or hole.lacks:
            recovery.settle(hole)
        else:
            recovery.close(hole)

    def _give_up(self, source: Source, recovery: Recovery, hole: Hole) -> None:
        """Count as missing what is lacking, and deliver what was held."""
        while hole.held:
            self._skip(source, hole, hole.end)
            self._deliver(source, recovery, hole)
        self._skip(source, hole, hole.tail)
        recovery.close(hole)

    def _deliver(self, source: Source, recovery: Recovery, hole: Hole) -> None:
        held = recovery.let_go(hole)
        bodies, times, size = held.bodies, held.times, held.size
        self._put(source, hole.position, bodies, times, size, cleared=held.cleared)

    def _skip(self, source: Source, hole: Hole, number: int) -> None:
        """Pass over messages below a number, which are missing unless that does not count."""
        position = hole.position
        missing = number - max(position.next, hole.free)
        if missing > 0:
            self._miss(position, missing)
        position.next = max(position.next, number)
