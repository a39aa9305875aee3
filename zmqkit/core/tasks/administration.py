"""What an operator asks of a queue: its numbers, its tasks, and changes to them.

Questions and answers are plain dicts, so they travel to a process that runs as they do to a
queue in a file. A question names an operation under `do`. Those that concern many tasks look at
a page of them, so nobody holds a role's lock for long. If there are more, the answer says where
to go on under `next`, and the same question with that under `after` does so. First come the
tasks in memory, and `next` is the number of the last one. Then come those that are in the
journal alone: `next` is a priority and a number. Some of these may have been there already.

    do       further keys               the answer
    ls                                  the numbers of the queue
    peek     states, after, count,      `tasks`: a dict for each, in the order of their numbers,
             bodies                     with bodies that are no longer than `bodies` says
    requeue  ids, or all and after      `changed`: how many dead tasks wait again
    purge    ids, or states and after   `changed`: how many tasks were thrown away
    cancel   ids                        `changed`: how many tasks were given up
    pause                               `changed`: 1 unless it was paused before
    resume                              `changed`: 1 unless it was not paused

`missed` says of each id of the question that changed nothing why that is so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf

from zmqkit.core.dispatch.job import Instance
from zmqkit.core.effects import Effect, Note
from zmqkit.core.tasks.lease import Lease
from zmqkit.core.tasks.leases import leases_of
from zmqkit.core.tasks.pusher import PusherCore
from zmqkit.core.tasks.task import OPEN, State, Task
from zmqkit.errors import QueueFull, UsageError
from zmqkit.limits import PAGE_BYTES, PAGE_TASKS, PRIORITY_MAX

Question = Mapping[str, object]
Answer = dict[str, object]

_STATES = {state.value: state for state in (*State,) if state in OPEN or state is State.DEAD}
_LONGEST_S = 1e9
_REASON_CHARS = 16_000


@dataclass(slots=True)
class Page:
    """Plain tasks that were read from the journal, and where to go on."""

    tasks: list[Task]
    next: list[int] | None


def administer(
    core: PusherCore, question: Question, now: float, page: Page | None = None
) -> tuple[Answer, list[Effect]]:
    """Answer a question about the queue of a core, or change it.

    page: the tasks that are meant, if the question goes on in the journal. Raises UsageError
    for a question that cannot be understood.
    """
    do = question.get("do")
    operation = _OPERATIONS.get(do) if type(do) is str else None
    if operation is None:
        known = ", ".join(_OPERATIONS)
        raise UsageError(f"a queue here knows no {do!r}; there are {known}")
    return operation(_Asked(core, question, now, page))


@dataclass(slots=True)
class _Asked:
    """A question, and what it is about."""

    core: PusherCore
    question: Question
    now: float
    page: Page | None


Answered = tuple[Answer, list[Effect]]


def _ls(asked: _Asked) -> Answered:
    core, now = asked.core, asked.now
    ledger = core.ledger
    since = ledger.line.oldest_since()
    leases = [
        (lease.begun_at, instance, lease)
        for instance in core.instances
        for lease in leases_of(instance)
        if not lease.lapsed and instance.endpoint  # of others it is unknown when they began
    ]
    longest = min(leases, key=lambda each: each[0], default=None)
    answer: Answer = {
        "name": core.name,
        **core.stats(),
        "ready": ledger.line.count + ledger.line.total,
        "memory_bytes": ledger.size,
        "on_disk": ledger.line.total,
        "results": len(ledger.results),
        "oldest_s": max(0.0, now - since) if since < inf else None,
        "longest": _longest(core, longest, now) if longest is not None else None,
        "workers": core.ready_count,
    }
    return answer, []


def _longest(core: PusherCore, found: tuple[float, Instance, Lease], now: float) -> Answer:
    """Return the attempt that has been under way for longest; a handler that hangs is here."""
    begun_at, instance, lease = found
    return {
        "id": core.id_of(lease.task),
        "attempt": lease.task.attempt,
        "running_s": now - begun_at,
        "worker": instance.endpoint,
    }


def _peek(asked: _Asked) -> Answered:
    question, states = asked.question, _states_of(asked.question)
    count, bytes_max = question.get("count", PAGE_TASKS), question.get("bodies", 0)
    if type(count) is not int or not 1 <= count <= PAGE_TASKS:
        raise UsageError(f"count is {count!r}; use 1 to {PAGE_TASKS}")
    if type(bytes_max) is not int:
        raise UsageError(f"bodies is {bytes_max!r}; use a number of bytes")
    held = {
        lease.task.sequence: (instance, lease)
        for instance in (asked.core.instances if State.LEASED in states else ())
        for lease in leases_of(instance)
        if not lease.lapsed
    }
    found, following = _some(asked, states, count)
    shown: list[Answer] = []
    size = 0
    for task, body in found:
        body_bytes = body.size if body.size <= bytes_max else 0
        row_bytes = body_bytes + sum(map(len, task.reasons))
        if size and size + row_bytes > PAGE_BYTES and asked.page is None:
            following = shown[-1]["number"]
            break
        size += row_bytes
        row = _shown(asked.core, task, body, asked.now)
        if task.sequence in held:
            instance, lease = held[task.sequence]
            row |= {"worker": instance.endpoint, "running_s": asked.now - lease.begun_at}
        if body_bytes:
            raw = bytes(body.raw) if body.raw is not None else None
            row |= {"row": bytes(body.row), "raw": raw}
        shown.append(row)
    return {"tasks": shown, "next": following}, []


def _shown(core: PusherCore, task: Task, body: Task, now: float) -> Answer:
    expires_s = task.expires_at - now
    return {
        "number": task.sequence,
        "id": core.id_of(task),
        "state": task.state.value,
        "is_result": task.is_result,
        "priority": task.priority,
        "attempts": task.attempt,
        "age_s": max(0.0, now - (task.pushed_at or body.pushed_at)),
        "due_s": max(0.0, task.due_at - now),
        "expires_s": expires_s if expires_s < _LONGEST_S else None,
        "bytes": body.size,
        "unique": task.unique,
        "order_by": task.order_by,
        "reasons": [reason[:_REASON_CHARS] for reason in task.reasons],
    }


def _requeue(asked: _Asked) -> Answered:
    def requeue(task: Task) -> list[Effect] | None:
        return asked.core.requeue(task, asked.now) if task.state is State.DEAD else None

    if asked.question.get("all"):
        asked.question = {**asked.question, "states": [State.DEAD.value]}
    return _each(asked, requeue)


def _purge(asked: _Asked) -> Answered:
    def purge(task: Task) -> list[Effect] | None:
        kept = task.state in OPEN or task.state is State.DEAD
        return asked.core.purge(task, asked.now) if kept else None

    return _each(asked, purge)


def _cancel(asked: _Asked) -> Answered:
    def cancel(task: Task) -> list[Effect] | None:
        return asked.core.cancel(task, asked.now) if task.state in OPEN else None

    if "ids" not in asked.question:
        raise UsageError("cancel needs the ids of tasks")
    return _each(asked, cancel)


def _pause(asked: _Asked) -> Answered:
    return _set_paused(asked.core, paused=True)


def _resume(asked: _Asked) -> Answered:
    return _set_paused(asked.core, paused=False)


def _set_paused(core: PusherCore, *, paused: bool) -> Answered:
    if core.ledger.line.paused is paused:
        return {"changed": 0}, []
    core.ledger.line.paused = paused
    event = "queue-paused" if paused else "queue-resumed"
    return {"changed": 1}, [Note(event, {"name": core.name})]


_OPERATIONS: Mapping[str, Callable[[_Asked], Answered]] = {
    "ls": _ls, "peek": _peek, "requeue": _requeue, "purge": _purge, "cancel": _cancel,
    "pause": _pause, "resume": _resume,
}  # fmt: skip


def _each(asked: _Asked, change: Callable[[Task], list[Effect] | None]) -> Answered:
    """Change each of the tasks that a question names, until there is no room.

    change: returns the effects, or None if there was nothing to change.
    """
    core, question = asked.core, asked.question
    missed: dict[str, str] = {}
    effects: list[Effect] = []
    named: list[tuple[str, Task | None]]
    changed, full, following = 0, None, None
    if "ids" in question:
        named = [(each, core.ledger.find(each, core.incarnation)) for each in _ids_of(question)]
    else:
        found, following = _some(asked, _states_of(question), PAGE_TASKS)
        named = [(core.id_of(task), task) for task, _ in found]
    for id, task in named:
        before = task.state.value if task is not None else "not here, or forgotten"
        try:
            follows = change(task) if task is not None else None
        except QueueFull as error:
            full, following = str(error), None
            break
        if follows is None:
            missed[id] = before
        else:
            changed += 1
            effects += follows
    answer: Answer = {"changed": changed, "missed": missed, "next": following}
    return (answer if full is None else {**answer, "full": full}), effects


def _some(
    asked: _Asked, states: set[State], count: int
) -> tuple[list[tuple[Task, Task]], object]:
    """Return the next tasks in these states, and where to go on; None at the end.

    Each stands beside the one that has its body, which is itself if it is in memory.
    """
    core, page = asked.core, asked.page
    if page is not None:
        met = [(core.met(each), each) for each in page.tasks]
        there = [(task, row) for task, row in met if task is not None and task.state in states]
        return [(task, row if task.is_shelved else task) for task, row in there], page.next
    after = asked.question.get("after", 0)
    if type(after) is not int:
        raise UsageError(f"after is {after!r}; use what an answer had under next")
    tasks = core.ledger.dead if states == {State.DEAD} else core.ledger.tasks
    numbers = [n for n, task in tasks.items() if n > after and task.state in states]
    chosen = sorted(numbers)[:count]
    following: object = chosen[-1] if len(chosen) == count else None
    if following is None and State.WAITING in states and core.ledger.line.total:
        following = [PRIORITY_MAX, 0]
    return [(tasks[number], tasks[number]) for number in chosen], following


def _ids_of(question: Question) -> list[str]:
    ids = question["ids"]
    if type(ids) is not list or len(ids) > PAGE_TASKS or {*map(type, ids)} - {str}:
        raise UsageError(f"ids are a list of at most {PAGE_TASKS} texts")
    return ids


def _states_of(question: Question) -> set[State]:
    names = question.get("states")
    if type(names) is not list or not names or {*map(type, names)} - {str}:
        raise UsageError(f"states are {names!r}; use a list of {', '.join(_STATES)}")
    if unknown := set(names) - _STATES.keys():
        raise UsageError(f"no task stays {min(unknown)!r}; use {', '.join(_STATES)}")
    return {_STATES[each] for each in names}
