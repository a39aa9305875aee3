"""One call on its way, from submission to its end, and the options that it was made with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING

from zmqkit.errors import UsageError
from zmqkit.options import (
    ATTEMPTS,
    HEADERS_BYTES_MAX,
    PRIORITY,
    PRIORITY_MAX,
    TIMEOUT_S,
    TIMEOUT_S_MAX,
    WAIT_S,
)
from zmqkit.wire.encoding import Buffer, encode
from zmqkit.wire.packet import REQUEST

if TYPE_CHECKING:
    from zmqkit.core.calls.instance import Instance


@dataclass(slots=True, frozen=True)
class CallOptions:
    """How a call is made; see `Client.options`. UsageError for a wrong one.

    The headers are copied. copy: whether a long bytes reply is bytes, not a view of what
    arrived. patience_s: how long it waits while nobody is known.
    """

    timeout_s: float = TIMEOUT_S
    wait_s: float = WAIT_S
    priority: int = PRIORITY
    attempts: int = ATTEMPTS
    headers: Mapping[str, object] = field(default_factory=dict)
    copy: bool = True
    patience_s: float = field(init=False)

    def __post_init__(self) -> None:
        for name in ("timeout_s", "wait_s"):
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
        object.__setattr__(self, "patience_s", min(self.wait_s, self.timeout_s))

    def changed(self, changes: Mapping[str, object]) -> CallOptions:
        """These options with some of them changed; UsageError for one that does not exist."""
        names = [f.name for f in fields(self) if f.init]
        unknown = changes.keys() - set(names)
        if unknown:
            raise UsageError(f"unknown option {min(unknown)!r}; there are {', '.join(names)}")
        return replace(self, **changes)  # type: ignore[arg-type]  # checked in __post_init__


class Call:
    """One call from submission to its end.

    waiter: whom its end is told. attempts: how many further instances it may try. copies:
    packets with it that the link of its present instance took. exposed: an earlier instance may
    have run it. epoch: the ping token that was current when it was last sent. refused_by: the
    instances that refused it.

    What almost every call begins with stands in the class: that halves the cost of making one.
    kind: the packet that it leaves in, unless it is one-way. streams: it gives many values.
    begun: some of them came, so that it belongs to its instance for good.
    """

    kind = REQUEST
    streams = False
    begun = False
    oneway = False
    instance: Instance | None = None
    copies = 0
    exposed = False
    epoch = 0
    refused_by: tuple[int, ...] = ()

    def __init__(
        self,
        sequence: int,
        method: str,
        body: bytes,
        raw: Buffer | None,
        options: CallOptions,
        waiter: object,
        now: float,
    ) -> None:
        self.sequence = sequence
        self.method = method
        self.body = body
        self.raw = raw
        self.options = options
        self.waiter = waiter
        self.deadline_at = now + options.timeout_s
        self.attempts = options.attempts - 1

    @property
    def may_have_run(self) -> bool:
        """False only if no packet with the call can have reached a handler."""
        return self.copies > 0 or self.exposed

    def restart(self) -> None:
        """Another instance is to have it from the beginning."""
        self.copies = 0
        self.attempts -= 1

    @property
    def give_up_at(self) -> float:
        """When it ends if nobody is known who could run it."""
        return self.deadline_at - self.options.timeout_s + self.options.patience_s
