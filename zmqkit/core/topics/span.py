"""The connection between the two ends of a bridge, as one of them sees it.

Theory of operation. One end dials and says HELLO; the other answers WELCOME. From then on both
are equal: each numbers the packets that it has for the other, keeps them until the other has
passed them on, and sends a BEAT (a CREDIT packet) when that has changed, and each READY_S. An
end that hears nothing for MISSING_S thinks of a cut: the one that dials makes its connection
anew, and the one that listens waits. With the next greeting each tells which number it expects,
and the other sends on from there. What went to an end that was killed is sent to its successor.
So a packet is passed on at least once, and once only as long as neither end dies.

    waiting   not sent yet, without a number. The oldest make room when there are too many
    sent      numbered, and kept until the other end has passed it on
    arrived   came in order; the owner passes it on and says so in `pass_on`

What the other end does not let in, or hears itself, is left out when it would be sent.

An end that leaves says so with a BEAT, and passes on no more than it has by then; nothing is
sent to it any more, but kept for its successor. An end that leaves, too, waits for none.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from math import inf
from types import MappingProxyType

from zmqkit.bridge_limits import BridgeLimits
from zmqkit.core.effects import Connect, Disconnect, Effect, Note, Send
from zmqkit.core.topics.passage import Item, item_of
from zmqkit.limits import BATCH_BYTES, CREDIT, LEAVE_S, PACKET_BYTES_MAX, READY_COUNT, READY_S
from zmqkit.model import Frames, PeerId, Reach, Url, space_shown
from zmqkit.wire import carriage
from zmqkit.wire import packet as wire
from zmqkit.wire.carriage import Beat, Greeting
from zmqkit.wire.encoding import Malformed
from zmqkit.wire.packet import Packet

AT_SPAN = b"~"
"""How the names of all connections to other ends of bridges begin."""
DIALLED: PeerId = AT_SPAN + b"far"
_NOTHING: Mapping[str, object] = MappingProxyType({})
MISSING_S = READY_COUNT * READY_S
_FRAME_BYTES_MAX = PACKET_BYTES_MAX - (1 << 10)


class Span:
    """What one end of a bridge has for the other end, and has of it."""

    def __init__(
        self,
        name: str,
        incarnation: int,
        takes: tuple[bytes, ...],
        limits: BridgeLimits,
        url: Url | None,
        comes_round: Callable[[Item], str],
        about: Mapping[str, object] = _NOTHING,
    ) -> None:
        """takes: the beginnings of topics that are let in. url: where to dial, or None to
        listen. comes_round: returns why an item is not to be sent now, or nothing. about: what
        the bridge says of its place, its space among that.
        """
        self.incarnation = incarnation
        self.dropped: Counter[str] = Counter()
        self.malformed: Counter[str] = Counter()
        self.far = 0  # the other end; 0 for none yet
        self.up = False
        self.cut_at = -inf  # since when it is not up
        self.leaving = self._far_leaves = False
        self.far_direct: frozenset[int] = frozenset()
        self.direct: list[int] = []  # what this end hears directly; its owner sets it
        self.put_count = self.ended_count = 0
        self.arrived: deque[Item] = deque()
        self._name = name
        self._takes = takes
        self._limits = limits
        self._url = url
        self._comes_round = comes_round
        self._about = about
        self._is_far = url is not None and url.reach > Reach.LOCAL
        self._peer: PeerId | None = DIALLED if url is not None else None
        self._token = 0
        self._far_takes: tuple[bytes, ...] = ()
        # To the other end.
        self._waiting: deque[Item] = deque()
        self._waiting_bytes = 0
        self._sent: dict[int, Item] = {}
        self._sent_bytes = 0
        self.top = 1  # the number of the next item that gets one
        self._cursor = 1  # of the next item to be sent on this connection
        self._stuck = False  # there was no room; until the other end says something
        self._flights: deque[int] = deque()  # what follows each packet that is under way
        # From the other end.
        self._next = self._passed = 0
        self._old = 0  # items of another end before, which are not passed on yet
        self._kept: deque[int] = deque()  # bytes of each item that is not passed on yet
        self._kept_bytes = 0
        self._had_no_room = False  # an item was not taken for it
        self._again = False
        self._asked = 0  # the number from which the other end was asked to send on
        self._told: tuple[object, ...] = ()
        # Time
        self._heard_at = -inf
        self._say_at = inf
        self._refused = ""

    @property
    def count(self) -> int:
        """How many items the other end has not passed on."""
        return len(self._waiting) + len(self._sent)

    @property
    def size(self) -> int:
        """How many bytes these take."""
        return self._waiting_bytes + self._sent_bytes

    def since(self, number: int) -> list[Item]:
        """Return the items that got numbers from this one on and are not passed on yet."""
        return [self._sent[each] for each in range(number, self.top) if each in self._sent]

    # Commands

    def begin(self, now: float) -> list[Effect]:
        """Dial, if this end does."""
        return self._dial(now) if self._url is not None else []

    def put(self, item: Item) -> None:
        """Keep an item for the other end; the oldest that were not sent make room for it."""
        self.put_count += 1
        if len(item.frames[0]) > _FRAME_BYTES_MAX:
            self._end("too-large")
            return
        self._waiting.append(item)
        self._waiting_bytes += item.size
        while self.size > self._limits.held_bytes_max and self._waiting:
            self._forget_first("full")

    def pass_on(self, count: int) -> None:
        """Note that `count` more items that arrived were passed on."""
        old = min(count, self._old)
        self._old -= old
        self._passed += count - old
        for _ in range(count):
            self._kept_bytes -= self._kept.popleft()

    @property
    def is_over(self) -> bool:
        """Whether both ends leave or have left, so that nothing is passed on any more."""
        return self.leaving and self._far_leaves

    def leave(self) -> None:
        """Have the other end hear, with the next word, that this one leaves."""
        self.leaving = True

    def close(self) -> list[Effect]:
        """Drop all that the other end has not passed on, and say BYE to it."""
        effects: list[Effect] = []
        if self._peer is not None and self.up:
            bye = wire.pack(wire.BYE, self.incarnation, self.far, 0, b"")
            effects.append(Send(self._peer, bye))
        self.up, self._say_at = False, inf
        self.dropped["closed"] += self.count
        self.ended_count += self.count
        self._waiting.clear()
        self._sent.clear()
        self._waiting_bytes = self._sent_bytes = 0
        if self._url is not None:
            effects.append(Disconnect(DIALLED, LEAVE_S))
        return effects

    # What the driver asks for

    def receive(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Take a packet of another end. Never raises for what it sent."""
        try:
            packet = wire.unpack(frames)
            if packet.kind == wire.HELLO and self._url is None:
                return self._hello(peer, packet, now)
            if packet.target not in (0, self.incarnation):
                return self._ask_for_hello(peer, packet)  # it means the one before
            if packet.kind == wire.WELCOME and self._url is not None:
                return self._welcome(packet, now)
            if packet.kind == wire.BYE and peer == self._peer:
                return self._bye(packet, now)
            if not self.up or peer != self._peer or packet.source != self.far:
                return self._ask_for_hello(peer, packet)
            self._heard_at = now
            if packet.kind == wire.PUBLISH:
                self._carried(packet)
            elif packet.kind == wire.CREDIT:
                self._beat(packet)
            else:
                raise Malformed("unexpected")
        except Malformed as error:
            self.malformed[str(error)] += 1
        return []

    def unsent(self, frames: Frames) -> None:
        """Note that a packet did not leave. Items are sent again from there, a moment later."""
        packet = wire.unpack(frames)
        if packet.kind == wire.PUBLISH and packet.settled < self._cursor:
            self._cursor, self._stuck = packet.settled, True
            while self._flights and self._flights[-1] > self._cursor:
                self._flights.pop()

    def tick(self, now: float) -> list[Effect]:
        """Say that this end is there, and notice that the other one is silent."""
        if now < self._say_at:
            return []
        if self.up and now >= self._heard_at + MISSING_S:
            self._down(now)
            return [self._note("bridge-cut"), *(self._dial(now) if self._url else [])]
        if self.up:
            self._stuck, self._asked = False, 0
            if self._had_no_room and self._has_room:
                self._had_no_room, self._again = False, True
            return [self._say(now)]
        if self._url is None:
            self._say_at = inf
            return []
        if now >= self._heard_at + MISSING_S:
            return self._dial(now)
        return [self._greet(now)]

    def flush(self, now: float) -> list[Effect]:
        """Send what there is room for, and tell how far this end is if that has changed."""
        if not self.up or self._peer is None:
            return []
        effects: list[Effect] = []
        while (frames := self._next_packet()) is not None:
            effects.append(Send(self._peer, frames))
        if self._again or self._said() != self._told:
            effects.append(self._say(now))
        return effects

    def deadline(self) -> float:
        """Return when `tick` is due next."""
        return self._say_at

    def check(self) -> None:
        """Assert that the counts are right and the numbers are in order."""
        assert self.put_count == self.count + self.ended_count
        assert self._waiting_bytes == sum(each.size for each in self._waiting)
        assert self._sent_bytes == sum(each.size for each in self._sent.values())
        assert list(self._sent) == list(range(self.top - len(self._sent), self.top))
        assert self.top - len(self._sent) <= self._cursor <= self.top
        assert self._passed <= self._next
        assert self._old + self._next - self._passed == len(self._kept) >= len(self.arrived)
        assert self._kept_bytes == sum(self._kept)

    # How a connection begins and ends

    def _dial(self, now: float) -> list[Effect]:
        assert self._url is not None
        self._heard_at = now
        return [Connect(DIALLED, self._url.endpoint), self._greet(now)]

    def _greet(self, now: float) -> Send:
        self._token += 1
        self._say_at = now + READY_S
        return self._greeting(wire.HELLO, DIALLED, self.far, self._token)

    def _greeting(self, kind: int, peer: PeerId, target: int, token: int) -> Send:
        name = self._url.name if self._url is not None else self._name
        first = self.top - len(self._sent)
        knows = self.far != 0
        said = Greeting(
            token, name, first, self._next * knows, self._passed * knows, self._takes,
            self._is_far, wire.space_of(self._about),
        )  # fmt: skip
        return Send(peer, carriage.greeting(kind, self.incarnation, target, said))

    def _hello(self, peer: PeerId, packet: Packet, now: float) -> list[Effect]:
        said, ours = carriage.greeting_of(packet), wire.space_of(self._about)
        if said.space != ours:
            theirs = space_shown(said.space)
            why = f"it is in {space_shown(ours)}, and this one is in {theirs}"
            return self._refuse(peer, packet, why)
        if said.name not in ("", self._name):
            return self._refuse(peer, packet, f"it is called {self._name!r}")
        if self.up and packet.source != self.far and now < self._heard_at + MISSING_S:
            return self._refuse(peer, packet, "it has another end")
        self._peer = peer
        effects = self._met(packet, said, now)
        return [self._greeting(wire.WELCOME, peer, self.far, said.token), *effects]

    def _welcome(self, packet: Packet, now: float) -> list[Effect]:
        said = carriage.greeting_of(packet)
        if 0 < said.token <= self._token:
            return [] if self.up else self._met(packet, said, now)
        if not said.token and self.up:  # else it was asked before, and has greeted since
            self._down(now)
            return [self._greet(now)]
        return []

    def _met(self, packet: Packet, said: Greeting, now: float) -> list[Effect]:
        """Begin with another end, or go on with the one before."""
        if packet.source != self.far:
            self.far = packet.source
            self._old += self._next - self._passed  # nobody waits to hear of these
            self._next = self._passed = said.first
            self._far_leaves = False
        self._far_takes, self._is_far = said.takes, said.is_far
        was_up, self.up, self._refused = self.up, True, ""
        self._heard_at, self._say_at, self._told = now, now + READY_S, ()
        knows = packet.target == self.incarnation  # else it counted packets of another end
        self._free(said.passed * knows)
        self._rewind(said.next * knows)
        return [] if was_up else [self._note("bridge-up")]

    def _ask_for_hello(self, peer: PeerId, packet: Packet) -> list[Effect]:
        """Have an end say HELLO that believes to be connected."""
        if self._url is not None or packet.kind not in (wire.PUBLISH, wire.CREDIT):
            return []
        return [self._greeting(wire.WELCOME, peer, packet.source, 0)]

    def _refuse(self, peer: PeerId, packet: Packet, why: str) -> list[Effect]:
        frames = carriage.refusal(self.incarnation, packet.source, why)
        return [Send(peer, frames)]

    def _bye(self, packet: Packet, now: float) -> list[Effect]:
        why = carriage.refusal_of(packet)
        if why:
            self._heard_at = now
            is_news, self._refused = why != self._refused, why
            return [self._note("bridge-refused", why=why)] if is_news else []
        if packet.source != self.far or not self.up:
            return []
        self._down(now)
        self._heard_at = -inf
        self._far_leaves = True
        return [self._note("bridge-left")]

    def _down(self, now: float) -> None:
        if self.up:
            self.cut_at = now
        self.up = False
        self._say_at = now + READY_S if self._url is not None else inf

    def _note(self, event: str, **fields: object) -> Note:
        place = self._url.endpoint if self._url is not None else "here"
        return Note(event, {"name": self._name, "link": place, **fields})

    # To the other end

    def _next_packet(self) -> Frames | None:
        """Return the next packet of items, or None if there is nothing, or no room."""
        if self._stuck or self._far_leaves or len(self._flights) >= CREDIT:
            return None
        rows: list[carriage.Row] = []
        first, size = self._cursor, 0
        while size < BATCH_BYTES and (item := self._next_item()) is not None:
            if rows and size + item.size > BATCH_BYTES:
                break
            rows.append((item.waits, item.frames))
            self._cursor += 1
            size += item.size
            if len(item.frames) > 1:
                break
        if not rows:
            return None
        self._flights.append(self._cursor)
        source, target = self.incarnation, self.far
        return carriage.carriage(source, target, first, rows, far=self._is_far)

    def _next_item(self) -> Item | None:
        """Return the item at the cursor, which may get its number just now."""
        item = self._sent.get(self._cursor)
        if item is not None:
            return item
        while self._waiting and self._sent_bytes < self._limits.flight_bytes_max:
            item = self._waiting[0]
            why = self._unwanted(item)
            if why:
                self._forget_first(why)
                continue
            self._waiting.popleft()
            self._waiting_bytes -= item.size
            self._sent[self.top] = item
            self._sent_bytes += item.size
            self.top += 1
            return item
        return None

    def _unwanted(self, item: Item) -> str:
        """Return why the other end does not want an item, or nothing."""
        if item.topic and not item.topic.startswith(self._far_takes):
            return "rule"
        return "direct" if item.publisher in self.far_direct else self._comes_round(item)

    def _forget_first(self, why: str) -> None:
        self._waiting_bytes -= self._waiting.popleft().size
        self._end(why)

    def _end(self, why: str) -> None:
        self.dropped[why] += 1
        self.ended_count += 1

    def _free(self, passed: int) -> None:
        """Forget all that the other end has passed on."""
        for number in range(self.top - len(self._sent), min(passed, self.top)):
            self._sent_bytes -= self._sent.pop(number).size
            self.ended_count += 1

    def _rewind(self, following: int) -> None:
        """Send on from a number."""
        self._stuck = False
        self._cursor = min(max(following, self.top - len(self._sent)), self.top)
        self._flights.clear()

    # From the other end

    def _carried(self, packet: Packet) -> None:
        for number, (waits, frames) in enumerate(carriage.rows_of(packet), packet.settled):
            if number > self._next:
                self._again = self._again or (self._has_room and self._asked != self._next)
                self._asked = self._next
                return
            if number == self._next:
                if not self._has_room:
                    self._had_no_room = True
                    return
                self._next += 1
                item = self._item(frames, waits=waits)
                self.arrived.append(item)
                self._kept.append(item.size)
                self._kept_bytes += item.size

    @property
    def _has_room(self) -> bool:
        """Whether to take one more item. Another end that keeps its limits asks for no more."""
        return self._kept_bytes < self._limits.held_bytes_max

    def _item(self, frames: Frames, *, waits: bool) -> Item:
        """Return an item that came; one without frames if it cannot be read."""
        try:
            return item_of(frames, waits=waits)
        except Malformed as error:
            self.malformed[str(error)] += 1
            return Item((), waits)

    def _beat(self, packet: Packet) -> None:
        said = carriage.beat_of(packet)
        if said.next > self.top:
            raise Malformed("beat")
        self.far_direct, self._stuck = frozenset(said.direct), False
        self._far_leaves = said.leaving
        self._free(said.passed)
        while self._flights and self._flights[0] <= said.next:
            self._flights.popleft()
        if said.again or self._cursor < self.top - len(self._sent):
            self._rewind(said.next)

    def _said(self) -> tuple[object, ...]:
        return (self._passed, self.direct, self.leaving)

    def _say(self, now: float) -> Send:
        assert self._peer is not None
        self._told, self._say_at = self._said(), now + READY_S
        again, self._again = self._again, False
        said = Beat(self._next, self._passed, again, self.direct, self.leaving)
        return Send(self._peer, carriage.beat(self.incarnation, self.far, said))
