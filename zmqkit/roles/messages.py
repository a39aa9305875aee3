"""What the blocking and the asyncio roles of publish-subscribe share."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import iscoroutinefunction
from itertools import count, repeat
from operator import length_hint
from typing import Literal, NamedTuple, get_args

from zmqkit.core.topics.inbox import Delivery
from zmqkit.core.topics.publisher import PublisherCore
from zmqkit.core.topics.subscriber import SubscriberCore
from zmqkit.errors import UsageError
from zmqkit.model import check_name

Policy = Literal["drop", "block"]


class Message(NamedTuple):
    """One message as a subscriber reads it.

    sequence: its number in its topic, from its publisher. publisher: the label of that one,
    `NAME-8hex`, which another object of the same name does not have.
    """

    topic: str
    body: object
    sequence: int
    publisher: str


class Gap(NamedTuple):
    """Messages of a topic that were published and did not arrive: whose, and how many."""

    topic: str
    publisher: str
    missing: int


class _Row(tuple[object, ...]):
    """Made from an iterable of its items, and by C alone: see `_Received`."""

    __slots__ = ()
    __new__ = tuple.__new__


class _Received(_Row, Message):
    """A Message, made in half of the time: NamedTuple has a `__new__` in Python."""

    __slots__ = ()

    def __reduce__(self) -> tuple[type[Message], tuple[object, ...]]:
        return Message, tuple(self)


_Received.__name__ = _Received.__qualname__ = Message.__name__
_Received.__doc__ = Message.__doc__


class Prefetch:
    """What a reader has taken from the inbox and was not given yet."""

    def __init__(self) -> None:
        self.messages: Iterator[Message] = iter(())
        self._bodies: Iterator[object] = iter(())

    def __len__(self) -> int:
        return length_hint(self._bodies)

    def drop(self) -> int:
        """Hold nothing any more, whoever iterates; gives how many messages were left."""
        return len(list(self._bodies))

    def take(self, delivery: Delivery, publisher: str, *, copy: bool) -> None:
        """Hold the messages of one packet, once all before them were given."""
        bodies = delivery.bodies
        if copy and type(bodies[0]) is memoryview:
            bodies = [bytes(bodies[0])]
        self._bodies = iter(bodies)
        # In C from here on: whoever iterates pays for no call of Python a message.
        self.messages = map(
            _Received,
            zip(
                repeat(delivery.topic),
                self._bodies,
                count(delivery.sequence),
                repeat(publisher),
                strict=False,
            ),
        )


def label_of(name: str, incarnation: int) -> str:
    """What a publisher is called in messages and lists."""
    return f"{name}-{incarnation >> 32:08x}"


class JoinWait:
    """A wait until so many subscribers have joined; it ends when the publisher closes.

    joined: how many had at the last look before that.
    """

    def __init__(self, core: PublisherCore, count: int) -> None:
        self._core = core
        self._count = count
        self.joined = core.audience.joined_count

    def is_over(self) -> bool:
        """Whether enough have joined, or nobody else will."""
        if not self._core.leaving:
            self.joined = self._core.audience.joined_count
        return self._core.leaving or self.joined >= self._count


def check_policy(policy: object, stall_s: object) -> bool:
    """Whether the publisher waits for its subscribers; UsageError for a wrong policy."""
    if policy not in get_args(Policy):
        raise UsageError(f"policy is {policy!r}; use 'drop' or 'block'")
    if type(stall_s) not in (int, float) or not stall_s > 0:  # type: ignore[operator]  # a number
        raise UsageError(f"stall_s is {stall_s!r}; use seconds above 0")
    return policy == "block"


def check_reader(latest: object, copy: object, on_gap: object) -> None:
    """Raise UsageError for a wrong option of a subscriber."""
    for option, value in (("latest", latest), ("copy", copy)):
        if type(value) is not bool:
            raise UsageError(f"{option} is {value!r}; use True or False")
    if on_gap is not None and (not callable(on_gap) or is_async(on_gap)):
        raise UsageError(f"on_gap is {on_gap!r}; use a plain function that takes a Gap")


def check_callback(callback: object) -> None:
    """Raise UsageError for what a subscriber cannot call with each message."""
    if not callable(callback):
        raise UsageError(f"the callback is {callback!r}; use a function that takes a Message")


def is_async(function: object) -> bool:
    """Whether what it gives is to be awaited."""
    called = getattr(function, "__call__", None)  # noqa: B004 - of an object that is callable
    return iscoroutinefunction(function) or iscoroutinefunction(called)


def name_of(name: str) -> str:
    """The name behind a URL, for labels, or the name itself."""
    return name.rpartition("/")[2] if "://" in name else check_name(name)


def publisher_rows(name: str, core: SubscriberCore) -> list[dict[str, object]]:
    """What `publishers()` gives: a row each, for people and programs."""
    return [
        {
            "label": label_of(name, source.publisher),
            "address": source.endpoint,
            "state": source.state.value,
        }
        for source in core.sources.all
    ]


def stats_of(core: SubscriberCore, prefetch: Prefetch) -> dict[str, object]:
    """A subscriber's counters: what was taken ahead is not delivered yet."""
    stats, held = core.stats(), len(prefetch)
    return {**stats, "delivered": core.delivered - held, "queued": core.queued + held}


def unserved(count: int) -> str:
    """What a publisher says of subscribers that its end came too soon for."""
    subscribers = "a subscriber" if count == 1 else f"{count} subscribers"
    return f"{subscribers} had received everything"
