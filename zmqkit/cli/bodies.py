"""Bodies of messages and tasks, from the command line or from standard input."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from typing import BinaryIO

from zmqkit.cli.call import parse
from zmqkit.cli.stdin import standard_input


def read_bodies(text: str | None, *, raw: bool, again: bool = False) -> Iterator[object]:
    """Return the bodies to send.

    text: a body. None stands for each line of standard input, "-" for all of standard input.
    again: whether a single body is returned again and again.
    """
    if text is None:
        return _lines(standard_input(), raw=raw)
    given = text.encode(errors="surrogateescape")  # text that is not UTF-8 stays bytes
    return _one(given if text != "-" else standard_input(), raw=raw, again=again)


def _lines(stream: BinaryIO, *, raw: bool) -> Iterator[object]:
    for line in stream:
        yield meaning(line.removesuffix(b"\n").removesuffix(b"\r"), raw=raw)


def _one(source: bytes | BinaryIO, *, raw: bool, again: bool) -> Iterator[object]:
    """Yield one body, once or again and again. Read a stream only when its body is wanted."""
    if isinstance(source, bytes):
        body = meaning(source, raw=raw)
    else:
        data = source.read()
        body = meaning(data if raw else data.removesuffix(b"\n"), raw=raw)
    yield from repeat(body) if again else (body,)


def meaning(data: bytes, *, raw: bool) -> object:
    """Return bytes from outside as a body: what they mean as JSON, text, or themselves."""
    if raw:
        return data
    try:
        return parse(data.decode())
    except UnicodeDecodeError:
        return data
