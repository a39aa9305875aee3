"""The answers that a service gives without a handler, and how answers become packets."""

from __future__ import annotations

from zmqkit.core.calls.outcome import BUSY, EXPIRED, FORGOTTEN, LEAVING, RAISED, RECALLED
from zmqkit.core.calls.request import RequestWindow, RequestWindows
from zmqkit.core.dispatch.window import Answer
from zmqkit.core.effects import Effect, Send
from zmqkit.limits import BATCH_BYTES, COUNTED_BYTES_MIN
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Buffer, decode, encode
from zmqkit.wire.rows import answer_columns

_TEXTS = {
    BUSY: "the service has as many requests as it takes; try again later",
    LEAVING: "the service is stopping",
    RECALLED: "it was given back before it ran",
    EXPIRED: "the deadline passed before the request ran",
    FORGOTTEN: "the call may have run, but its reply was given up for space",
}

DONE = Answer(wire.REPLY, b"\xc0")
"""Acknowledges a one-way message whose handler has run. The row is None as msgpack."""

CANCELLED = Answer(wire.ERROR, encode([FORGOTTEN, "", "the call was cancelled", "", True]))
"""Retained for a cancelled request, so that a late copy of the request does not run."""

CLOSED = Answer(wire.ERROR, encode([FORGOTTEN, "", "the service was closed", "", True]))
"""Ends a stream that its service does not finish because it was closed."""


def refuse(code: str, text: str = "", *, may_have_run: bool = False) -> Answer:
    """Return a refusal with this code. A request with the code FORGOTTEN may have run."""
    row = [code, "", text or _TEXTS[code], "", may_have_run or code == FORGOTTEN]
    return Answer(wire.ERROR, encode(row))


def in_doubt(answer: Answer) -> Answer:
    """Return an error that was to say that the request did not run, for one that may have."""
    row = decode(answer.row)
    assert isinstance(row, list)
    return Answer(wire.ERROR, encode([*row[:-1], True]))


def late_answer(limit_s: float) -> Answer:
    """Return the error of a task whose handler took longer than it may."""
    text = f"took longer than task_timeout_s={limit_s:g}"
    return Answer(wire.ERROR, encode([RAISED, "TimeoutError", text, "", True]))


LOST = refuse(FORGOTTEN)
"""Says that the answer to an id, or its stream, is no longer known."""


class Outbox:
    """A service's answers on their way out: the answers of a turn share packets by client.

    The limits bound how many bytes were sent to a client and are not read yet. A large answer
    that finds no room within these limits waits in the client's window.
    """

    __slots__ = ("_answers", "_counted_min", "_counts", "_incarnation", "_windows", "waiting")

    def __init__(
        self,
        incarnation: int,
        windows: RequestWindows,
        counted_bytes_min: int = COUNTED_BYTES_MIN,
    ) -> None:
        # The clients whose windows have answers that wait.
        self.waiting: dict[int, None] = {}
        self._counted_min = counted_bytes_min
        # Whether an answer of this turn is large enough to be counted as unread.
        self._counts = False
        self._incarnation = incarnation
        self._windows = windows
        self._answers: dict[int, list[tuple[int, Answer]]] = {}

    def __bool__(self) -> bool:
        return bool(self._answers)

    def add(self, client: int, sequence: int, answer: Answer) -> None:
        """Have an answer leave with the next `take`, unless it then has to wait."""
        if answer.size >= self._counted_min:
            self._counts = True
        answers = self._answers.get(client)
        if answers is None:
            self._answers[client] = [(sequence, answer)]
        else:
            answers.append((sequence, answer))

    def take(self) -> list[Effect]:
        """Return this turn's answers as packets to known clients, but for those that wait."""
        leaving, self._answers = self._answers, {}
        counts, self._counts = self._counts, False
        effects: list[Effect] = []
        for client, answers in leaving.items():
            window = self._windows.by_client.get(client)
            if window is not None:
                if counts and not (answers := self._admitted(window, answers)):
                    continue
                far = window.far
                for kind, columns, rows, raw in packets(answers):
                    frames = wire.pack(
                        kind, self._incarnation, client, 0, columns, rows, raw, far=far
                    )
                    effects.append(Send(window.peer, frames))
        return effects

    def go_on(self, *, everything: bool = False) -> list[Effect]:
        """Return this turn's answers, and the waiting answers that now have room, as packets.

        everything: return all waiting answers, whether there is room or not.
        """
        effects = self.take() if self._answers else []
        for client in list(self.waiting):
            window = self._windows.by_client.get(client)
            if window is not None:
                self._go_on(window, everything=everything)
            if window is None or not window.waiting:
                del self.waiting[client]
        return effects + self.take()

    def _go_on(self, window: RequestWindow, *, everything: bool) -> None:
        for sequence in list(window.waiting):
            answer = window.answers.get(sequence, LOST)
            if answer is not LOST:
                if not (everything or self._windows.has_room(window, answer.size)):
                    return
                window.unread.add(sequence, answer.size)
            window.wait_no_more(sequence)
            self._answers.setdefault(window.client, []).append((sequence, answer))

    def _admitted(
        self, window: RequestWindow, answers: list[tuple[int, Answer]]
    ) -> list[tuple[int, Answer]]:
        """Return the answers that leave now; have the others wait.

        Large answers that leave count as unread. Behind a waiting answer, they all wait. Those
        that their client has given up meanwhile are left out.
        """
        admitted: list[tuple[int, Answer]] = []
        for sequence, answer in answers:
            if answer.size < self._counted_min:
                admitted.append((sequence, answer))
            elif window.is_settled(sequence):
                continue  # nothing would settle it again, so it would count for ever
            elif window.waiting or not self._windows.has_room(window, answer.size):
                window.wait(sequence)
                self.waiting[window.client] = None
            else:
                window.unread.add(sequence, answer.size)
                admitted.append((sequence, answer))
        return admitted


Part = tuple[int, bytes, bytes, "Buffer | None"]
"""Kind, columns, rows and raw body of one packet."""


def packets(answers: list[tuple[int, Answer]]) -> list[Part]:
    """Return the answers as packets: at least one for each kind, more if they are large.

    An answer with a raw body has a packet of its own.
    """
    if len(answers) == 1:
        [(sequence, answer)] = answers
        row = answer.row
        return [(answer.kind, answer_columns((sequence,), (row,)), row, answer.raw)]
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
    return [_part(kind, sequences, rows, answer.raw)]


def _part(
    kind: int, sequences: list[int], rows: list[bytes], raw: Buffer | None = None
) -> Part:
    return kind, answer_columns(sequences, rows), b"".join(rows), raw


def _sorted_packets(answers: list[tuple[int, Answer]]) -> list[Part]:
    parts: list[Part] = []
    groups: dict[int, tuple[list[int], list[bytes]]] = {}
    sizes = {wire.REPLY: 0, wire.ERROR: 0}
    for sequence, answer in answers:
        kind, row = answer.kind, answer.row
        if answer.raw is not None:
            parts.append(_part(kind, [sequence], [row], answer.raw))
            continue
        if sizes[kind] and sizes[kind] + len(row) > BATCH_BYTES:
            parts.append(_part(kind, *groups.pop(kind)))
            sizes[kind] = 0
        sequences, rows = groups.setdefault(kind, ([], []))
        sequences.append(sequence)
        rows.append(row)
        sizes[kind] += len(row)
    return parts + [_part(kind, *columns) for kind, columns in groups.items()]
