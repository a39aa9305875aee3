"""What the commands write: values as text or JSON, tables, and colour where somebody looks."""

from __future__ import annotations

import base64
import json
import logging
import os
import re
import sys
from collections.abc import Sequence
from datetime import datetime
from math import isfinite
from typing import IO, Any, TextIO

import click

_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)
"""What moves the cursor, ends a line, or turns the direction of text."""

_OF_TEXT = "\n\t"
"""What text of several lines is made of."""

_HOME_AND_CLEAR = "\x1b[H\x1b[J"


def coloured(stream: IO[Any]) -> bool:
    """Whether colour is welcome: a terminal, and neither NO_COLOR nor a dumb one."""
    wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return wanted and stream.isatty()


def styled(text: str, stream: IO[Any], **style: Any) -> str:
    """The text in a style of `click.style`, or as it is where colour is not welcome."""
    return click.style(text, **style) if style and coloured(stream) else text


def say(text: str, **style: Any) -> None:
    """Write a line to standard output at once, escaped, in a style of `click.style`."""
    _write(sys.stdout, styled(escaped(text), sys.stdout, **style))


def tell(text: str) -> None:
    """Write a line to standard error, which is for people, escaped."""
    _write(sys.stderr, escaped(text))


def tell_lines(text: str) -> None:
    """Write text of several lines to standard error, each of them escaped."""
    _write(sys.stderr, escaped(text, but=_OF_TEXT))


def say_error(text: str) -> None:
    """Write `error: …` to standard error, in one line, escaped."""
    head = styled("error:", sys.stderr, fg="red", bold=True)
    _write(sys.stderr, f"{head} {escaped(' '.join(text.split()))}")


def draw(lines: Sequence[str]) -> None:
    """Write lines, escaped already, to a terminal that is cleared first."""
    _write(sys.stdout, _HOME_AND_CLEAR + "\n".join(lines))


def escaped(text: str, *, but: str = "") -> str:
    """The text with control characters, but for these, as in a Python literal.

    So it stays a line, and whoever sent it can neither forge others nor steer a terminal.
    """
    return _CONTROL.sub(
        lambda found: found[0] if found[0] in but else repr(found[0])[1:-1], text
    )


class Escaping(logging.Formatter):
    """Writes a log entry as a line, escaped, and a traceback as lines of its own."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The entry without its traceback."""
        return escaped(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        """The entry, and its traceback if it has one."""
        return escaped(super().format(record), but=_OF_TEXT)


def say_json(value: object) -> None:
    """Write a value as one line of JSON, without control characters where it is a terminal."""
    text = to_json(value)
    if sys.stdout.isatty():
        text = _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    _write(sys.stdout, text)


def say_value(value: object, *, as_json: bool) -> None:
    """Write a value: text plainly, bytes unchanged, the rest as JSON.

    On a terminal bytes are base64 and control characters are escaped, but for those that make
    lines of a text. A number that JSON does not have is written as `zmqkit call` reads it.
    """
    if isinstance(value, bytes) and not as_json and not sys.stdout.isatty():
        sys.stdout.flush()
        sys.stdout.buffer.write(value)
        sys.stdout.buffer.flush()
    elif isinstance(value, str) and not as_json:
        on_terminal = sys.stdout.isatty()
        _write(sys.stdout, escaped(value, but=_OF_TEXT) if on_terminal else value)
    elif isinstance(value, bytes) and not as_json:
        say(_base64(value))
    elif isinstance(value, float) and not isfinite(value) and not as_json:
        say(_constant(value))
    else:
        say_json(value)


def to_json(value: object) -> str:
    """The value as one line of JSON; what that does not have becomes text.

    Bytes become base64, points in time ISO 8601, and numbers NaN, Infinity or -Infinity.
    """
    return json.dumps(_jsonable(value), ensure_ascii=False, allow_nan=False)


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """The rows as lines, in columns as wide as their widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def several(number: object, noun: str) -> str:
    """So many of something: `1 call`, `1,000 calls`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def duration(seconds: float) -> str:
    """A length of time for people: `4 s`, `12 min`, `3 h`, `2 d`."""
    for unit, unit_s, below in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 172800)):
        if seconds < below:
            return f"{int(seconds / unit_s)} {unit}"
    return f"{int(seconds / 86400)} d"


def _write(stream: TextIO, text: str) -> None:
    """Write a line; what the stream's encoding cannot carry is escaped."""
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    stream.flush()


def _jsonable(value: object) -> object:
    """The value with what JSON does not have replaced by text."""
    if isinstance(value, dict):
        return {_key(key): _jsonable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(each) for each in value]
    if isinstance(value, bytes):
        return _base64(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float) and not isfinite(value):
        return _constant(value)
    return value


def _key(key: object) -> str:
    return _base64(key) if isinstance(key, bytes) else str(key)


def _constant(value: float) -> str:
    """A number that JSON does not have, as JavaScript and Python's json write it."""
    return json.dumps(value)


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")
