"""Words of a text, and cutting it so that none is torn."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

_WORD = re.compile(r"[^\W\d_]+")
_BETWEEN = re.compile(r"[\W\d_]")


def count(text: str) -> dict[str, int]:
    """How often each word occurs; a word is a run of letters, lower-cased."""
    return dict(Counter(word.lower() for word in _WORD.findall(text)))


def cut(text: str, chars: int) -> Iterator[str]:
    """The text in pieces of at least `chars` characters, each cut where no word is."""
    begin = 0
    while begin < len(text):
        found = _BETWEEN.search(text, begin + chars)
        end = found.start() if found else len(text)
        yield text[begin:end]
        begin = end
