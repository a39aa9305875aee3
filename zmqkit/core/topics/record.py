"""What a forwarder with a history keeps of the messages that pass it.

Theory of operation. The forwarder passes each packet on at once, whatever is lacking before it.
The record keeps messages in order. Towards publishers it is a subscriber that recovers: it asks
those with a history for what it missed, and for what they kept before it came. What passes
meanwhile is held, and kept once the gap before it is closed. So a subscriber that asks for a
number which the record has not reached is told that it has not come yet. So it is for RETURN_S
after the first question of a topic that is not known: publishers may still be found that have
it. What cannot be recovered is passed over.

Bodies stay encoded, and most are kept as part of the frame that they came in. Compressed
packets are unpacked once, as they come: their header does not say how many messages they have,
and each page would have to unpack them again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from math import inf

from zmqkit.core.effects import Effect
from zmqkit.core.topics.backs import Backs
from zmqkit.core.topics.heads import Heads, page_of
from zmqkit.core.topics.history import Archive, Page
from zmqkit.core.topics.origins import Origins
from zmqkit.core.topics.positions import Held, Position
from zmqkit.core.topics.recovering import Recovering
from zmqkit.core.topics.source import Source
from zmqkit.forwarder_limits import ForwarderHistory
from zmqkit.history_limits import RETURN_S
from zmqkit.limits import TOPICS_MAX
from zmqkit.model import Frames
from zmqkit.wire import history, publication
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import split
from zmqkit.wire.packet import Packet
from zmqkit.wire.publication import Head, Messages

_NIL = b"\xc0"


class _Roomy:
    """Where messages are put that are kept: the archive makes room by itself."""

    messages = 0

    def of(self, source: Source) -> _Roomy:
        """Return the room for a publisher's messages."""
        return self

    def at(self, position: Position, source: Source) -> _Roomy:
        """Return the room for a topic's messages."""
        return self

    def fits(self, messages: int, size: int) -> bool:
        """Return that there is room."""
        return True

    def spare(self) -> tuple[int, int]:
        """Return how many messages and bytes to ask for."""
        return wire.SEQUENCE_MAX, wire.SEQUENCE_MAX


