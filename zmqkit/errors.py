"""The errors that zmqkit raises, by whose fault they are.

A `UsageError` is the caller's fault. A `ConfigError` is a UsageError that is found before any
I/O. A `PeerError` is the fault of the other side. Each error has `may_have_run`. It is false
only if the request cannot have reached a handler; then a call that is not idempotent may be
repeated.
"""

from __future__ import annotations


class ZmqkitError(Exception):
    """The base of every error that zmqkit raises.

    may_have_run: false only if the request cannot have reached a handler, for example because
    it was not sent.
    """

    may_have_run = False


class UsageError(ZmqkitError):
    """The caller used a role wrongly: after close or fork, or with what cannot travel."""


class ConfigError(UsageError):
    """An option, a URL or an environment variable is wrong; nothing was opened yet."""


class AddressTaken(ConfigError):
    """Another socket uses the address, or all ports that may be used are taken."""


class JournalError(ZmqkitError):
    """The journal's file cannot be had, read or written; a wrong path is a ConfigError.

    may_retry: whether the same changes may be written later, for example when there is room.
    """

    def __init__(self, message: str, *, may_retry: bool = False) -> None:
        super().__init__(message)
        self.may_retry = may_retry

    def with_doubt(self, *, may_have_run: bool) -> JournalError:
        """Return the same error for a task that a worker may have begun."""
        error = JournalError(str(self), may_retry=self.may_retry)
        error.may_have_run = may_have_run
        return error


class QueueFull(ZmqkitError):
    """The queue on this side is at its limit; the message was not accepted."""


class PeerError(ZmqkitError):
    """The other side could not do what was asked."""

    def __init__(self, message: str, *, may_have_run: bool = False) -> None:
        super().__init__(message)
        self.may_have_run = may_have_run


class NoService(PeerError):
    """No service of that name could be called within `wait_s`."""


class NoMethod(PeerError):
    """The service was reached, but has no method of that name."""


class BadArguments(PeerError):
    """The method's handler does not take these arguments, so it did not run.

    Or a request was submitted with the id of one that has another method or other arguments.
    """


class Busy(PeerError):
    """The service refused the request because its limits are reached; it did not run."""


class UnknownRequest(PeerError):
    """No broker that could be asked knows the request that is to be collected.

    Its reply is no longer kept, or the broker that has it is down.
    """


class CallTimeout(PeerError):
    """The call's deadline passed before its reply came."""


class CallCancelled(PeerError):
    """This side gave the call up (cancelled it or closed) before the reply came."""


class PeerLost(PeerError):
    """The instance that held the call is gone, and the call must not move to another."""


class RemoteError(PeerError):
    """The handler raised.

    type: the qualified name of the exception on the other side, such as `ValueError`. message:
    the text of the exception. traceback: the remote traceback as text; it may be empty.
    """

    def __init__(self, type: str, message: str, traceback: str = "") -> None:
        super().__init__(f"{type}: {message}" if message else type, may_have_run=True)
        self.type = type
        self.message = message
        self.traceback = traceback


class Retry(ZmqkitError):
    """A worker's handler raises this to have its task tried again later, as another attempt.

    delay_s: the pause; None leaves it to the handler's `backoff_s`. reason: says why.
    """

    def __init__(self, delay_s: float | None = None, reason: str = "") -> None:
        super().__init__(reason or "the handler asked for another attempt")
        self.delay_s = delay_s


class Discard(ZmqkitError):
    """A worker's handler raises this to end its task as failed, without another attempt."""
