"""The blocking subscriber."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from math import inf

from zmqkit.blocking.ending import Ending
from zmqkit.blocking.role import Life, Role
from zmqkit.core.topics.subscriber import SubscriberCore
from zmqkit.drivers.perform import Hooks
from zmqkit.errors import UsageError
from zmqkit.limits import CLOSE_S
from zmqkit.links.profile import Profile
from zmqkit.roles.handlers import check_count, end_of
from zmqkit.roles.messages import Gap, Message, Reader, check_callback, check_reader, is_async
from zmqkit.roles.role import Plan
from zmqkit.roles.scheme import Lookup, draw_incarnation
from zmqkit.types import HeardPublisher, Lacking, SubscriberStats


class Subscriber(Role):
    """Receives messages by topic from every publisher of a name, wherever they are.

    name: a name, `tcp://host:port` of a publisher, or `memory://name`. topics: beginnings of
    topics; by default all topics. latest: keep only the latest message of each topic. history:
    how many messages of each topic to get from each publisher on joining, if it keeps so many.
    recover: get what was lost from the publisher's history, in order and before what follows.
    Only what it no longer keeps is a gap then. copy=False: a long bytes body is a read-only
    memoryview of what arrived. on_gap: a function that is called with a Gap, by the thread that
    reads, before its next message. insecure: use publishers on other machines, in plain text.
    space: the space that it is in, in place of that of ZMQKIT_SPACE. statistics: tell other
    machines that reach it what it counts. Raises UsageError or ConfigError for a wrong value.
    The subscriber subscribes once it is opened: by its `with` block, or else by the first verb.
    """

    _kind = "zmqkit.Subscriber"
    _life: Life[Lookup]

    def __init__(
        self,
        name: str,
        topics: Iterable[str] = ("",),
        *,
        latest: bool = False,
        history: int = 0,
        recover: bool = False,
        copy: bool = True,
        on_gap: Callable[[Gap], object] | None = None,
        insecure: bool | None = None,
        space: str | None = None,
        statistics: bool = False,
    ) -> None:
        check_reader(latest, copy, on_gap, history, recover)
        place = Lookup(
            "publisher", name, insecure=insecure, space=space, profile=Profile.TOPICS
        )
        self._core = SubscriberCore(
            name, draw_incarnation(), topics, latest=latest, history=history, recover=recover
        )
        self._reader = Reader(self._core, name, copy=copy, on_gap=on_gap)
        self._life = Life(
            Plan(
                f"subscriber to {name!r}",
                place,
                self._core,
                Hooks(watch=place.watch),
                about=self._core.about,
                hear=self._core.hear,
                reads_first=self._core.reads_first,
                receive_all=self._core.receive_all,
                awake=False,
                kept=True,
                statistics=statistics,
            )
        )
        self._stopping = False

    def __iter__(self) -> Iterator[Message]:
        """Iterate over messages as they come, until `stop` or `close`."""
        self._life.open()
        return chain.from_iterable(self._hands())  # in C, but for one step a packet

    def receive(self, timeout_s: float | None = None) -> Message | None:
        """Return the next message, or None when none came in time or `stop` was called."""
        until = end_of(timeout_s)
        for message in self._reader.messages:
            return message
        self._life.open()
        while self._reach(until):
            for message in self._reader.messages:
                return message  # unless another reader was sooner
        return None

    def listen(
        self, callback: Callable[[Message], object], timeout_s: float | None = None
    ) -> None:
        """Call `callback` with each message, until `stop` or for `timeout_s`."""
        check_callback(callback)
        if is_async(callback):
            raise UsageError(
                f"the callback {callback!r} is async def; use zmqkit.asyncio.Subscriber, or a "
                "plain def here"
            )
        life, until = self._life, end_of(timeout_s)
        life.open()
        while True:
            for message in self._reader.messages:
                callback(message)
                if self._stopping or life.is_past(until):
                    break  # the next reader gets the rest
            if life.is_past(until) or not self._reach(until):
                return

    def stop(self) -> None:
        """Have a reader that iterates, listens or waits for a message return.

        Any thread may call this. A loop gets the rest of the packet in hand before it ends.
        Each `stop` ends one reader; `close` ends all.
        """
        self._stopping = True
        self._life.wake()

    def subscribe(self, *topics: str) -> None:
        """Receive also the topics that begin with one of these."""
        self._life.command(self._core.subscribe, topics)

    def unsubscribe(self, *topics: str) -> None:
        """Stop receiving these beginnings of topics; messages that came already are kept."""
        self._life.command(lambda now: self._core.unsubscribe(topics))

    def ready(self, count: int = 1, timeout_s: float | None = None) -> int:
        """Wait until `count` publishers have all subscriptions; return how many have."""
        check_count(count)
        core, life = self._core, self._life
        life.open()
        life.wait(lambda: core.up_count >= count or life.closed, end_of(timeout_s))
        return core.up_count

    def publishers(self) -> list[HeardPublisher]:
        """Return a row for each publisher in use: label, address, state, forwards.

        A publisher whose state is `up` has all subscriptions. One that is `misnamed` has
        another name than stands behind the port of the URL; its label has its own name. One
        that is `apart` is in another space. One that `forwards` is a forwarder or bridge, which
        passes on what others publish.
        """
        return self._life.look(self._reader.rows)

    def lacking(self) -> list[Lacking]:
        """Return a row for each topic of which messages are still to be recovered.

        It has the label of the publisher, the topic, how many messages have not come, and the
        number of the first of them. A publisher that has not said yet what it keeps has a
        row in which these are None. Without `recover` and `history` there are none.
        """
        return self._life.look(self._reader.lacking)

    def stats(self) -> SubscriberStats:
        """Return counters; received = delivered + queued + dropped, always."""
        return self._life.look(self._reader.stats)

    def close(self, timeout_s: float = CLOSE_S) -> int:
        """Close, and return how many messages nobody has read; those are dropped."""
        return self._life.close(timeout_s, Ending(self._reader.left, self._reader.close))

    def _hands(self) -> Iterator[Iterator[Message]]:
        while True:
            yield self._reader.messages  # the next reader gets what this one leaves
            if not self._reach(inf):
                return

    def _reach(self, until: float) -> bool:
        """Take messages into hand, and wait for some; false when none will come."""
        life = self._life
        while not (self._stopping or life.closed):
            gaps, taken = life.decide(self._reader.look)
            self._reader.tell(gaps)
            if taken:
                return True
            if gaps:
                continue
            if life.is_past(until):
                return False
            life.wait(self._has_news, until)
        self._stopping = False
        return False

    def _has_news(self) -> bool:
        return self._core.has_messages or self._stopping or self._life.closed
