"""Publishers and subscribers of a World."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

from zmqkit.core.topics.publisher import PublisherCore
from zmqkit.core.topics.subscriber import SubscriberCore
from zmqkit.drivers.perform import Hooks
from zmqkit.history_limits import History
from zmqkit.links.profile import Profile
from zmqkit.roles.handlers import check_count
from zmqkit.roles.messages import Gap, Message, Reader
from zmqkit.testing.place import Offering, Seeking, Stage

WAIT_S = 60.0
"""How much virtual time a wait for a message, or for others, takes at most by default."""


class WorldPublisher(Offering):
    """A publisher in virtual time, on a host of its own, and the faults that befall it."""

    def __init__(self, stage: Stage, name: str, history: History | None) -> None:
        self._core: PublisherCore = PublisherCore(stage.draw(), history=history)
        super().__init__(
            stage,
            "publisher",
            name,
            Hooks(),
            incarnation=self._core.incarnation,
            profile=Profile.TOPICS,
        )
        self._driver.pace = self._core.pace

    def publish(self, topic: str, body: object) -> None:
        """Send a message to every subscriber of the topic; no time passes.

        Raises UsageError for a message that cannot travel.
        """
        self._command(partial(self._core.publish, topic, body))

    def clear(self, topic: str) -> None:
        """Send a message that clears the topic; of a history it alone is kept then."""
        self._command(partial(self._core.clear, topic))

    def ready(self, count: int = 1, timeout_s: float = WAIT_S) -> int:
        """Let time pass until so many subscribers have joined; return how many have."""
        check_count(count)
        self._stage.run_until(lambda: self._core.joined_count >= count, timeout_s)
        return self._core.joined_count


class WorldSubscriber(Seeking):
    """A subscriber in virtual time. Its waits move the clock of the world on."""

    def __init__(
        self,
        stage: Stage,
        name: str,
        topics: Iterable[str],
        *,
        latest: bool,
        history: int,
        recover: bool,
    ) -> None:
        self.gaps: list[Gap] = []  # what was lost, as far as it was told
        self._core: SubscriberCore = SubscriberCore(
            name, stage.draw(), topics, latest=latest, history=history, recover=recover
        )
        self._reader = Reader(self._core, name, copy=True, on_gap=self.gaps.append)
        super().__init__(
            stage,
            "publisher",
            name,
            Hooks(),
            profile=Profile.TOPICS,
            receive_all=self._core.receive_all,
        )

    def receive(self, timeout_s: float = WAIT_S) -> Message | None:
        """Let time pass until a message is there; return it, or None if none came in time."""
        self._check_alive()
        self._stage.run_until(self._look, timeout_s)
        return next(self._reader.messages, None)

    def received(self) -> list[Message]:
        """Return the messages that are there and were not read; no time passes."""
        messages = []
        while (message := self.receive(0.0)) is not None:
            messages.append(message)
        return messages

    def ready(self, count: int = 1, timeout_s: float = WAIT_S) -> int:
        """Let time pass until so many publishers have all subscriptions; return how many do."""
        check_count(count)
        self._stage.run_until(lambda: self._core.up_count >= count, timeout_s)
        return self._core.up_count

    def subscribe(self, *topics: str) -> None:
        """Receive also the topics that begin with one of these."""
        self._command(partial(self._core.subscribe, topics))

    def unsubscribe(self, *topics: str) -> None:
        """Stop receiving these beginnings of topics; messages that came already are kept."""
        self._command(lambda now: self._core.unsubscribe(topics))

    def stats(self) -> Mapping[str, object]:
        """Return the counters, as those of a Subscriber."""
        return self._reader.stats()

    def _look(self) -> bool:
        """Return whether messages are in hand, once all gaps before them are told."""
        while True:
            (gaps, is_there), effects = self._reader.look()
            self._reader.tell(gaps)
            self._driver.perform(effects)
            self._driver.wake()
            if is_there or not gaps:
                return is_there
