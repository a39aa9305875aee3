"""What a service answers beside its handlers' values, and how answers become packets."""

from __future__ import annotations

from collections.abc import Iterator

from zmqkit.core.outcome import BUSY, EXPIRED, FORGOTTEN, LEAVING
from zmqkit.core.window import Answer
from zmqkit.options import BATCH_BYTES
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import encode

_TEXTS = {
    BUSY: "the service has as many requests as it takes; try again later",
    LEAVING: "the service is stopping",
    EXPIRED: "the deadline passed before the request ran",
    FORGOTTEN: "it may have run, but its reply was given up for space",
}

TAKEN = Answer(wire.REPLY, b"\xc0")
"""Acknowledges a one-way message: None, as msgpack."""

CANCELLED = Answer(wire.ERROR, encode([FORGOTTEN, "", "the call was cancelled", "", True]))
"""Stands where an answer was, so that a late copy of a cancelled request does not run."""


def refuse(code: str, text: str = "") -> Answer:
    """A refusal for one of the reasons that travel; only what is forgotten may have run."""
    row = [code, "", text or _TEXTS[code], "", code == FORGOTTEN]
    return Answer(wire.ERROR, encode(row))


def packets(answers: list[tuple[int, Answer]]) -> Iterator[tuple[int, bytes, bytes | None]]:
    """Kind, columns and raw body of each packet: one a kind, more by size, a raw body alone."""
    rows = [answer.row for _, answer in answers]
    kinds = {answer.kind for _, answer in answers}
    if len(kinds) == 1 and sum(map(len, rows)) <= BATCH_BYTES:
        raws = [answer.raw for _, answer in answers if answer.raw is not None]
        if not raws or len(answers) == 1:
            columns = wire.reply_columns([sequence for sequence, _ in answers], rows)
            yield kinds.pop(), columns, raws[0] if raws else None
            return
    yield from _sorted_packets(answers)


def _sorted_packets(
    answers: list[tuple[int, Answer]],
) -> Iterator[tuple[int, bytes, bytes | None]]:
    groups: dict[int, tuple[list[int], list[bytes]]] = {}
    sizes = {wire.REPLY: 0, wire.ERROR: 0}
    for sequence, answer in answers:
        kind, row = answer.kind, answer.row
        if answer.raw is not None:
            yield kind, wire.reply_columns([sequence], [row]), answer.raw
            continue
        if sizes[kind] and sizes[kind] + len(row) > BATCH_BYTES:
            yield kind, wire.reply_columns(*groups.pop(kind)), None
            sizes[kind] = 0
        sequences, rows = groups.setdefault(kind, ([], []))
        sequences.append(sequence)
        rows.append(row)
        sizes[kind] += len(row)
    for kind, columns in groups.items():
        yield kind, wire.reply_columns(*columns), None
