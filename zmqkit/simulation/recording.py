"""All that went into the cores of a run and what came out, to compare a core with what it was.

Record a seed before a change and after it: the first step that differs is where a core, given
the same, did something else. What it did from there on follows from that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from enum import Enum
from hashlib import blake2b
from types import FunctionType

from zmqkit.core.calls.client import ClientCore
from zmqkit.core.calls.service import ServiceCore
from zmqkit.core.membership.membership import MembershipCore
from zmqkit.core.topics.publisher import PublisherCore
from zmqkit.core.topics.subscriber import SubscriberCore

CORES: tuple[type, ...] = (
    MembershipCore, ClientCore, ServiceCore, PublisherCore, SubscriberCore,
)  # fmt: skip
_ASKED_ONLY = {"check", "deadline", "stats"}
_SHORT_BYTES = 64

Step = list[object]
"""A core, what it was told to do, with what, and its answer: plain values, as JSON has them."""


class Recording:
    """The steps of all cores, in order. What is no value is known by its type and a number."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._known: dict[int, tuple[str, object]] = {}
        self._inside = False

    def wrap(self, name: str, method: Callable[..., object]) -> Callable[..., object]:
        """A method that records each call of it which is not a core's own."""

        def recorded(core: object, *arguments: object, **options: object) -> object:
            if self._inside:
                return method(core, *arguments, **options)
            step = [self.plain(core), name, self.plain(arguments), self.plain(options)]
            self._inside = True
            try:
                answer = method(core, *arguments, **options)
            finally:
                self._inside = False
            # At once, for drivers add to lists of effects.
            self.steps.append([*step, self.plain(answer)])
            return answer

        return recorded

    def plain(self, value: object) -> object:
        """The same in values that JSON has."""
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, bytes | bytearray | memoryview):
            start, digest = bytes(value[:_SHORT_BYTES]).hex(), blake2b(value, digest_size=8)
            return start if len(value) <= _SHORT_BYTES else f"{start} {digest.hexdigest()}"
        if isinstance(value, list | tuple):
            return [self.plain(each) for each in value]
        if isinstance(value, dict):
            return [self.plain(pair) for pair in value.items()]
        if isinstance(value, BaseException | Enum):
            return repr(value)
        if is_dataclass(value) and type(value).__eq__ is not object.__eq__:
            parts = [self.plain(getattr(value, field.name)) for field in fields(value)]
            return [type(value).__name__, *parts]
        name = f"{type(value).__name__} {len(self._known) + 1}"
        return self._known.setdefault(id(value), (name, value))[0]


@contextmanager
def recording() -> Iterator[Recording]:
    """Record what all cores do meanwhile, those that are made meanwhile."""
    record = Recording()
    before = {(core, name): method for core in CORES for name, method in _methods(core)}
    for (core, name), method in before.items():
        setattr(core, name, record.wrap(name, method))
    try:
        yield record
    finally:
        for (core, name), method in before.items():
            setattr(core, name, method)


def _methods(core: type) -> list[tuple[str, FunctionType]]:
    return [
        (name, method)
        for name, method in vars(core).items()
        if isinstance(method, FunctionType)
        and (name == "__init__" or not (name.startswith("_") or name in _ASKED_ONLY))
    ]
