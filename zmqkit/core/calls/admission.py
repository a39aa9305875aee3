"""Which requests a service accepts, and how it answers the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from math import inf
from typing import Protocol

from zmqkit.core.calls.answers import LOST, Outbox, refuse
from zmqkit.core.calls.outcome import BAD_ARGUMENTS, BUSY, LEAVING, NO_METHOD
from zmqkit.core.calls.request import Ended, Request, RequestWindow
from zmqkit.core.calls.service_streams import Streams
from zmqkit.core.calls.work import Work
from zmqkit.core.dispatch.window import Answer
from zmqkit.limits import ServiceLimits
from zmqkit.wire.rows import Arguments, Head

OWN = "zmqkit."
"""How the names of methods begin that a service has without a handler of the program's."""

_NAMES_MAX = 20
_SHOWN_CHARS = 100


class Methods:
    """The methods of a service, and which of them are idempotent.

    Both maps say of each method whether a request for it may run twice; both may grow later.
    """

    def __init__(self, plain: Mapping[str, bool], streams: Mapping[str, bool]) -> None:
        self.plain = plain
        self.streams = streams

    def has_one_value(self, name: str) -> bool:
        """Return whether the method returns one value, whatever its client asks for."""
        return name in self.plain

    def repeats(self, name: str) -> bool:
        """Return whether a request for this method may run twice."""
        return self.plain.get(name, False) or self.streams.get(name, False)

    def idempotent(self) -> list[str]:
        """Return the methods whose requests may run twice."""
        return [name for name in (*self.plain, *self.streams) if self.repeats(name)]

    def refusal(self, name: str, *, streams: bool) -> Answer | None:
        """Return the refusal of a request for this method; None if the service has the method.

        streams: the client asks for a stream. It may do so for a method with one value too.
        """
        if name in self.streams and not streams:
            text = (
                f"{name!r} gives many values; ask for them with client.stream({name!r}, ...), "
                "or with `zmqkit call` and without --notify"
            )
            return refuse(NO_METHOD, text)
        if name in self.plain or name in self.streams:
            return None
        return refuse(NO_METHOD, f"no method {name[:_SHOWN_CHARS]!r}; {self._names()}")

    def _names(self) -> str:
        offered = (name for name in (*self.plain, *self.streams) if not name.startswith(OWN))
        names = sorted(offered) or ["none"]
        more = f", … ({len(names)} in all)" if len(names) > _NAMES_MAX else ""
        return f"there are {', '.join(names[:_NAMES_MAX])}{more}"


class Share(Protocol):
    """Shares the places of a service among its clients, which may then have so many each."""

    # The clients that are to be told of their share.
    news: dict[int, None]

    @property
    def places(self) -> int:
        """How many requests there may be at once."""

    def of(self, client: int) -> int:
        """Return how many requests a client may have here."""

    def refused(self, client: int) -> None:
        """Note that a request of this client found no place."""

    def handled(self, requests: Iterable[Request], held_count: int, now: float) -> None:
        """Note that these requests ended now, and how many are still here."""

    def hand_back_at(self, begun_at: float, running: int, *, waits: bool) -> float:
        """Return when what waits is to be refused, unless another request begins before.

        begun_at: when the last request did. running: how many do. waits: whether any does.
        """

    def handed_back(self) -> None:
        """Note that what waited was refused, as requests take longer than was thought."""

    def told(self) -> list[tuple[int, int]]:
        """Return the clients to be told now, each with its share."""


