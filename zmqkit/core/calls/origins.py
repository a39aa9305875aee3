"""What a service knows of requests that devices pass on, by the ids that their clients gave.

A router passes requests on as calls of its own, with numbers of its own. To its service it is
the client: its window tells copies that the router sends again. Beside each number stands the
request's **origin**: the client, and the number that the client gave the request. By it the
service knows a request again that comes another way, through another router, since the client
lost the first one or the answer was lost with it. The first row that applies says what follows:

    settled    the client needs nothing more of it, says the device: the copy never runs
    answered   the copy is answered likewise
    held       the request waits or runs for the first way: it now is that of the copy, and both
               ways are answered, for what a dead device sent may be read after the copy
    ended      it may have run, and no answer is kept: the copy runs if its method is
               idempotent, else it is answered with `forgotten`
    new        none of these: the copy is accepted

Origins have windows, too, which are as bounded as those of clients: the answers are kept until
the client has settled the number, which each packet of a device repeats. A stream never goes
another way. The copy of a stream runs from its beginning if the method is idempotent, else it
is answered with `forgotten`.
"""

from __future__ import annotations

from collections.abc import Sequence

from zmqkit.core.calls.admission import Methods
from zmqkit.core.calls.answers import LOST, Outbox
from zmqkit.core.calls.request import Request, RequestWindow, RequestWindows, StreamRequest
from zmqkit.core.calls.work import Work
from zmqkit.core.dispatch.window import Answer
from zmqkit.limits import ServiceLimits
from zmqkit.wire.rows import Head, Origin

_NOWHERE = b""
"""Stands for the connection of a client that is reached through devices only."""


class Origins:
    """The windows of clients whose requests devices pass on."""

    def __init__(
        self,
        windows: RequestWindows,
        work: Work,
        outbox: Outbox,
        offered: Methods,
        limits: ServiceLimits,
    ) -> None:
        """Begin without clients. windows: of those who are connected."""
        self.clients = RequestWindows(limits)
        self._windows = windows
        self._work = work
        self._outbox = outbox
        self._offered = offered
        self._bytes_max = limits.retained_bytes_max
        # By origin: the other devices that held requests came through, and the numbers there.
        self._ways: dict[tuple[int, int], dict[int, int]] = {}
        work.let_go = self._let_go

    def meet(
        self,
        window: RequestWindow,
        heads: Sequence[Head],
        origins: Sequence[Origin] | None,
        now: float,
    ) -> None:
        """Have the window of a device know what came another way; then it takes the packet."""
        if origins is None:
            return
        met: dict[int, RequestWindow | None] = {}
        held, answers = window.held, window.answers
        for head, (client, below, number) in zip(heads, origins, strict=True):
            if client not in met:
                met[client] = self._hear(client, below, now)
            theirs, sequence = met[client], head[0]
            if theirs is None or sequence in held or sequence in answers:
                continue
            if window.is_settled(sequence):
                continue
            if number in theirs.held:
                self._redirect(theirs, number, window, sequence)
            elif number in theirs.answers:
                window.retain(sequence, theirs.answers[number])
            elif theirs.is_settled(number) or (
                number < theirs.forgotten_below and not self._offered.repeats(head[2])
            ):
                window.retain(sequence, LOST)

    def note(
        self,
        window: RequestWindow,
        heads: Sequence[Head],
        origins: Sequence[Origin] | None,
    ) -> None:
        """Note where those of the packet come from that were accepted."""
        if origins is None:
            return
        clients, held = self.clients.by_client, window.held
        for head, (client, _, number) in zip(heads, origins, strict=True):
            request, theirs = held.get(head[0]), clients.get(client)
            if request is None or request.origin is not None or theirs is None:
                continue
            request.origin = (client, number)
            request.forgotten |= number < theirs.forgotten_below
            if not isinstance(request, StreamRequest):
                theirs.held[number] = request
            elif not self._offered.repeats(request.method):
                self._retain(theirs, number, LOST)

    def answered(self, request: Request, answer: Answer) -> None:
        """Keep the answer to a request that has an origin, until its client has it."""
        self._end(request, answer)

    def check(self) -> None:
        """Assert that what is held by its origin is held by the window of a device."""
        self.clients.check()
        for theirs in self.clients:
            for number, request in theirs.held.items():
                assert request.origin == (theirs.client, number)
                window = self._windows.by_client[request.client]
                assert window.held[request.sequence] is request

    def _hear(self, client: int, below: int, now: float) -> RequestWindow | None:
        theirs = self.clients.hear(client, _NOWHERE, now)
        if theirs is not None and below > theirs.below:
            theirs.below = below
            theirs.free()
        return theirs

    def _let_go(self, request: Request) -> None:
        """Note that a request ends and that its answer, if there is one, is not to be kept."""
        runs_again = not request.begun_at or self._offered.repeats(request.method)
        self._end(request, None if runs_again else LOST)

    def _end(self, request: Request, answer: Answer | None) -> None:
        """Hold a request no longer; copies that come later are answered with `answer`."""
        assert request.origin is not None
        client, number = request.origin
        ways = self._ways.pop(request.origin, None)
        if ways and answer is not None:
            self._answer_others(ways, answer)
        theirs = self.clients.by_client.get(client)
        if theirs is None or theirs.held.pop(number, None) is None:
            return
        if answer is not None and not theirs.is_settled(number):
            self._retain(theirs, number, answer)

    def _retain(self, theirs: RequestWindow, number: int, answer: Answer) -> None:
        theirs.retain(number, answer)
        if self.clients.budget.bytes > self._bytes_max:
            self.clients.make_room()

    def _redirect(
        self, theirs: RequestWindow, number: int, window: RequestWindow, sequence: int
    ) -> None:
        """Have a request that is held be that of the copy, whose device is alive."""
        request = theirs.held[number]
        if request.cancelled:
            window.retain(sequence, LOST)
            return
        before, earlier = self._windows.by_client[request.client], request.sequence
        self._work.move(request, before, window, sequence)
        ways = self._ways.setdefault((theirs.client, number), {})
        ways.pop(window.client, None)
        ways[before.client] = earlier

    def _answer_others(self, ways: dict[int, int], answer: Answer) -> None:
        """Answer a request to the other devices that it came through."""
        for device, sequence in ways.items():
            window = self._windows.by_client.get(device)
            if window is not None and not window.is_settled(sequence):
                window.retain(sequence, answer)
                self._outbox.add(device, sequence, answer)
