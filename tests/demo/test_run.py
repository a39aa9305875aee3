"""What a run of the demo comes to, in numbers."""

from __future__ import annotations

from collections import Counter

from zmqkit.demo.run import Result


def test_percentiles_are_latencies_that_occurred() -> None:
    result = Result(0, latencies_s=[n / 1000 for n in range(1, 101)])
    assert [result.percentile_s(each) for each in (50, 99, 100)] == [0.050, 0.099, 0.1]
    assert Result(0).percentile_s(50) == 0.0


def test_the_summary_has_the_most_frequent_words_of_the_text() -> None:
    words = Counter({chr(97 + n): 100 - n for n in range(26)})
    shown = Result(0, counted=words, expected=words).summary()["words"]
    assert shown == dict(words.most_common(20))


def test_a_call_without_an_answer_is_lost() -> None:
    result = Result(0, calls=3, done=3, latencies_s=[0.1, 0.1])
    assert result.lost == 1
    assert not result.ok
