"""The output of the commands: values as text or JSON, tables, and colour on a terminal."""

from __future__ import annotations

import base64
import json
import logging
import os
import re
import shutil
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from math import isfinite
from typing import IO, Any, ClassVar, TextIO

import click

from zmqkit.errors import CallTimeout
from zmqkit.roles.logs import to_stderr

_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)
"""Characters that move the cursor, end a line, or turn the direction of text."""

_OF_TEXT = "\n\t"
"""Control characters that text of several lines may have."""

_HOME_AND_CLEAR = "\x1b[H\x1b[J"
_BEGIN_AND_CLEAR = "\r\x1b[K"


def coloured(stream: IO[Any]) -> bool:
    """Return whether to write colours.

    The stream must be a terminal. NO_COLOR must not be set, and TERM must not be "dumb".
    """
    wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return wanted and stream.isatty()


def styled(text: str, stream: IO[Any], **style: Any) -> str:
    """Return the text in a style of `click.style`, or unchanged if colours are not wanted."""
    return click.style(text, **style) if style and coloured(stream) else text


def say(text: str, **style: Any) -> None:
    """Write a line to standard output at once, escaped, in a style of `click.style`."""
    _write(sys.stdout, styled(escaped(text), sys.stdout, **style))


class JsonLines(logging.Formatter):
    """Writes a log entry as one line of JSON: at, level, logger, message, traceback."""

    # Whether standard error is to have nothing else.
    wanted: ClassVar[bool] = False

    converter = staticmethod(time.gmtime)
    default_time_format, default_msec_format = "%Y-%m-%dT%H:%M:%S", "%s.%03dZ"

    def format(self, record: logging.LogRecord) -> str:
        """Return the entry."""
        entry = {
            "at": self.formatTime(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return to_json(entry)


def tell_as_json() -> None:
    """Have all that is written to standard error be lines of JSON from now on."""
    JsonLines.wanted = True
    log = logging.getLogger()
    for handler in filter(None, (logging.lastResort, to_stderr, *log.handlers)):
        handler.setFormatter(JsonLines())


def _told_as_json(level: int, text: str) -> bool:
    """Write a text to standard error as a log entry of its level, if that is wanted."""
    if JsonLines.wanted:
        record = logging.LogRecord("zmqkit.cli", level, "", 0, "%s", (text,), None)
        _write(sys.stderr, JsonLines().format(record))
    return JsonLines.wanted


def tell(text: str) -> None:
    """Write a line to standard error, which is for people, escaped."""
    if not _told_as_json(logging.INFO, text):
        _write(sys.stderr, escaped(text))


def tell_lines(text: str) -> None:
    """Write text of several lines to standard error, with each line escaped."""
    if not _told_as_json(logging.INFO, text):
        _write(sys.stderr, escaped(text, but=_OF_TEXT))


def say_error(text: str) -> None:
    """Write `error: …` to standard error, in one line, escaped."""
    if _told_as_json(logging.ERROR, text):
        return
    head = styled("error:", sys.stderr, fg="red", bold=True)
    _write(sys.stderr, f"{head} {escaped(' '.join(text.split()))}")


def text_of(error: Exception) -> str:
    """Return what an error says, with the option of a command for the argument in Python."""
    text = str(error)
    is_late = isinstance(error, CallTimeout)
    return text.replace(" with timeout_s", " with --timeout") if is_late else text


def show(text: str) -> None:
    """Show a text in the present line of standard error, a terminal, in place of the last one.

    The line is as long as the terminal is wide, at most. An empty text clears it.
    """
    width = shutil.get_terminal_size().columns - 1
    sys.stderr.write(f"{_BEGIN_AND_CLEAR}{escaped(text)[:width]}")
    sys.stderr.flush()


def draw(lines: Sequence[str]) -> None:
    """Clear a terminal and write lines to it. The caller has escaped them already."""
    _write(sys.stdout, _HOME_AND_CLEAR + "\n".join(lines))


def escaped(text: str, *, but: str = "") -> str:
    """Return the text with its control characters written as in a Python literal.

    So the text stays one line. Its sender can neither forge other lines nor steer a terminal.
    but: control characters that stay as they are.
    """
    return _CONTROL.sub(
        lambda found: found[0] if found[0] in but else repr(found[0])[1:-1], text
    )


class Escaping(logging.Formatter):
    """Writes a log entry as one escaped line, and its traceback as lines of its own."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the entry without its traceback."""
        return escaped(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        """Return the entry, with its traceback if it has one."""
        return escaped(super().format(record), but=_OF_TEXT)


def say_json(value: object) -> None:
    """Write a value as one line of JSON. On a terminal it has no control characters."""
    text = to_json(value)
    if sys.stdout.isatty():
        text = _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    _write(sys.stdout, text)


def say_value(value: object, *, as_json: bool) -> None:
    """Write a value: text plainly, bytes unchanged, everything else as JSON.

    On a terminal, bytes are written as base64. Control characters of a text are escaped there,
    except those that make its lines. A number that JSON does not have is written as `zmqkit
    call` reads it.
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
    """Return the value as one line of JSON. A value that JSON does not have becomes text.

    Bytes become base64. Points in time become ISO 8601. Numbers that JSON does not have become
    NaN, Infinity or -Infinity.
    """
    return json.dumps(_jsonable(value), ensure_ascii=False, allow_nan=False)


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows as lines. Each column is as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def several(number: object, noun: str) -> str:
    """Return a number with its noun: `1 call`, `1,000 calls`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def duration(seconds: float) -> str:
    """Return a length of time for people: `4 s`, `12 min`, `3 h`, `2 d`."""
    for unit, unit_s, below in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 172800)):
        if seconds < below:
            return f"{int(seconds / unit_s)} {unit}"
    return f"{int(seconds / 86400)} d"


def _write(stream: TextIO, text: str) -> None:
    """Write a line. Escape what the stream's encoding cannot carry."""
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    stream.flush()


def _jsonable(value: object) -> object:
    """Return the value with text in place of everything that JSON does not have."""
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
    """Return a number that JSON does not have, as JavaScript and Python's json write it."""
    return json.dumps(value)


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")
