"""Count the words of a text, and cut a text so that no word is torn."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

_WORD = re.compile(r"[^\W\d_]+")
_BETWEEN = re.compile(r"[\W\d_]")


def count(text: str) -> dict[str, int]:
    """Return how often each word occurs. A word is a run of letters, in lower case."""
    return dict(Counter(word.lower() for word in _WORD.findall(text)))


def cut(text: str, chars: int) -> Iterator[str]:
    """Yield the text in pieces of at least `chars` characters. No cut goes through a word.

    Only the last piece may be shorter.
    """
    begin = 0
    while begin < len(text):
        found = _BETWEEN.search(text, begin + chars)
        end = found.start() if found else len(text)
        yield text[begin:end]
        begin = end
