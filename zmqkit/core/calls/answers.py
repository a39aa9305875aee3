"""What a service answers beside its handlers' values, and how answers become packets."""

from __future__ import annotations

from zmqkit.core.calls.outcome import BUSY, EXPIRED, FORGOTTEN, LEAVING, RECALLED
from zmqkit.core.dispatch.window import Answer, Window
from zmqkit.core.dispatch.windows import Windows
from zmqkit.core.effects import Effect, Send
from zmqkit.limits import BATCH_BYTES, COUNTED_BYTES_MIN
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Buffer, encode

_TEXTS = {
    BUSY: "the service has as many requests as it takes; try again later",
    LEAVING: "the service is stopping",
    RECALLED: "it was given back before it ran",
    EXPIRED: "the deadline passed before the request ran",
    FORGOTTEN: "it may have run, but its reply was given up for space",
}

DONE = Answer(wire.REPLY, b"\xc0")
"""Acknowledges a one-way message whose handler has run: None, as msgpack."""

CANCELLED = Answer(wire.ERROR, encode([FORGOTTEN, "", "the call was cancelled", "", True]))
"""Stands where an answer was, so that a late copy of a cancelled request does not run."""

CLOSED = Answer(wire.ERROR, encode([FORGOTTEN, "", "the service was closed", "", True]))
"""What ends a stream that its service does not finish."""


def refuse(code: str, text: str = "", *, may_have_run: bool = False) -> Answer:
    """A refusal for one of the reasons that travel; what is forgotten may have run."""
    row = [code, "", text or _TEXTS[code], "", may_have_run or code == FORGOTTEN]
    return Answer(wire.ERROR, encode(row))


LOST = refuse(FORGOTTEN)
"""Says that a stream is no longer known."""


class Outbox:
    """A service's answers on their way out: those of a turn leave in one packet a client.

    Those for which there is no room among what was sent and is not read wait in the windows of
    their clients. waiting: these clients.
    """

    __slots__ = ("_answers", "_counted_min", "_counts", "_incarnation", "_windows", "waiting")

    def __init__(
        self, incarnation: int, windows: Windows, counted_bytes_min: int = COUNTED_BYTES_MIN
    ) -> None:
        self.waiting: dict[int, None] = {}
        self._counted_min = counted_bytes_min
        self._counts = False
        self._incarnation = incarnation
        self._windows = windows
        self._answers: dict[int, list[tuple[int, Answer]]] = {}

    def __bool__(self) -> bool:
        return bool(self._answers)

    def add(self, client: int, sequence: int, answer: Answer) -> None:
        """Have an answer leave with the next `take`, unless it is to wait."""
        if answer.size >= self._counted_min:
            self._counts = True
        answers = self._answers.get(client)
        if answers is None:
            self._answers[client] = [(sequence, answer)]
        else:
            answers.append((sequence, answer))

    def take(self) -> list[Effect]:
        """What is not to wait, in packets, to the clients that are still known."""
        leaving, self._answers = self._answers, {}
        counts, self._counts = self._counts, False
        effects: list[Effect] = []
        for client, answers in leaving.items():
            window = self._windows.by_client.get(client)
            if window is not None:
                if counts and not (answers := self._admitted(window, answers)):
                    continue
                far = window.far
                for kind, columns, raw in packets(answers):
                    frames = wire.pack(
                        kind, self._incarnation, client, 0, columns, raw, far=far
                    )
                    effects.append(Send(window.peer, frames))
        return effects

    def go_on(self, *, everything: bool = False) -> list[Effect]:
        """What waited and may be sent now; at the end everything."""
        for client in list(self.waiting):
            window = self._windows.by_client.get(client)
            if window is not None:
                self._go_on(window, everything=everything)
            if window is None or not window.waiting:
                del self.waiting[client]
        return self.take()

    def _go_on(self, window: Window, *, everything: bool) -> None:
        for sequence in list(window.waiting):
            answer = window.answers.get(sequence, LOST)
            if answer is not LOST:
                if not (everything or self._windows.has_room(window, answer.size)):
                    return
                window.unread.add(sequence, answer.size)
            window.wait_no_more(sequence)
            self._answers.setdefault(window.client, []).append((sequence, answer))

    def _admitted(
        self, window: Window, answers: list[tuple[int, Answer]]
    ) -> list[tuple[int, Answer]]:
        """Those that leave now, counted as unread; the others wait behind those that do."""
        admitted: list[tuple[int, Answer]] = []
        for sequence, answer in answers:
            if answer.size < self._counted_min:
                admitted.append((sequence, answer))
            elif window.waiting or not self._windows.has_room(window, answer.size):
                window.wait(sequence)
                self.waiting[window.client] = None
            else:
                window.unread.add(sequence, answer.size)
                admitted.append((sequence, answer))
        return admitted


Part = tuple[int, bytes, "Buffer | None"]
"""Kind, columns and raw body of one packet."""


def packets(answers: list[tuple[int, Answer]]) -> list[Part]:
    """The answers in packets: one for each kind, more by size, a raw body alone."""
    kind, size = answers[0][1].kind, 0
    sequences: list[int] = []
    rows: list[bytes] = []
    for sequence, answer in answers:
        sequences.append(sequence)
        rows.append(answer.row)
        size += len(answer.row)
        if (answer.kind is not kind or answer.raw is not None) and len(answers) > 1:
            return _sorted_packets(answers)
    if size > BATCH_BYTES:
        return _sorted_packets(answers)
    return [(kind, wire.reply_columns(sequences, rows), answer.raw)]


def _sorted_packets(answers: list[tuple[int, Answer]]) -> list[Part]:
    parts: list[Part] = []
    groups: dict[int, tuple[list[int], list[bytes]]] = {}
    sizes = {wire.REPLY: 0, wire.ERROR: 0}
    for sequence, answer in answers:
        kind, row = answer.kind, answer.row
        if answer.raw is not None:
            parts.append((kind, wire.reply_columns([sequence], [row]), answer.raw))
            continue
        if sizes[kind] and sizes[kind] + len(row) > BATCH_BYTES:
            parts.append((kind, wire.reply_columns(*groups.pop(kind)), None))
            sizes[kind] = 0
        sequences, rows = groups.setdefault(kind, ([], []))
        sequences.append(sequence)
        rows.append(row)
        sizes[kind] += len(row)
    parts += [(kind, wire.reply_columns(*columns), None) for kind, columns in groups.items()]
    return parts
