"""Values, tables and colour as they are written."""

from __future__ import annotations

import io
import json
import logging
import sys
from datetime import UTC, datetime
from math import inf, nan

import pytest

from zmqkit.cli import output
from zmqkit.errors import CallTimeout, RemoteError


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("value", "as_json", "written"),
    [
        ("a\nb", False, "a\nb\n"),
        ("a\nb", True, '"a\\nb"\n'),
        ("", False, "\n"),
        (None, False, "null\n"),
        (True, False, "true\n"),
        (1.5, False, "1.5\n"),
        ([1, "ä"], False, '[1, "ä"]\n'),
        ({"a": {1: b"\xff"}}, False, '{"a": {"1": "/w=="}}\n'),
        ({b"\xff": (1, 2)}, False, '{"/w==": [1, 2]}\n'),
        (datetime(2026, 1, 2, tzinfo=UTC), False, '"2026-01-02T00:00:00+00:00"\n'),
        (b"ab", True, '"YWI="\n'),
        (nan, False, "NaN\n"),
        (-inf, False, "-Infinity\n"),
        (nan, True, '"NaN"\n'),
        (inf, True, '"Infinity"\n'),
        ({"a": [nan, (inf, -inf)]}, False, '{"a": ["NaN", ["Infinity", "-Infinity"]]}\n'),
    ],
)
def test_values_are_text_or_json(
    value: object, as_json: bool, written: str, capsys: pytest.CaptureFixture[str]
) -> None:
    output.say_value(value, as_json=as_json)
    assert capsys.readouterr().out == written


def test_bytes_go_out_unchanged_into_a_pipe(
    capsysbinary: pytest.CaptureFixture[bytes],
) -> None:
    output.say_value(b"\x00\xff", as_json=False)
    assert capsysbinary.readouterr().out == b"\x00\xff"


def test_bytes_are_base64_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    output.say_value(b"ab", as_json=False)
    assert terminal.getvalue() == "YWI=\n"


def test_what_the_encoding_cannot_carry_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, "ascii", newline="\n"))
    output.say("ä")
    assert raw.getvalue() == b"\\xe4\n"


@pytest.mark.parametrize(
    ("stream", "environment", "wanted"),
    [
        (Terminal(), {}, True),
        (io.StringIO(), {}, False),
        (Terminal(), {"NO_COLOR": "1"}, False),
        (Terminal(), {"NO_COLOR": ""}, True),
        (Terminal(), {"TERM": "dumb"}, False),
    ],
)
def test_colour_is_for_terminals_that_want_it(
    stream: io.StringIO,
    environment: dict[str, str],
    wanted: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert (output.styled("x", stream, fg="red") != "x") == wanted


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    rows = [("A", "BB", "C"), ("aaa", "b", "c")]
    assert output.table(rows) == ["A    BB  C", "aaa  b   c"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.9, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (200_000, "2 d")],
)
def test_durations_are_short(seconds: float, text: str) -> None:
    assert output.duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 calls"), (1, "1 call"), (2, "2 calls"), (9874, "9,874 calls")]
)
def test_one_is_not_many(number: int, text: str) -> None:
    assert output.several(number, "call") == text


def test_json_is_one_line() -> None:
    assert json.loads(output.to_json({"a": ["b\n"]})) == {"a": ["b\n"]}
    assert "\n" not in output.to_json({"a": ["b\n"]})


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("tea für zwei", "tea für zwei"),
        ("\x1b[31mred\x9b0m", "\\x1b[31mred\\x9b0m"),
        ("a\r\n\tb\x00\x7f", "a\\r\\n\\tb\\x00\\x7f"),
        ("a\u2028b\u202ec", "a\\u2028b\\u202ec"),
        ("a\u200eb\u061cc", "a\\u200eb\\u061cc"),
        ("C:\\new", "C:\\new"),
        ("👩\u200d🔬", "👩\u200d🔬"),
    ],
)
def test_control_characters_are_escaped_where_lines_must_be_true(text: str, shown: str) -> None:
    assert output.escaped(text) == shown


FORGED = "a\x1b[31m\nerror: \u202eb\x9b\x7f"
SHOWN = "a\\x1b[31m\\nerror: \\u202eb\\x9b\\x7f"


def test_a_line_is_one_line_whatever_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    output.say(FORGED)
    output.tell(FORGED)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == (f"{SHOWN}\n", f"{SHOWN}\n")


def test_an_error_is_one_line_whatever_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    output.say_error(FORGED)
    assert capsys.readouterr().err == f"error: {SHOWN}\n".replace("\\n", " ")


def test_text_of_several_lines_keeps_them(capsys: pytest.CaptureFixture[str]) -> None:
    output.tell_lines("a\n\tb\x1b\r")
    assert capsys.readouterr().err == "a\n\tb\\x1b\\r\n"


def test_a_style_is_not_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    output.say("\x1b", fg="red")
    assert terminal.getvalue() == "\x1b[31m\\x1b\x1b[0m\n"


@pytest.mark.parametrize(
    ("value", "as_json", "shown"),
    [
        ("a\n\tb\x1b[2J\r", False, "a\n\tb\\x1b[2J\\r\n"),
        ("a\n\x9b", True, '"a\\n\\u009b"\n'),
        (["\x9b\u202e"], False, '["\\u009b\\u202e"]\n'),
    ],
)
def test_values_do_not_steer_a_terminal(
    value: object, as_json: bool, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    output.say_value(value, as_json=as_json)
    assert terminal.getvalue() == shown
    if not isinstance(value, str):
        assert json.loads(shown) == value


def test_a_log_entry_is_one_line_and_its_traceback_lines_of_its_own() -> None:
    try:
        raise ValueError("\x1b[2J")
    except ValueError:
        caught = sys.exc_info()
    record = logging.LogRecord("zmqkit", 30, "", 1, "%s", (FORGED,), caught)
    first, *lines = output.Escaping("%(levelname)s %(message)s").format(record).split("\n")
    assert first == f"WARNING {SHOWN}"
    assert lines[0].startswith("Traceback") and lines[-1] == "ValueError: \\x1b[2J"


def test_a_timeout_names_the_option_of_the_command() -> None:
    text = "no reply in time; give it longer with timeout_s"
    assert output.text_of(CallTimeout(text)).endswith("give it longer with --timeout")
    assert output.text_of(RemoteError("CallTimeout", text, "")).endswith("with timeout_s")
