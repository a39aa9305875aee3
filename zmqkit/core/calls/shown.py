"""What a service shows of its requests to those that tap it: how each of them ends.

A request is shown once, as it is answered or given up. A stream is shown with each value that
it yields, too, for it may go on for days.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgpack

from zmqkit.core.calls.answers import CANCELLED
from zmqkit.core.calls.request import Request, StreamRequest
from zmqkit.core.dispatch.window import Answer
from zmqkit.core.tap import ENCODED_BYTES_MAX, Taps, of_raw
from zmqkit.errors import ZmqkitError
from zmqkit.tap_limits import TAP_BODY_BYTES
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Malformed, array_head, decode, encode, values_at
from zmqkit.wire.rows import CHARGE_BYTES, Arguments, Head
from zmqkit.wire.tapping import Passed

_WITH_HEADERS, _PAIR = b"\x93", array_head(2)
"""How a request begins that was passed on whole; and arguments, as they are shown."""


class Shown:
    """The taps of one service, and what they get to see."""

    def __init__(self) -> None:
        # Those that see the requests which were accepted, and those that see all others.
        self.taps: Taps = ()
        self.refusal_taps: Taps = ()
        # Whether arguments are read; whoever passes requests on has the bytes that came.
        self.is_read = True

    def tap(self, taps: Taps) -> None:
        """Have these see what passes; any thread may call this."""
        self.taps = self.refusal_taps = taps

    def results(self, results: Sequence[tuple[Request, Answer]], now: float) -> None:
        """Sample requests whose handlers end now with these answers."""
        for tap in self.taps:
            only = tap.wanted.only
            for request, answer in results:
                if (
                    (not only or request.method == only)
                    and not request.overdue  # it was shown as that
                    and tap.takes(1, now)
                ):
                    tap.put(self._row(request, now, *_reply_of(request, answer)))

    def late(self, request: Request, answer: Answer, now: float) -> None:
        """Sample a request whose handler took too long and goes on."""
        self._see(self.taps, request, now, *_reply_of(request, answer))

    def unbegun(self, request: Request, answer: Answer, now: float) -> None:
        """Sample a request that was accepted and does not run."""
        self._see(self.refusal_taps, request, now, *_reply_of(request, answer))

    def refused(
        self, client: int, head: Head, size: int, values: Arguments | None, answer: Answer,
        now: float,
    ) -> None:  # fmt: skip
        """Sample a request that is not accepted. values: None if they cannot be read."""
        if not self.refusal_taps:
            return
        sequence, _, method, priority = head
        headers, args, kwargs = values or (None, [b""], {})
        request = Request(
            0, client, sequence, method, args, kwargs, headers, priority, now, False, size, now
        )
        told = _reply_of(request, answer)
        self._see(self.refusal_taps, request, now, *told, is_known=values is not None)

    def value(self, request: StreamRequest, value: Answer, now: float) -> None:
        """Sample a value of a stream."""
        row = value.row if value.raw is None else of_raw(value.raw)
        self._see(self.taps, request, now, "value", value.size - CHARGE_BYTES, row)

    def stream_ended(self, request: StreamRequest, error: Answer | None, now: float) -> None:
        """Sample a stream that has ended; the reply is how many values it had."""
        if error is not None or request.cancelled:
            told = _reply_of(request, error or Answer(wire.REPLY, b""))
        else:
            told = ("streamed", request.sent_bytes, encode(request.sent))
        self._see(self.taps, request, now, *told)

    def _see(
        self, taps: Taps, request: Request, now: float, outcome: str, size: int, reply: bytes,
        *, is_known: bool = True,
    ) -> None:  # fmt: skip
        for tap in taps:
            only = tap.wanted.only
            if (not only or request.method == only) and tap.takes(1, now):
                row = self._row(request, now, outcome, size, reply)
                if not is_known:
                    row.body = b""
                tap.put(row)

    def _row(
        self, request: Request, now: float, outcome: str, size: int, reply: bytes
    ) -> Passed:
        return Passed(
            at_us=int(now * 1e6),
            what=request.method,
            outcome=outcome,
            took_us=max(0, int((now - request.arrived_at) * 1e6)),
            source=request.client,
            size=request.size,
            body=self._arguments_of(request),
            reply_size=size,
            reply=reply[:TAP_BODY_BYTES],
        )

    def _arguments_of(self, request: Request) -> bytes:
        """Return the beginning of the arguments: a list of positional ones and a map."""
        if request.size > ENCODED_BYTES_MAX:
            return b""
        try:
            if self.is_read:
                return encode([request.args, request.kwargs])[:TAP_BODY_BYTES]
            piece = request.args[0]
            assert isinstance(piece, bytes)
            if piece[:1] == _WITH_HEADERS:
                piece = bytes(values_at(piece[1:], 1, 2))
            return (_PAIR + piece)[:TAP_BODY_BYTES]
        except (ZmqkitError, ValueError, msgpack.UnpackException):
            return b""


def _reply_of(request: Request, answer: Answer) -> tuple[str, int, bytes]:
    """Return how a request ended, how many bytes the answer has, and what it says."""
    raw = answer.raw
    outcome, reply = "done", answer.row if raw is None else of_raw(raw)
    if answer.kind != wire.REPLY:
        outcome, reply = error_of(answer)
    if request.cancelled or answer is CANCELLED:
        outcome = "cancelled"
    return outcome, len(answer.row if raw is None else raw), reply


def error_of(answer: Answer) -> tuple[str, bytes]:
    """Return the code of an error, and its type and text as msgpack."""
    try:
        row = decode(answer.row)
    except Malformed:  # of a worker's answer, a device knows only that it is one value
        row = None
    if type(row) is not list or len(row) < 3:
        return "failed", answer.row
    code, kind, text = map(str, row[:3])
    return code, encode(f"{kind}: {text}" if kind else text)
