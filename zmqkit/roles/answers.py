"""What the instances of a name answered, each to a call of its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from zmqkit.core.calls.call import Call, CallOptions
from zmqkit.errors import UsageError, ZmqkitError
from zmqkit.model import label_of


@dataclass(slots=True, frozen=True)
class Answer:
    """What one instance answered to `Client.gather`: a value or an error.

    instance: the label of the instance, as `Client.instances` returns it.
    value: what the method returned; None if there is an error.
    error: None if there is a value. CallTimeout says that the instance has not answered in
    time, PeerLost that it is gone; others are those of `Client.call`.
    """

    instance: str
    value: Any = None
    error: ZmqkitError | None = None

    def result(self) -> Any:
        """Return the value, or raise the error."""
        if self.error is not None:
            raise self.error
        return self.value


Outcome = tuple[object, ZmqkitError | None]
"""The value of a call and its error, of which one is None."""


def answers_of(name: str, calls: Iterable[Call], outcomes: Iterable[Outcome]) -> list[Answer]:
    """Return the answer of each call, of which each is for one instance of that name."""
    return [
        Answer(label_of(name, call.only << 32), value_of(value, call.options), error)
        for call, (value, error) in zip(calls, outcomes, strict=True)
    ]


def value_of(value: object, options: CallOptions) -> Any:
    """Return what a call returns for this value: it is copied unless the options say not to."""
    return bytes(value) if type(value) is memoryview and options.copy else value


def check_gather(options: CallOptions) -> None:
    """Raise UsageError if all instances are to be asked, and one alone."""
    if options.instance is not None:
        raise UsageError("gather asks all instances; with options(instance=...) use call")
