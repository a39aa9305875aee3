"""The statistics of a process: what is asked for, and the rows of each answer.

A process tells one row for each of its roles, and behind it one for each part of the role: a
method, topic, queue or service. An answer has a bounded size, and says where the next one has
to go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import cast

from zmqkit.model import Frames
from zmqkit.statistics_limits import (
    PART_CHARS_MAX,
    STATISTICS_BYTES_MAX,
    TALKS_MAX,
    WORDS_MAX,
)
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Malformed, array, encode
from zmqkit.wire.histogram import Histogram, unpacked
from zmqkit.wire.packet import Packet

Place = tuple[int, int]
"""Where an answer is to begin: the number of a role in its process, and of a row of that."""

_NUMBER_MAX = (1 << 64) - 1
BEHIND_ALL: Place = (_NUMBER_MAX, 0)
"""Where no role stands, so that the answer tells of the process alone."""

_WORD_CHARS_MAX = 60
_TEXT_CHARS_MAX = 255


@dataclass(slots=True)
class Figures:
    """One row: what a role, or one part of it, counts. Counters only grow."""

    # What the role is, its name or URL, and its number.
    role: str = ""
    name: str = ""
    incarnation: int = 0
    # What the part is: `method`, `topic`, `queue` or `service`; empty for the role itself.
    # And its name; empty for all those together that have no row of their own.
    part: str = ""
    of: str = ""
    # Counters, as in `stats()` of the role.
    accepted: int = 0
    delivered: int = 0
    failed: int = 0
    expired: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    malformed: int = 0
    # How it is now. The age is that of the oldest that waits or runs, in milliseconds.
    running: int = 0
    waiting: int = 0
    oldest_ms: int = 0
    credit: int = 0
    # Peers by state, and the numbers of some of them.
    peers: dict[str, int] = field(default_factory=dict)
    talks_to: list[int] = field(default_factory=list)
    # Other numbers by which peers know it: a device's service, at clients and at services.
    known_as: list[int] = field(default_factory=list)
    # How long it took from arrival to answer, and to wait before that; None if not measured.
    took: Histogram | None = None
    waited: Histogram | None = None


_TEXTS = ("role", "name", "part", "of")
_NUMBERS = tuple(each.name for each in fields(Figures) if each.type == "int")
_WORDS = ("dropped", "peers")
_PEERS = ("talks_to", "known_as")
_HISTOGRAMS = ("took", "waited")
_NAMES_MAX = {"role": _WORD_CHARS_MAX, "part": _WORD_CHARS_MAX, "of": PART_CHARS_MAX}


@dataclass(slots=True)
class Told:
    """One answer: who gave it, when, its rows, and where the next one has to begin."""

    token: int
    # The number of the process, and what the system calls it; the host's name.
    process: int
    pid: int
    host: str
    # The process's own monotonic time, in milliseconds.
    at_ms: int
    # Its time of day, in microseconds since 1970; 0 if it does not know that.
    wall_us: int
    rows: list[Figures]
    next: Place | None = None


def question(process: int, token: int, place: Place = (0, 0)) -> Frames:
    """Return the packet that asks for statistics, from this place on."""
    return wire.pack(wire.STATISTICS, process, 0, 0, encode([token, *place]))


def read_question(packet: Packet) -> tuple[int, Place]:
    """Return the token and the place of a question. Raises Malformed for anything else."""
    meta = packet.meta
    if type(meta) is not list or len(meta) != 3 or not all(map(_is_number, meta)):
        raise Malformed("statistics")
    token, number, row = meta
    return token, (number, row)


def row_of(figures: Figures) -> bytes:
    """Return a row as it travels: a map of all that is not empty."""
    row: dict[str, object] = {}
    for name in _TEXTS:
        if text := getattr(figures, name):
            row[name] = text[: _NAMES_MAX.get(name, _TEXT_CHARS_MAX)]
    for name in _NUMBERS:
        if number := getattr(figures, name):
            row[name] = max(0, number)
    for name in _WORDS:
        if words := getattr(figures, name):
            row[name] = dict(list(words.items())[:WORDS_MAX])
    for name in _PEERS:
        if peers := getattr(figures, name):
            row[name] = peers[:TALKS_MAX]
    for name in _HISTOGRAMS:
        if (histogram := getattr(figures, name)) is not None:
            row[name] = histogram.packed()
    return encode(row)


@dataclass(slots=True)
class About:
    """What each answer says of its process, beside the rows."""

    process: int
    # What the system calls it, and the host's name.
    pid: int
    host: str


def answer(
    about: About,
    token: int,
    at_ms: int,
    wall_us: int,
    rows: Sequence[bytes],
    next: Place | None,
) -> Frames:
    """Return an answer with these rows, which are encoded, taken at this time."""
    head = {
        "token": token,
        "pid": about.pid,
        "host": about.host[:_TEXT_CHARS_MAX],
        "at_ms": at_ms,
        "wall_us": wall_us,
        "next": None if next is None else [*next],
    }
    meta = array([encode(head), array(rows)])
    return wire.pack(wire.FIGURES, about.process, 0, 0, meta)


def read_answer(packet: Packet) -> Told:
    """Return what an answer says. Raises Malformed for anything else."""
    meta = packet.meta
    if type(meta) is not list or len(meta) != 2 or packet.size > STATISTICS_BYTES_MAX:
        raise Malformed("statistics")
    head, rows = meta
    if type(head) is not dict or type(rows) is not list or not packet.source:
        raise Malformed("statistics")
    numbers = [head.get(name) for name in ("token", "pid", "at_ms", "wall_us")]
    host, next = head.get("host"), head.get("next")
    if not all(map(_is_number, numbers)) or type(host) is not str:
        raise Malformed("statistics")
    if next is not None and not (
        type(next) is list and len(next) == 2 and all(map(_is_number, next))
    ):
        raise Malformed("statistics")
    token, pid, at_ms, wall_us = cast("list[int]", numbers)
    place = None if next is None else (next[0], next[1])
    told = [_figures(row) for row in rows]
    host = host[:_TEXT_CHARS_MAX]
    return Told(token, packet.source, pid, host, at_ms, wall_us, told, place)


def _figures(row: object) -> Figures:
    if type(row) is not dict:
        raise Malformed("statistics")
    figures = Figures()
    for name in _TEXTS:
        text = row.get(name, "")
        if type(text) is not str or len(text) > _TEXT_CHARS_MAX:
            raise Malformed("statistics")
        setattr(figures, name, text)
    for name in _NUMBERS:
        number = row.get(name, 0)
        if not _is_number(number):
            raise Malformed("statistics")
        setattr(figures, name, number)
    for name in _WORDS:
        setattr(figures, name, _words(row.get(name, {})))
    for name in _PEERS:
        setattr(figures, name, _peers(row.get(name, [])))
    for name in _HISTOGRAMS:
        if name in row:
            setattr(figures, name, unpacked(row[name]))
    return figures


def _peers(value: object) -> list[int]:
    if type(value) is not list or len(value) > TALKS_MAX or not all(map(_is_number, value)):
        raise Malformed("statistics")
    return value


def _words(value: object) -> dict[str, int]:
    if type(value) is not dict or len(value) > WORDS_MAX:
        raise Malformed("statistics")
    if any(type(w) is not str or not _is_number(n) for w, n in value.items()):
        raise Malformed("statistics")
    return cast("dict[str, int]", value)


def _is_number(value: object) -> bool:
    return type(value) is int and 0 <= value <= _NUMBER_MAX
