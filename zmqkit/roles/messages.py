"""What the blocking and the asyncio roles of publish-subscribe share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from inspect import iscoroutinefunction
from itertools import count, repeat
from operator import length_hint
from typing import Any, Literal, NamedTuple, get_args

from zmqkit.core.effects import Effect
from zmqkit.core.topics.inbox import Delivery
from zmqkit.core.topics.lacking import lacking, unheard
from zmqkit.core.topics.publisher import PublisherCore
from zmqkit.core.topics.source import Source
from zmqkit.core.topics.subscriber import SubscriberCore
from zmqkit.errors import UsageError
from zmqkit.history_limits import History
from zmqkit.model import check_name
from zmqkit.types import HeardPublisher, Lacking, SubscriberStats

Policy = Literal["drop", "block"]


class Message(NamedTuple):
    """One message as a subscriber reads it.

    sequence: the number that the publisher gave the message within its topic. publisher: the
    publisher's label, `NAME-8hex`; another publisher of the same name has another label.
    cleared: the publisher cleared the topic; the body is None. recovered: the message came from
    the publisher's history, on joining or because it was lost on its way. published_at: when it
    left the publisher, in seconds since 1970 by the clock of the publisher's machine; messages
    that left together have the same time.
    """

    topic: str
    body: Any
    sequence: int
    publisher: str
    cleared: bool = False
    recovered: bool = False
    published_at: float = 0.0


class Gap(NamedTuple):
    """A number of messages that a publisher sent on a topic and that did not arrive."""

    topic: str
    publisher: str
    missing: int


class _Row(tuple[object, ...]):
    """A tuple that C code alone makes from an iterable of its items: see `_Received`."""

    __slots__ = ()
    __new__ = tuple.__new__


class _Received(_Row, Message):
    """A Message that is made in half the time, as NamedTuple has a `__new__` in Python."""

    __slots__ = ()

    def __reduce__(self) -> tuple[type[Message], tuple[object, ...]]:
        return Message, tuple(self)


_Received.__name__ = _Received.__qualname__ = Message.__name__
_Received.__doc__ = Message.__doc__


class Reader:
    """Reads for a subscriber: holds the messages of one packet; its core holds the others."""

    def __init__(
        self,
        core: SubscriberCore,
        name: str,
        *,
        copy: bool,
        on_gap: Callable[[Gap], object] | None,
    ) -> None:
        # The messages in hand that no reader has taken yet; all readers share this iterator.
        self.messages: Iterator[Message] = iter(())
        self._core = core
        self._label = name_of(name)
        self._copy = copy
        self._on_gap = on_gap
        self._bodies: Iterator[object] = iter(())
        self._unread = 0
        core.reading.held = self._bodies_left

    def look(self) -> tuple[tuple[list[Gap], bool], list[Effect]]:
        """Take a packet into hand if none is there and there are no gaps to tell.

        Returns the gaps to `tell` of and whether messages are in hand; and the effects.
        """
        gaps = [
            Gap(topic, label_of(self._label, publisher), missing)
            for publisher, topic, missing in self._core.gaps()
        ]
        if self._bodies_left() or gaps:
            return (gaps, bool(self._bodies_left())), []
        delivery, effects = self._core.take()
        if delivery is not None:
            self._take(delivery)
        return (gaps, delivery is not None), effects

    def tell(self, gaps: list[Gap]) -> None:
        """Call the user's `on_gap` with each gap, if the user passed one."""
        if self._on_gap is not None:
            for gap in gaps:
                self._on_gap(gap)

    def left(self) -> int:
        """Return how many messages nobody has read, and drop those in hand."""
        self._unread = len(list(self._bodies))
        return self._core.queued + self._unread

    def close(self) -> list[Effect]:
        """Close the core; `left` has to be called before."""
        return self._core.close(self._unread)

    def stats(self) -> SubscriberStats:
        """Return the counters; messages in hand count as queued, not as delivered."""
        core, held = self._core, self._bodies_left()
        stats = core.stats()
        stats["delivered"], stats["queued"] = core.delivered - held, core.queued + held
        return stats

    def rows(self) -> list[HeardPublisher]:
        """Return the rows of `publishers()`, one for each publisher."""
        return [
            {
                "label": label_of(source.misnamed or self._label, source.publisher),
                "address": source.endpoint,
                "state": _state_of(source),
                "forwards": source.forwards,
            }
            for source in self._core.publishers
        ]

    def lacking(self) -> list[Lacking]:
        """Return the rows of `lacking()`, one for each publisher and topic."""
        known: list[Lacking] = [
            {
                "publisher": label_of(self._label, lack.publisher),
                "topic": lack.topic,
                "messages": lack.messages,
                "sequence": lack.sequence,
            }
            for lack in lacking(self._core.sources)
        ]
        silent: list[Lacking] = [
            {
                "publisher": label_of(self._label, publisher),
                "topic": None,
                "messages": None,
                "sequence": None,
            }
            for publisher in unheard(self._core.sources)
        ]
        return known + silent

    def _bodies_left(self) -> int:
        return length_hint(self._bodies)

    def _take(self, delivery: Delivery) -> None:
        """Hold the messages of one packet; all messages in hand before are taken."""
        bodies = delivery.bodies
        if self._copy and type(bodies[0]) is memoryview:
            bodies = [bytes(bodies[0])]
        self._bodies = iter(bodies)
        # C code makes the messages from here on: iterating calls no Python function a message.
        self.messages = map(
            _Received,
            zip(
                repeat(delivery.topic),
                self._bodies,
                count(delivery.sequence),
                repeat(label_of(self._label, delivery.publisher)),
                repeat(delivery.cleared),
                repeat(delivery.recovered),
                delivery.times,
                strict=False,
            ),
        )


