"""Ends the calls of a client: each is counted once, and its waiter has an outcome."""

from __future__ import annotations

from zmqkit.core.calls.call import Call
from zmqkit.core.calls.outcome import Outcome, nobody, timed_out
from zmqkit.core.dispatch.dispatcher import Dispatcher
from zmqkit.core.dispatch.job import Job
from zmqkit.errors import CallCancelled, ZmqkitError


class Ends:
    """Ends calls that were accepted."""

    def __init__(self, name: str, dispatcher: Dispatcher) -> None:
        """name: of those that are called."""
        # Why nobody may have been found, as far as membership knows.
        self.hint = ""
        self._name = name
        self._dispatcher = dispatcher

    def end(self, call: Job, count: str, error: ZmqkitError | None) -> Outcome:
        """End a call that was answered or ran out of time; return its outcome."""
        self._dispatcher.settle(call, count)
        return _outcome(call, error)

    def drop(self, call: Job, reason: str, text: str) -> Outcome:
        """End a call that this side gave up; return its outcome."""
        error = CallCancelled(text, may_have_run=call.may_have_run)
        self._dispatcher.drop(call, reason)
        return _outcome(call, error)

    def expire(self, call: Job, now: float) -> Outcome:
        """End a call whose deadline passed, or whose patience ended with no instance known."""
        if not (call.may_have_run or self._dispatcher.connections.known):
            return self.end(call, "failed", nobody(self._name, self.hint))
        return self.end(call, "expired", timed_out(call, now))


def _outcome(call: Job, error: ZmqkitError | None) -> Outcome:
    assert isinstance(call, Call)
    return call.finish(error)