class Admission:
    """Decides which requests are new, and whether the limits of the service admit them."""

    def __init__(
        self,
        offered: Methods,
        work: Work,
        streams: Streams,
        outbox: Outbox,
        counts: Counter[str],
        limits: ServiceLimits,
        share: Share | None = None,
    ) -> None:
        # The service accepts no new requests any more, or none beyond this ticket.
        self.leaving = False
        self.ticket_max = inf
        self._offered = offered
        self._work = work
        self._streams = streams
        self._outbox = outbox
        self._counts = counts
        self._limits = limits
        self._share = share
        # When to see whether something is to be given back: now and then, not at each request.
        self._look_at = inf

    def turned_away(
        self,
        window: RequestWindow,
        head: Head,
        size: int,
        values: Arguments | None,
        now: float,
        *,
        streams: bool = False,
    ) -> bool:
        """Answer a request that came before or is refused; return False if it is to run.

        values: its arguments; None if they cannot be read.
        """
        sequence, method = head[0], head[2]
        known = self._known(window, head, streams=streams)
        if known is not None:
            self._counts["duplicates"] += 1
            self._streams.send_again(window, sequence, 0)
            for answer in known:
                self._outbox.add(window.client, sequence, answer)
            return True
        refusal = self._refusal(window, sequence, method, size, streams=streams)
        if refusal is None and values is None:
            refusal = refuse(BAD_ARGUMENTS, "the arguments cannot be read")
        if refusal is None:
            return False
        self._counts["refused"] += 1
        self._work.shown.refused(window.client, head, size, values, refusal, now)
        window.retain(sequence, refusal)
        self._outbox.add(window.client, sequence, refusal)
        return True

    def takes(self, window: RequestWindow, count: int, size: int) -> bool:
        """Return whether the limits admit `count` more requests of `size` bytes together."""
        limits, work, share = self._limits, self._work, self._share
        if share is not None and work.held_count + len(work.overdue) + count > share.places:
            return False
        return not self.leaving and (
            work.ticket + count <= self.ticket_max
            and len(window.held) + count <= limits.client_requests_max
            and work.held_count + count <= limits.requests_max
            and (work.held_bytes + size <= limits.held_bytes_max or not work.held_count)
        )

    def hand_back_at(self) -> float:
        """Return when `hand_back` is due; it may be too early, never too late."""
        if self._look_at == inf:
            self._look_at = self._due_at()
        return self._look_at

    def hand_back(self, now: float) -> bool:
        """Refuse what waits, if it has no place here soon: it may have one elsewhere.

        Returns whether clients are to be told.
        """
        self._look_at = inf
        share = self._share
        if share is None or now < self._due_at():
            return False
        share.handed_back()
        for client in self._work.empty_line(now):
            share.refused(client)
        return True

    def _due_at(self) -> float:
        share, work = self._share, self._work
        at_work = work.running or work.overdue
        if share is None or not at_work:
            return inf
        begun_at = next(reversed(at_work.values())).begun_at
        return share.hand_back_at(begun_at, work.places_taken, waits=work.waits)

    def _known(
        self, window: RequestWindow, head: Head, *, streams: bool
    ) -> list[Answer] | None:
        """Return the answers to a request that came before; None if it is not known.

        A request counts as new if its id never came, or if its id is forgotten and its method
        is idempotent. A stream never begins again, for its client may have read half of it. The
        list is empty if there is nothing to answer now.
        """
        sequence, method = head[0], head[2]
        if window.is_settled(sequence) or sequence in window.held:
            return []
        if sequence in window.answers:
            answer = window.answers[sequence]
            return [] if isinstance(answer, Ended) else [answer]
        if sequence < window.forgotten_below and (streams or not self._offered.repeats(method)):
            return [LOST]
        return None

    def _refusal(
        self, window: RequestWindow, sequence: int, method: str, size: int, *, streams: bool
    ) -> Answer | None:
        """Return the refusal of a new request; None when it is accepted."""
        forgotten = sequence < window.forgotten_below  # and may run twice
        if self.leaving:
            return refuse(LEAVING, may_have_run=forgotten)
        if not self.takes(window, 1, size) or (streams and self._streams.is_full):
            if self._share is not None:
                self._share.refused(window.client)
            return refuse(BUSY, may_have_run=forgotten)
        return self._offered.refusal(method, streams=streams)
