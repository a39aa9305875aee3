"""Record what went into the cores of a run and what came out, to compare versions of a core.

Record a seed before a change and again after it. At the first step that differs, a core got the
same input and did something else. All later differences follow from that step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from enum import Enum
from hashlib import blake2b
from types import FunctionType

from zmqkit.core.calls.client import ClientCore
from zmqkit.core.calls.dialling import DiallingCore
from zmqkit.core.calls.service import ServiceCore
from zmqkit.core.majordomo.broker import BrokerCore
from zmqkit.core.membership.membership import MembershipCore
from zmqkit.core.tasks.pusher import PusherCore
from zmqkit.core.topics.publisher import PublisherCore
from zmqkit.core.topics.subscriber import SubscriberCore

CORES: tuple[type, ...] = (
    MembershipCore, ClientCore, ServiceCore, PublisherCore, SubscriberCore, PusherCore,
    DiallingCore, BrokerCore,
)  # fmt: skip
_ASKED_ONLY = {"check", "deadline", "stats"}
_SHORT_BYTES = 64

Step = list[object]
"""A core, its method, the arguments and options, and the answer, as values that JSON has."""


class Recording:
    """The steps of all cores, in order.

    An object that is no value is known by type and number.
    """

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._known: dict[int, tuple[str, object]] = {}
        self._inside = False

    def wrap(self, name: str, method: Callable[..., object]) -> Callable[..., object]:
        """Return the method with recording added.

        Calls that a core makes itself are not recorded.
        """

        def recorded(core: object, *arguments: object, **options: object) -> object:
            if self._inside:
                return method(core, *arguments, **options)
            step = [self.plain(core), name, self.plain(arguments), self.plain(options)]
            self._inside = True
            try:
                answer = method(core, *arguments, **options)
            finally:
                self._inside = False
            # The step is recorded at once, because drivers add to lists of effects.
            self.steps.append([*step, self.plain(answer)])
            return answer

        return recorded

    def plain(self, value: object) -> object:
        """Return the value in terms of values that JSON has."""
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
    """Record the cores that are made while the context is entered."""
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
