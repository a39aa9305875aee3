"""Keys as a terminal sends them."""

from __future__ import annotations

import pytest

pytest.importorskip("rich")

from zmqkit.cli.terminal import Keys


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"jk/", ["j", "k", "/"]),
        (b"\x1b[A\x1bOB\x1b[5~\x1b[F", ["up", "down", "page-up", "end"]),
        (b"\r\n\x7f\x03", ["enter", "enter", "backspace", "interrupt"]),
        ("é日".encode(), ["é", "日"]),
        (b"\x1b[15~q", ["\x1b[15~", "q"]),
        (b"\xffq", ["\ufffd", "q"]),
    ],
)
def test_keys_have_names_or_are_characters(data: bytes, keys: list[str]) -> None:
    assert Keys().feed(data) == keys


def test_a_key_may_come_in_pieces() -> None:
    keys = Keys()
    assert [keys.feed(each) for each in (b"\x1b", b"[", b"1", b"~")] == [[], [], [], ["home"]]
    assert not keys.is_split
    assert [keys.feed(each) for each in ("é".encode()[:1], "é".encode()[1:])] == [[], ["é"]]


def test_escape_is_a_key_once_nothing_follows() -> None:
    keys = Keys()
    assert keys.feed(b"x\x1b") == ["x"] and keys.is_split
    assert keys.feed(b"") == ["escape"] and not keys.is_split