class Record:
    """The messages of all publishers that a forwarder keeps, and what it lacks of them."""

    def __init__(self, limits: ForwarderHistory) -> None:
        self.counts: Counter[str] = Counter()
        # How far each publisher is; for the connections to them, too.
        self.origins = Origins(TOPICS_MAX, limits.publishers_max, self._forgot, keeps=True)
        self._archive: Archive[Position] = Archive(limits, self._dropped)
        self._heads: Heads[Position] = Heads()
        # The topics of which something is kept, in the order of their places.
        self._places: dict[Position, int] = {}
        self._place = 0
        self._now = -inf
        # Until then publishers may come with what it never heard of.
        self._young_until = inf

    def begin(self, backs: Backs) -> None:
        """Recover from these publishers what is lacking."""
        self._backs = backs
        self.recovering = Recovering(
            backs,
            self.counts,
            inboxes=_Roomy(),
            put=self._put,
            miss=self._miss,
            bodies_in=publication.encoded_bodies,
        )

    # What passes

    def take(self, source: Source, frames: Frames, head: Head, now: float) -> list[Effect]:
        """Keep the messages of a packet, or hold them behind those that are lacking.

        head: what `head_of` says of the packet. Raises Malformed for one that cannot be read.
        """
        end, publisher, sequence, _ = head
        messages = publication.messages_of(frames, end)
        topic = bytes(frames[0][:end])
        position = self.origins.find(publisher, topic)
        if position is None:
            position = self.origins.position(publisher, topic, source)
        self._now = now
        if position.next != sequence or position.hole is not None:
            return self._out_of_order(source, position, sequence, messages, now)
        self._keep(position, messages, now)
        return []

    def bye(self, source: Source, packet: Packet, now: float) -> list[Effect]:
        """Note where the topics of a publisher end that says BYE."""
        asked = {source: None}
        for name, number in publication.ends_of(packet).items():
            position = self.origins.find(packet.source, name.encode())
            if position is not None and position.next < number:
                keeper = self._backs.recoverer(source, position)
                if keeper is not None:
                    self.recovering.ends(keeper, position, number)
                    asked[keeper] = None
        self.origins.end(packet.source)
        return [effect for each in asked for effect in self.recovering.go_on(each, now)]

    def welcomed(self, source: Source, now: float) -> list[Effect]:
        """Ask a publisher that has answered for what is lacking."""
        return self.recovering.rehome(now) + self.recovering.go_on(source, now)

    def answered(self, source: Source, packet: Packet, now: float) -> list[Effect]:
        """Take HEADS or HISTORY of a publisher that was asked."""
        self._now = now
        if packet.kind == wire.HISTORY:
            return self.recovering.page(source, packet, now)
        return self.recovering.heads(source, packet, now)

    def tick(self, now: float) -> list[Effect]:
        """Repeat questions that were not answered, and give up what does not come."""
        self._now = now
        return self.recovering.tick(now)

    # What subscribers ask for

    def __len__(self) -> int:
        """Return how many messages are kept."""
        return len(self._archive)

    @property
    def size(self) -> int:
        """How many bytes the kept messages take."""
        return self._archive.size

    @property
    def due_at(self) -> float:
        """When `quiet` has something to return next."""
        return self._heads.due_at

    def page(self, ask: history.Ask, now: float) -> Page:
        """Return the page that a subscriber asks for."""
        if self._young_until == inf:
            self._young_until = now + RETURN_S
        unknown = 1 if now < self._young_until else wire.SEQUENCE_MAX
        wants = [self._found(want, unknown) for want in ask.wants]
        return self._archive.page(wants, ask.messages_max, ask.bytes_max, now)

    def heads(self, question: history.HeadsAsk) -> history.Heads:
        """Return the numbers of wanted topics, as many as fit into a page."""
        behind = self._behind(question.after)
        return page_of(question, ((p.publisher, p.name, p.next, at) for p, at in behind))

    def quiet(self, now: float) -> dict[history.Key, int]:
        """Return the numbers of topics that have fallen quiet and are to be repeated now."""
        told = self._heads.due(now, lambda each: each.next if each in self._places else 0)
        return {(each.publisher, each.name): number for each, number in told.items()}

    def check(self) -> None:
        """Assert that the tables agree."""
        self._archive.check()
        assert self._archive.topics() == self._places.keys()

    # Inside

    def _out_of_order(
        self, source: Source, position: Position, sequence: int, messages: Messages, now: float
    ) -> list[Effect]:
        """Keep or hold messages that are not the next ones of their topic; drop old ones."""
        keeper = self._backs.recoverer(source, position)
        recovery = keeper.recovery if keeper is not None else None
        if not position.next:
            if recovery is None:
                position.next = sequence
            else:
                recovery.place(position, sequence)
        hole = position.hole
        known = position.next if hole is None else hole.known
        behind = sequence + messages.messages
        if behind <= known:
            return []
        begin = max(sequence, known)
        if hole is None and begin > known and recovery is not None:
            hole = recovery.open(position, begin)
        if hole is None and begin == sequence:
            position.next = sequence
            self._keep(position, messages, now)
            return []
        bodies = _bodies_of(messages)[begin - sequence :]
        times = [publication.seconds_of(messages.wall_us)] * len(bodies)
        if hole is None:
            self._put(source, position, bodies, times, 0, cleared=messages.cleared)
            return []
        assert keeper is not None and recovery is not None
        size = sum(len(body) for body in bodies if isinstance(body, bytes | memoryview))
        held = Held(begin, bodies, times, size, messages.cleared)
        return self.recovering.hold(keeper, recovery, hole, held, now)

    def _keep(self, position: Position, messages: Messages, now: float) -> None:
        """Keep the next messages of a topic."""
        sequence, wall_us = position.next, messages.wall_us
        if messages.cleared:
            self._archive.clear(position, sequence, now, wall_us)
        else:
            rows, raw, count = (messages.rows,), messages.raw, messages.messages
            self._archive.keep(position, sequence, count, rows, now, wall_us, raw, sound=False)
        self._went_on(position, messages.messages)

    def _put(
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
        """Keep the next messages of a topic, whose bodies are encoded one by one.

        Those of one time are kept as one packet.
        """
        archive, sequence, now = self._archive, position.next, self._now
        rows = [body for body in bodies if type(body) is bytes]
        if cleared:
            archive.clear(position, sequence, now, publication.wall_us_of(times[0]))
        elif rows:
            at = 0
            for time, same in groupby(times):
                count, wall_us = len([*same]), publication.wall_us_of(time)
                part = rows[at : at + count]
                archive.keep(position, sequence + at, count, part, now, wall_us)
                at += count
        else:
            [raw], [time] = bodies, times
            assert isinstance(raw, memoryview | bytes)
            archive.keep(position, sequence, 1, (), now, publication.wall_us_of(time), raw)
        self._went_on(position, len(bodies))

    def _went_on(self, position: Position, count: int) -> None:
        position.next += count
        if position not in self._places and position in self._archive.topics():
            self._place += 1
            self._places[position] = self._place
        self._heads.changed(position, position.next, self._now)

    def _miss(self, position: Position, missing: int) -> None:
        self.counts["missing"] += missing

    def _dropped(self, position: Position) -> None:
        """Note that nothing is kept of a topic any more."""
        self._places.pop(position, None)

    def _forgot(self, publisher: int, positions: Iterable[Position]) -> None:
        """Keep nothing of topics that are forgotten for want of room."""
        for position in positions:
            self._archive.forget(position)
        self._backs.forgot(publisher)

    def _found(
        self, want: history.Want, unknown: int
    ) -> tuple[Position | None, history.Want, int]:
        """Return where a wanted topic is, and below which number nothing more will come.

        unknown: that number for a topic of which nothing was heard.
        """
        position = self.origins.find(want.publisher, want.topic.encode())
        if position is None:
            return None, want, unknown
        if position in self._places or position.hole is not None:
            return position, want, position.next
        return None, want, want.end

    def _behind(self, place: int) -> Iterator[tuple[Position, int]]:
        """Yield the topics behind a place, with theirs."""
        skipped = max(0, place - (self._place - len(self._places)))
        for position, at in islice(self._places.items(), skipped, None):
            if at > place:
                yield position, at


def _bodies_of(messages: Messages) -> list[object]:
    """Return the bodies of messages, each encoded unless it is raw. Raise Malformed."""
    if messages.cleared:
        return [_NIL]
    if messages.raw is not None:
        return [messages.raw]
    return [*split(messages.rows, messages.messages)]
