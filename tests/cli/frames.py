"""What the tests of the command line serve at a broker that speaks MDP."""

from __future__ import annotations

from collections.abc import Iterator


def shout(*frames: bytes) -> bytes:
    return b" ".join(frame.upper() for frame in frames)


def spell(word: bytes) -> Iterator[bytes]:
    yield from (bytes((letter,)) for letter in word)


def other() -> None:
    """Something that no broker asks for."""