def _state_of(source: Source) -> str:
    if source.apart or source.misnamed:
        return "apart" if source.apart else "misnamed"
    return source.state.value


def label_of(name: str, incarnation: int) -> str:
    """Return the label of a publisher in messages and lists: `NAME-8hex`."""
    return f"{name}-{incarnation >> 32:08x}"


class JoinWait:
    """A wait until `count` subscribers have joined; it also ends when the publisher closes."""

    def __init__(self, core: PublisherCore, count: int) -> None:
        self._core = core
        self._count = count
        # How many had joined at the last look before the publisher began to close.
        self.joined = core.joined_count

    def is_over(self) -> bool:
        """Return whether enough subscribers have joined, or no others will."""
        if not self._core.leaving:
            self.joined = self._core.joined_count
        return self._core.leaving or self.joined >= self._count


def check_policy(policy: object, stall_s: object) -> bool:
    """Return whether the publisher waits for its subscribers.

    Raises UsageError for a wrong policy or a wrong `stall_s`.
    """
    if policy not in get_args(Policy):
        raise UsageError(f"policy is {policy!r}; use 'drop' or 'block'")
    if type(stall_s) not in (int, float) or not stall_s > 0:  # type: ignore[operator]  # a number
        raise UsageError(f"stall_s is {stall_s!r}; use seconds above 0")
    return policy == "block"


def check_history(history: object) -> History | None:
    """Return how much a publisher keeps. Raises UsageError for a wrong value.

    history: a number of messages of each topic, or a History.
    """
    if history is None or type(history) is History:
        return history
    if type(history) is not int or history < 1:
        raise UsageError(
            f"history is {history!r}; use a number of messages from 1 on, or a History"
        )
    return History(messages=history)


def check_reader(
    latest: object, copy: object, on_gap: object, history: object, recover: object
) -> None:
    """Raise UsageError for a wrong option of a subscriber."""
    if type(history) is not int or history < 0:
        raise UsageError(f"history is {history!r}; use a number of messages, 0 for none")
    for option, value in (("latest", latest), ("copy", copy), ("recover", recover)):
        if type(value) is not bool:
            raise UsageError(f"{option} is {value!r}; use True or False")
    if on_gap is not None and (not callable(on_gap) or is_async(on_gap)):
        raise UsageError(f"on_gap is {on_gap!r}; use a plain function that takes a Gap")


def check_callback(callback: object) -> None:
    """Raise UsageError unless a subscriber can call this with each message."""
    if not callable(callback):
        raise UsageError(f"the callback is {callback!r}; use a function that takes a Message")


def is_async(function: object) -> bool:
    """Return whether the function is `async def`, so that its result is to be awaited."""
    called = getattr(function, "__call__", None)  # noqa: B004 - of an object that is callable
    return iscoroutinefunction(function) or iscoroutinefunction(called)


def name_of(name: str) -> str:
    """Return the name at the end of a URL, for labels, or the checked name itself."""
    return name.rpartition("/")[2] if "://" in name else check_name(name)


def unserved(count: int) -> str:
    """Return what the log says of subscribers that may not have received everything."""
    subscribers = "a subscriber" if count == 1 else f"{count} subscribers"
    return f"before {subscribers} said to have received everything"
