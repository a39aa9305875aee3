"""How a call ends: the outcome for its waiter, and the error that each wire code stands for."""

from __future__ import annotations

from collections import Counter

from zmqkit.core.dispatch.connections import State
from zmqkit.core.dispatch.job import Instance, Job
from zmqkit.core.effects import Effect, Note, Settle
from zmqkit.errors import (
    BadArguments,
    Busy,
    CallTimeout,
    NoMethod,
    NoService,
    PeerError,
    PeerLost,
    QueueFull,
    RemoteError,
    UnknownRequest,
    ZmqkitError,
)
from zmqkit.model import Reach, reach_of_endpoint
from zmqkit.wire.rows import ErrorRow

Outcome = tuple[object, object, ZmqkitError | None]
"""The waiter that came with the call, its value, and its error if it failed.

A one-way message has no waiter and no value. If it failed, its method stands for the value, for
the log.
"""

RAISED, NO_METHOD, BAD_ARGUMENTS, BUSY, LEAVING, RECALLED, EXPIRED, FORGOTTEN = (
    "raised", "no-method", "bad-arguments", "busy", "leaving", "recalled",
    "expired", "forgotten",
)  # fmt: skip
_CODES = frozenset(
    {RAISED, NO_METHOD, BAD_ARGUMENTS, BUSY, LEAVING, RECALLED, EXPIRED, FORGOTTEN}
)
"""Codes whose texts say enough by themselves."""
RETRY, DISCARD = "retry", "discard"
"""Codes of a worker: its handler wants another attempt, or none would help. The type of a retry
is the pause in seconds, as text; empty leaves the pause to the policy."""
UNKNOWN = "unknown"
"""Code of a broker: it has no request of that id."""
DEAD, FAILED, CANCELLED = "dead", "failed", "cancelled"
"""Codes of a streamer: what became of a task that it had accepted."""
UNRUN = frozenset({BUSY, LEAVING, RECALLED})
"""Codes that say that the call was refused before it ran; another instance may try it."""

_AWAY_S = 1.0
"""A shorter silence is no reason for a time-out."""


def full(name: str, limit: int) -> QueueFull:
    """Return the error of a call that is not accepted, as so many wait already."""
    return QueueFull(f"{limit} calls to {name!r} wait already; slow down or add instances")


def settled(name: str, outcomes: list[Outcome]) -> list[Effect]:
    """Settle calls that have a waiter; failed one-way messages only reach the log.

    name: of those that were called.
    """
    waited = [outcome for outcome in outcomes if outcome[0] is not None]
    effects: list[Effect] = [Settle(waited)] if waited else []
    if len(waited) < len(outcomes):
        failed = Counter((to, str(e)) for waiter, to, e in outcomes if waiter is None and e)
        for (method, text), count in failed.items():
            told = {"name": name, "method": method, "error": text, "count": count}
            effects.append(Note("notify-failed", told))
    return effects


def concerns(call: Job, instance: Instance, code: str) -> bool:
    """Whether an instance's error settles or moves the call.

    It does if the instance has the call now. An instance that had it before can no longer
    refuse the call; but if its handler raised, that is a result.
    """
    late = code == RAISED and call.exposed and not call.begun
    return call.instance is instance or late


def from_row(call: Job, row: ErrorRow) -> ZmqkitError:
    """Return the error that an ERROR row of the call's instance stands for.

    An instance that had the call before may have run it; then `may_have_run` is true as well.
    """
    _, code, type_, message, traceback, may_have_run = row
    text = message if code in _CODES else f"{call.method}: {code}: {message}"
    if code == RAISED:
        return RemoteError(type_, message, traceback)
    if code == RETRY:
        return RemoteError("zmqkit.Retry", message, traceback)
    if code == DISCARD:
        return RemoteError(type_, message, traceback)
    if call.begun and code != EXPIRED:
        return PeerLost(text, may_have_run=True)
    if code == NO_METHOD:
        return NoMethod(message, may_have_run=call.exposed)
    if code == BAD_ARGUMENTS:
        return BadArguments(message, may_have_run=call.exposed)
    if code == UNKNOWN and call.misses_one:
        why = "one of the brokers did not answer, or had no room, and no other knows this id"
        return Busy(f"{why}: {message}; ask again later")
    if code == UNKNOWN:
        return UnknownRequest(message)
    if code == LEAVING and call.only:
        return _departed(call, may_have_run=call.exposed)
    if code in UNRUN:
        return Busy(message, may_have_run=call.exposed)
    if code == EXPIRED:
        return CallTimeout(message, may_have_run=may_have_run or call.exposed or call.begun)
    return PeerLost(text, may_have_run=may_have_run or call.exposed)


