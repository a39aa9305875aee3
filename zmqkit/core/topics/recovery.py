"""What a subscriber gets from one history: on joining, and in place of gaps.

The history is that of a publisher, or that of a forwarder, which keeps the topics of many.

Theory of operation. A topic in which messages are lacking has a hole. Messages that come behind
a hole are held until it is closed. There is room for a number of them; those beyond it are
passed over, and lacking in turn. If nobody is left to ask for them, the hole is given up once
that room is full: what is passed over then would be missing as well.

The subscriber asks for what is lacking page by page: it has one question under way at a time,
and repeats it after RECOVER_S. It asks only when there is room for the answer where messages
wait to be read.

When the subscriber has joined, it first asks where the topics end. So it learns of topics that
are quiet, and of what it missed meanwhile. A topic that it does not know yet begins `history`
messages before. A topic that is new since the subscriber knew all of them begins with its first
message, if the subscriber recovers what it missed.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from zmqkit.core.topics.positions import Held, Hole, Position, Way
from zmqkit.history_limits import ENTRY_BYTES, PAGE_HISTORY_BYTES, PAGE_TOPICS, RECOVER_S
from zmqkit.limits import SubscriberLimits
from zmqkit.wire import history
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Malformed
from zmqkit.wire.history import Ask, BodiesIn, Heads, Key, Want
from zmqkit.wire.packet import Packet

Question = tuple[int, object]
"""The kind and the first value of a packet that asks."""


class Holding:
    """The messages that a subscriber holds, behind the holes of all its publishers."""

    def __init__(self, limits: SubscriberLimits) -> None:
        self.messages = 0
        self.size = 0
        self._messages_max = limits.held_messages_max
        self._bytes_max = limits.held_bytes_max

    def fits(self, messages: int, size: int) -> bool:
        """Whether there is room for so many messages and bytes more."""
        if self.messages + messages > self._messages_max:
            return False
        return not self.messages or self.size + size <= self._bytes_max


@dataclass(slots=True)
class Part:
    """Messages of one topic that a page brought."""

    hole: Hole
    sequence: int  # the number of the first message; without messages, of the first there is
    bodies: list[object]
    times: list[float]  # when each was published, in seconds since 1970
    size: int
    cleared: bool


class Recovery:
    """What is lacking that one publisher or forwarder may keep, and the question under way."""

    def __init__(self, keeper: Way, holding: Holding, *, history: int, recovers: bool) -> None:
        """keeper: who is asked. history: how many messages of each topic to get on joining.

        recovers: whether to get what a gap missed, too.
        """
        self.recovers = recovers
        self._keeper = keeper
        self.holding = holding
        self.refused = False  # there was no room for the last page
        self.joining = False  # it has yet to learn where the topics end
        self.ask_at = inf  # when to repeat the question
        self.give_up_at = inf  # when to wait no longer for a publisher that is out of reach
        self.lacking: dict[Hole, None] = {}  # to be asked for, in this order
        self.waiting: dict[Hole, None] = {}  # complete, but there is no room to read more
        self._history = history
        self._token = 0
        self._question: Question | None = None
        self._asked: dict[Key, Hole] = {}  # what the last question for messages was about
        self._after = 0
        # Of all topics with these beginnings it has known where they end.
        self.covered: tuple[bytes, ...] = ()
        self._covers: tuple[bytes, ...] = ()
        self._forgets = False

    @property
    def due_at(self) -> float:
        """When to look at it next."""
        return min(self.ask_at, self.give_up_at)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is lacking, held or under way."""
        return not (self.joining or self.lacking or self.waiting or self._question)

    @property
    def expects(self) -> bool:
        """Whether anything is to be asked for, as far as is known."""
        return self.joining or bool(self.lacking)

    def holes(self) -> list[Hole]:
        """Return all holes."""
        return [*self.lacking, *self.waiting]

    # Holes

    def place(self, position: Position, number: int) -> None:
        """Decide where a topic begins whose first known message has this number.

        What is not kept before it is not missing.
        """
        number = max(number, position.floor)
        if self.recovers and position.topic.startswith(self.covered):
            position.next = max(1, position.floor)
        else:
            position.next = max(1, number - self._history)
        if position.next < number:
            self.open(position, number, free=number)

    def open(self, position: Position, tail: int, *, free: int = 0) -> Hole:
        """Note that messages of a topic are lacking below the tail.

        free: messages below this number are not missing if they are not kept.
        """
        hole = position.hole = Hole(position, self._keeper, tail, free)
        (self.lacking if position.next < tail else self.waiting)[hole] = None
        return hole

    def settle(self, hole: Hole) -> None:
        """Put a hole where it belongs: to those to ask for, or to those that are complete."""
        if hole.lacks:
            self.lacking[hole] = None
            self.waiting.pop(hole, None)
        else:
            self.lacking.pop(hole, None)
            self.waiting[hole] = None

    def close(self, hole: Hole) -> None:
        """Note that nothing is lacking or held any more."""
        assert not hole.held
        hole.position.hole = None
        self.hand_over(hole)

    def hand_over(self, hole: Hole) -> None:
        """Ask no more for what somebody else is to be asked for."""
        self.lacking.pop(hole, None)
        self.waiting.pop(hole, None)

    def take_over(self, hole: Hole) -> None:
        """Ask for what somebody else was asked for."""
        hole.keeper = self._keeper
        self.settle(hole)

    def hold(self, hole: Hole, held: Held, *, taken: bool) -> None:
        """Hold messages behind a hole, or note that they were not taken and are lacking."""
        count = len(held.bodies)
        hole.tail = max(hole.tail, held.sequence + count)
        if taken:
            hole.held.append(held)
            self.holding.messages += count
            self.holding.size += held.size
        self.settle(hole)

    def split(self, hole: Hole, count: int) -> None:
        """Hold the first messages in two parts, the first of them of so many messages."""
        first = hole.held.popleft()
        size = first.size * count // len(first.bodies)
        bodies, times = first.bodies, first.times
        behind = first.sequence + count
        hole.held.appendleft(Held(behind, bodies[count:], times[count:], first.size - size))
        hole.held.appendleft(Held(first.sequence, bodies[:count], times[:count], size))

    def let_go(self, hole: Hole) -> Held:
        """Return the first messages that were held, which are held no longer."""
        held = hole.held.popleft()
        self.holding.messages -= len(held.bodies)
        self.holding.size -= held.size
        return held

    # Questions and answers

    def join(self, prefixes: tuple[bytes, ...]) -> None:
        """Note that all subscriptions are in place, so it can be asked where topics end."""
        self.joining, self._after, self._covers = True, 0, prefixes
        self.give_up_at = inf
        self.end_question()

    def keep(self, prefixes: frozenset[bytes]) -> None:
        """Note that only these prefixes are still subscribed to."""
        self.covered = tuple(prefix for prefix in self.covered if prefix in prefixes)
        self._covers = tuple(prefix for prefix in self._covers if prefix in prefixes)

    def forget(self) -> None:
        """Note that positions are forgotten, so a topic that is not known may be an old one."""
        self.covered, self._forgets = (), True

    def away(self, now: float, wait_s: float) -> None:
        """Note that the publisher is out of reach, so that no answer is to be expected."""
        self.end_question()
        self.joining = False
        if not self.is_idle:
            self.give_up_at = min(self.give_up_at, now + wait_s)

    def question(self, now: float, messages_max: int, bytes_max: int) -> Question | None:
        """Return what to ask now, or None: an answer is awaited, or there is nothing to ask.

        messages_max, bytes_max: how much there is room for; 0 if there is too little.
        """
        if self._question is not None or now < self.ask_at < inf:
            return None
        self.ask_at = inf
        if self.joining:
            meta = history.heads_ask_meta(self._token + 1, self._covers, self._after)
            return self._ask(wire.HEADS, meta, now)
        if not (self.lacking and messages_max):
            return None
        wants, room = list[Want](), PAGE_HISTORY_BYTES
        self._asked = {}
        for hole in self.lacking:
            publisher, name = hole.position.publisher, hole.position.name
            room -= len(name) + ENTRY_BYTES
            if len(wants) >= PAGE_TOPICS or room < 0:
                break
            self._asked[publisher, name] = hole
            wants.append(Want(publisher, name, hole.position.next, hole.end))
        bytes_max = min(bytes_max, PAGE_HISTORY_BYTES)
        ask = Ask(self._token + 1, messages_max, bytes_max, wants)
        return self._ask(wire.RECOVER, history.ask_meta(ask), now)

    def repeated(self, now: float) -> Question | None:
        """Return the question once more if it was not answered in time."""
        if self._question is None or now < self.ask_at:
            return None
        self.ask_at = now + RECOVER_S
        return self._question

    def rest(self, now: float) -> None:
        """Ask no more for a while, then for others first: the last answer brought nothing."""
        self.ask_at = now + RECOVER_S
        for hole in self._asked.values():
            if hole in self.lacking:
                self.lacking[hole] = self.lacking.pop(hole)

    def pause(self) -> None:
        """Ask nothing new until it is in reach and has all subscriptions in place."""
        if self._question is None:
            self.ask_at = inf

    def heads(self, packet: Packet) -> Heads | None:
        """Take the numbers of topics. Return None if this is no answer to the question.

        Raises Malformed for anything but a HEADS packet.
        """
        told = history.read_heads(packet)
        if not told.token:
            return told
        if not self._answers(wire.HEADS, told.token):
            return None
        self.end_question()
        self._after = told.after
        return told

    def learnt(self) -> None:
        """Note that the numbers of the last answer are noted; there may be no further ones."""
        if self.joining and not self._after and self._question is None:
            self.joining = False
            self.covered = () if self._forgets else self._covers

    def page(self, packet: Packet, bodies_in: BodiesIn) -> list[Part] | None:
        """Take a page of messages. Return None if this is no answer to the question.

        bodies_in: see `history.read_page`. Raises Malformed for anything but a HISTORY packet.
        """
        token, entries, bodies = history.read_page(packet, bodies_in)
        if not self._answers(wire.RECOVER, token):
            return None
        parts: list[Part] = []
        at = 0
        for entry in entries:
            count = entry.messages
            hole = self._asked.get((entry.publisher, entry.topic))
            if hole is None:
                raise Malformed("history")
            size = packet.size * count // max(1, len(bodies))
            theirs, times = bodies[at : at + count], history.times_of(entry)
            parts.append(Part(hole, entry.sequence, theirs, times, size, entry.cleared))
            at += count
        self.end_question()
        return parts

    def end_question(self) -> None:
        """Expect no answer any more."""
        self._question, self.ask_at = None, inf

    # Inside

    def _ask(self, kind: int, meta: object, now: float) -> Question:
        self._token += 1
        self._question = kind, meta
        self.ask_at = now + RECOVER_S
        return self._question

    def _answers(self, kind: int, token: int) -> bool:
        question = self._question
        return question is not None and question[0] == kind and token == self._token
