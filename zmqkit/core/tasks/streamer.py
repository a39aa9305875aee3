"""The streamer: takes the tasks of many pushers, and gives them to many workers.

It has the two sides that the pipeline has anyway, and one ledger between them. To pushers it is
a worker with room for many tasks: its front is a `ServiceCore`, whose window tells copies of a
packet. To workers it is a pusher: its back is a `PusherCore`, with the ledger, the leases and,
where there is one, the journal. Bodies and results pass as the bytes that came.

A task keeps the id that its pusher gave it. So a task that comes again, because the pusher did
not learn what became of it, finds itself in the ledger and is not accepted again.

    a task comes               it is in the ledger; with a journal, the pusher hears (ACCEPT)
                               once it is on disk, and keeps the body no longer
    its handler says how far   the pusher hears it too
    it ends                    the pusher gets the result, or the error that ended it
    the pusher gives it up     it is cancelled, unless somebody else waits for it too
    the pusher is gone         it is done all the same
    the ledger is full         the pusher is told that there is no room, and keeps it
    a worker dials it          it is used as any worker; see `dialled`
    the streamer leaves        what no worker has begun goes back to its pushers, or stays in
                               the journal

"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from zmqkit.core.calls.answers import CANCELLED as GIVEN_UP
from zmqkit.core.calls.answers import refuse
from zmqkit.core.calls.endings import Result
from zmqkit.core.calls.outcome import BAD_ARGUMENTS, BUSY, FAILED, LEAVING, Outcome
from zmqkit.core.calls.request import Request, RequestWindows
from zmqkit.core.calls.service import ServiceCore
from zmqkit.core.dispatch.dialled import Caller, Dialled, refusal, says_ready
from zmqkit.core.dispatch.window import Answer, IsGone
from zmqkit.core.effects import Abort, Effect, Handle, Settle, Tell
from zmqkit.core.membership.interests import key_of
from zmqkit.core.tap import Taps
from zmqkit.core.tasks.lease import STREAMER, TASK
from zmqkit.core.tasks.pusher import PusherCore
from zmqkit.core.tasks.ready import Paged
from zmqkit.core.tasks.room import Room
from zmqkit.core.tasks.task import Encoded, State, Task
from zmqkit.core.tasks.told import answer_of
from zmqkit.errors import JournalError, QueueFull
from zmqkit.limits import RETRY_S, TIMEOUT_S_MAX, PusherLimits, ServiceLimits
from zmqkit.model import Frames, PeerId
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Malformed, encode
from zmqkit.wire.packet import Packet
from zmqkit.wire.passing import Handover, read_handover, unread_arguments, unread_replies
from zmqkit.wire.statistics import Figures

_DEFAULTS = PusherLimits()


@dataclass(slots=True, eq=False)
class _Written:
    """Waits until the task of a request is on disk."""

    request: Request


class StreamerCore:
    """Passes tasks from pushers to workers, and what becomes of them back."""

    def __init__(
        self,
        name: str,
        incarnation: int,
        jitter: Callable[[], float],
        limits: PusherLimits = _DEFAULTS,
        *,
        journal: int = 0,
        upstream: bool = False,
    ) -> None:
        """Begin without tasks. journal: the id of the journal, 0 without one. upstream: tasks
        go to another streamer.
        """
        self.name = name
        self.incarnation = incarnation
        self._journal = journal
        self._upstream = upstream
        self.tasks = PusherCore(
            name, journal or incarnation, jitter, limits, passes_on=upstream, read=_read_replies
        )
        self.pushers = ServiceCore(
            incarnation,
            {TASK: False},
            limits.tasks_max,
            limits=_front_limits(limits),
            shares=self._share,
            read=unread_arguments,
        )
        self.pushers.about[TASK] = {"device": STREAMER, "journal": journal}
        self._dialled = Dialled(
            name, self.tasks.incarnation, key_of("worker", name), limits.instances_max
        )
        # The task of each request that is not answered.
        self._held: dict[int, Task] = {}
        # By pusher: the requests whose tasks are on disk, and which it is still to be told of.
        self._accepted: dict[int, list[int]] = {}
        self._leaving = False

    @property
    def about(self) -> dict[str, object]:
        """What each WELCOME to a pusher says."""
        return self.pushers.about

    def _share(self, places: int, windows: RequestWindows) -> Room:
        self._room = Room(self.tasks.ledger, self.tasks.limits, places, windows)
        return self._room

    # Commands

    def at_home(self, process: int, is_gone: IsGone) -> None:
        """Learn the number of this process, and how to tell that that of a pusher is gone."""
        self.tasks.at_home(process, is_gone)
        self.pushers.at_home(process, is_gone)

    def tap(self, taps: Taps) -> None:
        """Have these see what becomes of tasks, and which are refused; any thread may call it.

        What is accepted is shown by the ledger, for its pusher may be gone when it ends.
        """
        self.tasks.tap(taps)
        self.pushers.shown.refusal_taps = taps

    def hear(self, tell: Tell, now: float) -> list[Effect]:
        """Take membership's news of a worker and decide what follows."""
        if tell.incarnation == self.incarnation:
            return []
        self._dialled.forget(tell.incarnation)  # it is announced, so another has its number
        return self._join(self.tasks.hear(tell, now), now)

    def appended(self, number: int, size: int, now: float) -> list[Effect]:
        """Learn that an append is on disk, and how many bytes the journal has now."""
        return self._join(self.tasks.appended(number, size, now), now)

    def unwritten(self, number: int, error: JournalError, now: float) -> list[Effect]:
        """Learn that an append failed, and changed nothing on disk."""
        return self._join(self.tasks.unwritten(number, error, now), now)

    def paged(self, page: Paged, now: float) -> list[Effect]:
        """Learn what a page of the journal has."""
        return self._join(self.tasks.paged(page, now), now)

    def unpaged(self, error: JournalError, now: float) -> list[Effect]:
        """Learn that a page cannot be read."""
        return self._join(self.tasks.unpaged(error, now), now)

    def leave(self, now: float) -> list[Effect]:
        """Accept no more tasks; hand back what no worker has begun, unless it is on disk."""
        self._leaving = True
        effects = self.pushers.leave()
        if not self._journal:
            effects += self._hand_back(now)
        return effects

    def close(self) -> list[Effect]:
        """Answer nobody any more, and close every connection; a journal keeps what is left."""
        effects = [each for each in self.pushers.close() if not isinstance(each, Abort)]
        self._held.clear()
        ends = self.tasks.close()
        last = [*effects, *(each for each in ends if not isinstance(each, Settle))]
        return self._dialled.route(last)

    def stats(self) -> dict[str, object]:
        """Return the counters; accepted is the sum of the states."""
        front = self.pushers.stats()
        return {
            **self.tasks.stats(),
            "pushers": front["clients"],
            "dialled": len(self._dialled),
            "refused": front["refused"],
        }

    def statistics(self, now: float) -> list[Figures]:
        """Return a row of the streamer and one of its queue; any thread may ask."""
        return self.tasks.figures(self.stats(), now)

    @property
    def in_flight(self) -> int:
        """How many tasks are to end before it closes: those that workers have.

        What another streamer has goes on without this one, if the next process can ask for it.
        """
        leased = self.tasks.ledger.counts[State.LEASED]
        return max(0, leased - self.tasks.passed_on) if self._journal else leased

    @property
    def left(self) -> int:
        """How many tasks are still to be done."""
        return self.tasks.in_flight

    @property
    def owes(self) -> bool:
        """Whether an answer is retained that its pusher may still need."""
        return self.pushers.owes

    def follow(self, effects: list[Effect], now: float) -> list[Effect]:
        """Tell pushers what follows from a change; return what is for the driver."""
        return self._join(effects, now)

    # What the driver asks for

    def receive(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Take one packet from a pusher or a worker. Never raises for what it sent."""
        caller = self._dialled.by_peer.get(peer)
        if caller is not None or (says_ready(frames) and not self.tasks.knows(peer)):
            effects = self._from_dialled(caller, peer, frames, now)
            return self._pass_reports(now) + effects
        side = self.tasks if self.tasks.knows(peer) else self.pushers
        effects = self._join(side.receive(peer, frames, now), now)
        return self._pass_reports(now) + effects

    def unsent(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Learn that a packet did not leave; what it said is said again."""
        caller = self._dialled.by_peer.get(peer)
        if caller is not None:
            effects = self.tasks.unsent(caller.inner, frames, now)
            return self._join(effects + self._dialled.unsent(caller, now), now)
        side = self.tasks if self.tasks.knows(peer) else self.pushers
        return side.unsent(peer, frames, now)

    def tick(self, now: float) -> list[Effect]:
        """Do what is due on either side."""
        effects = self.tasks.tick(now) if now >= self.tasks.deadline() else []
        if now >= self.pushers.deadline():
            effects += self.pushers.tick(now)
        self._room.offer(now)
        return self._join(effects + self._dialled.tick(now), now)

    def flush(self, now: float) -> list[Effect]:
        """Send what this turn gathered."""
        effects = self._join(self.tasks.flush(now), now)
        accepted, self._accepted = self._accepted, {}
        for client, sequences in accepted.items():
            effects += self.pushers.tell(client, wire.ACCEPT, encode(sequences))
        return effects + self.pushers.flush(now)

    def deadline(self) -> float:
        """Return when `tick` is due next."""
        return min(
            self.tasks.deadline(),
            self.pushers.deadline(),
            self._room.due_at,
            self._dialled.due_at,
        )

    def check(self) -> None:
        """Assert that both sides are consistent, and that each request has its task."""
        self.tasks.check()
        self.pushers.check()
        self._dialled.check()
        assert self._held.keys() == {each.ticket for each in self.pushers.running()}
        assert not any(task.is_over for task in self._held.values())

    # Between the sides

    def _join(self, effects: list[Effect], now: float) -> list[Effect]:
        """Pass to the other side what concerns it; return what is for the driver."""
        due = deque(effects)
        out: list[Effect] = []
        while due:
            effect = due.popleft()
            if isinstance(effect, Handle):
                due.extend(self._take(effect.requests, now))
            elif isinstance(effect, Settle):
                due.extend(self._settled(effect.outcomes, now))
            elif isinstance(effect, Abort):
                due.extend(self._given_up(effect.requests, now, is_asked=effect.is_asked))
            elif isinstance(effect, Tell):
                due.extend(self.tasks.hear(effect, now))
            else:
                out.append(effect)
        return self._dialled.route(out)

    def _from_dialled(
        self, caller: Caller | None, peer: PeerId, frames: Frames, now: float
    ) -> list[Effect]:
        """Take a packet of a worker that dialled, or that says so."""
        if caller is None or says_ready(frames):
            if apart := refusal(peer, frames, self.incarnation, self.about):
                return apart
            effects = self._dialled.ready(peer, frames, self.tasks.place_of, now)
            return self._join(effects, now)
        effects = self._dialled.heard(caller, frames, now)
        effects += self.tasks.receive(caller.inner, frames, now)
        return self._join(effects + self._dialled.parted(caller, frames), now)

    def _take(self, requests: Iterable[Request], now: float) -> list[Effect]:
        """Accept the tasks of these requests, and answer those that cannot be accepted."""
        answers: list[Result] = []
        for request in requests:
            answer = self._accept(request, now)
            if answer is not None:
                answers.append((request, answer))
        return self.pushers.handled(answers, now) if answers else []

    def _accept(self, request: Request, now: float) -> Answer | None:
        """Accept the task of a request; return the answer if there is one already."""
        try:
            said = read_handover(request.headers)
        except Malformed:
            text = "a streamer takes tasks from a zmqkit.Pusher"
            return self._refused(request, refuse(BAD_ARGUMENTS, text), now)
        if said["is_known"]:
            return self._resume(request, said, now)
        if self._leaving:
            return self._refused(request, refuse(LEAVING, "the streamer is stopping"), now)
        task = _task(request, said, now)
        known = self.tasks.ledger.names.known(task)
        if known is not None and known.state is State.CANCELLED:
            self.tasks.ledger.names.forget(known)  # somebody wants it all the same
        try:
            if self._journal:
                self.tasks.submit_safely(task, _Written(request), now)
            else:
                self.tasks.submit(task, now)
        except QueueFull as error:
            self._room.refused(request.client)
            return self._refused(request, refuse(BUSY, str(error)), now)
        except JournalError as error:
            return self._refused(request, self._unwritten(request, error, now), now)
        return self._await(request, task.twin or task, now)

    def _refused(self, request: Request, answer: Answer, now: float) -> Answer:
        """Show to those that tap that a task is not accepted, and return the answer."""
        self.pushers.shown.unbegun(request, answer, now)
        return answer

    def _unwritten(self, request: Request, error: JournalError, now: float) -> Answer:
        """Return the refusal of a task that the disk does not take now; its pusher keeps it."""
        self._room.refused(request.client, until=now + RETRY_S)
        return refuse(BUSY, str(error))

    def _resume(self, request: Request, said: Handover, now: float) -> Answer | None:
        """Find a task that was accepted before; its pusher asks what became of it."""
        ledger = self.tasks.ledger
        task = ledger.find(said["id"], self.tasks.incarnation)
        if task is None:  # another one had its unique key, and was accepted for both
            task = ledger.names.holder(said["unique"])
        if task is None and self._upstream:
            task = _task(request, said, now)
            if not ledger.has_room(task):
                self._room.refused(request.client)
                full = refuse(BUSY, "there are as many tasks as there may be")
                return self._refused(request, full, now)
            self.tasks.trace(task, now)
        if task is None:
            text = "the streamer no longer knows what became of the task"
            lost = Answer(wire.ERROR, encode([FAILED, "", text, "", True]))
            return self._refused(request, lost, now)
        return self._await(request, task, now)

    def _await(self, request: Request, task: Task, now: float) -> Answer | None:
        if task.is_over:
            return answer_of(task, task.value, task.error)
        self._held[request.ticket] = task
        self.tasks.await_end(task, request, now)
        return None

    def _settled(self, outcomes: Iterable[Outcome], now: float) -> list[Effect]:
        """Answer the requests whose tasks have ended; note which tasks are on disk."""
        answers: list[Result] = []
        for waiter, value, error in outcomes:
            if isinstance(waiter, _Written):
                request = waiter.request
                if request.ticket not in self._held:
                    continue
                if error is None:
                    self._accepted.setdefault(request.client, []).append(request.sequence)
                else:  # it was dropped, so its pusher keeps it
                    del self._held[request.ticket]
                    assert isinstance(error, JournalError)
                    answers.append((request, self._unwritten(request, error, now)))
            elif isinstance(waiter, Request) and (task := self._held.pop(waiter.ticket, None)):
                answers.append((waiter, answer_of(task, value, error)))
        return self.pushers.handled(answers, now) if answers else []

    def _pass_reports(self, now: float) -> list[Effect]:
        """Tell pushers what the handlers of their tasks said last."""
        return [
            effect
            for task in self.tasks.take_reports()
            for waiter in task.waiters or ()
            if isinstance(waiter, Request)
            for effect in self.pushers.report(waiter, encode(task.progress), now)
        ]

    def _given_up(
        self, requests: Iterable[Request], now: float, *, is_asked: bool
    ) -> list[Effect]:
        """Cancel the tasks that nobody waits for any more.

        One that is on disk is cancelled only if its pusher says so (CANCEL). Else the pusher
        perhaps lost the connection, and is about to ask what became of the task.
        """
        effects: list[Effect] = []
        answers: list[Result] = []
        for request in requests:
            task = self._held.pop(request.ticket, None)
            if task is None:
                continue
            answers.append((request, GIVEN_UP))
            effects += self.tasks.await_no_more(task, request, now)
            if not task.waiters and (is_asked or not self._journal):
                effects += self.tasks.cancel(task, now)
        return effects + (self.pushers.handled(answers, now) if answers else [])

    def _hand_back(self, now: float) -> list[Effect]:
        """Refuse tasks that no worker has begun; their pushers keep them."""
        effects: list[Effect] = []
        answers: list[Result] = []
        for request in self.pushers.running():
            task = self._held[request.ticket]
            if task.state is State.WAITING and not task.attempt:
                del self._held[request.ticket]
                self.tasks.await_no_more(task, request, now)
                answers.append((request, refuse(LEAVING, "the streamer is stopping")))
                if not task.waiters:
                    effects += self.tasks.purge(task, now)
        return effects + (self.pushers.handled(answers, now) if answers else [])


def _read_replies(packet: Packet) -> tuple[list[int], list[object], list[int]]:
    sequences, values, unreadable = unread_replies(packet)
    kept: list[object] = [Encoded(each) if type(each) is bytes else each for each in values]
    return sequences, kept, unreadable


def _front_limits(limits: PusherLimits) -> ServiceLimits:
    most = 2 * limits.tasks_max
    return ServiceLimits(
        credit=most,
        requests_max=most,
        client_requests_max=most,
        held_bytes_max=2 * limits.tasks_bytes_max,
        open_ids_max=most,
    )


def _task(request: Request, said: Handover, now: float) -> Task:
    """Return the task of a request; its body is the bytes that came."""
    row, raw = request.args
    assert isinstance(row, bytes)
    task = Task(row, raw if isinstance(raw, memoryview) else None, request.priority)
    task.own_id, task.unique, task.order_by = said["id"], said["unique"], said["order_by"]
    task.to_sink = said["to_sink"]
    if said["delay_ms"]:
        task.due_at = now + said["delay_ms"] / 1000
    if request.deadline_at < now + TIMEOUT_S_MAX / 2:
        task.expires_at = request.deadline_at
    return task
