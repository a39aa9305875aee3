"""One service of a broker: what clients ask of it, and who serves it.

To clients it is a service: its front is a `ServiceCore`, whose window tells copies of a
request, and whose line has one row for each priority, in which clients take turns. To workers
it is a client: its back gives each request to the least busy of them, asks what became of it,
and moves it to another worker if it may run twice. Arguments and results pass as the bytes that
came. There are two backs: `memory_back`, and `durable_back`, which has a journal.

    a request comes            it waits in the front's line until the back has room for it
    a worker has room          the request leaves for it
    the worker answers         so does the front
    it streams values          they pass as far as the client has granted
    the client gives it up     a worker that has it is told
    the worker is gone         another gets the request, if its method is idempotent or it
                               cannot have run; else the client hears that it may have run
    nobody serves              the request waits until its time is over
    the broker leaves          what no worker has goes back to its clients, for another broker

"""

from __future__ import annotations

from zmqkit.core.dispatch.dialled import Caller, Dialled, says_ready
from zmqkit.core.dispatch.window import IsGone
from zmqkit.core.effects import (
    Abort,
    Advance,
    Append,
    Effect,
    Handle,
    News,
    Page,
    Send,
    Settle,
    Tell,
)
from zmqkit.core.majordomo.back import Back
from zmqkit.core.majordomo.front import FrontCore
from zmqkit.core.majordomo.room import Room
from zmqkit.model import Frames, PeerId
from zmqkit.wire import packet as wire


