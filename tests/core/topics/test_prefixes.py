"""Which topics a subscriber wants, by their beginnings."""

from __future__ import annotations

import pytest

from zmqkit.core.topics.prefixes import Prefixes
from zmqkit.errors import UsageError


def test_prefixes_are_in_force_once_and_in_their_order() -> None:
    prefixes = Prefixes(3)
    assert prefixes.add(["b", "a", "b"]) == [b"b", b"a"]
    assert prefixes.add(["a", "ç"]) == ["ç".encode()]
    assert [*prefixes] == [b"b", b"a", "ç".encode()]
    assert prefixes.want(b"another") and not prefixes.want(b"c")
    assert prefixes.remove(["a", "nothing"]) == [b"a"]
    assert not prefixes.want(b"another")


def test_there_is_a_limit_of_prefixes() -> None:
    prefixes = Prefixes(2)
    with pytest.raises(UsageError, match="at most 2 topics; use prefixes"):
        prefixes.add(["a", "b", "c"])
    assert not [*prefixes]


def test_a_text_is_no_list_of_prefixes() -> None:
    with pytest.raises(UsageError, match=r"use \['a'\]"):
        Prefixes(2).add("a")
