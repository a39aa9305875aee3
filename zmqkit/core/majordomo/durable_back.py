"""The back of a relay with a journal: each request is a task of a ledger, and on disk.

Its core is that of a pusher. A request leaves the front's line at once, as the ledger has a
line of its own. It keeps the id that its client gave it. So a request that comes again finds
itself there, and what has ended does not run again.

    a request comes            it is written; a worker gets it meanwhile, or, if its method
                               must not run twice, once it is on disk which worker that is
    it is a submission         once it is on disk, its client hears so, and waits no longer
    it is collected            whoever asks by its id gets the reply, now or once there is one,
                               or its state, now
    the worker answers         the reply is written; once it is on disk, the front answers
    the worker is gone         another gets it if its method is idempotent, three attempts in
                               all; else it is dead: kept, until somebody requeues or purges it
    the broker is gone         the next one goes on; what must not run twice stays with its
                               worker, or is dead if that is gone, too
    the client gives it up     it is cancelled, unless it was submitted, or others wait for it
    the disk is full           new requests are refused; replies wait until there is room

"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from zmqkit.core.calls.answers import CANCELLED, DONE, refuse
from zmqkit.core.calls.endings import Result
from zmqkit.core.calls.outcome import (
    BAD_ARGUMENTS,
    BUSY,
    FORGOTTEN,
    LEAVING,
    UNKNOWN,
    Outcome,
)
from zmqkit.core.calls.request import Request, StreamRequest
from zmqkit.core.dispatch.window import Answer
from zmqkit.core.effects import Effect, Tell
from zmqkit.core.majordomo.errand import Errand, asks_for_same, task_of
from zmqkit.core.majordomo.front import FrontCore
from zmqkit.core.majordomo.told import answer_of, reply_of
from zmqkit.core.tasks.pusher import PusherCore
from zmqkit.core.tasks.ready import Paged
from zmqkit.core.tasks.task import Encoded, State, Task
from zmqkit.errors import JournalError, QueueFull
from zmqkit.majordomo_limits import BrokerLimits
from zmqkit.model import Frames, PeerId
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Malformed, encode
from zmqkit.wire.packet import Packet
from zmqkit.wire.passing import unread_replies
from zmqkit.wire.submission import COLLECT, STATE, SUBMIT, read_collection, read_submission

_KINDS = (wire.WELCOME, wire.BYE)
_KIND_AT = 3
_REPEATS = frozenset({COLLECT, STATE})
"""What may be asked of one broker after the other."""


@dataclass(slots=True, eq=False)
class _Written:
    """Waits until the task of a request is on disk."""

    request: Request
    # Of a submission, whose client is told then.
    id: str = ""


class DurableBack:
    """Keeps requests and replies in a ledger that a journal follows."""

    def __init__(
        self,
        name: str,
        journal: int,
        jitter: Callable[[], float],
        limits: BrokerLimits,
        front: FrontCore,
    ) -> None:
        """Begin without requests. journal: its id, by which workers know the broker."""
        self.incarnation = journal
        self.core = PusherCore(
            name, journal, jitter, limits.tasks, passes_on=False, read=_read_replies,
            make_lease=Errand,
        )  # fmt: skip
        self._front = front
        front.about["journal"] = journal
        self.at_home = self.core.at_home
        # By ticket: the requests that wait for the end of a task, and that task.
        self._held: dict[int, tuple[Request, Task]] = {}
        # By append: the answers that leave once it is on disk.
        self._unsaid: dict[int, list[Result]] = {}
        # The numbers of calls whose replies have left, the oldest first. Some are forgotten.
        self._answered: OrderedDict[int, None] = OrderedDict()
        self._calls_kept_max = limits.calls_kept_max
        self._has_news = False
        self._idempotent = _REPEATS

    # What the front wants

    def take(self, request: Request, now: float) -> list[Effect]:
        """Accept a request, or answer it at once."""
        if request.method in _REPEATS:
            answer = self._collect(request, now)
        else:
            answer = self._accept(request, now)
        return [] if answer is None else self._front.handled([(request, answer)], now)

    def _accept(self, request: Request, now: float) -> Answer | None:
        method, id, expires_at = request.method, request.id, request.deadline_at
        is_submitted = method == SUBMIT
        if is_submitted:
            try:
                method, id, left_s = read_submission(request.headers)
            except Malformed:
                return refuse(BAD_ARGUMENTS, "a submission comes from a zmqkit.Client")
            expires_at = now + left_s
        task = task_of(request, method, id)
        task.expires_at = expires_at
        there = self.kept(id) if is_submitted else None
        if there is not None and not asks_for_same(task, there):
            text = f"request {id!r} is there with another method or other arguments"
            return refuse(BAD_ARGUMENTS, f"{text}; submit this one with an id of its own")
        written = _Written(request, id if is_submitted else "")
        try:
            self.core.submit_safely(task, written, now)
        except (QueueFull, JournalError) as error:
            return refuse(BUSY, str(error))
        if is_submitted:
            return None
        return self._await(request, task.twin or task, now)

    def _collect(self, request: Request, now: float) -> Answer | None:
        try:
            id = read_collection(request.args)
        except Malformed:
            return refuse(BAD_ARGUMENTS, "a collection comes from a zmqkit.Client")
        task = self.core.ledger.find(id, self.incarnation)
        if task is None:
            return refuse(
                UNKNOWN, f"no request {id!r} is known here, or its reply no longer is"
            )
        if request.method == STATE:
            answer = Answer(wire.REPLY, encode(task.state.value))
            return self._once(self.core.change_of(task) if task.is_over else 0, request, answer)
        return self._await(request, task, now)

    def _await(self, request: Request, task: Task, now: float) -> Answer | None:
        if task.is_over:
            return self._once_written(request, task, task.value)
        self._held[request.ticket] = (request, task)
        self.core.await_end(task, request, now)
        return None

    def _once_written(self, request: Request, task: Task, value: object) -> Answer | None:
        """Return the answer if the end of the task is on disk; else it leaves once it is."""
        if task.own_id == request.id:
            self._was_answered(task)
        return self._once(self.core.change_of(task), request, _answer(task, value))

    def _once(self, change: int, request: Request, answer: Answer) -> Answer | None:
        """Return the answer if this append is on disk; else it leaves once it is."""
        if not change:
            return answer
        if self.core.fault is not None:
            return self._unwritable()
        self._unsaid.setdefault(change, []).append((request, answer))
        return None

    def _unwritable(self) -> Answer:
        text = f"the reply cannot be written: {self.core.fault}"
        return refuse(FORGOTTEN, text, may_have_run=True)

    def _was_answered(self, task: Task) -> None:
        """Note that the reply to a call is told; forget the oldest ones beyond the limit.

        So calls leave room for the replies to submissions, which are still to be collected.
        """
        self._answered[task.sequence] = None
        while len(self._answered) > self._calls_kept_max:
            number, _ = self._answered.popitem(last=False)
            oldest = self.core.ledger.settled.over.get(number)
            if oldest is not None:
                self.core.ledger.forget(oldest)

    def kept(self, id: str) -> Task | None:
        """Return the task of the request that was given this id, if it is known."""
        return self.core.ledger.names.find(id)

    def forget(self, task: Task, now: float) -> list[Effect]:
        """Keep no more of a request; one that has not ended is given up."""
        effects = self.core.purge(task, now)
        if not task.is_forgotten:
            self.core.ledger.forget(task)
        return effects

    def advance(self, request: StreamRequest, now: float) -> list[Effect]:
        """Do nothing: the front asks for values only."""
        raise AssertionError("a durable front has no streams")

    def give_up(
        self, requests: Iterable[Request], now: float, *, is_asked: bool
    ) -> list[Effect]:
        """Wait no longer for the tasks of these requests.

        A call that its client gave up is cancelled. If the client only names it no more, it
        may ask anew.
        """
        effects: list[Effect] = []
        answers: list[Result] = []
        for request in requests:
            answers.append((request, CANCELLED))
            _, task = self._held.pop(request.ticket, (None, None))
            if task is not None:
                effects += self.core.await_no_more(task, request, now)
                if is_asked and task.own_id == request.id and not task.waiters:
                    effects += self.core.cancel(task, now)
        return effects + (self._front.handled(answers, now) if answers else [])

    def leave(self, now: float) -> list[Effect]:
        """Give back calls that no worker had, and collections; submissions stay.

        A call goes back once the disk has it no longer: else the next process would do it too.
        """
        effects: list[Effect] = []
        answers: list[Result] = []
        answer = refuse(LEAVING, "the broker is stopping")
        for request, task in sorted(self._held.values(), key=_is_call):
            is_call = task.own_id == request.id
            if is_call and (task.attempt or task.state is not State.WAITING):
                continue
            del self._held[request.ticket]
            effects += self.core.await_no_more(task, request, now)
            if is_call and not task.waiters:
                effects += self.core.purge(task, now)
            told = self._once(self.core.change_of(task) if is_call else 0, request, answer)
            answers += [] if told is None else [(request, told)]
        return effects + (self._front.handled(answers, now) if answers else [])

    def settled(self, outcomes: Iterable[Outcome], now: float) -> list[Effect]:
        """Have the front answer what has ended, once that is on disk."""
        answers: list[Result] = []
        for waiter, value, error in outcomes:
            if isinstance(waiter, _Written):
                assert isinstance(value, Task)
                self._was_written(waiter, value, error, answers)
            elif isinstance(waiter, Request):
                _, task = self._held.pop(waiter.ticket, (None, None))
                if task is not None:
                    answer = self._once_written(waiter, task, value)
                    answers += [] if answer is None else [(waiter, answer)]
        return self._front.handled(answers, now) if answers else []

    def _was_written(
        self, written: _Written, task: Task, error: object, answers: list[Result]
    ) -> None:
        request = written.request
        if error is not None:
            self._held.pop(request.ticket, None)
            # A worker was quicker than the disk; or the next process may find it in the file.
            assert isinstance(error, JournalError)
            sure = error.may_retry and not error.may_have_run
            answers.append((request, refuse(BUSY if sure else FORGOTTEN, str(error))))
        elif written.id:
            # A worker may have been quicker than a disk that was full.
            answer = Answer(wire.REPLY, encode(written.id))
            told = self._once(self.core.append_of(task), request, answer)
            answers += [] if told is None else [(request, told)]

    # The journal

    def appended(self, number: int, size: int, now: float) -> list[Effect]:
        """Learn that an append is on disk, and how many bytes the journal has now."""
        effects = self.core.appended(number, size, now)
        answers = [
            each for at in list(self._unsaid) if at <= number for each in self._unsaid.pop(at)
        ]
        return effects + (self._front.handled(answers, now) if answers else [])

    def unwritten(self, number: int, error: JournalError, now: float) -> list[Effect]:
        """Learn that an append failed; replies wait for the next one, if there is any."""
        effects = self.core.unwritten(number, error, now)
        answers = [each for at in list(self._unsaid) for each in self._unsaid.pop(at)]
        if self.core.fault is None and self.core.change:
            self._unsaid[self.core.change] = answers
            return effects
        if self.core.fault is not None:  # else nothing is left to be written
            answers = [(request, self._unwritable()) for request, _ in answers]
        return effects + (self._front.handled(answers, now) if answers else [])

    def paged(self, page: Paged, now: float) -> list[Effect]:
        """Learn what a page of the journal has."""
        return self.core.paged(page, now)

    def unpaged(self, error: JournalError, now: float) -> list[Effect]:
        """Learn that a page cannot be read."""
        return self.core.unpaged(error, now)

    # What the relay asks for

    @property
    def room(self) -> int:
        """How many more requests the ledger takes; it has a line of its own."""
        return max(0, self.core.limits.tasks_max - self.core.in_flight)

    @property
    def waiting(self) -> int:
        """How many requests are at no worker."""
        return self.core.ledger.counts[State.WAITING]

    @property
    def worker_count(self) -> int:
        """How many workers are connected, or may return."""
        return len(self.core.instances)

    @property
    def ready_count(self) -> int:
        """How many workers may get requests now."""
        return self.core.ready_count

    @property
    def keeps(self) -> int:
        """How many requests and replies are kept, whether anybody waits for them or not."""
        ledger, answered = self.core.ledger, self._answered
        return len(ledger.tasks) - sum(number in ledger.settled.over for number in answered)

    @property
    def fault(self) -> JournalError | None:
        """Why its journal cannot be written any more; None while it can."""
        return self.core.fault

    def news(self) -> frozenset[str] | None:
        """Return the methods that may be sent again, if they may have changed; else None.

        Without any worker they are those of the last. To another broker a submission must not
        go by itself, for both would have it done.
        """
        if not self._has_news:
            return None
        self._has_news = False
        ready = [each.idempotent for each in self.core.instances if each.answers]
        if ready:
            self._idempotent = _REPEATS.union(frozenset.intersection(*ready))
        return self._idempotent

    def place_of(self, incarnation: int) -> str:
        """Return where a worker is known to be; nothing if it is not known."""
        return self.core.place_of(incarnation)

    def hear(self, tell: Tell, now: float) -> list[Effect]:
        """Take news of a worker."""
        self._has_news = True
        return self.core.hear(tell, now)

    def receive(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Take a packet from a worker. Never raises for what it sent."""
        header = frames[0]
        self._has_news |= len(header) > _KIND_AT and header[_KIND_AT] in _KINDS
        return self.core.receive(peer, frames, now)

    def unsent(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Learn that a packet to a worker did not leave; what it said is said again."""
        return self.core.unsent(peer, frames, now)

    def tick(self, now: float) -> list[Effect]:
        """Do what is due."""
        return self.core.tick(now)

    def flush(self, now: float) -> list[Effect]:
        """Send what this turn gathered."""
        return self.core.flush(now)

    def deadline(self) -> float:
        """Return when `tick` is due next."""
        return self.core.deadline()

    def close(self) -> list[Effect]:
        """Close every connection; what is left stays in the journal."""
        self._held.clear()
        self._unsaid.clear()
        return self.core.close()

    def check(self, running: Iterable[Request]) -> None:
        """Assert that what waits for an end is open, and that the front knows of it."""
        self.core.check()
        tickets = {request.ticket for request in running}
        assert self._held.keys() <= tickets
        assert not any(task.is_over for _, task in self._held.values())


def _is_call(held: tuple[Request, Task]) -> bool:
    """Return whether a request waits for its own task, and collects nobody else's."""
    request, task = held
    return task.own_id == request.id


def _answer(task: Task, value: object) -> Answer:
    """Return what is told of a task that has ended."""
    if task.state is State.DONE:
        if value is None:
            return DONE
        return reply_of(value.data if isinstance(value, Encoded) else value)
    if task.error is None:
        return refuse(FORGOTTEN, f"the request was {task.state.value}")
    return answer_of(task.error)


def _read_replies(packet: Packet) -> tuple[list[int], list[object], list[int]]:
    sequences, values, unreadable = unread_replies(packet)
    kept: list[object] = [Encoded(each) if type(each) is bytes else each for each in values]
    return sequences, kept, unreadable