def lost(call: Job) -> PeerLost:
    """Return the error of a call whose instance is gone and that must not move."""
    if call.only:
        return _departed(call, may_have_run=call.may_have_run)
    if call.begun:
        return PeerLost(
            f"the instance that streamed {call.method!r} is gone; what came until then was all",
            may_have_run=True,
        )
    if call.instance is not None and call.method in call.instance.idempotent:
        return PeerLost(
            f"the instance that held {call.method!r} is gone, and so are the attempts of this "
            "call; give it more with attempts=",
            may_have_run=call.may_have_run,
        )
    return PeerLost(
        f"the instance that held {call.method!r} is gone; if that may run twice, declare the "
        "handler idempotent=True, or serve it with --idempotent: then such calls move on",
        may_have_run=call.may_have_run,
    )


def _departed(call: Job, *, may_have_run: bool) -> PeerLost:
    """Return the error of a call whose one instance is gone, or is about to go."""
    return PeerLost(
        f"the one instance that {call.method!r} was for is gone; client.instances() and "
        "`zmqkit ls -v` show who is there, and without instance= any of them is called",
        may_have_run=may_have_run,
    )


def unreadable_reply(call: Job) -> PeerError:
    """Return the error of a call whose reply came and cannot be decoded."""
    return PeerError(f"the reply to {call.method!r} cannot be read", may_have_run=True)


def timed_out(call: Job, now: float) -> CallTimeout:
    """Return the error of a call whose deadline passed.

    If the call's instance does not answer, or was lost and no other took the call, the error
    does not advise a longer time-out, for that would not help.
    """
    missed = "no further value" if call.begun else "no reply"
    text = f"{call.method!r} got {missed} in time; give it longer with timeout_s"
    if call.instance is not None and (away_s := now - call.instance.away_at) >= _AWAY_S:
        word = "was lost" if call.instance.state is State.LOST else "is silent"
        text = (
            f"{call.method!r} got {missed} in time: the instance that has it {word}, and has "
            f"answered nothing for {away_s:.0f} s; see with `zmqkit ls -v` who answers"
        )
    if call.instance is not None and call.instance.lacks_workers:
        text = (
            f"{call.method!r} got {missed} in time, for the device at {call.instance.endpoint} "
            "has no service for it; start one: a router finds it by itself, and for a "
            "broker it needs via="
        )
    if call.exposed and call.instance is None:
        text = (
            f"the instance that had {call.method!r} was lost, and no other took it over; "
            "start another, and see with `zmqkit ls` who serves"
        )
    return CallTimeout(text, may_have_run=call.may_have_run)


def no_room(name: str, call: Job, limit: int) -> CallTimeout:
    """Return the error of a call that was not accepted before its deadline passed."""
    if call.only:
        text = f"the instance that {call.method!r} is for did not answer, or had no room for it"
    else:
        text = (
            f"{call.method!r} was not sent, as {limit} calls to {name!r} wait already; make "
            "fewer at a time, as client.map does, give them longer with timeout_s, or add "
            "instances"
        )
    return CallTimeout(text)


def not_found(name: str, label: str | None, labels: list[str]) -> NoService:
    """Return the error of a call for one instance that was not found; labels: of the others."""
    others = f"there are {', '.join(labels)}" if labels else "nobody else serves it either"
    return NoService(
        f"{name!r} has no instance {label!r}; {others}; client.instances() and "
        "`zmqkit ls -v` show their labels"
    )


def nobody(name: str, hint: str) -> NoService:
    """Return the error of a call that found no instance; hint: membership's explanation."""
    remedy = "; start one with zmqkit.Service or `zmqkit serve`"
    if name.startswith("memory://"):
        remedy = "; bind a zmqkit.Service to it, in this process"
    elif reach_of_endpoint(name) > Reach.LOCAL:
        remedy = (
            "; nobody answered there: no service listens at that host and port that is open to "
            "the network, with insecure=True, --insecure or ZMQKIT_INSECURE=1; or a firewall "
            f"drops the port; `zmqkit doctor {name} --insecure` finds out"
        )
    elif "://" in name:
        remedy = (
            "; nobody answered there: no service listens at that port; or its process is "
            f"stuck; `zmqkit doctor {name}` finds out"
        )
    return NoService(f"nobody serves {name!r}" + (f": {hint}" if hint else remedy))
