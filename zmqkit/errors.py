"""What can go wrong, by whose fault it is.

`UsageError` is the caller's fault, `ConfigError` is found before any I/O, `PeerError` is the
other side's. All carry `may_have_run`: it is false only if the request cannot have reached a
handler, so it says whether a call that is not idempotent may be repeated.
"""

from __future__ import annotations


class ZmqkitError(Exception):
    """The base of every error that zmqkit raises.

    may_have_run: false only if the request cannot have reached a handler, as when nothing was
    sent.
    """

    may_have_run = False


class UsageError(ZmqkitError):
    """The caller used a role wrongly: after close, after fork, with what cannot travel."""


class ConfigError(UsageError):
    """An option, URL or environment variable is wrong; nothing was opened yet."""


class AddressTaken(ConfigError):
    """Another listens at the address, or at all ports that may be used."""


class QueueFull(ZmqkitError):
    """This side's own queue is at its limit; the message was not accepted."""


class PeerError(ZmqkitError):
    """The other side could not do what was asked."""

    def __init__(self, message: str, *, may_have_run: bool = False) -> None:
        super().__init__(message)
        self.may_have_run = may_have_run


class NoService(PeerError):
    """Nobody served the name within `wait_s`."""


class NoMethod(PeerError):
    """The service is there and has no method of that name."""


class BadArguments(PeerError):
    """The method's handler does not take these arguments, so it did not run."""


class Busy(PeerError):
    """The service refused the request because its limits are reached; it did not run."""


class CallTimeout(PeerError):
    """The call's deadline passed before its reply came."""


class CallCancelled(PeerError):
    """The call was given up by this side (cancelled or closed) before its reply came."""


class PeerLost(PeerError):
    """The instance that held the call is gone and the call must not move to another."""


class RemoteError(PeerError):
    """The handler raised.

    type: the exception's qualified name on the other side, such as `ValueError`.
    message: its text. traceback: the remote traceback as text, may be empty.
    """

    def __init__(self, type: str, message: str, traceback: str = "") -> None:
        super().__init__(f"{type}: {message}" if message else type, may_have_run=True)
        self.type = type
        self.message = message
        self.traceback = traceback
