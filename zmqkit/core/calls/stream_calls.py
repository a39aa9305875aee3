"""A client's streams: their values go to whoever waits, and what is missing is asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from zmqkit.core.calls.call import Call
from zmqkit.core.calls.instance import Instance
from zmqkit.core.calls.outcome import Outcome
from zmqkit.core.calls.pending import Pending
from zmqkit.core.calls.roster import Roster
from zmqkit.core.calls.stream_call import StreamCall
from zmqkit.wire.streams import EndRow, ItemRow


@dataclass(slots=True)
class News:
    """What a packet brought. waits: those that are over. done: streams that are complete.

    strangers: streams that the client gave up and their service does not know of it.
    """

    waits: list[Outcome] = field(default_factory=list)
    done: list[StreamCall] = field(default_factory=list)
    strangers: list[int] = field(default_factory=list)


class StreamCalls:
    """The streams among a client's calls."""

    def __init__(self, pending: Pending, roster: Roster, malformed: Counter[str]) -> None:
        self._pending = pending
        self._roster = roster
        self._malformed = malformed

    def take_in(self, instance: Instance, rows: Iterable[ItemRow]) -> News:
        """Take values of streams: the next of each, never one twice and none after a gap."""
        news = News()
        for sequence, number, size, value in rows:
            call = self._find(instance, sequence, news)
            if call is None or number < call.have:
                self._pending.counts["duplicates"] += 1
            elif number > call.have:
                self._ask(call, number)
            elif number >= call.taken + call.window[0]:
                self._malformed["credit"] += 1
            else:
                if not call.begun:
                    call.copies = call.copies or 1  # an earlier one of those that came back
                    if call in instance.outbox:
                        instance.outbox.remove(call)  # it need not be asked for again
                wait = call.add(size, value)
                if wait[0] is not None:
                    news.waits.append(wait)
                if call.end is not None and call.end[0] == call.have:
                    news.done.append(call)
        return news

    def end(self, instance: Instance, rows: Iterable[EndRow]) -> News:
        """Take ends of streams: each is over once all of its values are here."""
        news = News()
        for sequence, count, error in rows:
            call = self._find(instance, sequence, news)
            if call is None:
                self._pending.counts["duplicates"] += 1
            elif count < call.have or call.end not in (None, (count, error)):
                self._malformed["end"] += 1
            else:
                call.end = (count, error)
                if count > call.have:
                    self._ask(call, count)
                elif call not in news.done:
                    news.done.append(call)
        return news

    def credit(self, call: StreamCall) -> None:
        """Grant credit for what was taken, with the next flush."""
        self._roster.grants[call.sequence] = call

    def ask_again(self, calls: Iterable[Call]) -> list[Call]:
        """Ask for what is missing of those that have begun; gives the others."""
        others: list[Call] = []
        for call in calls:
            if isinstance(call, StreamCall) and call.begun:
                call.missing = True
                self.credit(call)
            else:
                others.append(call)
        return others

    def progress(self, instance: Instance, rows: Iterable[tuple[int, int, int]]) -> None:
        """Take what a pong says: how many values were sent before it, how many grants came."""
        for sequence, sent, taken in rows:
            call = instance.calls.get(sequence)
            if isinstance(call, StreamCall):
                call.missing = call.missing or sent > call.have
                if call.missing or taken < call.told:
                    self.credit(call)

    def check(self) -> None:
        """Each stream has what it must; one that has begun is not asked for anew."""
        for call in self._pending.calls.values():
            if isinstance(call, StreamCall):
                call.check()
                assert not call.over
                assert not (call.begun and call.instance is None)
                assert call.instance is None or not (
                    call.begun and call in call.instance.outbox
                )

    def _find(self, instance: Instance, sequence: int, news: News) -> StreamCall | None:
        """The stream that this instance has; None for what is not its business (any more)."""
        call = self._pending.calls.get(sequence)
        if call is None and 0 < sequence < self._pending.next:
            if sequence not in news.strangers:
                news.strangers.append(sequence)
        elif isinstance(call, StreamCall) and call.instance is instance:
            return call
        return None

    def _ask(self, call: StreamCall, number: int) -> None:
        """Have values below that number sent again, unless they were asked for already."""
        if call.lacks(number):
            self._pending.counts["retries"] += 1
            self.credit(call)
