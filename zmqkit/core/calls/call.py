"""Calls, and the options that they are made with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace

from zmqkit.core.calls.outcome import Outcome
from zmqkit.core.dispatch.job import Job
from zmqkit.errors import UsageError, ZmqkitError
from zmqkit.limits import (
    ATTEMPTS,
    HEADERS_BYTES_MAX,
    PRIORITY,
    PRIORITY_MAX,
    TIMEOUT_S,
    TIMEOUT_S_MAX,
    WAIT_S,
)
from zmqkit.wire.encoding import Buffer, encode
from zmqkit.wire.submission import COLLECT, ID_CHARS_MAX, STATE, SUBMIT

_KEEPING = frozenset({SUBMIT, COLLECT, STATE})
_LABEL = re.compile("(?s:.*-)([0-9a-f]{8})")


@dataclass(slots=True, frozen=True)
class CallOptions:
    """How a call is made; `Client.options` tells of each option.

    Raises UsageError for a wrong value. The headers are copied.
    """

    timeout_s: float = TIMEOUT_S
    wait_s: float = WAIT_S
    priority: int = PRIORITY
    attempts: int = ATTEMPTS
    headers: Mapping[str, object] = field(default_factory=dict)
    # A long bytes reply is copied to bytes; otherwise it is a view of what arrived.
    copy: bool = True
    # Of a submission: the id of the request, and how long it may wait to be begun.
    id: str | None = None
    expires_s: float = 86_400.0
    # The label of the one instance that is called; None for any.
    instance: str | None = None
    # How long the call waits while no instance is known: `wait_s`, or `timeout_s` if shorter.
    patience_s: float = field(init=False)
    # The upper half of the incarnation of `instance`; 0 for any.
    only: int = field(init=False)

    def __post_init__(self) -> None:
        for name in ("timeout_s", "wait_s", "expires_s"):
            value = getattr(self, name)
            number = type(value) in (int, float)
            if not number or not 0 < value <= TIMEOUT_S_MAX:
                raise UsageError(
                    f"{name} is {value!r}; use seconds above 0, at most {TIMEOUT_S_MAX:g}"
                )
        if type(self.priority) is not int or not 0 <= self.priority <= PRIORITY_MAX:
            raise UsageError(f"priority is {self.priority!r}; use 0 to {PRIORITY_MAX}, 9 first")
        if type(self.attempts) is not int or self.attempts < 1:
            raise UsageError(f"attempts is {self.attempts!r}; use a whole number, 1 or more")
        if self.id is not None and not (
            type(self.id) is str and 0 < len(self.id) <= ID_CHARS_MAX
        ):
            raise UsageError(f"id is {self.id!r}; use text of 1 to {ID_CHARS_MAX} characters")
        if type(self.copy) is not bool:
            raise UsageError(f"copy is {self.copy!r}; use True or False")
        if not isinstance(self.headers, Mapping) or any(
            type(k) is not str for k in self.headers
        ):
            raise UsageError("headers must be a mapping with text keys")
        headers = dict(self.headers)
        if len(encode(headers, "headers")) > HEADERS_BYTES_MAX:
            raise UsageError(f"headers take more than {HEADERS_BYTES_MAX} bytes encoded")
        object.__setattr__(self, "headers", headers)
        object.__setattr__(self, "only", _half_of(self.instance))
        object.__setattr__(self, "patience_s", min(self.wait_s, self.timeout_s))

    def changed(self, changes: Mapping[str, object]) -> CallOptions:
        """Return these options with some changed; UsageError for an unknown option."""
        names = [f.name for f in fields(self) if f.init]
        unknown = changes.keys() - set(names)
        if unknown:
            raise UsageError(f"unknown option {min(unknown)!r}; there are {', '.join(names)}")
        return replace(self, **changes)  # type: ignore[arg-type]  # checked in __post_init__


class Call(Job):
    """A job with the options of its call and a waiter; a one-way message has no waiter."""

    def __init__(
        self,
        sequence: int,
        method: str,
        row: bytes,
        raw: Buffer | None,
        options: CallOptions,
        waiter: object,
        now: float,
    ) -> None:
        # Written out instead of calling Job.__init__: every call passes here.
        self.sequence = sequence
        self.method = method
        self.priority = options.priority
        self.row = row
        self.raw = raw
        self.deadline_at = now + options.timeout_s
        self.attempts = options.attempts - 1
        self.options = options
        self.waiter = waiter
        self.begun_at = now
        if options.only:
            self.only = options.only
        if options.id and method in _KEEPING:
            self.kept_as = options.id

    def finish(self, error: ZmqkitError | None) -> Outcome:
        """End the call; return its outcome, with the method if nobody waits for a value."""
        return (self.waiter, self.method if self.waiter is None else None, error)

    @property
    def give_up_at(self) -> float:
        """When the call ends if no instance is known that could run it."""
        return self.deadline_at - self.options.timeout_s + self.options.patience_s


def _half_of(label: object) -> int:
    """Return the upper half of an instance's incarnation, which its label ends with."""
    if label is None:
        return 0
    found = _LABEL.fullmatch(label) if isinstance(label, str) else None
    half = int(found[1], 16) if found is not None else 0
    if not half:
        raise UsageError(
            f"instance is {label!r}; use a label that client.instances() or `zmqkit ls -v` "
            "shows, such as 'orders-1a2b3c4d'"
        )
    return half
