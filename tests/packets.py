"""Packets as peers send them, for tests that speak to one core by hand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

from zmqkit.core.effects import Effect, Send
from zmqkit.limits import CREDIT, PRIORITY, STREAM_BYTES, STREAM_ITEMS
from zmqkit.model import Frames
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import encode
from zmqkit.wire.streams import item_columns, stream_columns


def hello(source: int, target: int = 0, **fields: object) -> Frames:
    """Somebody asks who is there."""
    return wire.pack(wire.HELLO, source, target, 0, encode(fields))


def welcome(
    source: int, target: int = 0, *, credit: int = CREDIT, idempotent: Iterable[str] = ()
) -> Frames:
    """A service says who it is and what it grants."""
    fields = {"credit": credit, "idempotent": list(idempotent)}
    return wire.pack(wire.WELCOME, source, target, 0, encode(fields))


def directory(
    process: int,
    *roles: tuple[str, str, int, int],
    control: int = 5000,
    revision: int = 1,
    others: Iterable[object] | None = None,
) -> Frames:
    """A process says which roles it has: name, role, incarnation and port of each.

    others: rows of process, revision and places, if it was asked for them.
    """
    fields: dict[str, object] = {
        "process": process,
        "control": control,
        "revision": revision,
        "roles": [list(row) for row in roles],
    }
    if others is not None:
        fields["others"] = list(others)
    return wire.pack(wire.WELCOME, process, 0, 0, encode(fields))


def request(
    source: int,
    target: int,
    *sequences: int,
    method: str = "add",
    left_ms: int = 5000,
    priority: int = PRIORITY,
    settled: int = 0,
    oneway: bool = False,
) -> Frames:
    """A client asks for one thing, or for many, in one packet."""
    body = wire.request_body(method, priority, None, (7,), {})
    count = len(sequences)
    meta = wire.request_columns(list(sequences), [left_ms] * count, [body] * count)
    kind = wire.NOTIFY if oneway else wire.REQUEST
    return wire.pack(kind, source, target, settled, meta)


def reply(source: int, target: int, **values: object) -> Frames:
    """A service answers: the values by sequence number, written `_5=value`."""
    sequences = [int(name[1:]) for name in values]
    meta = wire.reply_columns(sequences, [encode(value) for value in values.values()])
    return wire.pack(wire.REPLY, source, target, 0, meta)


def error(source: int, target: int, code: str, *sequences: int, text: str = "") -> Frames:
    """A service refuses, or tells that handlers raised."""
    rows = [encode([code, "ValueError", text, "", code == "raised"]) for _ in sequences]
    return wire.pack(wire.ERROR, source, target, 0, wire.reply_columns(list(sequences), rows))


def stream(
    source: int,
    target: int,
    *sequences: int,
    method: str = "count",
    left_ms: int = 5000,
    window: tuple[int, int] = (STREAM_ITEMS, STREAM_BYTES),
    settled: int = 0,
) -> Frames:
    """A client asks for streams."""
    body = wire.request_body(method, PRIORITY, None, (7,), {})
    count = len(sequences)
    meta = stream_columns(list(sequences), [left_ms] * count, window, [body] * count)
    return wire.pack(wire.STREAM, source, target, settled, meta)


def grant(
    source: int, target: int, sequence: int, taken: int, missing: int | None = None
) -> Frames:
    """A client took values of a stream, and perhaps misses some."""
    meta = encode([[sequence], [taken], [missing]])
    return wire.pack(wire.GRANT, source, target, 0, meta)


def items(source: int, target: int, sequence: int, first: int, *values: object) -> Frames:
    """A service sends a stream's values, the first of which has that number."""
    rows = [encode(value) for value in values]
    numbers = list(range(first, first + len(rows)))
    sizes = [len(row) for row in rows]
    meta = item_columns([sequence] * len(rows), numbers, sizes, rows)
    return wire.pack(wire.ITEM, source, target, 0, meta)


def end(source: int, target: int, sequence: int, count: int, code: str = "") -> Frames:
    """A service ends a stream, with an error if a code is given."""
    row = [code, "ValueError", "no", "", True] if code else None
    return wire.pack(wire.END, source, target, 0, encode([[sequence], [count], [row]]))


def ping(
    source: int, target: int, token: int, below: int, open: Iterable[int] = (), *, read: int = 0
) -> Frames:
    """A client asks which ids are held, and says which are open, and which pong it read."""
    meta = [token, below, list(open), *([read] if read else [])]
    return wire.pack(wire.PING, source, target, 0, encode(meta))


def pong(
    source: int,
    target: int,
    token: int,
    held: Iterable[int] = (),
    *,
    credit: int = CREDIT,
    running: int | None = None,
    progress: Iterable[Sequence[int]] | None = None,
) -> Frames:
    """A service names what it holds, which all runs unless it is told otherwise, and says how
    far its streams are."""
    held = list(held)
    said: list[object] = [token, credit, held, len(held) if running is None else running]
    if progress is not None:
        said.append([list(row) for row in progress])
    return wire.pack(wire.PONG, source, target, 0, encode(said))


def ask(process: int, token: int = 1) -> Frames:
    """A process pings on the control connection."""
    return wire.pack(wire.PING, process, 0, 0, encode([token]))


def alive(process: int, revision: int = 1, token: int = 1) -> Frames:
    """A process answers a ping on the control connection."""
    return wire.pack(wire.PONG, process, 0, 0, encode([token, revision]))


def ended(process: int, *incarnations: int) -> Frames:
    """A process says that services of its own have ended."""
    return wire.pack(wire.BYE, process, 0, 0, encode(list(incarnations)))


def cancel(source: int, target: int, *sequences: int) -> Frames:
    """A client gives calls up."""
    return wire.pack(wire.CANCEL, source, target, 0, encode(list(sequences)))


def recall(source: int, target: int, *sequences: int) -> Frames:
    """A client asks for what has not begun, for another instance is idle."""
    return wire.pack(wire.RECALL, source, target, 0, encode(list(sequences)))


def last_word(source: int, target: int, *taken: int, below: int = 0) -> Frames:
    """A service has closed, and tells which ids it had taken."""
    return wire.pack(wire.BYE, source, target, 0, encode([below, list(taken)]))


def bye(source: int, target: int = 0) -> Frames:
    """A service is leaving."""
    return wire.pack(wire.BYE, source, target, 0, encode(None))


def read(effect: Effect) -> tuple[int, object]:
    """Kind and content of the packet that a Send holds."""
    packet = wire.unpack(cast(Send, effect).frames)
    return packet.kind, packet.meta


_LISTS = (wire.CANCEL, wire.RECALL)


def sent(effects: Iterable[Effect]) -> list[tuple[int, list[int]]]:
    """For each packet with calls or answers among the effects: its kind and its ids."""
    found: list[tuple[int, list[int]]] = []
    for effect in effects:
        if isinstance(effect, Send):
            kind, meta = read(effect)
            if kind >= wire.REQUEST:
                columns = cast("list[list[int]]", [meta] if kind in _LISTS else meta)
                found.append((kind, columns[0]))
    return found