class Relay:
    """Passes the requests to one service on, and the answers back."""

    def __init__(
        self,
        name: str,
        front: FrontCore,
        back: Back,
        room: Room,
        workers_max: int,
    ) -> None:
        """room: for all services of the broker together."""
        self.name = name
        self.front = front
        self.back = back
        self._room = room
        # What this relay has counted in the room.
        self._counted = (0, 0)
        self._dialled = Dialled(name, back.incarnation, name, workers_max)

    def at_home(self, process: int, is_gone: IsGone) -> None:
        """Learn the number of this process, and how to tell that that of a client is gone."""
        self.front.at_home(process, is_gone)
        self.back.at_home(process, is_gone)

    # What the broker asks for

    def from_client(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Take a packet from a client."""
        self.front.has_places(self.back.room)
        return self._join(self.front.receive(peer, frames, now), now)

    def from_worker(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Take a packet from a worker; `peer` as the back calls it."""
        return self._join(self.back.receive(peer, frames, now), now)

    def dialled_by(self, peer: PeerId) -> Caller | None:
        """Return the worker that dialled on this connection, if there is one."""
        return self._dialled.by_peer.get(peer)

    def from_dialled(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Take a packet of a worker that dialled, or that says READY."""
        caller = self._dialled.by_peer.get(peer)
        if caller is None or says_ready(frames):
            return self._join(self._dialled.ready(peer, frames, self.back.place_of, now), now)
        effects = self._dialled.heard(caller, frames, now)
        effects += self.back.receive(caller.inner, frames, now)
        return self._join(effects + self._dialled.parted(caller, frames), now)

    def hear(self, tell: Tell, now: float) -> list[Effect]:
        """Take news of a worker."""
        return self._join(self.back.hear(tell, now), now)

    def forget(self, peer: PeerId, now: float) -> list[Effect]:
        """Give up the worker that dialled on this connection."""
        caller = self._dialled.by_peer[peer]
        self._dialled.forget(caller.incarnation)
        gone = Tell(News.GONE, self.name, caller.incarnation)
        return self._join(self.back.hear(gone, now), now)

    def unsent(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Learn that a packet did not leave; what it said is said again."""
        caller = self._dialled.by_peer.get(peer)
        if caller is None and wire.source_of(frames) == self.back.incarnation:
            return self._join(self.back.unsent(peer, frames, now), now)
        if caller is None:
            return self.front.unsent(peer, frames, now)
        effects = self.back.unsent(caller.inner, frames, now)
        return self._join(effects + self._dialled.unsent(caller, now), now)

    def follow(self, effects: list[Effect], now: float) -> list[Effect]:
        """Pass to the other side what follows from a change of the back."""
        return self._join(effects, now)

    def tick(self, now: float) -> list[Effect]:
        """Do what is due on either side."""
        effects = self.back.tick(now) if now >= self.back.deadline() else []
        if now >= self.front.deadline():
            effects += self.front.tick(now)
        return self._join(effects + self._dialled.tick(now), now)

    def flush(self, now: float) -> list[Effect]:
        """Send what this turn gathered."""
        effects = self.back.flush(now)
        if effects:
            effects = self._join(effects, now)
        answers = self.front.flush(now)
        if answers or self.front.has_line:
            effects = effects + self._join(answers, now)
        return effects

    def deadline(self) -> float:
        """Return when `tick` is due next."""
        return min(self.back.deadline(), self.front.deadline(), self._dialled.due_at)

    def leave(self, now: float) -> list[Effect]:
        """Accept nothing more; what has not left the line goes back to its clients."""
        return self._join([*self.front.leave(), *self.back.leave(now)], now)

    def close(self) -> list[Effect]:
        """Answer nobody any more, and close every connection."""
        effects = [*self.front.close(), *self.back.close()]
        self._count()
        last: list[Effect] = [each for each in effects if not isinstance(each, Abort | Settle)]
        for each in last:
            if isinstance(each, Append):
                each.queue = self.name
        return self._dialled.route(last)

    @property
    def incarnation(self) -> int:
        """The number of the service, for clients."""
        return self.front.incarnation

    @property
    def in_flight(self) -> int:
        """How many requests are not answered."""
        return self.front.in_flight

    @property
    def is_idle(self) -> bool:
        """Whether nobody works here, nobody waits, and nothing is kept."""
        return not (self.back.worker_count or self.back.keeps or self.in_flight)

    @property
    def waiting(self) -> int:
        """How many requests no worker has."""
        return self.front.waiting + self.back.waiting

    def stats(self) -> dict[str, object]:
        """Return the counters of the front, how many workers there are, and how many are ready.

        One that an earlier process of the broker gave a request, and that is away, is a worker.
        """
        back = self.back
        return {**self.front.stats(), "workers": back.worker_count, "ready": back.ready_count}

    def check(self) -> None:
        """Assert that both sides are consistent, and that each request at work has its call."""
        self.front.check()
        self.back.check(self.front.running())
        self._dialled.check()
        assert self._counted == (self.front.in_flight, self.front.held_bytes)

    # Between the sides

    def _join(self, effects: list[Effect], now: float) -> list[Effect]:
        """Pass to the other side what concerns it; return what is for the driver."""
        out: list[Effect] = []
        due = list(effects)
        while True:
            for effect in due:  # what follows from one of them joins them
                if isinstance(effect, Send):
                    out.append(effect)
                elif isinstance(effect, Handle):
                    for request in effect.requests:
                        due.extend(self.back.take(request, now))
                elif isinstance(effect, Settle):
                    due.extend(self.back.settled(effect.outcomes, now))
                elif isinstance(effect, Advance):
                    for stream in effect.requests:
                        due.extend(self.back.advance(stream, now))
                elif isinstance(effect, Abort):
                    given_up, is_asked = effect.requests, effect.is_asked
                    due.extend(self.back.give_up(given_up, now, is_asked=is_asked))
                elif isinstance(effect, Tell):
                    due.extend(self.back.hear(effect, now))
                else:
                    if isinstance(effect, Append | Page):
                        effect.queue = self.name
                    out.append(effect)
            due = self.front.offer(self.back.room, now) if self.front.has_line else []
            if not due:
                break
        repeats = self.back.news()
        if repeats is not None:
            out += self.front.declare(repeats, is_served=self.back.ready_count > 0)
        self._count()
        return self._dialled.route(out)

    def _count(self) -> None:
        """Tell the broker's room what is held here."""
        count, size = self._counted
        self._counted = held = (self.front.in_flight, self.front.held_bytes)
        self._room.count += held[0] - count
        self._room.bytes += held[1] - size
        self.front.counted(held[0])
